//! Chance. Ids, tokens and secrets are drawn through [`Entropy`], so that a simulation can replay
//! them; outside of tests there is one source, the operating system's.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::Millis;

/// A source of random bytes good enough for secrets.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);

    /// How many bytes whoever uses them one by one had best ask for at once. What is left of them is not
    /// used, so a source that replays chance says one.
    fn at_once(&self) -> usize {
        1
    }
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::panic,
        reason = "without randomness no secret can be made; going on would be worse"
    )]
    fn fill(&self, out: &mut [u8]) {
        if let Err(error) = getrandom::fill(out) {
            panic!("the operating system gives no random bytes: {error}");
        }
    }

    /// Each time it is asked costs more than the bytes do, and an id takes some 25.
    fn at_once(&self) -> usize {
        AT_ONCE_MAX
    }
}

const FIRST: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
const REST: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A new wire id: 24 characters, first `[a-z]`, rest `[a-z0-9]` (spec/pryv-api §0.2).
///
/// ```
/// # use homecore_types::{entropy, SystemEntropy};
/// assert_eq!(entropy::wire_id(&SystemEntropy).len(), 24);
/// ```
#[must_use]
pub fn wire_id(entropy: &dyn Entropy) -> String {
    let mut draws = Draws::of(entropy);
    let mut id = String::with_capacity(24);
    id.push(char::from(draws.pick(FIRST)));
    while id.len() < 24 {
        id.push(char::from(draws.pick(REST)));
    }
    id
}

/// Digits of base 36, in the order in which texts sort.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Digits that the time has in an id: enough for two thousand years.
const TIME_DIGITS: usize = 9;

/// Digits of chance in an id that sorts by time.
const TAIL_DIGITS: usize = 14;
/// Tails that there are: 72 bits.
const TAILS: u128 = 36_u128.pow(14);
/// How far one id may be from the one before: 51 bits, so that the next one is not to be guessed.
const STEPS: u128 = 36_u128.pow(10);
/// How far a clock may step back before its time is taken.
const BACK_MS_MAX: u64 = 10_000;

/// Makes wire ids that sort in the order in which they were made: `c`, the time in milliseconds with nine
/// digits of base 36, and 14 digits of chance, as ids of the original have it. What is stored together is
/// then found together. For what shows when it was made anyway, and for nothing that is to be kept secret.
///
/// Within one millisecond, and while the clock is back by up to ten seconds, the chance is that of the id
/// before plus a random step. Where it would be more than 14 digits, some 800,000 ids on average, the time
/// in the id is one millisecond later.
///
/// ```
/// # use homecore_types::{entropy::OrderedIds, Millis, SystemEntropy};
/// let ids = OrderedIds::default();
/// let id = |ms| ids.make(Millis(ms), &SystemEntropy);
/// assert!(id(1_700_000_000_000) < id(1_700_000_000_000));
/// ```
#[derive(Debug, Default)]
pub struct OrderedIds(Mutex<Place>);

/// Where an id stands among others.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    ms: u64,
    tail: u128,
}

impl OrderedIds {
    /// An id that sorts after all that were made before.
    #[must_use]
    pub fn make(&self, now: Millis, entropy: &dyn Entropy) -> String {
        let mut draws = Draws::of(entropy);
        let drawn = Place {
            ms: u64::try_from(now.0).unwrap_or(0),
            tail: (0..TAIL_DIGITS).fold(0, |tail, _| tail * 36 + u128::from(draws.below(36))),
        };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = last.next(drawn);
        *last = place;
        drop(last);
        place.to_id()
    }
}

impl Place {
    /// The place after this one, from one that was drawn.
    fn next(self, drawn: Self) -> Self {
        if drawn.ms > self.ms || self.ms - drawn.ms > BACK_MS_MAX {
            return drawn;
        }
        let tail = self.tail + 1 + drawn.tail % STEPS;
        if tail < TAILS {
            Self { ms: self.ms, tail }
        } else {
            Self {
                ms: self.ms.saturating_add(1),
                tail: drawn.tail,
            }
        }
    }

    fn to_id(self) -> String {
        let mut id = [b'c'; 1 + TIME_DIGITS + TAIL_DIGITS];
        let (time, tail) = id[1..].split_at_mut(TIME_DIGITS);
        write_digits(time, u128::from(self.ms));
        write_digits(tail, self.tail);
        id.map(char::from).iter().collect()
    }
}

/// Writes the last digits of a number, as many as there is room for.
fn write_digits(out: &mut [u8], mut number: u128) {
    for digit in out.iter_mut().rev() {
        let place = usize::try_from(number % 36).unwrap_or(0);
        *digit = DIGITS.get(place).copied().unwrap_or(b'0');
        number /= 36;
    }
}

/// `len` characters drawn evenly from `[a-z0-9]`.
#[must_use]
pub fn lower_alphanumeric(entropy: &dyn Entropy, len: usize) -> String {
    let mut draws = Draws::of(entropy);
    (0..len).map(|_| char::from(draws.pick(REST))).collect()
}

/// Letters that people do not mistake for each other (spec/platform §2.7).
const PLAIN: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// `len` characters drawn evenly from letters and digits that people do not mistake for each other.
#[must_use]
pub fn plain_letters(entropy: &dyn Entropy, len: usize) -> String {
    let mut draws = Draws::of(entropy);
    (0..len).map(|_| char::from(draws.pick(PLAIN))).collect()
}

/// Most bytes asked for at once.
const AT_ONCE_MAX: usize = 32;

/// Random bytes, each used once.
struct Draws<'a> {
    entropy: &'a dyn Entropy,
    drawn: [u8; AT_ONCE_MAX],
    used: usize,
    end: usize,
}

impl<'a> Draws<'a> {
    fn of(entropy: &'a dyn Entropy) -> Self {
        Self {
            entropy,
            drawn: [0; AT_ONCE_MAX],
            used: 0,
            end: 0,
        }
    }

    fn next(&mut self) -> u8 {
        loop {
            if self.used < self.end
                && let Some(byte) = self.drawn.get(self.used)
            {
                self.used += 1;
                return *byte;
            }
            self.end = self.entropy.at_once().clamp(1, AT_ONCE_MAX);
            if let Some(asked) = self.drawn.get_mut(..self.end) {
                self.entropy.fill(asked);
            }
            self.used = 0;
        }
    }

    /// Draws one of `alphabet` (at most 255 letters) without bias.
    fn pick(&mut self, alphabet: &[u8]) -> u8 {
        let most = u8::try_from(alphabet.len()).unwrap_or(u8::MAX);
        let drawn = usize::from(self.below(most));
        alphabet.get(drawn).copied().unwrap_or(b'a')
    }

    /// Draws a number below `end`, which is not 0, without bias: bytes at or above its largest multiple are
    /// drawn again.
    fn below(&mut self, end: u8) -> u8 {
        let end = u16::from(end.max(1));
        let bound = 256 - 256 % end;
        loop {
            let drawn = u16::from(self.next());
            if drawn < bound
                && let Ok(number) = u8::try_from(drawn % end)
            {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts, and says how it was asked.
    #[derive(Debug, Default)]
    struct Counting(std::sync::Mutex<(u8, Vec<usize>)>);

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) {
            let mut state = self.0.lock().unwrap();
            state.1.push(out.len());
            for byte in out {
                *byte = state.0;
                state.0 = state.0.wrapping_add(1);
            }
        }
    }

    #[test]
    fn a_source_that_says_nothing_is_asked_for_one_byte_at_a_time() {
        let source = Counting::default();
        assert_eq!(wire_id(&source), "abcdefghijklmnopqrstuvwx");
        assert_eq!(source.0.lock().unwrap().1, vec![1; 24]);
    }

    #[test]
    fn ordered_ids_have_the_shape_and_sort_by_time() {
        let at = |ms| OrderedIds::default().make(Millis(ms), &SystemEntropy);
        assert!(at(0).starts_with("c000000000"));
        assert!(
            at(-5).starts_with("c000000000"),
            "before 1970 there is one place"
        );
        assert!(at(36 * 36 + 35).starts_with("c00000010z"));
        let times = [
            0,
            1,
            35,
            36,
            1_295,
            1_296,
            1_795_369_711_439,
            1_795_369_711_440,
            i64::MAX >> 20,
        ];
        let ids: Vec<String> = times.iter().map(|ms| at(*ms)).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        ids.iter().for_each(|id| assert_shape(id));
        assert_ne!(at(1), at(1));
    }

    fn assert_shape(id: &str) {
        assert_eq!(id.len(), 24);
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
    }

    #[test]
    fn ordered_ids_of_one_moment_sort_as_they_were_made() {
        let ids = OrderedIds::default();
        let now = 1_795_369_711_439;
        // The clock stands still, goes on, and steps back now and then.
        let times = (0..10_000).map(|i| now + i / 100 - (i % 7) * 1_000);
        let made: Vec<String> = times
            .map(|ms| ids.make(Millis(ms), &SystemEntropy))
            .collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        made.iter().for_each(|id| assert_shape(id));
        let far = ids.make(Millis(now - 60_000), &SystemEntropy);
        assert!(far < made[0], "a clock that was wrong is believed again");
    }

    #[test]
    fn where_there_is_no_room_for_a_step_the_next_millisecond_is_taken() {
        let last = Place {
            ms: 35,
            tail: TAILS - 2,
        };
        let with = |tail| last.next(Place { ms: 35, tail });
        assert_eq!(with(0).to_id(), "c00000000zzzzzzzzzzzzzzz");
        let beyond = with(1);
        assert_eq!(beyond.to_id(), "c00000001000000000000001");
        let back = beyond.next(Place {
            ms: 35,
            tail: STEPS,
        });
        assert_eq!((back.ms, back.tail), (36, 2), "and is not left again");
        assert!(STEPS > 1 << 48, "a step is not to be guessed");
    }

    #[test]
    fn wire_ids_have_the_shape_and_differ() {
        let a = wire_id(&SystemEntropy);
        assert_ne!(a, wire_id(&SystemEntropy));
        assert!(a.starts_with(|c: char| c.is_ascii_lowercase()));
        assert!(
            a.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
    }
}
