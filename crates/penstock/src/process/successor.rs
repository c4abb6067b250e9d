//! The process that takes over from this one.

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::channel::{Channel, Role};
use super::inherited::{END_OF_SOCKETS, GO, PREDECESSOR, READY, SERVING};

/// How long it may take from the word to the first `accept`.
const GO_PATIENCE: Duration = Duration::from_secs(5);
/// What a supervisor said to this process alone.
const OURS_ALONE: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A process that could serve and has not been let yet. One that is dropped
/// is ended.
pub struct Successor {
    child: Option<Child>,
    channel: Channel,
}

impl Successor {
    /// Starts this process' command line anew, from whatever file is at its
    /// place now, and waits until it is ready. Blocks.
    ///
    /// # Errors
    /// It cannot be started, has ended, or has not become ready in time.
    pub fn raise(sockets: &[(Role, Vec<TcpListener>)], patience: Duration) -> anyhow::Result<Self> {
        let mut line = std::env::args_os();
        let program = line.next().unwrap_or_else(|| OsString::from("penstock"));
        let (channel, theirs) = Channel::pair()?;
        let mut command = Command::new(&program);
        command.args(line).stdin(Stdio::from(theirs));
        command.env(PREDECESSOR, std::process::id().to_string());
        OURS_ALONE.iter().for_each(|name| {
            command.env_remove(name);
        });
        let child =
            command.spawn().with_context(|| format!("cannot start `{}`", program.display()))?;
        // It holds the channel's other end, which must not stay open here.
        drop(command);
        let successor = Self { child: Some(child), channel };
        for (role, sockets) in sockets {
            successor
                .channel
                .pass(*role, sockets)
                .context("it ended before it took the sockets")?;
        }
        successor.channel.say(END_OF_SOCKETS).context("it ended before it took the sockets")?;
        successor.expect(READY, patience)?;
        Ok(successor)
    }

    fn expect(&self, word: &str, patience: Duration) -> anyhow::Result<()> {
        match self.channel.hear(Some(patience)) {
            Ok(message) if message.word == word => Ok(()),
            Ok(message) => bail!("it said `{}` instead of `{word}`", message.word),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                bail!("it did not say `{word}` within {} s", patience.as_secs())
            }
            Err(_) => bail!("it ended before it said `{word}`; its own words are in the log"),
        }
    }

    /// Lets it serve; its process id. Blocks.
    ///
    /// # Errors
    /// It has ended, or does not go on.
    pub fn let_serve(mut self) -> anyhow::Result<u32> {
        self.channel.say(GO).context("it has ended")?;
        self.expect(SERVING, GO_PATIENCE)?;
        let Some(child) = self.child.take() else { bail!("it has ended") };
        Ok(child.id())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that has ended already has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
