//! How an input becomes another one.

use crate::chance::Chance;

/// Bytes and numbers at which readers go wrong.
const BYTES: [u8; 10] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xc0, 0xc1, 0xfe, 0xff];
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    u64::MAX >> 1,
    u64::MAX,
];
/// How often one thing may be repeated: deeper than any reader should follow.
const REPEATED_MAX: usize = 20_000;

/// What inputs are changed with.
pub(crate) struct Stock<'a> {
    /// Inputs to take pieces from.
    pub(crate) corpus: &'a [Vec<u8>],
    /// What the format is made of: keywords, brackets, marks.
    pub(crate) words: &'a [Vec<u8>],
    pub(crate) bytes_max: usize,
}

/// Changes an input a few times.
pub(crate) fn mutate(input: &mut Vec<u8>, stock: &Stock<'_>, chance: &mut Chance) {
    for _ in 0..=chance.below(4) {
        once(input, stock, chance);
    }
    input.truncate(stock.bytes_max);
}

fn once(input: &mut Vec<u8>, stock: &Stock<'_>, chance: &mut Chance) {
    let (from, to) = range(input.len(), chance);
    match chance.below(12) {
        0 => {
            if let Some(byte) = input.get_mut(from) {
                *byte ^= 1 << chance.below(8);
            }
        }
        1 => {
            let with = chance.pick(&BYTES).copied().unwrap_or_default();
            if let Some(byte) = input.get_mut(from) {
                *byte = with;
            }
        }
        2 => {
            let with = chance.bytes_up_to(16);
            put(input, from, to, &with);
        }
        3 => put(input, from, to, &[]),
        4 => input.truncate(from),
        5 => {
            let piece = input.get(from..to).unwrap_or_default().to_vec();
            put(input, from, from, &piece);
        }
        6 => {
            let other = chance.pick(stock.corpus).cloned().unwrap_or_default();
            let (begin, end) = range(other.len(), chance);
            put(input, from, to, other.get(begin..end).unwrap_or_default());
        }
        7 => number(input, from, chance),
        8 => {
            let word = chance.pick(stock.words).cloned().unwrap_or_default();
            put(input, from, from, &word);
        }
        9 => {
            let word = chance.pick(stock.words).cloned().unwrap_or_default();
            put(input, from, to, &word);
        }
        10 => {
            // Nested deep, or very many of something.
            let piece = match chance.pick(stock.words) {
                Some(word) if chance.one_in(2) => word.clone(),
                _ => input
                    .get(from..to.min(from + 8))
                    .unwrap_or_default()
                    .to_vec(),
            };
            let most = stock.bytes_max / piece.len().max(1);
            let times = 1 << chance.below(15);
            put(
                input,
                from,
                to,
                &piece.repeat(times.min(most).min(REPEATED_MAX)),
            );
        }
        _ => {
            let (begin, end) = range(input.len(), chance);
            let piece = input.get(begin..end).unwrap_or_default().to_vec();
            put(input, from, to, &piece);
        }
    }
}

/// A place and a short way on, sometimes a long one.
fn range(length: usize, chance: &mut Chance) -> (usize, usize) {
    let from = chance.below(length + 1);
    let most = if chance.one_in(4) { length } else { 16 };
    (from, (from + chance.below(most + 1)).min(length))
}

fn put(input: &mut Vec<u8>, from: usize, to: usize, with: &[u8]) {
    let from = from.min(input.len());
    let to = to.clamp(from, input.len());
    drop(input.splice(from..to, with.iter().copied()));
}

/// Writes a number over what may be a length: of one to eight bytes, either end first, or as a varint;
/// an odd one, or one beside what there is.
fn number(input: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let length = u64::try_from(input.len()).unwrap_or(u64::MAX);
    let number = match chance.below(3) {
        0 => length.wrapping_add(chance.number() % 5).wrapping_sub(2),
        1 => chance.number() >> chance.below(64),
        _ => chance.pick(&NUMBERS).copied().unwrap_or_default(),
    };
    let width = 1 << chance.below(4);
    let bytes = match chance.below(3) {
        0 => number
            .to_be_bytes()
            .get(8 - width..)
            .unwrap_or_default()
            .to_vec(),
        1 => number
            .to_be_bytes()
            .iter()
            .rev()
            .take(width)
            .copied()
            .collect(),
        _ => varint(number),
    };
    put(input, at, at + bytes.len(), &bytes);
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
