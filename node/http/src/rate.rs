//! How often one client, or anybody for one user, may do the things that cost or reveal something:
//! log in, register, ask whether a name is taken, poll.
//!
//! A token bucket for each (rule, key), in a table of bounded size. The table has two generations:
//! when the young one is full it becomes the old one and the old one is forgotten, so that
//! unused keys go and memory never grows, without a sweeper. A forgotten key starts afresh with a
//! full bucket: an attacker with very many addresses gains little by that, and the table cannot be
//! used to exhaust memory.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homecore_types::{Clock, ErrorId, Millis};

use crate::error::ApiError;

/// Keys of one generation.
const GENERATION_KEYS_MAX: usize = 50_000;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// Log-ins from one address.
    LoginByClient,
    /// Log-ins as one user.
    LoginByUser,
    /// Codes sent to one user.
    MfaSend,
    /// Codes tried for one user.
    MfaTry,
    /// Requests for a password reset from one address.
    ResetByClient,
    /// Requests for a password reset of one user.
    ResetByUser,
    /// Registrations from one address.
    Registration,
    /// Questions whether a name or an address is taken, and look-ups of users.
    Lookup,
    /// New access requests from one address.
    AccessRequest,
    /// Polls and answers of access requests from one address.
    AccessPoll,
    /// Changes of one user's account that the cores have to agree on.
    AccountChange,
    /// Keys of shared secrets that are presented from one address.
    SharedSecret,
    /// Calls on one user with no token that opens anything, as far as they are noted.
    Stranger,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRule {
    /// At once, after a rest.
    pub burst: u32,
    /// In the long run.
    pub per_second: f64,
}

/// Who is limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RateKey {
    /// A client's address; IPv6 by its /64, which one household or host has.
    Client(IpAddr),
    /// A user's name, or the id where a change of name makes no difference.
    User(Box<str>),
}

impl RateKey {
    /// The key of an address.
    #[must_use]
    pub fn client(address: IpAddr) -> Self {
        Self::Client(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Millis,
}

#[derive(Debug, Default)]
struct Table {
    young: BTreeMap<(Rate, RateKey), Bucket>,
    old: BTreeMap<(Rate, RateKey), Bucket>,
}

/// The rules and who used how much of them.
#[derive(Debug)]
pub struct RateLimits {
    clock: Arc<dyn Clock>,
    rules: BTreeMap<Rate, RateRule>,
    table: Mutex<Table>,
    generation_keys_max: usize,
}

impl RateLimits {
    /// These rules; what has no rule is not limited.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, rules: BTreeMap<Rate, RateRule>) -> Self {
        Self {
            clock,
            rules,
            table: Mutex::default(),
            generation_keys_max: GENERATION_KEYS_MAX,
        }
    }

    /// No limits.
    #[must_use]
    pub fn disabled(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, BTreeMap::new())
    }

    /// Rules that no person notices and that make guessing slow. Many users may stand behind one
    /// address, hence the large bursts of the rules by address. Access requests stay on the platform
    /// for an hour and their number is bounded: at this rate one address has at most 770 of them
    /// pending, under a hundredth of what there is room for.
    #[must_use]
    pub fn default_rules() -> BTreeMap<Rate, RateRule> {
        let rule = |burst, per_second| RateRule { burst, per_second };
        BTreeMap::from([
            (Rate::LoginByClient, rule(500, 20.0)),
            (Rate::LoginByUser, rule(60, 1.0)),
            // Codes have four digits: whoever knows a password and tries all day is right once a month.
            (Rate::MfaSend, rule(10, 0.005)),
            (Rate::MfaTry, rule(20, 0.004)),
            (Rate::ResetByClient, rule(100, 1.0)),
            (Rate::ResetByUser, rule(10, 0.05)),
            (Rate::Registration, rule(2_000, 50.0)),
            (Rate::Lookup, rule(2_000, 100.0)),
            (Rate::AccessRequest, rule(50, 0.2)),
            (Rate::AccessPoll, rule(2_000, 200.0)),
            (Rate::AccountChange, rule(10, 1.0)),
            (Rate::SharedSecret, rule(100, 1.0)),
            // So many entries of a log nobody could write who has no token.
            (Rate::Stranger, rule(60, 0.1)),
        ])
    }

    /// Takes one token.
    ///
    /// # Errors
    /// 429 `too-many-requests` with the time until the next token.
    pub fn take(&self, rate: Rate, key: RateKey) -> Result<(), ApiError> {
        let Some(rule) = self.rules.get(&rate) else {
            return Ok(());
        };
        let now = self.clock.now();
        let full = f64::from(rule.burst.max(1));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (rate, key);
        if !table.young.contains_key(&key) {
            let known = table.old.remove(&key);
            if table.young.len() >= self.generation_keys_max {
                table.old = std::mem::take(&mut table.young);
            }
            table.young.insert(
                key.clone(),
                known.unwrap_or(Bucket {
                    tokens: full,
                    at: now,
                }),
            );
        }
        let Some(bucket) = table.young.get_mut(&key) else {
            return Ok(());
        };
        let rested = now.since(bucket.at).as_secs_f64() * rule.per_second;
        bucket.tokens = (bucket.tokens + rested).min(full);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - bucket.tokens) / rule.per_second.max(0.001);
        Err(ApiError::new(
            ErrorId::TooManyRequests,
            "Too many requests of this kind; slow down",
        )
        .retry_after(Duration::from_secs_f64(wait.clamp(0.0, 3_600.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Debug, Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Millis {
            Millis(self.0.load(Ordering::SeqCst))
        }
    }

    fn limits(burst: u32, per_second: f64) -> (Arc<Hand>, RateLimits) {
        let clock = Arc::new(Hand::default());
        let rules = BTreeMap::from([(Rate::Lookup, RateRule { burst, per_second })]);
        (Arc::clone(&clock), RateLimits::new(clock, rules))
    }

    fn client(last: u8) -> RateKey {
        RateKey::client(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let (clock, limits) = limits(3, 2.0);
        for _ in 0..3 {
            limits.take(Rate::Lookup, client(1)).unwrap();
        }
        let error = limits.take(Rate::Lookup, client(1)).unwrap_err();
        assert_eq!((error.id, error.status()), (ErrorId::TooManyRequests, 429));
        assert_eq!(error.retry_after, Some(Duration::from_millis(500)));
        limits
            .take(Rate::Lookup, client(2))
            .expect("another client has its own bucket");
        limits
            .take(Rate::LoginByUser, client(1))
            .expect("what has no rule is free");

        clock.0.store(500, Ordering::SeqCst);
        limits.take(Rate::Lookup, client(1)).unwrap();
        limits.take(Rate::Lookup, client(1)).unwrap_err();

        clock.0.store(3_600_000, Ordering::SeqCst);
        for _ in 0..3 {
            limits.take(Rate::Lookup, client(1)).unwrap();
        }
        limits
            .take(Rate::Lookup, client(1))
            .expect_err("a long rest fills one bucket, no more");
        clock.0.store(0, Ordering::SeqCst);
        limits
            .take(Rate::Lookup, client(1))
            .expect_err("a clock set back gives nothing");
    }

    #[test]
    fn the_table_is_bounded_and_keeps_those_in_use() {
        let (_, mut limits) = limits(1, 0.001);
        limits.generation_keys_max = 10;
        limits.take(Rate::Lookup, client(0)).unwrap();
        for last in 1..=200 {
            limits.take(Rate::Lookup, client(last)).unwrap();
            limits
                .take(Rate::Lookup, client(0))
                .expect_err("still empty");
            let table = limits.table.lock().unwrap();
            assert!(table.young.len() <= 10 && table.old.len() <= 10);
        }
    }

    #[test]
    fn addresses_of_one_host_share_a_key() {
        let key = |text: &str| RateKey::client(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
