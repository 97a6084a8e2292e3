//! What JSON costs before it is parsed: its values take far more memory than its text (`[0,0,…]` forty
//! times as much), and whoever sends it chooses how many there are.

/// Memory of one more value or key: a value in a vector that doubles as it grows, or an entry of a map
/// with its key. An estimate from above.
pub const ITEM_BYTES: usize = 160;
/// Memory of one more list or object: the first allocation of either has room for four.
pub const CONTAINER_BYTES: usize = 512;

/// What the values of a JSON text take beside the text itself, at most: a look at each byte, no more.
/// Punctuation inside of strings counts too, which is little where there is text.
///
/// ```
/// use homecore_types::json::{CONTAINER_BYTES, ITEM_BYTES, value_bytes};
///
/// assert_eq!(value_bytes(b"[0,0]"), CONTAINER_BYTES + ITEM_BYTES);
/// ```
#[must_use]
pub fn value_bytes(text: &[u8]) -> usize {
    let bytes = |byte: &u8| match byte {
        b',' | b':' => ITEM_BYTES,
        b'[' | b'{' => CONTAINER_BYTES,
        _ => 0,
    };
    text.iter().map(bytes).sum()
}
