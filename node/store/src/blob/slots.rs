//! How many transfers may be under way: in all, and of one user, so that none takes every place.
//!
//! A client that stops reading would hold its place for as long as its connection lives. So where no
//! place is left, the transfer that stood still the longest loses its own, if it was long enough;
//! it finds out when it goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use homecore_types::UserId;

use crate::error::StoreError;

/// The places.
#[derive(Debug)]
pub(super) struct Slots {
    what: &'static str,
    most: usize,
    most_per_user: usize,
    /// A transfer that stood still for this long may lose its place.
    idle: Duration,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    holders: BTreeMap<u64, Holder>,
    users: BTreeMap<UserId, usize>,
}

#[derive(Debug)]
struct Holder {
    user: UserId,
    used_at: Instant,
}

impl Taken {
    fn of_user(&self, user: &UserId) -> usize {
        self.users.get(user).copied().unwrap_or(0)
    }

    fn remove(&mut self, number: u64) {
        let Some(Holder { user, .. }) = self.holders.remove(&number) else {
            return;
        };
        match self.users.get_mut(&user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.users.remove(&user);
            }
        }
    }

    /// Takes the place of the one that stood still the longest, of one user or of all.
    fn evict(&mut self, user: Option<&UserId>, idle: Duration) {
        let candidates = self.holders.iter().filter(|(_, holder)| {
            holder.used_at.elapsed() >= idle && user.is_none_or(|user| holder.user == *user)
        });
        let longest = candidates.min_by_key(|(_, holder)| holder.used_at);
        if let Some(number) = longest.map(|(number, _)| *number) {
            self.remove(number);
        }
    }
}

impl Slots {
    pub(super) fn new(
        what: &'static str,
        most: usize,
        most_per_user: usize,
        idle: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            what,
            most,
            most_per_user,
            idle,
            taken: Mutex::default(),
        })
    }

    /// Takes a place, or refuses at once.
    pub(super) fn take(self: &Arc<Self>, user: &UserId) -> Result<Slot, StoreError> {
        let mut taken = self.lock();
        if taken.of_user(user) >= self.most_per_user {
            taken.evict(Some(user), self.idle);
        }
        if taken.holders.len() >= self.most {
            taken.evict(None, self.idle);
        }
        let of_user = taken.of_user(user);
        if taken.holders.len() >= self.most || of_user >= self.most_per_user {
            return Err(StoreError::Busy { what: self.what });
        }
        let number = taken.next;
        taken.next += 1;
        let holder = Holder {
            user: user.clone(),
            used_at: Instant::now(),
        };
        taken.holders.insert(number, holder);
        taken.users.insert(user.clone(), of_user + 1);
        drop(taken);
        Ok(Slot {
            slots: Arc::clone(self),
            number,
        })
    }

    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().holders.len()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
}

impl Slot {
    /// Says that the transfer goes on.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if it stood still for so long that another has its place.
    pub(super) fn go_on(&self) -> Result<(), StoreError> {
        let mut taken = self.slots.lock();
        match taken.holders.get_mut(&self.number) {
            Some(holder) => {
                holder.used_at = Instant::now();
                Ok(())
            }
            None => Err(StoreError::Busy {
                what: self.slots.what,
            }),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().remove(self.number);
    }
}
