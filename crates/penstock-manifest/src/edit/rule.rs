//! Rules of plugins whose targets go.

use super::draft::Draft;
use super::texts_in;
use crate::merge::{ListRow, lists_of};
use crate::node::{Node, Value};
use crate::render::object::texts;
use crate::resource::ResourceKey;

/// Takes targets out of the rules of every plugin. A rule that has none left
/// goes: whatever else it names only narrows it down.
pub(super) fn remove_targets(draft: &mut Draft<'_>, field: &str, goes: &dyn Fn(&str) -> bool) {
    let Some(row) = lists_of("WasmPlugin").find(|row| row.id_field.is_none()) else { return };
    let plugins: Vec<ResourceKey> =
        draft.of_kind("WasmPlugin").map(|(resource, _)| resource.key.clone()).collect();
    for key in plugins {
        let loses_all = |rule: &Node| {
            if !is_meant(rule, field) {
                return false;
            }
            let mut targets = texts_in(rule, field).peekable();
            targets.peek().is_some() && targets.all(goes)
        };
        draft.remove_entries(&key, row, &loses_all);
        narrow(draft, &key, row, (field, goes));
    }
}

/// Whether a field decides what a rule applies to. Beside a domain, a service
/// does so in one SDK and not in the other.
fn is_meant(rule: &Node, field: &str) -> bool {
    let has = |field: &str| texts_in(rule, field).next().is_some();
    field == "ingress" || has("ingress") || !has("domain")
}

/// Takes targets out of rules that keep others.
fn narrow(
    draft: &mut Draft<'_>,
    key: &ResourceKey,
    row: &ListRow,
    (field, goes): (&str, &dyn Fn(&str) -> bool),
) {
    let Some(mut root) = draft.root(key).cloned() else { return };
    let list = row.path.iter().try_fold(&mut root, |node, key| node.get_mut(key));
    let Some(Value::List(rules)) = list.map(|node| &mut node.value) else { return };
    let mut renamed = Vec::new();
    for rule in rules {
        if !is_meant(rule, field) || !texts_in(rule, field).any(goes) {
            continue;
        }
        let before = row.identity(rule);
        let left: Vec<String> =
            texts_in(rule, field).filter(|target| !goes(target)).map(str::to_owned).collect();
        if let Some(targets) = rule.get_mut(field) {
            *targets = texts(left);
        }
        renamed.push((before, row.identity(rule)));
    }
    if renamed.is_empty() {
        return;
    }
    draft.set(key, root);
    for (before, after) in renamed {
        if let (Some(before), Some(after)) = (before, after) {
            draft.rename_entry(key, &row.path_text(), (&before, &after));
        }
    }
}
