//! The built binary as a process: started on free ports, waited for, looked
//! at through its logs and its admin listener.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Answer, Connection, PATIENCE, Request};

/// The time between two looks at something that is about to change.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Looks again and again until there is something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(LOOK_INTERVAL);
    }
}

/// `penstock` with arguments, run to its end.
pub(crate) fn penstock(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_penstock")).args(arguments).output().unwrap()
}

/// `penstock serve` before it is started.
pub(crate) struct Serve {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    open_files_max: Option<usize>,
}

impl Serve {
    /// On free ports of this machine, with one worker.
    pub(crate) fn new(directory: &Path) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_penstock"));
        let arguments = vec!["serve".to_owned()];
        let serve = Self { program, arguments, variables: Vec::new(), open_files_max: None };
        serve
            .with("--config", directory.to_str().unwrap())
            .with("--http", "127.0.0.1:0")
            .with("--https", "127.0.0.1:0")
            .with("--admin", "127.0.0.1:0")
            .with("--threads", "1")
    }

    /// With a flag in place of the one that is there.
    pub(crate) fn with(mut self, flag: &str, value: impl ToString) -> Self {
        if let Some(at) = self.arguments.iter().position(|argument| argument == flag) {
            self.arguments.drain(at..at + 2);
        }
        self.arguments.extend([flag.to_owned(), value.to_string()]);
        self
    }

    /// From another file than the one that was built.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// With a variable in its environment.
    pub(crate) fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// With so many file descriptors.
    pub(crate) fn with_open_files(mut self, count: usize) -> Self {
        self.open_files_max = Some(count);
        self
    }

    fn command(&self) -> Command {
        let Some(count) = self.open_files_max else {
            return Command::new(&self.program);
        };
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(&self.program);
        command
    }

    /// Runs it to its end, where it refuses to start.
    pub(crate) fn refused(&self) -> Output {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        penstock(&arguments)
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self) -> Gateway {
        let gateway = self.start_unready();
        eventually("readiness", || (gateway.ready() == 200).then_some(()));
        gateway
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start_unready(&self) -> Gateway {
        let mut command = self.command();
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        self.started_by(command)
    }

    /// Starts it with sockets as a supervisor passes them on, and waits until
    /// it listens. Its access log is nowhere.
    pub(crate) fn start_with(&self, sockets: [TcpListener; 2]) -> Gateway {
        self.started_by(self.passing(sockets))
    }

    /// Runs it with such sockets to its end, where it refuses to start; what
    /// it says.
    pub(crate) fn refused_with(&self, sockets: [TcpListener; 2]) -> String {
        let mut command = self.passing(sockets);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    fn passing(&self, sockets: [TcpListener; 2]) -> Command {
        let [first, second] = sockets.map(OwnedFd::from);
        let script = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&self.program).args(&self.arguments);
        command.env("LISTEN_FDS", "2").stdin(first).stdout(second);
        command
    }

    fn started_by(&self, mut command: Command) -> Gateway {
        let mut child = command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        let access_log = match child.stdout.take() {
            Some(stdout) => Lines::of(stdout),
            None => Lines::of(std::io::empty()),
        };
        let mut process = Process(child);
        let listening = log.find(|line| line["message"] == "listening");
        let Some(listening) = listening else {
            panic!("{:?} before it listened: {:?}", process.0.wait(), log.all());
        };
        let address = |key: &str| listening[key].as_str().unwrap().parse().unwrap();
        let (http, https) = (address("http"), address("https"));
        let admin = address("admin");
        Gateway { process, successors: Vec::new(), http, https, admin, log, access_log }
    }
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that took over from one of ours, and so is none of our children.
struct Successor(u32);

impl Drop for Successor {
    fn drop(&mut self) {
        kill("KILL", self.0);
    }
}

/// Sends a signal by its name without SIG; whether there was a process.
fn kill(name: &str, id: u32) -> bool {
    let command = format!("kill -{name} {id}");
    Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).status().unwrap().success()
}

/// A running `penstock serve`.
pub(crate) struct Gateway {
    process: Process,
    /// Those that took over, the latest last.
    successors: Vec<Successor>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) log: Lines,
    pub(crate) access_log: Lines,
}

impl Gateway {
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Answer {
        request.send(self.http)
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.http)
    }

    /// A connection over which a request has been sent.
    pub(crate) fn begin(&self, request: &Request) -> Connection {
        let mut connection = self.connect();
        connection.send(request);
        connection
    }

    pub(crate) fn ask_admin(&self, path: &str) -> Answer {
        Request::get("admin", path).send(self.admin)
    }

    pub(crate) fn ready(&self) -> u16 {
        self.ask_admin("/ready").status()
    }

    pub(crate) fn status(&self) -> Value {
        self.ask_admin("/status").json()
    }

    pub(crate) fn metrics(&self) -> String {
        self.ask_admin("/metrics").text()
    }

    /// The findings of the last reload.
    pub(crate) fn findings(&self) -> Vec<Value> {
        self.status()["configuration"]["diagnostics"].as_array().unwrap().clone()
    }

    pub(crate) fn reloads(&self) -> u64 {
        self.status()["configuration"]["reloads"].as_u64().unwrap()
    }

    /// Makes a change and waits until it was taken in.
    pub(crate) fn reload(&self, change: impl FnOnce()) {
        let before = self.reloads();
        change();
        eventually("a reload", || (self.reloads() > before).then_some(()));
    }

    /// The process that serves.
    pub(crate) fn id(&self) -> u32 {
        self.successors.last().map_or(self.process.0.id(), |successor| successor.0)
    }

    /// Sends a signal by its name without SIG to the process that serves.
    pub(crate) fn signal(&self, name: &str) {
        assert!(kill(name, self.id()));
    }

    /// Sends a signal to the process that was started first.
    pub(crate) fn signal_first(&self, name: &str) {
        assert!(kill(name, self.process.0.id()));
    }

    /// Lets a new process take over and waits until it has.
    pub(crate) fn upgrade(&mut self) {
        self.signal("USR2");
        let mut missing = self.successors.len();
        let handed_over = self.log.find(|line| {
            let is_one = line["message"] == "handed over";
            missing = missing.wrapping_sub(usize::from(is_one));
            is_one && missing == usize::MAX
        });
        let Some(handed_over) = handed_over else { panic!("{:?}", self.log.all()) };
        let id = handed_over["pid"].as_u64().unwrap();
        self.successors.push(Successor(id.try_into().unwrap()));
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.0.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.process.0.try_wait().unwrap())
    }

    /// The memory of the process that is not swapped out, in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    }
}

/// The lines that a process writes.
#[derive(Clone)]
pub(crate) struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    is_over: bool,
}

impl Lines {
    fn of(source: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::new((Mutex::default(), Condvar::new())));
        let written = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                written.0.0.lock().unwrap().lines.push(line);
                written.0.1.notify_all();
            }
            written.0.0.lock().unwrap().is_over = true;
            written.0.1.notify_all();
        });
        lines
    }

    /// All so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// The first line of JSON for which `is_wanted`; none if it never comes.
    pub(crate) fn find(&self, mut is_wanted: impl FnMut(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.0.0.lock().unwrap();
        let mut next = 0;
        loop {
            for line in &written.lines[next..] {
                let value = serde_json::from_str(line).unwrap_or(Value::Null);
                if is_wanted(&value) {
                    return Some(value);
                }
            }
            next = written.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if written.is_over || left.is_zero() {
                return None;
            }
            written = self.0.1.wait_timeout(written, left).unwrap().0;
        }
    }

    /// The line about a request.
    #[track_caller]
    pub(crate) fn of_request(&self, answer: &Answer) -> Value {
        let id = answer.header("x-request-id").expect("an answer without an id").to_owned();
        self.find(|line| line["request_id"] == *id).expect("no line about the request")
    }
}
