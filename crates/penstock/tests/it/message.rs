//! WebSockets as an independent library speaks them, on both sides of the
//! gateway: what one side says, the other hears.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::DerefMut;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{
    ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData, StreamOwned,
};
use tungstenite::handshake::server::{Request as Asked, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Error, Message, WebSocket};

use crate::support::certificates::Authority;
use crate::support::client::PATIENCE;
use crate::support::wire::Stream;
use crate::support::*;

const PLAIN: &str = "open.test";
type Socket = WebSocket<Box<dyn Stream + Send>>;

/// Accepts WebSockets and answers what it hears: text and binary messages as
/// they are, but for a few words.
fn serve(tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let stream: Box<dyn Stream + Send> = match tls.clone() {
                None => Box::new(stream),
                Some(tls) => {
                    let session = ServerConnection::new(tls).unwrap();
                    Box::new(Encrypted(StreamOwned::new(session, stream)))
                }
            };
            thread::spawn(move || {
                // One that ends without a close does not matter here.
                let _ = answer(stream);
            });
        }
    });
    address
}

/// A side of TLS that says goodbye: without that an end could be anybody's.
struct Encrypted<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData>(StreamOwned<C, TcpStream>);

impl<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData> Read for Encrypted<C, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData> Write for Encrypted<C, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData> Drop for Encrypted<C, S> {
    fn drop(&mut self) {
        self.0.conn.send_close_notify();
        // The other side may have gone.
        let _ = self.0.flush();
    }
}

fn answer(stream: Box<dyn Stream + Send>) -> Result<(), Error> {
    #[expect(clippy::result_large_err, reason = "the library's own")]
    let accept = |asked: &Asked, mut response: Response| {
        let offered = asked.headers().get("sec-websocket-protocol").cloned();
        let name = http::header::SEC_WEBSOCKET_PROTOCOL;
        response.headers_mut().extend(offered.map(|offered| (name, offered)));
        Ok(response)
    };
    let mut socket =
        tungstenite::accept_hdr(stream, accept).map_err(|_| Error::ConnectionClosed)?;
    loop {
        let message = socket.read()?;
        match &message {
            Message::Text(text) if text.as_str() == "ping me" => {
                socket.send(Message::Ping("are you there".into()))?;
            }
            Message::Text(text) if text.as_str() == "in pieces" => {
                pieces(&["in ", "", "pieces"]).into_iter().try_for_each(|f| socket.send(f))?;
            }
            Message::Text(text) if text.as_str() == "leave" => {
                let code = CloseCode::Again;
                socket.close(Some(CloseFrame { code, reason: "come back later".into() }))?;
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message)?,
            Message::Pong(data) => {
                let heard = format!("pong: {}", std::str::from_utf8(data).unwrap());
                socket.send(Message::text(heard))?;
            }
            // The library answers these by itself.
            Message::Ping(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
}

/// A text message in several frames.
fn pieces(parts: &[&'static str]) -> Vec<Message> {
    let piece = |(index, part): (usize, &&'static str)| {
        let kind = if index == 0 { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(*part, OpCode::Data(kind), index + 1 == parts.len()))
    };
    parts.iter().enumerate().map(piece).collect()
}

/// A gateway with a route to such a server.
struct Quay {
    gateway: Gateway,
    authority: Authority,
    _directory: Directory,
}

impl Quay {
    fn start(is_upstream_encrypted: bool) -> Self {
        let authority = Authority::new();
        let tls = is_upstream_encrypted.then(|| authority.server(&["deck.test"]));
        let address = serve(tls);
        let more = if is_upstream_encrypted { ", protocol: https, sni: deck.test" } else { "" };
        let registry =
            format!("{{name: deck, type: static, domain: \"{address}\", port: 80{more}}}");
        let open = Ingress::new("open").at(PLAIN, "Prefix", "/");
        let directory = Directory::new()
            .holding([("mcpbridges/default.yaml", bridge(&[registry]))])
            .holding([open.tls("{hosts: [open.test], secretName: open}").file()])
            .holding([authority.secret("open", &[PLAIN])]);
        let trusted = authority.write_to(directory.path());
        let gateway = Serve::new(directory.path()).with("--upstream-ca", trusted.display()).start();
        Self { gateway, authority, _directory: directory }
    }

    fn open(&self, is_encrypted: bool) -> Socket {
        let to = if is_encrypted { self.gateway.https } else { self.gateway.http };
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let stream: Box<dyn Stream + Send> = match is_encrypted {
            false => Box::new(stream),
            true => {
                let config = Arc::new(self.authority.client(&[&TLS13], &["http/1.1"]));
                let name = ServerName::try_from(PLAIN).unwrap();
                let session = ClientConnection::new(config, name).unwrap();
                Box::new(Encrypted(StreamOwned::new(session, stream)))
            }
        };
        let (socket, response) =
            tungstenite::client(format!("ws://{PLAIN}/socket"), stream).unwrap();
        assert_eq!(response.status(), 101);
        socket
    }
}

/// Sends a message and gives what comes back.
#[track_caller]
fn say(socket: &mut Socket, message: Message) -> Message {
    socket.send(message).unwrap();
    socket.read().unwrap()
}

#[track_caller]
fn check_echo(socket: &mut Socket, message: &Message) {
    let heard = say(socket, message.clone());
    assert!(heard == *message, "{} bytes for {}", heard.len(), message.len());
}

/// A conversation in which everything occurs that a WebSocket has.
#[track_caller]
fn converse(mut socket: Socket) {
    let socket = &mut socket;
    check_echo(socket, &Message::text("ahoy"));
    check_echo(socket, &Message::text("\u{2693}"));
    check_echo(socket, &Message::text(""));
    check_echo(socket, &Message::binary(&[0, 255, 10, 13][..]));
    for length in [125, 126, 65_535, 65_536, 4 << 20] {
        check_echo(socket, &Message::binary(vec![7; length]));
    }
    for piece in pieces(&["a", "", "ho", "y"]) {
        socket.send(piece).unwrap();
    }
    assert_eq!(socket.read().unwrap(), Message::text("ahoy"));
    assert_eq!(say(socket, Message::text("in pieces")), Message::text("in pieces"));
    assert_eq!(say(socket, Message::Ping("a".into())), Message::Pong("a".into()));
    let ping = say(socket, Message::text("ping me"));
    assert_eq!(ping, Message::Ping("are you there".into()));
    assert_eq!(socket.read().unwrap(), Message::text("pong: are you there"));
    let closed = say(socket, Message::text("leave"));
    let reason = CloseFrame { code: CloseCode::Again, reason: "come back later".into() };
    assert_eq!(closed, Message::Close(Some(reason)));
    // The library answers the close, and the server ends the connection.
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
}

#[test]
fn a_conversation_passes_in_the_clear_and_encrypted() {
    for is_upstream_encrypted in [false, true] {
        let quay = Quay::start(is_upstream_encrypted);
        for is_encrypted in [false, true] {
            converse(quay.open(is_encrypted));
        }
        let mut errors = Vec::new();
        quay.gateway.access_log.find(|line| {
            errors.push(line["error"].clone());
            errors.len() == 2
        });
        assert_eq!(errors, [serde_json::Value::Null, serde_json::Value::Null]);
    }
}

#[test]
fn a_client_may_close_with_a_code_of_its_own() {
    let quay = Quay::start(false);
    let mut socket = quay.open(false);
    let reason = CloseFrame { code: CloseCode::Library(4711), reason: "low tide".into() };
    socket.close(Some(reason.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(reason)));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
}

#[test]
fn conversations_do_not_wait_for_each_other() {
    let quay = Quay::start(false);
    let mut sockets: Vec<Socket> = (0..32).map(|number| quay.open(number % 8 == 0)).collect();
    for round in 0..3 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(Message::text(format!("{round} {number}"))).unwrap();
        }
        for (number, socket) in sockets.iter_mut().enumerate().rev() {
            assert_eq!(socket.read().unwrap(), Message::text(format!("{round} {number}")));
        }
    }
}

#[test]
fn a_protocol_is_agreed_upon_by_the_two_ends() {
    let quay = Quay::start(false);
    let request =
        tungstenite::ClientRequestBuilder::new(format!("ws://{PLAIN}/socket").parse().unwrap())
            .with_sub_protocol("semaphore");
    let stream = TcpStream::connect(quay.gateway.http).unwrap();
    let (_, response) = tungstenite::client(request, stream).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "semaphore");
}
