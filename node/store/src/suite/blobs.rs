//! The promises of a blob engine.

use std::sync::Arc;

use homecore_types::UserId;

use super::user;
use crate::blob::{BlobHash, Blobs, StagedBlob};
use crate::error::StoreError;

type Made = Arc<dyn Blobs>;
type Checked = Result<(), StoreError>;
type Test = fn(&Made) -> Checked;

/// Runs every test, each on an engine of its own that `make` makes empty but for the users 1 and 2.
///
/// # Errors
/// What the engine reports.
///
/// # Panics
/// On a broken promise.
pub fn blob_suite<B: Blobs>(make: impl Fn() -> Arc<B>) -> Checked {
    let tests: &[(&str, Test)] = &[
        ("what is published is read", published_is_read),
        ("what is staged is not seen", staged_is_not_seen),
        ("the same bytes may come twice", the_same_bytes_twice),
        ("blobs belong to one user", blobs_belong_to_one_user),
        ("what is deleted is gone", deleted_is_gone),
        ("an open blob survives", an_open_blob_survives),
        ("lists come in pages", lists_come_in_pages),
        ("writers do not mix", writers_do_not_mix),
    ];
    for (name, test) in tests {
        let blobs: Made = make();
        test(&blobs).map_err(|error| StoreError::engine(format!("the test that {name}"), error))?;
    }
    Ok(())
}

/// Stages some bytes.
fn stage(blobs: &Made, user: &UserId, bytes: &[u8]) -> Result<Box<dyn StagedBlob>, StoreError> {
    let mut staged = blobs.stage(user)?;
    for piece in bytes.chunks(7) {
        staged.write(piece)?;
    }
    Ok(staged)
}

fn put(blobs: &Made, user: &UserId, bytes: &[u8]) -> Result<BlobHash, StoreError> {
    let hash = BlobHash::of(bytes);
    stage(blobs, user, bytes)?.publish(&hash)?;
    Ok(hash)
}

fn get(blobs: &Made, user: &UserId, hash: &BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut reader) = blobs.open(user, hash)? else {
        return Ok(None);
    };
    let bytes = reader.read_at(0, usize::MAX >> 1)?;
    assert_eq!(reader.size(), u64::try_from(bytes.len()).unwrap_or(0));
    Ok(Some(bytes.to_vec()))
}

fn published_is_read(blobs: &Made) -> Checked {
    let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    for bytes in [b"".as_slice(), b"hello", &long] {
        let hash = put(blobs, &user(1), bytes)?;
        assert_eq!(get(blobs, &user(1), &hash)?.as_deref(), Some(bytes));
        let mut reader = blobs.open(&user(1), &hash)?.ok_or(StoreError::Stopped)?;
        for (offset, most) in [(0, 1), (1, 3), (399_990, 100), (400_000, 5), (500_000, 5)] {
            let from = usize::try_from(offset).unwrap_or(0).min(bytes.len());
            let wanted: Vec<u8> = bytes.iter().skip(from).take(most).copied().collect();
            assert_eq!(reader.read_at(offset, most)?, wanted, "{offset} {most}");
        }
    }
    Ok(())
}

fn staged_is_not_seen(blobs: &Made) -> Checked {
    let staged = stage(blobs, &user(1), b"hello")?;
    assert_eq!(blobs.list(&user(1), None, 9)?, []);
    assert_eq!(get(blobs, &user(1), &BlobHash::of(b"hello"))?, None);
    drop(staged);
    assert_eq!(blobs.list(&user(1), None, 9)?, []);
    Ok(())
}

fn the_same_bytes_twice(blobs: &Made) -> Checked {
    let hash = BlobHash::of(b"hello");
    let (one, two) = (
        stage(blobs, &user(1), b"hello")?,
        stage(blobs, &user(1), b"hello")?,
    );
    one.publish(&hash)?;
    two.publish(&hash)?;
    assert_eq!(blobs.list(&user(1), None, 9)?.len(), 1);
    assert_eq!(get(blobs, &user(1), &hash)?, Some(b"hello".to_vec()));
    Ok(())
}

fn blobs_belong_to_one_user(blobs: &Made) -> Checked {
    let hash = put(blobs, &user(1), b"hello")?;
    assert_eq!(get(blobs, &user(2), &hash)?, None);
    assert_eq!(blobs.list(&user(2), None, 9)?, []);
    put(blobs, &user(2), b"hello")?;
    assert!(blobs.delete(&user(1), &hash)?);
    assert_eq!(get(blobs, &user(2), &hash)?, Some(b"hello".to_vec()));
    Ok(())
}

fn deleted_is_gone(blobs: &Made) -> Checked {
    let hash = put(blobs, &user(1), b"hello")?;
    assert!(blobs.delete(&user(1), &hash)?);
    assert!(!blobs.delete(&user(1), &hash)?);
    assert_eq!(get(blobs, &user(1), &hash)?, None);
    assert_eq!(blobs.list(&user(1), None, 9)?, []);
    assert_eq!(put(blobs, &user(1), b"hello")?, hash);
    assert_eq!(get(blobs, &user(1), &hash)?, Some(b"hello".to_vec()));
    Ok(())
}

fn an_open_blob_survives(blobs: &Made) -> Checked {
    let hash = put(blobs, &user(1), b"hello")?;
    let mut reader = blobs.open(&user(1), &hash)?.ok_or(StoreError::Stopped)?;
    blobs.delete(&user(1), &hash)?;
    assert_eq!(reader.read_at(1, 3)?, b"ell".as_slice());
    Ok(())
}

fn lists_come_in_pages(blobs: &Made) -> Checked {
    let mut hashes = Vec::new();
    for number in 0..50_u32 {
        hashes.push(put(blobs, &user(1), &number.to_be_bytes())?);
    }
    hashes.sort();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = blobs.list(&user(1), after.as_ref(), 7)?;
        assert!(page.len() <= 7);
        assert!(page.iter().all(|info| info.size == 4));
        let Some(last) = page.last() else { break };
        after = Some(last.hash);
        found.extend(page.iter().map(|info| info.hash));
    }
    assert_eq!(found, hashes);
    Ok(())
}

fn writers_do_not_mix(blobs: &Made) -> Checked {
    let write = |number: u8| -> Checked {
        for round in 0..20_u8 {
            let bytes = vec![number ^ round; 10_000];
            let hash = put(blobs, &user(1), &bytes)?;
            assert_eq!(get(blobs, &user(1), &hash)?, Some(bytes));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u8)
            .map(|number| scope.spawn(move || write(number)))
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(checked) => checked?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}
