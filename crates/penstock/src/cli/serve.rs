//! `penstock serve`: the gateway, from its flags to its first `accept`.

mod server;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use penstock_gateway::access_log::{AccessLog, Destination};
use penstock_gateway::check::Checker;
use penstock_gateway::compile::Options;
use penstock_gateway::listener::{self, Listeners};
use penstock_gateway::resolve::Resolver;
use penstock_gateway::shutdown::Shutdown;
use penstock_gateway::socket::Listener;
use penstock_gateway::token::check::TokenChecker;
use penstock_gateway::upstream::{ClientTls, Verify};
use penstock_gateway::{Gateway, Settings, State};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::admin::{Admin, AdminToken, Api};
use crate::cli::limits::Limits;
use crate::exit_code::ExitCode;
use crate::process::{Inherited, PidFile, Role, Supervisor};
use crate::reload::Reloader;
use crate::store::{self, Store};
use crate::target::Local;
use crate::telemetry::{self, LogLevel};
pub use server::Server;
use server::{Running, Signals, Times};

/// The command line of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The directory with the manifests
    #[arg(long, value_name = "SOURCE")]
    pub config: String,
    /// The address for HTTP
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,
    /// The address for HTTPS
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
    /// How many proxies in front are believed in what they say about the client
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub trusted_hops: usize,
    /// How long requests may finish after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
    /// How long of that new connections are still accepted while /ready says no, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub drain_grace: u64,
    /// How long requests may finish after another process took over on SIGUSR2, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub upgrade_drain: u64,
    /// How long the process that takes over on SIGUSR2 may take to be ready, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub upgrade_timeout: u64,
    /// A file for the id of the process that serves
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
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
    #[command(flatten)]
    pub limits: Limits,
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

/// `penstock serve`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    telemetry::start(arguments.log_level);
    start(arguments, Inherited::take()?)?.run_to_end()
}

/// Starts everything and returns when the listeners accept and the first
/// configuration is in force.
pub fn start(arguments: &Arguments, mut inherited: Inherited) -> anyhow::Result<Server> {
    let token = read_token(arguments)?;
    let tls = Arc::new(client_tls(arguments)?);
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .context("starting the control plane")?;
    let Configured { gateway, reloader, store, changes, access_log } =
        configure(arguments, &control)?;
    let threads = threads(arguments);
    let bound = Bound::bind(arguments, &mut inherited, token.is_some(), threads)?;
    let target = Local::served(arguments.config.clone(), store, reloader.clone());
    let admin = Arc::new(Admin {
        gateway: gateway.clone(),
        reloader: reloader.clone(),
        api: Api::new(token, gateway.clone(), target, Path::new(&arguments.config)),
        is_started: AtomicBool::new(false),
        is_draining: AtomicBool::new(false),
        is_replaced: AtomicBool::new(false),
    });
    let entered = control.enter();
    let signals = Signals::take().context("taking signals")?;
    drop(entered);
    let resolve_timeout = gateway.settings.resolve_timeout;
    let started = report_started(admin.clone(), resolve_timeout);
    if let Some(predecessor) = &inherited.predecessor {
        if gateway.live().is_none() {
            bail!("no configuration is in force");
        }
        // The other one goes on until this one is as good as it.
        control.block_on(started);
        predecessor.wait_for_go()?;
    } else {
        control.spawn(started);
    }
    let shares = bound.share()?;
    let (http, https) = (bound.listeners.http.address, bound.listeners.https.address);
    let admin_address = bound.admin_address;
    let shutdown = Shutdown::default();
    let workers = listener::start(&gateway, &tls, bound.listeners, &shutdown)?;
    let entered = control.enter();
    let mut admin_tasks = Vec::new();
    for socket in bound.admin {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        admin_tasks.push(control.spawn(admin.clone().run(socket)));
    }
    drop(entered);
    control.spawn(reloader.run(changes));
    if let Some(checker) = Checker::new(gateway.clone(), tls.clone()) {
        control.spawn(checker.run());
    }
    control.spawn(TokenChecker::new(gateway.clone(), tls.clone()).run());
    let pid_file = arguments.pid_file.as_deref().map(PidFile::write).transpose()?;
    tracing::info!(%http, %https, admin = %admin_address, threads, "listening");
    if let Some(predecessor) = inherited.predecessor {
        predecessor.release();
    }
    let times = Times::of(arguments);
    let supervisor = Supervisor::find();
    let running = Running {
        admin,
        signals,
        workers,
        shutdown,
        access_log,
        times,
        supervisor,
        pid_file,
        shares,
        admin_tasks,
    };
    Ok(Server { http, admin_address, control, running })
}

/// The gateway with its first configuration, serving nobody yet.
struct Configured {
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    store: Arc<dyn Store>,
    changes: watch::Receiver<u64>,
    access_log: Option<Arc<AccessLog>>,
}

fn configure(arguments: &Arguments, control: &Runtime) -> anyhow::Result<Configured> {
    let store = store::open(&arguments.config)?;
    let access_log = AccessLog::open(&destination(&arguments.access_log))
        .with_context(|| format!("cannot open the access log `{}`", arguments.access_log))?;
    let settings = Settings { trusted_hops: arguments.trusted_hops, ..arguments.limits.settings() };
    let resolver = Resolver::new(arguments.dns, control.handle().clone())
        .map_err(|error| anyhow::anyhow!("the resolver cannot be started: {error}"))?;
    let state = State::new(resolver, access_log.clone(), &settings);
    let gateway = Gateway::new(settings, state);
    let changes = store.watch();
    let directory = Path::new(&arguments.config);
    let options = Options { ingress_class: arguments.ingress_class.clone() };
    let reloader = Reloader::new(store.clone(), gateway.clone(), options, Some(directory));
    reloader.reload(true);
    if let Some(error) = reloader.report().error.filter(|_| gateway.live().is_none()) {
        bail!("{error}");
    }
    Ok(Configured { gateway, reloader, store, changes, access_log })
}

/// The listening sockets, before anybody accepts.
struct Bound {
    listeners: Listeners,
    admin: Vec<TcpListener>,
    admin_address: SocketAddr,
}

impl Bound {
    /// Sockets that were passed on go before the addresses of flags.
    fn bind(
        arguments: &Arguments,
        inherited: &mut Inherited,
        has_token: bool,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let mut listener = |role: Role, address: SocketAddr| {
            let role_name = role.as_str();
            let adopted = Listener::adopt(inherited.sockets(role), threads)
                .with_context(|| format!("the socket passed on for {role_name} cannot be used"))?;
            adopted.map_or_else(
                || {
                    Listener::bind(address, threads)
                        .with_context(|| format!("cannot listen on {address} (--{role_name})"))
                },
                Ok,
            )
        };
        let listeners = Listeners {
            http: listener(Role::Http, arguments.http)?,
            https: listener(Role::Https, arguments.https)?,
            workers: threads,
        };
        let mut admin = inherited.sockets(Role::Admin);
        if admin.is_empty() {
            let socket = TcpListener::bind(arguments.admin)
                .with_context(|| format!("cannot listen on {} (--admin)", arguments.admin))?;
            admin.push(socket);
        }
        let mut admin_address = arguments.admin;
        for socket in admin.iter().rev() {
            socket.set_nonblocking(true)?;
            admin_address = socket.local_addr()?;
            check_admin_address(admin_address, has_token)?;
        }
        Ok(Self { listeners, admin, admin_address })
    }

    /// The same sockets for a process that takes over.
    fn share(&self) -> std::io::Result<Vec<(Role, Vec<TcpListener>)>> {
        let admin = self.admin.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?;
        let Listeners { http, https, .. } = &self.listeners;
        Ok(vec![(Role::Http, http.share()?), (Role::Https, https.share()?), (Role::Admin, admin)])
    }
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
    check_admin_address(arguments.admin, false)?;
    Ok(None)
}

fn check_admin_address(address: SocketAddr, has_token: bool) -> anyhow::Result<()> {
    if !has_token && !address.ip().is_loopback() {
        bail!(
            "the admin address {address} can be reached from other machines: set --admin-token-file"
        );
    }
    Ok(())
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
