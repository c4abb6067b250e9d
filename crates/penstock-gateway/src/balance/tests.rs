use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::health::Standing;
use crate::settings::{Outliers, ServiceLimits, Settings};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn addresses(ports: impl IntoIterator<Item = u16>) -> Vec<SocketAddr> {
    ports.into_iter().map(address).collect()
}

fn kept(settings: &Settings) -> Arc<Kept> {
    Arc::new(Kept::new("deck.static".into(), settings))
}

fn of(count: u16, settings: &Settings) -> Arc<EndpointSet> {
    Arc::new(kept(settings).endpoints(&addresses(1..=count)))
}

fn set(count: u16) -> Arc<EndpointSet> {
    of(count, &Settings::default())
}

fn turn(set: &Arc<EndpointSet>, balance: &Balance, affinity: Option<u64>) -> Turn {
    set.clone().turn(balance, affinity, None).ok().unwrap()
}

fn ports(mut turn: Turn) -> Vec<u16> {
    std::iter::from_fn(|| turn.advance().then(|| turn.endpoint().unwrap().address.port())).collect()
}

fn first(set: &Arc<EndpointSet>, balance: &Balance, affinity: Option<u64>) -> u16 {
    ports(turn(set, balance, affinity))[0]
}

/// How often each endpoint comes first.
fn counts(set: &Arc<EndpointSet>, balance: &Balance, times: usize) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(first(set, balance, None)).or_default() += 1;
    }
    counts
}

fn fail(set: &Arc<EndpointSet>, port: u16, times: usize) {
    let endpoint = set.endpoints.iter().find(|one| one.address.port() == port).unwrap();
    for _ in 0..times {
        set.note(endpoint, Outcome::ConnectFailed);
    }
}

#[test]
fn endpoints_take_turns() {
    let set = set(3);
    let next = || ports(turn(&set, &Balance::RoundRobin, None));
    assert_eq!([next(), next(), next()], [[1, 2, 3], [2, 3, 1], [3, 1, 2]]);
    let none = of(0, &Settings::default());
    assert!(ports(turn(&none, &Balance::Random, None)).is_empty());
}

#[test]
fn the_less_busy_of_two_is_taken() {
    let set = set(2);
    let mut busy = turn(&set, &Balance::LeastRequest, None);
    assert!(busy.advance());
    let port = busy.endpoint().unwrap().address.port();
    let occupied = busy.answered(StatusCode::OK);
    for _ in 0..20 {
        assert_ne!(first(&set, &Balance::LeastRequest, None), port);
    }
    drop(occupied);
    assert!((0..200).any(|_| first(&set, &Balance::LeastRequest, None) == port));
}

#[test]
fn a_value_stays_with_its_endpoint_when_others_leave() {
    let balance = Balance::Hash(HashKey::Host);
    let (three, all) = (set(3), set(4));
    let mut counts = [0; 4];
    for value in 0..400 {
        let hash = Some(hash(&format!("value-{value}")));
        let before = first(&all, &balance, hash);
        assert_eq!(first(&all, &balance, hash), before);
        counts[usize::from(before) - 1] += 1;
        if before != 4 {
            assert_eq!(first(&three, &balance, hash), before);
        }
    }
    assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
}

#[test]
fn what_is_left_alone_comes_last_and_its_share_goes_to_all() {
    let set = set(4);
    fail(&set, 2, 5);
    assert_eq!(set.refresh(), 3);
    let next = || ports(turn(&set, &Balance::RoundRobin, None));
    assert_eq!([next(), next(), next()], [[1, 3, 4, 2], [3, 4, 1, 2], [4, 1, 3, 2]]);
    for balance in [Balance::RoundRobin, Balance::Random, Balance::LeastRequest] {
        let counts = counts(&set, &balance, 600);
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [1, 3, 4], "{balance:?}");
        assert!(counts.values().all(|count| (120..280).contains(count)), "{counts:?}");
    }
}

#[test]
fn a_hash_leaves_its_endpoint_only_while_that_is_left_alone() {
    let settings = Settings {
        outliers: Outliers { time: Duration::from_millis(1), ..Outliers::default() },
        ..Settings::default()
    };
    let set = of(4, &settings);
    let balance = Balance::Hash(HashKey::Host);
    let value = Some(hash("value"));
    let own = first(&set, &balance, value);
    fail(&set, own, 5);
    std::iter::repeat_with(|| first(&set, &balance, value)).find(|port| *port == own).unwrap();
    let endpoint = set.endpoints.iter().find(|one| one.address.port() == own).unwrap();
    assert_eq!((endpoint.standing(), endpoint.ejections()), (Standing::Fit, 1));
}

#[test]
fn the_share_of_one_that_joins_grows() {
    let settings = Settings { warm_up: Duration::from_secs(3600), ..Settings::default() };
    let kept = kept(&settings);
    let three = Arc::new(kept.endpoints(&addresses(1..=3)));
    assert!(three.endpoints.iter().all(|one| one.standing() == Standing::Fit));
    let four = Arc::new(kept.endpoints(&addresses(1..=4)));
    for balance in [Balance::RoundRobin, Balance::Random, Balance::LeastRequest] {
        let counts = counts(&four, &balance, 2000);
        // A tenth of a fourth, and what comes back to it.
        assert!((10..200).contains(&counts[&4]), "{balance:?} {counts:?}");
    }
    assert_eq!(four.endpoints[3].standing(), Standing::Warming);
}

#[test]
fn those_that_stay_are_the_same() {
    let settings = Settings::default();
    let kept = kept(&settings);
    let before = Arc::new(kept.endpoints(&addresses([1, 2, 3])));
    fail(&before, 2, 5);
    let after = Arc::new(kept.endpoints(&addresses([2, 3, 4])));
    assert!(Arc::ptr_eq(&before.endpoints[1], &after.endpoints[0]));
    assert_eq!(first(&after, &Balance::RoundRobin, None), 3);
    drop(before);
    // What left and comes back is another one.
    let again = kept.endpoints(&addresses([1, 2]));
    assert_eq!(again.endpoints[0].standing(), Standing::Fit);
    assert_eq!(again.endpoints[1].standing(), Standing::Ejected);
    // A look-up that finds none takes nothing away.
    drop((after, again));
    kept.endpoints(&[]);
    assert_eq!(kept.endpoints(&addresses([2])).endpoints[0].standing(), Standing::Ejected);
}

#[test]
fn requests_of_the_configuration_before_overlook_nothing_for_others() {
    let kept = kept(&Settings::default());
    let before = Arc::new(kept.endpoints(&addresses([1, 2])));
    let after = Arc::new(kept.endpoints(&addresses([1, 2, 3])));
    fail(&after, 3, 5);
    assert_eq!(counts(&before, &Balance::RoundRobin, 4), [(1, 2), (2, 2)].into());
    assert_eq!(counts(&after, &Balance::RoundRobin, 4), [(1, 2), (2, 2)].into());
    // Nothing of it concerns those who do not have the endpoint.
    let troubles = kept.troubles.load(Ordering::Relaxed);
    assert_eq!(before.calm_at.load(Ordering::Relaxed), troubles);
    assert_ne!(after.calm_at.load(Ordering::Relaxed), troubles);
}

#[test]
fn a_service_has_so_many_requests_and_no_more() {
    let service = ServiceLimits { requests_max: 1, ..ServiceLimits::default() };
    let set = of(1, &Settings { service, ..Settings::default() });
    let mut one = turn(&set, &Balance::RoundRobin, None);
    assert!(set.clone().turn(&Balance::RoundRobin, None, None).is_err());
    assert!(one.advance());
    let occupied = one.answered(StatusCode::OK);
    assert!(set.clone().turn(&Balance::RoundRobin, None, None).is_err());
    drop(occupied);
    assert!(set.clone().turn(&Balance::RoundRobin, None, None).is_ok());
    assert_eq!(set.endpoints[0].requests(), 0);
}

#[test]
fn a_turn_that_is_given_up_blames_the_endpoint_only_when_it_is_late() {
    let set = set(1);
    let give_up = |ends_at: Option<Instant>| {
        let mut turn = set.clone().turn(&Balance::RoundRobin, None, ends_at).ok().unwrap();
        assert!(turn.advance());
    };
    let late = || set.endpoints[0].outcomes().find(|(name, _)| *name == "upstream_timeout");
    give_up(None);
    give_up(Some(Instant::now() + Duration::from_secs(60)));
    assert_eq!(late(), Some(("upstream_timeout", 0)));
    give_up(Some(Instant::now()));
    assert_eq!(late(), Some(("upstream_timeout", 1)));
}
