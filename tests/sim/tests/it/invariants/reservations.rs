//! No reservation is older than its time: a leader that has led for a while and still gets things applied
//! drops what is overdue by its own clock, within the time between two sweeps and a bit.

use std::collections::BTreeMap;
use std::time::Duration;

use homecore_raft::Role;
use homecore_types::{Clock as _, Millis};
use tokio::time::Instant;

use crate::invariants::Seen;
use crate::net::Host;

/// How long what is overdue may stay: two sweeps, and a write.
const BOUND: Duration = Duration::from_secs(30);
/// A reservation may be held so much longer than it should by the true time: its proposer's clock, and
/// the bound.
const AGE_MAX: Duration = Duration::from_secs(60 + 130 + 30);

#[derive(Debug, Default)]
pub(crate) struct Book {
    /// A life of a core that leads: its term, since when, and since when something is overdue.
    leads: BTreeMap<(Host, u64), Leads>,
}

#[derive(Debug)]
struct Leads {
    term: u64,
    since: Instant,
    overdue_since: Option<(Millis, Instant)>,
    index: u64,
    applied_at: Instant,
}

pub(crate) fn check(book: &mut Book, seen: &Seen, oldest: Option<Millis>) -> Result<(), String> {
    let life = (seen.running.host, seen.running.life);
    if seen.status.role != Role::Leader {
        book.leads.remove(&life);
        return Ok(());
    }
    let leads = book.leads.entry(life).or_insert(Leads {
        term: seen.status.term,
        since: seen.at,
        overdue_since: None,
        index: seen.index,
        applied_at: seen.at,
    });
    if leads.term != seen.status.term {
        leads.term = seen.status.term;
        leads.since = seen.at;
        leads.overdue_since = None;
    }
    if leads.index != seen.index {
        leads.index = seen.index;
        leads.applied_at = seen.at;
    }
    // By the leader's clock, and by the true one, whatever the leader's says.
    let truth = seen.running.clock.truth();
    let overdue = oldest.filter(|deadline| {
        *deadline < seen.running.clock.now() || truth.since(*deadline) > AGE_MAX
    });
    match overdue {
        None => leads.overdue_since = None,
        Some(deadline) => {
            let (known, since) = *leads.overdue_since.get_or_insert((deadline, seen.at));
            if known != deadline {
                leads.overdue_since = Some((deadline, seen.at));
            } else if seen.at - since > BOUND
                && seen.at - leads.since > BOUND
                && seen.at - leads.applied_at < Duration::from_secs(5)
            {
                return Err(format!(
                    "reservations: one is overdue since {deadline}, it is {}",
                    seen.now
                ));
            }
        }
    }
    Ok(())
}
