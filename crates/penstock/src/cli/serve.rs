//! `penstock serve`: the gateway.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use penstock_gateway::access_log::{AccessLog, Destination};
use penstock_gateway::compile::Options;
use penstock_gateway::listener::{self, Listener, Shutdown};
use penstock_gateway::resolve::Resolver;
use penstock_gateway::upstream::{ClientTls, Verify};
use penstock_gateway::{Gateway, Settings, State};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{Admin, AdminToken, Api};
use crate::exit_code::ExitCode;
use crate::reload::Reloader;
use crate::store;
use crate::target::Local;
use crate::telemetry::{self, LogLevel};

/// The command line of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The directory with the manifests
    #[arg(long, value_name = "SOURCE")]
    pub config: String,
    /// The address for HTTP
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,
    /// The address for HTTPS (not served yet)
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    pub https: SocketAddr,
    /// The address for health, metrics and status
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    pub admin: SocketAddr,
    /// Serve only Ingresses of this class
    #[arg(long, value_name = "NAME")]
    pub ingress_class: Option<String>,
    /// Where access lines go: a file, `stdout` or `off`
    #[arg(long, value_name = "FILE|stdout|off", default_value = "stdout")]
    pub access_log: String,
    /// How much is logged on standard error
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// Worker threads; default: the cores that the process may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// The largest request body that is buffered, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 100 << 20)]
    pub body_limit: usize,
    /// How long a whole request may take, in seconds; 0 for any time
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub request_timeout: u64,
    /// How long an upstream may take until it answers, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub first_byte_timeout: u64,
    /// How long an answer, an upload or a WebSocket may pause, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub idle_timeout: u64,
    /// How many proxies in front are believed in what they say about the client
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub trusted_hops: usize,
    /// How long requests may finish after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
    /// The name server, ADDRESS or ADDRESS:PORT; default: the system's
    #[arg(long, value_name = "ADDR", value_parser = parse_name_server)]
    pub dns: Option<SocketAddr>,
    /// Certificates that upstreams are checked against instead of the system's
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// Whether upstream certificates are checked
    #[arg(long, value_enum, default_value_t = UpstreamTls::Verify)]
    pub upstream_tls: UpstreamTls,
    /// A file with the token that /status and the API want; without it nothing can be changed
    /// from afar
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// Whether upstream certificates are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UpstreamTls {
    /// Against known roots.
    Verify,
    /// Not at all, as Higress does.
    TrustAny,
}

fn parse_name_server(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| "expected an address such as 10.0.0.2 or 10.0.0.2:53".to_owned())
}

/// A gateway that runs.
pub struct Server {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where health, metrics and status are served.
    pub admin_address: SocketAddr,
    admin: Arc<Admin>,
    control: Runtime,
    signals: Signals,
    workers: Vec<JoinHandle<()>>,
    shutdown: Shutdown,
    access_log: Option<Arc<AccessLog>>,
    drain: Duration,
}

/// The signals that the process acts upon. Until they are taken, any of them
/// would end it at once, so that comes before it says that it is there.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn wait_for_end(&mut self, admin: &Admin) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hang_up.recv() => admin.reloader.request(),
            }
        }
    }
}

/// `penstock serve`.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    telemetry::start(arguments.log_level);
    start(&arguments)?.run_to_end()
}

/// Starts everything and returns when the listeners are bound and the first
/// configuration is in force.
pub fn start(arguments: &Arguments) -> anyhow::Result<Server> {
    let token = read_token(arguments)?;
    let tls = Arc::new(client_tls(arguments)?);
    let store = store::open(&arguments.config)?;
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .context("starting the control plane")?;
    let access_log = AccessLog::open(&destination(&arguments.access_log))
        .with_context(|| format!("cannot open the access log `{}`", arguments.access_log))?;
    let settings = settings(arguments);
    let resolver = Resolver::new(arguments.dns, control.handle().clone())
        .map_err(|error| anyhow::anyhow!("the resolver cannot be started: {error}"))?;
    let state = State::new(resolver, access_log.clone(), settings.buffered_bytes_max);
    let resolve_timeout = settings.resolve_timeout;
    let gateway = Gateway::new(settings, state);
    let changes = store.watch();
    let directory = Path::new(&arguments.config);
    let options = Options { ingress_class: arguments.ingress_class.clone() };
    let reloader = Reloader::new(store.clone(), gateway.clone(), options, Some(directory));
    reloader.reload(true);
    if let Some(error) = reloader.report().error.filter(|_| gateway.live().is_none()) {
        bail!("{error}");
    }
    let threads = threads(arguments);
    let listener = Listener::bind(arguments.http, threads)
        .with_context(|| format!("cannot listen on {} (--http)", arguments.http))?;
    let http = listener.address;
    let target = Local::served(arguments.config.clone(), store, reloader.clone());
    let admin = Arc::new(Admin {
        gateway: gateway.clone(),
        reloader: reloader.clone(),
        api: Api::new(token, gateway.clone(), target, directory),
        is_started: AtomicBool::new(false),
        is_draining: AtomicBool::new(false),
    });
    let admin_listener = std::net::TcpListener::bind(arguments.admin)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("cannot listen on {} (--admin)", arguments.admin))?;
    let admin_address = admin_listener.local_addr()?;
    let entered = control.enter();
    let admin_listener = tokio::net::TcpListener::from_std(admin_listener)?;
    let signals = Signals::take().context("taking signals")?;
    drop(entered);
    control.spawn(admin.clone().run(admin_listener));
    control.spawn(reloader.run(changes));
    control.spawn(report_started(admin.clone(), resolve_timeout));
    let shutdown = Shutdown::default();
    let workers = listener::start(&gateway, &tls, listener, &shutdown)?;
    tracing::info!(%http, admin = %admin_address, threads, "listening");
    let drain = Duration::from_secs(arguments.drain);
    Ok(Server {
        http,
        admin_address,
        admin,
        control,
        signals,
        workers,
        shutdown,
        access_log,
        drain,
    })
}

/// `/ready` turns when every service was looked up once, or its time is over.
async fn report_started(admin: Arc<Admin>, timeout: Duration) {
    if let Some(live) = admin.gateway.live() {
        let deadline = Instant::now() + timeout;
        for service in live.services() {
            service.wait_resolved(deadline.saturating_duration_since(Instant::now())).await;
        }
    }
    admin.is_started.store(true, Ordering::Release);
}

fn read_token(arguments: &Arguments) -> anyhow::Result<Option<AdminToken>> {
    if let Some(path) = &arguments.admin_token_file {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
        let token = AdminToken::new(&text).with_context(|| format!("`{shown}` is empty"))?;
        return Ok(Some(token));
    }
    if !arguments.admin.ip().is_loopback() {
        bail!(
            "the admin address {} can be reached from other machines: set --admin-token-file",
            arguments.admin
        );
    }
    Ok(None)
}

fn settings(arguments: &Arguments) -> Settings {
    let request_timeout = Duration::from_secs(arguments.request_timeout);
    Settings {
        body_bytes_max: arguments.body_limit,
        request_timeout: Some(request_timeout).filter(|time| !time.is_zero()),
        first_byte_timeout: Duration::from_secs(arguments.first_byte_timeout),
        idle_timeout: Duration::from_secs(arguments.idle_timeout),
        trusted_hops: arguments.trusted_hops,
        ..Settings::default()
    }
}

fn client_tls(arguments: &Arguments) -> anyhow::Result<ClientTls> {
    let verify = match arguments.upstream_tls {
        UpstreamTls::Verify => Verify::Roots,
        UpstreamTls::TrustAny => Verify::TrustAny,
    };
    ClientTls::new(verify, arguments.upstream_ca.as_deref()).map_err(|error| anyhow::anyhow!(error))
}

fn destination(text: &str) -> Destination {
    match text {
        "off" => Destination::Off,
        "stdout" => Destination::Stdout,
        path => Destination::File(path.into()),
    }
}

fn threads(arguments: &Arguments) -> usize {
    match arguments.threads {
        Some(threads) => threads.into(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

impl Server {
    /// Serves until a signal ends it.
    pub fn run_to_end(mut self) -> anyhow::Result<ExitCode> {
        let Self { control, signals, admin, .. } = &mut self;
        control.block_on(signals.wait_for_end(admin));
        self.stop();
        Ok(ExitCode::Success)
    }

    /// Takes no new work, lets running requests finish until the deadline.
    fn stop(self) {
        tracing::info!(seconds = self.drain.as_secs(), "draining");
        self.admin.is_draining.store(true, Ordering::Release);
        self.shutdown.begin();
        let deadline = Instant::now() + self.drain;
        let is_done =
            || self.workers.iter().all(JoinHandle::is_finished) && self.admin.api.is_idle();
        while Instant::now() < deadline && !is_done() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let unfinished = self.workers.iter().filter(|worker| !worker.is_finished()).count();
        if unfinished > 0 {
            tracing::warn!("requests were still running at the end of the drain");
        }
        if let Some(log) = &self.access_log {
            log.drain();
        }
        self.control.shutdown_background();
        tracing::info!("stopped");
    }
}
