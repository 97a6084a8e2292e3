//! The number of voters is odd but while they are being changed, and whoever has applied anything knows
//! who votes. Both are what consensus says of itself: the state may be a moment ahead of that.

use crate::invariants::Seen;

pub(crate) fn check(seen: &Seen) -> Result<(), String> {
    let voters = seen.status.voters.len();
    let nothing_yet = seen.status.applied.is_none();
    if seen.status.changing || seen.status.stopped || nothing_yet {
        return Ok(());
    }
    if voters.is_multiple_of(2) {
        return Err(format!(
            "odd voters: there are {voters} at {}: {:?}",
            seen.index, seen.status.voters
        ));
    }
    Ok(())
}
