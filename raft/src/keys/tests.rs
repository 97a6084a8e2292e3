//! Numbers and key layouts are on every disk: these tests hold them fast.

use proptest::prelude::*;

use super::*;

#[test]
fn numbers_are_positions_and_come_back() {
    for (position, space) in Space::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(space.number()), position);
        assert_eq!(Space::from_number(space.number()), Some(space));
    }
    assert_eq!(Space::from_number(14), None);
    assert!(!Space::replicated().contains(&Space::Meta));
    assert_eq!(Space::replicated().len(), Space::ALL.len() - 1);
}

#[test]
fn key_layouts_stay_as_they_are() {
    assert_eq!(
        Unique::key(&("email".to_owned(), "a@b.c".to_owned())),
        b"\x00\x00\x00\x05emaila@b.c"
    );
    let deadline = Deadline {
        at: Millis(-1),
        kind: DeadlineKind::AccessRequest,
        id: "x".to_owned(),
    };
    assert_eq!(deadline.to_key(), b"\x7f\xff\xff\xff\xff\xff\xff\xff\x02x");
    assert_eq!(Names::key("alice"), b"alice");
}

#[test]
fn keys_that_are_no_deadlines_are_refused() {
    for bad in [
        &b""[..],
        b"1234567",
        b"12345678",
        b"12345678\x09x",
        b"12345678\x01\xff",
    ] {
        assert_eq!(Deadline::from_key(bad), None, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn parts_never_run_into_each_other(
        a in "[a-c/]{0,4}", b in "[a-c/]{0,4}", c in "[a-c/]{0,4}", d in "[a-c/]{0,4}",
    ) {
        let (first, second) = ((a, b), (c, d));
        prop_assert_eq!(Unique::key(&first) == Unique::key(&second), first == second);
    }

    #[test]
    fn deadlines_order_by_time_and_come_back(a: i64, b: i64, id in "[a-z0-9]{0,9}") {
        let [first, second] = [a, b].map(|at| Deadline {
            at: Millis(at), kind: DeadlineKind::JoinToken, id: id.clone(),
        });
        prop_assert_eq!(first.to_key().cmp(&second.to_key()), a.cmp(&b));
        prop_assert_eq!(Deadline::from_key(&first.to_key()), Some(first));
    }
}
