//! Open handles of users: the least recently used go first when there are too many, and all go
//! when idle. Only those used last keep their memory meanwhile (`node/adr/0021`). Handles are taken out
//! while in use, so that nothing in use is ever closed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use homecore_types::UserId;

/// A handle that can do with less memory while it waits.
pub(super) trait Rests: Sized {
    /// Gives back memory. Runs under a lock: it may not wait for the disk. Returns what is to be closed.
    fn rest(&mut self) -> Option<Self>;
}

/// Handles that wait for their next use.
#[derive(Debug)]
pub(super) struct Handles<T> {
    most: usize,
    awake_most: usize,
    uses: u64,
    users: BTreeMap<UserId, Held<T>>,
    /// The same, by age.
    order: BTreeMap<u64, UserId>,
    /// Those of them that do not rest.
    awake: BTreeMap<u64, UserId>,
}

#[derive(Debug)]
struct Held<T> {
    handle: T,
    used: u64,
    used_at: Instant,
}

impl<T: Rests> Handles<T> {
    /// Holds at most `most`, at least one; those put here last, at most `awake_most`, do not rest.
    pub(super) fn new(most: usize, awake_most: usize) -> Self {
        Self {
            most: most.max(1),
            awake_most,
            uses: 0,
            users: BTreeMap::new(),
            order: BTreeMap::new(),
            awake: BTreeMap::new(),
        }
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// The handle of a user, to use or to close.
    pub(super) fn take(&mut self, user: &UserId) -> Option<T> {
        let held = self.users.remove(user)?;
        self.order.remove(&held.used);
        self.awake.remove(&held.used);
        Some(held.handle)
    }

    /// A handle after use. Returns what is too much now, to be closed.
    pub(super) fn put(&mut self, user: UserId, handle: T) -> Vec<(UserId, T)> {
        let mut closing = Vec::new();
        if let Some(former) = self.take(&user) {
            closing.push((user.clone(), former));
        }
        self.uses += 1;
        self.order.insert(self.uses, user.clone());
        self.awake.insert(self.uses, user.clone());
        self.users.insert(
            user,
            Held {
                handle,
                used: self.uses,
                used_at: Instant::now(),
            },
        );
        while self.users.len() > self.most {
            closing.extend(self.take_oldest());
        }
        while self.awake.len() > self.awake_most {
            closing.extend(self.rest_oldest());
        }
        closing
    }

    /// At most `most` handles that were not used for `idle`, to be closed.
    pub(super) fn take_idle(&mut self, idle: Duration, most: usize) -> Vec<(UserId, T)> {
        let mut closing = Vec::new();
        while closing.len() < most && self.oldest_age().is_some_and(|age| age >= idle) {
            closing.extend(self.take_oldest());
        }
        closing
    }

    /// All of them, to be closed.
    pub(super) fn take_all(&mut self) -> Vec<(UserId, T)> {
        self.order.clear();
        self.awake.clear();
        std::mem::take(&mut self.users)
            .into_iter()
            .map(|(user, held)| (user, held.handle))
            .collect()
    }

    fn oldest_age(&self) -> Option<Duration> {
        let (_, user) = self.order.first_key_value()?;
        Some(self.users.get(user)?.used_at.elapsed())
    }

    fn take_oldest(&mut self) -> Option<(UserId, T)> {
        let (used, user) = self.order.pop_first()?;
        self.awake.remove(&used);
        let held = self.users.remove(&user)?;
        Some((user, held.handle))
    }

    /// Has the one rest that was used longest ago. Returns what is to be closed.
    fn rest_oldest(&mut self) -> Option<(UserId, T)> {
        let (_, user) = self.awake.pop_first()?;
        let closing = self.users.get_mut(&user)?.handle.rest()?;
        Some((user, closing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never rests.
    impl Rests for i32 {
        fn rest(&mut self) -> Option<Self> {
            None
        }
    }

    /// A number for each part, 0 for one that rests; all but the first are closed then.
    impl Rests for Vec<i32> {
        fn rest(&mut self) -> Option<Self> {
            let more = self.split_off(1);
            self[0] = 0;
            (!more.is_empty()).then_some(more)
        }
    }

    fn user(letter: char) -> UserId {
        UserId::parse(letter.to_string().repeat(24)).unwrap()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut handles = Handles::new(2, 2);
        assert!(handles.put(user('a'), 1).is_empty());
        assert!(handles.put(user('b'), 2).is_empty());
        let a = handles.take(&user('a')).unwrap();
        assert!(handles.put(user('a'), a).is_empty());
        assert_eq!(handles.put(user('c'), 3), vec![(user('b'), 2)]);
        assert_eq!(handles.len(), 2);
        assert_eq!(handles.take(&user('b')), None);
    }

    #[test]
    fn a_second_handle_replaces_the_first() {
        let mut handles = Handles::new(2, 2);
        assert!(handles.put(user('a'), 1).is_empty());
        assert_eq!(handles.put(user('a'), 2), vec![(user('a'), 1)]);
        assert_eq!(handles.take(&user('a')), Some(2));
        assert_eq!(handles.len(), 0);
    }

    #[test]
    fn idle_ones_are_closed_a_few_at_a_time() {
        let mut handles = Handles::new(9, 9);
        for (letter, handle) in [('a', 1), ('b', 2), ('c', 3)] {
            assert!(handles.put(user(letter), handle).is_empty());
        }
        assert!(handles.take_idle(Duration::from_secs(3_600), 9).is_empty());
        let both = vec![(user('a'), 1), (user('b'), 2)];
        assert_eq!(handles.take_idle(Duration::ZERO, 2), both);
        assert_eq!(handles.take_all(), vec![(user('c'), 3)]);
        assert!(handles.take_idle(Duration::ZERO, 2).is_empty());
    }

    #[test]
    fn only_those_used_last_are_awake() {
        let mut handles = Handles::new(4, 2);
        assert!(handles.put(user('a'), vec![1, 2, 3]).is_empty());
        assert!(handles.put(user('b'), vec![4]).is_empty());
        assert_eq!(
            handles.put(user('c'), vec![5]),
            vec![(user('a'), vec![2, 3])]
        );
        // Whoever is used stays awake, and takes no other's place.
        let b = handles.take(&user('b')).unwrap();
        assert!(handles.put(user('b'), b).is_empty());
        assert!(handles.put(user('d'), vec![6]).is_empty());
        assert_eq!(handles.awake.len(), 2);
        assert_eq!(handles.take(&user('c')), Some(vec![0]));
        assert_eq!(handles.take(&user('b')), Some(vec![4]));
        assert_eq!(handles.take_idle(Duration::ZERO, 9).len(), 2);
        assert_eq!((handles.len(), handles.awake.len()), (0, 0));
    }

    #[test]
    fn all_may_rest_and_none() {
        let mut resting = Handles::new(2, 0);
        assert_eq!(resting.put(user('a'), vec![1, 2])[0].1, [2]);
        assert_eq!(resting.take(&user('a')), Some(vec![0]));
        let mut awake = Handles::new(1, usize::MAX);
        assert!(awake.put(user('a'), vec![1, 2]).is_empty());
        assert_eq!(awake.put(user('b'), vec![3])[0].1, [1, 2]);
        assert_eq!(awake.awake.len(), 1);
    }
}
