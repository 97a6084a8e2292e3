//! How much a user stores. Added up on demand in short reads, so that it neither holds a reader for
//! long nor makes every write keep a sum.

use homecore_store::{Kind, StoreError};
use homecore_types::UserId;

use crate::error::Error;
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
    Ok(usage)
}
