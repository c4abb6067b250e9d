//! `get` and `describe` show what there is, without secrets.

use serde_json::Value;

use crate::support::*;

fn run(directory: &Directory, arguments: &[&str]) -> (i32, String, String) {
    let path = directory.path().display().to_string();
    let output = penstock(&[arguments, &["--config", &path]].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn site() -> Directory {
    Directory::harbor("127.0.0.1:9".parse().unwrap())
}

#[track_caller]
fn shown(arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(&site(), arguments);
    assert_eq!(code, 0, "{stderr}");
    for secret in [TOKEN, HERON_KEY, OTTER_KEY] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}{stderr}");
    }
    stdout
}

fn parsed(arguments: &[&str]) -> Value {
    serde_json::from_str(&shown(&[arguments, &["-o", "json"]].concat())).unwrap()
}

#[test]
fn tables_are_aligned() {
    let check = |arguments: &[&str], expected: &str| {
        assert_eq!(shown(arguments), expected, "{arguments:?}");
    };
    check(
        &["get"],
        "KIND            COUNT  NAMES\ndomain          1      chat.harbor.test\nprovider        1      brook\nconsumer        2      heron, otter\nai-route        1      pier\nservice-source  0      -\n",
    );
    check(&["get", "domains"], "NAME              HTTPS  ROUTES\nchat.harbor.test  off    pier\n");
    check(
        &["get", "provider", "brook"],
        "NAME   TYPE    ENDPOINT            TOKENS  ROUTES\nbrook  openai  http://127.0.0.1:9  1       pier\n",
    );
    check(
        &["get", "consumers"],
        "NAME   CREDENTIALS  ROUTES\nheron  BEARER (1)   pier\notter  BEARER (1)   -\n",
    );
    check(
        &["get", "routes"],
        "NAME  DOMAINS           PATH  UPSTREAMS  AUTH\npier  chat.harbor.test  /v1   brook=100  heron\n",
    );
    check(&["get", "service-sources"], "NAME  TYPE  DOMAIN  PORT  PROTOCOL\n");
    check(
        &["get", "-o", "name"],
        "domain/chat.harbor.test\nprovider/brook\nconsumer/heron\nconsumer/otter\nai-route/pier\n",
    );
    check(&["get", "ing", "-o", "name"], "ingress/ai-route-pier.internal\n");
    let plugins = shown(&["get", "wasmplugin"]);
    assert!(plugins.starts_with("NAME               NAMESPACE       FILE\nai-proxy"), "{plugins}");
}

#[test]
fn programs_get_json_and_yaml() {
    let providers = parsed(&["get", "provider"]);
    assert_eq!(providers["kind"], "provider");
    let brook = &providers["items"][0];
    assert_eq!((&brook["name"], &brook["routes"][0]), (&"brook".into(), &"pier".into()));
    assert!(brook["intent"]["tokens"][0].as_str().unwrap().starts_with("sha256:"), "{brook}");
    assert_eq!(parsed(&["get"])["kinds"][2]["names"], serde_json::json!(["heron", "otter"]));
    let plugin = parsed(&["get", "wasmplugins", "key-auth.internal"]);
    assert_eq!(plugin["items"][0]["object"]["kind"], "WasmPlugin");
    let yaml = shown(&["get", "consumer", "heron", "-o", "yaml"]);
    assert!(yaml.starts_with("consumers:\n- name: heron\n"), "{yaml}");
    assert!(shown(&["get", "cm", "-o", "yaml"]).contains("kind: ConfigMap\n"));
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    let check = |arguments: &[&str], code: i32, expected: &str| {
        let (found, stdout, stderr) = run(&site(), arguments);
        assert_eq!((found, &*stdout), (code, ""), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    check(&["get", "provder"], 64, "there is no kind `provder`: did you mean `provider`?");
    check(&["describe", "wasmplugn", "a"], 64, "did you mean `wasmplugins`?");
    check(&["get", "provider", "brok"], 1, "did you mean `brook`?");
    check(&["describe", "consumer", "hero"], 1, "did you mean `heron`?");
    check(&["describe", "ingress", "zzz"], 1, "there is no Ingress `zzz`");
    check(&["describe", "provider"], 64, "NAME");
}

#[test]
fn a_thing_is_described_with_its_places_and_relations() {
    let parts = |description: &Value| -> Vec<String> {
        let parts = description["parts"].as_array().unwrap().iter();
        parts
            .map(|part| {
                assert!(part["line"].as_u64().unwrap() > 0, "{part}");
                format!("{} {}", part["resource"].as_str().unwrap(), part["path"].as_str().unwrap())
            })
            .collect()
    };
    let relations = |description: &Value| -> Vec<String> {
        let relations = description["relations"].as_array().unwrap().iter();
        let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        relations
            .map(|one| ["relation", "kind", "name"].map(|key| word(one, key)).join(" "))
            .collect()
    };
    let provider = parsed(&["describe", "provider", "brook"]);
    let expected = [
        "WasmPlugin ai-proxy.internal spec.defaultConfig.providers[0]",
        "WasmPlugin ai-proxy.internal spec.matchRules[0]",
        "McpBridge default spec.registries[0]",
    ];
    assert_eq!(parts(&provider), expected);
    assert_eq!(relations(&provider), ["used by ai-route pier"]);
    let route = parsed(&["describe", "route", "pier"]);
    let expected =
        ["listens on domain chat.harbor.test", "goes to provider brook", "allows consumer heron"];
    assert_eq!(relations(&route), expected);
    assert!(parts(&route).contains(&"Ingress ai-route-pier.internal ".to_owned()));
    let codes: Vec<&str> = route["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"PS814"), "{codes:?}");
    assert_eq!(relations(&parsed(&["describe", "consumer", "heron"])), ["used by ai-route pier"]);
    assert_eq!(
        relations(&parsed(&["describe", "ingress", "ai-route-pier.internal"])),
        ["part of ai-route pier"]
    );
    let text = shown(&["describe", "domain", "chat.harbor.test"]);
    assert!(text.contains("configmaps/domain-chat.harbor.test.yaml:1"), "{text}");
    assert!(text.contains("used by  ai-route  pier"), "{text}");
}

#[test]
fn secrets_belong_to_what_refers_to_them() {
    let directory = site();
    directory.edit("wasmplugins/ai-proxy.internal.yaml", TOKEN, "${secret.paid.token}");
    directory.write(
        "secrets/paid.yaml",
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: paid, namespace: higress-system}}\nstringData: {{token: {TOKEN}}}\n"),
    );
    let (_, provider, _) = run(&directory, &["describe", "provider", "brook"]);
    assert!(provider.contains("Secret paid"), "{provider}");
    let (_, secret, _) = run(&directory, &["describe", "secret", "paid"]);
    assert!(secret.contains("used by  wasmplugin  ai-proxy.internal"), "{secret}");
    assert!(secret.contains("sha256:"), "{secret}");
    for output in ["yaml", "json"] {
        let (_, all, _) = run(&directory, &["get", "secrets", "-o", output]);
        assert!(all.contains("sha256:") && !all.contains(TOKEN), "{all}");
    }
    assert!(!secret.contains(TOKEN) && !provider.contains(TOKEN));
}
