//! What one access may give to another (spec/pryv-api App. B.2).

use super::{
    Entries, Level, Parents, Permission, Rights, SECRET_SHARING, SELF_AUDIT, SELF_REVOKE,
    STEPS_MAX, Setting,
};

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

/// Whether a permission would give more than an access with these rights has. Unlike
/// [`may_give`] it takes what [`carried`] adds.
#[must_use]
pub fn exceeds(parents: &impl Parents, giver: &Rights, entry: &Permission) -> bool {
    match entry {
        Permission::Stream { level, stream_id } => {
            own_level(parents, giver, stream_id).common(*level) != *level
        }
        Permission::Feature { feature, setting } => !may_set(giver, feature, *setting),
        Permission::ForcedStreams { .. } => true,
    }
}

/// What an access gives that gives these permissions: they, and what limits the giver below the
/// streams that they name.
///
/// The contract's check looks at the streams that are named; below them the giver may itself be
/// limited on a branch, and again less so further down. Its entries there are carried over, none
/// higher than the level that is given. Without these a giver could give, on the stream above, what
/// it does not have.
#[must_use]
pub fn carried(
    parents: &impl Parents,
    giver: &Rights,
    mut entries: Vec<Permission>,
) -> Vec<Permission> {
    let given = Rights::limited(&entries);
    let mut got = Entries::of(&entries);
    // From the top down, so that what decides above a stream is there before it is looked at.
    let mut named: Vec<(&str, Level)> = giver.named().collect();
    named.sort_by_key(|(stream, _)| steps_down(parents, stream));
    for (stream, own) in named {
        let Some(level) = given.level(parents, stream) else {
            continue;
        };
        let left = level.common(own);
        if got.level(parents, stream) != Some(left) {
            got.set(stream, left);
            entries.push(Permission::stream(stream, left));
        }
    }
    if is_forbidden(giver, SECRET_SHARING) && !is_forbidden(&given, SECRET_SHARING) {
        entries.push(Permission::Feature {
            feature: SECRET_SHARING.to_owned(),
            setting: Setting::Forbidden,
        });
    }
    if given.forced() != giver.forced() {
        entries.extend(giver.forced_entry());
    }
    entries
}

/// Whether an access that had some rights and is left with others would leave one that it gave
/// permissions to with any of them that it then lacks. What it lacked before is no matter: streams
/// are moved and deleted under accesses.
#[must_use]
pub fn leaves_more(
    parents: &impl Parents,
    before: &Rights,
    after: &Rights,
    given: &[Permission],
) -> bool {
    let theirs = Rights::limited(given);
    // Between these streams no level changes.
    let named = [&theirs, before, after].into_iter().flat_map(Rights::named);
    let taken = named.map(|(stream, _)| stream).any(|stream| {
        let level = own_level(parents, &theirs, stream);
        let had = level.common(own_level(parents, before, stream));
        had.common(own_level(parents, after, stream)) != had
    });
    let is_feature = |entry: &&Permission| matches!(entry, Permission::Feature { .. });
    let mut features = given.iter().filter(is_feature);
    taken
        || features.any(|entry| exceeds(parents, after, entry) && !exceeds(parents, before, entry))
        || (is_forbidden(after, SECRET_SHARING)
            && !is_forbidden(before, SECRET_SHARING)
            && !is_forbidden(&theirs, SECRET_SHARING))
}

fn own_level(parents: &impl Parents, rights: &Rights, stream: &str) -> Level {
    rights.level(parents, stream).unwrap_or(Level::None)
}

fn is_forbidden(rights: &Rights, feature: &str) -> bool {
    rights.feature(feature) == Some(Setting::Forbidden)
}

/// How far below everything a stream lies; `*` and the like of a store lie above every stream.
fn steps_down(parents: &impl Parents, stream: &str) -> usize {
    if stream == "*" {
        return 0;
    }
    let above = std::iter::successors(Some(stream), |id| parents.parent_of(id));
    above.take(STEPS_MAX).count() + usize::from(!stream.ends_with(":*"))
}

#[cfg(test)]
mod tests;
