//! Broken histories are found, and right ones that look odd are not.

use super::*;

fn entry<C>(call: C, called: u64, returned: impl Into<Option<u64>>) -> Entry<C> {
    Entry {
        call,
        called,
        returned: returned.into(),
    }
}

fn step(step: Step) -> Claim {
    Claim {
        of: "name".to_owned(),
        step,
    }
}

fn named(entries: &[Vec<Entry<Claim>>]) -> Result<(), Violation> {
    check::<Claims>(&entries.concat())
}

fn append(number: u64) -> LogCall {
    LogCall {
        of: "anna".to_owned(),
        step: LogStep::Append(number),
    }
}

fn read(numbers: &[u64]) -> LogCall {
    LogCall {
        of: "anna".to_owned(),
        step: LogStep::Read(numbers.to_vec()),
    }
}

#[test]
fn a_name_given_twice_is_found() {
    let won = |client, at| claim("name", client, Outcome::Won, at, at + 5);
    assert!(named(&[won(1, 0)]).is_ok());
    let one_after_the_other = named(&[won(1, 0), won(2, 10)]);
    assert!(
        one_after_the_other
            .unwrap_err()
            .to_string()
            .contains("Reserve(2)")
    );
    assert!(named(&[won(1, 0), won(2, 1)]).is_err(), "at the same time");
    let other = claim("another", 2, Outcome::Won, 0, 5);
    assert!(named(&[won(1, 0), other]).is_ok(), "each name by itself");
}

#[test]
fn a_token_used_twice_is_found_although_one_use_has_no_answer() {
    let lost = claim("name", 1, Outcome::Unknown, 0, 5);
    let won = claim("name", 2, Outcome::Won, 10, 15);
    assert!(named(&[lost.clone(), won.clone()]).is_ok(), "it never came");
    let owns = |client, at| vec![entry(step(Step::Owns(client)), at, at + 1)];
    assert!(named(&[lost.clone(), won.clone(), owns(2, 20)]).is_ok());
    assert!(named(&[lost.clone(), won, owns(1, 20)]).is_err());
    assert!(named(&[lost, owns(1, 20)]).is_ok(), "it came");
}

#[test]
fn a_refusal_needs_somebody_who_has_it() {
    let taken = |at| claim("name", 9, Outcome::Taken, at, at + 1);
    let unknown = claim("name", 1, Outcome::Unknown, 0, 5);
    assert!(named(&[taken(0)]).is_err(), "nobody ever asked for it");
    assert!(named(&[unknown.clone(), taken(50)]).is_ok());
    let won = claim("name", 2, Outcome::Won, 60, 70);
    assert!(
        named(&[unknown.clone(), taken(50), won.clone()]).is_ok(),
        "the reservation of the first one ran out"
    );
    let seen = |owned, at| vec![entry(step(Step::Seen(owned)), at, at + 1)];
    assert!(named(&[unknown.clone(), seen(true, 50), won]).is_err());
    assert!(named(&[unknown, taken(50), seen(false, 53), seen(true, 56)]).is_ok());
}

#[test]
fn a_stale_read_is_found() {
    let won = claim("name", 1, Outcome::Won, 0, 5);
    let seen = |owned, from, to| vec![entry(step(Step::Seen(owned)), from, to)];
    assert!(named(&[won.clone(), seen(false, 6, 7)]).is_err());
    assert!(
        named(&[won.clone(), seen(false, 4, 7)]).is_ok(),
        "while it was made"
    );
    let both = [won, seen(true, 2, 3), seen(false, 4, 7)];
    assert!(named(&both).is_err(), "it was seen before already");
}

#[test]
fn a_lost_acknowledged_write_is_found() {
    let history = |last: &[u64]| {
        check::<Log>(&[
            entry(append(1), 0, 1),
            entry(append(2), 2, 3),
            entry(append(3), 4, None),
            entry(read(last), 10, 11),
        ])
    };
    assert!(history(&[1, 2]).is_ok(), "the third never came");
    assert!(history(&[1, 2, 3]).is_ok(), "the third came");
    assert!(history(&[1]).is_err(), "the second is lost");
    assert!(history(&[2, 3]).is_err(), "the first is lost");
    assert!(history(&[1, 2, 4]).is_err(), "nobody wrote the fourth");
    assert!(history(&[]).is_err(), "silently empty");
    assert!(history(&[1, 1, 2]).is_err(), "twice");
}

#[test]
fn a_write_without_an_answer_does_not_come_and_go() {
    let history = [
        entry(append(1), 0, None),
        entry(read(&[]), 2, 3),
        entry(read(&[1]), 4, 5),
        entry(read(&[]), 6, 7),
    ];
    assert!(check::<Log>(&history[..3]).is_ok());
    let violation = check::<Log>(&history).unwrap_err().to_string();
    assert!(violation.contains("Read([])"), "{violation}");
}

#[test]
fn members_are_who_was_added_and_not_removed() {
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let add = |name: &str| MembersCall::Add(name.to_owned());
    let remove = |name: &str| MembersCall::Remove(name.to_owned());
    let history = |seen: &[&str]| {
        check::<Members>(&[
            entry(add("a"), 0, 1),
            entry(add("b"), 2, 3),
            entry(remove("a"), 4, None),
            entry(add("c"), 5, 20),
            entry(MembersCall::Read(set(seen)), 10, 11),
        ])
    };
    for fine in [&["a", "b"][..], &["b"], &["b", "c"], &["a", "b", "c"]] {
        assert!(history(fine).is_ok(), "{fine:?}");
    }
    for wrong in [&["a"][..], &[], &["c"], &["a", "b", "d"]] {
        assert!(history(wrong).is_err(), "{wrong:?}");
    }
}

/// Many writers at once, each call as long as chance has it, reads that see some of those under way:
/// hard for the search, and right.
#[test]
fn hard_right_histories_pass_and_one_wrong_read_among_them_does_not() {
    let mut random = 1_u64;
    let mut dice = move |sides: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % sides
    };
    let mut history = Vec::new();
    let mut present = Vec::new();
    for number in 0..600_u64 {
        // It takes effect at this moment; it was asked sooner, and is answered later, or not at all.
        let at = 1_000 + number * 10;
        let (called, returned) = (at - dice(60), at + 1 + dice(60));
        if number % 3 == 2 {
            history.push(entry(read(&present), called, returned));
        } else {
            present.push(number);
            let returned = (dice(10) > 0).then_some(returned);
            history.push(entry(append(number), called, returned));
        }
    }
    check::<Log>(&history).unwrap();
    let last = entry(read(&present), 100_000, 100_001);
    check::<Log>(&[history.clone(), vec![last]].concat()).unwrap();
    present.remove(0);
    let wrong = entry(read(&present), 100_000, 100_001);
    assert!(check::<Log>(&[history, vec![wrong]].concat()).is_err());
}

#[test]
fn many_clients_at_one_name_at_once_are_searched_quickly() {
    let mut entries = Vec::new();
    for client in 0..40 {
        let outcome = match client {
            17 => Outcome::Won,
            0..8 => Outcome::Unknown,
            _ => Outcome::Taken,
        };
        entries.extend(claim("name", client, outcome, u64::from(client), 1_000));
    }
    assert!(check::<Claims>(&entries).is_ok());
    entries.push(entry(step(Step::Owns(17)), 2_000, 2_001));
    assert!(check::<Claims>(&entries).is_ok());
    entries.extend(claim("name", 99, Outcome::Won, 3_000, 3_001));
    assert!(check::<Claims>(&entries).is_err());
}

#[test]
fn writes_that_were_never_seen_do_not_make_the_search_long() {
    let mut history: Vec<_> = (0..200).map(|i| entry(append(i), i, None)).collect();
    history.push(entry(append(999), 300, 301));
    for at in 0..50 {
        history.push(entry(read(&[7, 999]), 400 + at * 2, 401 + at * 2));
    }
    check::<Log>(&history).unwrap();
    history.push(entry(read(&[7]), 900, 901));
    assert!(check::<Log>(&history).is_err());
}

#[test]
fn a_search_without_an_end_is_given_up() {
    // Not left out: this one is asked directly.
    let history: Vec<_> = (0..40)
        .map(|number| entry(append(number), number, None))
        .chain([entry(read(&[999]), 100, 101)])
        .collect();
    let given_up = search::search::<Log>(history, 1_000).unwrap_err();
    assert!(given_up.contains("1000 states"), "{given_up}");
}

#[test]
fn a_recorder_orders_what_clients_do() {
    let recorder = Recorder::default();
    let first = recorder.now();
    let second = recorder.now();
    recorder.answered(second, append(2));
    recorder.unknown(first, append(1));
    let history = recorder.history();
    assert_eq!(history[0], entry(append(2), 1, 2));
    assert_eq!(history[1], entry(append(1), 0, None));
}
