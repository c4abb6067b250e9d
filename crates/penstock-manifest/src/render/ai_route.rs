//! The resources of an AI route, and its record for the console.

use std::collections::HashMap;

use super::object::{Draft, flag, int, list, map, text, texts};
use super::{fallback, gson, ingress};
use crate::intent::ai_route::{AiUpstream, Fallback, Strategy};
use crate::intent::domain::Domain;
use crate::intent::route_setting::{Cors, Header, HeaderControl, HeaderStage, Predicate, Retry};
use crate::intent::{AiRoute, Intent, LlmProvider};
use crate::node::Node;
use crate::resource::Resource;

/// The AI routes of an intent with what they refer to at hand.
pub(super) struct Routes<'a> {
    intent: &'a Intent,
    pub(super) providers: HashMap<&'a str, &'a LlmProvider>,
    pub(super) domains: HashMap<&'a str, &'a Domain>,
}

/// A model mapping of one upstream of one Ingress.
pub(super) struct Mapping<'a> {
    pub(super) service: String,
    pub(super) ingress: String,
    pub(super) models: &'a [(Box<str>, Box<str>)],
}

impl<'a> Routes<'a> {
    pub(super) fn new(intent: &'a Intent) -> Self {
        Self {
            intent,
            providers: intent.providers.iter().map(|p| (&*p.name, p)).collect(),
            domains: intent.domains.iter().map(|d| (&*d.name, d)).collect(),
        }
    }

    /// Every mapping that is not empty.
    pub(super) fn mappings(&self) -> Vec<Mapping<'a>> {
        let mut mappings = Vec::new();
        for route in &self.intent.ai_routes {
            self.add_mappings(route.ingress_name(), &route.upstreams, &mut mappings);
            if let Some(fallback) = route.active_fallback() {
                self.add_mappings(route.fallback_ingress_name(), fallback.used(), &mut mappings);
            }
        }
        mappings
    }

    fn add_mappings(
        &self,
        ingress: String,
        upstreams: &'a [AiUpstream],
        mappings: &mut Vec<Mapping<'a>>,
    ) {
        for upstream in upstreams {
            let models = upstream.model_mapping.as_deref().unwrap_or_default();
            let provider = self.providers.get(&*upstream.provider);
            if let Some(provider) = provider.filter(|_| !models.is_empty()) {
                let service = provider.service_host();
                mappings.push(Mapping { service, ingress: ingress.clone(), models });
            }
        }
    }

    /// Ingress, fallback and ConfigMap of a route.
    pub(super) fn resources(&self, route: &AiRoute) -> Vec<Resource> {
        let destinations = self.destinations(&route.upstreams, |upstream| upstream.weight);
        let mut resources = vec![ingress::ingress(route, self, ingress::Part::Main(destinations))];
        if let Some(fallback) = route.active_fallback() {
            let destinations =
                self.destinations(fallback.used(), |upstream| fallback_weight(fallback, upstream));
            resources.push(ingress::ingress(route, self, ingress::Part::Fallback(destinations)));
            resources.push(fallback::envoy_filter(route, fallback));
        }
        resources.push(config_map(route));
        resources
    }

    /// The destination annotation: the bare service where there is one, else
    /// a line with its weight for each.
    fn destinations(
        &self,
        upstreams: &[AiUpstream],
        weight: impl Fn(&AiUpstream) -> Option<i64>,
    ) -> String {
        let destination = |upstream: &AiUpstream| {
            self.providers.get(&*upstream.provider).map(|provider| provider.destination())
        };
        if let [only] = upstreams {
            return destination(only).unwrap_or_default();
        }
        let line = |upstream: &AiUpstream| {
            Some(format!("{}% {}", weight(upstream).unwrap_or(100), destination(upstream)?))
        };
        upstreams.iter().filter_map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A fallback that takes any of its upstreams gives each the weight 1, and
/// stores that as well.
fn fallback_weight(fallback: &Fallback, upstream: &AiUpstream) -> Option<i64> {
    match fallback.strategy {
        Some(Strategy::Sequence) => upstream.weight,
        _ => Some(1),
    }
}

/// The console's record of a route: JSON without what is not given.
fn config_map(route: &AiRoute) -> Resource {
    let data = map([("data", text(gson::write(&record(route))))]);
    Draft::new("ConfigMap", &route.config_map_name())
        .label("higress.io/config-map-type", "ai-route")
        .finish([("data", data)])
}

fn record(route: &AiRoute) -> Node {
    let mut record: Vec<(&str, Node)> = vec![("name", text(&route.name))];
    let mut add = |key, value: Option<Node>| record.extend(value.map(|value| (key, value)));
    add("domains", route.domains.as_ref().map(texts));
    add("pathPredicate", Some(predicate(&route.path)));
    let predicates = |given: &Option<Vec<Predicate>>| {
        given.as_ref().map(|predicates| list(predicates.iter().map(predicate)))
    };
    add("headerPredicates", predicates(&route.headers));
    add("urlParamPredicates", predicates(&route.url_params));
    let own = |upstream: &AiUpstream| self::upstream(upstream, upstream.weight);
    add("upstreams", Some(list(route.upstreams.iter().map(own))));
    add("modelPredicates", predicates(&route.models));
    add(
        "authConfig",
        route.auth.as_ref().map(|auth| {
            let mut fields = vec![("enabled", flag(auth.is_enabled))];
            fields.extend(
                auth.credential_types.as_ref().map(|t| ("allowedCredentialTypes", texts(t))),
            );
            let consumers = auth.consumers.as_ref();
            let names = consumers.map(|list| texts(list.iter().map(|(name, _)| name)));
            fields.extend(names.map(|names| ("allowedConsumers", names)));
            map(fields)
        }),
    );
    add("fallbackConfig", route.fallback.as_ref().map(fallback_record));
    add("cors", route.cors.as_ref().map(cors));
    add("headerControl", route.header_control_in_manifest().as_ref().map(header_control));
    add("proxyNextUpstream", Some(retry(&route.retry)));
    let text_map = |given: &Option<Vec<(Box<str>, Box<str>)>>| {
        given.as_ref().map(|pairs| map(pairs.iter().map(|(key, value)| (key, text(value)))))
    };
    add("customConfigs", text_map(&route.custom_configs));
    add("customLabels", text_map(&route.custom_labels));
    map(record)
}

fn predicate(predicate: &Predicate) -> Node {
    let mut fields = Vec::new();
    fields.extend(predicate.key.as_ref().map(|key| ("key", text(key))));
    fields.push(("matchType", text(predicate.match_type.as_str())));
    fields.push(("matchValue", text(&predicate.value)));
    fields.extend(predicate.is_case_sensitive.map(|case| ("caseSensitive", flag(case))));
    map(fields)
}

fn upstream(upstream: &AiUpstream, weight: Option<i64>) -> Node {
    let mut fields = vec![("provider", text(&upstream.provider))];
    fields.extend(weight.map(|weight| ("weight", int(weight))));
    let mapping = upstream.model_mapping.as_ref();
    fields.extend(
        mapping.map(|mapping| {
            ("modelMapping", map(mapping.iter().map(|(from, to)| (from, text(to)))))
        }),
    );
    map(fields)
}

fn fallback_record(fallback: &Fallback) -> Node {
    let mut fields = vec![("enabled", flag(fallback.is_enabled))];
    fields.extend(fallback.upstreams.as_ref().map(|upstreams| {
        // Weights change only where the fallback is in force.
        let weight = |upstream: &AiUpstream| match fallback.is_enabled {
            true => fallback_weight(fallback, upstream),
            false => upstream.weight,
        };
        ("upstreams", list(upstreams.iter().map(|u| upstream(u, weight(u)))))
    }));
    fields.extend(fallback.strategy.map(|strategy| {
        let name = match strategy {
            Strategy::Random => "RAND",
            Strategy::Sequence => "SEQ",
        };
        ("fallbackStrategy", text(name))
    }));
    fields.extend(fallback.response_codes.as_ref().map(|codes| ("responseCodes", texts(codes))));
    map(fields)
}

fn cors(cors: &Cors) -> Node {
    let mut fields = vec![("enabled", flag(cors.is_enabled))];
    fields.extend(cors.lists.iter().map(|(key, items)| (*key, texts(items))));
    fields.extend(cors.max_age.map(|seconds| ("maxAge", int(seconds))));
    fields.extend(cors.allow_credentials.map(|allow| ("allowCredentials", flag(allow))));
    map(fields)
}

fn header_control(control: &HeaderControl) -> Node {
    let mut fields = vec![("enabled", flag(control.is_enabled))];
    fields.extend(control.request.as_ref().map(|stage| ("request", header_stage(stage))));
    fields.extend(control.response.as_ref().map(|stage| ("response", header_stage(stage))));
    map(fields)
}

fn header_stage(stage: &HeaderStage) -> Node {
    let headers = |headers: &Vec<Header>| {
        let pair =
            |header: &Header| map([("key", text(&header.key)), ("value", text(&header.value))]);
        list(headers.iter().map(pair))
    };
    let mut fields = Vec::new();
    fields.extend(stage.add.as_ref().map(|add| ("add", headers(add))));
    fields.extend(stage.set.as_ref().map(|set| ("set", headers(set))));
    fields.extend(stage.remove.as_ref().map(|remove| ("remove", texts(remove))));
    map(fields)
}

fn retry(retry: &Retry) -> Node {
    let mut fields = vec![("enabled", flag(retry.is_enabled))];
    fields.extend(retry.attempts.map(|attempts| ("attempts", int(attempts))));
    fields.extend(retry.timeout_seconds.map(|seconds| ("timeout", int(seconds))));
    fields.extend(retry.conditions.as_ref().map(|conditions| ("conditions", texts(conditions))));
    map(fields)
}
