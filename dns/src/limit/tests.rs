//! Who is limited, and when again not.

use super::*;

const SECOND: u64 = MICROS_PER_SECOND;

fn limiter(per_second: u32, slip: u32) -> Limiter {
    Limiter::new(RateLimit { per_second, slip }, 0x5eed)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sent(limiter: &Limiter, from: &str, kind: Kind, now_us: u64, times: u32) -> usize {
    (0..times)
        .filter(|_| limiter.check(ip(from), kind, now_us) == Verdict::Send)
        .count()
}

#[test]
fn a_second_s_worth_is_sent_and_then_the_rate() {
    let limiter = limiter(10, 0);
    assert_eq!(sent(&limiter, "192.0.2.1", Kind::Data, SECOND, 100), 10);
    assert_eq!(
        sent(&limiter, "192.0.2.1", Kind::Data, SECOND + SECOND / 10, 100),
        1
    );
    assert_eq!(
        sent(&limiter, "192.0.2.1", Kind::Data, SECOND + SECOND / 2, 100),
        4
    );
    assert_eq!(
        sent(&limiter, "192.0.2.1", Kind::Data, 60 * SECOND, 100),
        10
    );
}

#[test]
fn a_network_is_one_source_and_others_are_not_touched() {
    let limiter = limiter(5, 0);
    assert_eq!(sent(&limiter, "192.0.2.1", Kind::Data, 0, 5), 5);
    assert_eq!(sent(&limiter, "192.0.2.254", Kind::Data, 0, 5), 0);
    assert_eq!(sent(&limiter, "192.0.3.1", Kind::Data, 0, 5), 5);
    assert_eq!(sent(&limiter, "2001:db8:0:100::1", Kind::Data, 0, 5), 5);
    assert_eq!(
        sent(&limiter, "2001:db8:0:1ff:ffff::1", Kind::Data, 0, 5),
        0
    );
    assert_eq!(sent(&limiter, "2001:db8:0:200::1", Kind::Data, 0, 5), 5);
    assert_eq!(sent(&limiter, "::ffff:192.0.2.9", Kind::Data, 0, 5), 0);
}

#[test]
fn kinds_are_counted_apart() {
    let limiter = limiter(5, 0);
    for kind in [Kind::NoName, Kind::NoData, Kind::Error, Kind::Data] {
        assert_eq!(sent(&limiter, "192.0.2.1", kind, 0, 9), 5, "{kind:?}");
    }
}

#[test]
fn every_nth_over_the_limit_is_truncated() {
    for (slip, expected) in [(0, 0), (1, 12), (2, 6), (3, 4)] {
        let limiter = limiter(1, slip);
        assert_eq!(limiter.check(ip("192.0.2.1"), Kind::Data, 0), Verdict::Send);
        let over: Vec<_> = (0..12)
            .map(|_| limiter.check(ip("192.0.2.1"), Kind::Data, 0))
            .collect();
        let truncated = over.iter().filter(|v| **v == Verdict::Truncate).count();
        assert_eq!(truncated, expected, "slip {slip}");
        assert!(!over.contains(&Verdict::Send));
    }
}

#[test]
fn a_flood_from_everywhere_keeps_the_table_and_the_limit_of_each_bounded() {
    let limiter = limiter(2, 0);
    let slots = SHARDS * SETS_PER_SHARD * WAYS;
    for network in 0..u32::try_from(slots * 4).unwrap() {
        let from = IpAddr::from((network << 8).to_be_bytes());
        limiter.check(from, Kind::Data, u64::from(network));
    }
    let held: usize = limiter
        .shards
        .iter()
        .map(|s| s.lock().unwrap().len() * WAYS)
        .sum();
    assert_eq!(held, slots);
    // A network seen now is limited as ever, and so is any other.
    assert_eq!(sent(&limiter, "198.51.100.7", Kind::Data, SECOND, 50), 2);
}

#[test]
fn a_rate_above_the_clock_s_resolution_does_not_divide_by_zero() {
    let limiter = limiter(u32::MAX, 2);
    assert_eq!(sent(&limiter, "192.0.2.1", Kind::Data, 0, 1000), 1000);
    let none = Limiter::new(
        RateLimit {
            per_second: 0,
            slip: 2,
        },
        1,
    );
    assert_eq!(none.check(ip("192.0.2.1"), Kind::Data, 0), Verdict::Send);
}

proptest::proptest! {
    #[test]
    fn no_source_gets_more_than_burst_plus_rate(
        steps in proptest::collection::vec(0_u64..50_000, 1..400),
        per_second in 1_u32..100,
    ) {
        let limiter = limiter(per_second, 2);
        let mut now = 0;
        let mut sent = 0_u64;
        for step in steps {
            now += step;
            if limiter.check(ip("192.0.2.1"), Kind::Data, now) == Verdict::Send {
                sent += 1;
            }
        }
        let cost = (SECOND / u64::from(per_second)).max(1);
        proptest::prop_assert!(sent <= SECOND / cost + now / cost + 1);
    }
}
