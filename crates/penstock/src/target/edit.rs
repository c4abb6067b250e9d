//! One change of what a target holds, as it goes over the wire.

use penstock_manifest::edit::{Edit, EditError, ThingKind};
use penstock_manifest::intent::consumer::KeySource;
use serde::{Deserialize, Serialize};

use super::{Failure, FailureKind};

/// An edit to make. It holds secrets, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EditRequest(#[serde(with = "EditForm")] Edit);

impl From<Edit> for EditRequest {
    fn from(edit: Edit) -> Self {
        Self(edit)
    }
}

impl EditRequest {
    /// The edit.
    pub fn edit(&self) -> &Edit {
        &self.0
    }

    /// What the history says where nobody gave a reason: the verb that makes
    /// the edit. No secret is in it.
    pub fn message(&self) -> String {
        match &self.0 {
            Edit::Delete { kind, name } => format!("delete {kind} {name}"),
            Edit::AddConsumer { name, .. } => format!("consumer add {name}"),
            Edit::RotateConsumer { name, .. } => format!("consumer rotate {name}"),
            Edit::RevokeConsumer { name } => format!("consumer revoke {name}"),
            Edit::SetProviderTokens { name, .. } => format!("provider set-token {name}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Edit", rename_all = "camelCase", deny_unknown_fields)]
enum EditForm {
    Delete {
        #[serde(with = "ThingKindForm")]
        kind: ThingKind,
        name: String,
    },
    AddConsumer {
        name: String,
        #[serde(with = "KeySourceForm")]
        source: KeySource,
        value: String,
    },
    RotateConsumer {
        name: String,
        value: String,
        #[serde(default)]
        until: Option<String>,
    },
    RevokeConsumer {
        name: String,
    },
    SetProviderTokens {
        name: String,
        tokens: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ThingKind", rename_all = "kebab-case")]
enum ThingKindForm {
    Domain,
    Provider,
    Consumer,
    AiRoute,
    ServiceSource,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "KeySource", rename_all = "camelCase")]
enum KeySourceForm {
    Bearer,
    Header(Box<str>),
    Query(Box<str>),
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let kind = match &error {
            EditError::NotFound { .. } => FailureKind::NotFound,
            EditError::Exists { .. } | EditError::Taken { .. } | EditError::Used { .. } => {
                FailureKind::Conflict
            }
            EditError::Invalid { .. } => FailureKind::Invalid,
            EditError::GoBuild { .. }
            | EditError::Several { .. }
            | EditError::Unreadable { .. } => FailureKind::Refused,
        };
        Self::new(
            kind,
            match error.hint() {
                Some(hint) => format!("{error}: {hint}"),
                None => error.to_string(),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_goes_over_the_wire_and_back() {
        let check = |edit: Edit, message: &str, wire: serde_json::Value| {
            let request = EditRequest::from(edit.clone());
            assert_eq!(request.message(), message);
            assert_eq!(serde_json::to_value(&request).unwrap(), wire);
            let back: EditRequest = serde_json::from_value(wire).unwrap();
            assert!(*back.edit() == edit, "{message}");
        };
        let name = || "labubu".to_owned();
        check(
            Edit::Delete { kind: ThingKind::AiRoute, name: name() },
            "delete ai-route labubu",
            json!({"delete": {"kind": "ai-route", "name": "labubu"}}),
        );
        check(
            Edit::AddConsumer { name: name(), source: KeySource::Bearer, value: "k".to_owned() },
            "consumer add labubu",
            json!({"addConsumer": {"name": "labubu", "source": "bearer", "value": "k"}}),
        );
        let source = KeySource::Header("x-key".into());
        check(
            Edit::AddConsumer { name: name(), source, value: "k".to_owned() },
            "consumer add labubu",
            json!({"addConsumer": {"name": "labubu", "source": {"header": "x-key"}, "value": "k"}}),
        );
        let until = Some("2026-11-24T09:30:00Z".to_owned());
        check(
            Edit::RotateConsumer { name: name(), value: "k".to_owned(), until: until.clone() },
            "consumer rotate labubu",
            json!({"rotateConsumer": {"name": "labubu", "value": "k", "until": until}}),
        );
        check(
            Edit::RevokeConsumer { name: name() },
            "consumer revoke labubu",
            json!({"revokeConsumer": {"name": "labubu"}}),
        );
        check(
            Edit::SetProviderTokens { name: name(), tokens: vec!["a".to_owned()] },
            "provider set-token labubu",
            json!({"setProviderTokens": {"name": "labubu", "tokens": ["a"]}}),
        );
    }

    #[test]
    fn what_is_no_edit_is_refused() {
        let refused = [
            json!({"revokeConsumer": {"name": "a", "until": "now"}}),
            json!({"delete": {"kind": "ingress", "name": "a"}}),
            json!({"setProviderTokens": {"name": "a"}}),
            json!({"revoke": {"name": "a"}}),
        ];
        for wire in refused {
            assert!(serde_json::from_value::<EditRequest>(wire.clone()).is_err(), "{wire}");
        }
    }
}
