//! One target and what is thrown at it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::mutation::{Stock, mutate};
use crate::panics::caught;
use crate::settings::Settings;
use crate::shrink::shrink;

/// To what end an input came, in a few words: the same words for the same way through the code. Or what
/// is wrong.
pub type Verdict = Result<Cow<'static, str>, String>;

/// Makes inputs by a grammar.
type Maker<'a> = Box<dyn Fn(&mut Chance) -> Vec<u8> + 'a>;

/// Inputs that joined the seeds.
const KEPT_MAX: usize = 2_000;
/// Bytes of an input that are shown.
const SHOWN_MAX: usize = 400;
/// What one input may take of its thread's time, in a build without optimisation.
const CPU_MAX: Duration = Duration::from_secs(2);

/// Tells how much memory is taken. The allocator belongs to the test, so does this.
pub trait Memory: std::fmt::Debug {
    /// Begins to watch; bytes taken now.
    fn begin(&self) -> usize;
    /// The most that was taken since.
    fn most(&self) -> usize;
}

/// A target, its seeds and its bounds.
pub struct Campaign<'a> {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    maker: Option<Maker<'a>>,
    bytes_max: usize,
    memory: Option<(&'a dyn Memory, usize)>,
    cpu_max: Duration,
}

impl std::fmt::Debug for Campaign<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Campaign")
            .field("name", &self.name)
            .field("seeds", &self.seeds.len())
            .finish_non_exhaustive()
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In words.
    pub what: String,
    /// Of which case; none: a seed, as it is.
    pub case: Option<u64>,
    /// By which input.
    pub input: Vec<u8>,
    /// By which shorter one.
    pub shrunk: Vec<u8>,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    name: &'static str,
    /// Where chance began.
    pub seed: u64,
    /// Inputs that were tried, seeds not counted.
    pub cases: u64,
    /// How often each end was come to.
    pub ends: BTreeMap<String, u64>,
    /// The first thing that went wrong: it ends the run.
    pub fault: Option<Fault>,
}

impl<'a> Campaign<'a> {
    /// A target by its name, with inputs that it takes.
    #[must_use]
    pub fn new(name: &'static str, seeds: Vec<Vec<u8>>) -> Self {
        Self {
            name,
            seeds,
            words: Vec::new(),
            maker: None,
            bytes_max: 64 * 1024,
            memory: None,
            cpu_max: CPU_MAX,
        }
    }

    /// What the format is made of.
    #[must_use]
    pub fn words<T: AsRef<[u8]>>(mut self, words: &[T]) -> Self {
        self.words = words.iter().map(|word| word.as_ref().to_vec()).collect();
        self
    }

    /// Inputs made by a grammar: every second one.
    #[must_use]
    pub fn made_by(mut self, maker: impl Fn(&mut Chance) -> Vec<u8> + 'a) -> Self {
        self.maker = Some(Box::new(maker));
        self
    }

    /// No input is longer.
    #[must_use]
    pub fn bytes_max(mut self, most: usize) -> Self {
        self.bytes_max = most;
        self
    }

    /// No input may make the target take more memory than this at once.
    #[must_use]
    pub fn memory_max(mut self, memory: &'a dyn Memory, bytes: usize) -> Self {
        self.memory = Some((memory, bytes));
        self
    }

    /// No input may take more of its thread's time than this.
    #[must_use]
    pub fn cpu_max(mut self, span: Duration) -> Self {
        self.cpu_max = span;
        self
    }

    /// Runs as the environment says, and fails the test if anything is wrong.
    ///
    /// # Panics
    /// With the seed and the shortest input found, when something is.
    pub fn run(&self, target: impl FnMut(&[u8]) -> Verdict) -> Report {
        let report = self.run_with(&Settings::from_environment(), target);
        report.assert_sound();
        report
    }

    /// Runs.
    pub fn run_with(
        &self,
        settings: &Settings,
        mut target: impl FnMut(&[u8]) -> Verdict,
    ) -> Report {
        let mut report = Report {
            name: self.name,
            seed: settings.seed,
            cases: 0,
            ends: BTreeMap::new(),
            fault: None,
        };
        let mut judge = |input: &[u8]| self.judge(input, &mut target);
        let mut corpus = Vec::new();
        let given = settings.input.as_ref().map(std::slice::from_ref);
        for input in given.unwrap_or(&self.seeds) {
            if let Err(what) = report.count(judge(input)) {
                report.fault = Some(Fault::found(what, None, input, &mut judge));
                return report;
            }
            corpus.push(input.clone());
        }
        if given.is_some() {
            return report;
        }
        let begun = Instant::now();
        let cases_max = settings.cases_max.unwrap_or(u64::MAX);
        while report.cases < cases_max && begun.elapsed() < settings.span {
            let case = report.cases;
            report.cases += 1;
            let input = self.input(Chance::of(settings.seed, case), &corpus);
            match report.count(judge(&input)) {
                Ok(is_new) if is_new && corpus.len() < KEPT_MAX => corpus.push(input),
                Ok(_) => {}
                Err(what) => {
                    report.fault = Some(Fault::found(what, Some(case), &input, &mut judge));
                    return report;
                }
            }
        }
        report
    }

    fn input(&self, mut chance: Chance, corpus: &[Vec<u8>]) -> Vec<u8> {
        if let Some(maker) = &self.maker
            && chance.one_in(2)
        {
            let mut made = maker(&mut chance);
            made.truncate(self.bytes_max);
            return made;
        }
        let mut input = chance.pick(corpus).cloned().unwrap_or_default();
        let stock = Stock {
            corpus,
            words: &self.words,
            bytes_max: self.bytes_max,
        };
        mutate(&mut input, &stock, &mut chance);
        input
    }

    fn judge(&self, input: &[u8], target: &mut impl FnMut(&[u8]) -> Verdict) -> Verdict {
        let before = self.memory.map(|(memory, _)| memory.begin());
        let begun = cpu_time();
        let verdict = caught(|| target(input)).unwrap_or_else(Err);
        let taken = cpu_time().saturating_sub(begun);
        let end = verdict?;
        if taken > self.cpu_max {
            return Err(format!("it took {} ms", taken.as_millis()));
        }
        if let (Some((memory, most)), Some(before)) = (self.memory, before) {
            let took = memory.most().saturating_sub(before);
            if took > most {
                return Err(format!("it took {} kB of memory", took / 1024));
            }
        }
        Ok(end)
    }
}

impl Report {
    /// Counts an end; whether it is the first of its kind.
    fn count(&mut self, verdict: Verdict) -> Result<bool, String> {
        let times = self.ends.entry(verdict?.into_owned()).or_default();
        *times += 1;
        Ok(*times == 1)
    }

    /// How many inputs came to ends that begin so.
    #[must_use]
    pub fn ended(&self, prefix: &str) -> u64 {
        let ends = self.ends.iter().filter(|(end, _)| end.starts_with(prefix));
        ends.map(|(_, times)| times).sum()
    }

    /// Says how the run went, and keeps the input that went wrong as a file.
    ///
    /// # Panics
    /// With the seed and the shortest input found, when something is wrong.
    #[expect(clippy::print_stdout, reason = "a soak is to be seen")]
    #[expect(clippy::panic, reason = "so does a test fail")]
    pub fn assert_sound(&self) {
        println!("{self}");
        if let Some(fault) = &self.fault {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
            let file = file.join(format!("{}.bin", self.name));
            panic!("{}{}", self.shown(fault), keep(&file, &fault.shrunk));
        }
    }

    fn shown(&self, fault: &Fault) -> String {
        let mut text = format!(
            "{}: {}\n  HOMECORE_FUZZ_SEED={} repeats it, at case {:?}\n  {} bytes, of which are needed {}:\n  {}\n",
            self.name,
            fault.what,
            self.seed,
            fault.case,
            fault.input.len(),
            fault.shrunk.len(),
            fault
                .shrunk
                .iter()
                .take(SHOWN_MAX)
                .copied()
                .map(std::ascii::escape_default)
                .map(|byte| byte.to_string())
                .collect::<String>(),
        );
        if fault.shrunk.len() > SHOWN_MAX {
            text.push_str("  …\n");
        }
        text
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} cases of HOMECORE_FUZZ_SEED={}",
            self.name, self.cases, self.seed
        )?;
        self.ends
            .iter()
            .try_for_each(|(end, times)| write!(f, "\n  {times:>8} {end}"))
    }
}

impl Fault {
    fn found(
        what: String,
        case: Option<u64>,
        input: &[u8],
        judge: &mut impl FnMut(&[u8]) -> Verdict,
    ) -> Self {
        let kind = kind_of(&what);
        let shrunk = shrink(input, |candidate| {
            judge(candidate).is_err_and(|what| kind_of(&what) == kind)
        });
        Self {
            what,
            case,
            input: input.to_vec(),
            shrunk,
        }
    }
}

/// A fault without its numbers: shorter inputs have others.
fn kind_of(what: &str) -> String {
    what.chars()
        .filter(|c| !c.is_ascii_digit())
        .take(60)
        .collect()
}

/// The time that this thread has worked.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), part)
}

fn keep(file: &Path, input: &[u8]) -> String {
    let folder = file.parent().unwrap_or(file);
    let kept = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(file, input));
    match kept {
        Ok(()) => format!("  HOMECORE_FUZZ_INPUT={} runs it alone\n", file.display()),
        Err(error) => format!("  it cannot be kept: {error}\n"),
    }
}

#[cfg(test)]
mod tests;
