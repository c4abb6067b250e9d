use proptest::prelude::*;

use super::*;

#[test]
fn the_table_is_in_the_order_of_the_enum() {
    for (index, row) in ROWS.iter().enumerate() {
        assert_eq!(row.api as usize, index, "{}", row.name);
    }
}

#[test]
fn names_are_unique_and_lead_back() {
    for api in Api::all() {
        assert_eq!(Api::from_name(api.name()), Some(api));
    }
    assert_eq!(Api::from_name("openai/v1/chat"), None);
}

#[track_caller]
fn check(path: &str, expected: Option<Api>) {
    assert_eq!(Api::from_path(path), expected, "{path}");
}

#[test]
fn suffixes_name_an_api_behind_any_prefix() {
    check("/v1/chat/completions", Some(Api::ChatCompletions));
    check("/team/a/v1/chat/completions", Some(Api::ChatCompletions));
    check("/v1/completions", Some(Api::Completions));
    check("/v1/messages", Some(Api::AnthropicMessages));
    check("/v1/messages/count_tokens", Some(Api::AnthropicCountTokens));
    check("/v1/rerank", Some(Api::CohereRerank));
    check("/v1/reranks", Some(Api::QwenRerank));
    check("/v1/conversations", Some(Api::QwenConversations));
}

#[test]
fn what_is_not_exactly_an_api_is_none() {
    check("/v1/chat/completions/", None);
    check("/V1/chat/completions", None);
    check("/v2/chat/completions", None);
    check("v1/chat/completions", None);
    check("/v1/fine_tuning", None);
    check("/", None);
    check("", None);
}

#[test]
fn patterns_take_one_segment_each() {
    check("/v1/files/f-1", Some(Api::RetrieveFile));
    check("/x/v1/files/f-1/content", Some(Api::RetrieveFileContent));
    check("/v1/files//content", None);
    check("/v1/files/a/b/content", None);
    check("/v1/batches/b/cancel", Some(Api::CancelBatch));
    check("/v1/videos/v/remix", Some(Api::VideoRemix));
    check("/v1/fine_tuning/jobs/j/pause", Some(Api::PauseFineTuningJob));
    let permissions = "/v1/fine_tuning/checkpoints/c/permissions";
    check(permissions, Some(Api::FineTuningCheckpointPermissions));
    check(&format!("{permissions}/p"), Some(Api::DeleteFineTuningCheckpointPermission));
    // A pattern needs the slash before its first segment.
    check("v1/files/f-1", None);
}

#[test]
fn suffixes_win_over_patterns() {
    check("/v1/batches/v1/files", Some(Api::Files));
    check("/v1/files/content", Some(Api::RetrieveFile));
}

#[test]
fn gemini_actions_name_their_model() {
    check("/v1beta/models/gemini-2.5-pro:generateContent", Some(Api::GeminiGenerateContent));
    check("/v1/models/m:streamGenerateContent", Some(Api::GeminiStreamGenerateContent));
    check("/v1/models/a/b:generateContent", Some(Api::GeminiGenerateContent));
    check("/v1/models/m:generateContentAndMore", Some(Api::GeminiGenerateContent));
    check("/v1:x/models/m:generateContent", Some(Api::GeminiGenerateContent));
    check("/v1/models/models/:generateContent", Some(Api::GeminiGenerateContent));
    check("/v1/models/a:b:generateContent", None);
    check("/v1/models/:generateContent", None);
    check("//models/m:generateContent", None);
    check("/models/m:generateContent", None);
    check("/v1/models/m:countTokens", None);
}

#[test]
fn default_paths_are_recognised_as_themselves() {
    for api in Api::all() {
        if let Some(path) = api.default_path() {
            check(&path.replace(['{', '}'], ""), Some(api));
        }
    }
}

#[test]
fn only_openai_apis_have_a_default_path() {
    assert_eq!(Api::RetrieveFile.default_path(), Some("/v1/files/{file_id}"));
    for api in [Api::AnthropicMessages, Api::CohereRerank, Api::QwenRerank] {
        assert_eq!(api.default_path(), None);
    }
    assert_eq!(Api::GeminiGenerateContent.default_path(), None);
}

#[test]
fn stateful_apis() {
    let stateful: Vec<_> = Api::all().filter(|api| api.is_stateful()).map(Api::name).collect();
    let expected = [
        "openai/v1/batches",
        "openai/v1/files",
        "openai/v1/fine-tuningjobs",
        "openai/v1/responses",
        "openai/v1/retrievebatch",
        "openai/v1/cancelbatch",
        "openai/v1/retrievefile",
        "openai/v1/retrievefilecontent",
        "openai/v1/retrievefine-tuningjob",
        "openai/v1/fine-tuningjobsevents",
        "openai/v1/fine-tuningjobcheckpoints",
        "openai/v1/cancelfine-tuningjob",
        "openai/v1/resumefine-tuningjob",
    ];
    assert_eq!(stateful, expected);
}

#[test]
fn errors_take_the_shape_of_the_api() {
    assert_eq!(Api::ChatCompletions.error_format(), ErrorFormat::OpenAi);
    assert_eq!(Api::AnthropicCountTokens.error_format(), ErrorFormat::Anthropic);
    assert_eq!(Api::GeminiStreamGenerateContent.error_format(), ErrorFormat::Gemini);
    assert_eq!(Api::CohereRerank.error_format(), ErrorFormat::OpenAi);
}

#[test]
fn streaming_follows_the_body_where_the_api_streams() {
    assert!(Api::ChatCompletions.is_streaming(true));
    assert!(!Api::ChatCompletions.is_streaming(false));
    assert!(!Api::Embeddings.is_streaming(true));
    assert!(Api::GeminiStreamGenerateContent.is_streaming(false));
}

#[track_caller]
fn check_filled(template: &str, path_and_query: &str, expected: &str) {
    let (path, _) = split_query(path_and_query);
    let api = Api::from_path(path).unwrap();
    assert_eq!(fill_placeholders(api, template, path_and_query), expected);
}

#[test]
fn placeholders_are_filled_and_the_query_is_kept() {
    let content = "/v1/files/{file_id}/content";
    check_filled(content, "/x/v1/files/f-1/content?v=2", "/v1/files/f-1/content?v=2");
    check_filled(
        "/v1/files/{file_id}/content?d=1",
        "/x/v1/files/f-1/content?v=2",
        "/v1/files/f-1/content?d=1&v=2",
    );
    check_filled(content, "/v1/files/f-1/content?", "/v1/files/f-1/content");
    check_filled(
        "/compatible-mode/v1/chat/completions",
        "/team/v1/chat/completions",
        "/compatible-mode/v1/chat/completions",
    );
    check_filled(
        "/ft/{fine_tuned_model_checkpoint}/p/{permission_id}",
        "/v1/fine_tuning/checkpoints/ckpt/permissions/cp_1",
        "/ft/ckpt/p/cp_1",
    );
    check_filled("/j/{fine_tuning_job_id}", "/v1/fine_tuning/jobs/ft-1/events", "/j/ft-1");
}

#[test]
fn a_placeholder_without_a_value_stays() {
    check_filled("/b/{batch_id}", "/v1/files/f-1", "/b/{batch_id}");
    check_filled("/b/{file_id", "/v1/files/f-1", "/b/{file_id");
    check_filled("/m/{model}", "/v1/chat/completions", "/m/{model}");
}

#[test]
fn a_value_is_not_filled_again() {
    check_filled("/{file_id}/{file_id}", "/v1/files/{file_id}", "/{file_id}/{file_id}");
}

proptest! {
    /// Whatever precedes it, the path of an API means that API.
    #[test]
    fn any_prefix_may_precede(prefix in "(/[a-z0-9._-]{1,8}){0,3}", index in 0usize..37) {
        let api = Api::all().nth(index).unwrap();
        let (Rule::Suffix(path) | Rule::Pattern(path)) = api.row().rule else { unreachable!() };
        let path = format!("{prefix}{}", path.replace(['{', '}'], ""));
        prop_assert_eq!(Api::from_path(&path), Some(api));
    }

    #[test]
    fn no_path_is_too_odd(path in "[/:a-z{}]{0,40}") {
        if let Some(api) = Api::from_path(&path) {
            let filled = fill_placeholders(api, "/x", &path);
            prop_assert_eq!(filled, "/x");
        }
    }
}
