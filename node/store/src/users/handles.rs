//! Open handles of users: the least recently used go first when there are too many, and all go
//! when idle. Handles are taken out while in use, so that nothing in use is ever closed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use homecore_types::UserId;

/// Handles that wait for their next use.
#[derive(Debug)]
pub(super) struct Handles<T> {
    most: usize,
    uses: u64,
    users: BTreeMap<UserId, Held<T>>,
    /// The same, by age.
    order: BTreeMap<u64, UserId>,
}

#[derive(Debug)]
struct Held<T> {
    handle: T,
    used: u64,
    used_at: Instant,
}

impl<T> Handles<T> {
    /// Holds at most `most`, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            uses: 0,
            users: BTreeMap::new(),
            order: BTreeMap::new(),
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
        let (_, user) = self.order.pop_first()?;
        let held = self.users.remove(&user)?;
        Some((user, held.handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(letter: char) -> UserId {
        UserId::parse(letter.to_string().repeat(24)).unwrap()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut handles = Handles::new(2);
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
        let mut handles = Handles::new(2);
        assert!(handles.put(user('a'), 1).is_empty());
        assert_eq!(handles.put(user('a'), 2), vec![(user('a'), 1)]);
        assert_eq!(handles.take(&user('a')), Some(2));
        assert_eq!(handles.len(), 0);
    }

    #[test]
    fn idle_ones_are_closed_a_few_at_a_time() {
        let mut handles = Handles::new(9);
        for letter in ['a', 'b', 'c'] {
            assert!(handles.put(user(letter), letter).is_empty());
        }
        assert!(handles.take_idle(Duration::from_secs(3_600), 9).is_empty());
        let both = vec![(user('a'), 'a'), (user('b'), 'b')];
        assert_eq!(handles.take_idle(Duration::ZERO, 2), both);
        assert_eq!(handles.take_all(), vec![(user('c'), 'c')]);
        assert!(handles.take_idle(Duration::ZERO, 2).is_empty());
    }
}
