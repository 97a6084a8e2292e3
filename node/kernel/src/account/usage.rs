//! How much a user stores. Added up on demand in short reads, so that it neither holds a reader for
//! long nor makes every write keep a sum; and kept, so that asking again costs nothing while nothing
//! changes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homecore_store::{Kind, Scan, StoreError};
use homecore_types::{Millis, UserId};

use crate::attachment::{AttachedBlob, hash_of};
use crate::error::Error;
use crate::event::stored::Head;
use crate::indexes::{EVENT_BY_BLOB, blob_key};
use crate::kernel::{Kernel, Usage};

/// Documents looked at in one read.
const PAGE: usize = 500;
/// Users of whom it is kept; of more, all are measured anew.
const KEPT_MAX: usize = 4_096;
/// A sum that took less is never shown when it may be wrong.
const CHEAP: Duration = Duration::from_millis(50);
/// One that took more may be shown for this many times as long as it took, although something was
/// written since: who asks again and again keeps no reader busy.
const SHOWN_FOR: u32 = 20;

/// What was measured, by user.
#[derive(Debug, Default)]
pub(crate) struct UsageCache {
    kept: Mutex<BTreeMap<UserId, Measured>>,
}

/// A sum, and how much it is worth.
#[derive(Clone, Copy, Debug)]
struct Measured {
    usage: Usage,
    /// The user's stamp before it was measured.
    stamp: u64,
    at: Millis,
    took: Duration,
}

impl Measured {
    /// Whether nothing was written since, or it is not worth measuring anew yet. Reads alone are
    /// written down, too ([`crate::audit`]), so the stamp by itself would not hold for long.
    fn counts(&self, stamp: u64, now: Millis) -> bool {
        let age = now.since(self.at);
        self.stamp == stamp
            || self.took >= CHEAP && now >= self.at && age < self.took.saturating_mul(SHOWN_FOR)
    }
}

impl UsageCache {
    fn find(&self, user: &UserId, stamp: u64, now: Millis) -> Option<Usage> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let measured = kept.get(user)?;
        measured.counts(stamp, now).then_some(measured.usage)
    }

    fn keep(&self, user: &UserId, measured: Measured) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(user) {
            kept.clear();
        }
        kept.insert(user.clone(), measured);
    }
}

/// How much a user stores: as it is, or where finding that out takes long, as it was a moment ago.
///
/// # Errors
/// Of the store.
pub async fn measured(kernel: &Kernel, user: &UserId) -> Result<Usage, Error> {
    // Taken before anything is read: a commit in between makes what was read void.
    let (stamp, at) = (kernel.users().stamp(user), kernel.now());
    if let Some(usage) = kernel.usages().find(user, stamp, at) {
        return Ok(usage);
    }
    let usage = measure(kernel, user).await?;
    let measured = Measured {
        usage,
        stamp,
        at,
        took: kernel.now().since(at),
    };
    kernel.usages().keep(user, measured);
    Ok(usage)
}

/// Adds up the bodies of every document.
///
/// # Errors
/// Of the store.
async fn measure(kernel: &Kernel, user: &UserId) -> Result<Usage, Error> {
    let mut usage = Usage::default();
    for kind in Kind::ALL.iter().copied() {
        let mut after: Option<String> = None;
        loop {
            let from = after.take();
            let (bytes, next) = kernel
                .read(
                    user,
                    move |view, _| -> Result<(u64, Option<String>), StoreError> {
                        let page = view.list(kind, from.as_deref(), PAGE)?;
                        let bytes = page
                            .iter()
                            .map(|document| document.body.len())
                            .sum::<usize>();
                        let next = if page.len() == PAGE {
                            page.last().map(|last| last.id.clone())
                        } else {
                            None
                        };
                        Ok((u64::try_from(bytes).unwrap_or(u64::MAX), next))
                    },
                )
                .await??;
            usage.db_documents_bytes = usage.db_documents_bytes.saturating_add(bytes);
            if next.is_none() {
                break;
            }
            after = next;
        }
    }
    usage.attached_files_bytes = attached(kernel, user).await?;
    Ok(usage)
}

/// Adds up the files of every event. An event is found once under each of its blobs, so every file
/// counts once, also where two events have the same bytes.
async fn attached(kernel: &Kernel, user: &UserId) -> Result<u64, Error> {
    let mut sum = 0_u64;
    let mut scan = Scan {
        index: EVENT_BY_BLOB,
        from: Vec::new(),
        to: None,
        descending: false,
        limit: PAGE,
        after: None,
    };
    loop {
        let this = scan.clone();
        let (bytes, last) = kernel
            .read(user, move |view, _| -> Result<_, StoreError> {
                let page = view.scan(&this)?;
                let mut bytes = 0_u64;
                for (key, document) in page.iter().filter(|(_, document)| !document.deleted) {
                    let under_this_key = |attached: &&AttachedBlob| {
                        hash_of(&attached.integrity).is_some_and(|hash| blob_key(&hash) == *key)
                    };
                    let head = Head::decode(document)?;
                    let sizes = head.attachments.iter().filter(under_this_key);
                    bytes = sizes.fold(bytes, |sum, attached| sum.saturating_add(attached.size));
                }
                let last = page
                    .last()
                    .filter(|_| page.len() == PAGE)
                    .map(|(key, document)| (key.clone(), document.id.clone()));
                Ok((bytes, last))
            })
            .await??;
        sum = sum.saturating_add(bytes);
        if last.is_none() {
            return Ok(sum);
        }
        scan.after = last;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{kernel, new_account, owner};
    use crate::{Credential, Method};

    #[test]
    fn a_sum_counts_while_it_is_right_or_dear() {
        let measured = |took| Measured {
            usage: Usage::default(),
            stamp: 7,
            at: Millis(1_000),
            took: Duration::from_millis(took),
        };
        for (took, stamp, now, counts) in [
            (0, 7, 1_000_000, true),
            (49, 8, 1_000, false),
            (50, 8, 1_999, true),
            (50, 8, 2_000, false),
            (2_000, 8, 40_999, true),
            (2_000, 8, 41_000, false),
            (2_000, 8, 999, false),
        ] {
            let found = measured(took).counts(stamp, Millis(now));
            assert_eq!(found, counts, "{took} {stamp} {now}");
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_shown_until_something_is_written() {
        let (kernel, _clock) = kernel();
        let user = owner().id;
        let token = kernel.create_account(&user, new_account()).await.unwrap();
        let credential = Credential::parse(token.expose()).unwrap();
        let me = kernel.authenticate(&owner(), credential).await.unwrap();
        let first = kernel.usage(&user).await.unwrap();
        // What was kept is shown, for nothing was written.
        let fake = Usage {
            db_documents_bytes: 1,
            attached_files_bytes: 2,
        };
        let kept = Measured {
            usage: fake,
            stamp: kernel.users().stamp(&user),
            at: kernel.now(),
            took: Duration::ZERO,
        };
        kernel.usages().keep(&user, kept);
        assert_eq!(kernel.usage(&user).await.unwrap(), fake);
        let stream = json!({ "id": "s", "name": "S" });
        kernel
            .call(&me, Method::StreamsCreate, stream)
            .await
            .unwrap();
        let then = kernel.usage(&user).await.unwrap();
        assert!(then.db_documents_bytes > first.db_documents_bytes);
    }
}
