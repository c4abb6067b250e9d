use std::sync::Arc;

use super::*;
use crate::settings::Settings;
use crate::state::Kept;

fn set(count: u16, outliers: Outliers) -> EndpointSet {
    let settings = Settings { outliers, ..Settings::default() };
    let addresses: Vec<SocketAddr> =
        (1..=count).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
    Arc::new(Kept::new("deck.static".into(), &settings)).endpoints(&addresses)
}

fn fail(set: &EndpointSet, at: usize, times: u32, now_ms: u64) {
    for _ in 0..times {
        set.fail(&set.endpoints[at], Outcome::Timeout, now_ms);
    }
}

fn ejected(set: &EndpointSet) -> usize {
    set.count(EJECTED)
}

#[test]
fn only_what_speaks_against_the_endpoint_is_a_failure() {
    let check = |status: u16, expected: bool| {
        let outcome = Outcome::of_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(outcome.is_failure(), expected, "{status}");
    };
    for status in [101, 200, 304, 400, 401, 404, 429, 500, 501, 505, 529, 599] {
        check(status, false);
    }
    for status in [502, 503, 504] {
        check(status, true);
    }
    let check = |kind: ErrorKind, expected: Option<&str>| {
        let outcome = Outcome::of_error(&GatewayError::new(kind));
        assert_eq!(outcome.map(|outcome| OUTCOMES[outcome as usize]), expected, "{kind:?}");
        assert!(outcome.is_none_or(Outcome::is_failure));
    };
    check(ErrorKind::ConnectFailed, Some("connect_failed"));
    check(ErrorKind::TlsFailed, Some("tls_failed"));
    check(ErrorKind::UpstreamClosed, Some("upstream_closed"));
    check(ErrorKind::UpstreamInvalid, Some("upstream_invalid"));
    check(ErrorKind::UpstreamTimeout, Some("upstream_timeout"));
    check(ErrorKind::ClientClosed, None);
    check(ErrorKind::ServiceBusy, None);
    check(ErrorKind::UpgradeRefused, None);
}

#[test]
fn so_many_in_a_row_and_no_fewer() {
    let set = set(3, Outliers::default());
    let endpoint = &set.endpoints[0];
    for _ in 0..3 {
        fail(&set, 0, 4, 0);
        set.note(endpoint, Outcome::Success);
    }
    assert_eq!(ejected(&set), 0);
    fail(&set, 0, 5, 0);
    assert_eq!((ejected(&set), endpoint.ejections()), (1, 1));
    let reason = endpoint.reason().unwrap();
    assert!(reason.contains("upstream_timeout"), "{reason}");
}

#[test]
fn no_more_are_left_than_may_be_and_never_all() {
    let check = |count: u16, percent_max: u8, expected: usize| {
        let set = set(count, Outliers { percent_max, ..Outliers::default() });
        for at in 0..usize::from(count) {
            fail(&set, at, 20, 0);
        }
        assert_eq!(ejected(&set), expected, "{count} {percent_max}");
    };
    check(1, 100, 0);
    check(2, 0, 1);
    check(2, 100, 1);
    check(3, 50, 1);
    check(4, 50, 2);
    check(10, 30, 3);
    check(10, 100, 9);
    let never = set(3, Outliers { failures: 0, ..Outliers::default() });
    fail(&never, 0, 1000, 0);
    assert_eq!(ejected(&never), 0);
}

#[test]
fn it_comes_back_on_probation_and_is_left_for_longer_each_time() {
    let set = set(3, Outliers::default());
    let endpoint = &set.endpoints[0];
    let outliers = Outliers::default();
    let mut now_ms = 0;
    fail(&set, 0, 5, now_ms);
    for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
        endpoint.refresh(&outliers, Duration::ZERO, now_ms + seconds * 1000 - 1);
        assert!(!endpoint.is_fit(), "{seconds}");
        now_ms += seconds * 1000;
        endpoint.refresh(&outliers, Duration::ZERO, now_ms);
        assert!(endpoint.is_fit(), "{seconds}");
        fail(&set, 0, 1, now_ms);
    }
    // An answer ends the probation; time makes the next one shorter.
    now_ms += 300_000;
    endpoint.refresh(&outliers, Duration::ZERO, now_ms);
    set.note(endpoint, Outcome::ClientError);
    fail(&set, 0, 4, now_ms);
    assert!(endpoint.is_fit());
    now_ms += 30_000 * 11;
    assert_eq!(endpoint.ejection_ms(&outliers, now_ms), (2, 60_000));
    assert_eq!(endpoint.ejection_ms(&outliers, now_ms + 3_600_000), (1, 30_000));
}

#[test]
fn a_share_grows_to_the_whole() {
    let window = Duration::from_secs(10);
    let set = set(2, Outliers::default());
    let endpoint = &set.endpoints[0];
    assert_eq!(endpoint.share(window, 0), 1.0);
    fail(&set, 0, 5, 0);
    endpoint.refresh(&Outliers::default(), window, 30_000);
    for (after_ms, share) in [(0, 0.1), (500, 0.1), (5_000, 0.5), (9_000, 0.9), (10_000, 1.0)] {
        assert_eq!(endpoint.share(window, 30_000 + after_ms), share, "{after_ms}");
    }
    assert!(endpoint.is_flagged());
    endpoint.refresh(&Outliers::default(), window, 40_000);
    assert!(!endpoint.is_flagged());
}

#[test]
fn checks_in_a_row_take_it_out_and_bring_it_back() {
    let set = set(2, Outliers::default());
    let endpoint = &set.endpoints[0];
    let check = |has_passed: bool, expected: Standing| {
        set.note_check(endpoint, has_passed, (3, 2));
        assert_eq!(endpoint.standing(), expected);
    };
    for (has_passed, expected) in [
        (false, Standing::Fit),
        (false, Standing::Fit),
        (true, Standing::Fit),
        (false, Standing::Fit),
        (false, Standing::Fit),
        (false, Standing::Down),
        (true, Standing::Down),
        (false, Standing::Down),
        (true, Standing::Down),
        (true, Standing::Fit),
    ] {
        check(has_passed, expected);
    }
    assert_eq!(endpoint.checks(), (4, 6));
    // All may be down: then all are tried.
    for endpoint in &set.endpoints {
        (0..3).for_each(|_| set.note_check(endpoint, false, (3, 2)));
        assert_eq!(endpoint.reason().unwrap(), "3 checks in a row failed");
    }
    assert_eq!(set.refresh(), 0);
}
