//! What clients know: what was acknowledged has to be there, what was refused must not, and what was not
//! answered is unknown, never absent.

use std::collections::{BTreeMap, BTreeSet};

use homecore_types::{CoreId, UserId};

/// A user whose registration was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) home: CoreId,
    /// From which log index on it is there, if that is known.
    pub(crate) index: Option<u64>,
    pub(crate) end: Life,
}

/// Whether a user is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Certainly.
    Lives,
    /// Somebody asked for its end, and was not answered (yet).
    Unknown,
    /// Certainly not, from this log index on.
    Ended(u64),
}

/// The text of a label that one client writes, higher numbers later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) number: u64,
    /// From which log index on it is there.
    pub(crate) index: u64,
}

/// What clients know.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) users: BTreeMap<UserId, User>,
    /// Names that anybody ever tried to take.
    pub(crate) tried: BTreeSet<String>,
    pub(crate) texts: BTreeMap<String, Text>,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
}

impl Oracle {
    /// Who certainly has a name.
    pub(crate) fn owner(&self, name: &str) -> Option<&UserId> {
        let lives = |user: &&User| user.end == Life::Lives && user.name == name;
        self.users
            .iter()
            .find(|(_, user)| lives(user))
            .map(|(id, _)| id)
    }

    /// Users that certainly are there.
    pub(crate) fn living(&self) -> impl Iterator<Item = (&UserId, &User)> {
        self.users
            .iter()
            .filter(|(_, user)| user.end == Life::Lives)
    }

    /// Somebody asks for the end of a user.
    pub(crate) fn doubt(&mut self, id: &UserId) {
        if let Some(user) = self.users.get_mut(id)
            && user.end == Life::Lives
        {
            user.end = Life::Unknown;
        }
    }

    /// A core is being removed, and its users with it.
    pub(crate) fn doubt_home(&mut self, home: &CoreId) {
        for user in self.users.values_mut() {
            if user.home == *home && user.end == Life::Lives {
                user.end = Life::Unknown;
            }
        }
    }
}
