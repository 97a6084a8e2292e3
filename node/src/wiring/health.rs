//! Whether this core may take traffic, and its figures for Prometheus.
//!
//! Once a core serves, losing the quorum does not make it unready: it goes on serving the users
//! that live on it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use homecore_http::health::{Health, Readiness};
use homecore_kernel::Kernel;
use homecore_raft::Role;
use homecore_raft::records::CoreState;

use crate::adapters::syslog::SyslogCounts;
use crate::cluster::Cluster;

/// Looks at the parts of a core.
#[derive(Debug)]
pub(super) struct CoreHealth {
    cluster: Arc<Cluster>,
    kernel: Kernel,
    told: Arc<SyslogCounts>,
    served_once: AtomicBool,
}

impl CoreHealth {
    /// Of this core.
    pub(super) fn new(cluster: Arc<Cluster>, kernel: Kernel, told: Arc<SyslogCounts>) -> Self {
        Self {
            cluster,
            kernel,
            told,
            served_once: AtomicBool::new(false),
        }
    }
}

impl Health for CoreHealth {
    fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if let Some(reason) = self.kernel.users().stats().poisoned {
            reasons.push(format!("users' data cannot be written: {reason}"));
        }
        let warning = self.cluster.disk.warning();
        let directory = self.cluster.directory();
        let record = directory.core_or_removed(self.cluster.core.as_str());
        match record.map(|core| core.state) {
            Some(CoreState::Serving) => self.served_once.store(true, Ordering::Relaxed),
            Some(CoreState::Removed) => reasons.push("this core was removed".to_owned()),
            Some(CoreState::Joining) | None if !self.served_once.load(Ordering::Relaxed) => {
                reasons.push("this core is still joining".to_owned());
            }
            Some(CoreState::Joining) | None => {}
        }
        let ready = reasons.is_empty();
        // Reading goes on: it may take traffic, and somebody has to make room.
        reasons.extend(warning);
        Readiness { ready, reasons }
    }

    fn metrics(&self) -> Option<String> {
        let raft = self.cluster.platform.status();
        let store = self.kernel.users().stats();
        let directory = self.cluster.directory();
        let mut figures = Figures::default();
        let mut gauge =
            |name: &str, help: &str, value: u64| figures.add("gauge", name, help, value);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        gauge(
            "homecore_raft_term",
            "Term of the platform store.",
            raft.term,
        );
        gauge(
            "homecore_raft_is_leader",
            "1 on the leader.",
            u64::from(raft.role == Role::Leader),
        );
        gauge(
            "homecore_raft_has_leader",
            "1 where a leader is known.",
            u64::from(raft.leader.is_some()),
        );
        gauge(
            "homecore_raft_applied_index",
            "Last applied log index.",
            raft.applied.unwrap_or(0),
        );
        gauge(
            "homecore_raft_last_log_index",
            "Last log index.",
            raft.last_log.unwrap_or(0),
        );
        gauge(
            "homecore_raft_voters",
            "Voters of the platform store.",
            count(raft.voters.len()),
        );
        gauge(
            "homecore_platform_cores",
            "Cores of the platform.",
            count(directory.cores().count()),
        );
        gauge(
            "homecore_store_open_users",
            "Users whose databases are open.",
            count(store.open_writers),
        );
        gauge(
            "homecore_store_queued_writes",
            "Writes that wait.",
            count(store.queued_writes),
        );
        gauge(
            "homecore_store_queued_reads",
            "Reads that wait.",
            count(store.queued_reads),
        );
        gauge(
            "homecore_journal_position",
            "Last position of the journal.",
            store.journal_last.0,
        );
        gauge(
            "homecore_journal_bytes",
            "Size of the journal.",
            store.journal_bytes.unwrap_or(0),
        );
        let blobs = self.kernel.blobs().stats();
        gauge(
            "homecore_blobs_uploads",
            "Files on their way in.",
            count(blobs.uploads),
        );
        gauge(
            "homecore_blobs_downloads",
            "Files on their way out.",
            count(blobs.downloads),
        );
        gauge(
            "homecore_blobs_suspects",
            "Files that may be without an event and wait to be looked at.",
            count(blobs.suspects),
        );
        self.told(&mut figures);
        self.previews(&mut figures);
        Some(figures.0)
    }
}

impl CoreHealth {
    fn told(&self, figures: &mut Figures) {
        figures.add(
            "counter",
            "homecore_audit_syslog_sent_total",
            "Lines about calls that the system log was sent.",
            self.told.sent(),
        );
        figures.add(
            "counter",
            "homecore_audit_syslog_dropped_total",
            "Lines about calls that the system log did not get.",
            self.told.dropped(),
        );
    }

    fn disk(&self, figures: &mut Figures) {
        let disk = &self.cluster.disk;
        figures.add(
            "gauge",
            "homecore_disk_free_bytes",
            "Bytes that are free on the disk of the data directory.",
            disk.free_bytes(),
        );
        figures.add(
            "gauge",
            "homecore_disk_free_min_bytes",
            "Bytes that must be free for users' writes.",
            disk.min_bytes(),
        );
        figures.add(
            "gauge",
            "homecore_disk_full",
            "1 while users' writes are refused because the disk is full.",
            u64::from(disk.room().is_lacking()),
        );
        figures.add(
            "counter",
            "homecore_disk_refused_total",
            "Writes that were refused because the disk is full.",
            disk.room().refused(),
        );
    }

    fn previews(&self, figures: &mut Figures) {
        self.disk(figures);
        let previews = self.kernel.preview_figures();
        figures.add(
            "counter",
            "homecore_previews_hits_total",
            "Previews that were there when they were asked for.",
            previews.hits,
        );
        figures.add(
            "counter",
            "homecore_previews_misses_total",
            "Previews that had to be made first.",
            previews.misses,
        );
        figures.add(
            "counter",
            "homecore_previews_failures_total",
            "Previews that had to be made and were not.",
            previews.failures,
        );
        figures.add(
            "counter",
            "homecore_previews_seconds_total",
            "Time that was waited for previews to be made.",
            previews.waited.as_secs_f64(),
        );
    }
}

/// Figures in the text format of Prometheus.
#[derive(Debug, Default)]
struct Figures(String);

impl Figures {
    fn add(&mut self, kind: &str, name: &str, help: &str, value: impl std::fmt::Display) {
        let _infallible = writeln!(
            self.0,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
}
