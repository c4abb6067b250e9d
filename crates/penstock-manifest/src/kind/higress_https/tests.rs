use super::*;
use crate::listing::assemble;
use crate::read::{FilePath, read_file};

fn parse(document: &str) -> (Option<HigressHttps>, Vec<String>) {
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: higress-https}}\ndata: {{cert: \"{document}\"}}\n"
    );
    let listing = assemble([&read_file(&FilePath::standalone("c.yaml"), &text)]);
    assert!(is_higress_https(&listing.resources[0]));
    let mut found = Vec::new();
    let parsed = HigressHttps::parse(&listing.resources[0], &mut found);
    let found = found.iter().map(|d| format!("{} {} {}", d.severity, d.code.id, d.path)).collect();
    (parsed, found)
}

#[test]
fn the_first_entry_that_covers_a_host_has_its_secret() {
    let document = "credentialConfig: [{domains: [A.test], tlsSecret: a}, {domains: ['*.test', b.example], tlsSecret: team/wild}, {domains: [c.test], tlsSecret: never}, {domains: ['*'], tlsSecret: rest}]";
    let (parsed, found) = parse(document);
    assert!(found.is_empty(), "{found:?}");
    let parsed = parsed.unwrap();
    let check = |host: &str, expected: &str| {
        let secret = parsed.secret_for(host).map(|(namespace, name)| format!("{namespace}/{name}"));
        assert_eq!(secret.as_deref(), Some(expected), "{host}");
    };
    check("a.test", "higress-system/a");
    check("c.test", "team/wild");
    check("x.y.test", "team/wild");
    check("*.test", "team/wild");
    check("*.a.test", "team/wild");
    check("b.example", "team/wild");
    check("test", "higress-system/rest");
    check("*", "higress-system/rest");
    let (parsed, _) = parse("credentialConfig: [{domains: [a.test], tlsSecret: a}]");
    assert_eq!(parsed.unwrap().secret_for("*.a.test"), None);
}

#[test]
fn a_mistake_costs_the_whole_document() {
    let check = |document: &str, finding: &str| {
        assert_eq!(parse(document), (None, vec![finding.to_owned()]), "{document}");
    };
    check("[", "error PS214 data.cert");
    check("5", "error PS201 data.cert");
    check("renewBeforeDays: 90", "error PS208 data.cert.renewBeforeDays");
    check("automaticHttps: yess", "error PS201 data.cert.automaticHttps");
    check("fallbackForInvalidSecret: 1", "error PS201 data.cert.fallbackForInvalidSecret");
    check("acmeIssuer: [{name: other}]", "error PS208 data.cert.acmeIssuer[0].name");
    check("credentialConfig: {}", "error PS201 data.cert.credentialConfig");
    let entry = "error PS203 data.cert.credentialConfig[0]";
    check("credentialConfig: [{domains: [a.test]}]", entry);
    check("credentialConfig: [{domains: [], tlsSecret: a}]", entry);
    let secret = "error PS208 data.cert.credentialConfig[0].tlsSecret";
    check("credentialConfig: [{domains: [a.test], tlsSecret: a/b/c}]", secret);
    let issuer = "error PS208 data.cert.credentialConfig[0].tlsIssuer";
    check("credentialConfig: [{domains: ['*.a'], tlsSecret: a, tlsIssuer: letsencrypt}]", issuer);
    check("credentialConfig: [{domains: [a, b], tlsSecret: a, tlsIssuer: letsencrypt}]", issuer);
    check("credentialConfig: [{domains: [a], tlsSecret: a, tlsIssuer: other}]", issuer);
}

#[test]
fn what_does_not_act_is_told() {
    let (parsed, found) = parse(
        "{automaticHttps: true, acmeIssuer: [{name: letsencrypt, email: a@b.test}], fallbackForInvalidSecret: true, renewBeforeDays: 30, version: '1', credentialConfig: [{domains: [a.test], tlsIssuer: letsencrypt, tlsSecret: a}], credentials: []}",
    );
    let parsed = parsed.unwrap();
    assert!(parsed.is_fallback && parsed.credentials.len() == 1);
    assert_eq!(
        found,
        [
            "warning PS202 data.cert.credentials",
            "warning PS215 data.cert.credentialConfig[0].tlsIssuer",
        ]
    );
}
