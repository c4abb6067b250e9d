//! Cache points: up to where a prompt is kept (Higress: provider/bedrock.go).

use serde_json::{Map, Value, json};

/// How long a prompt is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// As long as Bedrock does by itself, which is five minutes.
    InMemory,
    /// As long as Bedrock can, which is an hour.
    Long,
}

impl Retention {
    /// The retention that `promptCacheRetention`, or OpenAI's
    /// `prompt_cache_retention`, means: `in_memory` or `24h`, in any case and
    /// with any separator; `None` for another word.
    pub fn parse(text: &str) -> Option<Self> {
        match normal(text).as_str() {
            "inmemory" => Some(Self::InMemory),
            "24h" => Some(Self::Long),
            _ => None,
        }
    }

    /// The retention that Anthropic's `cache_control` means.
    pub(super) fn of_marker(marker: &Value) -> Self {
        match marker.get("ttl").and_then(Value::as_str) {
            Some("1h") => Self::Long,
            _ => Self::InMemory,
        }
    }

    /// The block that says it.
    pub(super) fn point(self) -> Value {
        match self {
            Self::InMemory => json!({"cachePoint": {"type": "default"}}),
            Self::Long => json!({"cachePoint": {"type": "default", "ttl": "1h"}}),
        }
    }
}

/// Where cache points are set for a client that sets none
/// (`bedrockPromptCachePointPositions`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Behind the system prompt (`systemPrompt`).
    pub system_prompt: bool,
    /// In the last message of the user (`lastUserMessage`).
    pub last_user_message: bool,
    /// In the last message, whoever says it (`lastMessage`).
    pub last_message: bool,
}

/// Those of a provider that names none.
impl Default for Positions {
    fn default() -> Self {
        Self { system_prompt: true, ..Self::NONE }
    }
}

impl Positions {
    /// Nowhere: what the entries of a configuration are added to.
    pub const NONE: Self =
        Self { system_prompt: false, last_user_message: false, last_message: false };

    /// Sets the position of this name, whose case, `_` and `-` do not matter;
    /// `false` if there is none of that name.
    pub fn set(&mut self, name: &str, is_on: bool) -> bool {
        let place = match normal(name).as_str() {
            "systemprompt" => &mut self.system_prompt,
            "lastusermessage" => &mut self.last_user_message,
            "lastmessage" => &mut self.last_message,
            _ => return false,
        };
        *place = is_on;
        true
    }
}

fn normal(text: &str) -> String {
    let is_kept = |c: &char| !matches!(c, '_' | '-' | ' ');
    text.trim().chars().filter(is_kept).flat_map(char::to_lowercase).collect()
}

/// Sets the points of a configuration. No list gets a second one at its end.
pub(super) fn set_points(
    system: &mut Vec<Value>,
    messages: &mut [Map<String, Value>],
    retention: Retention,
    positions: Positions,
) {
    let add = |blocks: &mut Vec<Value>| {
        let has_one = blocks.last().is_some_and(|last| last.get("cachePoint").is_some());
        if !blocks.is_empty() && !has_one {
            blocks.push(retention.point());
        }
    };
    if positions.system_prompt {
        add(system);
    }
    let is_user = |message: &Map<_, _>| message.get("role") == Some(&Value::from("user"));
    let last = messages.len().checked_sub(1).filter(|_| positions.last_message);
    let user = messages.iter().rposition(is_user).filter(|_| positions.last_user_message);
    for index in [last, user].into_iter().flatten() {
        let content = messages.get_mut(index).and_then(|message| message.get_mut("content"));
        if let Some(Value::Array(blocks)) = content {
            add(blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_come() {
        for text in ["in_memory", "In-Memory", " inmemory", "in memory"] {
            assert_eq!(Retention::parse(text), Some(Retention::InMemory), "{text}");
        }
        assert_eq!(Retention::parse("24H"), Some(Retention::Long));
        assert_eq!(Retention::parse("1h"), None);
        let mut positions = Positions::NONE;
        assert!(positions.set("last_user-Message", true));
        assert_eq!(positions, Positions { last_user_message: true, ..Positions::NONE });
        assert!(positions.set("lastUserMessage", false));
        assert!(!positions.set("first", true));
        assert_eq!(positions, Positions::NONE);
    }
}
