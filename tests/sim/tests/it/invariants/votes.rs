//! No vote goes back: a core that has voted votes for nobody lower any more, in none of its lives.
//!
//! openraft orders votes by term and then by node, so that in one term a core may vote once more, for a
//! higher node; who was voted for lower cannot lead on with that core then. In place of "one vote in a
//! term" this is what must hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use homecore_raft::medium::Ballot;
use tokio::sync::watch;

use crate::net::Host;

/// The votes of all cores, as their disks see them. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Votes {
    book: Arc<Mutex<Book>>,
    /// The last one.
    pub(crate) cast: watch::Sender<Option<(Host, Ballot)>>,
}

#[derive(Debug, Default)]
struct Book {
    highest: BTreeMap<Host, Ballot>,
    wrong: Option<String>,
}

impl Votes {
    pub(crate) fn new() -> Self {
        Self {
            book: Arc::default(),
            cast: watch::Sender::new(None),
        }
    }

    /// A core has voted, and may say so from now on.
    pub(crate) fn cast(&self, host: Host, ballot: Ballot) {
        let mut book = self.book.lock().unwrap();
        let highest = book.highest.entry(host).or_insert(ballot);
        if ballot < *highest {
            let before = *highest;
            book.wrong.get_or_insert_with(|| {
                format!("votes: core-{host} votes {ballot:?}, and had voted {before:?}")
            });
        } else {
            *highest = ballot;
        }
        drop(book);
        self.cast.send_replace(Some((host, ballot)));
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.book.lock().unwrap().wrong.clone().map_or(Ok(()), Err)
    }
}
