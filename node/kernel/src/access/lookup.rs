//! Finds accesses other than by their id or token.

use homecore_store::{Document, Scan, StoreError, View};

use super::{AccessType, StoredAccess};
use crate::indexes::{
    ACCESS_BY_CREATOR, ACCESS_BY_NAME, ACCESS_DELETED, ACCESS_DELETED_BY_CREATOR, creator_key,
    exactly, name_key, range,
};

/// Accesses read at once.
const PAGE: usize = 200;

/// The live access with a type, name and device. Whether it expired does not matter.
///
/// # Errors
/// Of the store.
pub(crate) fn named(
    view: &dyn View,
    kind: AccessType,
    name: &str,
    device: Option<&str>,
) -> Result<Option<(String, StoredAccess)>, StoreError> {
    let mut found = None;
    let scan = exactly(ACCESS_BY_NAME, name_key(kind.wire(), name), PAGE);
    each(view, scan, &mut |id, access| {
        // Long names share keys.
        if access.kind == kind && access.name == name && access.device_name.as_deref() == device {
            found = Some((id, access));
        }
        Ok::<_, StoreError>(found.is_none())
    })?;
    Ok(found)
}

/// Every live access, by type and name, until `look` says that it has seen enough.
///
/// # Errors
/// Of the store, or of `look`.
pub(crate) fn all<E: From<StoreError>>(
    view: &dyn View,
    look: &mut dyn FnMut(String, StoredAccess) -> Result<bool, E>,
) -> Result<(), E> {
    let scan = Scan {
        index: ACCESS_BY_NAME,
        from: Vec::new(),
        to: None,
        descending: false,
        limit: PAGE,
        after: None,
    };
    each(view, scan, look)
}

/// The live accesses that another created, until `look` says that it has seen enough.
///
/// # Errors
/// Of the store, or of `look`.
pub(crate) fn created_by<E: From<StoreError>>(
    view: &dyn View,
    creator: &str,
    look: &mut dyn FnMut(String, StoredAccess) -> Result<bool, E>,
) -> Result<(), E> {
    let scan = exactly(ACCESS_BY_CREATOR, creator_key(creator), PAGE);
    each(view, scan, &mut |id, access| {
        if access.creator() == creator {
            look(id, access)
        } else {
            Ok(true)
        }
    })
}

/// Deleted accesses, the last deleted first: of everybody, or those that one access had created.
///
/// # Errors
/// Of the store, or of `look`.
pub(crate) fn deleted<E: From<StoreError>>(
    view: &dyn View,
    creator: Option<&str>,
    look: &mut dyn FnMut(String, StoredAccess) -> Result<bool, E>,
) -> Result<(), E> {
    let (index, prefix) = match creator {
        None => (ACCESS_DELETED, Vec::new()),
        Some(creator) => (ACCESS_DELETED_BY_CREATOR, creator_key(creator)),
    };
    let mut scan = range(index, &prefix, f64::NEG_INFINITY, f64::INFINITY, true);
    scan.limit = PAGE;
    each(view, scan, &mut |id, access| {
        if creator.is_none_or(|creator| access.creator() == creator) {
            look(id, access)
        } else {
            Ok(true)
        }
    })
}

/// Reads an index page by page.
fn each<E: From<StoreError>>(
    view: &dyn View,
    mut scan: Scan,
    look: &mut dyn FnMut(String, StoredAccess) -> Result<bool, E>,
) -> Result<(), E> {
    loop {
        let page: Vec<(Vec<u8>, Document)> = view.scan(&scan)?;
        let last = page
            .last()
            .filter(|_| page.len() == scan.limit)
            .map(|(key, document)| (key.clone(), document.id.clone()));
        for (_, document) in page {
            let access = StoredAccess::decode(&document)?;
            if !look(document.id, access)? {
                return Ok(());
            }
        }
        if last.is_none() {
            return Ok(());
        }
        scan.after = last;
    }
}
