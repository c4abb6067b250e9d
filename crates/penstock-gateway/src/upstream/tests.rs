use super::*;

#[test]
fn who_left_no_time_is_to_blame() {
    let check = |ends_in_s: Option<u64>, sent_s: u64, waited_s: u64, lacks_body, expected| {
        let now = Instant::now();
        let limits = SendLimits {
            first_byte_timeout: Duration::from_secs(8),
            idle_timeout: Duration::ZERO,
            ends_at: ends_in_s.map(|seconds| now + Duration::from_secs(seconds)),
        };
        let began = now - Duration::from_secs(sent_s + waited_s);
        let written_at = began + Duration::from_secs(sent_s);
        let error = limits.blame(&Sent { began, written_at, lacks_body });
        assert_eq!((error.kind, error.side), expected);
        assert_eq!(error.cause.is_some(), ends_in_s == Some(0));
    };
    let (late, stalled) = (ErrorKind::UpstreamTimeout, ErrorKind::BodyTimeout);
    check(None, 0, 8, false, (late, Side::Upstream));
    check(Some(60), 7, 8, false, (late, Side::Upstream));
    check(Some(0), 2, 3, false, (late, Side::Upstream));
    check(Some(0), 3, 2, false, (late, Side::Client));
    check(Some(0), 0, 3, true, (stalled, Side::Client));
}
