//! The names that a core answers, kept as `node` keeps them: the real zone, and users asked of the real
//! directory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use homecore_dns::{
    CoreFact, Names, RecordSet, SharedZone, SoaFacts, Zone, ZoneFacts, ZoneSource as _,
};
use homecore_raft::Handle;
use homecore_raft::directory::Directory;
use homecore_raft::records::CoreState;
use tokio_util::sync::CancellationToken;

const DOMAIN: &str = "sim.test";
const LIVENESS_INTERVAL: Duration = Duration::from_secs(2);
const SILENT_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct PlatformNames(Handle);

impl Names for PlatformNames {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        let user = self.0.directory().user(label).filter(|user| user.active)?;
        Some(Cow::Owned(user.core.to_string()))
    }
}

/// The first zone, from what is known now.
pub(crate) fn first(platform: &Handle) -> Arc<SharedZone> {
    Arc::new(SharedZone::new(build(
        platform,
        &platform.directory(),
        None,
    )))
}

fn build(platform: &Handle, directory: &Directory, live: Option<&BTreeSet<u64>>) -> Zone {
    let names = Arc::new(PlatformNames(platform.clone()));
    Zone::build(&facts(directory, live), names).unwrap()
}

/// Follows the platform.
pub(crate) async fn keep(platform: Handle, zone: Arc<SharedZone>, stop: CancellationToken) {
    let mut applied = platform.watch_applied();
    let mut live: Option<BTreeSet<u64>> = None;
    let mut generation = None;
    let mut ticks = tokio::time::interval(LIVENESS_INTERVAL);
    loop {
        let directory = platform.directory();
        if generation != Some(directory.dns_generation()) {
            generation = Some(directory.dns_generation());
            publish(&zone, build(&platform, &directory, live.as_ref()));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {
                if let Ok(peers) = platform.liveness().await {
                    let heard = |silent: Option<Duration>| silent.is_some_and(|s| s < SILENT_MAX);
                    let now: BTreeSet<u64> = peers
                        .into_iter()
                        .filter(|peer| heard(peer.silent))
                        .map(|peer| peer.node.0)
                        .collect();
                    if live.as_ref() != Some(&now) {
                        publish(&zone, build(&platform, &platform.directory(), Some(&now)));
                        live = Some(now);
                    }
                }
            }
        }
    }
}

/// An older one stays away.
fn publish(zone: &SharedZone, new: Zone) {
    let _older: Result<(), _> = zone.publish(Arc::new(new));
}

/// What the zone says of a user: the addresses of its home.
pub(crate) fn addresses(zone: &SharedZone, label: &str) -> Vec<String> {
    let zone = zone.zone();
    let name = Name::from_str(&format!("{label}.{DOMAIN}.")).unwrap();
    let question = homecore_dns::Question {
        name: &name,
        record_type: RecordType::A,
        rotation: 0,
    };
    let answer = zone.answer(&question);
    answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

fn facts(directory: &Directory, live: Option<&BTreeSet<u64>>) -> ZoneFacts {
    ZoneFacts {
        generation: directory.dns_generation(),
        soa: SoaFacts::new(DOMAIN),
        cores: directory
            .cores()
            .map(|core| CoreFact {
                id: core.id.clone(),
                a: core.addresses.ipv4.clone(),
                aaaa: core.addresses.ipv6.clone(),
                cname: core.addresses.cname.clone(),
                serving: core.state == CoreState::Serving,
                live: live.is_none_or(|live| live.contains(&core.node.0)),
            })
            .collect(),
        records: directory
            .dns()
            .map(|(label, record)| {
                let set = RecordSet {
                    a: record.a.clone(),
                    aaaa: record.aaaa.clone(),
                    cname: record.cname.clone(),
                    txt: record.txt.clone(),
                    ..RecordSet::default()
                };
                (label.to_owned(), set)
            })
            .collect::<BTreeMap<_, _>>(),
        ..ZoneFacts::new(DOMAIN)
    }
}
