//! A gateway from afar, through its admin listener.

use super::{
    Applied, Difference, Failure, FailureKind, GatewayStatus, IntentText, Planned, Request, Shown,
    Standing, Tested,
};
use crate::store::revision::Record;

/// How a gateway is reached.
#[derive(Default)]
pub struct Access {
    /// The bearer token.
    pub token: Option<String>,
}

/// A gateway from afar.
pub struct Remote {
    url: String,
}

impl Remote {
    /// The gateway whose admin listener has this URL.
    pub fn new(url: &str, _: &Access) -> Result<Self, Failure> {
        Ok(Self { url: url.trim_end_matches('/').to_owned() })
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the gateway has in force.
    pub fn status(&self) -> Result<GatewayStatus, Failure> {
        self.not_yet()
    }

    /// Runs expectations against what the gateway has in force.
    pub fn test(&self, _: &IntentText) -> Result<Tested, Failure> {
        self.not_yet()
    }

    fn not_yet<T>(&self) -> Result<T, Failure> {
        Err(Failure::new(FailureKind::Unavailable, format!("`{}` cannot be reached yet", self.url)))
    }

    pub fn plan(&self, _: &Request) -> Result<Planned, Failure> {
        self.not_yet()
    }

    pub fn apply(&self, _: &Request) -> Result<Applied, Failure> {
        self.not_yet()
    }

    pub fn history(&self) -> Result<Vec<Record>, Failure> {
        self.not_yet()
    }

    pub fn show(&self, _: u64) -> Result<Shown, Failure> {
        self.not_yet()
    }

    pub fn diff(&self, _: Option<u64>, _: Option<u64>) -> Result<Difference, Failure> {
        self.not_yet()
    }

    pub fn standing(&self) -> Result<Standing, Failure> {
        self.not_yet()
    }
}
