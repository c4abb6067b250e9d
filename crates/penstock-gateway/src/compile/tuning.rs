//! ConfigMap `higress-config` → what the gateway as a whole does.

use std::sync::Arc;
use std::time::Duration;

use penstock_manifest::kind::higress_config::{HigressConfig, is_higress_config};
use penstock_manifest::{Diagnostic, Resource};

use crate::gzip::Gzip;
use crate::snapshot::Tuning;

/// Without the ConfigMap answers are not compressed, other than in Higress:
/// its installation always has one.
pub(super) fn compile(
    resources: &[Arc<Resource>],
    diagnostics: &mut Vec<Diagnostic>,
) -> (Tuning, Option<Arc<Gzip>>) {
    let resource = resources.iter().find(|resource| is_higress_config(resource));
    let config = resource.and_then(|resource| HigressConfig::parse(resource, diagnostics));
    let config = config.unwrap_or_default();
    let seconds = |seconds: Option<u32>| seconds.map(|s| Duration::from_secs(s.into()));
    let tuning = Tuning {
        route_timeout: seconds(config.route_timeout_s),
        head_bytes_max: config.head_kb_max.and_then(|kb| usize::try_from(kb << 10).ok()),
        client_idle_timeout: seconds(config.client_idle_timeout_s),
        pool_idle_timeout: seconds(config.pool_idle_timeout_s),
        adds_real_ip: config.adds_real_ip,
    };
    (tuning, config.gzip.map(|gzip| Arc::new(gzip.into())))
}
