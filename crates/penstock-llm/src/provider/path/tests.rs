use super::*;

fn paths(base_path: BasePath, rule: PathRule) -> Paths {
    let mut capabilities = Capabilities::default();
    capabilities.set(Api::ChatCompletions, "/api/chat".into());
    capabilities.set(Api::RetrieveFile, "/api/files/{file_id}?k=1".into());
    Paths {
        base_path,
        rule,
        capabilities,
        provider_base_path: String::new(),
        is_original: false,
        original_is_untouched: false,
    }
}

fn remove(prefix: &str) -> BasePath {
    BasePath::Remove(prefix.into())
}

fn prepend(base: &str) -> BasePath {
    BasePath::Prepend(base.into())
}

/// `expected` is the path that is sent.
#[track_caller]
fn check(paths: &Paths, path_and_query: &str, expected: &str) {
    let (path, _) = split_query(path_and_query);
    let rewritten = paths.rewrite(Api::from_path(path), path_and_query, Some("m")).unwrap();
    assert_ne!(rewritten.as_deref(), Some(path_and_query), "unchanged is `None`");
    assert_eq!(rewritten.as_deref().unwrap_or(path_and_query), expected);
}

#[test]
fn an_api_has_its_own_path() {
    let paths = paths(BasePath::None, PathRule::ByApi);
    check(&paths, "/v1/chat/completions?a=1", "/api/chat?a=1");
    check(&paths, "/x/v1/files/f-1?v=2", "/api/files/f-1?k=1&v=2");
    check(&paths, "/v1/embeddings?a=1", "/v1/embeddings?a=1");
    check(&paths, "/anything", "/anything");
}

#[test]
fn a_fixed_path_takes_everything_and_no_query() {
    let paths = paths(BasePath::None, PathRule::Fixed("/only".into()));
    check(&paths, "/v1/chat/completions?a=1", "/only");
    check(&paths, "/anything?a=1", "/only");
}

#[test]
fn a_kept_path_is_kept() {
    let paths = paths(BasePath::None, PathRule::Client);
    check(&paths, "/team/v1/chat/completions?a=1", "/team/v1/chat/completions?a=1");
}

#[test]
fn a_base_path_is_removed_first() {
    let by_api = paths(remove("/team"), PathRule::ByApi);
    check(&by_api, "/team/v1/chat/completions", "/api/chat");
    check(&by_api, "/team/v1/embeddings", "/v1/embeddings");
    check(&by_api, "/other/v1/embeddings", "/other/v1/embeddings");
    check(&by_api, "/team", "/");
    check(&by_api, "/team?a=1", "/?a=1");
    check(&paths(remove("/team/"), PathRule::Client), "/team/v1/models", "/v1/models");
}

#[test]
fn a_base_path_is_put_in_front_last() {
    let by_api = paths(prepend("/base/"), PathRule::ByApi);
    check(&by_api, "/v1/chat/completions?a=//b/../c", "/base/api/chat?a=//b/../c");
    check(&by_api, "/v1//embeddings/", "/base/v1/embeddings");
    check(&by_api, "/base/v1/embeddings", "/base/v1/embeddings");
    check(&by_api, "/../../secret", "/base/secret");
}

#[test]
fn original_keeps_the_clients_path_only_where_a_prefix_is_removed() {
    let original = |base_path| Paths { is_original: true, ..paths(base_path, PathRule::ByApi) };
    check(&original(BasePath::None), "/v1/chat/completions", "/api/chat");
    check(&original(remove("/team")), "/team/v1/chat/completions", "/v1/chat/completions");
    check(&original(remove("/team")), "/v1/chat/completions", "/v1/chat/completions");
    check(&original(prepend("/team")), "/v1/chat/completions", "/team/api/chat");
}

#[test]
fn a_type_may_leave_the_paths_of_original_alone() {
    let original = Paths {
        is_original: true,
        original_is_untouched: true,
        ..paths(prepend("/team"), PathRule::ByApi)
    };
    check(&original, "/v1/chat/completions", "/team/v1/chat/completions");
    check(&Paths { is_original: false, ..original }, "/v1/chat/completions", "/team/api/chat");
}

fn by_model() -> Paths {
    let mut paths = paths(BasePath::None, PathRule::ByModel { query: "v=1&k=2".into() });
    paths.capabilities.set(Api::Embeddings, "/d/{model}/embeddings".into());
    paths
}

#[test]
fn a_path_may_name_the_model() {
    check(&by_model(), "/v1/embeddings?a=1", "/d/m/embeddings?a=1&v=1&k=2");
    check(&by_model(), "/v1/files/f-1", "/api/files/f-1?k=1&v=1&k=2");
    check(&by_model(), "/anything?k=3", "/anything?k=3&v=1");
    check(&by_model(), "/anything", "/anything?v=1&k=2");
    assert!(by_model().names_model(Api::Embeddings));
    assert!(!by_model().names_model(Api::ChatCompletions));
}

#[test]
fn a_model_is_one_segment_of_a_path() {
    let rewrite = |model| by_model().rewrite(Some(Api::Embeddings), "/v1/embeddings", model);
    for (model, expected) in [
        ("gpt-4.1_x~", "gpt-4.1_x~"),
        ("../a?b=c#d", "..%2Fa%3Fb%3Dc%23d"),
        ("{file_id} é", "%7Bfile_id%7D%20%C3%A9"),
        ("%2e", "%252e"),
    ] {
        let expected = format!("/d/{expected}/embeddings?v=1&k=2");
        assert_eq!(rewrite(Some(model)), Ok(Some(expected)));
    }
    let invalid = |message: &str| Err(LlmError::InvalidRequest(message.into()));
    assert_eq!(rewrite(None), Err(LlmError::UnsupportedApi));
    assert_eq!(rewrite(Some("")), invalid("`model` is missing"));
    assert_eq!(rewrite(Some("..")), invalid("`model` is no name of a model"));
}

#[test]
fn a_provider_base_path_is_put_in_front_as_it_is() {
    let provider_base_path = |path: &str, base_path| Paths {
        provider_base_path: path.into(),
        ..paths(base_path, PathRule::ByApi)
    };
    check(&provider_base_path("/p", BasePath::None), "/v1/chat/completions", "/p/api/chat");
    check(&provider_base_path("/p", BasePath::None), "/p/v1/embeddings", "/p/v1/embeddings");
    check(&provider_base_path("/p", prepend("/b")), "/v1/embeddings", "/p/b/v1/embeddings");
    check(&provider_base_path("/", BasePath::None), "/v1/embeddings", "/v1/embeddings");
    check(&provider_base_path("/p/", BasePath::None), "/v1/embeddings", "/p//v1/embeddings");
}

#[test]
fn joined_paths_are_clean() {
    for (base, path, expected) in [
        ("/", "/", "/"),
        ("/v1", "/chat", "/v1/chat"),
        ("/v1/", "chat/", "/v1/chat"),
        ("/a/./b//../c", "/d", "/a/c/d"),
        ("/a", "/../../b", "/a/b"),
        ("/../a", "/..", "/a"),
    ] {
        assert_eq!(join(base, path), expected);
    }
}
