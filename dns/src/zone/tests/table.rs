//! Name × type → answer.

use hickory_proto::op::ResponseCode::Refused;

use super::*;

/// Name, type, answer: for each class of names of the rules.
const TABLE: &[(&str, RecordType, &str)] = &[
    // 1: the zone itself
    ("example.com.", RecordType::A, "NOERROR | A 203.0.113.1"),
    ("example.com.", RecordType::AAAA, "NOERROR | +SOA"),
    (
        "example.com.",
        RecordType::NS,
        "NOERROR | NS core.example.com. | NS ns.elsewhere.org.",
    ),
    (
        "example.com.",
        RecordType::MX,
        "NOERROR | MX 10 mail.example.com.",
    ),
    ("example.com.", RecordType::TXT, "NOERROR | TXT v=spf1 -all"),
    (
        "example.com.",
        RecordType::CAA,
        "NOERROR | CAA 128 issue \"ca.example\"",
    ),
    (
        "example.com.",
        RecordType::SOA,
        "NOERROR | SOA core.example.com. hostmaster.example.com. 7 3600 600 604800 60",
    ),
    ("example.com.", RecordType::CNAME, "NOERROR | +SOA"),
    ("example.com.", RecordType::SRV, "NOERROR | +SOA"),
    ("example.com.", RecordType::ANY, "NOERROR | A 203.0.113.1"),
    // 2: all cores, the dead and the joining too
    (
        "lsc.example.com.",
        RecordType::A,
        "NOERROR | A 192.0.2.1 | A 192.0.2.2 | A 192.0.2.4 | A 192.0.2.5",
    ),
    ("lsc.example.com.", RecordType::TXT, "NOERROR | +SOA"),
    // 3: the cores to be used now, before a static entry of the same name
    (
        "reg.example.com.",
        RecordType::A,
        "NOERROR | A 192.0.2.1 | A 192.0.2.2",
    ),
    (
        "access.example.com.",
        RecordType::AAAA,
        "NOERROR | AAAA 2001:db8::1 | AAAA 2001:db8::2",
    ),
    (
        "mfa.example.com.",
        RecordType::A,
        "NOERROR | A 192.0.2.1 | A 192.0.2.2",
    ),
    ("mfa.example.com.", RecordType::SOA, "NOERROR | +SOA"),
    // 4: entries
    (
        "mail.example.com.",
        RecordType::A,
        "NOERROR | A 198.51.100.25",
    ),
    ("mail.example.com.", RecordType::AAAA, "NOERROR | +SOA"),
    (
        "mail.example.com.",
        RecordType::ANY,
        "NOERROR | A 198.51.100.25",
    ),
    (
        "both.example.com.",
        RecordType::A,
        "NOERROR | A 198.51.100.1",
    ),
    (
        "www.example.com.",
        RecordType::A,
        "NOERROR | CNAME core-a.example.com. | A 192.0.2.1",
    ),
    (
        "www.example.com.",
        RecordType::TXT,
        "NOERROR | CNAME core-a.example.com. | +SOA",
    ),
    (
        "www.example.com.",
        RecordType::CNAME,
        "NOERROR | CNAME core-a.example.com.",
    ),
    (
        "www.example.com.",
        RecordType::ANY,
        "NOERROR | CNAME core-a.example.com.",
    ),
    (
        "out.example.com.",
        RecordType::A,
        "NOERROR | CNAME elsewhere.org.",
    ),
    (
        "in.example.com.",
        RecordType::AAAA,
        "NOERROR | CNAME www.example.com. | CNAME core-a.example.com. | AAAA 2001:db8::1",
    ),
    (
        "to-user.example.com.",
        RecordType::A,
        "NOERROR | CNAME alice.example.com. | A 192.0.2.2",
    ),
    (
        "to-nothing.example.com.",
        RecordType::A,
        "NXDOMAIN | CNAME nothing.example.com. | +SOA",
    ),
    (
        "loop-a.example.com.",
        RecordType::A,
        "NOERROR | CNAME loop-b.example.com. | CNAME loop-a.example.com.",
    ),
    (
        "self.example.com.",
        RecordType::A,
        "NOERROR | CNAME self.example.com.",
    ),
    (
        "_acme-challenge.example.com.",
        RecordType::TXT,
        "NOERROR | TXT one | TXT two",
    ),
    (
        "_acme-challenge.alice.example.com.",
        RecordType::TXT,
        "NOERROR | TXT alice's",
    ),
    // names that are only parts of longer ones
    (
        "a.b.c.example.com.",
        RecordType::A,
        "NOERROR | A 198.51.100.9",
    ),
    ("b.c.example.com.", RecordType::A, "NOERROR | +SOA"),
    ("c.example.com.", RecordType::ANY, "NOERROR | +SOA"),
    ("x.b.c.example.com.", RecordType::A, "NXDOMAIN | +SOA"),
    // 5: cores, before a user of the same name
    (
        "core-a.example.com.",
        RecordType::A,
        "NOERROR | A 192.0.2.1",
    ),
    (
        "core-b.example.com.",
        RecordType::AAAA,
        "NOERROR | AAAA 2001:db8::2",
    ),
    (
        "core-c.example.com.",
        RecordType::A,
        "NOERROR | CNAME c.hosting.org.",
    ),
    (
        "core-dead.example.com.",
        RecordType::A,
        "NOERROR | A 192.0.2.4",
    ),
    ("core-a.example.com.", RecordType::MX, "NOERROR | +SOA"),
    // 6: users
    ("alice.example.com.", RecordType::A, "NOERROR | A 192.0.2.2"),
    (
        "alice.example.com.",
        RecordType::AAAA,
        "NOERROR | AAAA 2001:db8::2",
    ),
    (
        "alice.example.com.",
        RecordType::ANY,
        "NOERROR | A 192.0.2.2",
    ),
    ("alice.example.com.", RecordType::TXT, "NOERROR | +SOA"),
    (
        "bobby.example.com.",
        RecordType::A,
        "NOERROR | CNAME c.hosting.org.",
    ),
    (
        "bobby.example.com.",
        RecordType::ANY,
        "NOERROR | CNAME c.hosting.org.",
    ),
    ("carol.example.com.", RecordType::A, "NOERROR | +SOA"),
    ("carol.example.com.", RecordType::ANY, "NOERROR | +SOA"),
    // 7: nothing
    ("nobody.example.com.", RecordType::A, "NXDOMAIN | +SOA"),
    ("nobody.example.com.", RecordType::ANY, "NXDOMAIN | +SOA"),
    ("x.alice.example.com.", RecordType::A, "NXDOMAIN | +SOA"),
    ("*.example.com.", RecordType::A, "NXDOMAIN | +SOA"),
    // not ours
    ("evilexample.com.", RecordType::A, "REFUSED"),
    ("alice.evilexample.com.", RecordType::A, "REFUSED"),
    ("com.", RecordType::A, "REFUSED"),
    (".", RecordType::NS, "REFUSED"),
    ("example.com.org.", RecordType::ANY, "REFUSED"),
];

#[test]
fn every_class_of_names_answers_every_type() {
    let zone = zone();
    for (qname, record_type, expected) in TABLE {
        let answer = ask(&zone, qname, *record_type);
        assert_eq!(show(&answer), *expected, "{qname} {record_type}");
        assert_eq!(answer.authoritative, answer.rcode != Refused, "{qname}");
        let upper = qname.to_uppercase();
        assert_eq!(
            show(&ask(&zone, &upper, *record_type)),
            *expected,
            "{upper} {record_type}"
        );
    }
}
