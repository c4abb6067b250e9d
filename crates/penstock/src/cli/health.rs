//! The flags of `serve` about services and their endpoints: how much they may
//! have under way, when one is left alone, whether it is checked.

use std::time::Duration;

use clap::Args;
use http::uri::PathAndQuery;
use penstock_gateway::settings::{Checks, Outliers, ServiceLimits};
use penstock_gateway::snapshot::DomainPattern;

use super::limits::{seconds, seconds_or_zero};

/// What holds for every service.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Services and endpoints")]
pub struct Health {
    /// The most requests of a service at a time; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 65536)]
    pub service_request_limit: usize,
    /// The most connections of a service to its endpoints; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 65536)]
    pub service_connection_limit: usize,
    /// The most requests of a service that wait for a connection; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 16384)]
    pub service_pending_limit: usize,
    /// How many failures in a row until an endpoint is left for a time; 0 for never
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub eject_after: u32,
    /// For how long it is left, the first time
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub eject_time: Duration,
    /// For how long it is left at most
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub eject_time_max: Duration,
    /// The most endpoints of a service that are left at a time, of 100
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(..=100))]
    pub eject_percent: u8,
    /// Over which time the share of an endpoint grows that is new or back; 0 for at once
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_zero)]
    pub warm_up: Duration,
    /// The time between two checks of an endpoint; 0 for no checks
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_zero)]
    pub check_interval: Duration,
    /// Time for a check
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, requires = "check_interval")]
    pub check_timeout: Duration,
    /// What a check asks for; default: it only connects
    #[arg(long, value_name = "PATH", value_parser = path, requires = "check_interval")]
    pub check_path: Option<PathAndQuery>,
    /// How many checks in a row fail until an endpoint gets no requests
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), requires = "check_interval")]
    pub check_failures: u32,
    /// How many checks in a row pass until it does again
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), requires = "check_interval")]
    pub check_successes: u32,
    /// The services whose endpoints are checked, by host; * at one end stands for anything
    #[arg(long, value_name = "HOST,…", default_value = "*", value_delimiter = ',', value_parser = pattern, requires = "check_interval")]
    pub check_services: Vec<DomainPattern>,
}

impl Health {
    /// How much a service may have under way.
    pub fn service(&self) -> ServiceLimits {
        ServiceLimits {
            connections_max: self.service_connection_limit,
            pending_max: self.service_pending_limit,
            requests_max: self.service_request_limit,
        }
    }

    /// When an endpoint is left for a time.
    pub fn outliers(&self) -> Outliers {
        Outliers {
            failures: self.eject_after,
            time: self.eject_time,
            time_max: self.eject_time_max,
            percent_max: self.eject_percent,
        }
    }

    /// How endpoints are checked, where they are.
    pub fn checks(&self) -> Option<Checks> {
        (!self.check_interval.is_zero()).then(|| Checks {
            interval: self.check_interval,
            timeout: self.check_timeout,
            path: self.check_path.clone(),
            failures: self.check_failures,
            successes: self.check_successes,
            services: self.check_services.clone(),
        })
    }
}

fn path(text: &str) -> Result<PathAndQuery, String> {
    let path = text.parse().ok().filter(|_| text.starts_with('/'));
    path.ok_or_else(|| "expected a path such as /health".to_owned())
}

fn pattern(text: &str) -> Result<DomainPattern, String> {
    match text.trim() {
        "" => Err("expected hosts such as llm.internal.static or *.svc.cluster.local".to_owned()),
        text => Ok(DomainPattern::parse(text)),
    }
}
