//! Sockets that listened before this process was there: those of its
//! predecessor, or those of a supervisor (`LISTEN_FDS`, as systemd's socket
//! activation has it).

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use listenfd::ListenFd;

use super::channel::{Channel, Role};
use super::told;

/// Names the process whose child takes over from it, so that the variable
/// means nothing to other descendants.
pub(super) const PREDECESSOR: &str = "PENSTOCK_PREDECESSOR";
pub(super) const END_OF_SOCKETS: &str = "all";
pub(super) const READY: &str = "ready";
pub(super) const GO: &str = "go";
pub(super) const SERVING: &str = "serving";

/// What was there before.
#[derive(Default)]
pub struct Inherited {
    sockets: Vec<(Role, TcpListener)>,
    /// Whom this process takes over from.
    pub predecessor: Option<Predecessor>,
}

impl Inherited {
    /// Looks for it, once, before there are other threads.
    ///
    /// # Errors
    /// What is there cannot be used.
    pub fn take() -> anyhow::Result<Self> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
        if told(PREDECESSOR).is_some_and(|predecessor| Some(predecessor) == parent) {
            return Self::from_predecessor().context("taking over from the process before");
        }
        let names = told("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let socket = passed.take_tcp_listener(index).context("LISTEN_FDS")?;
            sockets.extend(socket);
        }
        Ok(Self { sockets: assign(&names, sockets)?, predecessor: None })
    }

    fn from_predecessor() -> io::Result<Self> {
        let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
        // The only other descriptor of the channel would hide that this
        // process ends.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let mut sockets = Vec::new();
        loop {
            let message = channel.hear(None)?;
            if message.word == END_OF_SOCKETS {
                let predecessor = Some(Predecessor(channel));
                return Ok(Self { sockets, predecessor });
            }
            // A role that this version does not know has no use here.
            if let Some(role) = Role::find(&message.word) {
                sockets.extend(message.sockets.into_iter().map(|socket| (role, socket)));
            }
        }
    }

    /// The sockets for one role.
    pub fn sockets(&mut self, role: Role) -> Vec<TcpListener> {
        let of_role = |(known, _): &mut (Role, TcpListener)| *known == role;
        self.sockets.extract_if(.., of_role).map(|(_, socket)| socket).collect()
    }
}

/// Gives each socket the role that its name says; those without such a name
/// get the roles that are left, in order.
fn assign<T>(names: &str, sockets: Vec<T>) -> anyhow::Result<Vec<(Role, T)>> {
    let names: Vec<Option<Role>> = names.split(':').map(Role::find).collect();
    let mut left = Role::ALL.into_iter().filter(|role| !names.contains(&Some(*role)));
    let mut assigned = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let named = names.get(index).copied().flatten();
        let Some(role) = named.or_else(|| left.next()) else {
            bail!(
                "LISTEN_FDS: socket {} has no role; name it http, https or admin in LISTEN_FDNAMES",
                index + 1
            );
        };
        assigned.push((role, socket));
    }
    Ok(assigned)
}

/// The process whose place this one takes.
pub struct Predecessor(Channel);

impl Predecessor {
    /// Says that this process could serve, and waits until it may.
    ///
    /// # Errors
    /// The predecessor ended, or goes on itself.
    pub fn wait_for_go(&self) -> anyhow::Result<()> {
        let answer = self.0.say(READY).and_then(|()| self.0.hear(None));
        match answer.context("the process before this one has ended")?.word.as_str() {
            GO => Ok(()),
            word => bail!("the process before this one said `{word}`"),
        }
    }

    /// Says that this process serves, so that the other may drain.
    pub fn release(self) {
        // One that has ended needs no release.
        let _ = self.0.say(SERVING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &str, count: usize, expected: &[&str]) {
        let assigned = assign(names, (0..count).collect()).unwrap();
        let roles: Vec<&str> = assigned.iter().map(|(role, _)| role.as_str()).collect();
        assert_eq!(roles, expected, "{names}");
    }

    #[test]
    fn sockets_have_roles_by_name_then_by_order() {
        check("", 0, &[]);
        check("", 1, &["http"]);
        check("", 3, &["http", "https", "admin"]);
        check("penstock.socket:penstock.socket", 2, &["http", "https"]);
        check("admin:http", 2, &["admin", "http"]);
        check("http:http:admin", 3, &["http", "http", "admin"]);
        check("admin:unknown:unknown", 3, &["admin", "http", "https"]);
        assert!(assign("", vec![1, 2, 3, 4]).is_err());
    }
}
