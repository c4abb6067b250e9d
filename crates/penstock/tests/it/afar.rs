//! The verbs that look, against the admin listener of a gateway: they print
//! what they print of the directory that it serves, and nothing secret.

use serde_json::Value;

use crate::support::*;

const ADMIN_TOKEN: &str = "admin-token-2236";

/// A gateway that serves the scenario, and its token.
struct Afar {
    directory: Directory,
    gateway: Gateway,
    desk: Directory,
}

/// What a verb said.
#[derive(Debug, PartialEq)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(arguments: &[&str]) -> Self {
        let output = penstock(arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        for secret in [TOKEN, HERON_KEY, OTTER_KEY, ADMIN_TOKEN] {
            assert!(!out.contains(secret) && !err.contains(secret), "{arguments:?}: {out}{err}");
        }
        Self { code: output.status.code().unwrap(), out, err }
    }
}

impl Afar {
    fn start() -> Self {
        Self::serving(Directory::harbor(dead_address(9)), None)
    }

    fn serving(directory: Directory, class: Option<&str>) -> Self {
        let desk = Directory::new().holding([("token", ADMIN_TOKEN)]);
        let serve = Serve::new(directory.path());
        let serve = serve.with("--admin-token-file", desk.file("token").display());
        let serve = match class {
            Some(class) => serve.with("--ingress-class", class),
            None => serve,
        };
        Self { gateway: serve.start(), directory, desk }
    }

    /// A verb that looks at the directory itself.
    fn near(&self, arguments: &[&str]) -> Said {
        Said::of(&[arguments, &["--config", &self.directory.path().display().to_string()]].concat())
    }

    /// A verb that asks the gateway.
    fn far(&self, arguments: &[&str]) -> Said {
        let (url, token) = (self.url(), self.desk.file("token").display().to_string());
        Said::of(&[arguments, &["--config", &url, "--token-file", &token]].concat())
    }

    fn url(&self) -> String {
        format!("http://{}", self.gateway.admin)
    }

    /// The verb says the same near and far.
    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, part: &str) {
        let (near, far) = (self.near(arguments), self.far(arguments));
        assert_eq!(far, near, "{arguments:?}");
        assert_eq!(far.code, code, "{arguments:?}: {far:?}");
        let told = [far.out, far.err].concat();
        assert!(told.contains(part), "{arguments:?}: {told} lacks {part}");
    }

    fn get(&self, path: &str) -> Answer {
        let asked = Request::get(&self.gateway.admin.to_string(), path).key(ADMIN_TOKEN);
        asked.send(self.gateway.admin)
    }
}

#[test]
fn get_and_describe_say_the_same_from_afar() {
    let afar = Afar::start();
    for output in ["table", "json", "yaml", "name"] {
        afar.check(&["get", "-o", output], 0, "heron");
        afar.check(&["get", "providers", "-o", output], 0, "brook");
        afar.check(&["get", "Consumer", "heron", "-o", output], 0, "heron");
        afar.check(&["get", "ing", "-o", output], 0, "ai-route-pier.internal");
        afar.check(&["get", "wasmplugins", "higress-system/key-auth.internal"], 0, "key-auth");
    }
    for output in ["text", "json"] {
        for (kind, name) in
            [("route", "pier"), ("provider", "brook"), ("ingress", "ai-route-pier.internal")]
        {
            afar.check(&["describe", kind, name, "-o", output], 0, name);
        }
    }
    afar.check(&["get", "provder"], 64, "there is no kind `provder`: did you mean `provider`?");
    afar.check(&["describe", "wasmplugn", "a"], 64, "did you mean `wasmplugins`?");
    afar.check(&["get", "provider", "brok"], 1, "did you mean `brook`?");
    afar.check(&["get", "provider", "a&b=c/ %41é"], 1, "there is no provider `a&b=c/ %41é`");
    afar.check(&["describe", "consumer", "hero"], 1, "did you mean `heron`?");
    afar.check(&["describe", "ingress", "zzz"], 1, "there is no Ingress `zzz`");
}

#[test]
fn what_cannot_be_read_is_told_from_afar() {
    let broken = Directory::harbor(dead_address(9)).holding([("secrets/b.yaml", "kind: [")]);
    let afar = Afar::serving(broken, None);
    afar.check(&["get", "consumers"], 0, "error[PS102]");
    afar.check(&["get", "consumer", "hero"], 1, "error[PS102]");
    afar.check(&["export"], 1, "error[PS102]");
}

#[test]
fn findings_are_about_the_class_of_the_gateway() {
    let afar = Afar::serving(Directory::harbor(dead_address(9)), Some("inner"));
    let pier = ["describe", "ingress", "ai-route-pier.internal"];
    assert!(afar.far(&pier).out.contains(", not `inner`"));
    assert!(!afar.near(&pier).out.contains(", not `inner`"));
}

#[test]
fn an_export_from_afar_holds_no_secret() {
    let afar = Afar::start();
    afar.check(&["export"], 0, "${env:PROVIDER_BROOK_TOKEN}");
    afar.check(&["export", "--secrets", "redact"], 0, "sha256:");
    let file = afar.desk.file("intent.yaml").display().to_string();
    let near = (afar.near(&["export", "-o", &file]), afar.desk.read("intent.yaml"));
    let far = (afar.far(&["export", "-o", &file]), afar.desk.read("intent.yaml"));
    assert_eq!(near, far);
    afar.desk.remove("intent.yaml");
    let inline = afar.far(&["export", "--secrets", "inline", "-o", &file]);
    assert_eq!((inline.code, &*inline.out), (64, ""));
    assert!(inline.err.contains("a gateway does not give its secrets away"), "{}", inline.err);
    assert!(!afar.desk.file("intent.yaml").exists());
}

#[test]
fn the_routes_of_a_consumer_are_those_in_force() {
    let afar = Afar::start();
    for output in ["text", "json"] {
        afar.check(&["consumer", "routes", "heron", "-o", output], 0, "ai-route-pier.internal");
        afar.check(&["consumer", "routes", "otter", "-o", output], 0, "");
    }
    afar.check(&["consumer", "routes", "hero"], 1, "did you mean `heron`?");
    afar.check(&["consumer", "routes", "a/b ?é"], 1, "there is no consumer `a/b ?é`");
    // What cannot be used keeps its last good version in force.
    afar.directory.write("ingresses/ai-route-pier.internal.yaml", "kind: [");
    let configuration = || afar.get("/status").json()["configuration"].take();
    eventually("a finding", || configuration().to_string().contains("PS102").then_some(()));
    let routes = ["consumer", "routes", "heron"];
    assert!(afar.far(&routes).out.contains("ai-route-pier.internal"));
    assert!(!afar.near(&routes).out.contains("ai-route-pier.internal"));
}

#[test]
fn only_who_has_the_token_may_look() {
    let afar = Afar::start();
    let url = afar.url();
    for verb in [
        &["get"][..],
        &["describe", "route", "pier"],
        &["export"],
        &["consumer", "routes", "heron"],
    ] {
        let said = Said::of(&[verb, &["--config", &url]].concat());
        assert_eq!((said.code, &*said.out), (1, ""));
        assert!(said.err.contains("wants a token; name a --token-file"), "{}", said.err);
    }
}

#[test]
fn programs_get_json_and_text() {
    let afar = Afar::start();
    let secrets = [TOKEN, HERON_KEY, OTTER_KEY];
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (path, verb) in [
        ("get", &["get"][..]),
        ("get?kind=wasmplugin", &["get", "wasmplugin"]),
        ("describe?kind=provider&name=brook", &["describe", "provider", "brook"]),
        ("consumers/heron/routes", &["consumer", "routes", "heron"]),
    ] {
        let answer = afar.get(&format!("/api/v1/{path}"));
        check_no_leak(&answer, &secrets);
        let answer = answer.json();
        assert_eq!(answer["text"], afar.near(verb).out, "{path}");
        let json = afar.near(&[verb, &["-o", "json"]].concat()).out;
        assert_eq!(answer["json"], parsed(&json), "{path}");
    }
    let yaml = afar.get("/api/v1/get?kind=consumer&output=yaml").json();
    assert!(yaml["text"].as_str().unwrap().starts_with("consumers:\n"), "{yaml}");
    let whole = &afar.get("/api/v1/export").json()["isWhole"];
    assert_eq!(whole, &Value::Bool(true));
    for path in ["consumers//routes", "consumers/a/b/routes", "consumers/a", "consumers/routes"] {
        let answer = afar.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status(), 404, "{path}");
        assert!(answer.text().contains("there is no `/api/v1/consumers"), "{}", answer.text());
    }
}
