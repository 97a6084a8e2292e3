//! Scans of the keys under which documents are found.

use super::*;

pub(super) fn are_ordered(engine: &Made) -> Checked {
    // As bytes, not as texts or numbers; equal keys by id.
    let keys: &[&[u8]] = &[
        b"",
        b"\0",
        b"a",
        b"a",
        b"a\0",
        b"b",
        b"\x80",
        b"\xFF",
        b"\xFF\xFF",
    ];
    let database = shelve(engine, keys)?;
    let cases: &[(Key<'_>, Option<Key<'_>>, usize, &str)] = &[
        (b"", None, 99, "d0 d1 d2 d3 d4 d5 d6 d7 d8"),
        (b"a", Some(b"b"), 99, "d2 d3 d4"),
        (b"a", Some(b"a"), 99, ""),
        (b"b", Some(b"a"), 99, ""),
        (b"a\0", None, 2, "d4 d5"),
        (b"\xFF", None, 99, "d7 d8"),
        (b"", Some(b"\0"), 99, "d0"),
        (b"", None, 0, ""),
    ];
    for (from, to, limit, wanted) in cases {
        let scan = Scan {
            from: from.to_vec(),
            to: to.map(<[u8]>::to_vec),
            limit: *limit,
            ..everything(BY_NUMBER)
        };
        let found = database.scan(&scan)?;
        assert_eq!(ids(&found), *wanted, "{scan:?}");
        assert!(found.iter().all(|(key, d)| {
            keys.iter()
                .zip(0..)
                .any(|(k, n)| k == key && d.id == format!("d{n}"))
        }));
        if *limit < 99 {
            continue;
        }
        let backwards = database.scan(&Scan {
            descending: true,
            ..scan.clone()
        })?;
        let reversed: Vec<_> = found.into_iter().rev().collect();
        assert_eq!(ids(&backwards), ids(&reversed), "{scan:?} backwards");
    }
    let last = Scan {
        descending: true,
        limit: 2,
        ..everything(BY_NUMBER)
    };
    assert_eq!(ids(&database.scan(&last)?), "d8 d7");
    Ok(())
}

pub(super) fn are_paged(engine: &Made) -> Checked {
    let keys: &[&[u8]] = &[b"a", b"b", b"b", b"b", b"c", b"d", b"d"];
    let database = shelve(engine, keys)?;
    for descending in [false, true] {
        for limit in 1..=8 {
            for (from, to) in [("", None), ("b", Some("d")), ("b", None), ("", Some("c"))] {
                let mut scan = Scan {
                    from: from.into(),
                    to: to.map(Into::into),
                    descending,
                    ..everything(BY_NUMBER)
                };
                let all = ids(&database.scan(&scan)?);
                scan.limit = limit;
                let mut pages = Vec::new();
                loop {
                    let page = database.scan(&scan)?;
                    assert!(page.len() <= limit);
                    let Some((key, document)) = page.last().cloned() else {
                        break;
                    };
                    pages.push(ids(&page));
                    scan.after = Some((key, document.id));
                }
                assert_eq!(pages.join(" "), all, "{scan:?}");
            }
        }
    }
    // A place that is no longer there, or lies outside, is a place all the same.
    let mut scan = Scan {
        after: Some((b"b".to_vec(), "d1x".to_owned())),
        ..everything(BY_NUMBER)
    };
    assert_eq!(ids(&database.scan(&scan)?), "d2 d3 d4 d5 d6");
    scan.descending = true;
    assert_eq!(ids(&database.scan(&scan)?), "d1 d0");
    scan.from = b"b".to_vec();
    assert_eq!(ids(&database.scan(&scan)?), "d1");
    (scan.descending, scan.after) = (false, Some((Vec::new(), String::new())));
    assert_eq!(ids(&database.scan(&scan)?), "d1 d2 d3 d4 d5 d6");
    (scan.descending, scan.to, scan.after) = (
        true,
        Some(b"c".to_vec()),
        Some((b"z".to_vec(), String::new())),
    );
    assert_eq!(ids(&database.scan(&scan)?), "d3 d2 d1");
    Ok(())
}

pub(super) fn end_with_enough_bytes(engine: &Made) -> Checked {
    let database = shelve(engine, &[b"a", b"b", b"b", b"c", b"d"])?;
    for limit in [2, 5, 9] {
        let mut scan = everything(BY_NUMBER);
        scan.limit = limit;
        let all = database.scan(&scan)?;
        for bytes in 0..50 {
            let (mut wanted, mut sum, mut enough) = (all.clone(), 0, false);
            wanted.retain(|(_, document)| {
                let before = enough;
                sum += document.body.len();
                enough = sum >= bytes;
                !before
            });
            let found = database.scan_within(&scan, bytes)?;
            assert_eq!(found, (wanted, enough || all.len() == limit), "{bytes}");
        }
    }
    Ok(())
}

pub(super) fn of_other_indexes_do_not_mix(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    let mut mutation = event(1, 1);
    mutation.entries = [0, 1, 255]
        .map(|index| Entry {
            index: Index(index),
            key: vec![index],
        })
        .to_vec();
    put(database.as_mut(), &anna, vec![mutation], Position(1))?;
    for index in [0, 1, 254, 255] {
        for descending in [false, true] {
            let found = database.scan(&Scan {
                descending,
                ..everything(Index(index))
            })?;
            let keys: Vec<Vec<u8>> = found.into_iter().map(|(key, _)| key).collect();
            let wanted = if index == 254 {
                vec![]
            } else {
                vec![vec![index]]
            };
            assert_eq!(keys, wanted, "index {index}");
        }
    }
    Ok(())
}
