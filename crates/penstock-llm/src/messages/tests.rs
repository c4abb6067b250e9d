use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// `expected` is the whole body after the edits.
#[track_caller]
fn check(wishes: Wishes<'_>, messages: &str, expected: &str) {
    let body = Bytes::from(format!(r#"{{"messages":{messages}}}"#));
    let at = 12..12 + messages.len();
    let mut splice = Splice::new(&body);
    if wishes.concern(messages.as_bytes()) {
        wishes.edit(&body, at, &mut splice);
    }
    let edited = String::from_utf8(splice.into_parts().concat()).unwrap();
    assert_eq!(edited, format!(r#"{{"messages":{expected}}}"#));
}

const DEVELOPER: Wishes<'_> =
    Wishes { renames_developer: true, cleanup_commands: &[], merges: false, context: None };
const MERGE: Wishes<'_> = Wishes { renames_developer: false, merges: true, ..DEVELOPER };

#[track_caller]
fn check_cleanup(messages: &str, expected: &str) {
    let commands = ["/clear".to_owned(), "forget it\n".to_owned()];
    check(Wishes { cleanup_commands: &commands, ..DEVELOPER }, messages, expected);
}

#[test]
fn developers_become_system() {
    check(
        DEVELOPER,
        r#"[ {"role": "developer" , "x":[1, 2]},{"role":"user","content":"\"developer\""}]"#,
        r#"[ {"role": "system" , "x":[1, 2]},{"role":"user","content":"\"developer\""}]"#,
    );
}

#[test]
fn only_roles_are_renamed() {
    for messages in [
        r#"[{"role":"user","name":"developer"}]"#,
        r#"[{"role":"user","x":{"role":"developer"}}]"#,
        r#"{"role":"developer"}"#,
        r#"["developer"]"#,
        r#"[{"role":["developer"]}]"#,
        "[]",
        "null",
    ] {
        check(DEVELOPER, messages, messages);
    }
}

#[test]
fn a_context_stands_behind_the_leading_instructions() {
    const CONTEXT: Wishes<'_> = Wishes { context: Some("c \"1\""), ..DEVELOPER };
    let context = r#"{"role":"system","content":"c \"1\""}"#;
    let user = r#"{"role":"user","content":"u"}"#;
    let system = r#"{"role":"system","content":"s"}"#;
    for (messages, expected) in [
        (format!("[{user}]"), format!("[{context},{user}]")),
        (
            format!("[ {system} , {user},{system}]"),
            format!("[ {system} , {context},{user},{system}]"),
        ),
        (format!("[{system},{system}]"), format!("[{context},{system},{system}]")),
        (r#"[{"role":"developer"},5]"#.into(), format!(r#"[{{"role":"system"}},{context},5]"#)),
        ("[ ]".into(), format!("[{context} ]")),
        ("5".into(), "5".into()),
    ] {
        check(CONTEXT, &messages, &expected);
    }
    let keeps_developers = Wishes { renames_developer: false, ..CONTEXT };
    let developer = r#"{"role":"developer"}"#;
    let expected = format!("[{context},{developer},{user}]");
    check(keeps_developers, &format!("[{developer},{user}]"), &expected);
    let commands = ["/clear".to_owned()];
    let cleaned = Wishes { cleanup_commands: &commands, ..CONTEXT };
    let command = r#"{"role":"user","content":"/clear"}"#;
    check(cleaned, &format!("[{command}]"), &format!("[{context}]"));
    let all = format!("[{user}, {system}, {command}, {user}]");
    check(cleaned, &all, &format!("[{system}, {context},{user}]"));
}

#[test]
fn a_command_removes_what_was_said_before() {
    check_cleanup(
        r#"[{"role":"system","content":"s"},{"role":"user","content":"a"},
{"role":"assistant","content":"b"}, {"role":"user","content":"/clear"} ,{"role":"user","content":"c"}]"#,
        r#"[{"role":"system","content":"s"} ,{"role":"user","content":"c"}]"#,
    );
}

#[test]
fn the_last_command_counts() {
    check_cleanup(
        r#"[{"role":"user","content":"/clear"},{"role":"user","content":"a"},{"role":"user","content":"/clear"},{"role":"user","content":"b"}]"#,
        r#"[{"role":"user","content":"b"}]"#,
    );
}

#[test]
fn instructions_between_removed_messages_stay() {
    check_cleanup(
        r#"[{"role":"user","content":"a"}, {"role":"system","content":"s"},{"role":"tool","content":"t"},{"role":"developer","content":"d"},{"role":"user","content":"/clear"}]"#,
        r#"[{"role":"system","content":"s"},{"role":"system","content":"d"}]"#,
    );
}

#[test]
fn a_command_alone_leaves_nothing() {
    check_cleanup(r#"[ {"role":"user","content":"/clear"} ]"#, "[  ]");
}

#[test]
fn a_command_is_the_whole_text_of_a_user() {
    for messages in [
        r#"[{"role":"user","content":"a"},{"role":"user","content":"/clear now"}]"#,
        r#"[{"role":"user","content":"a"},{"role":"assistant","content":"/clear"}]"#,
        r#"[{"role":"user","content":"a"},{"role":"user","content":null}]"#,
    ] {
        check_cleanup(messages, messages);
    }
    check_cleanup(
        r#"[{"role":"user","content":"a"},{"role":"user","content":"\/clea\u0072"}]"#,
        "[]",
    );
}

#[test]
fn text_parts_end_in_a_line_feed_each() {
    let image = r#"{"type":"image_url","image_url":{"url":"u"}}"#;
    check_cleanup(
        &format!(
            r#"[{{"role":"user","content":[{{"type":"text","text":"forget it"}},{image}]}},{{"role":"user","content":"b"}}]"#
        ),
        r#"[{"role":"user","content":"b"}]"#,
    );
}

#[test]
fn neighbours_of_one_role_merge() {
    check(
        MERGE,
        r#"[{"role":"user","content":"a\n","x":1},{"role":"user","content":"\"b"} , {"role":"user","content":"c"},{"role":"assistant","content":"d"},{"role":"assistant","content":"e"}]"#,
        r#"[{"role":"user","content":"a\n\n\n\"b\n\nc","x":1},{"role":"assistant","content":"d\n\ne"}]"#,
    );
}

#[test]
fn lists_merge_as_parts() {
    check(
        MERGE,
        r#"[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"user","content":[ {"p":1} ]},{"role":"user","content":"c"},{"role":"user","content":[]}]"#,
        r#"[{"role":"user","content":[{"type":"text","text":"a\n\nb"},{"p":1},{"type":"text","text":"c"}]}]"#,
    );
}

#[test]
fn what_cannot_be_one_message_stays_apart() {
    for messages in [
        r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]"#,
        r#"[{"role":"system","content":"a"},{"role":"system","content":"b"}]"#,
        r#"[{"role":"tool","content":"a"},{"role":"tool","content":"b"}]"#,
        r#"[{"role":"assistant","content":"a","tool_calls":[{"id":"1"}]},{"role":"assistant","content":"b"}]"#,
        r#"[{"role":"assistant","content":"a"},{"role":"assistant","content":"b","tool_calls":[{}]}]"#,
        r#"[{"role":"user","content":null},{"role":"user","content":"b"}]"#,
        r#"[{"role":"user"},{"role":"user","content":"b"}]"#,
        r#"[{"role":"user","content":"a"},5,{"role":"user","content":"b"}]"#,
    ] {
        check(MERGE, messages, messages);
    }
    let empty_calls = r#"{"role":"assistant","content":"a","tool_calls":[]}"#;
    check(
        MERGE,
        &format!("[{empty_calls},{empty_calls}]"),
        r#"[{"role":"assistant","content":"a\n\na","tool_calls":[]}]"#,
    );
}

#[test]
fn what_a_command_removes_does_not_merge() {
    let commands = ["/clear".to_owned()];
    check(
        Wishes { cleanup_commands: &commands, merges: true, ..DEVELOPER },
        r#"[{"role":"user","content":"a"},{"role":"developer","content":"d"},{"role":"user","content":"/clear"},{"role":"user","content":"b"},{"role":"user","content":"c"}]"#,
        r#"[{"role":"system","content":"d"},{"role":"user","content":"b\n\nc"}]"#,
    );
}

fn message() -> impl Strategy<Value = Value> {
    let role = proptest::sample::select(vec!["system", "developer", "user", "assistant", "tool"]);
    let content = prop_oneof![
        Just(json!("/clear")),
        Just(json!("a \"b\" \n")),
        Just(json!(null)),
        Just(json!([])),
        Just(json!([{"type": "text", "text": "c"}, {"type": "image_url"}])),
    ];
    let plain =
        (role, content).prop_map(|(role, content)| json!({"role": role, "content": content}));
    prop_oneof![8 => plain, 1 => Just(json!(1)), 1 => Just(json!({"role": 1, "tool_calls": [1]}))]
}

/// The same edits on a tree, one message after the other.
fn reference(messages: Vec<Value>) -> Vec<Value> {
    let is_command = |message: &Value| message == &json!({"role": "user", "content": "/clear"});
    let first_kept = messages.iter().rposition(is_command).map_or(0, |last| last + 1);
    let is_instruction =
        |message: &Value| matches!(message["role"].as_str(), Some("system" | "developer"));
    let kept = messages
        .into_iter()
        .enumerate()
        .filter(|(index, message)| *index >= first_kept || is_instruction(message));
    let mut merged: Vec<Value> = Vec::new();
    for (_, mut message) in kept {
        let can_merge = matches!(message["role"].as_str(), Some("user" | "assistant"));
        if let Some(last) =
            merged.last_mut().filter(|last| can_merge && last["role"] == message["role"])
        {
            let parts = |content: &Value| match content {
                Value::String(text) => Some(vec![json!({"type": "text", "text": text})]),
                content => content.as_array().cloned(),
            };
            let (one, two) = (last["content"].clone(), message["content"].clone());
            if let (Some(one), Some(two)) = (one.as_str(), two.as_str()) {
                last["content"] = json!(format!("{one}\n\n{two}"));
                continue;
            }
            if let (Some(one), Some(two)) = (parts(&one), parts(&two)) {
                last["content"] = json!([one, two].concat());
                continue;
            }
        }
        if message["role"] == "developer" {
            message["role"] = json!("system");
        }
        merged.push(message);
    }
    merged
}

proptest! {
    /// Editing the text does what editing a tree would do.
    #[test]
    fn edits_of_text_are_edits_of_a_tree(
        messages in proptest::collection::vec(message(), 0..8),
        is_pretty in any::<bool>(),
    ) {
        let commands = ["/clear".to_owned()];
        let wishes = Wishes { cleanup_commands: &commands, merges: true, ..DEVELOPER };
        let text = match is_pretty {
            true => serde_json::to_string_pretty(&messages).unwrap(),
            false => json!(messages).to_string(),
        };
        let body = Bytes::from(text);
        let mut splice = Splice::new(&body);
        wishes.edit(&body, 0..body.len(), &mut splice);
        let edited: Vec<Value> = serde_json::from_slice(&splice.into_parts().concat()).unwrap();
        prop_assert_eq!(edited, reference(messages));
    }
}
