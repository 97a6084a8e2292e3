//! A file comes back as it was written, or not at all.

use super::*;

fn header(index: u64) -> Header {
    Header {
        applied: Applied {
            index: Some(index),
            log_id: Some(vec![1, 2, 3]),
            membership: Some(b"members".to_vec()),
        },
    }
}

fn some_items(count: u32) -> Vec<Item> {
    (0..count)
        .map(|n| {
            (
                Space::Users,
                n.to_be_bytes().to_vec(),
                vec![7; usize::try_from(n % 900).unwrap()],
            )
        })
        .collect()
}

fn write(dir: &Path, index: u64, items: &[Item]) -> PathBuf {
    let mut writer = Writer::create(dir, header(index)).unwrap();
    for chunk in items.chunks(17) {
        writer.write(chunk).unwrap();
    }
    writer.finish().unwrap()
}

fn read(path: &Path) -> Result<(Header, Vec<Item>), SnapshotError> {
    let mut reader = Reader::open(path)?;
    let mut all = Vec::new();
    while let Some(items) = reader.next_items()? {
        all.extend(items);
    }
    assert!(reader.next_items()?.is_none(), "the end stays the end");
    Ok((reader.header().clone(), all))
}

#[test]
fn items_come_back_over_many_frames() {
    let dir = tempfile::tempdir().unwrap();
    let mut items = some_items(3_000);
    items.push((Space::AccessRequests, Vec::new(), vec![1; FRAME_BYTES + 5]));
    items.push((Space::Dns, b"last".to_vec(), Vec::new()));
    let path = write(dir.path(), 9, &items);
    assert!(std::fs::metadata(&path).unwrap().len() > 3 * FRAME_BYTES as u64);
    let (found, all) = read(&path).unwrap();
    assert_eq!(found, header(9));
    assert_eq!(all, items);
    assert_eq!(verify(&path).unwrap(), header(9));
}

#[test]
fn an_empty_state_is_a_snapshot_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = Writer::create(dir.path(), Header::default())
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(read(&path).unwrap(), (Header::default(), Vec::new()));
}

#[test]
fn every_flipped_bit_is_noticed_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 9, &some_items(40));
    let whole = std::fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        std::fs::write(&path, &bytes).unwrap();
        let error = verify(&path).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("snapshot-00000000000000000009.hcs"),
            "{error}"
        );
        match error {
            SnapshotError::Damaged { offset, .. } => {
                assert!(
                    offset <= u64::try_from(position).unwrap(),
                    "{offset} > {position}"
                );
            }
            SnapshotError::UnknownFormat { .. } => assert!((8..12).contains(&position)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn every_cut_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 9, &some_items(40));
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = verify(&path).unwrap_err();
        assert!(
            matches!(
                error,
                SnapshotError::Damaged {
                    damage: Damage::Truncated,
                    ..
                }
            ),
            "cut to {length}: {error}"
        );
    }
    let mut longer = whole;
    longer.push(0);
    std::fs::write(&path, &longer).unwrap();
    let error = verify(&path).unwrap_err();
    assert!(
        matches!(
            error,
            SnapshotError::Damaged {
                damage: Damage::Trailing,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn frames_cannot_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let items = some_items(3_000);
    let path = write(dir.path(), 9, &items);
    let whole = std::fs::read(&path).unwrap();
    // The first frame of items begins behind the header's.
    let length = |at: usize| {
        let bytes: [u8; 4] = whole[at..at + 4].try_into().unwrap();
        4 + CHECK_BYTES + usize::try_from(u32::from_be_bytes(bytes)).unwrap()
    };
    let first = 12 + length(12);
    let second = first + length(first);
    let mut without = whole[..first].to_vec();
    without.extend_from_slice(&whole[second..]);
    std::fs::write(&path, without).unwrap();
    let error = verify(&path).unwrap_err();
    assert!(
        matches!(error, SnapshotError::Damaged { damage: Damage::Check, offset, .. } if offset == first as u64),
        "{error}"
    );
}

#[test]
fn the_newest_two_are_kept_and_unfinished_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    for index in [3, 12, 7] {
        write(dir.path(), index, &some_items(2));
    }
    let indexes = || {
        list(dir.path())
            .unwrap()
            .iter()
            .map(|listed| listed.index)
            .collect::<Vec<_>>()
    };
    assert_eq!(indexes(), [12, 7]);
    assert_eq!(newest(dir.path()).unwrap().unwrap().1, header(12));

    drop(Writer::create(dir.path(), header(99)).unwrap());
    let left = Incoming::create(dir.path()).unwrap().finish().unwrap();
    assert!(left.try_exists().unwrap());
    remove_unfinished(dir.path()).unwrap();
    assert!(!left.try_exists().unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(indexes(), [12, 7]);
}

#[test]
fn a_received_file_is_adopted() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let original = write(there.path(), 5, &some_items(9));
    let mut incoming = Incoming::create(here.path()).unwrap();
    for chunk in std::fs::read(&original).unwrap().chunks(100) {
        incoming.write(chunk).unwrap();
    }
    let aside = incoming.finish().unwrap();
    let path = adopt(&aside, here.path(), &header(5)).unwrap();
    assert_eq!(read(&path).unwrap().1, some_items(9));
    assert!(!aside.try_exists().unwrap());

    let copied = adopt(&original, &here.path().canonicalize().unwrap(), &header(6)).unwrap();
    assert!(original.try_exists().unwrap());
    assert_eq!(read(&copied).unwrap().1, some_items(9));
}

#[test]
fn a_damaged_header_falls_back_to_the_file_before() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 3, &some_items(2));
    let newer = write(dir.path(), 4, &some_items(2));
    std::fs::write(&newer, b"HOMESNAP").unwrap();
    assert_eq!(newest(dir.path()).unwrap().unwrap().1, header(3));
    std::fs::remove_file(path_of(dir.path(), &header(3).applied)).unwrap();
    assert!(
        newest(dir.path())
            .unwrap_err()
            .to_string()
            .contains("00004.hcs")
    );
}
