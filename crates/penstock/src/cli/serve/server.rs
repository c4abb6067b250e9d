//! A gateway that serves: what signals do to it, and how it ends.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use penstock_gateway::access_log::AccessLog;
use penstock_gateway::shutdown::{Phase, Shutdown};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};

use super::Arguments;
use crate::admin::Admin;
use crate::exit_code::ExitCode;
use crate::process::{PidFile, Role, Successor, Supervisor};

/// From the last `accept` to the closing of idle connections: a request may
/// be under way on one that was accepted in the last moment.
const SETTLE: Duration = Duration::from_millis(500);
/// The same after a hand-over, where nobody waits for the end. A client that
/// sends within it is told to connect anew instead of being cut off.
const IDLE_PATIENCE: Duration = Duration::from_secs(10);
/// How often the end of the drain is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A gateway that runs.
pub struct Server {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where health, metrics and status are served.
    pub admin_address: SocketAddr,
    pub(super) control: Runtime,
    pub(super) running: Running,
}

/// What has to end for the gateway to end.
pub(super) struct Running {
    pub(super) admin: Arc<Admin>,
    pub(super) signals: Signals,
    pub(super) workers: Vec<thread::JoinHandle<()>>,
    pub(super) shutdown: Shutdown,
    pub(super) access_log: Option<Arc<AccessLog>>,
    pub(super) times: Times,
    pub(super) supervisor: Supervisor,
    pub(super) pid_file: Option<PidFile>,
    /// The listening sockets, for a process that takes over.
    pub(super) shares: Vec<(Role, Vec<TcpListener>)>,
    pub(super) admin_tasks: Vec<JoinHandle<()>>,
}

/// The flags about the end.
pub(super) struct Times {
    drain: Duration,
    grace: Duration,
    upgrade_drain: Duration,
    upgrade_timeout: Duration,
}

impl Times {
    pub(super) fn of(arguments: &Arguments) -> Self {
        let drain = Duration::from_secs(arguments.drain);
        Self {
            drain,
            grace: Duration::from_secs(arguments.drain_grace).min(drain),
            upgrade_drain: Duration::from_secs(arguments.upgrade_drain),
            upgrade_timeout: Duration::from_secs(arguments.upgrade_timeout),
        }
    }
}

/// The signals that the process acts upon. Until they are taken, any of them
/// would end it at once, so that comes before it says that it is there.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

impl Signals {
    pub(super) fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

/// Why it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGTERM: whoever sends requests may not know yet.
    Terminated,
    /// SIGINT: somebody waits at the terminal.
    Interrupted,
    /// Another process serves.
    Replaced,
}

type Raising = JoinHandle<anyhow::Result<Successor>>;

impl Server {
    /// Serves until a signal ends it.
    pub fn run_to_end(self) -> anyhow::Result<ExitCode> {
        let Self { control, running, .. } = self;
        control.block_on(running.run());
        control.shutdown_background();
        tracing::info!("stopped");
        Ok(ExitCode::Success)
    }
}

impl Running {
    async fn run(mut self) {
        self.supervisor.ready("serving");
        let end = self.serve().await;
        self.drain(end).await;
        if let Some(log) = &self.access_log {
            log.drain();
        }
        drop(self.pid_file);
    }

    async fn serve(&mut self) -> End {
        let mut raising: Option<Raising> = None;
        let mut reloading = None;
        let interval = self.supervisor.watchdog_interval;
        let mut watchdog = interval.map(tokio::time::interval);
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => return End::Terminated,
                _ = self.signals.interrupt.recv() => return End::Interrupted,
                _ = self.signals.hang_up.recv(), if reloading.is_none() => {
                    reloading = Some(self.reload());
                }
                _ = finished(&mut reloading) => self.supervisor.ready("serving"),
                _ = self.signals.upgrade.recv() => self.upgrade(&mut raising),
                raised = finished(&mut raising) => {
                    let raised = raised.map_err(Into::into).and_then(|raised| raised);
                    if self.hand_over(raised).await {
                        return End::Replaced;
                    }
                }
                () = tick(&mut watchdog) => self.report_alive(),
            }
        }
    }

    /// A worker that has ended serves nobody, and nobody starts another: then
    /// the watchdog hears no more.
    fn report_alive(&self) {
        if !self.workers.iter().any(thread::JoinHandle::is_finished) {
            self.supervisor.alive();
        }
    }

    fn reload(&self) -> JoinHandle<()> {
        self.supervisor.reloading("reading the configuration");
        tokio::spawn(self.admin.reloader.clone().reload_aside(true))
    }

    /// Starts a process that takes over, unless one is being started.
    fn upgrade(&self, raising: &mut Option<Raising>) {
        if raising.is_some() {
            tracing::warn!("a hand-over is under way already");
            return;
        }
        if std::process::id() == 1 {
            tracing::warn!(
                "no hand-over: process 1 cannot be replaced without the end of its container"
            );
            return;
        }
        match self.shares() {
            Ok(sockets) => {
                tracing::info!("starting the process that takes over");
                self.supervisor.reloading("starting the process that takes over");
                let patience = self.times.upgrade_timeout;
                *raising =
                    Some(tokio::task::spawn_blocking(move || Successor::raise(&sockets, patience)));
            }
            Err(error) => tracing::error!(%error, "the hand-over failed; this process goes on"),
        }
    }

    fn shares(&self) -> std::io::Result<Vec<(Role, Vec<TcpListener>)>> {
        self.shares
            .iter()
            .map(|(role, sockets)| {
                let sockets: Result<_, _> = sockets.iter().map(TcpListener::try_clone).collect();
                Ok((*role, sockets?))
            })
            .collect()
    }

    /// Lets the other process serve; false where this one has to go on.
    async fn hand_over(&self, raised: anyhow::Result<Successor>) -> bool {
        let served = match raised {
            Ok(successor) => tokio::task::spawn_blocking(|| successor.let_serve()).await,
            Err(error) => Ok(Err(error)),
        };
        match served.map_err(anyhow::Error::from).and_then(|served| served) {
            Ok(pid) => {
                tracing::info!(pid, "handed over");
                self.supervisor.replaced(pid);
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(%error, "the hand-over failed; this process goes on");
                self.supervisor.ready(&format!("serving; the hand-over failed: {error}"));
                false
            }
        }
    }

    /// Takes no new work, lets running requests finish until the deadline.
    async fn drain(&mut self, end: End) {
        let Times { drain, grace, upgrade_drain, .. } = self.times;
        let (patience, close, hurry) = match end {
            End::Terminated => (drain, grace, grace + SETTLE),
            End::Interrupted => (drain, Duration::ZERO, SETTLE),
            End::Replaced => (upgrade_drain, Duration::ZERO, IDLE_PATIENCE),
        };
        tracing::info!(seconds = patience.as_secs(), "draining");
        self.shares.clear();
        match end {
            End::Replaced => {
                self.admin.is_replaced.store(true, Ordering::Release);
                self.admin.reloader.leave_files();
                self.admin_tasks.iter().for_each(JoinHandle::abort);
            }
            End::Terminated | End::Interrupted => {
                self.admin.is_draining.store(true, Ordering::Release);
                self.supervisor.stopping(patience);
            }
        }
        self.shutdown.enter(Phase::Leaving);
        let began = Instant::now();
        let mut deadline = began + patience;
        let mut is_final = end != End::Replaced;
        while !self.is_done() {
            if Instant::now() >= deadline {
                tracing::warn!("requests were still running at the end of the drain");
                return;
            }
            if began.elapsed() >= close {
                self.shutdown.enter(Phase::Closed);
            }
            if began.elapsed() >= hurry {
                self.shutdown.enter(Phase::Hurrying);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => continue,
                _ = self.signals.terminate.recv() => {}
                _ = self.signals.interrupt.recv() => {}
            }
            if is_final {
                tracing::warn!("ended by a second signal");
                return;
            }
            is_final = true;
            deadline = deadline.min(Instant::now() + drain);
            self.shutdown.enter(Phase::Hurrying);
        }
    }

    fn is_done(&self) -> bool {
        self.workers.iter().all(thread::JoinHandle::is_finished) && self.admin.api.is_idle()
    }
}

/// The outcome of a task, if there is one; then there is none any more.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    let Some(running) = task else { return std::future::pending().await };
    let outcome = running.await;
    *task = None;
    outcome
}

async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
