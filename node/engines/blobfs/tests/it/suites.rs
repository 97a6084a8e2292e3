//! The promises of every blob engine, and what only files can break.

use std::path::Path;
use std::sync::Arc;

use homecore_engine_blobfs::BlobFs;
use homecore_store::blob::{Derived, DerivedName, Shard};
use homecore_store::suite::{blob_suite, user};
use homecore_store::{BlobHash, Blobs, StoreError};
use homecore_types::Millis;

/// An engine over a folder that has the users 1 and 2.
pub(crate) fn open(root: &Path) -> Result<BlobFs, Box<dyn std::error::Error>> {
    for number in [1, 2] {
        std::fs::create_dir_all(root.join(user(number).as_str()))?;
    }
    let root = root.to_owned();
    let staging = root.join(".uploads");
    Ok(BlobFs::open(&staging, move |user| {
        root.join(user.as_str())
    })?)
}

#[test]
fn every_promise_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    blob_suite(|| {
        count.set(count.get() + 1);
        let folder = root.path().join(count.get().to_string());
        std::fs::create_dir(&folder).unwrap();
        Arc::new(open(&folder).unwrap())
    })
    .unwrap();
}

#[test]
fn a_user_that_is_gone_is_not_made_again() {
    let root = tempfile::tempdir().unwrap();
    let blobs = open(root.path()).unwrap();
    let mut staged = blobs.stage(&user(1)).unwrap();
    staged.write(b"hello").unwrap();
    std::fs::remove_dir_all(root.path().join(user(1).as_str())).unwrap();
    let refused = staged.publish(&BlobHash::of(b"hello"));
    assert!(matches!(refused, Err(StoreError::UnknownUser { .. })));
    assert!(!root.path().join(user(1).as_str()).try_exists().unwrap());
    assert_eq!(
        std::fs::read_dir(root.path().join(".uploads"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn strange_files_are_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let blobs = open(root.path()).unwrap();
    let mut staged = blobs.stage(&user(1)).unwrap();
    staged.write(b"hello").unwrap();
    staged.publish(&BlobHash::of(b"hello")).unwrap();
    let folder = root.path().join(user(1).as_str()).join("blobs");
    std::fs::create_dir_all(folder.join("zz")).unwrap();
    std::fs::write(folder.join("zz/notes.txt"), "x").unwrap();
    assert_eq!(blobs.list(&user(1), None, 9).unwrap().len(), 1);
}

#[test]
fn a_file_that_was_cut_short_is_an_error_and_no_answer() {
    let root = tempfile::tempdir().unwrap();
    let blobs = open(root.path()).unwrap();
    let hash = BlobHash::of(b"hello");
    let mut staged = blobs.stage(&user(1)).unwrap();
    staged.write(b"hello").unwrap();
    staged.publish(&hash).unwrap();
    let mut reader = blobs.open(&user(1), &hash).unwrap().unwrap();
    let folder = root.path().join(user(1).as_str()).join("blobs");
    let text = hash.to_string();
    let path = folder.join(text.get(..2).unwrap()).join(&text);
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(2)
        .unwrap();
    assert!(reader.read_at(0, 5).is_err());
}

#[test]
fn what_was_made_of_a_blob_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let blobs = open(root.path()).unwrap();
    let hash = BlobHash::of(b"hello");
    let mut staged = blobs.stage(&user(1)).unwrap();
    staged.write(b"hello").unwrap();
    staged.publish(&hash).unwrap();
    let name = DerivedName::new(hash, "small").unwrap();
    let home = root.path().join(user(1).as_str());
    let text = hash.to_string();
    let shard = home.join("previews").join(text.get(..2).unwrap());
    blobs
        .keep_derived(&user(1), &name, b"x", Millis(0))
        .unwrap();
    std::fs::write(shard.join("notes.txt"), "x").unwrap();
    std::fs::create_dir(home.join("previews/zz")).unwrap();
    assert_eq!(blobs.derived_shards(&user(1)).unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(&shard).unwrap().count(), 2);
    assert!(blobs.delete(&user(1), &hash).unwrap());
    assert_eq!(std::fs::read_dir(&shard).unwrap().count(), 1);
    // Neither the user nor the blob comes back with it.
    blobs
        .keep_derived(&user(1), &name, b"x", Millis(0))
        .unwrap();
    assert_eq!(std::fs::read_dir(&shard).unwrap().count(), 1);
    std::fs::remove_dir_all(&home).unwrap();
    blobs
        .keep_derived(&user(1), &name, b"x", Millis(0))
        .unwrap();
    assert!(!home.try_exists().unwrap());
    let staging = root.path().join(".uploads");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn what_outlived_its_blob_is_swept() {
    let root = tempfile::tempdir().unwrap();
    let blobs = open(root.path()).unwrap();
    let hash = BlobHash::of(b"hello");
    let mut staged = blobs.stage(&user(1)).unwrap();
    staged.write(b"hello").unwrap();
    staged.publish(&hash).unwrap();
    let name = DerivedName::new(hash, "small").unwrap();
    let kept = blobs.keep_derived(&user(1), &name, b"x", Millis(9));
    kept.unwrap();
    let sweep = || {
        let swept = blobs.sweep_derived(&user(1), Shard::from(&hash), Millis(0));
        swept.unwrap().removed
    };
    assert_eq!(sweep(), 0);
    // As a crash amid a deletion leaves it.
    let text = hash.to_string();
    let home = root.path().join(user(1).as_str());
    let shard = home.join("blobs").join(text.get(..2).unwrap());
    std::fs::remove_file(shard.join(&text)).unwrap();
    assert_eq!(sweep(), 1);
    let found = blobs.find_derived(&user(1), &name, Millis(9));
    assert_eq!(found.unwrap(), None);
}
