//! The zone, kept up to date with the platform: cores and records by rebuilding its small part,
//! users by asking the directory at each query.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use homecore_dns::{
    Caa, CoreFact, Mx, Names, RecordSet, SharedZone, SoaFacts, Zone, ZoneError, ZoneFacts,
};
use homecore_raft::Handle;
use homecore_raft::directory::Directory;
use homecore_raft::records::{CoreState, DnsRecord};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::config::{DnsConfig, RecordsConfig};

/// How often it is looked at which cores are alive.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(2);
/// A core that the leader has not heard from for this long is left out of `reg` and `access`.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// Users' names, from memory.
#[derive(Debug)]
struct PlatformNames {
    platform: Handle,
}

impl Names for PlatformNames {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        let directory = self.platform.directory();
        Some(Cow::Owned(directory.home(label)?.to_string()))
    }
}

/// Keeps a zone current until the core stops.
#[derive(Debug)]
pub(crate) struct ZoneKeeper {
    cluster: Arc<Cluster>,
    config: DnsConfig,
    domain: String,
    names: Arc<dyn Names>,
    zone: Arc<SharedZone>,
}

impl ZoneKeeper {
    /// Builds the first zone from what is known now.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        config: DnsConfig,
        domain: String,
    ) -> Result<Self, ZoneError> {
        let names: Arc<dyn Names> = Arc::new(PlatformNames {
            platform: cluster.platform.clone(),
        });
        let facts = facts(&config, &domain, &cluster.directory(), None);
        let zone = Zone::build(&facts, Arc::clone(&names))?;
        Ok(Self {
            cluster,
            config,
            domain,
            names,
            zone: Arc::new(SharedZone::new(zone)),
        })
    }

    /// What the server answers from.
    pub(crate) fn zone(&self) -> Arc<SharedZone> {
        Arc::clone(&self.zone)
    }

    /// Follows the platform.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (tell, live) = watch::channel(None);
        // Side by side: who lives is asked of the leader, which may take long where there is none, and what
        // the platform says meanwhile must not wait for that.
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow(live) => {}
            () = self.ask(tell) => {}
        }
    }

    /// Publishes what changes.
    async fn follow(&self, mut live: watch::Receiver<Option<BTreeSet<u64>>>) {
        let mut applied = self.cluster.platform.watch_applied();
        let mut published = None;
        loop {
            let directory = self.cluster.directory();
            let now = (directory.dns_generation(), live.borrow_and_update().clone());
            if published.as_ref() != Some(&now) {
                self.publish(&directory, now.1.as_ref());
                published = Some(now);
            }
            let changed = tokio::select! {
                changed = applied.changed() => changed,
                changed = live.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Asks again and again which cores are alive. Without a leader nobody knows: what was known last
    /// stays.
    async fn ask(&self, tell: watch::Sender<Option<BTreeSet<u64>>>) {
        let mut ticks = tokio::time::interval(LIVENESS_INTERVAL);
        loop {
            ticks.tick().await;
            let Some(now) = self.live().await else {
                continue;
            };
            tell.send_if_modified(|live| {
                let changed = live.as_ref() != Some(&now);
                if changed {
                    *live = Some(now);
                }
                changed
            });
        }
    }

    async fn live(&self) -> Option<BTreeSet<u64>> {
        let peers = self.cluster.platform.liveness().await.ok()?;
        let heard = |silent: Option<Duration>| silent.is_some_and(|s| s < SILENT_MAX);
        Some(
            peers
                .into_iter()
                .filter(|p| heard(p.silent))
                .map(|p| p.node.0)
                .collect(),
        )
    }

    fn publish(&self, directory: &Directory, live: Option<&BTreeSet<u64>>) {
        let facts = facts(&self.config, &self.domain, directory, live);
        match Zone::build(&facts, Arc::clone(&self.names)) {
            Ok(zone) => {
                for problem in zone.problems() {
                    tracing::warn!(%problem, "a record of the zone is left out");
                }
                if let Err(stale) = self.zone.publish(Arc::new(zone)) {
                    tracing::debug!(%stale, "zone not replaced");
                }
            }
            Err(error) => tracing::error!(%error, "the zone cannot be built; the last one stays"),
        }
    }
}

fn facts(
    config: &DnsConfig,
    domain: &str,
    directory: &Directory,
    live: Option<&BTreeSet<u64>>,
) -> ZoneFacts {
    let cores: Vec<CoreFact> = directory
        .cores()
        .map(|core| CoreFact {
            id: core.id.clone(),
            a: core.addresses.ipv4.clone(),
            aaaa: core.addresses.ipv6.clone(),
            cname: core.addresses.cname.clone(),
            serving: core.state == CoreState::Serving,
            live: live.is_none_or(|live| live.contains(&core.node.0)),
        })
        .collect();
    let named: Vec<String> = cores
        .iter()
        .filter(|core| !core.a.is_empty() || !core.aaaa.is_empty())
        .map(|core| format!("{}.{domain}", core.id))
        .collect();
    let ns = if config.ns.is_empty() {
        named
    } else {
        config.ns.clone()
    };
    let mut soa = SoaFacts::new(domain);
    if let Some(first) = ns.first() {
        soa.primary.clone_from(first);
    }
    if let Some(admin) = &config.admin {
        soa.admin.clone_from(admin);
    }
    ZoneFacts {
        generation: directory.dns_generation(),
        ttl_s: config.ttl_s,
        user_ttl_s: config.ttl_s.min(60),
        soa,
        ns,
        apex: configured(&config.root),
        cores,
        statics: config
            .statics
            .iter()
            .map(|(label, r)| (label.clone(), configured(r)))
            .collect(),
        records: directory
            .dns()
            .map(|(label, record)| (label.to_owned(), stored(record)))
            .collect::<BTreeMap<_, _>>(),
        ..ZoneFacts::new(domain)
    }
}

fn configured(records: &RecordsConfig) -> RecordSet {
    RecordSet {
        a: records.a.clone(),
        aaaa: records.aaaa.clone(),
        cname: records.cname.clone(),
        txt: records.txt.clone(),
        mx: records
            .mx
            .iter()
            .map(|(preference, exchange)| Mx {
                preference: *preference,
                exchange: exchange.clone(),
            })
            .collect(),
        caa: caa(&records.caa),
    }
}

fn stored(record: &DnsRecord) -> RecordSet {
    RecordSet {
        a: record.a.clone(),
        aaaa: record.aaaa.clone(),
        cname: record.cname.clone(),
        txt: record.txt.clone(),
        mx: Vec::new(),
        caa: caa(&record.caa),
    }
}

fn caa(records: &[(u8, String, String)]) -> Vec<Caa> {
    records
        .iter()
        .map(|(flags, tag, value)| Caa {
            flags: *flags,
            tag: tag.clone(),
            value: value.clone(),
        })
        .collect()
}
