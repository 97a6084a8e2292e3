//! What was found of a user of an archive.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Problems told of one user; the others are counted.
const TOLD_MAX: usize = 100;

/// Problems, the first of them told.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    told: Vec<String>,
    pub(crate) count: u64,
}

impl Problems {
    /// One more.
    pub(crate) fn add(&mut self, problem: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        if self.told.len() < TOLD_MAX {
            self.told.push(problem());
        }
    }

    fn lines(&self, head: &str) -> String {
        let mut text: String = self
            .told
            .iter()
            .map(|told| format!("\n  {head}{told}"))
            .collect();
        let told = u64::try_from(self.told.len()).unwrap_or(u64::MAX);
        if self.count > told {
            text.push_str(&format!("\n  {head}… and {} more", self.count - told));
        }
        text
    }

    fn json(&self) -> Value {
        json!({ "count": self.count, "first": self.told })
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) user_id: String,
    pub(crate) username: String,
    /// By what they are, in the order of names.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) file_bytes: u64,
    /// How much the archive lacks: it was damaged when it was exported, and left out.
    pub(crate) lacks: u64,
    /// What has no place here.
    pub(crate) left_out: BTreeMap<&'static str, u64>,
    /// Things to know of records that are taken.
    pub(crate) notes: Problems,
    /// Records that cannot be taken.
    pub(crate) damage: Problems,
    /// Why the user cannot be taken at all.
    pub(crate) broken: Option<String>,
}

impl Report {
    /// Counts one of a kind.
    pub(crate) fn count(&mut self, what: &'static str) {
        let count = self.counts.entry(what).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts one of a kind that has no place here.
    pub(crate) fn leave_out(&mut self, what: &'static str) {
        let count = self.left_out.entry(what).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether the user can be taken.
    pub(crate) fn is_good(&self, leave_out_damaged: bool) -> bool {
        self.broken.is_none() && (leave_out_damaged || self.damage.count == 0)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let list = |counts: &BTreeMap<&str, u64>| {
            let parts: Vec<String> = counts
                .iter()
                .map(|(what, n)| format!("{n} {what}"))
                .collect();
            parts.join(", ")
        };
        let mut text = format!("{} ({}): ", self.username, self.user_id);
        if self.counts.is_empty() {
            text.push_str("nothing");
        }
        text.push_str(&list(&self.counts));
        if self.file_bytes > 0 {
            text.push_str(&format!(" ({} bytes)", self.file_bytes));
        }
        if !self.left_out.is_empty() {
            text.push_str(&format!("; no place here for: {}", list(&self.left_out)));
        }
        if let Some(lacks) = lacks(self.lacks) {
            text.push_str(&format!("\n  note: {lacks}"));
        }
        text.push_str(&self.notes.lines("note: "));
        text.push_str(&self.damage.lines("cannot be taken: "));
        if let Some(broken) = &self.broken {
            text.push_str(&format!("\n  cannot be taken at all: {broken}"));
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self, leave_out_damaged: bool) -> Value {
        json!({
            "ok": self.is_good(leave_out_damaged), "userId": self.user_id,
            "username": self.username, "counts": self.counts, "fileBytes": self.file_bytes,
            "leftOut": self.left_out, "notes": self.notes.json(), "damage": self.damage.json(),
            "broken": self.broken, "damagedLeftOut": self.lacks,
        })
    }
}

/// What an archive lacks of a user, in words.
pub(crate) fn lacks(count: u64) -> Option<String> {
    (count > 0).then(|| format!("the archive is not whole: {count} damaged were left out of it"))
}
