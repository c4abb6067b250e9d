//! Files that ai-proxy's providers want from services that nobody has.

use super::destination::{address, hint};
use super::model::{LookUp, Model};
use crate::diagnostic::{CONTEXT_UNKNOWN_SERVICE, Diagnostic};
use crate::node::{Cursor, Value};

pub(super) fn run(model: &Model<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for provider in &model.providers {
        if let Some(context) = provider.entry.get("context") {
            diagnostics.extend(check(model, &context));
        }
    }
}

fn check(model: &Model<'_>, context: &Cursor<'_>) -> Option<Diagnostic> {
    let name = context.get("serviceName")?;
    let host = name.node.as_str()?;
    let port = match context.get("servicePort")?.node.value {
        Value::Int(port) => u16::try_from(port).ok()?,
        Value::String(ref text) => text.parse().ok()?,
        _ => return None,
    };
    let has_port = match model.services.look_up(host) {
        LookUp::Exists(ports) => ports.is_empty() || ports.contains(&port),
        LookUp::Missing => false,
        LookUp::Unclear => true,
    };
    if has_port {
        return None;
    }
    let message = format!("`{}` names no service", address(host, Some(port)));
    let finding = name.diagnostic(&CONTEXT_UNKNOWN_SERVICE, message);
    Some(match hint(model, host, Some(port)) {
        Some(hint) => finding.with_hint(hint),
        None => finding.with_hint("add the registry to McpBridge `default`"),
    })
}
