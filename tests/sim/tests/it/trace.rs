//! What happened in a run, in order, with the simulated time: two runs of one seed write the same.

use std::fmt::Display;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::tally::{Fault, Tally};

/// The events of one run. Clones write to the same.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    began: Instant,
    text: Arc<Mutex<Text>>,
}

#[derive(Debug, Default)]
struct Text {
    lines: String,
    events: u64,
    /// Of every event, those of the network too.
    hash: u64,
    /// Whether the network's events are written out.
    verbose: bool,
    tally: Tally,
}

impl Text {
    fn note(&mut self, line: &str) {
        self.events += 1;
        for byte in line.bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self {
            began: Instant::now(),
            text: Arc::new(Mutex::new(Text {
                verbose,
                ..Text::default()
            })),
        }
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> u128 {
        self.began.elapsed().as_millis()
    }

    pub(crate) fn event(&self, what: impl Display) {
        let line = format!("{:>7} {what}", self.now());
        let mut text = self.text.lock().unwrap();
        text.note(&line);
        if text.verbose {
            eprintln!("{line}");
        }
        writeln!(text.lines, "{line}").unwrap();
    }

    /// An event of the network, of which there are many.
    pub(crate) fn detail(&self, what: impl Display) {
        let line = format!("{:>7} {what}", self.now());
        let mut text = self.text.lock().unwrap();
        text.note(&line);
        if text.verbose {
            eprintln!("{line}");
            writeln!(text.lines, "{line}").unwrap();
        }
    }

    /// A fault took effect.
    pub(crate) fn fault(&self, fault: Fault) {
        self.text.lock().unwrap().tally.count(fault);
    }

    /// All of it, with the sum over everything at the end.
    pub(crate) fn finish(&self) -> String {
        let text = self.text.lock().unwrap();
        format!(
            "{}faults {}\nlasted {} ms\nevents {} hash {:016x}\n",
            text.lines,
            text.tally,
            self.now(),
            text.events,
            text.hash
        )
    }
}
