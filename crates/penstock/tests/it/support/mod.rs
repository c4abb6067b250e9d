//! What the tests are made of: the binary as a process, a client and an
//! upstream that show the wire, a name server, manifests.

pub(crate) mod back_end;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod corpus;
pub(crate) mod dns;
pub(crate) mod frames;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod http2_upstream;
pub(crate) mod load;
pub(crate) mod manifests;
pub(crate) mod schema;
pub(crate) mod site;
pub(crate) mod upstream;
pub(crate) mod wire;

use std::net::SocketAddr;

use serde_json::Value;

use certificates::Authority;

pub(crate) use client::{Answer, Chunk, Connection, End, Request};
pub(crate) use gateway::{Gateway, Serve, eventually, penstock};
pub(crate) use manifests::{
    Directory, HERON, HERON_KEY, HOST, Ingress, OTTER, OTTER_KEY, Plugin, ROUTE, TOKEN, bridge,
    dns_registry, harbor, static_registry,
};
pub(crate) use upstream::{Scenario, Upstream};

/// An address at which nobody listens: everything here is at 127.0.0.1 to 3.
pub(crate) fn dead_address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 9], port))
}

/// A chat request for the scenario's route, with a model that is not mapped.
pub(crate) const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"ahoy"}]}"#;

/// The scenario, running.
pub(crate) struct Harbor {
    pub(crate) upstream: Upstream,
    pub(crate) directory: Directory,
    pub(crate) gateway: Gateway,
}

impl Harbor {
    pub(crate) fn start() -> Self {
        Self::answering(Scenario::Completion)
    }

    pub(crate) fn answering(scenario: Scenario) -> Self {
        Self::changed(scenario, |_| {})
    }

    /// The scenario with its files changed before the start.
    pub(crate) fn changed(scenario: Scenario, change: impl FnOnce(&Directory)) -> Self {
        Self::served(scenario, change, |serve| serve)
    }

    /// The same with other flags.
    pub(crate) fn served(
        scenario: Scenario,
        change: impl FnOnce(&Directory),
        flags: impl FnOnce(Serve) -> Serve,
    ) -> Self {
        let upstream = Upstream::start(scenario);
        let directory = Directory::harbor(upstream.address);
        change(&directory);
        let gateway = flags(Serve::new(directory.path())).start();
        Self { upstream, directory, gateway }
    }

    /// The scenario with a certificate for its host, and several workers.
    pub(crate) fn encrypted(authority: &Authority) -> Self {
        let change = |directory: &Directory| {
            let entry = format!("spec:\n  tls:\n  - hosts: [{HOST}]\n    secretName: pier\n");
            directory.edit("ingresses/ai-route-pier.internal.yaml", "spec:\n", &entry);
            let (name, text) = authority.secret("pier", &[HOST]);
            directory.write(&name, text);
        };
        Self::served(Scenario::Completion, change, |serve| serve.with("--threads", 2))
    }

    /// Sends [`CHAT`] as the consumer that is allowed.
    #[track_caller]
    pub(crate) fn chat(&self) -> Answer {
        self.gateway.send(&chat())
    }
}

/// [`CHAT`] from the consumer that is allowed.
pub(crate) fn chat() -> Request {
    Request::post(HOST, "/v1/chat/completions", CHAT).key(HERON_KEY)
}

/// [`CHAT`] from nobody.
pub(crate) fn chat_without_key() -> Request {
    Request::post(HOST, "/v1/chat/completions", CHAT)
}

/// Nothing that a client is told may hold any of these.
pub(crate) fn check_no_leak(answer: &Answer, secrets: &[&str]) {
    let headers = format!("{:?}", answer.head.headers);
    let body = answer.text();
    for secret in secrets {
        assert!(!headers.contains(secret), "{secret} is in {headers}");
        assert!(!body.contains(secret), "{secret} is in {body}");
    }
}

/// An error of the gateway's own in the shape of the OpenAI API.
#[track_caller]
pub(crate) fn check_openai_error(answer: &Answer, status: u16, kind: &str, code: &str) {
    assert_eq!(answer.status(), status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&kind.into(), &code.into()), "{body}");
    assert_eq!(error["param"], Value::Null);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    check_request_id(answer, &body["request_id"]);
}

#[track_caller]
pub(crate) fn check_request_id(answer: &Answer, told: &Value) {
    let id = answer.header("x-request-id").expect("no x-request-id");
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(told, id);
}
