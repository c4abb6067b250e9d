//! One thing changes with one command: consumers, their keys, the tokens of
//! providers; and no secret is told but the key that was asked for.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::*;

const LABUBU_KEY: &str = "labubu-key-3141";
const OLD_TOKEN: &str = "sk-old-1618";

/// A route for consumers of an intent, and what was applied.
struct Town {
    upstream: Upstream,
    manifests: Directory,
    /// Files that are not manifests.
    desk: Directory,
}

/// What a verb said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    /// The key that was printed, and nothing else.
    #[track_caller]
    fn key(self) -> String {
        let said = self.ok();
        let key = said.out.strip_suffix('\n').unwrap();
        let digits = key.strip_prefix("psk_").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
        assert!(!said.err.contains(key), "{}", said.err);
        key.to_owned()
    }

    #[track_caller]
    fn refused(self, code: i32, part: &str) {
        assert_eq!((self.code, &*self.out), (code, ""), "{}", self.err);
        assert!(self.err.contains(part), "{}", self.err);
        self.check_silent(&[LABUBU_KEY, OLD_TOKEN]);
    }

    #[track_caller]
    fn check_silent(&self, secrets: &[&str]) {
        for secret in secrets {
            assert!(!self.out.contains(secret), "{}", self.out);
            assert!(!self.err.contains(secret), "{}", self.err);
        }
    }
}

impl Town {
    /// One route, for `labubu`.
    fn new() -> Self {
        let town = Self {
            upstream: Upstream::start(Scenario::Completion),
            manifests: Directory::new(),
            desk: Directory::new(),
        };
        town.apply(&[("labubu", LABUBU_KEY)]);
        town
    }

    /// Applies the intent with these consumers, all of whom the route allows.
    #[track_caller]
    fn apply(&self, consumers: &[(&str, &str)]) {
        let list = consumers.iter().map(|(name, key)| {
            format!("- {{name: {name}, credentials: [{{type: key-auth, source: BEARER, values: [\"{key}\"]}}]}}\n")
        });
        let names: Vec<&str> = consumers.iter().map(|(name, _)| *name).collect();
        let intent = format!(
            "providers:\n- {{name: lololo, type: openai, tokens: [{OLD_TOKEN}], \
             rawConfigs: {{openaiCustomUrl: \"http://{}/v1\"}}}}\n\
             consumers:\n{}aiRoutes:\n- {{name: shop, domains: [shop.test], \
             pathPredicate: {{matchType: PRE, matchValue: /v1}}, \
             upstreams: [{{provider: lololo, weight: 100}}], \
             authConfig: {{enabled: true, allowedConsumers: [{}]}}}}\n\
             domains:\n- {{name: shop.test, enableHttps: \"off\"}}\n",
            self.upstream.address,
            list.collect::<String>(),
            names.join(", "),
        );
        self.desk.write("intent.yaml", intent);
        let file = self.desk.file("intent.yaml");
        self.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    }

    fn target(&self) -> &str {
        self.manifests.path().to_str().unwrap()
    }

    /// A verb with this target.
    fn run(&self, arguments: &[&str]) -> Said {
        Said::of(penstock(&[arguments, &["--to", self.target()]].concat()))
    }

    /// The same with a text on standard input.
    fn feed(&self, text: &str, arguments: &[&str]) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .args(arguments)
            .args(["--to", self.target()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Said::of(child.wait_with_output().unwrap())
    }

    fn serve(&self) -> Gateway {
        Serve::new(self.manifests.path()).start()
    }

    /// Why each revision was made, the last one first.
    fn reasons(&self) -> Vec<String> {
        let said = self.run(&["history", "-o", "json"]).ok();
        let history: Value = serde_json::from_str(&said.out).unwrap();
        let revisions = history["revisions"].as_array().unwrap().iter().rev();
        revisions.map(|revision| revision["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn status(gateway: &Gateway, key: &str) -> u16 {
    gateway.send(&Request::post("shop.test", "/v1/chat/completions", CHAT).key(key)).status()
}

/// Makes a change and waits until the gateway has it in force.
#[track_caller]
fn reloaded<T>(gateway: &Gateway, change: impl FnOnce() -> T) -> T {
    let mut made = None;
    gateway.reload(|| made = Some(change()));
    made.unwrap()
}

#[test]
fn a_generated_key_works_once_a_route_allows_its_consumer() {
    let town = Town::new();
    let gateway = town.serve();
    let key = reloaded(&gateway, || town.run(&["consumer", "add", "mokoko"]).key());
    assert_eq!(status(&gateway, &key), 403);
    town.desk.write("mokoko", &key);
    let reference = format!("${{file:{}}}", town.desk.file("mokoko").display());
    reloaded(&gateway, || town.apply(&[("labubu", LABUBU_KEY), ("mokoko", &reference)]));
    assert_eq!((status(&gateway, &key), status(&gateway, LABUBU_KEY)), (200, 200));
    assert_eq!(town.reasons(), ["", "consumer add mokoko", ""]);
    let taken = town.feed(LABUBU_KEY, &["consumer", "add", "zimomo", "--key-file", "-"]);
    taken.refused(1, "consumer `labubu` has this key already");
    let twice = town.run(&["consumer", "add", "mokoko", "--generate"]);
    twice.refused(1, "consumer `mokoko` exists already");
}

#[test]
fn keys_of_ones_own_come_from_files_and_standard_input() {
    let town = Town::new();
    let key = "mokoko-key-2718";
    let add = ["consumer", "add", "mokoko", "--source", "header", "--key-name", "x-key"];
    let said = town.feed(&format!("{key}\n"), &[&add[..], &["--key-file", "-"]].concat()).ok();
    assert_eq!(said.out, "");
    said.check_silent(&[key]);
    let secret = town.manifests.read("secrets/penstock-consumer-mokoko.yaml");
    assert!(secret.contains("data:\n  key-0: bW9rb2tvLWtleS0yNzE4"), "{secret}");
    let plugin = town.manifests.read("wasmplugins/key-auth.internal.yaml");
    assert!(plugin.contains("- x-key\n"), "{plugin}");

    let check = |text: &str, part: &str| {
        town.desk.write("key", text);
        let file = town.desk.file("key");
        let add = ["consumer", "add", "pino", "--key-file", file.to_str().unwrap()];
        let said = town.run(&add);
        if text.len() > 3 {
            said.check_silent(&[text.trim()]);
        }
        said.refused(1, part);
    };
    check("", "is empty");
    check("\n\n", "is empty");
    check("pino-key-1\npino-key-2\n", "more than one line");
    check("pino key\n", "blanks");
    check(" pino-key\n", "blanks");
    check("pino-k\u{e4}y\n", "not printable ASCII");
    check("pino\"key\n", "quote");
    check(&"k".repeat((1 << 20) + 1), "larger");
    town.run(&["consumer", "add", "pino", "--key-file", "/no/such"]).refused(1, "cannot read");
    let both = ["consumer", "add", "pino", "--generate", "--key-file", "-"];
    town.run(&both).refused(64, "cannot be used with");
    town.run(&["consumer", "add", "pino", "--source", "query"]).refused(64, "--key-name");
    town.run(&["consumer", "add", "pino", "--key-name", "k"]).refused(64, "--source");
    assert_eq!(town.reasons().len(), 2);
}

#[test]
fn after_a_rotation_the_old_key_ends_by_itself() {
    let town = Town::new();
    let gateway = town.serve();
    let rotate = |overlap: &str| {
        let overlap = format!("--overlap={overlap}");
        let said = town.run(&["consumer", "rotate", "labubu", &overlap]);
        said.check_silent(&[LABUBU_KEY]);
        said
    };
    let second = reloaded(&gateway, || {
        let said = rotate("1h");
        assert!(said.err.contains("the old keys end at 2"), "{}", said.err);
        assert!(said.err.contains("Higress"), "{}", said.err);
        said.key()
    });
    assert_eq!((status(&gateway, LABUBU_KEY), status(&gateway, &second)), (200, 200));
    let third = reloaded(&gateway, || rotate("2s").key());
    let reloads = gateway.reloads();
    assert_eq!(status(&gateway, &third), 200);
    eventually("the end of the old keys", || {
        let old = [LABUBU_KEY, &second].map(|key| status(&gateway, key));
        (old == [401, 401]).then_some(())
    });
    assert_eq!((status(&gateway, &third), gateway.reloads()), (200, reloads));
    let fourth = reloaded(&gateway, || {
        let said = rotate("0");
        assert!(said.err.contains("the old keys end at once"), "{}", said.err);
        said.key()
    });
    assert_eq!((status(&gateway, &third), status(&gateway, &fourth)), (401, 200));

    reloaded(&gateway, || town.run(&["rollback"]).ok());
    assert_eq!((status(&gateway, &third), status(&gateway, &fourth)), (200, 401));
    let rotation = "consumer rotate labubu";
    assert_eq!(town.reasons(), ["rollback", rotation, rotation, rotation, ""]);
    for overlap in ["", "1", "1w", "-1s", "1.5h", "4000d"] {
        rotate(overlap).refused(64, "--overlap");
    }
    town.run(&["consumer", "rotate", "labubi"]).refused(1, "did you mean `labubu`?");
}

#[test]
fn a_revoked_consumer_is_out_at_once() {
    let town = Town::new();
    town.apply(&[("labubu", LABUBU_KEY), ("mokoko", "mokoko-key")]);
    let gateway = town.serve();
    assert_eq!(status(&gateway, LABUBU_KEY), 200);
    reloaded(&gateway, || {
        let said = town.run(&["consumer", "revoke", "labubu", "-m", "left"]).ok();
        said.check_silent(&[LABUBU_KEY]);
    });
    assert_eq!((status(&gateway, LABUBU_KEY), status(&gateway, "mokoko-key")), (401, 200));
    assert_eq!(town.reasons()[0], "left");
    town.run(&["consumer", "revoke", "labubu"]).refused(1, "there is no consumer `labubu`");
}

#[test]
fn the_upstream_sees_new_tokens() {
    let town = Town::new();
    let gateway = town.serve();
    let token_seen = || {
        assert_eq!(status(&gateway, LABUBU_KEY), 200);
        town.upstream.received().header("authorization").unwrap().to_owned()
    };
    assert_eq!(token_seen(), format!("Bearer {OLD_TOKEN}"));
    let set = ["provider", "set-token", "lololo", "--tokens-from", "-"];
    let said = reloaded(&gateway, || town.feed("sk-new-577\n", &set).ok());
    said.check_silent(&[OLD_TOKEN, "sk-new-577"]);
    assert_eq!(token_seen(), "Bearer sk-new-577");
    reloaded(&gateway, || town.feed("sk-one\r\n\nsk-two\n", &set).ok());
    let seen = token_seen();
    assert!(["Bearer sk-one", "Bearer sk-two"].contains(&&*seen), "{seen}");
    assert_eq!(town.reasons()[0], "provider set-token lololo");
    town.feed("", &set).refused(1, "standard input is empty");
    let unknown = ["provider", "set-token", "lolo", "--tokens-from", "-"];
    town.feed("sk-new", &unknown).refused(1, "there is no provider `lolo`: did you mean `lololo`?");
}

#[test]
fn what_is_used_is_not_deleted() {
    let town = Town::new();
    let delete = |kind: &str, name: &str| town.run(&["delete", kind, name]);
    delete("provider", "lololo").refused(1, "is used by `ai-route shop`");
    delete("consumer", "labubu").refused(1, "is used by `ai-route shop`");
    delete("domain", "shop.test").refused(1, "is used by `ai-route shop`");
    delete("ai-route", "shap").refused(1, "did you mean `shop`?");
    delete("ingress", "ai-route-shop.internal").refused(64, "are not deleted one by one");
    delete("provder", "lololo").refused(64, "did you mean `provider`?");
    for (kind, name) in
        [("routes", "shop"), ("consumer", "labubu"), ("prov", "lololo"), ("domain", "shop.test")]
    {
        delete(kind, name).ok().check_silent(&[LABUBU_KEY, OLD_TOKEN]);
    }
    let left = Said::of(penstock(&["get", "-o", "name", "--config", town.target()])).ok();
    assert_eq!(left.out, "");
    assert_eq!(
        town.reasons(),
        [
            "delete domain shop.test",
            "delete provider lololo",
            "delete consumer labubu",
            "delete ai-route shop",
            ""
        ]
    );
}

#[test]
fn a_dry_run_changes_nothing_and_prints_no_key() {
    let town = Town::new();
    for edit in [&["consumer", "add", "mokoko"][..], &["consumer", "rotate", "labubu"]] {
        for output in ["text", "json"] {
            let said = town.run(&[edit, &["--dry-run", "-o", output]].concat()).ok();
            assert!(said.out.contains("penstock-consumer-"), "{}", said.out);
            said.check_silent(&[LABUBU_KEY, "psk_"]);
        }
    }
    assert_eq!(town.reasons().len(), 1);
}

#[test]
fn a_key_is_printed_once_as_soon_as_one_target_has_it() {
    let town = Town::new();
    let other = Directory::new();
    let first = other.path().to_str().unwrap();
    // A gateway that is not there.
    let nobody = format!("http://{}", dead_address(9));
    let said = Said::of(penstock(&[
        "consumer",
        "add",
        "mokoko",
        "--to",
        first,
        "--to",
        &nobody,
        "--to",
        town.target(),
    ]));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("1 more were not touched"), "{}", said.err);
    Said { code: 0, ..said }.key();

    let said = town.run(&["consumer", "add", "zimomo", "-o", "json"]).ok();
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    let key = answer["key"].as_str().unwrap();
    assert!(key.starts_with("psk_"), "{key}");
    assert_eq!(said.out.matches(key).count(), 1);
    assert_eq!(answer["revision"]["message"], "consumer add zimomo");
}

#[test]
fn hand_edits_and_failed_tests_stop_an_edit() {
    let town = Town::new();
    let by_hand = "Bearer by-hand-key-9";
    let plugin = "wasmplugins/key-auth.internal.yaml";
    town.manifests.edit(plugin, &format!("Bearer {LABUBU_KEY}"), by_hand);
    let rotate = ["consumer", "rotate", "labubu"];
    let said = town.run(&rotate);
    said.check_silent(&["psk_", "by-hand-key-9"]);
    said.refused(1, "was edited by hand");
    town.run(&[&rotate[..], &["--overwrite"]].concat()).key();
    let tests = format!(
        "tests:\n- request: {{url: \"http://shop.test/v1/models\", \
         headers: {{authorization: {by_hand}}}}}\n  expect: {{consumer: labubu}}\n"
    );
    town.desk.write("tests.yaml", tests);
    let tests = town.desk.file("tests.yaml");
    let verified =
        |verb: &str| town.run(&["consumer", verb, "labubu", "--verify", tests.to_str().unwrap()]);
    verified("rotate").key();
    verified("revoke").refused(1, "the verification failed");
    assert_eq!(town.reasons().len(), 3);
}

#[test]
fn the_routes_of_a_consumer_are_told() {
    let town = Town::new();
    town.run(&["consumer", "add", "mokoko"]).key();
    let routes = |name: &str, output: &str| town.run(&["consumer", "routes", name, "-o", output]);
    let text = routes("labubu", "text").ok().out;
    assert_eq!(
        text,
        "ROUTE                   HOST       PATH        CONDITIONS  OPEN TO\n\
         ai-route-shop.internal  shop.test  Prefix /v1  -           some consumers\n"
    );
    let json: Value = serde_json::from_str(&routes("labubu", "json").ok().out).unwrap();
    assert_eq!(json["consumer"], "labubu");
    assert_eq!(json["routes"][0]["route"], "ai-route-shop.internal");
    assert_eq!(json["routes"][0]["openTo"], "some consumers");
    let none: Value = serde_json::from_str(&routes("mokoko", "json").ok().out).unwrap();
    assert_eq!(none["routes"], Value::Array(Vec::new()));
    routes("labub", "text").refused(1, "there is no consumer `labub`: did you mean `labubu`?");
}
