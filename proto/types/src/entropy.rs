//! Chance. Ids, tokens and secrets are drawn through [`Entropy`], so that a simulation can replay
//! them; outside of tests there is one source, the operating system's.

use std::fmt;

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

/// Digits that the turn has: it begins again after 1.7 million.
const TURN_DIGITS: usize = 4;

/// A new wire id that sorts after those made before it: `c`, the time in milliseconds with nine digits of
/// base 36, four digits of a number that grows with each id of the same moment (`turn`), and ten characters of
/// chance (51 bits). What is stored together is then found together, and what one request made has the
/// order in which it was made. For what shows when it was made anyway, and for nothing that is to be kept
/// secret.
///
/// ```
/// # use homecore_types::{entropy, Millis, SystemEntropy};
/// let id = |ms, turn| entropy::ordered_id(Millis(ms), turn, &SystemEntropy);
/// assert!(id(1_700_000_000_000, 9) < id(1_700_000_000_000, 10));
/// assert!(id(1_700_000_000_000, 10) < id(1_700_000_000_001, 0));
/// ```
#[must_use]
pub fn ordered_id(now: Millis, turn: u64, entropy: &dyn Entropy) -> String {
    let mut draws = Draws::of(entropy);
    let mut id = String::with_capacity(24);
    id.push('c');
    let time = u64::try_from(now.0).unwrap_or(0);
    id.extend(digits::<TIME_DIGITS>(time).map(char::from));
    id.extend(digits::<TURN_DIGITS>(turn).map(char::from));
    while id.len() < 24 {
        id.push(char::from(draws.pick(REST)));
    }
    id
}

/// The last digits of a number.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        let place = usize::try_from(number % 36).unwrap_or(0);
        *digit = DIGITS.get(place).copied().unwrap_or(b'0');
        number /= 36;
    }
    digits
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

    /// Draws one of `alphabet` (at most 256 letters) without bias: bytes at or above the largest
    /// multiple of its length are drawn again.
    fn pick(&mut self, alphabet: &[u8]) -> u8 {
        let bound = 256 - 256 % alphabet.len().max(1);
        loop {
            let drawn = usize::from(self.next());
            if drawn < bound
                && let Some(letter) = alphabet.get(drawn % alphabet.len())
            {
                return *letter;
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
        let at = |ms| ordered_id(Millis(ms), 7, &SystemEntropy);
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
        for id in ids {
            assert_eq!(id.len(), 24);
            assert!(
                id.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            );
        }
        assert_ne!(at(1), at(1));
    }

    #[test]
    fn ids_of_one_moment_sort_by_their_turn() {
        let turns = [0, 1, 35, 36, 1_295, 46_656, 36_u64.pow(4) - 1];
        let ids = turns.map(|turn| ordered_id(Millis(1), turn, &SystemEntropy));
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ordered_id(Millis(1), 36_u64.pow(4), &SystemEntropy).starts_with("c0000000010000"));
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
