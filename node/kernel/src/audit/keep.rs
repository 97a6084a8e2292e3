//! The whole log of one user, page after page, for whoever keeps it when the user goes
//! (`audit.onUserDelete`).

use bytes::Bytes;
use homecore_store::Kind;
use homecore_types::UserId;

use super::page;
use crate::archive::export;
use crate::error::Error;
use crate::indexes::{self, AUDIT_BY_STREAM};
use crate::kernel::Kernel;

/// Pages read at once.
const FETCH: usize = 16;

/// Up to where a log was read.
#[derive(Clone, Debug)]
pub struct Place {
    key: Vec<u8>,
    page: String,
}

impl Kernel {
    /// The next entries of a user's log after a place, as events in JSON, oldest first but for what
    /// was written within one moment; none at the end. What waits in memory is written before.
    ///
    /// # Errors
    /// Of the store.
    pub async fn audit_log(
        &self,
        user: &UserId,
        after: Option<Place>,
    ) -> Result<Option<(Vec<Bytes>, Place)>, Error> {
        if after.is_none() {
            self.settle_audit_of(user).await;
        }
        let read = self
            .read(user, move |view, _| {
                let prefix = indexes::audit_prefix("");
                let (from, to) = (f64::NEG_INFINITY, f64::INFINITY);
                let mut scan = indexes::range(AUDIT_BY_STREAM, &prefix, from, to, false);
                scan.limit = FETCH;
                scan.after = after.map(|place| (place.key, place.page));
                let (mut events, mut last) = (Vec::new(), None);
                for (key, document) in view.scan(&scan)? {
                    let entries = page::decode(&document)?;
                    events.extend(entries.iter().enumerate().map(|(place, entry)| {
                        entry.to_event(&page::event_id(&document.id, place)).json
                    }));
                    last = Some(Place {
                        key,
                        page: document.id,
                    });
                }
                Ok::<_, homecore_store::StoreError>(last.map(|last| (events, last)))
            })
            .await??;
        Ok(read)
    }

    /// As [`Kernel::audit_log`], by the ids of pages, after one; what is damaged is passed over and named.
    ///
    /// # Errors
    /// Of the store.
    pub async fn readable_audit_log(
        &self,
        user: &UserId,
        after: Option<String>,
    ) -> Result<Option<Readable>, Error> {
        if after.is_none() {
            self.settle_audit_of(user).await;
        }
        let read = self
            .read(user, move |view, _| {
                let pages = export::list(view, Kind::Audit, after.as_deref(), FETCH, true)?;
                let Some((last, _)) = pages.last() else {
                    return Ok(None);
                };
                let mut read = Readable {
                    last: last.clone(),
                    events: Vec::new(),
                    left_out: Vec::new(),
                };
                for (id, document) in &pages {
                    let Some(Ok(entries)) = document.as_ref().map(page::decode) else {
                        read.left_out.push(export::noun(Kind::Audit, id));
                        continue;
                    };
                    let events = entries.iter().enumerate();
                    read.events.extend(
                        events
                            .map(|(place, entry)| entry.to_event(&page::event_id(id, place)).json),
                    );
                }
                Ok::<_, homecore_store::StoreError>(Some(read))
            })
            .await??;
        Ok(read)
    }
}

/// Entries of some pages that can be read.
#[derive(Debug)]
pub struct Readable {
    /// As events in JSON.
    pub events: Vec<Bytes>,
    /// Pages that were passed over, in words.
    pub left_out: Vec<String>,
    /// The last page.
    pub last: String,
}
