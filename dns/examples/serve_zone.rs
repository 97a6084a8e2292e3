//! Serves a zone with some of everything, to look at with `dig`:
//!
//! ```text
//! cargo run -p homecore-dns --example serve_zone -- example.com 127.0.0.1:5300 10000
//! dig @127.0.0.1 -p 5300 alice.example.com
//! ```
//!
//! The arguments are the domain, the address, and how many users `user-0`, `user-1` … there are.
//! `nolimit` as a fourth switches the rate limit off, for measuring.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use homecore_dns::{
    Caa, CoreFact, Mx, Names, Options, RateLimit, RecordSet, Server, SharedZone, Zone, ZoneFacts,
};
use homecore_types::CoreId;
use tokio_util::sync::CancellationToken;

/// All users live on one of two cores.
#[derive(Debug)]
struct Users(BTreeMap<String, &'static str>);

impl Names for Users {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        self.0.get(label).map(|core| Cow::Borrowed(*core))
    }
}

fn core(id: &str, last: u8) -> Result<CoreFact, homecore_types::IdError> {
    Ok(CoreFact {
        id: CoreId::parse(id)?,
        a: vec![[192, 0, 2, last].into()],
        aaaa: vec![[0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into()],
        cname: None,
        serving: true,
        live: true,
    })
}

fn facts(domain: &str) -> Result<ZoneFacts, homecore_types::IdError> {
    let mut facts = ZoneFacts {
        generation: 42,
        ..ZoneFacts::new(domain)
    };
    facts.apex = RecordSet {
        a: vec![[203, 0, 113, 1].into()],
        txt: vec!["v=spf1 -all".into()],
        mx: vec![Mx {
            preference: 10,
            exchange: format!("mail.{domain}"),
        }],
        caa: vec![Caa {
            flags: 0,
            tag: "issue".into(),
            value: "ca.example".into(),
        }],
        ..RecordSet::default()
    };
    facts.cores = vec![core("core-a", 1)?, core("core-b", 2)?];
    facts.cores.push(CoreFact {
        a: vec![],
        aaaa: vec![],
        cname: Some("c.hosting.org".into()),
        ..core("core-c", 3)?
    });
    let address = |last| RecordSet {
        a: vec![[198, 51, 100, last].into()],
        ..RecordSet::default()
    };
    let alias = |to: String| RecordSet {
        cname: Some(to),
        ..RecordSet::default()
    };
    let texts = |txt| RecordSet {
        txt,
        ..RecordSet::default()
    };
    facts.statics.insert("mail".into(), address(25));
    facts
        .statics
        .insert("www".into(), alias(format!("core-a.{domain}")));
    facts.records.insert("core".into(), address(53));
    facts.records.insert(
        "_acme-challenge".into(),
        texts(vec!["token-1".into(), "t2".into()]),
    );
    facts
        .records
        .insert("large".into(), texts(vec!["x".repeat(600); 10]));
    facts.records.insert("a.b.c".into(), address(9));
    Ok(facts)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let mut arguments = std::env::args().skip(1);
    let domain = arguments.next().unwrap_or_else(|| "example.com".to_owned());
    let address: SocketAddr = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:5300".to_owned())
        .parse()?;
    let count: usize = arguments
        .next()
        .unwrap_or_else(|| "1000".to_owned())
        .parse()?;
    let limited = arguments.next().as_deref() != Some("nolimit");

    let mut users: BTreeMap<String, &'static str> = (0..count)
        .map(|n| (format!("user-{n}"), "core-b"))
        .collect();
    users.insert("alice".to_owned(), "core-b");
    users.insert("bobby".to_owned(), "core-c");
    let zone = Zone::build(&facts(&domain)?, Arc::new(Users(users)))?;
    for problem in zone.problems() {
        println!("problem: {problem}");
    }

    let options = Options {
        udp: vec![address],
        tcp: vec![address],
        rate_limit: limited.then(RateLimit::default),
        ..Options::default()
    };
    let server = Server::bind(&options, Arc::new(SharedZone::new(zone)))?;
    let stats = server.stats();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(stop.clone()));
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    serving.await??;
    for (name, value) in stats.snapshot().pairs() {
        println!("{name} {value}");
    }
    Ok(())
}
