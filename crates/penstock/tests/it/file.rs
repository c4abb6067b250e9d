//! The directory of manifests: what is read, how soon a change counts, and
//! what stays in force of what is broken.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

/// How long a change may take. It takes 300 ms on a machine that has time.
const IN_FORCE: Duration = Duration::from_secs(1);
const BRIDGE: &str = "mcpbridges/default.yaml";
const KEY_AUTH: &str = "wasmplugins/key-auth.internal.yaml";
const AI_PROXY: &str = "wasmplugins/ai-proxy.internal.yaml";
const INGRESS: &str = "ingresses/ai-route-pier.internal.yaml";

/// A directory with a service `deck`, and the gateway on it.
struct Watched {
    directory: Directory,
    gateway: Gateway,
    _upstream: Upstream,
}

impl Watched {
    fn start() -> Self {
        Self::holding::<&str, &str>([])
    }

    fn holding<N: AsRef<str>, T: AsRef<[u8]>>(files: impl IntoIterator<Item = (N, T)>) -> Self {
        let upstream = Upstream::start(Scenario::Completion);
        let registry = static_registry("deck", &[upstream.address]);
        let directory = Directory::new().holding([(BRIDGE, bridge(&[registry]))]).holding(files);
        let gateway = Serve::new(directory.path()).start();
        Self { directory, gateway, _upstream: upstream }
    }

    fn status(&self, host: &str) -> u16 {
        self.gateway.send(&Request::get(host, "/")).status()
    }

    /// Makes a change and waits until a host has a status.
    #[track_caller]
    fn check(&self, what: &str, change: impl FnOnce(), host: &str, expected: u16) {
        change();
        let began = Instant::now();
        eventually(what, || (self.status(host) == expected).then_some(()));
        let took = began.elapsed();
        assert!(took < IN_FORCE, "{what} took {took:?}");
    }
}

/// An Ingress that serves one host.
fn serving(host: &str) -> String {
    Ingress::new("pier").at(host, "Prefix", "/").to_string()
}

fn serving_as(name: &str, host: &str) -> String {
    Ingress::new(name).at(host, "Prefix", "/").to_string()
}

#[test]
fn every_kind_of_edit_counts_soon() {
    let watched = Watched::start();
    let directory = &watched.directory;
    let file = "ingresses/pier.yaml";
    watched.check("a new folder", || directory.write(file, serving("a.test")), "a.test", 200);
    watched.check("a write", || directory.write(file, serving("b.test")), "b.test", 200);
    assert_eq!(watched.status("a.test"), 404);
    watched.check("a rename over it", || directory.replace(file, serving("c.test")), "c.test", 200);
    watched.check(
        "a write of the same length",
        || directory.write(file, serving("d.test")),
        "d.test",
        200,
    );
    let add = || directory.write("ingresses/quay.yaml", serving_as("quay", "e.test"));
    watched.check("a new file", add, "e.test", 200);
    watched.check("a deletion", || directory.remove("ingresses/quay.yaml"), "e.test", 404);
    let nested = || directory.write("a/b/c/quay.yaml", serving_as("quay", "f.test"));
    watched.check("new folders in each other", nested, "f.test", 200);
    watched.check(
        "an edit deep down",
        || directory.write("a/b/c/quay.yaml", serving_as("quay", "g.test")),
        "g.test",
        200,
    );
    let moved = || fs::rename(directory.file("a/b"), directory.file("moved")).unwrap();
    let began = watched.gateway.reloads();
    moved();
    eventually("a move", || (watched.gateway.reloads() > began).then_some(()));
    assert_eq!(watched.status("g.test"), 200);
    let removed = || fs::remove_dir_all(directory.file("moved")).unwrap();
    watched.check("a deletion of a folder", removed, "g.test", 404);
    assert_eq!(watched.status("d.test"), 200);
}

#[test]
fn a_file_that_is_written_in_pieces_counts_as_a_whole() {
    let watched = Watched::start();
    let text = serving("a.test");
    let change = || {
        let mut file = fs::File::create(watched.directory.file("pier.yaml")).unwrap();
        for piece in text.as_bytes().chunks(40) {
            std::io::Write::write_all(&mut file, piece).unwrap();
            std::io::Write::flush(&mut file).unwrap();
        }
    };
    watched.check("a write in pieces", change, "a.test", 200);
}

#[test]
fn a_file_that_is_being_written_does_not_count_yet() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        // Only key-auth protects the route then.
        directory.remove("configmaps/ai-route-pier.yaml");
    });
    let text = whole(&harbor, KEY_AUTH);
    let (beginning, rest) = text.split_at(text.find("  matchRules:").unwrap());
    let mut file = fs::File::create(harbor.directory.file(KEY_AUTH)).unwrap();
    std::io::Write::write_all(&mut file, beginning.as_bytes()).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
        assert_eq!(harbor.chat().status(), 200);
    }
    harbor.gateway.reload(|| harbor.gateway.signal("HUP"));
    assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
    std::io::Write::write_all(&mut file, rest.replace("- heron", "- otter").as_bytes()).unwrap();
    drop(file);
    let passes = || harbor.gateway.send(&chat_without_key().key(OTTER_KEY)).status() == 200;
    eventually("the rest", || passes().then_some(()));
    assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
}

#[test]
fn a_moved_folder_brings_its_files() {
    let watched = Watched::start();
    let outside = Directory::new().holding([("ready/pier.yaml", serving("a.test"))]);
    let target = watched.directory.file("ready");
    let change = || fs::rename(outside.file("ready"), &target).unwrap();
    watched.check("a folder from outside", change, "a.test", 200);
}

/// A folder as Kubernetes mounts a ConfigMap: `pier.yaml -> ..data/pier.yaml`
/// and `..data -> ..VERSION`.
fn mount(folder: &Path, version: &str, text: &str) {
    let data = folder.join(format!("..{version}"));
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("pier.yaml"), text).unwrap();
    symlink(format!("..{version}"), folder.join("..next")).unwrap();
    fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
}

#[test]
fn a_mounted_config_map_may_be_swapped() {
    let watched = Watched::start();
    let folder = watched.directory.file("mounted");
    let first = || {
        mount(&folder, "1", &serving("a.test"));
        symlink("..data/pier.yaml", folder.join("pier.yaml")).unwrap();
    };
    watched.check("a mount", first, "a.test", 200);
    watched.check("a swap", || mount(&folder, "2", &serving("b.test")), "b.test", 200);
    watched.check("another swap", || mount(&folder, "3", &serving("c.test")), "c.test", 200);
    fs::remove_dir_all(folder.join("..1")).unwrap();
    assert_eq!((watched.status("a.test"), watched.status("c.test")), (404, 200));
}

#[test]
fn a_link_is_followed_out_of_the_directory() {
    let outside = Directory::new().holding([("shared/pier.yaml", serving("a.test"))]);
    let watched = Watched::start();
    let link = watched.directory.file("pier.yaml");
    let change = || symlink(outside.file("shared/pier.yaml"), &link).unwrap();
    watched.check("a link", change, "a.test", 200);
    watched.check(
        "an edit behind it",
        || outside.write("shared/pier.yaml", serving("b.test")),
        "b.test",
        200,
    );
}

#[test]
fn the_directory_itself_may_be_a_link() {
    let upstream = Upstream::start(Scenario::Completion);
    let versions = Directory::new();
    for (version, host) in [("1", "a.test"), ("2", "b.test")] {
        versions.write(
            &format!("{version}/{BRIDGE}"),
            bridge(&[static_registry("deck", &[upstream.address])]),
        );
        versions.write(&format!("{version}/pier.yaml"), serving(host));
    }
    symlink("1", versions.file("current")).unwrap();
    let gateway = Serve::new(&versions.file("current")).start();
    let status = |host: &str| gateway.send(&Request::get(host, "/")).status();
    assert_eq!((status("a.test"), status("b.test")), (200, 404));
    symlink("2", versions.file("next")).unwrap();
    fs::rename(versions.file("next"), versions.file("current")).unwrap();
    eventually("the other version", || (status("b.test") == 200).then_some(()));
    assert_eq!(status("a.test"), 404);
}

#[test]
fn a_directory_that_goes_away_takes_nothing_with_it() {
    let upstream = Upstream::start(Scenario::Completion);
    let parent = Directory::new().holding([("in/pier.yaml".to_owned(), serving("a.test"))]);
    parent.write(&format!("in/{BRIDGE}"), bridge(&[static_registry("deck", &[upstream.address])]));
    let gateway = Serve::new(&parent.file("in")).start();
    let status = |host: &str| gateway.send(&Request::get(host, "/")).status();
    fs::rename(parent.file("in"), parent.file("away")).unwrap();
    eventually("the loss", || (gateway.status()["configuration"]["ok"] == false).then_some(()));
    assert_eq!(status("a.test"), 200);
    assert!(gateway.status()["configuration"]["error"].as_str().unwrap().contains("in"));
    fs::rename(parent.file("away"), parent.file("in")).unwrap();
    eventually("the return", || (gateway.status()["configuration"]["ok"] == true).then_some(()));
    parent.write("in/pier.yaml", serving("b.test"));
    eventually("an edit", || (status("b.test") == 200).then_some(()));
}

#[test]
fn what_is_no_manifest_is_not_read() {
    let names = [
        ".hidden.yaml",
        ".git/pier.yaml",
        "pier.yaml~",
        "pier.yaml.bak",
        "pier.txt",
        "#pier.yaml#",
        "README.md",
    ];
    let watched = Watched::holding(names.map(|name| (name, serving("a.test"))));
    assert_eq!(watched.status("a.test"), 404);
    let pipe = watched.directory.file("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink(".", watched.directory.file("loop")).unwrap();
    symlink("nowhere", watched.directory.file("dangling.txt")).unwrap();
    watched.check(
        "an edit beside a pipe",
        || watched.directory.write("b.yaml", serving("b.test")),
        "b.test",
        200,
    );
    for name in ["pier.yml", "pier.json", "pier.yaml"] {
        let host = format!("{name}.test");
        let text = if name.ends_with("json") { as_json(&host) } else { serving(&host) };
        let watched = Watched::holding([(name, text)]);
        assert_eq!(watched.status(&host), 200, "{name}");
    }
}

/// An Ingress in JSON.
fn as_json(host: &str) -> String {
    serde_json::json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "json", "annotations": {"higress.io/destination": "deck.static:80"}},
        "spec": {"rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "McpBridge", "name": "default"}}},
        ]}}]},
    })
    .to_string()
}

#[test]
fn a_file_may_hold_several_documents() {
    let list =
        format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}", as_json("d.test"));
    let several = format!(
        "# first\n---\n{}---\n{}\n...\n---\n---\n{}",
        serving_as("a", "a.test"),
        serving_as("b", "b.test"),
        as_json("c.test")
    );
    let watched = Watched::holding([
        ("all.yaml", several),
        ("list.json", list.replace("\"json\"", "\"listed\"")),
    ]);
    for host in ["a.test", "b.test", "c.test", "d.test"] {
        assert_eq!(watched.status(host), 200, "{host}");
    }
}

#[test]
fn line_ends_and_marks_of_other_systems_are_read() {
    let text = format!("\u{feff}{}", serving("a.test")).replace('\n', "\r\n");
    assert_eq!(Watched::holding([("pier.yaml", text)]).status("a.test"), 200);
}

#[test]
fn the_data_directory_of_an_all_in_one_is_read_as_it_is() {
    let upstream = Upstream::start(Scenario::Completion);
    let flat = "annotations:\n  higress.io/destination: deck.static:8080\nrules:\n- host: shop.test\n  http:\n    paths:\n    - {path: /, pathType: Prefix, backend: {resource: {apiGroup: networking.higress.io, kind: McpBridge, name: default}}}\n";
    let bridge = format!(
        "apiVersion: networking.higress.io/v1\nkind: McpBridge\nmetadata:\n  creationTimestamp: \"2000-01-01T00:00:00Z\"\n  name: default\n  namespace: higress-system\n  resourceVersion: \"1\"\nspec:\n  registries:\n  - {{type: static, name: higress-console, domain: \"127.0.0.1:8001\", port: 80}}\n  # AI REGISTRIES START\n  - {{type: static, name: deck, domain: \"{}\", port: 8080}}\n  # AI REGISTRIES END\n",
        upstream.address
    );
    let guard = Plugin::key_auth()
        .default_config("{global_auth: false, consumers: []}")
        .rule("{ingress: [shop], config: {allow: []}}")
        .file();
    let directory = Directory::new()
        .holding([
            ("mcpbridges/default.yaml", bridge.as_str()),
            ("ingresses/shop.yaml", flat),
            ("ingresses/open.yaml", &flat.replace("shop.test", "open.test")),
            ("configmaps/higress-config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: higress-config, namespace: higress-system}\ndata: {higress: \"gzip: {enable: true}\", mesh: \"\", meshNetworks: \"networks: {}\"}\n"),
            ("secrets/higress-console.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: higress-console, namespace: higress-system}\ntype: Opaque\n"),
            ("services/higress-gateway.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: higress-gateway, namespace: higress-system}\nspec: {ports: [{port: 80}]}\n"),
            ("envoyfilters/higress-gateway-global-custom-response.yaml", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: x, namespace: higress-system}\nspec: {}\n"),
            (".console-used", ""),
            (".ai-gateway-configured", ""),
        ])
        .holding([guard]);
    let gateway = Serve::new(directory.path()).start();
    let status = |host: &str| gateway.send(&Request::get(host, "/")).status();
    assert_eq!((status("open.test"), status("shop.test")), (200, 401));
    let errors: Vec<Value> =
        gateway.findings().into_iter().filter(|f| f["severity"] == "error").collect();
    assert_eq!(errors, Vec::<Value>::new());
}

#[test]
fn an_empty_directory_serves_404() {
    let directory = Directory::new();
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.ready(), 200);
    assert_eq!(gateway.send(&chat()).status(), 404);
    let upstream = Upstream::start(Scenario::Completion);
    gateway.reload(|| {
        for (name, text) in harbor(upstream.address) {
            directory.write(name, text);
        }
    });
    eventually("the scenario", || (gateway.send(&chat()).status() == 200).then_some(()));
}

#[test]
fn where_a_plugin_may_be_lost_everything_is_closed_until_it_is_found() {
    for broken in [
        "nonsense: [",
        "kind: WasmPlugin\nspec: {url: \u{1}}",
        "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugins\n",
        "",
    ] {
        let harbor =
            Harbor::changed(Scenario::Completion, |directory| directory.write(KEY_AUTH, broken));
        for request in [chat(), chat_without_key(), Request::get("elsewhere.test", "/")] {
            assert_eq!(harbor.gateway.send(&request).status(), 503, "{broken:?}");
        }
        check_openai_error(&harbor.chat(), 503, "overloaded_error", "route_closed");
        assert_eq!(harbor.gateway.ready(), 200);
        harbor.gateway.reload(|| harbor.directory.write(KEY_AUTH, whole(&harbor, KEY_AUTH)));
        assert_eq!(harbor.chat().status(), 200);
        assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
    }
}

/// The good text of a file of the scenario.
fn whole(harbor: &Harbor, name: &str) -> String {
    let files = crate::support::harbor(harbor.upstream.address);
    files.into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn removing_what_closed_everything_opens_the_rest() {
    let upstream = Upstream::start(Scenario::Completion);
    let directory =
        Directory::harbor(upstream.address).holding([("wasmplugins/lost.yaml", "a: [")]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&chat()).status(), 503);
    gateway.reload(|| directory.remove("wasmplugins/lost.yaml"));
    assert_eq!(gateway.send(&chat()).status(), 200);
}

#[test]
fn only_broken_files_are_503() {
    let directory =
        Directory::new().holding([(KEY_AUTH, "a: ["), (INGRESS, "b: {"), ("x.yaml", "\0\u{7f}")]);
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&chat()).status(), 503);
    assert_eq!(gateway.send(&Request::get("x.test", "/")).status(), 503);
}

#[test]
fn a_broken_file_that_can_hide_no_plugin_closes_nothing() {
    let harbor = Harbor::changed(Scenario::Completion, |directory| {
        directory.write("configmaps/domain-chat.harbor.test.yaml", "data: [");
        directory.write("ingresses/other.yaml", "spec: {rules: ");
    });
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
    assert!(harbor.gateway.findings().iter().any(|f| f["severity"] == "error"));
}

/// Breaks a file of the running scenario and asserts that nothing changes but
/// what `/status` says: a finding with this code at this line.
#[track_caller]
fn check_broken(name: &str, from: &str, to: &str, code: &str, line: u64) {
    let harbor = Harbor::start();
    harbor.gateway.reload(|| harbor.directory.edit(name, from, to));
    assert_eq!(harbor.chat().status(), 200, "{name} {to:?}");
    assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
    assert_eq!(harbor.gateway.send(&chat_without_key().key(OTTER_KEY)).status(), 403);
    let findings = harbor.gateway.findings();
    let is_about_it = |finding: &&Value| finding["code"] == code && finding["line"] == line;
    let finding = findings.iter().find(is_about_it).unwrap_or_else(|| panic!("{findings:#?}"));
    assert!(finding["file"].as_str().unwrap().ends_with(name), "{finding}");
    assert!(finding["column"].as_u64().unwrap() > 0 && finding["message"].is_string());
    assert!(findings.iter().any(|finding| finding["code"] == "PS211"), "{findings:#?}");
    let told =
        harbor.gateway.log.find(|told| told["code"] == code && told["line"] == line).unwrap();
    assert_eq!((&told["file"], &told["message"]), (&finding["file"], &finding["message"]));
    harbor.gateway.reload(|| harbor.directory.write(name, whole(&harbor, name)));
    assert!(!harbor.gateway.findings().iter().any(|finding| finding["code"] == "PS211"));
    assert_eq!(harbor.chat().status(), 200);
}

#[test]
fn what_breaks_while_running_keeps_its_last_good_version() {
    check_broken(KEY_AUTH, "spec:", "spec: [", "PS102", 11);
    check_broken(KEY_AUTH, "phase: AUTHN", "phase: AUTHEN", "PS208", 11);
    check_broken(KEY_AUTH, "    consumers:\n", "    consumers: x\n    was:\n", "PS201", 18);
    check_broken(
        KEY_AUTH,
        "      credentials:\n      - Bearer heron-key-4711",
        "      credentials: 5",
        "PS602",
        24,
    );
    check_broken(
        KEY_AUTH,
        "  - ingress:\n    - ai-route-pier.internal\n    config:",
        "  - config:",
        "PS502",
        33,
    );
    check_broken(AI_PROXY, "type: openai\n", "type: [openai]\n", "PS702", 17);
    check_broken(BRIDGE, "  registries:\n", "  registries: none\n  was:\n", "PS201", 7);
    check_broken(INGRESS, "kind: Ingress", "kind: Ingres", "PS208", 2);
    check_broken(INGRESS, "  rules:", "  rulez:", "PS302", 13);
}

#[test]
fn an_emptied_file_keeps_what_it_held_until_it_is_removed() {
    for name in [KEY_AUTH, AI_PROXY, BRIDGE, INGRESS] {
        for empty in ["", "\n", "# nothing\n", "---\n"] {
            let harbor = Harbor::start();
            harbor.gateway.reload(|| harbor.directory.write(name, empty));
            assert_eq!(harbor.chat().status(), 200, "{name} {empty:?}");
            assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401, "{name} {empty:?}");
            harbor.gateway.reload(|| harbor.directory.remove(name));
            let expected = match name {
                INGRESS => 404,
                // Without its plugin the key goes to the upstream as it is.
                AI_PROXY => 200,
                // The AI route asks for an authentication that is gone.
                _ => 503,
            };
            assert_eq!(harbor.chat().status(), expected, "{name}");
            assert_ne!(harbor.gateway.send(&chat_without_key()).status(), 200);
        }
    }
}

#[test]
fn two_different_documents_of_one_name_count_neither() {
    let harbor = Harbor::start();
    harbor.gateway.reload(|| {
        harbor
            .directory
            .write("copy.yaml", whole(&harbor, KEY_AUTH).replace("- heron\n", "- otter\n"));
    });
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.gateway.send(&chat_without_key().key(OTTER_KEY)).status(), 403);
    let duplicates: Vec<Value> =
        harbor.gateway.findings().into_iter().filter(|f| f["code"] == "PS207").collect();
    assert_eq!(duplicates.len(), 2, "{duplicates:?}");
    let fresh = Serve::new(
        Directory::new()
            .holding([
                (KEY_AUTH, harbor.directory.read(KEY_AUTH)),
                ("copy.yaml", harbor.directory.read("copy.yaml")),
            ])
            .path(),
    )
    .start();
    assert_eq!(fresh.send(&chat()).status(), 503);
}

#[test]
fn the_same_document_twice_counts_once() {
    let harbor = Harbor::start();
    harbor.gateway.reload(|| harbor.directory.write("copy.yaml", whole(&harbor, KEY_AUTH)));
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
    assert!(harbor.gateway.findings().iter().any(|finding| finding["code"] == "PS212"));
}

#[test]
fn a_restart_with_a_broken_file_has_its_last_good_version() {
    let harbor = Harbor::start();
    assert_eq!(harbor.chat().status(), 200);
    let Harbor { upstream, directory, gateway } = harbor;
    let kept = directory.file(".penstock/last-good.yaml");
    eventually("the last good set", || kept.exists().then_some(()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kept), mode(kept.parent().unwrap())), (0o600, 0o700));
    drop(gateway);
    directory.edit(KEY_AUTH, "spec:", "spec: [");
    for _ in 0..2 {
        let gateway = Serve::new(directory.path()).start();
        assert_eq!(gateway.send(&chat()).status(), 200);
        assert_eq!(gateway.send(&chat_without_key()).status(), 401);
        assert!(gateway.findings().iter().any(|finding| finding["code"] == "PS211"));
    }
    fs::write(&kept, "nonsense: [").unwrap();
    let gateway = Serve::new(directory.path()).start();
    assert_eq!(gateway.send(&chat()).status(), 503);
    drop(upstream);
}

#[test]
fn streams_outlive_reloads() {
    let harbor = Harbor::start();
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write(EVENT_STREAM);
    client.head();
    for round in 0..20 {
        harbor.gateway.reload(|| {
            harbor
                .directory
                .write("ingresses/other.yaml", serving_as("other", &format!("{round}.test")));
        });
        let event = format!("data: {round}\n\n");
        steps.chunk(&event);
        assert_eq!(client.chunk(), Chunk::data(&event));
    }
    harbor.gateway.reload(|| harbor.directory.remove(INGRESS));
    assert_eq!(harbor.chat().status(), 404);
    steps.chunk("data: end\n\n");
    assert_eq!(client.chunk(), Chunk::data("data: end\n\n"));
    steps.finish();
    assert_eq!(client.chunk(), Chunk::Last);
}

#[test]
fn every_request_sees_one_configuration() {
    let harbor = Harbor::start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = harbor.gateway.connect();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        client.send(&chat());
                        assert_eq!(client.answer().status(), 200);
                        client.send(&chat_without_key());
                        assert_eq!(client.answer().status(), 401);
                    }
                })
            })
            .collect();
        for round in 0..10 {
            let (from, to) = if round % 2 == 0 { ("brook", "creek") } else { ("creek", "brook") };
            harbor.gateway.reload(|| {
                for name in [BRIDGE, AI_PROXY, INGRESS] {
                    harbor.directory.edit(name, &format!("llm-{from}"), &format!("llm-{to}"));
                }
            });
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    });
}

#[test]
fn a_change_that_changes_nothing_is_no_reload() {
    let harbor = Harbor::start();
    let before = harbor.gateway.status()["configuration"]["revision"].clone();
    harbor
        .gateway
        .reload(|| harbor.directory.write("ingresses/other.yaml", serving_as("other", "a.test")));
    let reloads = harbor.gateway.reloads();
    harbor.directory.write(KEY_AUTH, whole(&harbor, KEY_AUTH));
    harbor.gateway.reload(|| harbor.directory.remove("ingresses/other.yaml"));
    assert_eq!(harbor.gateway.reloads(), reloads + 1);
    assert_eq!(harbor.gateway.status()["configuration"]["revision"], before);
}

#[test]
fn a_file_that_is_a_bomb_harms_nobody() {
    let aliases: String = (1..30)
        .map(|n| format!("a{n}: &a{n} [{}]\n", [format!("*a{}", n - 1).as_str(); 9].join(", ")))
        .collect();
    let bombs = [
        format!("a0: &a0 x\n{aliases}"),
        format!("a: {}", "[".repeat(200_000)),
        format!("a: {}{}", "[".repeat(200_000), "]".repeat(200_000)),
        "- ".repeat(100_000),
        "a:\n".to_owned()
            + &(1..2_000).map(|n| format!("{}b:\n", " ".repeat(n))).collect::<String>(),
        "{\"a\":".repeat(100_000),
        "%".repeat(100_000),
    ];
    let mut harbor = Harbor::start();
    for bomb in bombs {
        harbor.gateway.reload(|| harbor.directory.write("configmaps/bomb.yaml", &bomb));
        assert_eq!(harbor.chat().status(), 200);
        assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
        assert!(harbor.gateway.is_running());
    }
    assert!(harbor.gateway.resident_bytes() < 512 << 20, "{}", harbor.gateway.resident_bytes());
}

#[test]
fn a_directory_may_have_any_name() {
    let upstream = Upstream::start(Scenario::Completion);
    let parent = Directory::new();
    for folder in ["a b", "h\u{e4}fen \u{2693}", "..dots", "k8s", "-dash", "x.yaml"] {
        for (name, text) in harbor(upstream.address) {
            parent.write(&format!("{folder}/{name}"), text);
        }
        let gateway = Serve::new(&parent.file(&format!("{folder}/"))).start();
        assert_eq!(gateway.send(&chat()).status(), 200, "{folder}");
        gateway.reload(|| parent.remove(&format!("{folder}/{INGRESS}")));
        assert_eq!(gateway.send(&chat()).status(), 404, "{folder}");
    }
}

#[test]
fn where_nothing_can_be_written_the_gateway_serves_all_the_same() {
    let harbor =
        Harbor::changed(Scenario::Completion, |directory| directory.write(".penstock", ""));
    assert_eq!(harbor.chat().status(), 200);
    harbor.gateway.reload(|| harbor.directory.edit(KEY_AUTH, "spec:", "spec: ["));
    assert_eq!(harbor.chat().status(), 200);
    assert_eq!(harbor.gateway.send(&chat_without_key()).status(), 401);
    assert_eq!(harbor.directory.read(".penstock"), "");
}
