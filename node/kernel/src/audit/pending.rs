//! Entries of calls that wrote nothing, until they are written together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homecore_store::StoreError;
use homecore_types::{ErrorId, UserId};
use tokio::sync::Notify;

use super::entry::{Draft, Entry, Source};
use super::page;
use crate::kernel::Kernel;

/// Entries of one user after which the call that made the last one waits until they are written.
const USER_ENTRIES_MAX: usize = 256;
/// The same for those of all users together.
const ENTRIES_MAX: usize = 65_536;
/// Entries of calls with no valid credential that one user may have waiting: a flood of them must not
/// fill the user's disk.
const INVALID_MAX: usize = 32;

/// What waits, by user.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: Mutex<Waiting>,
    /// Some of what was being written is written, or could not be.
    written: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    by_user: BTreeMap<UserId, Vec<Entry>>,
    count: usize,
    /// Users whose entries are being written, with how many writes.
    writing: BTreeMap<UserId, usize>,
    /// Entries for which there was no memory while nothing could be written.
    lost: u64,
}

impl Pending {
    /// Adds an entry. True if the user's entries are to be written now.
    pub(crate) fn push(&self, user: &UserId, entry: Entry) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let list = waiting.by_user.entry(user.clone()).or_default();
        if entry.access == super::INVALID {
            let invalid = list.iter().filter(|one| one.access == super::INVALID);
            if invalid.count() >= INVALID_MAX {
                return false;
            }
        }
        list.push(entry);
        let full = list.len() >= USER_ENTRIES_MAX;
        waiting.count += 1;
        full || waiting.count > ENTRIES_MAX
    }

    /// Adds an entry while nothing can be written, as far as there is memory for it.
    fn push_within(&self, user: &UserId, entry: Entry) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.count < ENTRIES_MAX {
            drop(waiting);
            self.push(user, entry);
            return;
        }
        waiting.lost = waiting.lost.saturating_add(1);
        if waiting.lost.is_power_of_two() {
            tracing::error!(
                lost = waiting.lost,
                "audit entries not written: the disk is full"
            );
        }
    }

    /// Takes what waits for a user, in the order of time, to write it.
    pub(crate) fn take(&self, user: &UserId) -> Taken<'_> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = waiting.by_user.remove(user).unwrap_or_default();
        waiting.count = waiting.count.saturating_sub(entries.len());
        *waiting.writing.entry(user.clone()).or_default() += 1;
        drop(waiting);
        entries.sort_by_key(|entry| entry.at);
        Taken {
            pending: self,
            user: user.clone(),
            entries: Arc::new(entries),
        }
    }

    /// Returns when nothing that was taken of a user's is still being written.
    async fn all_written(&self, user: &UserId) {
        loop {
            let written = self.written.notified();
            tokio::pin!(written);
            // From here on no end of a write is missed.
            written.as_mut().enable();
            let writing = {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.writing.contains_key(user)
            };
            if !writing {
                return;
            }
            written.await;
        }
    }

    /// Lets entries wait on, as far as there is room.
    fn put_back(&self, user: &UserId, entries: &[Entry]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = ENTRIES_MAX.saturating_sub(waiting.count).min(entries.len());
        if room < entries.len() {
            tracing::error!(%user, lost = entries.len() - room, "audit entries not written");
        }
        waiting.count += room;
        let list = waiting.by_user.entry(user.clone()).or_default();
        list.extend(entries.iter().take(room).cloned());
    }

    /// Users for whom something waits.
    pub(crate) fn users(&self) -> Vec<UserId> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.by_user.keys().cloned().collect()
    }
}

/// Entries that are being written. Whoever reads the log waits for them.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    pending: &'a Pending,
    user: UserId,
    entries: Arc<Vec<Entry>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut waiting = self
            .pending
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match waiting.writing.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                waiting.writing.remove(&self.user);
            }
        }
        drop(waiting);
        self.pending.written.notify_waiters();
    }
}

impl Kernel {
    /// Notes a call that wrote nothing. Waits only where much has gathered.
    pub(crate) async fn note(&self, user: &UserId, draft: Draft) {
        if self.note_now(user, draft) {
            self.flush_audit_of(user).await;
        }
    }

    /// Notes a call that was refused because its caller has no token that opens anything: `refused`
    /// is the error's id and message. Whoever calls this bounds how often.
    pub async fn note_stranger(
        &self,
        user: &UserId,
        source: Source,
        action: &str,
        refused: (ErrorId, &str),
    ) {
        let draft = Draft::anonymous(&source, super::INVALID, action, self.now());
        let (id, message) = refused;
        self.note(user, draft.refused_with(id, message)).await;
    }

    /// Notes several calls that wrote nothing.
    pub(crate) async fn note_all(&self, user: &UserId, entries: Vec<Entry>) {
        let mut full = false;
        for entry in entries {
            full |= self.gather(user, entry);
        }
        if full {
            self.flush_audit_of(user).await;
        }
    }

    /// As [`Self::note`], from where nobody can wait. True if the user's entries should be written.
    pub(crate) fn note_now(&self, user: &UserId, draft: Draft) -> bool {
        self.tell(user, draft.action(), || draft.clone());
        self.settings().audit.covers(draft.action()) && self.gather(user, draft.finish())
    }

    /// Adds an entry. True if the user's entries are to be written now.
    fn gather(&self, user: &UserId, entry: Entry) -> bool {
        if self.users().has_room() {
            return self.pending().push(user, entry);
        }
        self.pending().push_within(user, entry);
        false
    }

    /// Writes every entry that waits: to be called again and again, and before the core stops.
    pub async fn flush_audit(&self) {
        if !self.users().has_room() {
            return;
        }
        for user in self.pending().users() {
            self.flush_audit_of(&user).await;
        }
    }

    /// Writes every entry of a user's that was noted before, whoever writes it.
    pub(crate) async fn settle_audit_of(&self, user: &UserId) {
        self.flush_audit_of(user).await;
        self.pending().all_written(user).await;
    }

    /// Writes the entries that wait for a user.
    pub(crate) async fn flush_audit_of(&self, user: &UserId) {
        let taken = self.pending().take(user);
        let entries = Arc::clone(&taken.entries);
        if entries.is_empty() {
            return;
        }
        let (context, writing) = (self.context(), Arc::clone(&entries));
        let written = self
            .write(user, move |writer| {
                writer.attempt(|tx| page::append(tx, &context, &writing))
            })
            .await
            .and_then(|appended| appended);
        match written {
            Ok(()) | Err(StoreError::UnknownUser { .. }) => {}
            Err(error @ (StoreError::Busy { .. } | StoreError::Full { .. })) => {
                tracing::debug!(%user, %error, "audit entries wait on");
                self.pending().put_back(user, &entries);
            }
            Err(error) => {
                tracing::error!(%user, %error, lost = entries.len(), "audit entries not written");
            }
        }
    }
}
