//! Chance. Ids, tokens and secrets are drawn through [`Entropy`], so that a simulation can replay
//! them; outside of tests there is one source, the operating system's.

use std::fmt;

/// A source of random bytes good enough for secrets.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
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

/// `len` characters drawn evenly from `[a-z0-9]`.
#[must_use]
pub fn lower_alphanumeric(entropy: &dyn Entropy, len: usize) -> String {
    let mut draws = Draws::of(entropy);
    (0..len).map(|_| char::from(draws.pick(REST))).collect()
}

/// Bytes asked for at once: each time the system is asked costs more than the bytes do, and an id
/// takes some 25.
const DRAWN_AT_ONCE: usize = 32;

/// Random bytes, each used once.
struct Draws<'a> {
    entropy: &'a dyn Entropy,
    drawn: std::array::IntoIter<u8, DRAWN_AT_ONCE>,
}

impl<'a> Draws<'a> {
    fn of(entropy: &'a dyn Entropy) -> Self {
        let mut drawn = [0; DRAWN_AT_ONCE].into_iter();
        // None yet.
        drawn.by_ref().for_each(drop);
        Self { entropy, drawn }
    }

    fn next(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.drawn.next() {
                return byte;
            }
            let mut bytes = [0; DRAWN_AT_ONCE];
            self.entropy.fill(&mut bytes);
            self.drawn = bytes.into_iter();
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
