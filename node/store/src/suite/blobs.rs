//! The promises of a blob engine.

use std::sync::Arc;

use homecore_types::{Millis, UserId};

use super::user;
use crate::blob::{BlobHash, Blobs, DerivedName, Shard, StagedBlob, Swept};
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
        ("what is derived is found", derived_is_found),
        (
            "what is derived goes with its blob",
            derived_goes_with_its_blob,
        ),
        ("what is not used is swept", unused_is_swept),
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

const HOUR: i64 = 3_600_000;
/// Some time.
const NOW: Millis = Millis(1_800_000_000_000);

fn later(hours: i64) -> Millis {
    Millis(NOW.0 + hours * HOUR)
}

fn name(of: &BlobHash, what: &str) -> Result<DerivedName, StoreError> {
    DerivedName::new(*of, what).ok_or(StoreError::Stopped)
}

fn derived_is_found(blobs: &Made) -> Checked {
    let hash = put(blobs, &user(1), b"hello")?;
    let other = put(blobs, &user(1), b"other")?;
    put(blobs, &user(2), b"hello")?;
    let small = name(&hash, "small-1")?;
    assert_eq!(
        DerivedName::parse(&small.to_string()).as_ref(),
        Some(&small)
    );
    assert_eq!(blobs.find_derived(&user(1), &small, NOW)?, None);
    for bytes in [b"".as_slice(), b"first", b"second"] {
        blobs.keep_derived(&user(1), &small, bytes, NOW)?;
        let found = blobs.find_derived(&user(1), &small, later(3))?;
        assert_eq!(found.as_deref(), Some(bytes));
    }
    for (of, what) in [(hash, "small"), (hash, "large-1"), (other, "small-1")] {
        assert_eq!(blobs.find_derived(&user(1), &name(&of, what)?, NOW)?, None);
    }
    assert_eq!(blobs.find_derived(&user(2), &small, NOW)?, None);
    assert_eq!(blobs.list(&user(1), None, 9)?.len(), 2, "it is no blob");
    for bad in ["", "a.b", "../x", "A", &"a".repeat(41)] {
        assert_eq!(DerivedName::new(hash, bad), None, "{bad}");
    }
    Ok(())
}

fn derived_goes_with_its_blob(blobs: &Made) -> Checked {
    let hash = put(blobs, &user(1), b"hello")?;
    let other = put(blobs, &user(1), b"other")?;
    put(blobs, &user(2), b"hello")?;
    let names = [name(&hash, "a")?, name(&hash, "b")?, name(&other, "a")?];
    for name in &names {
        blobs.keep_derived(&user(1), name, b"x", NOW)?;
    }
    blobs.keep_derived(&user(2), &names[0], b"x", NOW)?;
    blobs.delete(&user(1), &hash)?;
    let there = |number, name| -> Result<bool, StoreError> {
        Ok(blobs.find_derived(&user(number), name, NOW)?.is_some())
    };
    assert!(!there(1, &names[0])? && !there(1, &names[1])? && there(1, &names[2])?);
    assert!(there(2, &names[0])?, "blobs belong to one user");
    // What was made meanwhile is not kept, nor found when the same bytes come again.
    blobs.keep_derived(&user(1), &names[0], b"x", NOW)?;
    put(blobs, &user(1), b"hello")?;
    assert!(!there(1, &names[0])?);
    assert!(
        !blobs.delete(&user(2), &other)?,
        "without one it is no error"
    );
    Ok(())
}

fn unused_is_swept(blobs: &Made) -> Checked {
    assert_eq!(blobs.derived_shards(&user(1))?, []);
    let hash = put(blobs, &user(1), b"hello")?;
    let shard = Shard::from(&hash);
    let (old, used, young) = (name(&hash, "old")?, name(&hash, "used")?, name(&hash, "y")?);
    blobs.keep_derived(&user(1), &old, b"12345", NOW)?;
    blobs.keep_derived(&user(1), &used, b"1234", NOW)?;
    blobs.keep_derived(&user(1), &young, b"123", later(10))?;
    assert_eq!(blobs.derived_shards(&user(1))?, [shard]);
    let swept = |removed, kept_bytes| Swept {
        removed,
        kept_bytes,
    };
    assert_eq!(blobs.sweep_derived(&user(1), shard, NOW)?, swept(0, 12));
    assert!(blobs.find_derived(&user(1), &used, later(9))?.is_some());
    assert_eq!(blobs.sweep_derived(&user(1), shard, later(5))?, swept(1, 7));
    assert_eq!(blobs.find_derived(&user(1), &old, later(9))?, None);
    assert_eq!(
        blobs.sweep_derived(&user(2), shard, later(99))?,
        swept(0, 0)
    );
    let elsewhere = Shard(shard.0.wrapping_add(1));
    assert_eq!(
        blobs.sweep_derived(&user(1), elsewhere, later(99))?,
        swept(0, 0)
    );
    assert_eq!(
        blobs.sweep_derived(&user(1), shard, later(99))?,
        swept(2, 0)
    );
    assert!(get(blobs, &user(1), &hash)?.is_some(), "blobs stay");
    Ok(())
}
