//! Where users live, as far as this client has learnt: a bounded map that forgets what was unused
//! for longest.

use std::collections::BTreeMap;

use homecore_types::Username;
use url::Url;

#[derive(Debug)]
pub(crate) struct Homes {
    max: usize,
    /// Counts uses; the smallest number in `by_use` is the entry unused for longest.
    uses: u64,
    by_user: BTreeMap<Username, (u64, Url)>,
    by_use: BTreeMap<u64, Username>,
}

impl Homes {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            uses: 0,
            by_user: BTreeMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// The home of a user, if it is remembered; the entry counts as used.
    pub(crate) fn find(&mut self, user: &Username) -> Option<Url> {
        let (used, home) = self.by_user.get_mut(user)?;
        self.uses += 1;
        self.by_use.remove(used);
        *used = self.uses;
        self.by_use.insert(self.uses, user.clone());
        Some(home.clone())
    }

    pub(crate) fn remember(&mut self, user: &Username, home: Url) {
        self.remove(user);
        self.uses += 1;
        self.by_user.insert(user.clone(), (self.uses, home));
        self.by_use.insert(self.uses, user.clone());
        while self.by_user.len() > self.max {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            self.by_user.remove(&oldest);
        }
    }

    /// Forgets a home that proved wrong, unless another request has learnt a newer one since.
    pub(crate) fn forget(&mut self, user: &Username, home: &Url) {
        if self
            .by_user
            .get(user)
            .is_some_and(|(_, known)| known == home)
        {
            self.remove(user);
        }
    }

    fn remove(&mut self, user: &Username) {
        if let Some((used, _)) = self.by_user.remove(user) {
            self.by_use.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> Username {
        Username::parse(format!("user-{n}")).unwrap()
    }

    fn home(n: usize) -> Url {
        Url::parse(&format!("http://core-{n}/")).unwrap()
    }

    #[test]
    fn forgets_what_was_unused_for_longest() {
        let mut homes = Homes::new(2);
        homes.remember(&user(1), home(1));
        homes.remember(&user(2), home(2));
        assert_eq!(homes.find(&user(1)), Some(home(1)));
        homes.remember(&user(3), home(3));
        assert_eq!(homes.find(&user(2)), None);
        assert_eq!(homes.find(&user(1)), Some(home(1)));
        assert_eq!(homes.find(&user(3)), Some(home(3)));
    }

    #[test]
    fn stays_bounded_whatever_is_asked() {
        let mut homes = Homes::new(3);
        for n in 0..100 {
            homes.remember(&user(n % 7), home(n));
            homes.find(&user(n % 5));
            if n % 4 == 0 {
                homes.forget(&user(n % 7), &home(n));
            }
            assert!(homes.by_user.len() <= 3);
            assert_eq!(homes.by_user.len(), homes.by_use.len());
        }
        let mut none = Homes::new(0);
        none.remember(&user(1), home(1));
        assert_eq!(none.find(&user(1)), None);
    }

    #[test]
    fn a_newer_home_is_not_forgotten_for_an_older_one() {
        let mut homes = Homes::new(2);
        homes.remember(&user(1), home(2));
        homes.forget(&user(1), &home(1));
        assert_eq!(homes.find(&user(1)), Some(home(2)));
        homes.forget(&user(1), &home(2));
        assert_eq!(homes.find(&user(1)), None);
    }
}
