//! The map from names to users: a hash table that grows a bucket at a time (Litwin, "Linear hashing", VLDB
//! 1980) over a persistent vector. A clone costs nothing and stays as it was; a change copies one small
//! bucket and the few nodes that lead to it. Where a platform has millions of names nothing that a
//! look-up touches is in the processor's caches, so it is made to touch little: two nodes of the vector
//! and the bucket, instead of every level of a tree.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use imbl::Vector;

use super::name::Name;

/// Entries of a bucket, on average, when one is split.
const LOAD: usize = 8;

/// Names with their values, in no order.
#[derive(Clone, Debug)]
pub(super) struct Table<V> {
    buckets: Vector<Arc<[(Name, V)]>>,
    len: usize,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            buckets: Vector::new(),
            len: 0,
        }
    }
}

impl<V: Clone> Table<V> {
    /// How many names there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What stands under a name.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        let bucket = self.buckets.get(self.place(name)?)?;
        let (_, value) = bucket.iter().find(|(known, _)| known.is(name))?;
        Some(value)
    }

    /// Puts a value under a name, in the place of another.
    pub(super) fn insert(&mut self, name: &str, value: V) {
        self.remove(name);
        if self.len >= self.buckets.len().saturating_mul(LOAD) {
            self.split();
        }
        let place = self.place(name);
        if let Some(bucket) = place.and_then(|place| self.buckets.get_mut(place)) {
            let new = std::iter::once((Name::new(name), value));
            *bucket = bucket.iter().cloned().chain(new).collect();
            self.len = self.len.saturating_add(1);
        }
    }

    /// Takes a name out. What stood under it; none: nothing.
    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        let place = self.place(name)?;
        // Most names that are put in are new: nothing is copied for them.
        let removed = self.get(name)?.clone();
        let bucket = self.buckets.get_mut(place)?;
        let rest = bucket.iter().filter(|(known, _)| !known.is(name));
        *bucket = rest.cloned().collect();
        self.len = self.len.saturating_sub(1);
        Some(removed)
    }

    /// Every name with its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &V)> {
        let buckets = self.buckets.iter();
        buckets.flat_map(|bucket| bucket.iter().map(|(name, value)| (name, value)))
    }

    /// Adds a bucket, and moves into it what belongs there. It all stands in one other bucket.
    fn split(&mut self) {
        let number = self.buckets.len();
        let Some(level) = number.checked_ilog2() else {
            self.buckets.push_back(Arc::new([]));
            return;
        };
        let from = number - (1 << level);
        let moves = |name: &Name| place_of(name.as_str(), number + 1) == Some(number);
        let mut moved: Arc<[(Name, V)]> = Arc::new([]);
        if let Some(bucket) = self.buckets.get_mut(from) {
            let (go, stay): (Vec<_>, Vec<_>) =
                bucket.iter().cloned().partition(|(name, _)| moves(name));
            (moved, *bucket) = (go.into(), stay.into());
        }
        self.buckets.push_back(moved);
    }

    /// The bucket of a name; none: there is none at all.
    fn place(&self, name: &str) -> Option<usize> {
        place_of(name, self.buckets.len())
    }
}

/// The bucket of a name where there are so many. The hash is the same in every process of this build, so
/// that a simulated run is the same when it is run again. Whoever makes names up that meet in one bucket
/// has to register every one of them, for one that is walked in a microsecond more.
fn place_of(name: &str, buckets: usize) -> Option<usize> {
    let level = buckets.checked_ilog2()?;
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    let hash = usize::try_from(hasher.finish() & u64::from(u32::MAX)).ok()?;
    // As many bits as there are buckets for; one less where that bucket is not there yet.
    let half = 1_usize << level;
    let wide = hash & (half * 2 - 1);
    Some(if wide < buckets {
        wide
    } else {
        hash & (half - 1)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn all(table: &Table<u32>) -> BTreeMap<String, u32> {
        let named = |(name, value): (&Name, &u32)| (name.as_str().to_owned(), *value);
        let found: BTreeMap<_, _> = table.iter().map(named).collect();
        assert_eq!(found.len(), table.len(), "each name stands there once");
        found
    }

    #[test]
    fn buckets_stay_small() {
        let mut table = Table::default();
        for n in 0..10_000 {
            table.insert(&format!("name-{n}"), n);
        }
        let sizes = || table.buckets.iter().map(|bucket| bucket.len());
        assert_eq!(sizes().sum::<usize>(), 10_000);
        assert_eq!(table.buckets.len(), 10_000 / LOAD);
        let largest = sizes().max().unwrap();
        assert!(largest < 5 * LOAD, "{largest}");
        assert!((0..10_000).all(|n| table.get(&format!("name-{n}")) == Some(&n)));
        assert_eq!(table.get("name-10000"), None);
    }

    proptest! {
        #[test]
        fn a_table_is_a_map_and_clones_stay_as_they_were(
            steps in proptest::collection::vec(("[a-d]{0,2}|[a-z0-9-]{20,60}", 0..4_u32), 0..300)
        ) {
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            let mut before = Vec::new();
            for (n, (name, kind)) in steps.iter().enumerate() {
                if *kind == 0 {
                    prop_assert_eq!(table.remove(name), model.remove(name));
                } else {
                    table.insert(name, *kind);
                    model.insert(name.clone(), *kind);
                }
                prop_assert_eq!(table.get(name), model.get(name));
                if n % 64 == 0 {
                    before.push((table.clone(), model.clone()));
                }
            }
            before.push((table, model));
            for (table, model) in &before {
                prop_assert_eq!(&all(table), model);
                for (name, _) in &steps {
                    prop_assert_eq!(table.get(name), model.get(name));
                }
            }
        }
    }
}
