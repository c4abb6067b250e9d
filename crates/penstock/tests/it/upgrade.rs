//! Changes under load: of the configuration, and of the process itself.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::client::End;
use crate::support::upstream::{EVENT_STREAM, Steps};
use crate::support::*;

/// A number for a longer run, by a variable.
#[expect(clippy::disallowed_methods, reason = "a test has no flags")]
fn count(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().unwrap())
}

/// A stream that is under way, and the hand that writes it.
struct Live {
    steps: Steps,
    client: Connection,
}

impl Live {
    fn of(harbor: &Harbor) -> Self {
        Self::start(&harbor.gateway, &harbor.upstream, &chat())
    }

    fn start(gateway: &Gateway, upstream: &Upstream, request: &Request) -> Self {
        let steps = upstream.stepped();
        let mut client = gateway.begin(request);
        steps.write(EVENT_STREAM);
        assert_eq!(client.head().status, 200);
        Self { steps, client }
    }

    #[track_caller]
    fn goes_on(&mut self) {
        self.steps.chunk("data: a\n\n");
        assert_eq!(self.client.chunk(), Chunk::data("data: a\n\n"));
    }

    #[track_caller]
    fn ends_well(mut self) {
        self.goes_on();
        self.steps.finish();
        assert_eq!(self.client.chunk(), Chunk::Last);
    }
}

/// Clients that ask again and again, each in its own way, until told to stop.
struct Asking {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Asking {
    fn start(count: usize, gateway: &Gateway, request: &Request) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let client = |number: usize| {
            let (is_over, answered) = (is_over.clone(), answered.clone());
            let (address, request) = (gateway.http, request.clone());
            thread::spawn(move || {
                let mut kept = None;
                while !is_over.load(Ordering::Acquire) {
                    let mut connection = kept.take().unwrap_or_else(|| Connection::open(address));
                    connection.send(&request);
                    let answer = connection.answer();
                    assert_eq!((answer.status(), answer.end), (200, End::Complete));
                    answered.fetch_add(1, Ordering::AcqRel);
                    // Every other client keeps its connection.
                    let is_kept = answer.header("connection") != Some("close");
                    kept = Some(connection).filter(|_| is_kept && number.is_multiple_of(2));
                }
            })
        };
        let clients = (0..count).map(client).collect();
        Self { is_over, answered, clients }
    }

    /// Waits until there were more answers, so many.
    fn await_more(&self, more: usize) {
        let before = self.answered.load(Ordering::Acquire);
        eventually("more answers", || {
            (self.answered.load(Ordering::Acquire) >= before + more).then_some(())
        });
    }

    #[track_caller]
    fn stop(self) {
        self.is_over.store(true, Ordering::Release);
        for client in self.clients {
            client.join().expect("a request failed");
        }
    }
}

#[test]
fn neither_a_request_nor_a_stream_notices_two_upgrades() {
    let mut harbor =
        Harbor::served(Scenario::Completion, |_| {}, |serve| serve.with("--threads", 2));
    let mut streams: Vec<Live> = (0..20).map(|_| Live::of(&harbor)).collect();
    let asking = Asking::start(6, &harbor.gateway, &chat());
    let first = harbor.gateway.id();
    for _ in 0..2 {
        asking.await_more(20);
        let before = harbor.gateway.id();
        harbor.gateway.upgrade();
        assert_ne!(harbor.gateway.id(), before);
        assert_eq!(harbor.gateway.ready(), 200);
        asking.await_more(20);
        streams.iter_mut().for_each(Live::goes_on);
    }
    asking.stop();
    assert_ne!(harbor.gateway.id(), first);
    assert!(harbor.gateway.is_running());
    streams.into_iter().for_each(Live::ends_well);
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert_eq!(harbor.chat().status(), 200);
    assert!(TcpStream::connect(harbor.gateway.https).is_ok());
}

/// A configuration of which every part bears the same name, in one file, so
/// that no reload can meet the half of it.
fn named(name: &str, upstream: &Upstream) -> String {
    let consumer =
        format!("{{name: consumer-{name}, in_header: true, keys: [x-key], credential: key}}");
    let provider = format!(
        "{{id: {name}, type: openai, apiTokens: [sk-{name}], openaiCustomUrl: \"http://{name}.test/v1\"}}"
    );
    let documents = [
        bridge(&[static_registry("deck", &[upstream.address])]),
        Ingress::new("pair").at("pair.test", "Prefix", "/v1").file().1,
        Ingress::new(name).at("other.test", "Prefix", &format!("/{name}")).file().1,
        Plugin::key_auth()
            .default_config(&format!("{{global_auth: true, consumers: [{consumer}]}}"))
            .file()
            .1,
        Plugin::ai_proxy()
            .default_config(&format!("{{providers: [{provider}]}}"))
            .rule(&format!("{{service: [deck.static], config: {{activeProviderId: {name}}}}}"))
            .file()
            .1,
    ];
    documents.join("---\n")
}

/// What an upstream received was made by the configuration of its name.
fn check_received(name: &str, upstream: &Upstream) -> usize {
    let mut count = 0;
    while let Some(received) = upstream.try_received() {
        assert_eq!(received.header("host"), Some(format!("{name}.test").as_str()));
        assert_eq!(received.header("x-mse-consumer"), Some(format!("consumer-{name}").as_str()));
        assert_eq!(received.header("authorization"), Some(format!("Bearer sk-{name}").as_str()));
        count += 1;
    }
    count
}

#[test]
fn neither_a_request_nor_a_stream_notices_reloads() {
    let streams = count("PENSTOCK_TEST_STREAMS", 200);
    let reloads = count("PENSTOCK_TEST_RELOADS", 20);
    let decks = ["a", "b"].map(|name| (name, Upstream::start(Scenario::Completion)));
    let directory = Directory::new();
    let lay = |round: usize| {
        let (name, deck) = &decks[round % 2];
        directory.write(".set", named(name, deck));
        fs::rename(directory.file(".set"), directory.file("set.yaml")).unwrap();
    };
    lay(0);
    let gateway = Serve::new(directory.path()).with("--threads", 2).start();
    let request = Request::post("pair.test", "/v1/chat/completions", CHAT).header("x-key", "key");
    let reload = |round: usize| {
        gateway.reload(|| {
            lay(round);
            gateway.signal("HUP");
        });
    };
    let mut live = Vec::new();
    for (round, (_, deck)) in decks.iter().enumerate() {
        reload(round);
        live.extend((0..streams / 2).map(|_| Live::start(&gateway, deck, &request)));
    }
    let asking = Asking::start(4, &gateway, &request);
    for round in 0..reloads {
        reload(round);
        asking.await_more(4);
        live.iter_mut().for_each(Live::goes_on);
    }
    asking.stop();
    live.into_iter().for_each(Live::ends_well);
    let served = decks.each_ref().map(|(name, deck)| check_received(name, deck));
    assert!(served.iter().all(|count| *count > streams / 2), "{served:?}");
}

/// Replaces a program file by another text or by nothing.
fn replace(directory: &Directory, text: &str) {
    directory.write(".penstock.new", text);
    let new = directory.file(".penstock.new");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, directory.file(".penstock-binary")).unwrap();
}

/// A gateway from a file of its own, which may be replaced.
fn replaceable(threads: usize) -> Harbor {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::harbor(upstream.address);
    let program = directory.file(".penstock-binary");
    fs::copy(env!("CARGO_BIN_EXE_penstock"), &program).unwrap();
    let serve = Serve::new(directory.path()).program(&program);
    let serve = serve.with("--threads", threads).with("--upgrade-timeout", 5);
    let gateway = serve.start();
    Harbor { upstream, directory, gateway }
}

/// A successor that does this instead of serving changes nothing.
#[track_caller]
fn check_goes_on(harbor: &mut Harbor, successor: &str, words: &str) {
    replace(&harbor.directory, successor);
    let mut stream = Live::of(harbor);
    harbor.gateway.signal("USR2");
    let failed = harbor.gateway.log.find(|line| {
        line["message"] == "the hand-over failed; this process goes on"
            && line["error"].as_str().is_some_and(|error| error.contains(words))
    });
    assert!(failed.is_some(), "{:?}", harbor.gateway.log.all());
    stream.goes_on();
    assert_eq!(harbor.gateway.ready(), 200);
    let answer = harbor.chat();
    assert_eq!((answer.status(), answer.header("connection")), (200, None));
    stream.ends_well();
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let mut harbor = replaceable(1);
    check_goes_on(&mut harbor, "#!/bin/sh\nexit 3\n", "it ended before it");
    check_goes_on(&mut harbor, "#!/bin/sh\nexec sleep 60\n", "within 5 s");
    check_goes_on(&mut harbor, "no program", "cannot start");
    replace(&harbor.directory, &with_threads(1, 1));
    harbor.gateway.upgrade();
    assert_eq!(harbor.chat().status(), 200);
}

/// A program that becomes the built one with another number of threads.
fn with_threads(from: usize, to: usize) -> String {
    let binary = env!("CARGO_BIN_EXE_penstock");
    let edit = format!("s/--threads {from}/--threads {to}/");
    format!("#!/bin/sh\nexec {binary} $(echo \"$@\" | sed '{edit}')\n")
}

#[test]
fn the_number_of_threads_may_change() {
    for (from, to) in [(1, 4), (4, 1)] {
        let mut harbor = replaceable(from);
        replace(&harbor.directory, &with_threads(from, to));
        let asking = Asking::start(6, &harbor.gateway, &chat());
        asking.await_more(20);
        harbor.gateway.upgrade();
        asking.await_more(100);
        asking.stop();
        let listening =
            harbor.gateway.log.find(|line| line["message"] == "listening" && line["threads"] == to);
        assert!(listening.is_some(), "{:?}", harbor.gateway.log.all());
        // One connection after another comes to each of the sockets.
        for _ in 0..32 {
            assert_eq!(harbor.chat().status(), 200);
        }
    }
}

#[test]
fn a_pid_file_names_the_process_that_serves() {
    let mut harbor = Harbor::start();
    let file = harbor.directory.file(".pid");
    harbor.gateway = Serve::new(harbor.directory.path()).with("--pid-file", file.display()).start();
    harbor.gateway.upgrade();
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert_eq!(harbor.directory.read(".pid"), format!("{}\n", harbor.gateway.id()));
}

#[test]
fn an_old_process_still_heeds_sigterm() {
    let mut harbor = Harbor::start();
    let mut stream = Live::of(&harbor);
    harbor.gateway.upgrade();
    stream.goes_on();
    harbor.gateway.signal_first("TERM");
    stream.goes_on();
    // Two signals may arrive as one where the process is slow to look.
    eventually("the end of the old process", || {
        if harbor.gateway.is_running() {
            harbor.gateway.signal_first("TERM");
            return None;
        }
        Some(())
    });
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    assert_eq!(stream.client.chunk(), Chunk::Broken);
    assert_eq!(harbor.chat().status(), 200);
}
