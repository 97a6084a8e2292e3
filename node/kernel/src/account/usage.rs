//! How much a user stores. Added up on demand in short reads, so that it neither holds a reader for
//! long nor makes every write keep a sum.

use homecore_store::{Kind, Scan, StoreError};
use homecore_types::UserId;

use crate::attachment::{AttachedBlob, hash_of};
use crate::error::Error;
use crate::event::stored::Head;
use crate::indexes::{EVENT_BY_BLOB, blob_key};
use crate::kernel::{Kernel, Usage};

/// Documents looked at in one read.
const PAGE: usize = 500;

/// Adds up the bodies of every document.
///
/// # Errors
/// Of the store.
pub async fn measure(kernel: &Kernel, user: &UserId) -> Result<Usage, Error> {
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
