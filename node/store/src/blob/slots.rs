//! How many transfers may be under way: in all, and of one user, so that none takes every place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homecore_types::UserId;

use crate::error::StoreError;

/// The places.
#[derive(Debug)]
pub(super) struct Slots {
    what: &'static str,
    most: usize,
    most_per_user: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    users: BTreeMap<UserId, usize>,
}

impl Slots {
    pub(super) fn new(what: &'static str, most: usize, most_per_user: usize) -> Arc<Self> {
        Arc::new(Self {
            what,
            most,
            most_per_user,
            taken: Mutex::default(),
        })
    }

    /// Takes a place, or refuses at once.
    pub(super) fn take(self: &Arc<Self>, user: &UserId) -> Result<Slot, StoreError> {
        let mut taken = self.lock();
        let of_user = taken.users.get(user).copied().unwrap_or(0);
        if taken.all >= self.most || of_user >= self.most_per_user {
            return Err(StoreError::Busy { what: self.what });
        }
        taken.all += 1;
        taken.users.insert(user.clone(), of_user + 1);
        drop(taken);
        Ok(Slot {
            slots: Arc::clone(self),
            user: user.clone(),
        })
    }

    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    user: UserId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all = taken.all.saturating_sub(1);
        match taken.users.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.users.remove(&self.user);
            }
        }
    }
}
