//! Changes of the configuration under load: of routes, consumers, providers
//! and certificates at once.

use std::fs;

use rustls::version::TLS13;

use crate::support::certificates::Authority;
use crate::support::load::{Asking, Live, Way, count};
use crate::support::*;

/// The host of which every configuration has its own idea.
const PAIR: &str = "pair.test";

/// A configuration of which every part bears the same name, in one file, so
/// that no reload can meet the half of it.
fn named(name: &str, upstream: &Upstream, secret: &str) -> String {
    let consumer =
        format!("{{name: consumer-{name}, in_header: true, keys: [x-key], credential: key}}");
    let provider = format!(
        "{{id: {name}, type: openai, apiTokens: [sk-{name}], openaiCustomUrl: \"http://{name}.test/v1\"}}"
    );
    let documents = [
        bridge(&[static_registry("deck", &[upstream.address])]),
        Ingress::new("pair")
            .at(PAIR, "Prefix", "/v1")
            .tls(&format!("{{hosts: [{PAIR}], secretName: pair}}"))
            .file()
            .1,
        Ingress::new(name).at("other.test", "Prefix", &format!("/{name}")).file().1,
        Plugin::key_auth()
            .default_config(&format!("{{global_auth: true, consumers: [{consumer}]}}"))
            .file()
            .1,
        Plugin::ai_proxy()
            .default_config(&format!("{{providers: [{provider}]}}"))
            .rule(&format!("{{service: [deck.static], config: {{activeProviderId: {name}}}}}"))
            .file()
            .1,
        format!("{secret}\n"),
    ];
    documents.join("---\n")
}

/// What an upstream received was made by the configuration of its name.
fn check_received(name: &str, upstream: &Upstream) -> usize {
    let mut count = 0;
    while let Some(received) = upstream.try_received() {
        assert_eq!(received.header("host"), Some(format!("{name}.test").as_str()));
        assert_eq!(received.header("x-mse-consumer"), Some(format!("consumer-{name}").as_str()));
        assert_eq!(received.header("authorization"), Some(format!("Bearer sk-{name}").as_str()));
        count += 1;
    }
    count
}

/// The certificate that somebody gets who was never here.
fn certificate(gateway: &Gateway, authority: &Authority) -> Vec<u8> {
    let config = authority.client(&[&TLS13], &[]);
    let connection = Connection::open_tls(gateway.https, &config, PAIR).unwrap();
    connection.session().peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn neither_a_request_nor_a_stream_notices_reloads() {
    let streams = count("PENSTOCK_TEST_STREAMS", 80);
    let reloads = count("PENSTOCK_TEST_RELOADS", 12);
    let authority = Authority::new();
    let decks = ["a", "b"].map(|name| {
        let (_, secret) = authority.secret("pair", &[PAIR]);
        (name, Upstream::start(Scenario::Completion), secret)
    });
    let directory = Directory::new();
    let lay = |round: usize| {
        let (name, deck, secret) = &decks[round % 2];
        directory.write(".set", named(name, deck, secret));
        fs::rename(directory.file(".set"), directory.file("set.yaml")).unwrap();
    };
    lay(0);
    let gateway = Serve::new(directory.path()).with("--threads", 2).start();
    let ways = Way::all(&gateway, &authority, PAIR);
    let request = Request::post(PAIR, "/v1/chat/completions", CHAT).header("x-key", "key");
    let revision = || gateway.status()["configuration"]["revision"].to_string();
    let reload = |round: usize| {
        let before = revision();
        lay(round);
        gateway.signal("HUP");
        eventually("the other configuration", || (revision() != before).then_some(()));
    };
    let mut live = Vec::new();
    let mut certificates = Vec::new();
    for (round, (_, deck, _)) in decks.iter().enumerate() {
        if round > 0 {
            reload(round);
        }
        certificates.push(certificate(&gateway, &authority));
        let count = streams / decks.len() / ways.len();
        live.extend(ways.iter().flat_map(|way| Live::start_all(count, way, deck, &request)));
    }
    assert!(certificates[0] != certificates[1], "the same certificate");
    let asking = Asking::start(4, &ways, &request);
    for round in 0..reloads {
        reload(round);
        assert!(certificate(&gateway, &authority) == certificates[round % 2], "round {round}");
        asking.await_more(4);
        live.iter_mut().for_each(Live::goes_on);
    }
    asking.stop();
    live.into_iter().for_each(Live::ends_well);
    let served = decks.each_ref().map(|(name, deck, _)| check_received(name, deck));
    assert!(served.iter().all(|count| *count > streams / 2), "{served:?}");
}
