//! Web servers that others wrote, as back ends: each says every request that
//! it saw.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::corpus::{self, Counts};
use super::gateway::{Lines, Process, eventually};

const NGINX: &str = "daemon off; master_process off; pid DIRECTORY/pid; error_log stderr error;
events {}
http {
  log_format requests '$request_method $request_uri $status $request';
  access_log /dev/stdout requests;
  client_body_temp_path DIRECTORY/body; proxy_temp_path DIRECTORY/proxy;
  fastcgi_temp_path DIRECTORY/fastcgi; uwsgi_temp_path DIRECTORY/uwsgi;
  scgi_temp_path DIRECTORY/scgi;
  server { listen 127.0.0.1:PORT; location / { return 200 ok; } }
}
";

/// One thread: several write their lines in any order, and the last request
/// could be told before one that was answered earlier.
const HAPROXY: &str = "global
    nbthread 1
    log stdout format raw local0
defaults
    mode http
    timeout client 10s
    option dontlognull
frontend requests
    bind 127.0.0.1:PORT
    log global
    log-format '%HM %HU %ST %{+Q}r'
    http-request wait-for-body time 5s
    http-request return status 200 content-type text/plain string ok
";

/// Which server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Python,
    Node,
}

/// A server of another make.
pub(crate) struct BackEnd {
    pub(crate) address: SocketAddr,
    lines: Lines,
    _process: Process,
    _directory: TempDir,
}

impl BackEnd {
    /// Starts it on a free port.
    pub(crate) fn start(kind: Kind) -> Self {
        let directory = TempDir::new().unwrap();
        let port = free_port();
        let configured = |text: &str| {
            let path = directory.path().join("configuration");
            let text = text.replace("PORT", &port.to_string());
            let text = text.replace("DIRECTORY", directory.path().to_str().unwrap());
            std::fs::write(&path, text).unwrap();
            path
        };
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/framing");
        let mut command;
        match kind {
            Kind::Nginx => {
                command = Command::new(daemon("nginx"));
                command.args(["-e", "stderr", "-c"]).arg(configured(NGINX));
            }
            Kind::Haproxy => {
                command = Command::new(daemon("haproxy"));
                command.args(["-db", "-f"]).arg(configured(HAPROXY));
            }
            Kind::Python => {
                command = Command::new("python3");
                command.arg(scripts.join("server.py"));
            }
            Kind::Node => {
                command = Command::new("node");
                command.arg(scripts.join("server.js"));
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{kind:?}: {error}; run .ci/setup"));
        let lines = Lines::of(child.stdout.take().unwrap());
        let process = Process(child);
        let told_port = || {
            let lines = lines.all();
            lines.first().and_then(|line| line.strip_prefix("port ")?.parse::<u16>().ok())
        };
        let port = match kind {
            Kind::Nginx | Kind::Haproxy => port,
            Kind::Python | Kind::Node => eventually("the port of the back end", told_port),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually("the back end", || TcpStream::connect(address).ok());
        Self { address, lines, _process: process, _directory: directory }
    }

    /// Waits for the request for `/last`, and compares what was seen with what
    /// may have been seen.
    #[track_caller]
    pub(crate) fn check(&self, expected: &Counts) {
        let is_last = |line: &String| line.contains(" /last ") || line.ends_with(" /last");
        eventually("the last request", || self.requests().iter().any(is_last).then_some(()));
        let requests = self.requests();
        let targets = requests.iter().map(|line| line.split(' ').nth(1).unwrap_or_default());
        corpus::check_seen(targets, expected);
    }

    /// The requests so far, each as method, target and what else is known.
    fn requests(&self) -> Vec<String> {
        self.lines.all().into_iter().filter(|line| !line.starts_with("port ")).collect()
    }
}

/// Not everybody's `PATH` has what only administrators start.
fn daemon(name: &str) -> PathBuf {
    let installed = Path::new("/usr/sbin").join(name);
    if installed.is_file() { installed } else { PathBuf::from(name) }
}

fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    probe.local_addr().unwrap().port()
}
