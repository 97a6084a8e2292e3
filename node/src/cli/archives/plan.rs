//! How a user is sent: what the check found that is not sent as it stands.

use std::collections::{BTreeMap, BTreeSet};

use homecore_archive::Place;

/// Lines of one user that are left out.
pub(super) const LEFT_OUT_MAX: usize = 1_000_000;

/// What is left out, and what is something else than it says.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Lines, by file.
    left_out: BTreeMap<String, BTreeSet<u64>>,
    count: usize,
    /// Accesses that are former versions of others.
    heads: BTreeMap<String, String>,
}

impl Plan {
    /// Leaves a line out.
    pub(super) fn leave_out(&mut self, place: &Place) {
        let Some(line) = place.line.filter(|_| !self.is_full()) else {
            return;
        };
        let lines = self.left_out.entry(place.file.clone()).or_default();
        self.count = self.count.saturating_add(usize::from(lines.insert(line)));
    }

    /// Whether no more can be left out.
    pub(super) fn is_full(&self) -> bool {
        self.count >= LEFT_OUT_MAX
    }

    /// Whether a line is left out.
    pub(crate) fn leaves_out(&self, place: &Place) -> bool {
        let lines = self.left_out.get(&place.file);
        lines
            .zip(place.line)
            .is_some_and(|(lines, line)| lines.contains(&line))
    }

    /// Takes an access as a former version of another one.
    pub(super) fn make_former(&mut self, id: String, head: String) {
        self.heads.insert(id, head);
    }

    /// What an access is a former version of, though it does not say so.
    pub(crate) fn head_of(&self, id: &str) -> Option<&str> {
        self.heads.get(id).map(String::as_str)
    }
}
