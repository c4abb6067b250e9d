//! One text that may be secret: what an intent may say for it.

use std::fmt;

use crate::diagnostic::{Diagnostic, INVALID_VALUE};
use crate::intent::Place;
use crate::node::Cursor;
use crate::redact::redact;

/// A text that may be secret. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretText {
    /// The text itself.
    Plain(Box<str>),
    /// The name of an environment variable that holds it.
    Env(Box<str>),
    /// The path of a file that holds it.
    File(Box<str>),
}

/// A secret text of an intent and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretValue {
    /// The text.
    pub text: SecretText,
    /// Where it stands.
    pub place: Place,
}

/// Why a text cannot be used. It never repeats what may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: &'static str,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.debug_tuple("Plain").field(&redact(text)).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl SecretText {
    /// Reads `${env:NAME}`, `${file:PATH}`, or plain text, in which
    /// `${secret.NAME.KEY}` stays for the gateway to replace.
    ///
    /// # Errors
    /// Anything else that looks like a reference: taken as it is, a mistyped
    /// one would become the secret.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let inside = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix('}');
        if let Some(name) = inside("${env:") {
            return match is_variable(name) {
                true => Ok(Self::Env(name.into())),
                false => {
                    Err("`${env:NAME}` needs the name of a variable: letters, digits and `_`"
                        .into())
                }
            };
        }
        if let Some(path) = inside("${file:") {
            return match path.is_empty() || path.contains("${") {
                false => Ok(Self::File(path.into())),
                true => Err("`${file:PATH}` needs the path of a file".into()),
            };
        }
        if text.contains("${env:") || text.contains("${file:") {
            return Err("`${env:NAME}` and `${file:PATH}` must be the whole value".into());
        }
        let without_brace = text.strip_prefix('$').filter(|rest| !rest.starts_with('{'));
        if let Some((kind, name)) = without_brace.and_then(kind_and_name) {
            return Err(Mistake {
                message: "a reference needs braces",
                hint: Some(meant(kind, name.trim_end_matches('}'))),
            });
        }
        for reference in text.split("${").skip(1) {
            check_reference(reference)?;
        }
        Ok(Self::Plain(text.into()))
    }

    /// Reads a key or token, with a finding where it cannot be used.
    pub fn read(cursor: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<SecretValue> {
        let text = match Self::parse(cursor.node.as_str()?) {
            Ok(text) => text,
            Err(mistake) => {
                diagnostics.push(mistake.at(cursor));
                return None;
            }
        };
        let fault = match &text {
            Self::Plain(text) if text.trim().is_empty() => Some("is empty"),
            Self::Plain(text) => fault_in_header(text),
            Self::Env(_) | Self::File(_) => None,
        };
        if let Some(fault) = fault {
            let message = format!("`{}` {fault}", cursor.path);
            diagnostics.push(cursor.diagnostic(&INVALID_VALUE, message));
            return None;
        }
        Some(SecretValue { text, place: Place::of(cursor) })
    }

    /// What a manifest says for it.
    pub fn in_manifest(&self, secret: &str, key: &str) -> String {
        match self {
            Self::Plain(text) => text.to_string(),
            Self::Env(_) | Self::File(_) => format!("${{secret.{secret}.{key}}}"),
        }
    }
}

impl From<&'static str> for Mistake {
    fn from(message: &'static str) -> Self {
        Self { message, hint: None }
    }
}

impl Mistake {
    /// A finding about it.
    pub(crate) fn at(self, cursor: &Cursor<'_>) -> Diagnostic {
        let found = cursor.diagnostic(&INVALID_VALUE, self.message);
        match self.hint {
            Some(hint) => found.with_hint(hint),
            None => found,
        }
    }
}

/// Why a text cannot come in the header that it is meant for, in one clause.
/// HTTP takes blanks off the ends of a value.
pub(crate) fn fault_in_header(text: &str) -> Option<&'static str> {
    if text.contains(char::is_control) {
        return Some("has a line end or another control character, which no header can hold");
    }
    (text.trim() != text).then_some("has a blank at an end, which no header keeps")
}

/// Checks what stands behind `${`, which is neither `env:` nor `file:`.
fn check_reference(behind: &str) -> Result<(), Mistake> {
    let Some((inner, _)) = behind.split_once('}') else {
        return Err(Mistake {
            message: "`${` begins a reference, and no `}` ends it",
            hint: Some(FORMS.to_owned()),
        });
    };
    if let Some(secret) = inner.strip_prefix("secret.") {
        let name = secret.split_once('/').map_or(secret, |(_, name)| name);
        let is_whole =
            name.split_once('.').is_some_and(|(name, key)| !name.is_empty() && !key.is_empty());
        return match is_whole && !inner.contains(char::is_whitespace) {
            true => Ok(()),
            false => Err("`${secret.NAME.KEY}` needs the names of a Secret and of its key".into()),
        };
    }
    let hint = match kind_and_name(inner) {
        Some((kind, name)) => meant(kind, name),
        None => FORMS.to_owned(),
    };
    Err(Mistake {
        message: "`${` begins a reference, and this is none that is known",
        hint: Some(hint),
    })
}

/// What may stand behind `${`.
const FORMS: &str = "there are `${env:NAME}`, `${file:PATH}` and `${secret.NAME.KEY}`; a value that has `${` in it can come from a variable or a file";

#[derive(Clone, Copy)]
enum Kind {
    Env,
    File,
    Secret,
}

/// What a mistyped reference refers to: `ENV:NAME`, `env.NAME`, ` file : PATH`.
fn kind_and_name(inner: &str) -> Option<(Kind, &str)> {
    let (kind, name) = inner.split_once([':', '.'])?;
    let kind = match &*kind.trim().to_ascii_lowercase() {
        "env" => Kind::Env,
        "file" => Kind::File,
        "secret" => Kind::Secret,
        _ => return None,
    };
    Some((kind, name.trim()))
}

/// A hint with the name, where it can be nothing but a name.
fn meant(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Env if is_variable(name) => format!("did you mean `${{env:{name}}}`?"),
        Kind::Env => "did you mean `${env:NAME}`?".to_owned(),
        Kind::File if is_path(name) => format!("did you mean `${{file:{name}}}`?"),
        Kind::File => "did you mean `${file:PATH}`?".to_owned(),
        Kind::Secret => "did you mean `${secret.NAME.KEY}`?".to_owned(),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_path(name: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| name.starts_with(start))
        && !name.contains(['$', '{', '}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_mistyped_ones_are_no_text() {
        let hint = |text: &str| SecretText::parse(text).map_err(|m| m.hint.unwrap_or_default());
        let plain = |text: &str| assert_eq!(hint(text), Ok(SecretText::Plain(text.into())));
        for text in [
            "sk-1",
            "a$b",
            "$",
            "$HOME",
            "$$x}",
            "{x}",
            "${secret.a.b}",
            "Bearer ${secret.ns/a.b.c} and ${secret.a.b}",
            "env:X",
        ] {
            plain(text);
        }
        assert_eq!(hint("${env:A_1}"), Ok(SecretText::Env("A_1".into())));
        assert_eq!(hint("${file:/a b}"), Ok(SecretText::File("/a b".into())));
        let check = |text: &str, part: &str| {
            let found = hint(text).unwrap_err();
            assert!(found.contains(part), "{text}: {found}");
        };
        for text in
            ["${ENV:KEY}", "${env.KEY}", "$env:KEY", "$ENV.KEY", "${ env:KEY }", "${Env :KEY}"]
        {
            check(text, "did you mean `${env:KEY}`?");
        }
        for text in ["${FILE:/run/x}", "$file:/run/x", "${file./run/x}"] {
            check(text, "did you mean `${file:/run/x}`?");
        }
        check("${Secret.a.b}", "`${secret.NAME.KEY}`");
        check("${secret:a}", "`${secret.NAME.KEY}`");
        for text in ["${vault:x}", "${}", "${KEY}", "a ${KEY} b", "${open", "${secret.a.b} ${"] {
            check(text, "`${env:NAME}`");
        }
        for text in ["${env:}", "x${env:A}", "${env:A", "${file:}", "${secret.a}", "${secret.a.}"] {
            check(text, "");
        }
    }

    #[test]
    fn a_mistake_repeats_no_value() {
        for text in ["${sk-live}", "${env.sk-live}", "$env:sk-live", "${FILE:sk-live}", "${sk-live"]
        {
            let found = format!("{:?}", SecretText::parse(text));
            assert!(!found.contains("live"), "{text}: {found}");
        }
    }

    #[test]
    fn a_secret_is_never_in_debug() {
        let text = format!("{:?}", SecretText::Plain("sk-very-secret".into()));
        assert!(!text.contains("very"), "{text}");
    }
}
