use super::*;
use crate::listing::assemble;
use crate::read::{FilePath, read_file};

const SECRETS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {heron: c2VjcmV0LWhlcm9u, odd: "%%", bytes: /w==, tls.crt: Y2VydA==, quoted: ImFcYiI=}
stringData: {heron2: plain}
---
apiVersion: v1
kind: Secret
metadata: {name: keys.v2, namespace: team}
stringData: {a: nested}
---
"#;

/// What a plugin's configuration value becomes, or the finding about it.
#[track_caller]
fn check(written: &str, expected: &str) {
    let plugin = format!(
        "{SECRETS}apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: p}}\nspec: {{url: x, defaultConfig: {{list: [{{a: '{written}'}}]}}}}\n"
    );
    let listing = assemble([&read_file(&FilePath::standalone("all.yaml"), &plugin)]);
    let secrets = Secrets::of(&listing.resources);
    let resource = listing.resources.last().unwrap();
    let mut findings = Vec::new();
    let is_marked = secrets.mark(resource, &mut findings).is_some();
    let filled = secrets.fill(resource, &mut Scrubber::default());
    let root = filled.as_ref().map_or(&resource.root, |filled| &filled.root);
    let at = Cursor::root(root, &resource.source).descend("spec.defaultConfig.list[0].a");
    let shown = match (findings.first(), &at.node.value) {
        (None, Value::String(text)) => text.to_string(),
        (Some(finding), Value::Unresolved(text)) => {
            assert_eq!((&**text, is_marked, finding.line), (written, true, 16), "{written}");
            assert_eq!(finding.path, "spec.defaultConfig.list[0].a");
            let hint = finding.hint.as_deref().map(|hint| format!("; {hint}"));
            format!("! {}{}", finding.message, hint.unwrap_or_default())
        }
        other => panic!("{written}: {other:?}"),
    };
    assert_eq!(shown, expected, "{written}");
}

#[test]
fn references_are_replaced() {
    check("${secret.keys.heron}", "secret-heron");
    check("${secret.higress-system/keys.heron}", "secret-heron");
    check("Bearer ${secret.keys.heron}/${secret.keys.heron2}!", "Bearer secret-heron/plain!");
    check("${secret.team/keys.v2.a}", "nested");
    check("${secret.keys.tls.crt}", "cert");
    check("${secret.keys.quoted}", r#""a\b""#);
}

#[test]
fn other_placeholders_stay() {
    for text in
        ["${env.HOME}", "$secret.keys.heron", "${ secret.keys.heron}", "${secrets.a.b}", "}"]
    {
        check(text, text);
    }
}

#[test]
fn what_leads_nowhere_is_told() {
    check(
        "${secret.key.heron}",
        "! there is no Secret `key` in the namespace `higress-system`; did you mean `keys`?",
    );
    check("${secret.keys.herons}", "! Secret keys has no key `herons`; did you mean `heron`?");
    check("${secret.keys.v2.a}", "! Secret keys has no key `v2.a`");
    check(
        "x ${secret.keys.odd}",
        "! the value of `odd` in Secret keys is no base64; encode it, or write it as it is under stringData",
    );
    check("${secret.keys.bytes}", "! the value of `bytes` in Secret keys is no text");
    check(
        "${secret.keys}",
        "! `${secret.keys}` names no key; write ${secret.NAME.KEY} or ${secret.NAMESPACE/NAME.KEY}",
    );
    check("${secret.keys.heron", "! `${secret.` is not closed by a `}`");
}

#[test]
fn findings_show_the_reference() {
    let mut scrubber = Scrubber::default();
    scrubber.values.insert("abc".into(), "${secret.a.b}".into());
    scrubber.values.insert("xabcx".into(), "${secret.a.c}".into());
    let source = crate::Source { file: "f".into(), document: 0, at: crate::Position::default() };
    let mut findings = [Diagnostic::at(&SECRET_UNRESOLVED, &source, source.at, "of abc and xabcx")
        .with_hint("not abc")];
    scrubber.scrub(&mut findings);
    assert_eq!(findings[0].message, "of ${secret.a.b} and ${secret.a.c}");
    assert_eq!(findings[0].hint.as_deref(), Some("not ${secret.a.b}"));
}
