//! What a provider says about tokens that fail, and about asking again
//! (Higress: provider/failover.go, provider/retry.go). It decides nothing;
//! the gateway knows which tokens are fit.

use http::StatusCode;
use regex::Regex;
use serde_json::{Map, Value};

use super::fields::{Fields, inside, invalid};
use crate::error::ConfigError;

/// Statuses, as patterns name them.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusSet([u64; 16]);

impl StatusSet {
    fn none() -> Self {
        Self([0; 16])
    }

    /// The statuses whose three digits match a pattern from the first on. In
    /// Higress they may match anywhere, by which `4.*` means 204 as well.
    fn of(patterns: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut set = Self::none();
        for (path, pattern) in patterns {
            let regex = Regex::new(&format!("^(?:{pattern})")).map_err(|_| {
                invalid(path, format!("`{path}` is no regular expression that can be used"))
            })?;
            for status in 0..1000u16 {
                if status != 200 && regex.is_match(&format!("{status:03}")) {
                    let (word, bit) = (usize::from(status / 64), status % 64);
                    if let Some(word) = set.0.get_mut(word) {
                        *word |= 1 << bit;
                    }
                }
            }
        }
        Ok(set)
    }

    /// Whether a status is one of them.
    pub fn contains(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.0.get(usize::from(status / 64)).is_some_and(|word| word >> (status % 64) & 1 == 1)
    }
}

impl std::fmt::Debug for StatusSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codes = (100..1000).filter_map(|code| StatusCode::from_u16(code).ok());
        f.debug_set().entries(codes.filter(|code| self.contains(*code))).finish()
    }
}

/// Whole classes as `4xx`, others as `429` or `500-503`.
impl std::fmt::Display for StatusSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has = |code: &u16| StatusCode::from_u16(*code).is_ok_and(|code| self.contains(code));
        let mut separator = "";
        for class in (100..1000u16).step_by(100) {
            if (class..class + 100).all(|code| has(&code)) {
                write!(f, "{separator}{}xx", class / 100)?;
                separator = ", ";
                continue;
            }
            let mut from = class;
            while let Some(first) = (from..class + 100).find(has) {
                let last = (first..class + 100).take_while(has).last().unwrap_or(first);
                write!(f, "{separator}{first}")?;
                if last > first {
                    write!(f, "-{last}")?;
                }
                separator = ", ";
                from = last + 1;
            }
        }
        Ok(())
    }
}

/// When a token is put aside, and when it comes back (`failover`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// So many failures in a row put a token aside (`failureThreshold`,
    /// default 3).
    pub failure_threshold: u32,
    /// So many checks that pass bring it back (`successThreshold`, default
    /// 1). A check that fails begins the count anew.
    pub success_threshold: u32,
    /// The time between two checks of a token, in milliseconds
    /// (`healthCheckInterval`, default 5000).
    pub check_interval_ms: u64,
    /// How long a check may take, in milliseconds (`healthCheckTimeout`,
    /// default 5000).
    pub check_timeout_ms: u64,
    /// The model that checks ask, before mapping (`healthCheckModel`);
    /// `None` where nothing is checked.
    pub check_model: Option<String>,
    /// What counts as a failure (`failoverOnStatus`, default `4.*` and
    /// `5.*`).
    pub statuses: StatusSet,
    /// After so many milliseconds a token comes back without a check
    /// (`cooldownDuration`); 0 where it does not.
    pub cooldown_ms: u64,
}

/// Whether the same is asked again with another token (`retryOnFailure`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOnFailure {
    /// How often (`maxRetries`, default 1).
    pub max_retries: u32,
    /// How long each repetition may take until its head, in milliseconds
    /// (`retryTimeout`, default 30000).
    pub timeout_ms: u64,
    /// After what (`retryOnStatus`, default `4.*` and `5.*`). A connection
    /// that fails counts in any case.
    pub statuses: StatusSet,
}

impl Failover {
    /// Reads `failover`; `None` where it is off.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(map) = enabled(fields, "failover")? else { return Ok(None) };
        let count = |key, default| count(map, "failover", key, default);
        let model = Fields { map }.text("healthCheckModel").map_err(within("failover"))?;
        Ok(Some(Self {
            failure_threshold: threshold(count("failureThreshold", 3)?),
            success_threshold: threshold(count("successThreshold", 1)?),
            check_interval_ms: count("healthCheckInterval", 5000)?,
            check_timeout_ms: count("healthCheckTimeout", 5000)?,
            check_model: Some(model).filter(|model| !model.is_empty()),
            statuses: statuses(map, "failover", "failoverOnStatus")?,
            cooldown_ms: count("cooldownDuration", 0)?,
        }))
    }
}

impl RetryOnFailure {
    /// Reads `retryOnFailure`; `None` where it is off.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(map) = enabled(fields, "retryOnFailure")? else { return Ok(None) };
        let count = |key, default| count(map, "retryOnFailure", key, default);
        Ok(Some(Self {
            max_retries: threshold(count("maxRetries", 1)?),
            timeout_ms: count("retryTimeout", 30_000)?,
            statuses: statuses(map, "retryOnFailure", "retryOnStatus")?,
        }))
    }
}

fn within(parent: &'static str) -> impl Fn(ConfigError) -> ConfigError {
    move |error| inside(parent, error)
}

fn enabled<'a>(
    fields: &Fields<'a>,
    parent: &'static str,
) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
    let Some(map) = fields.object(parent)? else { return Ok(None) };
    let is_enabled = Fields { map }.flag("enabled").map_err(within(parent))?;
    Ok(is_enabled.then_some(map))
}

/// Zero counts as unset.
fn count(
    map: &Map<String, Value>,
    parent: &'static str,
    key: &str,
    default: u64,
) -> Result<u64, ConfigError> {
    let count = Fields { map }.count(key).map_err(within(parent))?;
    Ok(if count == 0 { default } else { count })
}

fn threshold(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn statuses(
    map: &Map<String, Value>,
    parent: &'static str,
    key: &str,
) -> Result<StatusSet, ConfigError> {
    let mut patterns = Fields { map }.texts(key).map_err(within(parent))?;
    for (path, _) in &mut patterns {
        path.insert_str(0, &format!("{parent}."));
    }
    if patterns.is_empty() {
        patterns.extend(["4.*", "5.*"].map(|pattern| (key.to_owned(), pattern.to_owned())));
    }
    StatusSet::of(&patterns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T>(
        config: Value,
        read: fn(&Fields<'_>) -> Result<Option<T>, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        let Value::Object(map) = config else { panic!("an object") };
        read(&Fields { map: &map })
    }

    fn statuses_of(patterns: Value) -> Vec<u16> {
        let config = json!({"retryOnFailure": {"enabled": true, "retryOnStatus": patterns}});
        let retry = read(config, RetryOnFailure::read).unwrap().unwrap();
        let codes = (100..600).filter_map(|code| StatusCode::from_u16(code).ok());
        codes.filter(|code| retry.statuses.contains(*code)).map(|code| code.as_u16()).collect()
    }

    #[test]
    fn statuses_are_named_by_patterns() {
        let both: Vec<u16> = (400..600).collect();
        assert_eq!(statuses_of(Value::Null), both);
        assert_eq!(statuses_of(json!(["4.*", "5.*"])), both);
        assert_eq!(statuses_of(json!(["429", "50[0-3]"])), [429, 500, 501, 502, 503]);
        assert_eq!(statuses_of(json!([429])), [429]);
        assert_eq!(statuses_of(json!("2.*")).first(), Some(&201));
        assert_eq!(statuses_of(json!(["4|5"])), both);
        assert!(statuses_of(json!(["00"])).is_empty());
    }

    #[test]
    fn statuses_are_told_in_short() {
        let check = |patterns: Value, expected: &str| {
            let config = json!({"retryOnFailure": {"enabled": true, "retryOnStatus": patterns}});
            let retry = read(config, RetryOnFailure::read).unwrap().unwrap();
            assert_eq!(retry.statuses.to_string(), expected);
        };
        check(Value::Null, "4xx, 5xx");
        check(json!(["429", "50[0-3]", "59."]), "429, 500-503, 590-599");
        check(json!(["2.*", "3"]), "201-299, 3xx");
        check(json!(["000"]), "");
    }

    #[test]
    fn what_is_off_or_unset() {
        assert_eq!(read(json!({}), Failover::read).unwrap(), None);
        let off = json!({"failover": {"enabled": false, "healthCheckModel": "m"}});
        assert_eq!(read(off, Failover::read).unwrap(), None);
        let on = json!({"failover": {"enabled": "true", "healthCheckModel": "m", "failureThreshold": 0}});
        let failover = read(on, Failover::read).unwrap().unwrap();
        assert_eq!((failover.failure_threshold, failover.success_threshold), (3, 1));
        assert_eq!((failover.check_interval_ms, failover.check_timeout_ms), (5000, 5000));
        assert_eq!((failover.check_model.as_deref(), failover.cooldown_ms), (Some("m"), 0));
        let on = json!({"retryOnFailure": {"enabled": true, "maxRetries": "4"}});
        let retry = read(on, RetryOnFailure::read).unwrap().unwrap();
        assert_eq!((retry.max_retries, retry.timeout_ms), (4, 30_000));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_path() {
        let wrong = json!({"failover": {"enabled": true, "failoverOnStatus": ["4.*", "("]}});
        let error = read(wrong, Failover::read).unwrap_err();
        assert_eq!(error.path, "failover.failoverOnStatus[1]");
        let wrong = json!({"retryOnFailure": {"enabled": true, "maxRetries": -1}});
        assert_eq!(
            read(wrong, RetryOnFailure::read).unwrap_err().path,
            "retryOnFailure.maxRetries"
        );
    }
}
