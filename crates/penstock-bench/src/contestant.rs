//! What is compared: penstock as it is meant to run, and nginx as a plain
//! keep-alive proxy that checks the same keys.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::certificate::Certificate;
use crate::process::Process;
use crate::request::{CONSUMERS, HOSTS, host, key};

/// How long a server may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A running proxy.
pub struct Contestant {
    /// What it is called in the tables.
    pub label: String,
    /// The process.
    pub process: Process,
    /// Where it takes requests for whole answers.
    pub http: SocketAddr,
    /// Where it takes requests for streamed ones.
    pub streaming: SocketAddr,
    /// Where it speaks TLS.
    pub https: SocketAddr,
    /// Where penstock tells about itself.
    pub admin: Option<SocketAddr>,
    /// How long it took from its start until it was ready.
    pub ready_after: Duration,
}

/// A build of penstock, and how to run it.
#[derive(Clone)]
pub struct Penstock {
    /// What it is called in the tables.
    pub label: String,
    /// The binary.
    pub binary: PathBuf,
    /// Where access lines go: a file, or `off`.
    pub access_log: String,
    /// Flags of `serve` besides.
    pub flags: Vec<String>,
}

impl Penstock {
    /// Starts it with a directory of manifests, and waits until it is ready.
    pub fn start(&self, manifests: &Path, core: Option<usize>) -> anyhow::Result<Contestant> {
        let [http, https, admin] = free_addresses()?;
        let log_path = manifests.with_extension("log");
        let log = fs::File::create(&log_path)?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(manifests);
        command.args(["--http", &http.to_string(), "--https", &https.to_string()]);
        command.args(["--admin", &admin.to_string(), "--access-log", &self.access_log]);
        command.args(["--log-level", "error"]);
        command.args(&self.flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let began = Instant::now();
        let mut process = Process::start(&mut command, core)?;
        wait_until(&self.label, &mut process, || is_ready(admin))
            .with_context(|| fs::read_to_string(&log_path).unwrap_or_default())?;
        let (label, ready_after) = (self.label.clone(), began.elapsed());
        Ok(Contestant {
            label,
            process,
            http,
            streaming: http,
            https,
            admin: Some(admin),
            ready_after,
        })
    }
}

/// Starts nginx with one worker, in a directory of its own.
pub fn start_nginx(
    binary: &Path,
    upstream: SocketAddr,
    certificate: &Certificate,
    core: Option<usize>,
) -> anyhow::Result<Contestant> {
    let directory = certificate.key_path.with_file_name("nginx");
    fs::create_dir_all(&directory)?;
    let [http, streaming, https] = free_addresses()?;
    let addresses = [upstream, http, streaming, https];
    let configuration = directory.join("nginx.conf");
    fs::write(&configuration, nginx_configuration(&directory, addresses, certificate))?;
    let mut command = Command::new(binary);
    command.arg("-p").arg(&directory).arg("-c").arg(&configuration);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let mut process = Process::start(&mut command, core)?;
    wait_until("nginx", &mut process, || TcpStream::connect(http).is_ok())?;
    let ready_after = began.elapsed();
    process.count_child()?;
    let label = "nginx".to_owned();
    Ok(Contestant { label, process, http, streaming, https, admin: None, ready_after })
}

/// A keep-alive proxy with a check of the key. It buffers whole answers, as
/// it does by default, and passes streamed ones on as they come.
fn nginx_configuration(
    directory: &Path,
    [upstream, http, streaming, https]: [SocketAddr; 4],
    certificate: &Certificate,
) -> String {
    let directory = directory.display();
    let (names, keys) = (
        (0..HOSTS).map(host).collect::<Vec<_>>().join(" "),
        (0..CONSUMERS).fold(String::new(), |mut keys, consumer| {
            // Writing to a string cannot fail.
            let _ = writeln!(keys, "    \"Bearer {}\" 1;", key(consumer));
            keys
        }),
    );
    let server = |listen: &str, more: &str| {
        format!(
            "  server {{ listen {listen} default_server; return 404; {more} }}\n  \
             server {{ listen {listen}; server_name {names}; {more}\n    \
             location / {{ if ($known = 0) {{ return 401; }} proxy_pass http://upstream; }} }}\n"
        )
    };
    let tls = format!(
        "ssl_certificate {}; ssl_certificate_key {};",
        certificate.certificate_path.display(),
        certificate.key_path.display()
    );
    let servers = [
        server(&http.to_string(), ""),
        server(&streaming.to_string(), "proxy_buffering off;"),
        server(&format!("{https} ssl http2"), &tls),
    ]
    .concat();
    format!(
        "worker_processes 1;\ndaemon off;\npid {directory}/pid;\nerror_log {directory}/error.log;\n\
         events {{ worker_connections 8192; }}\nhttp {{\n  access_log off;\n  \
         keepalive_requests 1000000000;\n  keepalive_timeout 600;\n  \
         client_body_buffer_size 256k;\n  client_max_body_size 10m;\n  \
         server_names_hash_max_size 4096;\n  map_hash_max_size 4096;\n  \
         client_body_temp_path {directory}/body;\n  proxy_temp_path {directory}/proxy;\n  \
         fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path {directory}/uwsgi;\n  \
         scgi_temp_path {directory}/scgi;\n  proxy_http_version 1.1;\n  \
         proxy_set_header Connection \"\";\n  \
         upstream upstream {{ server {upstream}; keepalive 2048; keepalive_requests 1000000000; }}\n  \
         map $http_authorization $known {{\n    default 0;\n{keys}  }}\n{servers}}}\n"
    )
}

/// Addresses that nobody listens on at the moment.
fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    let mut listeners = Vec::new();
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}

fn wait_until(
    label: &str,
    process: &mut Process,
    mut is_there: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < READY_TIMEOUT {
        if is_there() {
            return Ok(());
        }
        if !process.is_alive() {
            bail!("{label} ended before it was ready");
        }
        thread::sleep(Duration::from_micros(500));
    }
    bail!("{label} is not ready after {READY_TIMEOUT:?}")
}

fn is_ready(admin: SocketAddr) -> bool {
    get(admin, "admin", "/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// What a server answers, with its head.
pub fn get(server: SocketAddr, host: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(READY_TIMEOUT))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What penstock says of its configuration: a number of `/status`.
pub fn configuration_number(admin: SocketAddr, name: &str) -> anyhow::Result<u64> {
    let answer = get(admin, "admin", "/status")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("/status has no body")?;
    let status: serde_json::Value = serde_json::from_str(body)?;
    let number = status.get("configuration").and_then(|value| value.get(name)?.as_u64());
    number.with_context(|| format!("/status has no {name}"))
}
