//! What one access may give to another (spec/pryv-api App. B.2).

use super::{Level, Parents, Permission, Rights, SECRET_SHARING, SELF_AUDIT, SELF_REVOKE, Setting};

/// Whether an access with these rights may give these permissions: at least one on a stream, each no
/// higher than its own there, and no feature that it is denied.
#[must_use]
pub fn may_give(parents: &impl Parents, giver: &Rights, entries: &[Permission]) -> bool {
    let mut gives_a_stream = false;
    for entry in entries {
        let may = match entry {
            Permission::Stream { level, stream_id } => {
                gives_a_stream = true;
                giver
                    .level(parents, stream_id)
                    .is_some_and(|own| covers(own, *level))
            }
            Permission::Feature { feature, setting } => may_set(giver, feature, *setting),
            // Only operators set it.
            Permission::ForcedStreams { .. } => false,
        };
        if !may {
            return false;
        }
    }
    gives_a_stream
}

/// Who creates without reading cannot give at all.
fn covers(own: Level, given: Level) -> bool {
    own != Level::CreateOnly && own.rank() >= given.rank()
}

fn may_set(giver: &Rights, feature: &str, setting: Setting) -> bool {
    let own = giver.feature(feature);
    match feature {
        SELF_REVOKE | SECRET_SHARING => own != Some(Setting::Forbidden) || own == Some(setting),
        SELF_AUDIT => own.is_none_or(|own| own == setting),
        _ => false,
    }
}

/// What is to be added to permissions that an access gives, so that they give no more than it has.
///
/// The contract's check looks at the streams that are named; below them the giver may itself be
/// denied a branch, which the nearest entry decides. Without these a giver could give, on the stream
/// above, what it does not have there.
#[must_use]
pub fn denied(parents: &impl Parents, giver: &Rights, entries: &[Permission]) -> Vec<Permission> {
    let given = Rights::limited(entries);
    let mut denied: Vec<Permission> = giver
        .named()
        .filter_map(|(stream, own)| {
            let level = given.level(parents, stream)?;
            if level == Level::None || covers(own, level) {
                return None;
            }
            let left = match (own, level) {
                (Level::CreateOnly, _) | (_, Level::CreateOnly) => Level::None,
                (own, _) => own,
            };
            Some(Permission::stream(stream, left))
        })
        .collect();
    if giver.feature(SECRET_SHARING) == Some(Setting::Forbidden)
        && given.feature(SECRET_SHARING) != Some(Setting::Forbidden)
    {
        denied.push(Permission::Feature {
            feature: SECRET_SHARING.to_owned(),
            setting: Setting::Forbidden,
        });
    }
    if given.forced() != giver.forced() {
        denied.extend(giver.forced_entry());
    }
    denied
}

#[cfg(test)]
mod tests;
