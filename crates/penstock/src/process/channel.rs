//! What a process and its successor speak over: words, some with listening
//! sockets. Messages keep their borders.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The most file descriptors that one message may carry (`SCM_MAX_FD`).
const SOCKETS_MAX: usize = 253;
const WORD_BYTES_MAX: usize = 64;

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Clients, in the clear.
    Http,
    /// Clients, over TLS.
    Https,
    /// Health, metrics, status, and the API.
    Admin,
}

impl Role {
    /// In the order in which sockets without names are taken.
    pub const ALL: [Self; 3] = [Self::Http, Self::Https, Self::Admin];

    /// The name, also of the flag with its address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// One end.
pub(super) struct Channel(OwnedFd);

/// What the other end said.
pub(super) struct Message {
    pub(super) word: String,
    pub(super) sockets: Vec<TcpListener>,
}

impl Channel {
    pub(super) fn new(end: OwnedFd) -> Self {
        Self(end)
    }

    /// A channel, and its other end for a process to be started.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    pub(super) fn say(&self, word: &str) -> io::Result<()> {
        self.send(word, &[])
    }

    pub(super) fn pass(&self, role: Role, sockets: &[TcpListener]) -> io::Result<()> {
        sockets.chunks(SOCKETS_MAX).try_for_each(|sockets| self.send(role.as_str(), sockets))
    }

    fn send(&self, word: &str, sockets: &[TcpListener]) -> io::Result<()> {
        let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A process that does not read must not hold up this one.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.0, &[IoSlice::new(word.as_bytes())], &mut control, flags)?;
        Ok(())
    }

    /// Waits for the next message, for ever if there is no `patience`. The
    /// end of the other process is an error.
    pub(super) fn hear(&self, patience: Option<Duration>) -> io::Result<Message> {
        set_socket_timeout(&self.0, Timeout::Recv, patience)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; WORD_BYTES_MAX];
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received?,
            }
        };
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let word = bytes.get(..received.bytes).unwrap_or_default();
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                sockets.extend(passed.map(TcpListener::from));
            }
        }
        Ok(Message { word: String::from_utf8_lossy(word).into_owned(), sockets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_as_they_are() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets: Vec<_> = (0..300).map(|_| socket.try_clone().unwrap()).collect();
        ours.pass(Role::Https, &sockets).unwrap();
        ours.say("go").unwrap();
        for count in [253, 47] {
            let message = theirs.hear(None).unwrap();
            assert_eq!((message.word.as_str(), message.sockets.len()), ("https", count));
            for passed in message.sockets {
                assert_eq!(passed.local_addr().unwrap(), socket.local_addr().unwrap());
            }
        }
        assert_eq!(theirs.hear(None).unwrap().word, "go");
    }

    #[test]
    fn silence_and_the_end_are_errors() {
        let (ours, theirs) = Channel::pair().unwrap();
        assert!(ours.hear(Some(Duration::from_millis(1))).is_err());
        drop(theirs);
        assert!(ours.hear(None).is_err());
    }
}
