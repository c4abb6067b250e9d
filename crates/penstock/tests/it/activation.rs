//! Started by a supervisor: sockets that are there already, and what the
//! supervisor is told.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;

use crate::support::client::PATIENCE;
use crate::support::upstream::EVENT_STREAM;
use crate::support::*;

/// What a supervisor hears.
struct Told {
    socket: UnixDatagram,
}

impl Told {
    /// Listens in a directory.
    fn at(directory: &Directory) -> Self {
        let socket = UnixDatagram::bind(directory.file(".notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    fn next(&self) -> String {
        let mut bytes = [0; 512];
        let count = self.socket.recv(&mut bytes).expect("nothing was told");
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    /// The next message that is not about the watchdog.
    #[track_caller]
    fn check(&self, lines: &[&str]) {
        let message = std::iter::repeat_with(|| self.next()).find(|told| told != "WATCHDOG=1");
        let message = message.unwrap();
        for line in lines {
            assert!(message.lines().any(|told| told.starts_with(line)), "{line} not in {message}");
        }
    }
}

/// The scenario, supervised.
fn supervised(more: &[(&str, &str)]) -> (Harbor, Told) {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::harbor(upstream.address);
    let told = Told::at(&directory);
    let mut serve =
        Serve::new(directory.path()).variable("NOTIFY_SOCKET", directory.file(".notify").display());
    for (name, value) in more {
        serve = serve.variable(name, value);
    }
    let gateway = serve.start();
    (Harbor { upstream, directory, gateway }, told)
}

#[test]
fn a_supervisor_is_told_of_start_reload_and_end() {
    let (mut harbor, told) = supervised(&[]);
    told.check(&["READY=1", "STATUS=serving"]);
    harbor.gateway.signal("HUP");
    told.check(&["RELOADING=1", "MONOTONIC_USEC="]);
    told.check(&["READY=1"]);
    harbor.gateway.signal("INT");
    told.check(&["STOPPING=1", "EXTEND_TIMEOUT_USEC=", "STATUS=draining"]);
    assert_eq!(harbor.gateway.wait().code(), Some(0));
}

#[test]
fn a_supervisor_is_told_which_process_serves() {
    let (mut harbor, told) = supervised(&[("WATCHDOG_USEC", "200000")]);
    told.check(&["READY=1"]);
    let steps = harbor.upstream.stepped();
    let mut client = harbor.gateway.begin(&chat());
    steps.write(EVENT_STREAM);
    client.head();
    harbor.gateway.upgrade();
    told.check(&["RELOADING=1"]);
    // Both speak to the supervisor at the same time.
    let mut messages = vec![told.next(), told.next(), told.next(), told.next()];
    messages.retain(|message| message != "WATCHDOG=1");
    let main = format!("MAINPID={}", harbor.gateway.id());
    assert!(messages.iter().any(|told| told.starts_with(&main)), "{messages:?}");
    steps.finish();
    assert_eq!(harbor.gateway.wait().code(), Some(0));
    // The watchdog hears from the process that serves.
    eventually("a word to the watchdog", || (told.next() == "WATCHDOG=1").then_some(()));
}

#[test]
fn a_watchdog_of_another_process_hears_nothing() {
    let (harbor, told) = supervised(&[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    assert!(told.next().starts_with("READY=1"));
    harbor.gateway.signal("HUP");
    assert!(told.next().starts_with("RELOADING=1"));
    assert!(told.next().starts_with("READY=1"));
}

/// Two sockets on free ports, and their addresses.
fn sockets() -> ([TcpListener; 2], [SocketAddr; 2]) {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    (sockets, addresses)
}

#[test]
fn sockets_of_a_supervisor_are_used_by_their_names() {
    for names in ["http:admin", "admin:http"] {
        let upstream = Upstream::start(Scenario::Completion);
        let directory = Directory::harbor(upstream.address);
        let (sockets, [first, second]) = sockets();
        // Who comes before there is a process waits.
        let mut early = Connection::open(if names.starts_with('h') { first } else { second });
        early.send(&chat());
        let serve = Serve::new(directory.path()).variable("LISTEN_FDNAMES", names);
        let mut gateway = serve.with("--threads", 3).start_with(sockets);
        let addresses = match names.starts_with('h') {
            true => [gateway.http, gateway.admin],
            false => [gateway.admin, gateway.http],
        };
        assert_eq!(addresses, [first, second]);
        assert_eq!(early.answer().status(), 200);
        // They outlive the process, too.
        gateway.upgrade();
        assert_eq!(gateway.send(&chat()).status(), 200);
        eventually("readiness", || (gateway.ready() == 200).then_some(()));
        assert_eq!(gateway.wait().code(), Some(0));
        assert_eq!(gateway.send(&chat()).status(), 200);
    }
}

#[test]
fn sockets_without_names_are_used_by_their_order() {
    let upstream = Upstream::start(Scenario::Completion);
    let directory = Directory::harbor(upstream.address);
    let (sockets, [first, _]) = sockets();
    let gateway = Serve::new(directory.path()).start_with(sockets);
    assert_eq!(gateway.http, first);
    assert_eq!(gateway.send(&chat()).status(), 200);
}

#[test]
fn an_admin_socket_for_others_needs_a_token_too() {
    let directory = Directory::new();
    let admin = TcpListener::bind("0.0.0.0:0").unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let serve = Serve::new(directory.path()).variable("LISTEN_FDNAMES", "http:admin");
    let told = serve.refused_with([http, admin]);
    assert!(told.contains("--admin-token-file"), "{told}");
}
