//! A plan for the screen and for programs.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::{Action, Change, FieldChange, Plan};
use crate::diagnostic::Diagnostic;

/// The longest value that a line of the text form shows.
const SHOWN_CHARS_MAX: usize = 120;

impl Plan {
    /// The plan as lines: `+` is created, `~` changed, `-` deleted.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for change in self.changes.iter().filter(|change| change.action != Action::Unchanged) {
            text_of(&mut out, change);
        }
        for name in &self.stale {
            line(
                &mut out,
                &format!("  {name} is no longer desired and stays (--prune removes it)"),
            );
        }
        if !out.is_empty() {
            out.push('\n');
        }
        line(&mut out, &self.summary());
        out
    }

    /// `1 to create, 2 to change, 0 to delete, 3 unchanged`.
    pub fn summary(&self) -> String {
        let counts = &self.counts;
        let mut summary = format!(
            "{} to create, {} to change, {} to delete, {} unchanged",
            counts.create, counts.change, counts.delete, counts.unchanged
        );
        let entries = self.deletion.count - counts.delete.min(self.deletion.count);
        if entries > 0 {
            // Writing to a String does not fail.
            let _ = write!(summary, "; {entries} entries of shared resources go");
        }
        summary
    }

    /// The plan for programs, with secrets redacted. Stable: members are only
    /// ever added.
    pub fn to_json(&self) -> Json {
        let changes = self.changes.iter().filter(|change| change.action != Action::Unchanged);
        json!({
            "version": 1,
            "base": &*self.base.0,
            "counts": {
                "create": self.counts.create,
                "change": self.counts.change,
                "delete": self.counts.delete,
                "unchanged": self.counts.unchanged,
            },
            "deletion": {
                "count": self.deletion.count,
                "total": self.deletion.total,
                // Four places, so that the number reads back as itself.
                "share": (self.deletion.share() * 10_000.0).round() / 10_000.0,
            },
            "changes": changes.map(json_of).collect::<Vec<_>>(),
            "files": self.files.iter().map(|file| json!({
                "path": &*file.path,
                "base": file.base.as_ref().map(|hash| hex(hash)),
                "removed": file.text.is_none(),
            })).collect::<Vec<_>>(),
            "stale": self.stale,
            "diagnostics": self.diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
        })
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn text_of(out: &mut String, change: &Change) {
    let sign = match change.action {
        Action::Create => '+',
        Action::Change => '~',
        Action::Delete => '-',
        Action::Unchanged => ' ',
    };
    line(out, &format!("{sign} {} ({})", change.key, change.file));
    for field in &change.fields {
        line(out, &format!("    {}", field_text(field)));
    }
    if change.loses_comments {
        line(out, "    ! its comments will be lost");
    }
}

fn field_text(field: &FieldChange) -> String {
    match (&field.before, &field.after) {
        (None, Some(after)) => format!("+ {}: {}", field.path, shown(after)),
        (Some(before), None) => format!("- {}: {}", field.path, shown(before)),
        (Some(before), Some(after)) => {
            format!("~ {}: {} -> {}", field.path, shown(before), shown(after))
        }
        (None, None) => format!("~ {}", field.path),
    }
}

/// A value on one line, cut where it is long.
fn shown(value: &Json) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{cut}…")
}

fn json_of(change: &Change) -> Json {
    // An absent member is an absent field; null is a value.
    let fields = change.fields.iter().map(|field| {
        let mut members = serde_json::Map::new();
        members.insert("path".into(), field.path.clone().into());
        members.extend(field.before.clone().map(|before| ("before".into(), before)));
        members.extend(field.after.clone().map(|after| ("after".into(), after)));
        Json::Object(members)
    });
    json!({
        "action": change.action.as_str(),
        "kind": &*change.key.kind,
        "namespace": &*change.key.namespace,
        "name": &*change.key.name,
        "file": &*change.file,
        "losesComments": change.loses_comments,
        "fields": fields.collect::<Vec<_>>(),
    })
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
