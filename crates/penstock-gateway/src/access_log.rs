//! One line of JSON for every request, written when its last byte went out or
//! when it was dropped. Never a secret, never a query string, and of a body
//! only what an attribute of ai-statistics asks for.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use penstock_llm::usage::Usage;
use serde_json::{Map, Value};

use crate::metrics::Statistics;
use crate::request::RequestId;

/// How long a line may wait before it is written.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// How much may wait; what comes beyond it is dropped and counted.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// What is known about a request in the end.
pub struct AccessRecord {
    /// When it began, by the wall clock.
    pub time: SystemTime,
    /// When it began.
    pub began: Instant,
    /// Its id.
    pub request_id: RequestId,
    /// The peer.
    pub client: SocketAddr,
    /// The method.
    pub method: Method,
    /// The host that routing compared.
    pub host: Box<str>,
    /// The path without query.
    pub path: Box<str>,
    /// The route, once found.
    pub route: Option<Arc<str>>,
    /// The route that it was found to fail on last.
    pub fallback_from: Option<Arc<str>>,
    /// The service, once chosen.
    pub service: Option<Arc<str>>,
    /// The port that destinations name the service by.
    pub service_port: Option<u16>,
    /// The provider's id, once chosen.
    pub provider: Option<Box<str>>,
    /// The consumer, once authenticated.
    pub consumer: Option<Arc<str>>,
    /// The model that was asked for.
    pub model: Option<Box<str>>,
    /// The model after mapping, where it differs.
    pub upstream_model: Option<Box<str>>,
    /// The attempts, in order.
    pub attempts: Vec<AttemptRecord>,
    /// The status that the client got; `None` where it left before.
    pub status: Option<StatusCode>,
    /// The code of the gateway's own answer, or of what broke off.
    pub error: Option<&'static str>,
    /// What only the log may know about the error.
    pub cause: Option<String>,
    /// The bytes of the request's body, as far as they were read.
    pub request_bytes: u64,
    /// The bytes of the answer's body that were handed to the client.
    pub response_bytes: u64,
    /// From the beginning until the request was handed to the upstream.
    pub upstream_began: Option<Duration>,
    /// From the beginning until the head of the answer.
    pub upstream_head: Option<Duration>,
    /// From the beginning until the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// From the beginning until the end.
    pub duration: Duration,
    /// Whether the answer was an event stream.
    pub is_stream: bool,
    /// The tokens, where the answer told them.
    pub usage: Option<Usage>,
    /// What plugins say about the request, under `ai_log`.
    pub ai_log: Map<String, Value>,
    /// Fields of the line itself that plugins add.
    pub plugin_fields: Vec<(Box<str>, String)>,
    /// What ai-statistics counts.
    pub statistics: Option<Statistics>,
}

/// The fields of a line that are always penstock's own.
pub const FIELDS: &[&str] = &[
    "time",
    "request_id",
    "client",
    "method",
    "host",
    "path",
    "route",
    "fallback_from",
    "service",
    "provider",
    "consumer",
    "model",
    "upstream_model",
    "status",
    "error",
    "cause",
    "request_bytes",
    "response_bytes",
    "duration_ms",
    "upstream_began_ms",
    "upstream_head_ms",
    "first_byte_ms",
    "stream",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "attempts",
    "ai_log",
];

/// One try with one endpoint.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// The address.
    pub endpoint: SocketAddr,
    /// `ok`, or the kind of error.
    pub outcome: &'static str,
    /// The provider, where a later attempt may have gone to another one; empty
    /// where there was none.
    pub provider: Option<Box<str>>,
    /// The label of the provider's token, where there was a choice.
    pub token: Option<Arc<str>>,
    /// The status of the answer.
    pub status: Option<StatusCode>,
    /// From the beginning of the request until this was over.
    pub ended: Duration,
}

impl AccessRecord {
    /// A record of a request that has just come in.
    pub fn begin(
        request_id: &RequestId,
        client: SocketAddr,
        method: &Method,
        host: &str,
        path: &str,
    ) -> Self {
        Self {
            time: SystemTime::now(),
            began: Instant::now(),
            request_id: request_id.clone(),
            client,
            method: method.clone(),
            host: host.into(),
            path: path.into(),
            route: None,
            fallback_from: None,
            service: None,
            service_port: None,
            provider: None,
            consumer: None,
            model: None,
            upstream_model: None,
            attempts: Vec::new(),
            status: None,
            error: None,
            cause: None,
            request_bytes: 0,
            response_bytes: 0,
            upstream_began: None,
            upstream_head: None,
            first_byte: None,
            duration: Duration::ZERO,
            is_stream: false,
            usage: None,
            ai_log: Map::new(),
            plugin_fields: Vec::new(),
            statistics: None,
        }
    }

    /// Forgets where a request went that goes elsewhere now; the attempts and
    /// the consumer stay.
    pub fn fall_back(&mut self) {
        for attempt in &mut self.attempts {
            if attempt.provider.is_none() {
                attempt.provider = Some(self.provider.clone().unwrap_or_default());
            }
        }
        self.fallback_from = self.route.take();
        (self.service, self.service_port, self.provider) = (None, None, None);
        (self.upstream_model, self.cause) = (None, None);
        (self.upstream_began, self.upstream_head) = (None, None);
    }

    /// Appends the record as a line of JSON.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        let mut json = Line { out: line, is_first: true };
        json.text("time", &timestamp(self.time));
        json.text("request_id", self.request_id.as_str());
        json.display("client", self.client.ip());
        json.text("method", self.method.as_str());
        json.text("host", &self.host);
        json.text("path", &self.path);
        json.optional_text("route", self.route.as_deref());
        json.optional_text("fallback_from", self.fallback_from.as_deref());
        json.optional_text("service", self.service.as_deref());
        json.optional_text("provider", self.provider.as_deref());
        json.optional_text("consumer", self.consumer.as_deref());
        json.optional_text("model", self.model.as_deref());
        json.optional_text("upstream_model", self.upstream_model.as_deref());
        json.number("status", self.status.map_or(0, |status| status.as_u16().into()));
        json.optional_text("error", self.error);
        json.optional_text("cause", self.cause.as_deref());
        json.number("request_bytes", self.request_bytes);
        json.number("response_bytes", self.response_bytes);
        json.micros("duration_ms", Some(self.duration));
        json.micros("upstream_began_ms", self.upstream_began);
        json.micros("upstream_head_ms", self.upstream_head);
        json.micros("first_byte_ms", self.first_byte);
        json.flag("stream", self.is_stream);
        if let Some(usage) = &self.usage {
            json.optional_number("input_tokens", usage.prompt_tokens);
            json.optional_number("output_tokens", usage.completion_tokens);
            json.optional_number("total_tokens", usage.total_tokens);
        }
        if !self.attempts.is_empty() {
            json.attempts(&self.attempts);
        }
        if !self.ai_log.is_empty() {
            json.key("ai_log");
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut *json.out, &self.ai_log);
        }
        for (name, value) in &self.plugin_fields {
            json.text(name, value);
        }
        line.extend_from_slice(b"}\n");
    }
}

/// A JSON object under construction.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl Line<'_> {
    fn key(&mut self, key: &str) {
        self.out.push(if self.is_first { b'{' } else { b',' });
        self.is_first = false;
        write_json_string(self.out, key);
        self.out.push(b':');
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_json_string(self.out, value);
    }

    fn optional_text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn display(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        // An address needs no escaping, and writing to memory cannot fail.
        let _ = write!(self.out, "\"{value}\"");
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    fn optional_number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    fn micros(&mut self, key: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.key(key);
            let micros = value.as_micros();
            let _ = write!(self.out, "{}.{:03}", micros / 1000, micros % 1000);
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn attempts(&mut self, attempts: &[AttemptRecord]) {
        self.key("attempts");
        self.out.push(b'[');
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let _ = write!(
                self.out,
                "{{\"endpoint\":\"{}\",\"outcome\":\"{}\"",
                attempt.endpoint, attempt.outcome
            );
            if let Some(status) = attempt.status {
                let _ = write!(self.out, ",\"status\":{}", status.as_u16());
            }
            for (key, value) in
                [("provider", attempt.provider.as_deref()), ("token", attempt.token.as_deref())]
            {
                if let Some(value) = value.filter(|value| !value.is_empty()) {
                    let _ = write!(self.out, ",\"{key}\":");
                    write_json_string(self.out, value);
                }
            }
            let micros = attempt.ended.as_micros();
            let _ = write!(self.out, ",\"ended_ms\":{}.{:03}}}", micros / 1000, micros % 1000);
        }
        self.out.push(b']');
    }
}

fn write_json_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Civil date from days since 1970-01-01, in years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, to which lines are appended.
    File(PathBuf),
}

/// The access log: requests append to memory, a thread of its own writes. A
/// slow or full disk costs lines, never requests.
pub struct AccessLog {
    backlog: Mutex<Vec<u8>>,
    /// Lines that were dropped because writing did not keep up or failed.
    pub dropped: AtomicU64,
}

impl AccessLog {
    /// Opens the log and starts its thread; `None` where it is off.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not be started.
    pub fn open(destination: &Destination) -> std::io::Result<Option<Arc<Self>>> {
        let writer: Box<dyn Write + Send> = match destination {
            Destination::Off => return Ok(None),
            Destination::Stdout => Box::new(std::io::stdout()),
            Destination::File(path) => Box::new(open_file(path)?),
        };
        let log = Arc::new(Self { backlog: Mutex::new(Vec::new()), dropped: AtomicU64::new(0) });
        let weak = Arc::downgrade(&log);
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            let mut writer = writer;
            let mut batch = Vec::new();
            loop {
                std::thread::sleep(FLUSH_INTERVAL);
                let Some(log) = weak.upgrade() else { return };
                log.flush_into(&mut *writer, &mut batch);
            }
        })?;
        Ok(Some(log))
    }

    /// Appends a record.
    pub fn append(&self, record: &AccessRecord) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        if backlog.len() > BACKLOG_BYTES_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        record.write_line(&mut backlog);
    }

    fn flush_into(&self, writer: &mut dyn Write, batch: &mut Vec<u8>) {
        batch.clear();
        std::mem::swap(batch, &mut *self.backlog.lock().unwrap_or_else(PoisonError::into_inner));
        if batch.is_empty() {
            return;
        }
        if writer.write_all(batch).and_then(|()| writer.flush()).is_err() {
            let lines = memchr::memchr_iter(b'\n', batch).count() as u64;
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Waits until what was appended so far has been taken by the thread.
    pub fn drain(&self) {
        for _ in 0..40 {
            if self.backlog.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                break;
            }
            std::thread::sleep(FLUSH_INTERVAL / 2);
        }
        std::thread::sleep(FLUSH_INTERVAL / 2);
    }
}

fn open_file(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400, "2000-02-29T00:00:00.000Z");
        check(1_735_689_599, "2024-12-31T23:59:59.000Z");
        check(4_102_444_800, "2100-01-01T00:00:00.000Z");
    }

    #[test]
    fn own_fields_are_listed() {
        let client = "192.0.2.1:5".parse().unwrap();
        let mut record =
            AccessRecord::begin(&RequestId::random(), client, &Method::GET, "a.com", "/");
        record.ai_log.insert("a".into(), Value::Null);
        let mut line = Vec::new();
        record.write_line(&mut line);
        let value: Map<String, Value> = serde_json::from_slice(&line).unwrap();
        assert!(value.keys().all(|key| FIELDS.contains(&key.as_str())), "{value:?}");
    }

    #[test]
    fn lines_are_json_whatever_a_client_sends() {
        let client = "192.0.2.1:5".parse().unwrap();
        let mut record =
            AccessRecord::begin(&RequestId::random(), client, &Method::GET, "a\"b\\c", "/x\u{1}\n");
        record.attempts.push(AttemptRecord {
            endpoint: client,
            outcome: "ok",
            provider: None,
            token: Some("0a1b2c3d".into()),
            status: Some(StatusCode::OK),
            ended: Duration::from_millis(5),
        });
        record.duration = Duration::from_micros(1_234);
        record.ai_log.insert("a\"b".into(), serde_json::json!({"c": "\n"}));
        record.plugin_fields.push(("x\"y".into(), "\n".into()));
        let mut line = Vec::new();
        record.write_line(&mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["host"], "a\"b\\c");
        assert_eq!(value["path"], "/x\u{1}\n");
        assert_eq!(value["duration_ms"], 1.234);
        assert_eq!(value["attempts"][0]["outcome"], "ok");
        assert_eq!(value["ai_log"]["a\"b"]["c"], "\n");
        assert_eq!(value["x\"y"], "\n");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
