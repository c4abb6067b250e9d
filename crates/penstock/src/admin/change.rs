//! The endpoints that change the directory, or say what a change would do.

use penstock_manifest::intent::secret::resolve;
use penstock_manifest::intent::{self, IntentFile};
use serde::Deserialize;
use serde_json::Value as Json;

use super::api::Api;
use super::audit::Entry;
use super::call::{Call, invalid};
use super::guard::NO_CHANGES;
use super::look::answer;
use crate::target::{
    AdoptRequest, ChangeRequest, Failure, FailureKind, IntentText, Request, key_of,
};

/// The name of an intent that is a body.
const BODY: &str = "body";
/// The parameters that stand beside an intent in YAML.
const OPTIONS: &[&str] =
    &["adopt", "allowDelete", "author", "base", "dryRun", "message", "overwrite", "prune"];

/// `POST plan`.
pub fn plan(api: &Api, call: &Call) -> Result<Json, Failure> {
    let request = match call.is_yaml {
        true => from_yaml(call)?,
        false => {
            call.allow(&[])?;
            call.json()?
        }
    };
    if request.save && !call.has_token {
        return Err(Failure::new(FailureKind::Forbidden, NO_CHANGES));
    }
    let request = signed(request, call);
    if request.save {
        api.audit.open()?;
    }
    let planned = api.target.plan(&request)?;
    if request.save {
        api.audit.tell(&Entry::of(call, &request, "plan").saved());
    }
    answer(&planned)
}

/// `POST apply`.
pub fn apply(api: &Api, call: &Call) -> Result<Json, Failure> {
    let (request, is_dry_run) = match call.is_yaml {
        true => (from_yaml(call)?, call.flag("dryRun")?),
        false => {
            call.allow(&["dryRun"])?;
            (call.json()?, call.flag("dryRun")?)
        }
    };
    make(api, call, request, is_dry_run)
}

/// What is taken back.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rollback {
    to: Option<u64>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    overwrite: bool,
    base: Option<String>,
    verify: Option<IntentText>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST rollback`.
pub fn rollback(api: &Api, call: &Call) -> Result<Json, Failure> {
    call.allow(&[])?;
    let Rollback { to, message, author, overwrite, base, verify, dry_run } = call.json()?;
    let request = Request {
        message,
        author,
        overwrite,
        base,
        verify,
        ..Request::new(ChangeRequest::Rollback { to })
    };
    make(api, call, request, dry_run)
}

fn make(api: &Api, call: &Call, request: Request, is_dry_run: bool) -> Result<Json, Failure> {
    let request = signed(request, call);
    if is_dry_run {
        return answer(&api.target.plan(&Request { save: false, ..request })?);
    }
    // What cannot be told of is not done.
    api.audit.open()?;
    let verb = match &request.change {
        ChangeRequest::Rollback { .. } => "rollback",
        ChangeRequest::Edit(_) => "edit",
        ChangeRequest::Intent { .. } | ChangeRequest::Plan(_) => "apply",
    };
    let entry = Entry::of(call, &request, verb);
    let applied = api.target.apply(&request);
    api.audit.tell(&entry.after(&applied));
    answer(&applied?)
}

/// The request with its author and its reason.
fn signed(mut request: Request, call: &Call) -> Request {
    if let (ChangeRequest::Edit(edit), true) = (&request.change, request.message.is_empty()) {
        request.message = edit.message();
    }
    if request.author.is_empty() {
        request.author = format!("api@{}", call.client.ip());
    }
    request
}

/// The request that an intent in YAML and the parameters beside it make.
fn from_yaml(call: &Call) -> Result<Request, Failure> {
    call.allow(OPTIONS)?;
    let text = std::str::from_utf8(&call.body).map_err(|_| invalid("the body is not text"))?;
    let references = references(text);
    if !references.is_empty() {
        return Err(invalid(format!(
            "the intent refers to `{}`, which is never looked up here: send the values, or send \
             JSON with `secrets`, or use `penstock apply --to`",
            references.join("`, `")
        )));
    }
    let file = IntentText { name: BODY.to_owned(), text: text.to_owned() };
    let mut request = Request::new(ChangeRequest::Intent { files: vec![file], secrets: [].into() });
    let text = |name: &str| call.parameter(name).unwrap_or_default().to_owned();
    request.prune = call.flag("prune")?;
    request.overwrite = call.flag("overwrite")?;
    request.allow_delete = call.number("allowDelete")?;
    request.base = call.parameter("base").map(str::to_owned);
    request.message = text("message");
    request.author = text("author");
    let adopted = call.query.iter().filter(|(name, _)| name == "adopt");
    let adopted: Vec<String> = adopted.map(|(_, value)| value.clone()).collect();
    request.adopt = match adopted.iter().any(String::is_empty) {
        true => AdoptRequest::Everything,
        false if adopted.is_empty() => AdoptRequest::Nothing,
        false => AdoptRequest::Only(adopted),
    };
    Ok(request)
}

/// What an intent refers to outside of itself, as `${env:NAME}`.
fn references(text: &str) -> Vec<String> {
    let (intent, _) = intent::parse([IntentFile { name: BODY, text }]);
    let mut references = Vec::new();
    // Only the looking up is wanted; what is wrong is found again later.
    let _ = resolve(&intent, |lookup| {
        references.push(format!("${{{}}}", key_of(lookup)));
        Ok(String::new())
    });
    references.sort();
    references.dedup();
    references
}
