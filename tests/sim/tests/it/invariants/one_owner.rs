//! One owner of a name: who was told that a name is its own has it, everywhere, and nobody else was told
//! the same; so for addresses.

use std::collections::BTreeMap;

use crate::invariants::Seen;
use crate::oracle::Oracle;

pub(crate) fn check(oracle: &Oracle, seen: &Seen) -> Result<(), String> {
    let (mut names, mut emails) = (BTreeMap::new(), BTreeMap::new());
    for (id, user) in oracle.living() {
        for (kind, map, value) in [
            ("name", &mut names, &user.name),
            ("address", &mut emails, &user.email),
        ] {
            if let Some(other) = map.insert(value.clone(), id) {
                return Err(format!(
                    "one owner: {other} and {id} were both told that they have the {kind} {value}"
                ));
            }
        }
        if user.index.is_some_and(|index| index <= seen.index)
            && let Some(entry) = seen.directory.user(&user.name)
            && entry.id != *id
        {
            return Err(format!(
                "one owner: {} belongs to {id}, and at {} here to {}",
                user.name, seen.index, entry.id
            ));
        }
    }
    Ok(())
}
