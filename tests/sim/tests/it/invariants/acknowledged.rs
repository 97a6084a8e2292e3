//! No acknowledged command is lost: a core that has applied the log as far as when something was
//! acknowledged shows it.

use crate::invariants::Seen;
use crate::oracle::{Life, Oracle};

pub(crate) fn check(oracle: &Oracle, seen: &Seen) -> Result<(), String> {
    for (id, user) in &oracle.users {
        let entry = || seen.directory.user(&user.name);
        match user.end {
            Life::Lives if user.index.is_some_and(|index| index <= seen.index) => {
                let there = entry().is_some_and(|entry| entry.id == *id && entry.active);
                if !there {
                    return Err(format!(
                        "acknowledged: {} ({id}) was registered by {:?} and is not there at {}",
                        user.name, user.index, seen.index
                    ));
                }
            }
            Life::Ended(index) if index <= seen.index => {
                if entry().is_some_and(|entry| entry.id == *id) {
                    return Err(format!(
                        "acknowledged: {} ({id}) was deleted by {index} and is there at {}",
                        user.name, seen.index
                    ));
                }
            }
            Life::Lives | Life::Unknown | Life::Ended(_) => {}
        }
    }
    for (label, text) in oracle
        .texts
        .iter()
        .filter(|(_, text)| text.index <= seen.index)
    {
        let record = seen.directory.dns_record(label);
        let there = record
            .and_then(|record| record.txt.first())
            .and_then(|text| text.parse::<u64>().ok());
        if there.is_none_or(|there| there < text.number) {
            return Err(format!(
                "acknowledged: {label} was set to {} by {} and is {there:?} at {}",
                text.number, text.index, seen.index
            ));
        }
    }
    Ok(())
}
