//! Edits of `messages` in a chat request, in place: a message that stays is
//! not written anew, so fields that we do not know stay too.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::json;
use crate::scan::Splice;

/// What is wanted of the messages.
#[derive(Clone, Copy)]
pub(crate) struct Wishes<'a> {
    /// Role `developer` becomes `system`.
    pub(crate) renames_developer: bool,
    /// A user message with one of these texts removes itself and what was
    /// said before it.
    pub(crate) cleanup_commands: &'a [String],
    /// Neighbours of one role become one message.
    pub(crate) merges: bool,
    /// A system message to put behind those at the beginning; before all
    /// others where there are no others, or none that leads.
    pub(crate) context: Option<&'a str>,
}

static DEVELOPER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"developer\""));

impl Wishes<'_> {
    /// Whether these wishes can change `messages` at all; a search is much
    /// cheaper than a parse, and nearly always the answer is no.
    pub(crate) fn concern(&self, messages: &[u8]) -> bool {
        self.merges
            || self.context.is_some()
            || !self.cleanup_commands.is_empty()
            || self.renames_developer && DEVELOPER.find(messages).is_some()
    }

    /// Adds the edits of the array at `at` to `splice`. What is no list of
    /// messages is left for the vendor to refuse.
    pub(crate) fn edit(&self, body: &Bytes, at: Range<usize>, splice: &mut Splice<'_>) {
        let text = body.get(at.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let Some(text) = text else { return };
        let Ok(elements) = json::elements(text) else { return };
        let mut messages: Vec<_> =
            elements.into_iter().map(|element| Message::read(text, element)).collect();
        if !self.cleanup_commands.is_empty() {
            clean_up(&mut messages, self.cleanup_commands);
        }
        if self.merges {
            merge(&mut messages);
        }
        if self.renames_developer {
            for message in &mut messages {
                message.renames_role = message.role == Role::Developer;
            }
        }
        emit(&messages, at.start, splice);
        if let Some(context) = self.context {
            self.insert_context(context, &messages, at.start, splice);
        }
    }

    /// Higress: provider/context.go
    fn insert_context(
        &self,
        context: &str,
        messages: &[Message<'_>],
        offset: usize,
        splice: &mut Splice<'_>,
    ) {
        let message = format!(r#"{{"role":"system","content":{}}}"#, json::encode_string(context));
        let kept: Vec<_> = messages.iter().filter(|message| !message.is_removed).collect();
        let leads = |message: &&&Message<'_>| {
            message.role == Role::System
                || message.role == Role::Developer && self.renames_developer
        };
        let leading = kept.iter().take_while(leads).count();
        match kept.get(leading).or(kept.first()) {
            Some(next) => splice.insert(offset + next.at.start, message + ","),
            None => splice.insert(offset + 1, message),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Other,
}

struct Message<'a> {
    /// Where it stands in the text of the array.
    at: Range<usize>,
    role: Role,
    role_at: Range<usize>,
    /// The raw value of `content` and its place.
    content: Option<(&'a str, Range<usize>)>,
    has_tool_calls: bool,
    is_removed: bool,
    renames_role: bool,
    /// What `content` becomes.
    merged: Option<Merged>,
}

impl<'a> Message<'a> {
    fn read(text: &'a str, element: &'a str) -> Self {
        let mut message = Self {
            at: json::range_in(text, element),
            role: Role::Other,
            role_at: 0..0,
            content: None,
            has_tool_calls: false,
            is_removed: false,
            renames_role: false,
            merged: None,
        };
        let read = json::for_each_member(element, |key, value| match key {
            "role" => {
                message.role = match json::decode_string(value).as_deref() {
                    Some("system") => Role::System,
                    Some("developer") => Role::Developer,
                    Some("user") => Role::User,
                    Some("assistant") => Role::Assistant,
                    _ => Role::Other,
                };
                message.role_at = json::range_in(text, value);
            }
            "content" => message.content = Some((value, json::range_in(text, value))),
            "tool_calls" => {
                message.has_tool_calls = json::elements(value).is_ok_and(|calls| !calls.is_empty());
            }
            _ => {}
        });
        if read.is_err() {
            message.role = Role::Other;
        }
        message
    }

    /// A string as it is; of a list the text parts, each with a line feed.
    fn text(&self) -> Option<String> {
        let (content, _) = self.content.as_ref()?;
        if content.starts_with('"') {
            return json::decode_string(content);
        }
        let mut text = String::new();
        for part in json::elements(content).ok()? {
            let (mut is_text, mut words) = (false, None);
            let read = json::for_each_member(part, |key, value| match key {
                "type" => is_text = value == "\"text\"",
                "text" => words = json::decode_string(value),
                _ => {}
            });
            if let (Ok(()), true, Some(words)) = (read, is_text, words) {
                text.push_str(&words);
                text.push('\n');
            }
        }
        Some(text)
    }
}

/// Removes the last message that is a command and all before it, except
/// instructions. Higress keeps role `system` only, since `developer` is
/// renamed after this; that would throw a developer's instructions away.
fn clean_up(messages: &mut [Message<'_>], commands: &[String]) {
    let is_command = |message: &Message<'_>| {
        message.role == Role::User && message.text().is_some_and(|text| commands.contains(&text))
    };
    let Some(last) = messages.iter().rposition(is_command) else { return };
    for message in &mut messages[..=last] {
        message.is_removed = !matches!(message.role, Role::System | Role::Developer);
    }
}

fn merge(messages: &mut [Message<'_>]) {
    let mut first: Option<usize> = None;
    for index in 0..messages.len() {
        if messages[index].is_removed {
            continue;
        }
        let (before, rest) = messages.split_at_mut(index);
        let target = first.and_then(|first| before.get_mut(first));
        if target.is_some_and(|target| target.absorb(&rest[0])) {
            rest[0].is_removed = true;
        } else {
            first = Some(index);
        }
    }
}

impl Message<'_> {
    /// Takes the content of `next`, if the two can be one message.
    fn absorb(&mut self, next: &Message<'_>) -> bool {
        let can_merge = match self.role {
            Role::User => true,
            // The tool messages behind a call belong to that very message.
            Role::Assistant => !self.has_tool_calls && !next.has_tool_calls,
            _ => false,
        };
        let own = self.content.as_ref().and_then(|(raw, _)| Content::read(raw));
        let more = next.content.as_ref().and_then(|(raw, _)| Content::read(raw));
        let (Some(own), Some(more), true, true) = (own, more, can_merge, self.role == next.role)
        else {
            return false;
        };
        self.merged.get_or_insert_with(|| Merged::from(own)).append(more);
        true
    }
}

/// The raw inside of a content, without quotes or brackets.
#[derive(Clone, Copy)]
enum Content<'a> {
    Text(&'a str),
    Parts(&'a str),
}

impl<'a> Content<'a> {
    fn read(raw: &'a str) -> Option<Self> {
        let parts = || inside(raw, '[', ']').map(|parts| Content::Parts(parts.trim()));
        inside(raw, '"', '"').map(Content::Text).or_else(parts)
    }
}

/// The content of several messages; it grows, so that a thousand neighbours
/// cost no more than their text.
struct Merged {
    inside: String,
    is_list: bool,
}

impl From<Content<'_>> for Merged {
    fn from(content: Content<'_>) -> Self {
        match content {
            Content::Text(text) => Self { inside: text.to_owned(), is_list: false },
            Content::Parts(parts) => Self { inside: parts.to_owned(), is_list: true },
        }
    }
}

impl Merged {
    fn append(&mut self, content: Content<'_>) {
        match content {
            Content::Text(text) if !self.is_list => {
                self.inside.push_str(r"\n\n");
                self.inside.push_str(text);
            }
            Content::Text(text) => self.append_parts(&text_part(text)),
            Content::Parts(parts) => {
                if !self.is_list {
                    self.inside = text_part(&self.inside);
                    self.is_list = true;
                }
                self.append_parts(parts);
            }
        }
    }

    fn append_parts(&mut self, parts: &str) {
        if !self.inside.is_empty() && !parts.is_empty() {
            self.inside.push(',');
        }
        self.inside.push_str(parts);
    }

    fn to_json(&self) -> String {
        let (open, close) = if self.is_list { ('[', ']') } else { ('"', '"') };
        format!("{open}{}{close}", self.inside)
    }
}

fn text_part(text: &str) -> String {
    format!(r#"{{"type":"text","text":"{text}"}}"#)
}

fn inside(raw: &str, open: char, close: char) -> Option<&str> {
    raw.strip_prefix(open)?.strip_suffix(close)
}

fn emit(messages: &[Message<'_>], offset: usize, splice: &mut Splice<'_>) {
    let shift = |range: &Range<usize>| range.start + offset..range.end + offset;
    let mut has_kept = false;
    for (index, message) in messages.iter().enumerate() {
        if message.is_removed {
            // Together with the comma before it, or the one behind it as long
            // as nothing has been kept.
            let start = match index.checked_sub(1) {
                Some(before) if has_kept => messages[before].at.end,
                _ => message.at.start,
            };
            let end = match messages.get(index + 1) {
                Some(next) if !has_kept => next.at.start,
                _ => message.at.end,
            };
            splice.remove(shift(&(start..end)));
            continue;
        }
        has_kept = true;
        if let (Some(merged), Some((_, at))) = (&message.merged, &message.content) {
            splice.replace(shift(at), merged.to_json());
        }
        if message.renames_role {
            splice.replace(shift(&message.role_at), Bytes::from_static(b"\"system\""));
        }
    }
}

#[cfg(test)]
mod tests;
