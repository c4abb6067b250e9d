//! A name server whose answers a test can change while it runs.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is known about a name.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// Its addresses and their TTL in seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// The server says that it failed.
    Fails,
    /// The server does not answer.
    Silent,
}

#[derive(Default)]
struct Zone {
    records: HashMap<String, Record>,
    queries: HashMap<String, usize>,
}

/// A name server on a port of its own. Names without a record do not exist.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

const A: u16 = 1;
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

impl Dns {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let weak = Arc::downgrade(&zone);
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let Some(zone) = weak.upgrade() else { return };
                if let Some(reply) = answer(&packet[..length], &mut zone.lock().unwrap()) {
                    socket.send_to(&reply, client).unwrap();
                }
            }
        });
        Self { address, zone }
    }

    pub(crate) fn set(&self, name: &str, record: Record) {
        self.zone.lock().unwrap().records.insert(name.to_owned(), record);
    }

    /// From now on the name does not exist.
    pub(crate) fn remove(&self, name: &str) {
        self.zone.lock().unwrap().records.remove(name);
    }

    /// How often the addresses of a name were asked for.
    pub(crate) fn queries(&self, name: &str) -> usize {
        self.zone.lock().unwrap().queries.get(name).copied().unwrap_or_default()
    }
}

/// RFC 1035, 4.1: twelve bytes of header, the question, then the answers.
fn answer(query: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    let (name, end) = name_at(query, 12)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    if kind == A {
        *zone.queries.entry(name.clone()).or_default() += 1;
    }
    let (code, addresses, ttl): (u8, &[Ipv4Addr], u32) = match zone.records.get(&name) {
        Some(Record::Addresses(addresses, ttl)) if kind == A => (NO_ERROR, addresses, *ttl),
        Some(Record::Addresses(..)) => (NO_ERROR, &[], 0),
        Some(Record::Fails) => (SERVER_FAILURE, &[], 0),
        Some(Record::Silent) => return None,
        None => (NO_SUCH_NAME, &[], 0),
    };
    Some(reply(query, end + 4, code, addresses, ttl))
}

fn reply(query: &[u8], end: usize, code: u8, addresses: &[Ipv4Addr], ttl: u32) -> Vec<u8> {
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1]);
    reply.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    reply.extend([0; 4]);
    reply.extend(&query[12..end]);
    for address in addresses {
        reply.extend([0xc0, 12, 0, 1, 0, 1]);
        reply.extend(ttl.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(address.octets());
    }
    reply
}

/// The name at an offset, and where it ends.
fn name_at(packet: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join(".").to_lowercase(), at));
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).into_owned());
        at += length;
    }
}
