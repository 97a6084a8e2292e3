//! Facts in, answers out.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode::{NXDomain, NoError};

use super::*;
use crate::facts::{Caa, CoreFact, Mx, RecordSet, SoaFacts};

mod laws;
mod table;

#[derive(Debug, Default)]
struct Users(BTreeMap<String, String>);

impl Names for Users {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        self.0.get(label).map(|core| Cow::Borrowed(core.as_str()))
    }
}

fn users(pairs: &[(&str, &str)]) -> Arc<Users> {
    Arc::new(Users(
        pairs
            .iter()
            .map(|(u, c)| ((*u).to_owned(), (*c).to_owned()))
            .collect(),
    ))
}

fn core(id: &str, last: u8) -> CoreFact {
    CoreFact {
        id: CoreId::parse(id).unwrap(),
        a: vec![Ipv4Addr::new(192, 0, 2, last)],
        aaaa: vec![Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last))],
        cname: None,
        serving: true,
        live: true,
    }
}

fn named_core(id: &str, cname: &str) -> CoreFact {
    CoreFact {
        a: vec![],
        aaaa: vec![],
        cname: Some(cname.into()),
        ..core(id, 0)
    }
}

fn a(last: u8) -> RecordSet {
    RecordSet {
        a: vec![Ipv4Addr::new(198, 51, 100, last)],
        ..RecordSet::default()
    }
}

fn alias(target: &str) -> RecordSet {
    RecordSet {
        cname: Some(target.into()),
        ..RecordSet::default()
    }
}

fn txt(texts: &[&str]) -> RecordSet {
    RecordSet {
        txt: texts.iter().map(|t| (*t).into()).collect(),
        ..RecordSet::default()
    }
}

fn entries(sets: Vec<(&str, RecordSet)>) -> BTreeMap<String, RecordSet> {
    sets.into_iter()
        .map(|(label, set)| (label.to_owned(), set))
        .collect()
}

fn facts() -> ZoneFacts {
    ZoneFacts {
        generation: 7,
        soa: SoaFacts {
            primary: "core.example.com".into(),
            ..SoaFacts::new("example.com")
        },
        ns: vec!["core.example.com".into(), "ns.elsewhere.org".into()],
        apex: RecordSet {
            a: vec![Ipv4Addr::new(203, 0, 113, 1)],
            txt: vec!["v=spf1 -all".into()],
            mx: vec![Mx {
                preference: 10,
                exchange: "mail.example.com".into(),
            }],
            caa: vec![Caa {
                flags: 128,
                tag: "issue".into(),
                value: "ca.example".into(),
            }],
            ..RecordSet::default()
        },
        cores: vec![
            core("core-a", 1),
            core("core-b", 2),
            named_core("core-c", "c.hosting.org"),
            CoreFact {
                live: false,
                ..core("core-dead", 4)
            },
            CoreFact {
                serving: false,
                ..core("core-new", 5)
            },
        ],
        statics: entries(vec![
            ("www", alias("core-a.example.com")),
            ("mail", a(25)),
            ("reg", a(66)),
            ("both", a(1)),
        ]),
        records: entries(vec![
            ("core", a(53)),
            ("both", a(2)),
            ("_acme-challenge", txt(&["one", "two"])),
            ("_acme-challenge.alice", txt(&["alice's"])),
            ("a.b.c", a(9)),
            ("out", alias("elsewhere.org.")),
            ("in", alias("www.example.com")),
            ("to-user", alias("alice.example.com")),
            ("to-nothing", alias("nothing.example.com")),
            ("loop-a", alias("loop-b.example.com")),
            ("loop-b", alias("loop-a.example.com")),
            ("self", alias("self.example.com")),
        ]),
        ..ZoneFacts::new("example.com")
    }
}

fn zone() -> Zone {
    let names = users(&[
        ("alice", "core-b"),
        ("bobby", "core-c"),
        ("carol", "gone"),
        ("core-a", "core-b"),
    ]);
    Zone::build(&facts(), names).unwrap()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn ask<'z>(zone: &'z Zone, qname: &str, record_type: RecordType) -> Answer<'z> {
    zone.answer(&Question {
        name: &name(qname),
        record_type,
        rotation: 0,
    })
}

/// An answer as text: the code, the records, and how it ends.
fn show(answer: &Answer<'_>) -> String {
    let mut words = vec![format!("{:?}", answer.rcode).to_uppercase()];
    for record in &answer.answers {
        words.push(format!("{} {}", record.record_type(), record.data));
    }
    if answer.authority.is_some() {
        words.push("+SOA".into());
    }
    words.join(" | ")
}

#[test]
fn owners_keep_the_case_of_the_question() {
    let zone = zone();
    for qname in ["aLiCe.ExAmPlE.cOm.", "WwW.example.COM.", "EXAMPLE.com."] {
        let answer = ask(&zone, qname, RecordType::A);
        let owner = &answer.answers.first().unwrap().name;
        assert!(owner.eq_case(&name(qname)), "{owner}");
    }
    let soa = ask(&zone, "Example.COM.", RecordType::SOA);
    assert!(
        soa.answers
            .first()
            .unwrap()
            .name
            .eq_case(&name("Example.COM."))
    );
}

#[test]
fn what_moves_is_kept_for_a_short_time_only() {
    let zone = zone();
    let ttl = |qname, kind| ask(&zone, qname, kind).answers.first().unwrap().ttl;
    for (qname, expected) in [
        ("alice.example.com.", 60),
        ("bobby.example.com.", 60),
        ("reg.example.com.", 60),
        ("lsc.example.com.", 300),
        ("core-b.example.com.", 300),
        ("mail.example.com.", 300),
        ("example.com.", 300),
    ] {
        assert_eq!(ttl(qname, RecordType::A), expected, "{qname}");
    }
    assert_eq!(ttl("example.com.", RecordType::SOA), 300);
    assert_eq!(
        ask(&zone, "nobody.example.com.", RecordType::A)
            .authority
            .unwrap()
            .ttl,
        60
    );

    let mut facts = facts();
    facts.soa.minimum = 9_000;
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    assert_eq!(
        ask(&zone, "nobody.example.com.", RecordType::A)
            .authority
            .unwrap()
            .ttl,
        300
    );
}

#[test]
fn without_a_live_core_the_services_answer_all() {
    let mut facts = facts();
    for core in &mut facts.cores {
        core.live = false;
    }
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    let answer = ask(&zone, "reg.example.com.", RecordType::A);
    assert_eq!(answer.answers.len(), 4);

    facts.cores = vec![
        named_core("core-x", "x.hosting.org"),
        named_core("core-y", "y.org"),
    ];
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    let answer = ask(&zone, "reg.example.com.", RecordType::A);
    assert_eq!(show(&answer), "NOERROR | CNAME x.hosting.org.");

    facts.cores.clear();
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    assert_eq!(
        show(&ask(&zone, "reg.example.com.", RecordType::A)),
        "NOERROR | +SOA"
    );
}

#[test]
fn addresses_rotate() {
    let zone = zone();
    let qname = name("reg.example.com.");
    let first = |rotation| {
        let question = Question {
            name: &qname,
            record_type: RecordType::A,
            rotation,
        };
        let answer = zone.answer(&question);
        assert_eq!(answer.answers.len(), 2);
        answer.answers.first().unwrap().data.to_string()
    };
    assert_eq!(
        [first(0), first(1), first(2)],
        ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
    );
}

#[test]
fn name_and_mail_servers_bring_their_addresses() {
    let zone = zone();
    let extra = |kind| {
        let answer = ask(&zone, "example.com.", kind);
        answer
            .additional
            .iter()
            .map(|r| format!("{} {}", r.name, r.data))
            .collect::<Vec<_>>()
    };
    assert_eq!(extra(RecordType::NS), ["core.example.com. 198.51.100.53"]);
    assert_eq!(extra(RecordType::MX), ["mail.example.com. 198.51.100.25"]);
    assert!(extra(RecordType::TXT).is_empty());
}

#[test]
fn a_long_chain_is_cut() {
    let mut facts = ZoneFacts::new("example.com");
    for step in 0..20 {
        facts.records.insert(
            format!("n{step}"),
            alias(&format!("n{}.example.com", step + 1)),
        );
    }
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    let answer = ask(&zone, "n0.example.com.", RecordType::A);
    assert_eq!(
        (answer.rcode, answer.answers.len()),
        (NoError, CNAME_STEPS_MAX)
    );
}

#[test]
fn long_texts_are_cut_into_strings() {
    let mut facts = ZoneFacts::new("example.com");
    let long = "x".repeat(600);
    facts
        .records
        .insert("dkim._domainkey".into(), txt(&[&long, ""]));
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    let answer = ask(&zone, "dkim._domainkey.example.com.", RecordType::TXT);
    let strings: Vec<Vec<usize>> = answer
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::TXT(text) => text.txt_data.iter().map(|s| s.len()).collect(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(strings, [vec![255, 255, 90], vec![0]]);
}

#[test]
fn users_change_without_a_new_layout() {
    let before = zone();
    let after = before.with_users(8, users(&[("nobody", "core-a")]));
    assert!(Arc::ptr_eq(&before.rows, &after.rows));
    assert_eq!(
        show(&ask(&after, "nobody.example.com.", RecordType::A)),
        "NOERROR | A 192.0.2.1"
    );
    assert_eq!(
        ask(&after, "bobby.example.com.", RecordType::A).rcode,
        NXDomain
    );
    // Gone as a user, still a part of `_acme-challenge.alice`.
    assert_eq!(
        show(&ask(&after, "alice.example.com.", RecordType::A)),
        "NOERROR | +SOA"
    );
    assert_eq!(
        ask(&before, "alice.example.com.", RecordType::A).rcode,
        NoError
    );
    assert_eq!(
        (before.serial(), after.serial(), after.generation()),
        (7, 8, 8)
    );
    let shown = ask(&after, "nope.example.com.", RecordType::A)
        .authority
        .unwrap()
        .data
        .to_string();
    assert!(shown.contains(" 8 3600 "), "{shown}");
}

#[test]
fn the_serial_is_base_plus_generation_and_wraps() {
    let mut facts = facts();
    facts.soa.serial_base = u32::MAX;
    facts.generation = (1 << 32) + 3;
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    assert_eq!(zone.serial(), 2);
    let soa = ask(&zone, "example.com.", RecordType::SOA);
    assert!(
        soa.answers
            .first()
            .unwrap()
            .data
            .to_string()
            .contains(" 2 3600 ")
    );
}

#[test]
fn a_bad_configuration_is_refused() {
    let refuse = |change: fn(&mut ZoneFacts)| {
        let mut facts = facts();
        change(&mut facts);
        Zone::build(&facts, Arc::new(())).unwrap_err()
    };
    assert!(matches!(
        refuse(|f| f.domain = "exa mple".into()),
        ZoneError::Domain(_)
    ));
    assert_eq!(refuse(|f| f.domain = ".".into()), ZoneError::Root);
    assert!(matches!(
        refuse(|f| f.soa.admin = "@".into()),
        ZoneError::Soa { field: "admin", .. }
    ));
    assert!(matches!(
        refuse(|f| f.ns = vec!["..".into()]),
        ZoneError::NameServer(_)
    ));
    assert!(matches!(
        refuse(|f| f.ttl_s = u32::MAX),
        ZoneError::Seconds { .. }
    ));
    assert_eq!(
        refuse(|f| f.apex.cname = Some("x.org".into())),
        ZoneError::Apex(RecordError::CnameAtApex)
    );
    assert!(matches!(
        refuse(|f| {
            f.statics.insert("*".into(), a(1));
        }),
        ZoneError::Static {
            source: RecordError::Label(_),
            ..
        }
    ));
    assert!(matches!(
        refuse(|f| {
            f.statics.insert(
                "x".into(),
                RecordSet {
                    a: vec![Ipv4Addr::LOCALHOST],
                    ..alias("y")
                },
            );
        }),
        ZoneError::Static {
            source: RecordError::CnameAndData,
            ..
        }
    ));
}

#[test]
fn a_bad_entry_is_left_out_and_named() {
    let mut facts = facts();
    facts.records = entries(vec![
        ("bad label", a(1)),
        ("bad-target", alias("no name")),
        (
            "mixed",
            RecordSet {
                a: vec![Ipv4Addr::LOCALHOST],
                ..alias("core-a.example.com")
            },
        ),
        ("mail", a(7)),
        ("MFA", a(7)),
        ("core-b", a(8)),
        ("good", a(3)),
        ("GOOD", a(4)),
        ("empty", RecordSet::default()),
    ]);
    facts.cores.push(named_core("core-odd", "not a name"));
    let zone = Zone::build(&facts, users(&[])).unwrap();
    let problems: Vec<String> = zone.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "the cname of core core-odd is left out",
            "the entry \"reg\" is shadowed by a name that the platform answers itself",
            "the entry \"MFA\" is shadowed by a name that the platform answers itself",
            "the entry \"bad label\" is left out",
            "the entry \"bad-target\" is left out",
            "the entry \"core-b\" hides the core of that name",
            "the entry \"good\" is shadowed by an entry whose label differs in case only",
            "the entry \"mail\" is shadowed by an entry of the configuration",
            "the entry \"mixed\" has a CNAME: its other records are not served",
        ]
    );
    let shown = |qname| show(&ask(&zone, qname, RecordType::A));
    assert_eq!(
        shown("mixed.example.com."),
        "NOERROR | CNAME core-a.example.com. | A 192.0.2.1"
    );
    assert_eq!(shown("core-b.example.com."), "NOERROR | A 198.51.100.8");
    assert_eq!(shown("empty.example.com."), "NXDOMAIN | +SOA");
    assert_eq!(shown("bad-target.example.com."), "NXDOMAIN | +SOA");
}

#[test]
fn entries_are_checked_before_they_are_written() {
    let check = |label: &str, set: &RecordSet| check_record("example.com", label, set);
    assert_eq!(check("_acme-challenge.alice", &txt(&["x"])), Ok(()));
    assert!(matches!(check("", &a(1)), Err(RecordError::Label(_))));
    assert!(matches!(check("a..b", &a(1)), Err(RecordError::Label(_))));
    assert!(matches!(check("x.", &a(1)), Err(RecordError::Label(_))));
    assert!(matches!(check("x", &alias("")), Err(RecordError::Cname(_))));
    assert_eq!(
        check(
            "x",
            &RecordSet {
                txt: vec!["t".into()],
                ..alias("y.org")
            }
        ),
        Err(RecordError::CnameAndData)
    );
    let text = "x".repeat(TEXT_BYTES_MAX + 1);
    assert!(matches!(
        check("x", &txt(&[&text])),
        Err(RecordError::Text { .. })
    ));
    let many = RecordSet {
        a: vec![Ipv4Addr::LOCALHOST; 65],
        ..RecordSet::default()
    };
    assert!(matches!(
        check("x", &many),
        Err(RecordError::Count { count: 65, .. })
    ));
    let caa = Caa {
        flags: 0,
        tag: "is sue".into(),
        value: String::new(),
    };
    let caa = RecordSet {
        caa: vec![caa],
        ..RecordSet::default()
    };
    assert!(matches!(check("x", &caa), Err(RecordError::CaaTag(_))));
}
