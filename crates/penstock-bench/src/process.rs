//! Processes that are measured: started on one core, looked at through
//! `/proc`, ended when dropped.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a child of a process may take to appear.
const CHILD_TIMEOUT: Duration = Duration::from_secs(2);

/// Which core is whose.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// What is measured.
    pub proxy: Option<usize>,
    /// Upstream and load.
    pub others: Option<usize>,
}

impl Cores {
    /// The first two cores that this process may use; the same one twice
    /// where there is only one.
    pub fn available() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let proxy = cores.next().context("no core to run on")?;
        Ok(Self { proxy: Some(proxy), others: Some(cores.next().unwrap_or(proxy)) })
    }
}

/// A running process.
pub struct Process {
    child: Child,
    /// The process whose time and memory count: nginx works in a child.
    worker: u32,
}

impl Process {
    /// Starts a process, on one core if one is named.
    pub fn start(command: &mut Command, core: Option<usize>) -> anyhow::Result<Self> {
        // A child inherits the cores of the thread that starts it.
        let start = || -> anyhow::Result<Child> {
            if let Some(core) = core {
                let mut only = CpuSet::new();
                only.set(core);
                sched_setaffinity(None, &only)?;
            }
            Ok(command.spawn()?)
        };
        let started = thread::scope(|scope| scope.spawn(start).join());
        let Ok(child) = started else { bail!("starting a process panicked") };
        let child = child.with_context(|| format!("starting {:?}", command.get_program()))?;
        Ok(Self { worker: child.id(), child })
    }

    /// Makes the one child of this process the one that counts. Waits for it.
    pub fn count_child(&mut self) -> anyhow::Result<()> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let began = Instant::now();
        while began.elapsed() < CHILD_TIMEOUT {
            if let Some(worker) = fs::read_to_string(&path)?.split_whitespace().next() {
                self.worker = worker.parse()?;
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("no child process appeared")
    }

    /// Its standard output, line by line.
    pub fn lines(&mut self) -> anyhow::Result<Lines> {
        Ok(Lines(BufReader::new(self.child.stdout.take().context("no standard output")?)))
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The time that its threads have used.
    pub fn cpu(&self) -> anyhow::Result<CpuTime> {
        let mut threads = HashMap::new();
        let folder = format!("/proc/{}/task", self.worker);
        for entry in fs::read_dir(&folder).context("what is measured has ended")? {
            let path = entry?.path();
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
            let used = text.split(' ').next().unwrap_or_default().parse()?;
            threads.insert(path.file_name().unwrap_or_default().to_owned(), used);
        }
        Ok(CpuTime(threads))
    }

    /// The memory that it holds, in KB.
    pub fn memory_kb(&self) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.worker))
            .context("what is measured has ended")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(number.context("no VmRSS")?.parse()?)
    }

    /// The files and sockets that it has open.
    pub fn open_files(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.worker))?.count())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // A worker outlives its parent.
        let worker = i32::try_from(self.worker).ok().and_then(Pid::from_raw);
        if let Some(worker) = worker.filter(|_| self.worker != self.child.id()) {
            let _ = kill_process(worker, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// What a process says on standard output.
pub struct Lines(BufReader<ChildStdout>);

impl Lines {
    /// Waits for the next line.
    pub fn next(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            bail!("the process ended without saying what was expected");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Nanoseconds that each thread of a process has used.
pub struct CpuTime(HashMap<std::ffi::OsString, u64>);

impl CpuTime {
    /// What was used since an earlier look, in microseconds. A thread that
    /// ended in between is left out.
    pub fn micros_since(&self, earlier: &Self) -> f64 {
        let used = self.0.iter().map(|(thread, now)| {
            now.saturating_sub(earlier.0.get(thread).copied().unwrap_or_default())
        });
        used.sum::<u64>() as f64 / 1000.0
    }
}

/// This program with one of its hidden verbs, its standard output to be read.
pub fn own(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}
