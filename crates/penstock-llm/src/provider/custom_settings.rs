//! `customSettings`: values that requests get, whatever the client asks for
//! (Higress: provider/custom_setting.go).
//!
//! Invariant: a body whose keys two readers could understand differently is
//! refused; a limit that is set here holds.

use serde_json::{Map, Value};

use super::body_rule::twice;
use super::fields::{Fields, invalid};
use super::preset::idle;
use super::{Note, nearest};
use crate::error::{ConfigError, LlmError};
use crate::json::edit::{self, Repeated};
use crate::json_path::PlainPath;

/// The settings of one provider, in the order in which they are applied.
#[derive(Debug, Default)]
pub(super) struct CustomSettings(Vec<Setting>);

#[derive(Debug)]
struct Setting {
    path: PlainPath,
    /// JSON.
    value: String,
    overwrites: bool,
}

const FIELD: &str = "customSettings";
const KEYS: [&str; 4] = ["name", "value", "mode", "overwrite"];
/// The names that `mode: auto` has for the OpenAI format.
const AUTO: [&str; 4] = ["max_tokens", "temperature", "top_p", "seed"];

impl CustomSettings {
    /// Reads the field. A setting that cannot have an effect is noted.
    pub(super) fn read(fields: &Fields<'_>, notes: &mut Vec<Note>) -> Result<Self, ConfigError> {
        let items = match fields.get(FIELD) {
            None => return Ok(Self::default()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(invalid(FIELD, format!("`{FIELD}` must be a list"))),
        };
        let mut settings = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{FIELD}[{index}]");
            let Value::Object(map) = item else {
                return Err(invalid(&path, format!("`{path}` must be an object")));
            };
            settings.extend(Setting::read(&path, map, notes)?);
        }
        Ok(Self(settings))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body with the settings; `None` where it has them already.
    ///
    /// # Errors
    /// The body has a key of a setting twice.
    pub(super) fn apply(&self, body: &str) -> Result<Option<String>, LlmError> {
        let mut changed: Option<String> = None;
        for Setting { path, value, overwrites } in &self.0 {
            let keys: Vec<&str> = path.keys().collect();
            let text = changed.as_deref().unwrap_or(body);
            let next = edit::set(text, &keys, value, *overwrites);
            if let Some(next) = next.map_err(|Repeated| twice(&keys))? {
                changed = Some(next);
            }
        }
        Ok(changed)
    }
}

impl Setting {
    fn read(
        path: &str,
        map: &Map<String, Value>,
        notes: &mut Vec<Note>,
    ) -> Result<Option<Self>, ConfigError> {
        for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            notes.push(Note {
                hint: nearest(key, KEYS.into_iter()).map(|name| format!("did you mean `{name}`?")),
                unknown: true,
                ..idle(&format!("{path}.{key}"), format!("unknown field `{path}.{key}`"))
            });
        }
        let fields = Fields { map };
        let inner = |error: ConfigError| super::fields::inside(path, error);
        let name = fields.text("name").map_err(inner)?;
        let overwrites =
            fields.get("overwrite").is_none() || fields.flag("overwrite").map_err(inner)?;
        let is_raw = match fields.text("mode").map_err(inner)?.as_str() {
            "raw" => true,
            "" | "auto" => false,
            _ => {
                let mode = format!("{path}.mode");
                let message = format!("`{mode}` has an unknown value, so it is `auto`");
                notes.push(Note { hint: Some("`auto` or `raw`".into()), ..idle(&mode, message) });
                false
            }
        };
        let mut drop = |message: String, hint: Option<&str>| {
            notes.push(Note { hint: hint.map(str::to_owned), ..idle(path, message) });
            Ok(None)
        };
        let Some(value) = map.get("value") else {
            return drop(format!("`{path}` has no value, so it has no effect"), None);
        };
        if !is_raw && !AUTO.contains(&name.as_str()) {
            let message = format!("`{path}` has a name that `mode: auto` does not know");
            return drop(message, Some("with `mode: raw` the name is taken as it is"));
        }
        match PlainPath::parse(&name) {
            Some(path) => Ok(Some(Self { path, value: value.to_string(), overwrites })),
            None => drop(
                format!("`{path}` has a name that is no path of plain keys"),
                Some("write keys with dots between them, as in `extra_body.enable_search`"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: Value) -> (CustomSettings, Vec<Note>) {
        let config = json!({ "customSettings": settings });
        let Value::Object(map) = config else { unreachable!() };
        let mut notes = Vec::new();
        let settings = CustomSettings::read(&Fields { map: &map }, &mut notes).unwrap();
        (settings, notes)
    }

    /// What becomes of a body; `-` where it stays.
    #[track_caller]
    fn check(settings: Value, body: &str, expected: &str) {
        let (settings, notes) = read(settings);
        assert_eq!(notes, []);
        let applied = settings.apply(body).map_err(|error| error.to_string());
        let shown = applied.map_or_else(|error| error, |body| body.unwrap_or("-".into()));
        assert_eq!(shown, expected);
    }

    #[test]
    fn settings_are_applied_in_order() {
        check(
            json!([
                {"name": "max_tokens", "value": 100},
                {"name": "temperature", "value": 0.5, "overwrite": false},
                {"name": "a.b", "value": {"c": [1, null]}, "mode": "raw"},
                {"name": "a.b.c.0", "value": "x", "mode": "raw"},
                {"name": "stop", "value": ["\n"], "mode": "raw", "overwrite": "false"},
            ]),
            r#"{"max_tokens":9999,"stop":null,"temperature":1}"#,
            r#"{"a":{"b":{"c":["x",null]}},"max_tokens":100,"stop":null,"temperature":1}"#,
        );
        check(json!([{"name": "seed", "value": 1}]), r#"{"seed":1}"#, "-");
        check(json!([]), r#"{"seed":1}"#, "-");
        check(json!(null), r#"{"seed":1}"#, "-");
    }

    #[test]
    fn a_limit_cannot_be_evaded() {
        let limit = json!([{"name": "max_tokens", "value": 100}]);
        check(
            limit.clone(),
            r#"{"max_tokens":1,"max_tokens":9999}"#,
            "the body has a member of `max_tokens` twice",
        );
        check(
            limit,
            r#"{"max_tokens":1,"max\u005ftokens":9999}"#,
            "the body has a member of `max_tokens` twice",
        );
        let nested = json!([{"name": "a.b", "value": 1, "mode": "raw"}]);
        check(nested, r#"{"a":"evade"}"#, r#"{"a":{"b":1}}"#);
    }

    #[test]
    fn settings_without_effect_are_told() {
        for (setting, path, message) in [
            (json!({"name": "top_k", "value": 1}), "customSettings[0]", {
                "`customSettings[0]` has a name that `mode: auto` does not know"
            }),
            (json!({"name": "", "value": 1}), "customSettings[0]", {
                "`customSettings[0]` has a name that `mode: auto` does not know"
            }),
            (json!({"name": "seed"}), "customSettings[0]", {
                "`customSettings[0]` has no value, so it has no effect"
            }),
            (json!({"name": "a.*", "value": 1, "mode": "raw"}), "customSettings[0]", {
                "`customSettings[0]` has a name that is no path of plain keys"
            }),
            (json!({"name": "seed", "value": 1, "mode": "RAW"}), "customSettings[0].mode", {
                "`customSettings[0].mode` has an unknown value, so it is `auto`"
            }),
            (
                json!({"name": "seed", "value": 1, "overwrites": true}),
                { "customSettings[0].overwrites" },
                "unknown field `customSettings[0].overwrites`",
            ),
        ] {
            let (_, notes) = read(json!([setting]));
            let shown: Vec<_> = notes.iter().map(|note| (&*note.path, &*note.message)).collect();
            assert_eq!(shown, [(path, message)]);
        }
    }

    #[test]
    fn settings_that_cannot_be_meant_are_errors() {
        for (settings, path, message) in [
            (json!({}), "customSettings", "`customSettings` must be a list"),
            (json!(["a"]), "customSettings[0]", "`customSettings[0]` must be an object"),
            (json!([{"name": []}]), "customSettings[0].name", {
                "`customSettings[0].name` must be text, not a list"
            }),
        ] {
            let Value::Object(map) = json!({ "customSettings": settings }) else { unreachable!() };
            let error = CustomSettings::read(&Fields { map: &map }, &mut Vec::new()).unwrap_err();
            assert_eq!((&*error.path, &*error.message), (path, message));
        }
    }
}
