//! Reads events in the order of time from several index ranges at once, a bounded part at a time.
//!
//! Each range is ordered by (time, id), so taking the first of all ranges again and again gives the
//! whole in order; an event found through two of them comes up twice in a row and is taken once.
//! Where a read stops, (time, id) of the last event is all that must be kept to go on: no snapshot
//! is held between parts, so a slow client holds nothing on the core. An event whose time or duration is
//! changed while a client reads may be missed or seen twice by it; any other is seen exactly once.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

use homecore_store::{Document, Index, Kind, Scan, StoreError, View};

use super::filter::Filter;
use super::stored::Head;
use crate::indexes::{
    self, EVENT_BY_MODIFIED, EVENT_BY_STREAM, EVENT_BY_TIME, EVENT_BY_TYPE, EVENT_LASTING,
    EVENT_RUNNING, SPANS, State, span_bound,
};

/// With more streams than this the user's whole time line is read and filtered, instead of one
/// range a stream.
const STREAM_RANGES_MAX: usize = 32;
/// Documents taken from all ranges together at first, at most: as many as are asked for, since each look
/// at a range costs as much as some documents.
const FETCH_FIRST_MAX: usize = 64;
/// Documents taken from a range at once when a part begins, and ever.
const FETCH_AGAIN: usize = 8;
const FETCH_MAX: usize = 256;
/// Bytes of documents that one range may hold in memory, and one document more.
const FETCH_BYTES: usize = 512 * 1024;

/// What is looked at in one go, wanted or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Events.
    pub events: usize,
    /// Bytes of documents, and one document more: there is an end once so many were read.
    pub bytes: usize,
}

impl Most {
    /// Where reads may take a while.
    pub const LONG: Self = Self {
        events: 4_096,
        bytes: usize::MAX,
    };
    /// Where nothing may: on the thread of whoever asks. Of large documents none may be handed on.
    pub const SHORT: Self = Self {
        events: 256,
        bytes: 2 * 1024 * 1024,
    };
}

/// With no more changes than this since the time asked for, those are read instead of the time
/// line. (Few in tests, so that both ways are taken.)
const CHANGED_MAX: usize = if cfg!(test) { 12 } else { 2_000 };
/// Changes read at once.
const CHANGED_PAGE: usize = 64;

/// A place in the order of events.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    time: f64,
    id: String,
}

impl Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.time
            .total_cmp(&other.time)
            .then_with(|| self.id.cmp(&other.id))
    }
}

/// One range of an index.
#[derive(Clone, Debug)]
struct Source {
    index: Index,
    prefix: Vec<u8>,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    /// Nothing is left in it.
    done: bool,
    /// Documents to ask for when it is read on.
    fetch: usize,
}

/// The ranges that hold what a filter may accept, and how far they were read.
#[derive(Clone, Debug)]
pub struct Merge {
    sources: Vec<Source>,
    descending: bool,
    after: Option<Place>,
    /// Instead of ranges: the very events, in order. Their bodies are read when their turn comes.
    listed: Option<VecDeque<Place>>,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    Stopped,
    /// That was all.
    Ended,
}

impl Merge {
    /// Chooses the ranges for a filter, of which so many events are `asked` for.
    ///
    /// # Errors
    /// Of the store, which is asked how long events last.
    pub fn plan(
        view: &dyn View,
        filter: &Filter,
        descending: bool,
        asked: Option<usize>,
    ) -> Result<Self, StoreError> {
        let mut merge = Self {
            sources: Vec::new(),
            descending,
            after: None,
            listed: None,
        };
        let streams = filter.selection.streams();
        if streams.is_empty() {
            return Ok(merge);
        }
        let mut beside = Vec::new();
        let (from, to) = filter.window.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        for state in filter.wanted.states().iter().copied() {
            let of_state = indexes::prefix_of_state(state);
            if filter.running {
                merge.add(EVENT_RUNNING, of_state, f64::NEG_INFINITY, to);
                continue;
            }
            if filter.by_type {
                let types: BTreeSet<&String> = filter.types.iter().flatten().collect();
                for kind in types {
                    let prefix = indexes::prefix_of_type(kind, state);
                    merge.add(EVENT_BY_TYPE, prefix, from, to);
                }
            } else if !filter.by_time && streams.len() <= STREAM_RANGES_MAX {
                for stream in &streams {
                    merge.add(
                        EVENT_BY_STREAM,
                        indexes::prefix_of_stream(stream, state),
                        from,
                        to,
                    );
                }
            } else {
                merge.add(EVENT_BY_TIME, of_state.clone(), from, to);
            }
            // Events that began before the window and reach into it.
            if filter.window.is_some() && from > f64::MIN {
                let wanted = std::mem::take(&mut merge.sources);
                for span in spans(view, state)? {
                    let start = from - span_bound(span);
                    let prefix = indexes::prefix_of_span(state, span);
                    merge.add_before(EVENT_LASTING, prefix, (start, from), to);
                }
                if filter.reaches_now() {
                    merge.add_before(EVENT_RUNNING, of_state, (f64::NEG_INFINITY, from), to);
                }
                // Few are expected there: one is asked for at first.
                beside.append(&mut merge.sources);
                merge.sources = wanted;
            }
        }
        let first = asked.unwrap_or(FETCH_FIRST_MAX).min(FETCH_FIRST_MAX);
        let share = first.div_ceil(merge.sources.len().max(1)).max(1);
        for source in &mut merge.sources {
            source.fetch = share;
        }
        merge.sources.append(&mut beside);
        Ok(merge)
    }

    /// What a filter on changes may accept, if little changed: a client that asks again and again
    /// for what is new must not cost a walk through all that is old.
    ///
    /// # Errors
    /// Of the store.
    pub fn of_changes(
        view: &dyn View,
        filter: &Filter,
        since: f64,
        descending: bool,
    ) -> Result<Option<Self>, StoreError> {
        let mut scan = indexes::range(EVENT_BY_MODIFIED, &[], since, f64::INFINITY, false);
        scan.limit = CHANGED_PAGE.min(CHANGED_MAX);
        let (mut places, mut seen) = (Vec::new(), 0);
        loop {
            let page = view.scan(&scan)?;
            let full = page.len() == scan.limit;
            seen += page.len();
            if full && seen >= CHANGED_MAX {
                return Ok(None);
            }
            scan.after = page
                .last()
                .map(|(key, document)| (key.clone(), document.id.clone()));
            for (_, document) in page.iter().filter(|(_, document)| !document.deleted) {
                let head = Head::decode(document)?;
                if filter.accepts(&head) {
                    places.push(Place {
                        time: head.time + 0.0,
                        id: document.id.clone(),
                    });
                }
            }
            if !full {
                break;
            }
        }
        places.sort_by(|a, b| if descending { b.cmp(a) } else { a.cmp(b) });
        let listed = Some(VecDeque::from(places));
        Ok(Some(Self {
            sources: Vec::new(),
            descending,
            after: None,
            listed,
        }))
    }

    /// A range with both ends; nothing if it ends before it begins.
    fn add(&mut self, index: Index, prefix: Vec<u8>, from: f64, to: f64) {
        if from <= to {
            let scan = indexes::range(index, &prefix, from, to, self.descending);
            self.sources.push(Source {
                index,
                prefix,
                from: scan.from,
                to: scan.to,
                done: false,
                fetch: 1,
            });
        }
    }

    /// A range that ends before `end`, or with `to` if that comes first.
    fn add_before(&mut self, index: Index, prefix: Vec<u8>, (from, end): (f64, f64), to: f64) {
        if to < end {
            return self.add(index, prefix, from, to);
        }
        let start = indexes::timed(prefix.clone(), from);
        let to = Some(indexes::timed(prefix.clone(), end));
        self.sources.push(Source {
            index,
            prefix,
            from: start,
            to,
            done: false,
            fetch: 1,
        });
    }

    /// Hands on events in order, after those of earlier calls, until `each` breaks, `most` was
    /// looked at, or none is left.
    ///
    /// # Errors
    /// Of the store.
    pub fn run(
        &mut self,
        view: &dyn View,
        most: Most,
        each: &mut dyn FnMut(Head, Document) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        if let Some(listed) = &mut self.listed {
            return run_listed(listed, view, each);
        }
        let mut buffers: Vec<Buffer> = self.sources.iter().map(Buffer::new).collect();
        let progress = self.run_with(view, most, &mut buffers, each)?;
        for (source, buffer) in self.sources.iter_mut().zip(&buffers) {
            // What was read and not handed on is read again next time.
            source.done = buffer.exhausted && buffer.waiting.is_empty();
            source.fetch = buffer.fetch.min(FETCH_AGAIN);
        }
        Ok(progress)
    }

    fn run_with(
        &mut self,
        view: &dyn View,
        most: Most,
        buffers: &mut [Buffer],
        each: &mut dyn FnMut(Head, Document) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        let mut bytes = 0_usize;
        for _ in 0..most.events {
            for (source, buffer) in self.sources.iter().zip(buffers.iter_mut()) {
                let after = self.after.as_ref();
                bytes = bytes.saturating_add(buffer.fill(view, source, self.descending, after)?);
                if bytes >= most.bytes {
                    return Ok(Progress::Stopped);
                }
            }
            let Some(next) = first(buffers, self.descending) else {
                return Ok(Progress::Ended);
            };
            if self.after.as_ref() == Some(&next.place) {
                continue;
            }
            self.after = Some(next.place);
            if each(next.head, next.document).is_break() {
                return Ok(Progress::Stopped);
            }
        }
        Ok(Progress::Stopped)
    }
}

/// The spans that events of a state have: most people's events have a few or none, and a look at a range
/// that is empty costs as much as some documents.
fn spans(view: &dyn View, state: State) -> Result<Vec<u8>, StoreError> {
    let mut found = Vec::new();
    let mut next = 0;
    while next < SPANS {
        let scan = Scan {
            index: EVENT_LASTING,
            from: indexes::prefix_of_span(state, next),
            to: Some(indexes::prefix_of_span(state, SPANS)),
            descending: false,
            limit: 1,
            after: None,
        };
        let page = view.scan(&scan)?;
        let Some(span) = page.first().and_then(|(key, _)| key.get(1)) else {
            break;
        };
        found.push(*span);
        next = span + 1;
    }
    Ok(found)
}

/// Hands on listed events as they are now: those deleted since are left out, and `each` sees the
/// present head of the others.
fn run_listed(
    listed: &mut VecDeque<Place>,
    view: &dyn View,
    each: &mut dyn FnMut(Head, Document) -> ControlFlow<()>,
) -> Result<Progress, StoreError> {
    while let Some(place) = listed.pop_front() {
        let Some(document) = view
            .get(Kind::Event, &place.id)?
            .filter(|found| !found.deleted)
        else {
            continue;
        };
        if each(Head::decode(&document)?, document).is_break() {
            return Ok(Progress::Stopped);
        }
    }
    Ok(Progress::Ended)
}

/// The event that comes next of all buffers.
fn first(buffers: &mut [Buffer], descending: bool) -> Option<Waiting> {
    let best = buffers
        .iter_mut()
        .filter(|buffer| !buffer.waiting.is_empty())
        .min_by(|a, b| match (a.waiting.front(), b.waiting.front()) {
            (Some(a), Some(b)) if descending => b.place.cmp(&a.place),
            (Some(a), Some(b)) => a.place.cmp(&b.place),
            _ => Ordering::Equal,
        })?;
    best.waiting.pop_front()
}

struct Waiting {
    place: Place,
    head: Head,
    document: Document,
}

/// Events of one range that were read and not yet handed on.
struct Buffer {
    waiting: VecDeque<Waiting>,
    /// Where the next read of this range begins.
    last: Option<(Vec<u8>, String)>,
    /// Documents to ask for next.
    fetch: usize,
    /// The range holds nothing beyond what waits.
    exhausted: bool,
}

impl Buffer {
    fn new(source: &Source) -> Self {
        Self {
            waiting: VecDeque::new(),
            last: None,
            fetch: source.fetch,
            exhausted: source.done,
        }
    }

    /// Reads on if nothing waits and something may be left; returns the bytes that were read.
    fn fill(
        &mut self,
        view: &dyn View,
        source: &Source,
        descending: bool,
        place: Option<&Place>,
    ) -> Result<usize, StoreError> {
        let mut read = 0_usize;
        while self.waiting.is_empty() && !self.exhausted {
            let begin = self.last.take().or_else(|| {
                let place = place?;
                Some((
                    indexes::timed(source.prefix.clone(), place.time),
                    place.id.clone(),
                ))
            });
            let scan = Scan {
                index: source.index,
                from: source.from.clone(),
                to: source.to.clone(),
                descending,
                limit: self.fetch,
                after: begin,
            };
            let (page, more) = view.scan_within(&scan, FETCH_BYTES)?;
            self.exhausted = !more;
            let bytes: usize = page.iter().map(|(_, document)| document.body.len()).sum();
            read = read.saturating_add(bytes);
            let fitting = FETCH_BYTES * page.len() / bytes.max(1);
            self.fetch = (self.fetch * 2).min(fitting).clamp(1, FETCH_MAX);
            self.last = page
                .last()
                .map(|(key, document)| (key.clone(), document.id.clone()));
            for (_, document) in page {
                if document.deleted {
                    continue;
                }
                let head = Head::decode(&document)?;
                // Negative zero sorts with zero.
                let time = head.time + 0.0;
                let place = Place {
                    time,
                    id: document.id.clone(),
                };
                self.waiting.push_back(Waiting {
                    place,
                    head,
                    document,
                });
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
