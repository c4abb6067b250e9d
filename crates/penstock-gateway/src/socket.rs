//! Listening sockets: bound here, or bound by somebody else and passed on.
//!
//! Invariant: a socket that was passed on is listened to by some worker,
//! however many workers there are. What the kernel has put into the queue of
//! a `SO_REUSEPORT` socket is reset when that very socket is closed; so none
//! is left out, and none is bound anew in place of another.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Sockets that clients connect to.
pub struct Listener {
    sockets: Vec<std::net::TcpListener>,
    /// The address with the port that was given; of several, the first.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds `count` sockets to one address.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(address: SocketAddr, count: usize) -> io::Result<Self> {
        // Only sockets of this process share the port: an address that
        // another one listens on is an error, although both would ask to
        // share it.
        let probe = open(address, false)?;
        let address = probe.local_addr()?.as_socket().unwrap_or(address);
        drop(probe);
        let sockets = (0..count).map(|_| listen(address)).collect::<io::Result<_>>()?;
        Ok(Self { sockets, address })
    }

    /// Takes over sockets that listen already; none if there is none. Where
    /// they share a port with one another, more are bound until there are
    /// `count`.
    ///
    /// # Errors
    /// They are no listening sockets.
    pub fn adopt(
        mut sockets: Vec<std::net::TcpListener>,
        count: usize,
    ) -> io::Result<Option<Self>> {
        let Some(first) = sockets.first() else { return Ok(None) };
        let address = first.local_addr()?;
        let mut shares = true;
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            shares &= SockRef::from(socket).reuse_port()? && socket.local_addr()? == address;
        }
        while shares && sockets.len() < count {
            // The workers share those that there are if this one is refused,
            // as it is where another user has bound them.
            match listen(address) {
                Ok(socket) => sockets.push(socket),
                Err(_) => shares = false,
            }
        }
        Ok(Some(Self { sockets, address }))
    }

    /// The same sockets once more, to be passed on.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn share(&self) -> io::Result<Vec<std::net::TcpListener>> {
        self.sockets.iter().map(std::net::TcpListener::try_clone).collect()
    }

    /// The sockets of each of `count` workers: at least one for each worker,
    /// and each at one worker at least.
    pub(crate) fn deal(self, count: usize) -> io::Result<Vec<Vec<std::net::TcpListener>>> {
        let mut hands: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        let missing = count.saturating_sub(self.sockets.len());
        let again = self.sockets.iter().cycle().take(missing);
        let again: Vec<_> =
            again.map(std::net::TcpListener::try_clone).collect::<Result<_, _>>()?;
        for (index, socket) in self.sockets.into_iter().chain(again).enumerate() {
            if let Some(hand) = hands.get_mut(index % count.max(1)) {
                hand.push(socket);
            }
        }
        Ok(hands)
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = open(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The sockets of one worker.
pub(crate) struct Acceptor {
    listeners: Vec<TcpListener>,
    /// Where to look first, so that a busy socket does not starve another.
    next: usize,
}

impl Acceptor {
    /// Inside the worker's runtime.
    pub(crate) fn new(sockets: Vec<std::net::TcpListener>) -> io::Result<Self> {
        let listeners =
            sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?;
        Ok(Self { listeners, next: 0 })
    }

    /// The next connection on any of them. Losing the future loses none.
    pub(crate) async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| {
            self.next = self.next.wrapping_add(1);
            let (late, early) = self.listeners.split_at(self.next % self.listeners.len().max(1));
            for listener in early.iter().chain(late) {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Stops listening; the connections that have been waiting.
    pub(crate) fn close(self) -> Vec<(TcpStream, SocketAddr)> {
        let mut waiting = Vec::new();
        for listener in self.listeners.into_iter().filter_map(|one| one.into_std().ok()) {
            // Asked directly: the runtime may not know of the latest ones.
            while let Ok((stream, client)) = listener.accept() {
                let stream =
                    stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                waiting.extend(stream.ok().map(|stream| (stream, client)));
            }
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sockets that each of `workers` has, for as many as were passed on.
    #[track_caller]
    fn check_dealt(sockets: usize, workers: usize, expected: &[usize]) {
        let bound = Listener::bind("127.0.0.1:0".parse().unwrap(), sockets).unwrap();
        let dealt = bound.deal(workers).unwrap();
        assert_eq!(dealt.iter().map(Vec::len).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_socket_and_no_worker_is_left_out() {
        check_dealt(1, 1, &[1]);
        check_dealt(2, 2, &[1, 1]);
        check_dealt(5, 2, &[3, 2]);
        check_dealt(1, 3, &[1, 1, 1]);
        check_dealt(2, 3, &[1, 1, 1]);
    }

    #[test]
    fn adopted_sockets_become_as_many_as_workers() {
        let bound = Listener::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let adopted = Listener::adopt(bound.share().unwrap(), 4).unwrap().unwrap();
        assert_eq!((adopted.sockets.len(), adopted.address), (4, bound.address));
        assert!(Listener::adopt(Vec::new(), 4).unwrap().is_none());
    }

    #[test]
    fn a_socket_that_shares_its_port_with_nobody_is_shared() {
        let alone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let adopted = Listener::adopt(vec![alone], 3).unwrap().unwrap();
        assert_eq!(adopted.sockets.len(), 1);
        assert_eq!(adopted.deal(3).unwrap().len(), 3);
    }
}
