//! A process that dies between any two steps: after every restart exactly the blobs that were
//! published and not deleted are there, whole, and nothing is left of the others.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;

use homecore_store::blob::StagedBlob;
use homecore_store::suite::user;
use homecore_store::{BlobHash, Blobs};
use proptest::prelude::*;

use crate::suites::open;

#[derive(Clone, Debug)]
enum Step {
    /// Begins a blob, writes this much of it, and goes on to the next step.
    Stage {
        content: u8,
        pieces: usize,
    },
    /// Gives the oldest of those that were begun its name.
    Publish,
    /// Gives it up.
    Drop,
    Delete {
        content: u8,
    },
    /// The process dies: whatever was begun is forgotten without any of its code running.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u8, 0..5_usize).prop_map(|(content, pieces)| Step::Stage { content, pieces }),
        4 => Just(Step::Publish),
        1 => Just(Step::Drop),
        2 => (0..6_u8).prop_map(|content| Step::Delete { content }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

/// The bytes of a content as far as they were written.
fn bytes(content: u8, pieces: usize) -> Vec<u8> {
    vec![content; pieces * 1_000]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_published_is_there_and_nothing_else(steps in steps()) {
        let root = tempfile::tempdir().unwrap();
        let mut blobs = open(root.path()).unwrap();
        let mut begun: Vec<(Box<dyn StagedBlob>, Vec<u8>)> = Vec::new();
        let mut model: BTreeMap<BlobHash, usize> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Stage { content, pieces } => {
                    let mut staged = blobs.stage(&user(1)).unwrap();
                    for _ in 0..pieces {
                        staged.write(&bytes(content, 1)).unwrap();
                    }
                    begun.push((staged, bytes(content, pieces)));
                }
                Step::Publish if !begun.is_empty() => {
                    let (staged, bytes) = begun.remove(0);
                    let hash = BlobHash::of(&bytes);
                    staged.publish(&hash).unwrap();
                    model.insert(hash, bytes.len());
                }
                Step::Drop if !begun.is_empty() => drop(begun.remove(0)),
                Step::Publish | Step::Drop => {}
                Step::Delete { content } => {
                    for pieces in 0..5 {
                        let hash = BlobHash::of(&bytes(content, pieces));
                        let was = blobs.delete(&user(1), &hash).unwrap();
                        prop_assert_eq!(was, model.remove(&hash).is_some());
                    }
                }
                Step::Crash => {
                    let _never_dropped = ManuallyDrop::new(std::mem::take(&mut begun));
                    blobs = open(root.path()).unwrap();
                    let left = std::fs::read_dir(root.path().join(".uploads")).unwrap();
                    prop_assert_eq!(left.count(), 0);
                }
            }
            let listed = blobs.list(&user(1), None, 1_000).unwrap();
            let found: Vec<_> = listed.iter().map(|info| (info.hash, info.size)).collect();
            let wanted: Vec<_> = model
                .iter()
                .map(|(hash, size)| (*hash, u64::try_from(*size).unwrap()))
                .collect();
            prop_assert_eq!(found, wanted);
            for hash in model.keys() {
                let mut reader = blobs.open(&user(1), hash).unwrap().unwrap();
                let bytes = reader.read_at(0, 10_000).unwrap();
                prop_assert_eq!(BlobHash::of(&bytes), *hash);
            }
        }
    }
}
