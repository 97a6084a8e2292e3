//! The search for an order of one key's calls.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::{Entry, Model};

/// Which calls have their place in the order, a bit for each.
type Placed = Vec<u64>;

/// A choice that was made: the call, and what led there.
struct Choice<S> {
    call: usize,
    before: S,
}

/// Finds an order, or says why there is none. Depth first; of the calls that may come next, those
/// that began sooner are tried sooner, which nearly always is the order that they took effect in.
pub(super) fn search<M: Model>(
    mut entries: Vec<Entry<M::Call>>,
    states_max: usize,
) -> Result<(), String> {
    entries.sort_by_key(|entry| entry.called);
    let answered = entries.iter().filter(|e| e.returned.is_some()).count();
    let mut placed: Placed = vec![0; entries.len().div_ceil(64)];
    let mut state = M::State::default();
    let mut seen: HashSet<(Placed, M::State)> = HashSet::new();
    let mut choices: Vec<Choice<M::State>> = Vec::new();
    let mut answered_placed = 0;
    let mut best = Best::default();
    // The next call to be tried at this depth.
    let mut from = 0;
    while answered_placed < answered {
        match next::<M>(&entries, &mut placed, &state, from, &mut seen) {
            Some((call, after)) => {
                answered_placed += usize::from(is_answered(&entries, call));
                let before = std::mem::replace(&mut state, after);
                choices.push(Choice { call, before });
                best.note(answered_placed, &choices, &state);
                from = 0;
            }
            None => {
                let Some(Choice { call, before }) = choices.pop() else {
                    return Err(best.explain(&entries));
                };
                set(&mut placed, call, false);
                answered_placed -= usize::from(is_answered(&entries, call));
                state = before;
                // A read that fitted here would not do better later, so it was no choice.
                let read = entries.get(call).is_some_and(|e| M::only_reads(&e.call));
                from = if read { entries.len() } else { call + 1 };
            }
        }
        if seen.len() > states_max {
            return Err(format!(
                "no order of {} calls was found among {states_max} states: give it fewer calls",
                entries.len()
            ));
        }
    }
    Ok(())
}

/// The first call from `from` on that may come next and leads somewhere new; it is placed then.
fn next<M: Model>(
    entries: &[Entry<M::Call>],
    placed: &mut Placed,
    state: &M::State,
    from: usize,
    seen: &mut HashSet<(Placed, M::State)>,
) -> Option<(usize, M::State)> {
    // Nothing may come next that began after another one, not placed yet, had ended.
    let end = ends_first(entries, placed);
    for (index, entry) in entries.iter().enumerate().skip(from) {
        if entry.called > end {
            return None;
        }
        if is_set(placed, index) {
            continue;
        }
        let Some(after) = M::apply(state, &entry.call) else {
            continue;
        };
        // What has no answer and changes nothing might as well not have happened.
        if entry.returned.is_none() && after == *state {
            continue;
        }
        set(placed, index, true);
        if seen.insert((placed.clone(), after.clone())) {
            return Some((index, after));
        }
        set(placed, index, false);
    }
    None
}

fn ends_first<C>(entries: &[Entry<C>], placed: &Placed) -> u64 {
    let mut first = u64::MAX;
    for (index, entry) in entries.iter().enumerate() {
        if entry.called > first {
            break;
        }
        if let Some(returned) = entry.returned
            && !is_set(placed, index)
        {
            first = first.min(returned);
        }
    }
    first
}

fn is_answered<C>(entries: &[Entry<C>], index: usize) -> bool {
    entries
        .get(index)
        .is_some_and(|entry| entry.returned.is_some())
}

fn is_set(placed: &Placed, index: usize) -> bool {
    placed
        .get(index / 64)
        .is_some_and(|word| word & (1 << (index % 64)) != 0)
}

fn set(placed: &mut Placed, index: usize, to: bool) {
    if let Some(word) = placed.get_mut(index / 64) {
        let bit = 1 << (index % 64);
        if to {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }
}

/// The longest order so far, to show how far it goes.
#[derive(Default)]
struct Best {
    answered: usize,
    order: Vec<usize>,
    state: String,
}

impl Best {
    fn note<S: std::fmt::Debug>(&mut self, answered: usize, choices: &[Choice<S>], state: &S) {
        if answered > self.answered {
            self.answered = answered;
            self.order = choices.iter().map(|choice| choice.call).collect();
            self.state = format!("{state:?}");
        }
    }

    fn explain<C: std::fmt::Debug>(&self, entries: &[Entry<C>]) -> String {
        const SHOWN: usize = 12;
        let mut text = format!("no order explains {} calls. After", entries.len());
        let skipped = self.order.len().saturating_sub(SHOWN);
        if skipped > 0 {
            let _infallible = write!(text, " {skipped} more and");
        }
        for entry in self
            .order
            .iter()
            .skip(skipped)
            .filter_map(|i| entries.get(*i))
        {
            let _infallible = write!(text, " {:?},", entry.call);
        }
        let _infallible = write!(text, " which leads to {}, none can be next of", self.state);
        let rest = entries
            .iter()
            .enumerate()
            .filter(|(index, entry)| entry.returned.is_some() && !self.order.contains(index));
        for (_, entry) in rest.take(SHOWN) {
            let (from, to) = (entry.called, entry.returned.unwrap_or(u64::MAX));
            let _infallible = write!(text, " {:?} at {from}..{to},", entry.call);
        }
        text.pop();
        text
    }
}
