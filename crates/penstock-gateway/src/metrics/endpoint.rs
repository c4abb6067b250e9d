//! What services and their endpoints have under way, and how they stand.
//!
//! The numbers live with the endpoints; what the configuration in force does
//! not lead to any more is therefore not there. Endpoints that nothing was
//! ever sent to have no series.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{OTHER, header, line};
use crate::health::{Endpoint, OUTCOMES, Standing};
use crate::load::Limit;
use crate::state::{Kept, ServiceState};

/// The most endpoints with series of their own; the same for services.
const ENDPOINTS_MAX: usize = 10_000;

/// What a service is called by. Services that differ in nothing else are told
/// as one.
type Name = (Arc<str>, String);

/// The numbers of a service.
#[derive(Default)]
struct OfService {
    requests: usize,
    pending: usize,
    refused: [u64; Limit::ALL.len()],
    retries: [u64; 2],
}

/// The numbers of an endpoint.
struct OfEndpoint {
    requests: usize,
    connections: usize,
    outcomes: [u64; OUTCOMES.len()],
    ejections: u64,
    checks: [u64; 2],
    is_fit: bool,
    is_ejected: bool,
}

impl Default for OfEndpoint {
    fn default() -> Self {
        Self {
            requests: 0,
            connections: 0,
            outcomes: [0; OUTCOMES.len()],
            ejections: 0,
            checks: [0; 2],
            is_fit: true,
            is_ejected: false,
        }
    }
}

/// Everything that is told.
#[derive(Default)]
struct Numbers {
    services: BTreeMap<Name, OfService>,
    endpoints: BTreeMap<(Name, String), OfEndpoint>,
}

/// Writes the families about some services and their endpoints.
pub fn render(services: &[Arc<ServiceState>], text: &mut String) {
    let mut numbers = Numbers::default();
    for state in services {
        numbers.add(state);
    }
    numbers.render_services(text);
    numbers.render_endpoints(text);
}

impl Numbers {
    fn add(&mut self, state: &ServiceState) {
        let name = (state.service.host.clone(), state.service.port.to_string());
        let set = state.endpoints();
        set.refresh();
        let mut endpoints: Vec<&Arc<Endpoint>> = set.endpoints.iter().collect();
        endpoints.sort_by_key(|endpoint| endpoint.address);
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        let mut is_used = Limit::ALL.iter().any(|limit| state.kept.load.refused(*limit) > 0)
            || state.kept.retries.counts() != [0; 2];
        for endpoint in endpoints {
            let of = OfEndpoint::of(endpoint);
            if of.is_worth_telling() {
                is_used = true;
                self.endpoint(name.clone(), endpoint.address).add(&of);
            }
        }
        if is_used {
            self.service(name).add(&state.kept);
        }
    }

    fn service(&mut self, name: Name) -> &mut OfService {
        let has_room = self.services.len() < ENDPOINTS_MAX || self.services.contains_key(&name);
        self.services.entry(if has_room { name } else { other() }).or_default()
    }

    fn endpoint(&mut self, name: Name, address: SocketAddr) -> &mut OfEndpoint {
        let key = (name, address.to_string());
        let has_room = self.endpoints.len() < ENDPOINTS_MAX || self.endpoints.contains_key(&key);
        let key = if has_room { key } else { (other(), OTHER.to_owned()) };
        self.endpoints.entry(key).or_default()
    }

    fn render_services(&self, text: &mut String) {
        let mut family = |name: &str, help: &str, of: fn(&OfService) -> usize| {
            header(text, name, "gauge", help);
            for ((service, port), numbers) in &self.services {
                line(text, name, &[("service", service), ("port", port)], of(numbers));
            }
        };
        family("penstock_service_requests_active", "Requests that services have.", |of| {
            of.requests
        });
        family("penstock_service_requests_pending", "Requests that wait for a connection.", |of| {
            of.pending
        });
        let name = "penstock_service_refused_total";
        header(text, name, "counter", "Requests that were refused, by what there was too much of.");
        for ((service, port), numbers) in &self.services {
            for (limit, count) in Limit::ALL.iter().zip(numbers.refused) {
                let labels = [("service", &**service), ("port", port), ("limit", limit.as_str())];
                line_of_some(text, name, &labels, count);
            }
        }
        let name = "penstock_service_retries_total";
        header(text, name, "counter", "Repetitions by whether there was a budget for them.");
        for ((service, port), numbers) in &self.services {
            for (result, count) in ["made", "refused"].iter().zip(numbers.retries) {
                let labels = [("service", &**service), ("port", port), ("result", result)];
                line_of_some(text, name, &labels, count);
            }
        }
    }

    fn render_endpoints(&self, text: &mut String) {
        let gauge = |text: &mut String, name: &str, help: &str, of: fn(&OfEndpoint) -> usize| {
            header(text, name, "gauge", help);
            self.each(|labels, numbers| line(text, name, labels, of(numbers)));
        };
        let connections = "Connections to endpoints that are open.";
        gauge(text, "penstock_endpoint_connections", connections, |of| of.connections);
        let requests = "Requests that endpoints have.";
        gauge(text, "penstock_endpoint_requests_active", requests, |of| of.requests);
        let fit = "Whether nothing keeps requests away from an endpoint.";
        gauge(text, "penstock_endpoint_fit", fit, |of| of.is_fit.into());
        let ejected = "Whether an endpoint is left for a time because it failed.";
        gauge(text, "penstock_endpoint_ejected", ejected, |of| of.is_ejected.into());
        let name = "penstock_endpoint_ejections_total";
        header(text, name, "counter", "How often an endpoint was left for a time.");
        self.each(|labels, numbers| line_of_some(text, name, labels, numbers.ejections));
        let name = "penstock_endpoint_requests_total";
        header(text, name, "counter", "Requests to endpoints by what came of them.");
        self.each(|labels, numbers| {
            for (outcome, count) in OUTCOMES.iter().zip(numbers.outcomes) {
                let [service, port, endpoint] = *labels;
                let labels = [service, port, endpoint, ("outcome", outcome)];
                line_of_some(text, name, &labels, count);
            }
        });
        let name = "penstock_endpoint_checks_total";
        header(text, name, "counter", "Checks of endpoints by their result.");
        self.each(|labels, numbers| {
            for (result, count) in ["passed", "failed"].iter().zip(numbers.checks) {
                let [service, port, endpoint] = *labels;
                line_of_some(text, name, &[service, port, endpoint, ("result", result)], count);
            }
        });
    }

    fn each(&self, mut tell: impl FnMut(&[(&str, &str); 3], &OfEndpoint)) {
        for (((service, port), endpoint), numbers) in &self.endpoints {
            tell(&[("service", service), ("port", port), ("endpoint", endpoint)], numbers);
        }
    }
}

fn other() -> Name {
    (OTHER.into(), OTHER.to_owned())
}

/// A sample of a counter that has begun to count.
pub(super) fn line_of_some(text: &mut String, name: &str, labels: &[(&str, &str)], count: u64) {
    if count > 0 {
        let count: &dyn Display = &count;
        line(text, name, labels, count);
    }
}

impl OfService {
    fn add(&mut self, kept: &Kept) {
        let load = &kept.load;
        self.requests += load.requests();
        self.pending += load.pending();
        for (sum, limit) in self.refused.iter_mut().zip(Limit::ALL) {
            *sum += load.refused(limit);
        }
        for (sum, count) in self.retries.iter_mut().zip(kept.retries.counts()) {
            *sum += count;
        }
    }
}

impl OfEndpoint {
    fn of(endpoint: &Endpoint) -> Self {
        let standing = endpoint.standing();
        let (passed, failed) = endpoint.checks();
        let mut of = Self {
            requests: endpoint.requests(),
            connections: endpoint.connections(),
            ejections: endpoint.ejections(),
            checks: [passed, failed],
            is_fit: !matches!(standing, Standing::Ejected | Standing::Down),
            is_ejected: standing == Standing::Ejected,
            ..Self::default()
        };
        for (count, (_, of_endpoint)) in of.outcomes.iter_mut().zip(endpoint.outcomes()) {
            *count = of_endpoint;
        }
        of
    }

    fn is_worth_telling(&self) -> bool {
        let counts = self.outcomes.iter().chain(&self.checks).any(|count| *count > 0);
        counts || self.requests > 0 || self.connections > 0 || !self.is_fit
    }

    fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.connections += more.connections;
        self.ejections += more.ejections;
        self.is_fit &= more.is_fit;
        self.is_ejected |= more.is_ejected;
        let sums = self.outcomes.iter_mut().chain(&mut self.checks);
        for (sum, count) in sums.zip(more.outcomes.iter().chain(&more.checks)) {
            *sum += count;
        }
    }
}
