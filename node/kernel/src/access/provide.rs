//! Streams that are made with the access that gets permissions on them (spec/pryv-api §3.6).

use std::sync::Arc;

use homecore_store::Transaction;
use homecore_types::limits::STREAMS_PER_USER_MAX;

use super::error::AccessError;
use super::permissions::Asked;
use crate::actor::Actor;
use crate::error::InvalidStructure;
use crate::permission::Parents;
use crate::stream::Stream;
use crate::stream::tree::Tree;

/// Longest id of a stream that is made here.
const ID_CHARS_MAX: usize = 100;
/// The namespace of consents, whose streams are never made here.
const CONSENTS: &str = ":_cmc:";

/// Makes every stream that has a default name and does not exist, as a root, and takes those that
/// are in the trash out of it.
///
/// # Errors
/// If an id cannot be one, if a root has the name, or of the store.
pub(super) fn streams(
    tx: &mut Transaction<'_>,
    mut tree: Arc<Tree>,
    actor: &Actor,
    asked: &[Asked],
) -> Result<(), AccessError> {
    for asked in asked {
        let (Some(id), Some(name)) = (asked.permission.stream_id(), &asked.default_name) else {
            continue;
        };
        if id == "*" || id.starts_with(CONSENTS) {
            continue;
        }
        let author = actor.author();
        let stream = match tree.get(id) {
            Some(present) if present.trashed => Stream {
                trashed: false,
                modified: tx.at(),
                modified_by: author,
                ..present.clone()
            },
            _ if tree.contains(id) => continue,
            _ => {
                check_new(&tree, id, name)?;
                Stream {
                    name: name.clone(),
                    parent_id: None,
                    client_data: None,
                    trashed: false,
                    created: tx.at(),
                    created_by: author.clone(),
                    modified: tx.at(),
                    modified_by: author,
                }
            }
        };
        stream.replace(tx, id)?;
        // Later entries see it.
        Arc::make_mut(&mut tree).replace(id, stream);
    }
    Ok(())
}

fn check_new(tree: &Tree, id: &str, name: &str) -> Result<(), AccessError> {
    let may_be = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(may_be) {
        let reason = format!(
            "A stream with the id {id:?} cannot be made: it must be 1 to {ID_CHARS_MAX} lower-case \
             letters, digits and dashes"
        );
        return Err(InvalidStructure { reason }.into());
    }
    if tree.child_named(None, name).is_some() {
        return Err(AccessError::StreamNameTaken {
            name: name.to_owned(),
        });
    }
    if tree.len() >= STREAMS_PER_USER_MAX {
        return Err(AccessError::TooManyStreams);
    }
    Ok(())
}
