//! `plan`, `apply`, `rollback` and what is kept of them, on a directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::*;

/// An intent whose names all carry a mark.
fn intent(mark: &str) -> String {
    format!(
        "domains: [{{name: plan.test, enableHttps: 'off'}}]
providers:
- {{name: tide, type: openai, tokens: ['token-{mark}'], rawConfigs: {{openaiCustomUrl: 'http://{mark}.test/v1'}}}}
consumers:
- {{name: gull, credentials: [{{type: key-auth, source: BEARER, values: ['key-{mark}']}}]}}
aiRoutes:
- name: shore
  domains: [plan.test]
  pathPredicate: {{matchType: PRE, matchValue: /{mark}}}
  upstreams: [{{provider: tide, weight: 100, modelMapping: {{asked: 'model-{mark}'}}}}]
  authConfig: {{enabled: true, allowedConsumers: [gull]}}
"
    )
}

/// A directory to apply to, and one for intents.
struct Bench {
    target: Directory,
    files: Directory,
}

impl Bench {
    fn new() -> Self {
        Self { target: Directory::new(), files: Directory::new() }
    }

    /// One to which an intent was applied.
    fn with(mark: &str) -> Self {
        let bench = Self::new();
        bench.apply(&intent(mark), &[]);
        bench
    }

    fn to(&self) -> String {
        self.target.path().display().to_string()
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        penstock(&[&[verb, "--to", &self.to()][..], arguments].concat())
    }

    /// The path of an intent of this text.
    fn file(&self, text: &str) -> String {
        self.files.write("intent.yaml", text);
        self.files.file("intent.yaml").display().to_string()
    }

    fn with_file(&self, verb: &str, text: &str, arguments: &[&str]) -> Output {
        self.run(verb, &[&["-f", &self.file(text)][..], arguments].concat())
    }

    #[track_caller]
    fn apply(&self, text: &str, arguments: &[&str]) -> Output {
        succeeded(self.with_file("apply", text, arguments))
    }

    #[track_caller]
    fn ok(&self, verb: &str, arguments: &[&str]) -> Output {
        succeeded(self.run(verb, arguments))
    }

    fn json(&self, verb: &str, arguments: &[&str]) -> Value {
        let output = self.run(verb, &[&["-o", "json"], arguments].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", talk(&output)))
    }

    /// Every file below the target, with its text, without penstock's own.
    fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for folder in fs::read_dir(self.target.path()).unwrap() {
            let folder = folder.unwrap().path();
            if !folder.is_dir() || folder.ends_with(".penstock") {
                continue;
            }
            for file in fs::read_dir(&folder).unwrap() {
                let path = file.unwrap().path();
                let name = path.strip_prefix(self.target.path()).unwrap().display().to_string();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
        files.sort();
        files
    }

    fn revisions(&self) -> Vec<u64> {
        let history = self.json("history", &[]);
        let revisions = history["revisions"].as_array().unwrap();
        revisions.iter().map(|record| record["id"].as_u64().unwrap()).collect()
    }
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn data(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}{}", data(&output), talk(&output));
    output
}

/// The verb failed, and said so with these words.
#[track_caller]
fn check_failed(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{}{}", data(output), talk(output));
    assert!(talk(output).contains(words), "{words:?} is not in {}", talk(output));
}

const INGRESS: &str = "ingresses/ai-route-shore.internal.yaml";

#[test]
fn what_is_planned_is_applied_and_then_nothing_is_left() {
    let bench = Bench::new();
    let plan = succeeded(bench.with_file("plan", &intent("one"), &[]));
    assert!(data(&plan).contains("8 to create"), "{}", data(&plan));
    assert!(data(&plan).contains("+ ai-route-shore.internal (plan.test Prefix /one)"));
    assert!(data(&plan).contains("+ gull (new): may use"), "{}", data(&plan));
    assert_eq!(bench.files(), []);
    assert!(!bench.target.file(".penstock").exists());
    let code = |verb| bench.with_file(verb, &intent("one"), &["--detailed-exitcode"]).status.code();
    assert_eq!(code("plan"), Some(2));
    let applied = bench.apply(&intent("one"), &["-m", "go live"]);
    assert!(data(&applied).contains("Ingress ai-route-shore.internal created"));
    assert_eq!(code("plan"), Some(0));
    let again = bench.apply(&intent("one"), &[]);
    assert!(data(&again).contains("Ingress ai-route-shore.internal unchanged"));
    assert_eq!(bench.revisions(), [1]);
    let record = &bench.json("history", &[])["revisions"][0];
    assert_eq!(record["message"], "go live");
    assert_eq!(record["summary"], "8 created");
    let changed = bench.with_file("plan", &intent("two"), &["-o", "json"]);
    let plan: Value = serde_json::from_slice(&changed.stdout).unwrap();
    assert_eq!(plan["plan"]["counts"]["create"], 0);
    assert_eq!(plan["plan"]["traffic"]["routes"].as_array().unwrap().len(), 2);
    assert_eq!(plan["hasChanges"], true);
}

#[test]
fn a_directory_that_is_not_there_is_made_by_apply_alone() {
    let bench = Bench::new();
    let file = bench.file(&intent("one"));
    let to = bench.target.file("deep").display().to_string();
    succeeded(penstock(&["plan", "-f", &file, "--to", &to]));
    assert!(!bench.target.file("deep").exists());
    let bad = bench.files.file("bad.yaml").display().to_string();
    fs::write(&bad, "domains: [{name: x.test, colour: red}]").unwrap();
    check_failed(&penstock(&["apply", "-f", &bad, "--to", &to]), "colour");
    assert!(!bench.target.file("deep").exists());
    succeeded(penstock(&["apply", "-f", &file, "--to", &to]));
    assert!(bench.target.file("deep/ingresses").exists());
}

#[test]
fn what_cannot_be_a_target_is_told() {
    let bench = Bench::new();
    bench.files.write("plain", "");
    let file = bench.file(&intent("one"));
    let plain = bench.files.file("plain").display().to_string();
    let nowhere = bench.files.file("no/where").display().to_string();
    for (to, words) in [
        (plain.as_str(), "is not a directory"),
        (&nowhere, "No such file"),
        ("/proc/penstock", "cannot write `/proc/penstock`"),
        ("k8s:default", "not supported yet"),
    ] {
        check_failed(&penstock(&["apply", "-f", &file, "--to", to]), words);
    }
}

#[test]
fn a_saved_plan_is_applied_where_and_while_it_holds() {
    let bench = Bench::with("one");
    let saved = bench.files.file("plan.json").display().to_string();
    let plan = succeeded(bench.with_file("plan", &intent("two"), &["--out", &saved]));
    assert!(!data(&plan).contains("key-two") && !data(&plan).contains("token-two"));
    let mode = fs::metadata(&saved).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let other = Bench::with("one");
    check_failed(&other.run("apply", &["-f", &saved]), "the plan was made for");
    bench.ok("apply", &["-f", &saved]);
    let written = bench.files();
    assert!(written.iter().any(|(_, text)| text.contains("model-two")));
    check_failed(&bench.run("apply", &["-f", &saved]), "conflict: the target changed");
    assert_eq!(bench.files(), written);
    fs::write(&saved, r#"{"penstockPlan": 99}"#).unwrap();
    check_failed(&bench.run("apply", &["-f", &saved]), "version 99");
    let both = bench.file(&intent("two"));
    check_failed(&bench.run("apply", &["-f", &saved, "-f", &both]), "must be the only file");
}

#[test]
fn what_others_wrote_is_taken_over_only_on_request() {
    let bench = Bench::new();
    let domain = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: domain-plan.test, namespace: higress-system, labels: {higress.io/config-map-type: domain}}\ndata: {domain: plan.test, enableHttps: 'on'}\n";
    bench.target.write("configmaps/domain-plan.test.yaml", domain);
    let refused = bench.with_file("apply", &intent("one"), &[]);
    check_failed(&refused, "ConfigMap domain-plan.test exists and is not penstock's");
    assert_eq!(bench.files().len(), 1);
    let names = ["--adopt=ConfigMap domain-plan.test", "--adopt=ConfigMap nothing"];
    let planned = data(&succeeded(bench.with_file("plan", &intent("one"), &names)));
    assert!(planned.contains("has the name\n  ConfigMap nothing\n"), "{planned}");
    bench.apply(&intent("one"), &["--adopt=ConfigMap domain-plan.test"]);
    assert_eq!(bench.files().len(), 8);
    let everything = Bench::new();
    everything.target.write("configmaps/domain-plan.test.yaml", domain);
    everything.apply(&intent("one"), &["--adopt"]);
}

#[test]
fn a_hand_edit_is_never_overwritten_silently() {
    let bench = Bench::with("one");
    bench.target.edit(INGRESS, "path: /one", "path: /hand");
    let drift = bench.json("status", &[]);
    assert_eq!(drift["drift"], serde_json::json!([INGRESS]));
    assert!(data(&bench.ok("diff", &[])).contains(r#""/one" -> "/hand""#));
    check_failed(&bench.with_file("apply", &intent("one"), &[]), "edited by hand");
    check_failed(&bench.run("rollback", &["0"]), "edited by hand");
    assert!(bench.target.read(INGRESS).contains("path: /hand"));
    bench.apply(&intent("one"), &["--overwrite"]);
    assert!(bench.target.read(INGRESS).contains("path: /one"));
    assert_eq!(bench.json("status", &[])["drift"], serde_json::json!([]));
}

#[test]
fn a_hand_edit_elsewhere_in_a_file_stays() {
    let bench = Bench::with("one");
    let annotation = "annotations:\n    example.com/owner: harbour";
    bench.target.edit(INGRESS, "annotations:", annotation);
    bench.apply(&intent("two"), &[]);
    let text = bench.target.read(INGRESS);
    assert!(text.contains("path: /two") && text.contains("example.com/owner: harbour"), "{text}");
}

#[test]
fn a_rollback_gives_what_penstock_left_and_tells_of_edits_that_stay_away() {
    let bench = Bench::with("one");
    let one = bench.files();
    bench.apply(&intent("two"), &[]);
    bench.target.remove("configmaps/domain-plan.test.yaml");
    bench.target.edit(INGRESS, "path: /two", "path: /hand");
    bench.apply(&intent("three"), &["--overwrite"]);
    let back = data(&bench.ok("rollback", &["1"]));
    assert_eq!(bench.files(), one, "{back}");
    let two = data(&bench.ok("rollback", &["2"]));
    assert!(two.contains("edited by hand between revisions"), "{two}");
    assert!(bench.target.read(INGRESS).contains("path: /two"));
    assert!(!data(&bench.ok("diff", &["1", "2"])).contains("/hand"));
    assert!(bench.json("status", &[])["drift"].as_array().unwrap().is_empty());
}

#[test]
fn what_was_removed_by_hand_is_not_written_again_silently() {
    let bench = Bench::with("one");
    bench.target.remove(INGRESS);
    check_failed(&bench.with_file("apply", &intent("one"), &[]), "was removed by hand");
    bench.apply(&intent("two"), &["--overwrite"]);
    bench.target.remove(INGRESS);
    check_failed(&bench.run("rollback", &["1"]), "was removed by hand");
}

#[test]
fn what_nobody_can_read_any_more_is_written_again_on_request() {
    let bench = Bench::with("one");
    let whole = bench.target.read(INGRESS);
    bench.target.write(INGRESS, "{{{");
    check_failed(&bench.with_file("apply", &intent("one"), &[]), "PS009");
    let applied = bench.with_file("plan", &intent("one"), &["--overwrite"]);
    assert!(data(&applied).contains("nobody can read them"), "{}", data(&applied));
    bench.apply(&intent("one"), &["--overwrite"]);
    assert_eq!(bench.target.read(INGRESS), whole);
    bench.target.write(INGRESS, "{{{");
    bench.apply(&intent("two"), &["--overwrite"]);
    assert!(bench.target.read(INGRESS).contains("path: /two"));
}

#[test]
fn a_message_cannot_forge_the_history() {
    let bench = Bench::new();
    let message = |text: &str| bench.with_file("apply", &intent("one"), &["-m", text]);
    check_failed(&message("\u{1b}[31mred"), "`message` is no text");
    check_failed(&message(&"m".repeat(5000)), "`message` is no text");
    succeeded(message("one\n   9  forged"));
    let history = data(&bench.ok("history", &[]));
    assert_eq!(history.lines().count(), 1, "{history}");
    assert!(history.contains(r"one\n   9  forged"), "{history}");
}

#[test]
fn what_would_be_ignored_is_refused() {
    let bench = Bench::with("one");
    let saved = bench.files.file("plan.json").display().to_string();
    succeeded(bench.with_file("plan", &intent("two"), &["--out", &saved]));
    check_failed(&bench.run("apply", &["-f", &saved, "--prune"]), "applied as it is");
    bench.files.write("none.yaml", "tests: []");
    let none = bench.files.file("none.yaml").display().to_string();
    check_failed(&bench.with_file("plan", &intent("two"), &["--verify", &none]), "cannot be used");
    let missing = bench.files.file("missing").display().to_string();
    for verb in ["history", "status", "diff"] {
        check_failed(&penstock(&[verb, "--to", &missing]), "there is no directory");
    }
    let file = bench.file(&intent("two"));
    check_failed(&penstock(&["plan", "-f", &file, "--to", "ftp://x"]), "ftp://x");
    let before = bench.files();
    for gateway in ["nonsense", "ftp://x"] {
        let refused = bench.run("apply", &["-f", &file, "--gateway", gateway]);
        assert_eq!((refused.status.code(), bench.files()), (Some(1), before.clone()));
    }
}

/// Nobody reads what it says, but it is made, and says so.
#[test]
fn an_answer_that_cannot_be_printed_is_told() {
    let bench = Bench::new();
    let file = bench.file(&intent("one"));
    let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["apply", "-f", &file, "--to", &bench.to()])
        .stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    check_failed(&output, "revision 1 is made, but cannot be told of");
}

/// The gateway serves no Ingress of the class, so it answers otherwise than the
/// configuration alone says.
#[test]
fn what_the_gateway_does_not_confirm_is_taken_back() {
    let bench = Bench::with("one");
    let before = bench.files();
    let gateway = Serve::new(bench.target.path()).with("--ingress-class", "other").start();
    let tests = "tests: [{request: {url: 'http://plan.test/two', headers: {authorization: Bearer key-two}}, expect: {consumer: gull}}]";
    bench.files.write("tests.yaml", tests);
    let tests = bench.files.file("tests.yaml").display().to_string();
    let admin = format!("http://{}", gateway.admin);
    let refused =
        bench.with_file("apply", &intent("two"), &["--verify", &tests, "--gateway", &admin]);
    check_failed(&refused, "the verification failed; revision 2 is taken back");
    assert_eq!(bench.files(), before);
    assert_eq!(bench.revisions(), [1, 2, 3]);
    bench.apply(&intent("two"), &["--gateway", &admin]);
    let stuck = penstock(&[
        "apply",
        "-f",
        &bench.file(&intent("three")),
        "--to",
        &bench.to(),
        "--gateway",
        &format!("http://{}", dead_address(9)),
        "--timeout",
        "0",
    ]);
    check_failed(&stuck, "revision 5 stays applied");
}

#[test]
fn much_is_deleted_only_if_it_is_allowed() {
    let many: String = (0..30)
        .map(|i| format!("- {{name: c{i}, credentials: [{{type: key-auth, source: BEARER, values: [k{i}]}}]}}\n"))
        .collect();
    let bench = Bench::new();
    bench.apply(&format!("consumers:\n{many}"), &[]);
    let one =
        "consumers: [{name: c0, credentials: [{type: key-auth, source: BEARER, values: [k0]}]}]";
    let kept = succeeded(bench.with_file("plan", one, &["--detailed-exitcode"]));
    assert!(data(&kept).contains("--prune removes it"), "{}", data(&kept));
    check_failed(&bench.with_file("apply", one, &["--prune"]), "29 of");
    check_failed(&bench.with_file("apply", one, &["--prune", "--allow-delete", "28"]), "29 of");
    bench.apply(one, &["--prune", "--allow-delete", "29"]);
    // What is taken back was wanted once.
    bench.ok("rollback", &["0"]);
    assert_eq!(bench.files(), []);
}

#[test]
fn a_rollback_brings_back_what_was_there() {
    let bench = Bench::with("one");
    let one = bench.files();
    bench.apply(&intent("two"), &[]);
    let two = bench.files();
    let preview = bench.ok("rollback", &["--dry-run"]);
    assert!(data(&preview).contains(r#""/two" -> "/one""#), "{}", data(&preview));
    assert_eq!(bench.files(), two);
    bench.ok("rollback", &[]);
    assert_eq!(bench.files(), one);
    assert_eq!(bench.revisions(), [1, 2, 3]);
    bench.ok("rollback", &["2"]);
    assert_eq!(bench.files(), two);
    // What was penstock's is so again.
    bench.ok("rollback", &["0"]);
    assert_eq!(bench.files(), []);
    bench.apply(&intent("one"), &[]);
    check_failed(&bench.run("rollback", &["9"]), "there is no revision 9");
    check_failed(&bench.run("show", &["9"]), "there is no revision 9");
    let shown = data(&bench.ok("show", &["2"]));
    assert!(shown.contains(r#""/one" -> "/two""#), "{shown}");
    assert!(!shown.contains("key-two") && shown.contains("sha256:"), "{shown}");
    let between = data(&bench.ok("diff", &["1", "2"]));
    assert!(between.contains(r#""/one" -> "/two""#), "{between}");
}

#[test]
fn history_is_bounded() {
    let bench = Bench::with("r0");
    for i in 1..=110 {
        bench.apply(&intent(&format!("r{i}")), &[]);
    }
    let revisions = bench.revisions();
    assert_eq!((revisions.len(), revisions.last()), (100, Some(&111)));
    check_failed(&bench.run("rollback", &["5"]), "no longer kept; the oldest one is 12");
    bench.ok("rollback", &["12"]);
    assert!(bench.target.read(INGRESS).contains("path: /r11"));
}

#[test]
fn an_expectation_that_is_not_met_stops_the_apply() {
    let bench = Bench::new();
    let tests = bench.files.file("tests.yaml");
    let table = |route: &str| {
        format!(
            "tests: [{{name: live, request: {{method: POST, url: 'http://plan.test/one', headers: {{authorization: Bearer key-one}}}}, expect: {{route: {route}, consumer: gull}}}}]"
        )
    };
    let verify = ["--verify", &tests.display().to_string()];
    fs::write(&tests, table("elsewhere")).unwrap();
    let refused = bench.with_file("apply", &intent("one"), &verify);
    check_failed(&refused, "the verification failed");
    assert!(talk(&refused).contains("test live ... FAILED"), "{}", talk(&refused));
    assert_eq!(bench.files(), []);
    fs::write(&tests, table("ai-route-shore.internal")).unwrap();
    bench.apply(&intent("one"), &verify);
    fs::write(&tests, "tests: [{request: {url: 'http://x/'}, expext: {}}]").unwrap();
    check_failed(&bench.with_file("apply", &intent("two"), &verify), "cannot be used");
}

#[test]
fn new_errors_stop_an_apply_and_old_ones_do_not() {
    let bench = Bench::new();
    bench.target.write("ingresses/broken.yaml", "kind: Ingress\n  oops: [\n");
    bench.apply(&intent("one"), &[]);
    let foreign = Bench::new();
    let auth = "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: key-auth.internal, namespace: higress-system}\nspec:\n  url: oci://example.test/plugins/key-auth:2.0.0\n  phase: AUTHN\n  priority: 310\n  failStrategy: FAIL_CLOSE\n  defaultConfigDisable: true\n  defaultConfig:\n    global_auth: false\n    keys: [x]\n    consumers:\n    - {name: tern, keys: [Authorization], in_header: true, in_query: false, credentials: [Bearer key-one]}\n";
    foreign.target.write("wasmplugins/key-auth.internal.yaml", auth);
    let refused = foreign.with_file("apply", &intent("one"), &["--adopt"]);
    check_failed(&refused, "new error");
    assert!(!talk(&refused).contains("key-one"), "{}", talk(&refused));
    assert_eq!(foreign.files().len(), 1);
}

/// A rule that others wrote, with an error of its own, moves when another comes
/// before it.
#[test]
fn an_old_error_that_moves_is_no_new_one() {
    let bench = Bench::new();
    let proxy = "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: ai-proxy.internal, namespace: higress-system}\nspec:\n  url: oci://example.test/plugins/ai-proxy:2.0.0\n  phase: UNSPECIFIED_PHASE\n  priority: 100\n  failStrategy: FAIL_CLOSE\n  defaultConfigDisable: true\n  defaultConfig: {providers: []}\n  matchRules:\n  - {config: {activeProviderId: nobody}, configDisable: false, service: [zz.dns]}\n";
    bench.target.write("wasmplugins/ai-proxy.internal.yaml", proxy);
    bench.apply(&intent("one"), &["--adopt"]);
    let text = bench.target.read("wasmplugins/ai-proxy.internal.yaml");
    assert!(text.contains("nobody"), "{text}");
}

#[test]
fn new_files_that_hold_secrets_are_for_their_owner() {
    let bench = Bench::with("one");
    let mode =
        |name: &str| fs::metadata(bench.target.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("wasmplugins/key-auth.internal.yaml"), 0o600);
    assert_eq!(mode("wasmplugins/ai-proxy.internal.yaml"), 0o600);
    assert_eq!(mode("wasmplugins/model-mapper.internal.yaml"), 0o644);
    assert_eq!(mode(INGRESS), 0o644);
    fs::set_permissions(bench.target.file(INGRESS), fs::Permissions::from_mode(0o640)).unwrap();
    bench.apply(&intent("two"), &[]);
    assert_eq!(mode(INGRESS), 0o640);
}

#[test]
fn damaged_history_is_named() {
    let bench = Bench::with("one");
    bench.apply(&intent("two"), &[]);
    let whole = bench.target.read(".penstock/history/2");
    let cut = whole.rsplit_once("\n{").unwrap().0.to_owned() + "\n";
    for damaged in ["", "{}", &cut, &whole.replace("/two", "/six")] {
        bench.target.write(".penstock/history/2", damaged);
        let refused = bench.run("rollback", &["1"]);
        check_failed(&refused, ".penstock/history/2`");
    }
    bench.target.write(".penstock/history/2", &whole);
    bench.ok("rollback", &["1"]);
}

#[test]
fn a_plan_holds_while_what_is_owned_stays() {
    let bench = Bench::new();
    bench.apply(
        "consumers: [{name: a, credentials: [{type: key-auth, source: BEARER, values: [k]}]}]",
        &[],
    );
    let saved = bench.files.file("plan.json").display().to_string();
    succeeded(bench.with_file("plan", &intent("two"), &["--out", &saved]));
    bench.target.write("configmaps/domain-x.test.yaml", "");
    bench.target.remove("configmaps/domain-x.test.yaml");
    fs::rename(bench.target.file(".penstock/history"), bench.target.file(".penstock/gone"))
        .unwrap();
    check_failed(&bench.run("apply", &["-f", &saved]), "conflict: the target changed");
}

#[test]
fn applies_at_the_same_time_come_one_after_another() {
    let bench = Bench::new();
    let children: Vec<_> = (0..8)
        .map(|i| {
            let file = bench.files.file(&format!("{i}.yaml"));
            let text = format!("consumers: [{{name: c{i}, credentials: [{{type: key-auth, source: BEARER, values: [k{i}]}}]}}]");
            fs::write(&file, text).unwrap();
            Command::new(env!("CARGO_BIN_EXE_penstock"))
                .args(["apply", "-f", file.to_str().unwrap(), "--to", &bench.to()])
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        succeeded(child.wait_with_output().unwrap());
    }
    assert_eq!(bench.revisions(), (1..=8).collect::<Vec<_>>());
    let auth = bench.target.read("wasmplugins/key-auth.internal.yaml");
    for i in 0..8 {
        assert!(auth.contains(&format!("name: c{i}")), "{auth}");
    }
}

#[test]
fn few_open_files_are_enough_for_many() {
    let bench = Bench::new();
    let domains: String = (0..300).map(|i| format!("- {{name: d{i}.test}}\n")).collect();
    let file = bench.file(&format!("domains:\n{domains}"));
    let script = format!(
        "ulimit -n 64; exec {} apply -f {file} --to {}",
        env!("CARGO_BIN_EXE_penstock"),
        bench.to()
    );
    succeeded(Command::new("sh").args(["-c", &script]).output().unwrap());
    assert_eq!(bench.files().len(), 300);
}

#[test]
fn a_full_disk_changes_nothing() {
    let bench = Bench::with("one");
    let before = bench.files();
    let file = bench.file(&intent("two"));
    // No file may grow beyond 4 KiB, which the journal does.
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec {} apply -f {file} --to {}",
        env!("CARGO_BIN_EXE_penstock"),
        bench.to()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    check_failed(&output, "nothing was changed");
    assert_eq!(bench.files(), before);
    assert_eq!(bench.revisions(), [1]);
    bench.apply(&intent("two"), &[]);
}

#[test]
fn a_target_behind_a_link_is_not_written_through() {
    let bench = Bench::new();
    fs::create_dir(bench.files.file("elsewhere")).unwrap();
    std::os::unix::fs::symlink(bench.files.file("elsewhere"), bench.target.file("ingresses"))
        .unwrap();
    check_failed(&bench.with_file("apply", &intent("one"), &[]), "leads through a symlink");
    assert!(fs::read_dir(bench.files.file("elsewhere")).unwrap().next().is_none());
}

#[test]
fn references_are_resolved_at_apply_and_never_shown() {
    let bench = Bench::new();
    bench.files.write("key", "gull-secret-1\n");
    let text = intent("one")
        .replace("'token-one'", "'${env:PENSTOCK_TEST_TIDE}'")
        .replace("'key-one'", &format!("'${{file:{}}}'", bench.files.file("key").display()));
    let file = bench.file(&text);
    let run = |verb: &str, token: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.args([verb, "-f", &file, "--to", &bench.to(), "-o", "json"]);
        command.envs(token.map(|token| ("PENSTOCK_TEST_TIDE", token)));
        command.output().unwrap()
    };
    check_failed(&run("apply", None), "`PENSTOCK_TEST_TIDE` is not set");
    assert_eq!(bench.files(), []);
    for verb in ["plan", "apply"] {
        let output = succeeded(run(verb, Some("tide-secret-1")));
        let all = format!("{}{}", data(&output), talk(&output));
        assert!(!all.contains("tide-secret-1") && !all.contains("gull-secret-1"), "{all}");
    }
    for (name, text) in bench.files() {
        assert!(!text.contains("tide-secret-1") && !text.contains("gull-secret-1"), "{name}");
    }
    let secret = bench.target.file("secrets/penstock-provider-tide.yaml");
    assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
    let rotated = succeeded(run("plan", Some("tide-secret-2")));
    assert!(data(&rotated).contains("data.token-0"), "{}", data(&rotated));
}

#[test]
fn bad_intents_change_nothing() {
    let long = format!("domains: [{{name: {}.test}}]", "d".repeat(300));
    let cases = [
        (intent("one").replace("provider: tide", "provider: tyde"), "tide"),
        (intent("one").replace("[gull]", "[gul]"), "gull"),
        (intent("one").replace("weight: 100", "weight: 90"), "100"),
        (long, "cannot be used as a name"),
        ("consumers: [{name: a, credentials: [{type: key-auth, source: BEARER, values: [k]}]}, {name: b, credentials: [{type: key-auth, source: BEARER, values: [k]}]}]".to_owned(), "error["),
        ("domains: [{name: a.test}, {name: a.test}]".to_owned(), "a.test"),
        ("domains:\n\t- {name: a.test}\n".to_owned(), "tab"),
        ("domains: [".to_owned(), "error["),
        ("[]".to_owned(), "mapping"),
    ];
    let bench = Bench::new();
    for (text, words) in cases {
        let output = bench.with_file("apply", &text, &[]);
        check_failed(&output, words);
        assert!(talk(&output).contains("intent.yaml:"), "{}", talk(&output));
        assert_eq!(bench.files(), []);
    }
    let windows = format!("\u{feff}{}", intent("one").replace('\n', "\r\n"));
    bench.apply(&windows, &[]);
    assert!(bench.target.read(INGRESS).contains("path: /one"));
}
