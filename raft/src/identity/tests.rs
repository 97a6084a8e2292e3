//! What the identity file promises.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn identity(node: u64) -> Identity {
    Identity {
        cluster: ClusterId::parse("c".repeat(24)).unwrap(),
        node: NodeId(node),
        core: CoreId::parse("core-a").unwrap(),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_is_stored_is_loaded_and_is_private() {
    let dir = folder();
    assert_eq!(load(dir.path()).unwrap(), None);
    store(dir.path(), &identity(7)).unwrap();
    store(dir.path(), &identity(7)).unwrap();
    assert_eq!(load(dir.path()).unwrap(), Some(identity(7)));
    let mode = fs::metadata(dir.path().join(FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_folder_keeps_its_identity() {
    let dir = folder();
    store(dir.path(), &identity(7)).unwrap();
    let error = store(dir.path(), &identity(8)).unwrap_err();
    assert!(error.to_string().contains("node 7"), "{error}");
    assert_eq!(load(dir.path()).unwrap(), Some(identity(7)));
}

#[test]
fn the_mark_of_a_log_survives() {
    let dir = folder();
    store(dir.path(), &identity(7)).unwrap();
    assert!(!log_was_created(dir.path()).unwrap());
    mark_log_created(dir.path(), &identity(7)).unwrap();
    store(dir.path(), &identity(7)).unwrap();
    assert!(log_was_created(dir.path()).unwrap());
}

#[test]
fn a_newer_format_is_named() {
    let dir = folder();
    fs::write(dir.path().join(FILE), br#"{"format":9,"something":"new"}"#).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(
        matches!(error, IdentityError::UnknownFormat { found: 9, .. }),
        "{error}"
    );
    fs::write(dir.path().join(FILE), b"{").unwrap();
    assert!(matches!(
        load(dir.path()),
        Err(IdentityError::Malformed { .. })
    ));
}
