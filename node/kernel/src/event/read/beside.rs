//! What is merged into the events that are read: account fields and the audit log.

use std::collections::VecDeque;

use homecore_store::{StoreError, View};
use homecore_types::Millis;

use super::Taker;
use crate::audit::scan::{AuditScan, Next};
use crate::event::account::{AccountEvents, Chosen};
use crate::event::filter::Filter;
use crate::event::stored::StoredEvent;

/// What is not in the user's own event indexes: account fields, which have the time of the request, and
/// the audit log.
pub(super) struct Beside<'a> {
    pub(super) now: f64,
    pub(super) ascending: bool,
    pub(super) account: &'a mut VecDeque<StoredEvent>,
    pub(super) audit: Option<Log<'a>>,
}

/// The audit log, read on as far as it is needed.
pub(super) struct Log<'a> {
    pub(super) view: &'a dyn View,
    pub(super) filter: &'a Filter,
    pub(super) scan: &'a mut AuditScan,
}

/// Account fields as they are at a time, in the order in which they are answered.
pub(super) fn account_fields(
    account: &AccountEvents,
    chosen: &Chosen,
    now: Millis,
    ascending: bool,
) -> VecDeque<StoredEvent> {
    let mut fields = account.at(chosen, now);
    if ascending {
        fields.make_contiguous().reverse();
    }
    fields
}

impl Beside<'_> {
    /// Hands on a held event after everything that comes before it. False if that needs another part.
    pub(super) fn place(
        &mut self,
        held: &mut Option<(f64, StoredEvent)>,
        taker: &mut Taker<'_>,
    ) -> Result<bool, StoreError> {
        let Some((time, event)) = held.take() else {
            return Ok(true);
        };
        // The log has nothing that is later than now, as account fields are.
        if !self.ascending && time <= self.now {
            self.account_fields(taker);
        }
        if !self.log_before(Some(time), taker)? {
            *held = Some((time, event));
            return Ok(false);
        }
        if self.ascending && time > self.now {
            self.account_fields(taker);
        }
        taker.take(event);
        Ok(true)
    }

    /// Hands on what is left when the user's own events have ended. False if that needs another part.
    pub(super) fn rest(&mut self, taker: &mut Taker<'_>) -> Result<bool, StoreError> {
        if !self.ascending {
            self.account_fields(taker);
        }
        let done = self.log_before(None, taker)?;
        if done {
            self.account_fields(taker);
        }
        Ok(done)
    }

    fn account_fields(&mut self, taker: &mut Taker<'_>) {
        while let Some(event) = self.account.pop_front() {
            taker.take(event);
        }
    }

    /// Hands on entries of the log that come before a time, or all. False if the part is full or much
    /// was looked at.
    fn log_before(&mut self, time: Option<f64>, taker: &mut Taker<'_>) -> Result<bool, StoreError> {
        let Some(Log { view, filter, scan }) = self.audit.as_mut() else {
            return Ok(true);
        };
        loop {
            let next = match scan.peek(*view, filter)? {
                Next::At(next) => next,
                Next::Ended => return Ok(true),
                Next::Unknown => return Ok(false),
            };
            let comes_before = time.is_none_or(|time| {
                if self.ascending {
                    next <= time
                } else {
                    next > time
                }
            });
            if !comes_before {
                return Ok(true);
            }
            if taker.is_full() {
                return Ok(false);
            }
            if let Some(event) = scan.take() {
                taker.take(event);
            }
        }
    }
}
