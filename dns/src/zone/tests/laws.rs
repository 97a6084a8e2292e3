//! What holds for every question and all facts.

use proptest::prelude::*;

use super::*;

fn labels() -> impl Strategy<Value = String> {
    // Names that are there, names near them, and anything.
    let there = prop::sample::select(vec![
        "",
        "lsc",
        "reg",
        "mfa",
        "www",
        "mail",
        "core",
        "core-a",
        "core-c",
        "alice",
        "bobby",
        "carol",
        "a.b.c",
        "b.c",
        "c",
        "out",
        "in",
        "loop-a",
        "self",
        "_acme-challenge",
        "_acme-challenge.alice",
        "to-nothing",
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        3 => there.clone(),
        1 => there.prop_map(|name| format!("x.{name}")),
        1 => "[a-z0-9_-]{1,12}(\\.[a-z0-9]{1,5}){0,2}",
    ]
}

fn types() -> impl Strategy<Value = RecordType> {
    prop_oneof![
        Just(RecordType::ANY),
        Just(RecordType::A),
        Just(RecordType::CNAME),
        any::<u16>().prop_map(RecordType::from),
    ]
}

proptest! {
    #[test]
    fn answers_hold_together(label in labels(), record_type in types(), rotation: u16) {
        let zone = zone();
        let qname = if label.is_empty() {
            name("example.com.")
        } else {
            let full = label.split('.').map(str::to_owned).filter(|l| !l.is_empty());
            Name::from_labels(full.chain(["example".into(), "com".into()]).map(String::into_bytes))
                .unwrap()
        };
        let answer = zone.answer(&Question { name: &qname, record_type, rotation });
        prop_assert!(answer.authoritative);
        // Owners are in the zone; the first is the question's; each next one is the target of an
        // alias before it.
        let mut owner = qname.clone();
        for record in &answer.answers {
            prop_assert!(zone.origin().zone_of(&record.name));
            prop_assert_eq!(&record.name, &owner);
            if let (RData::CNAME(target), false) =
                (&record.data, matches!(record_type, RecordType::CNAME | RecordType::ANY))
            {
                owner = target.0.clone();
            } else if record_type != RecordType::ANY {
                prop_assert_eq!(record.record_type(), record_type);
            }
        }
        prop_assert!(answer.answers.len() <= RECORDS_PER_TYPE_MAX + CNAME_STEPS_MAX);
        // A negative answer has the SOA, and only a negative one.
        let ends = answer.answers.iter().any(|r| r.record_type() != RecordType::CNAME)
            || (record_type == RecordType::CNAME && !answer.answers.is_empty());
        if ends {
            prop_assert!(answer.authority.is_none());
        }
        if answer.rcode == NXDomain || answer.answers.is_empty() {
            prop_assert_eq!(answer.authority.map(|r| r.record_type()), Some(RecordType::SOA));
        }
        // Whether a name exists does not depend on the type asked, unless an alias is followed.
        let exists = zone
            .answer(&Question { name: &qname, record_type: RecordType::CNAME, rotation })
            .rcode;
        if answer.answers.is_empty() {
            prop_assert_eq!(answer.rcode, exists);
        }
        prop_assert_eq!(exists == NXDomain, !exists_by_the_rules(&label));
    }
}

/// The rules again, written as a list of names.
fn exists_by_the_rules(label: &str) -> bool {
    let fixed = ["", "lsc", "reg", "access", "mfa"];
    let users = ["alice", "bobby", "carol"];
    let facts = facts();
    let entries: Vec<&String> = facts.statics.keys().chain(facts.records.keys()).collect();
    fixed.contains(&label)
        || users.contains(&label)
        || facts.cores.iter().any(|core| core.id.as_str() == label)
        || entries
            .iter()
            .any(|entry| *entry == label || entry.ends_with(&format!(".{label}")))
}

/// A small world in which names collide often.
fn name_in_the_small() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["aaaaa", "bbbbb", "reg"]), 1..4)
        .prop_map(|labels| labels.join("."))
}

fn entries_in_the_small() -> impl Strategy<Value = BTreeMap<String, u8>> {
    prop::collection::btree_map(name_in_the_small(), any::<u8>(), 0..4)
}

/// Who answers for a name, from the rules as they are written.
fn expected(
    label: &str,
    statics: &BTreeMap<String, u8>,
    records: &BTreeMap<String, u8>,
    cores: &BTreeMap<String, u8>,
    homes: &BTreeMap<String, String>,
) -> Option<Option<Ipv4Addr>> {
    let entry = |n: &u8| Some(Ipv4Addr::new(198, 51, 100, *n));
    let core = |n: &u8| Some(Ipv4Addr::new(192, 0, 2, *n));
    if label == "reg" {
        return Some(cores.values().next().and_then(core));
    }
    if let Some(n) = statics.get(label).or_else(|| records.get(label)) {
        return Some(entry(n));
    }
    if let Some(n) = cores.get(label) {
        return Some(core(n));
    }
    if let Some(home) = homes.get(label) {
        return Some(cores.get(home).and_then(core));
    }
    let below = format!(".{label}");
    let part = statics
        .keys()
        .chain(records.keys())
        .any(|entry| entry.ends_with(&below));
    part.then_some(None)
}

proptest! {
    #[test]
    fn whatever_the_facts_the_first_rule_that_has_the_name_answers(
        statics in entries_in_the_small(),
        records in entries_in_the_small(),
        cores in prop::collection::btree_map(
            prop::sample::select(vec!["aaaaa".to_owned(), "ccccc".to_owned()]), any::<u8>(), 0..2),
        homes in prop::collection::btree_map(
            prop::sample::select(vec!["aaaaa".to_owned(), "bbbbb".to_owned()]),
            prop::sample::select(vec!["aaaaa".to_owned(), "ccccc".to_owned()]), 0..3),
        label in name_in_the_small(),
    ) {
        let mut facts = ZoneFacts::new("example.com");
        facts.statics = statics.iter().map(|(label, n)| (label.clone(), a(*n))).collect();
        facts.records = records.iter().map(|(label, n)| (label.clone(), a(*n))).collect();
        facts.cores = cores.iter().map(|(id, n)| core(id, *n)).collect();
        let zone = Zone::build(&facts, Arc::new(Users(homes.clone()))).unwrap();
        let answer = ask(&zone, &format!("{label}.example.com."), RecordType::A);
        let expected = expected(&label, &statics, &records, &cores, &homes);
        prop_assert_eq!(answer.rcode == NXDomain, expected.is_none());
        let shown = answer.answers.first().map(|record| record.data.to_string());
        prop_assert_eq!(shown, expected.flatten().map(|ip| ip.to_string()));
        prop_assert_eq!(answer.authority.is_some(), answer.answers.is_empty());
    }
}
