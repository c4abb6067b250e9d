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
    Wishes { renames_developer: true, cleanup_commands: &[], merges: false };
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
