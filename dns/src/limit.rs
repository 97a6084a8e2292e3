//! Response-rate limiting: a server that answers anyone over UDP can be made to answer a victim
//! whose address is forged. Answers to one network (/24, /56) are counted by their kind; beyond
//! the rate most are dropped and every n-th is sent empty with TC set, so that a real resolver
//! behind that network comes back over TCP, where an address cannot be forged.
//!
//! The state is a table of fixed size. Each bucket is a "theoretical arrival time" (GCRA): the
//! time at which it will be full again, which needs no refilling and makes an idle bucket the same
//! as none. A bucket is found in a set of eight; in a full set the one nearest to full gives way,
//! so a flood from many networks costs precision, never memory.
//!
//! Time is handed in; nothing here reads a clock. The short lock of a shard is the only one on the
//! way of an answer.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 16;
const SETS_PER_SHARD: usize = 512;
const WAYS: usize = 8;
const MICROS_PER_SECOND: u64 = 1_000_000;

/// How many answers one network may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers of one kind to one network in a second; as many at once.
    pub per_second: u32,
    /// Every n-th answer over the limit is sent, empty and truncated; the others are dropped.
    /// 0 drops all.
    pub slip: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            per_second: 200,
            slip: 2,
        }
    }
}

/// Kinds of answers, counted apart: a flood of questions for names that do not exist must not
/// silence the answers that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has records.
    Data,
    /// The name exists, the data does not.
    NoData,
    /// The name does not exist.
    NoName,
    /// An error.
    Error,
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Send it without records and with TC set.
    Truncate,
    /// Send nothing.
    Drop,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Network and kind; 0 is free.
    key: u64,
    /// When the bucket will be full again, in microseconds.
    full_at_us: u64,
    /// Answers over the limit since it was last below.
    over: u32,
}

type Set = [Bucket; WAYS];

/// The table of buckets.
#[derive(Debug)]
pub struct Limiter {
    cost_us: u64,
    slip: u32,
    seed: u64,
    shards: Box<[Mutex<Box<[Set]>>]>,
}

impl Limiter {
    /// Takes all the memory it will ever need (some 1.5 MB). `seed` should be unknown to the
    /// outside: it decides which networks share a set.
    #[must_use]
    pub fn new(limit: RateLimit, seed: u64) -> Self {
        let shard = || Mutex::new(vec![[Bucket::default(); WAYS]; SETS_PER_SHARD].into());
        Self {
            cost_us: (MICROS_PER_SECOND / u64::from(limit.per_second.max(1))).max(1),
            slip: limit.slip,
            seed,
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    /// Counts one answer and says what to do with it. `now_us` is a time that never goes back,
    /// counted from anywhere.
    pub fn check(&self, source: IpAddr, kind: Kind, now_us: u64) -> Verdict {
        let key = key(source, kind);
        let hash = mix(key ^ self.seed);
        let Some(shard) = usize::try_from(hash >> 32)
            .ok()
            .and_then(|h| self.shards.get(h % SHARDS))
        else {
            return Verdict::Send;
        };
        // A poisoned shard is as good as before: every state of a bucket is a valid one.
        let mut sets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(hash & 0xffff_ffff).unwrap_or(0) % SETS_PER_SHARD;
        let Some(set) = sets.get_mut(index) else {
            return Verdict::Send;
        };
        let Some(bucket) = bucket_of(set, key) else {
            return Verdict::Send;
        };

        let full_at_us = bucket.full_at_us.max(now_us).saturating_add(self.cost_us);
        if full_at_us.saturating_sub(now_us) <= MICROS_PER_SECOND {
            bucket.full_at_us = full_at_us;
            bucket.over = 0;
            return Verdict::Send;
        }
        bucket.over = bucket.over.wrapping_add(1);
        if bucket.over.checked_rem(self.slip) == Some(0) {
            Verdict::Truncate
        } else {
            Verdict::Drop
        }
    }
}

/// Finds the bucket of a key, or gives it the one that is nearest to full.
fn bucket_of(set: &mut Set, key: u64) -> Option<&mut Bucket> {
    let found = set.iter().position(|bucket| bucket.key == key);
    let index = found.or_else(|| {
        let (index, _) = set
            .iter()
            .enumerate()
            .min_by_key(|(_, bucket)| bucket.full_at_us)?;
        Some(index)
    })?;
    let bucket = set.get_mut(index)?;
    if found.is_none() {
        *bucket = Bucket {
            key,
            ..Bucket::default()
        };
    }
    Some(bucket)
}

/// Network and kind in one number, without collisions: 56 bits of network, family, kind.
fn key(source: IpAddr, kind: Kind) -> u64 {
    let (network, family) = match source.to_canonical() {
        IpAddr::V4(ip) => (u64::from(u32::from(ip) >> 8), 1),
        IpAddr::V6(ip) => (u64::try_from(u128::from(ip) >> 72).unwrap_or(0), 2),
    };
    let kind = match kind {
        Kind::Data => 0,
        Kind::NoData => 1,
        Kind::NoName => 2,
        Kind::Error => 3,
    };
    (network << 8) | (family << 4) | kind
}

/// The finaliser of splitmix64: every bit of the input moves every bit of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
