//! The list of differences from the recording: what may differ, and why. A line that no longer
//! applies is a fault, too, so that the list cannot rot.

use anyhow::{Context as _, ensure};

use crate::compare::Difference;
use crate::exchange::Exchange;

/// In the place of pointers: the exchange is not replayed.
const SKIPPED: &str = "skipped";
/// In the place of pointers: everything may differ, as long as one of these does. An answer with the
/// right status for the right caller comes from the method itself: what it lacks is to be listed.
const ANYTHING: &str = "*";
const ANOTHER_ANSWER: [&str; 2] = ["/status", "/headers/pryv-access-id"];

/// One line of the list: what may differ in an exchange, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Which exchange, counted from 1.
    pub number: usize,
    /// JSON pointers; what stands below one is covered by it.
    pub pointers: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Judges what was found by the list.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    text: String,
    allowance: Allowance,
    used: Vec<bool>,
}

impl Line {
    fn stale(&self) -> impl Iterator<Item = &str> {
        self.allowance
            .pointers
            .iter()
            .zip(&self.used)
            .filter(|(pointer, used)| !**used && pointer.as_str() != SKIPPED)
            .map(|(pointer, _)| pointer.as_str())
    }

    /// None if nothing is left of it.
    fn without_stale(&self) -> Option<String> {
        let stale: Vec<&str> = self.stale().collect();
        let pointers = self.allowance.pointers.iter().map(String::as_str);
        let left: Vec<&str> = pointers.filter(|p| !stale.contains(p)).collect();
        let number = self.allowance.number;
        let name = self.text.split('|').nth(1)?.trim();
        let (pointers, reason) = (left.join(" "), &self.allowance.reason);
        (!left.is_empty()).then(|| format!("{number} | {name} | {pointers} | {reason}"))
    }
}

impl Judge {
    /// Reads the list: a line for each exchange, `number | name | pointers | reason`; `#` begins a
    /// comment. The pointers are separated by spaces; `*` covers everything while status or
    /// caller differ, `skipped` means that the exchange is not replayed.
    ///
    /// # Errors
    /// Names the first line that is malformed, or of which number and name do not belong together.
    pub fn read(list: &str, exchanges: &[Exchange]) -> anyhow::Result<Self> {
        let lines = list
            .lines()
            .filter(|line| is_entry(line))
            .map(|line| read_line(line, exchanges).with_context(|| line.to_owned()));
        Ok(Self {
            lines: lines.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Whether an exchange is left out.
    #[must_use]
    pub fn skips(&self, number: usize) -> bool {
        self.of(number)
            .any(|line| line.allowance.pointers == [SKIPPED])
    }

    /// The differences that the list does not cover.
    pub fn unexpected(&mut self, number: usize, found: &[Difference]) -> Vec<Difference> {
        let mut unexpected = Vec::new();
        let another = found
            .iter()
            .any(|difference| ANOTHER_ANSWER.contains(&difference.pointer.as_str()));
        for difference in found {
            let mut covered = false;
            for line in &mut self.lines {
                if line.allowance.number != number {
                    continue;
                }
                for (pointer, used) in line.allowance.pointers.iter().zip(&mut line.used) {
                    if covers(pointer, &difference.pointer, another) {
                        *used = true;
                        covered = true;
                    }
                }
            }
            if !covered {
                unexpected.push(difference.clone());
            }
        }
        unexpected
    }

    /// The reasons that are given for an exchange.
    #[must_use]
    pub fn reasons(&self, number: usize) -> Vec<&str> {
        self.of(number)
            .map(|line| line.allowance.reason.as_str())
            .collect()
    }

    /// Lines, and what of them no longer occurs. Ask after all exchanges were judged.
    #[must_use]
    pub fn stale(&self) -> Vec<String> {
        let mut stale = Vec::new();
        for line in &self.lines {
            for pointer in line.stale() {
                let text = &line.text;
                stale.push(format!(
                    "{text}\n    {pointer} differs no more: remove it from the list"
                ));
            }
        }
        stale
    }

    /// The list without what no longer occurs. Ask after all exchanges were judged.
    #[must_use]
    pub fn pruned(&self, list: &str) -> String {
        let mut lines = self.lines.iter();
        let mut kept = String::new();
        for text in list.lines() {
            let line = if is_entry(text) { lines.next() } else { None };
            let entry = match line {
                None => text.to_owned(),
                Some(line) if line.stale().next().is_none() => text.to_owned(),
                Some(line) => match line.without_stale() {
                    Some(shorter) => shorter,
                    None => continue,
                },
            };
            kept.push_str(&entry);
            kept.push('\n');
        }
        kept
    }

    fn of(&self, number: usize) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .filter(move |line| line.allowance.number == number)
    }
}

fn is_entry(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

fn read_line(text: &str, exchanges: &[Exchange]) -> anyhow::Result<Line> {
    let fields: Vec<&str> = text.splitn(4, '|').map(str::trim).collect();
    let [number, name, pointers, reason] = *fields else {
        anyhow::bail!("is not number | name | pointers | reason");
    };
    let number: usize = number.parse().context("begins with no number")?;
    let exchange = number.checked_sub(1).and_then(|n| exchanges.get(n));
    let found = exchange.with_context(|| format!("there is no exchange {number}"))?;
    ensure!(
        found.name == name,
        "exchange {number} is {}, not {name}",
        found.name
    );
    let pointers: Vec<String> = pointers.split_whitespace().map(str::to_owned).collect();
    let known = |p: &String| p.starts_with('/') || p == ANYTHING || p == SKIPPED;
    ensure!(
        !pointers.is_empty() && pointers.iter().all(known),
        "a pointer begins with a slash"
    );
    ensure!(!reason.is_empty(), "has no reason");
    Ok(Line {
        text: text.to_owned(),
        used: vec![false; pointers.len()],
        allowance: Allowance {
            number,
            pointers,
            reason: reason.to_owned(),
        },
    })
}

fn covers(pointer: &str, found: &str, another: bool) -> bool {
    (pointer == ANYTHING && another)
        || found
            .strip_prefix(pointer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
