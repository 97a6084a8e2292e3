//! Which events a query asks for, decided event by event. The indexes only narrow down what is
//! looked at ([`super::merge`]); this is the whole condition (spec/pryv-api §4.3, §4.6, App. B.3).

use super::conditions::Conditions;
use super::select::Selection;
use super::stored::Head;
use crate::indexes::State;

/// A running event counts as ending this long before now, so that clocks need not agree exactly.
const RUNNING_TOLERANCE_SECONDS: f64 = 5.0;

/// Which events, as to the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Those not in the trash.
    #[default]
    Live,
    /// Those in the trash.
    Trashed,
    /// Both.
    All,
}

impl Wanted {
    /// The states to look through.
    #[must_use]
    pub const fn states(self) -> &'static [State] {
        match self {
            Self::Live => &[State::Live],
            Self::Trashed => &[State::Trashed],
            Self::All => &[State::Live, State::Trashed],
        }
    }

    /// Whether streams in the trash are looked into.
    #[must_use]
    pub const fn trashed_streams(self) -> bool {
        !matches!(self, Self::Live)
    }
}

/// The whole condition.
#[derive(Clone, Debug)]
pub struct Filter {
    /// By streams.
    pub selection: Selection,
    /// By type; none: every type.
    pub types: Option<Vec<String>>,
    /// Whether events are found by their types rather than by streams: every event of these types has an
    /// entry, and most of them are wanted.
    pub by_type: bool,
    /// Whether every stored event that may be asked for is wanted as to its streams, or nearly every: then one
    /// look at the time line finds what would take one at each stream.
    pub by_time: bool,
    /// Start and end of the window, in seconds, both inclusive.
    pub window: Option<(f64, f64)>,
    /// Only running ones; the window's start does not count then.
    pub running: bool,
    /// Changed after this time, in seconds.
    pub modified_since: Option<f64>,
    /// As to what is inside; looked at by [`Filter::accepts_body`] alone.
    pub conditions: Conditions,
    /// As to the trash.
    pub wanted: Wanted,
    /// The time of the request, in seconds.
    pub now: f64,
}

impl Filter {
    /// Whether an event is asked for, as far as its head tells.
    #[must_use]
    pub fn accepts(&self, head: &Head) -> bool {
        self.wanted.states().contains(&head.state())
            && self
                .modified_since
                .is_none_or(|since| head.modified > since)
            && self.accepts_time(head)
            && self.accepts_type(&head.kind)
            && self.selection.matches(&head.streams)
    }

    /// Whether an event that is asked for by its head is so by what is inside.
    #[must_use]
    pub fn accepts_body(&self, event: &[u8]) -> bool {
        self.conditions.accept(event)
    }

    /// Whether running events that began before the window are in it.
    #[must_use]
    pub fn reaches_now(&self) -> bool {
        self.window.is_none_or(|(from, to)| {
            let end = self.now - RUNNING_TOLERANCE_SECONDS;
            from <= end && end <= to
        })
    }

    fn accepts_time(&self, head: &Head) -> bool {
        let end = head.end();
        if self.running && end.is_some() {
            return false;
        }
        let Some((from, to)) = self.window else {
            return true;
        };
        if head.time > to {
            return false;
        }
        match end {
            _ if self.running => true,
            Some(end) => end >= from,
            None => self.reaches_now(),
        }
    }

    fn accepts_type(&self, kind: &str) -> bool {
        let Some(types) = &self.types else {
            return true;
        };
        types.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(class) => kind.starts_with(class),
            None => wanted == kind,
        })
    }
}
