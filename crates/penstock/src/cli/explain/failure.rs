//! What is tried where an upstream fails, in words and as JSON.

use std::fmt::Write;
use std::time::Duration;

use penstock_gateway::explain::{Failover, Fallback, OnFailure, Repeat, RetryOnFailure};
use serde_json::{Value, json};

/// Appends it for people.
pub(super) fn text(text: &mut String, of: &OnFailure) {
    // Writing to a String cannot fail.
    if of.tokens > 1 || of.failover.is_some() {
        let aside = of.failover.as_ref().map(aside).unwrap_or_default();
        let _ = writeln!(text, "tokens    {}{aside}", of.tokens);
    }
    if let Some(retry) = &of.retry {
        let _ = match of.retries {
            0 => writeln!(text, "retry     none: the provider has no other token"),
            times => {
                let (times, after) = (often(times), after(&retry.statuses.to_string()));
                let each = seconds(retry.timeout_ms);
                writeln!(text, "retry     {times} with another token{after}, each within {each}")
            }
        };
    }
    match &of.repeat {
        Some(Repeat { retry, is_allowed: true }) => {
            let mut on: Vec<String> = retry.statuses.iter().map(|s| s.as_str().into()).collect();
            if retry.on_5xx {
                on.extend(["5xx", "without an answer"].map(str::to_owned));
            }
            let limit =
                retry.try_timeout.map(|limit| format!(", each within {}", seconds_of(limit)));
            let (times, after) = (often(retry.times), after(&on.join(", ")));
            let _ = writeln!(
                text,
                "retry     {times} by the route{after}{}",
                limit.unwrap_or_default()
            );
        }
        Some(Repeat { is_allowed: false, .. }) => {
            let _ =
                writeln!(text, "retry     none by the route: the request may do something twice");
        }
        None => {}
    }
    let mut next = of.fallback.as_ref();
    while let Some(fallback) = next {
        text_of_fallback(text, fallback);
        next = fallback.fallback.as_deref();
    }
}

fn aside(failover: &Failover) -> String {
    let failures = match failover.failure_threshold {
        1 => "one failure".to_owned(),
        count => format!("{count} failures in a row"),
    };
    let mut back = Vec::new();
    if let Some(model) = &failover.check_model {
        let each = seconds(failover.check_interval_ms);
        let passed = match failover.success_threshold {
            1 => "a check".to_owned(),
            count => format!("{count} checks"),
        };
        back.push(format!("{passed} with {model}, every {each}"));
    }
    if failover.cooldown_ms > 0 {
        back.push(seconds(failover.cooldown_ms));
    }
    let back = match back.is_empty() {
        true => "never back".to_owned(),
        false => format!("back after {}", back.join(", or after ")),
    };
    format!("; put aside after {failures} ({}), {back}", failover.statuses)
}

fn often(times: u32) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

fn after(what: &str) -> String {
    if what.is_empty() { String::new() } else { format!(" after {what}") }
}

fn seconds(ms: u64) -> String {
    seconds_of(Duration::from_millis(ms))
}

fn seconds_of(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn text_of_fallback(text: &mut String, fallback: &Fallback) {
    let on = fallback.on.join(", ");
    let Some(route) = &fallback.route else {
        let _ = writeln!(text, "fallback  on {on}: no route takes what falls back");
        return;
    };
    let _ = writeln!(text, "fallback  on {on}: {route}");
    for (weight, service) in &fallback.targets {
        let _ = writeln!(text, "          {weight} % {service}");
    }
}

/// The same for programs, without the fallback.
pub(super) fn to_json(of: &OnFailure) -> Value {
    json!({
        "tokens": of.tokens,
        "failover": of.failover.as_ref().map(json_of_failover),
        "other_token": of.retry.as_ref().map(|retry| json_of_retry(retry, of.retries)),
        "retry": of.repeat.as_ref().map(json_of_repeat),
    })
}

fn json_of_failover(failover: &Failover) -> Value {
    json!({
        "failures": failover.failure_threshold,
        "statuses": failover.statuses.to_string(),
        "check_model": failover.check_model,
        "check_interval_ms": failover.check_interval_ms,
        "check_timeout_ms": failover.check_timeout_ms,
        "checks_passed": failover.success_threshold,
        "cooldown_ms": failover.cooldown_ms,
    })
}

fn json_of_retry(retry: &RetryOnFailure, times: u32) -> Value {
    json!({
        "times": times,
        "statuses": retry.statuses.to_string(),
        "timeout_ms": retry.timeout_ms,
    })
}

fn json_of_repeat(repeat: &Repeat) -> Value {
    let Repeat { retry, is_allowed } = repeat;
    json!({
        "times": if *is_allowed { retry.times } else { 0 },
        "statuses": retry.statuses.iter().map(|status| status.as_u16()).collect::<Vec<_>>(),
        "on_5xx": retry.on_5xx,
        "timeout_ms": retry.try_timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
    })
}

/// Who tries what fails, for programs.
pub(super) fn json_of_fallback(fallback: &Fallback) -> Value {
    json!({
        "on": fallback.on,
        "route": fallback.route,
        "targets": fallback.targets.iter().map(|(weight, service)| json!({
            "weight": weight,
            "service": service,
        })).collect::<Vec<_>>(),
        "fallback": fallback.fallback.as_deref().map(json_of_fallback),
    })
}
