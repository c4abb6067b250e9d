//! What a chat request says, whichever vendor's format it has.

use crate::json;

/// The text of the last user message of `messages`, a raw JSON list: its
/// content where that is a string, else the last text part of it.
pub fn last_user_text(messages: &str) -> Option<String> {
    let elements = json::elements(messages).ok()?;
    let last =
        elements.into_iter().rev().find(|element| role(element).as_deref() == Some("user"))?;
    let content = member(last, "content")?;
    if content.starts_with('"') {
        return json::decode_string(content);
    }
    let parts = json::elements(content).ok()?;
    parts.into_iter().rev().find_map(|part| {
        let kind = json::decode_string(member(part, "type")?)?;
        json::decode_string(member(part, "text")?).filter(|_| kind == "text")
    })
}

/// How many messages of a request are the user's: of `messages`, or of
/// Gemini's `contents`, where no role is the user's, too.
pub fn user_messages(body: &str) -> usize {
    if let Some(messages) = member(body, "messages").filter(|raw| raw.starts_with('[')) {
        return user_messages_in(messages);
    }
    let contents = member(body, "contents").unwrap_or_default();
    count(contents, |role| role.is_none_or(|role| role == "user"))
}

/// How many messages of `messages`, a raw JSON list, are the user's.
pub fn user_messages_in(messages: &str) -> usize {
    count(messages, |role| role == Some("user"))
}

fn count(list: &str, is_user: impl Fn(Option<&str>) -> bool) -> usize {
    let elements = json::elements(list).unwrap_or_default();
    elements.into_iter().filter(|element| is_user(role(element).as_deref())).count()
}

fn role(message: &str) -> Option<String> {
    json::decode_string(member(message, "role")?)
}

/// The first member with this key.
fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let mut found = None;
    json::for_each_member(object, |name, raw| {
        if name == key {
            found.get_or_insert(raw);
        }
    })
    .ok()?;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_user_message_decides() {
        let check = |messages: &str, expected: Option<&str>| {
            assert_eq!(last_user_text(messages).as_deref(), expected, "{messages}");
        };
        check(r#"[{"role":"user","content":"a"},{"role":"user","content":"b\n"}]"#, Some("b\n"));
        check(r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]"#, Some("a"));
        check(
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"},
                {"type":"image_url","image_url":{}}]}]"#,
            Some("b"),
        );
        check(r#"[{"role":"user","content":[{"type":"image_url"}]}]"#, None);
        check(r#"[{"role":"system","content":"a"}]"#, None);
        check("[]", None);
        check("5", None);
    }

    #[test]
    fn user_messages_are_counted_in_all_formats() {
        let check =
            |body: &str, expected: usize| assert_eq!(user_messages(body), expected, "{body}");
        check(r#"{"messages":[{"role":"user"},{"role":"assistant"},{"role":"user"},{}]}"#, 2);
        check(r#"{"contents":[{"role":"user"},{"role":"model"},{}]}"#, 2);
        check(r#"{"messages":5,"contents":[{}]}"#, 1);
        check(r#"{"input":"x"}"#, 0);
        check("nonsense", 0);
    }
}
