//! The requests that are sent: chat completions, spread over hosts and keys.
//! What the scripted upstream shall answer stands in their bodies.

use bytes::Bytes;

/// The domain below which every route has a host.
pub const DOMAIN: &str = "example.com";
/// The path of all requests.
pub const PATH: &str = "/v1/chat/completions";
/// The hosts and the keys of the usual scenario.
pub const HOSTS: usize = 50;
/// The consumers of the usual scenario, each with one key.
pub const CONSUMERS: usize = 100;

/// The host of a route.
pub fn host(route: usize) -> String {
    format!("h{route}.{DOMAIN}")
}

/// The key of a consumer.
pub fn key(consumer: usize) -> String {
    format!("key-{consumer}")
}

/// What an answer is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One JSON document.
    Whole,
    /// Server-sent events with a pause between them.
    Events { count: u64, delay_ms: u64 },
}

impl Shape {
    /// The events that a client sees, with the one that says it is the end.
    pub fn events_seen(self) -> u64 {
        match self {
            Self::Whole => 0,
            Self::Events { count, .. } => count + 1,
        }
    }
}

/// The body of a chat completion of about `bytes`. `max_tokens` says how many
/// events the upstream sends and `seed` the milliseconds between them.
pub fn body(bytes: usize, shape: Shape) -> Bytes {
    let stream = match shape {
        Shape::Whole => String::new(),
        Shape::Events { count, delay_ms } => {
            format!("\"stream\":true,\"max_tokens\":{count},\"seed\":{delay_ms},")
        }
    };
    let opening = format!(
        "{{\"model\":\"gpt-4o\",{stream}\"temperature\":0.7,\
         \"messages\":[{{\"role\":\"user\",\"content\":\""
    );
    let closing = "\"}]}";
    let filling = bytes.saturating_sub(opening.len() + closing.len());
    let words = "Where does the water go? ".chars().cycle().take(filling);
    Bytes::from(format!("{opening}{}{closing}", words.collect::<String>()))
}

/// The head of a request over HTTP/1.1.
pub fn head(host: &str, key: &str, body_bytes: usize) -> Bytes {
    Bytes::from(format!(
        "POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nAccept: */*\r\nUser-Agent: penstock-bench\r\n\
         Content-Length: {body_bytes}\r\n\r\n"
    ))
}

/// The heads of all pairs of hosts and keys that are used, for requests with
/// the same body.
pub fn heads(body_bytes: usize) -> Vec<Bytes> {
    let pair = |number: usize| (host(number % HOSTS), key(number % CONSUMERS));
    let pairs = (0..CONSUMERS).map(pair);
    pairs.map(|(host, key)| head(&host, &key, body_bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_of_its_size() {
        for (bytes, shape) in
            [(1000, Shape::Whole), (65_536, Shape::Events { count: 32, delay_ms: 50 })]
        {
            let body = body(bytes, shape);
            assert_eq!(body.len(), bytes);
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(value["model"], "gpt-4o");
        }
    }
}
