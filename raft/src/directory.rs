//! What the platform store says about names, in memory: who asks where a user lives, which cores
//! there are or what the zone holds is answered from here, without disk, lock or consensus.
//!
//! A directory never changes. After each group of entries the state machine publishes the next one,
//! which shares all but a few nodes with the one before it (persistent maps), so publishing costs a
//! little for each change and a reader keeps a consistent view as long as it likes. It is made for
//! millions of users: an entry is a name that is stored in place when short, the id's 24 letters and
//! the number of the home core in a table.

mod name;
mod table;

use std::sync::Arc;

use arc_swap::ArcSwap;
use homecore_types::id::RESERVED_LABELS;
use homecore_types::{ClusterId, CoreId, NodeId, UserId};
use imbl::{OrdMap, Vector};

use crate::command::Founding;
use crate::keys::NameRow;
use crate::machine::Policy;
use crate::records::{Core, CoreState, DnsRecord, PlatformConfig, SealedSecrets};

use name::Name;
use table::Table;

/// Where readers find the newest directory.
pub type View = Arc<ArcSwap<Directory>>;

/// A place for a directory, empty until the state machine publishes one.
#[must_use]
pub fn view() -> View {
    Arc::new(ArcSwap::from_pointee(Directory::default()))
}

/// A user, as far as routing asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// The user.
    pub id: UserId,
    /// Its home.
    pub core: CoreId,
    /// False while the name is only reserved: nobody lives there yet.
    pub active: bool,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users, without reservations.
    pub users: u64,
    /// Names held for users to be.
    pub reservations: u64,
    /// Access requests that are remembered, answered ones included.
    pub access_requests: u64,
    /// Invitations, used ones included.
    pub invitations: u64,
    /// Labels with DNS records of their own.
    pub dns_labels: u64,
}

/// The id, and the position of the home core in [`Directory::homes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    id: [u8; 24],
    home: u32,
    active: bool,
}

/// The platform at one log index.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    applied_index: Option<u64>,
    founding: Option<Arc<Founding>>,
    config: Option<Arc<PlatformConfig>>,
    policy: Arc<Policy>,
    users: Table<Slot>,
    /// Former names → present ones. Few users have any.
    aliases: Table<Name>,
    /// Every core that ever was, at the number that slots use. The numbers are this process's own.
    homes: Vector<CoreId>,
    cores: OrdMap<CoreId, Arc<Core>>,
    nodes: OrdMap<NodeId, CoreId>,
    dns: OrdMap<String, Arc<DnsRecord>>,
    dns_generation: u64,
    counts: Counts,
}

impl Directory {
    /// Index of the last log entry in this view; none: nothing was applied yet.
    #[must_use]
    pub fn applied_index(&self) -> Option<u64> {
        self.applied_index
    }

    /// The cluster; none: not founded yet.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.founding.as_ref().map(|founding| &founding.cluster)
    }

    /// Platform-wide configuration.
    #[must_use]
    pub fn config(&self) -> Option<&Arc<PlatformConfig>> {
        self.config.as_ref()
    }

    /// The certificate of the cluster's CA (DER).
    #[must_use]
    pub fn ca_certificate(&self) -> Option<&[u8]> {
        self.founding
            .as_ref()
            .map(|founding| founding.ca_certificate.as_slice())
    }

    /// Secrets of the whole platform, sealed.
    #[must_use]
    pub fn secrets(&self) -> Option<&SealedSecrets> {
        self.founding.as_ref().map(|founding| &founding.secrets)
    }

    /// Who has a name or had it before, reserved ones included: look at [`UserEntry::active`].
    #[must_use]
    pub fn user(&self, name: &str) -> Option<UserEntry> {
        self.entry(self.users.get(self.present_name(name))?)
    }

    /// The home of who has a name or had it before; none while it is only reserved.
    #[must_use]
    pub fn home(&self, name: &str) -> Option<&CoreId> {
        let slot = self.users.get(self.present_name(name))?;
        let home = usize::try_from(slot.home).ok()?;
        slot.active.then(|| self.homes.get(home)).flatten()
    }

    /// The present name of whoever had a name before; any other name as it is.
    #[must_use]
    pub fn present_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, Name::as_str)
    }

    /// Present names with their users, of one core or of all, in no order. Walks every name: not for an
    /// async worker.
    pub fn users<'a>(
        &'a self,
        core: Option<&CoreId>,
    ) -> impl Iterator<Item = (&'a str, UserEntry)> + use<'a> {
        let home = core.map(|core| self.home_of(core));
        self.users
            .iter()
            .filter(move |(_, slot)| home.is_none_or(|home| home == Some(slot.home)))
            .filter_map(|(name, slot)| Some((name.as_str(), self.entry(slot)?)))
    }

    /// Cores that are members, in the order of ids.
    pub fn cores(&self) -> impl Iterator<Item = &Arc<Core>> {
        self.cores
            .values()
            .filter(|core| core.state != CoreState::Removed)
    }

    /// A core that is a member.
    #[must_use]
    pub fn core(&self, id: &CoreId) -> Option<&Arc<Core>> {
        self.cores
            .get(id)
            .filter(|core| core.state != CoreState::Removed)
    }

    /// The core that has or had a node id. Its state tells whether it was removed.
    #[must_use]
    pub fn core_by_node(&self, node: NodeId) -> Option<&Arc<Core>> {
        self.cores.get(self.nodes.get(&node)?)
    }

    /// A core of this name, a removed one too.
    #[must_use]
    pub fn core_or_removed(&self, id: &str) -> Option<&Arc<Core>> {
        self.cores.get(id)
    }

    /// Labels with records of their own, in order.
    pub fn dns(&self) -> impl Iterator<Item = (&str, &Arc<DnsRecord>)> {
        self.dns
            .iter()
            .map(|(label, record)| (label.as_str(), record))
    }

    /// The records of a label.
    #[must_use]
    pub fn dns_record(&self, label: &str) -> Option<&Arc<DnsRecord>> {
        self.dns.get(label)
    }

    /// What kind of thing holds a label: one table of names for users, cores past and present, records
    /// and the words that the zone and the router use themselves.
    #[must_use]
    pub fn holder(&self, label: &str) -> Option<&'static str> {
        if RESERVED_LABELS.contains(&label) {
            return Some("reserved");
        }
        if self.user(label).is_some() {
            return Some("user");
        }
        if let Some(core) = self.core_or_removed(label) {
            return Some(if core.state == CoreState::Removed {
                "removed-core"
            } else {
                "core"
            });
        }
        self.dns_record(label).map(|_| "dns")
    }

    /// The log index at which cores, DNS records or configuration last changed: when the zone has to
    /// be made anew. Users are looked up one by one and do not count.
    #[must_use]
    pub fn dns_generation(&self) -> u64 {
        self.dns_generation
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn entry(&self, slot: &Slot) -> Option<UserEntry> {
        let id = std::str::from_utf8(&slot.id).ok()?;
        Some(UserEntry {
            id: UserId::parse(id).ok()?,
            core: self.homes.get(usize::try_from(slot.home).ok()?)?.clone(),
            active: slot.active,
        })
    }

    /// The number of a core in slots. Few cores: a walk is quicker than a map.
    fn home_of(&self, core: &CoreId) -> Option<u32> {
        let position = self.homes.iter().position(|known| known == core)?;
        u32::try_from(position).ok()
    }
}

/// How the state machine makes the next directory.
impl Directory {
    pub(crate) fn founding(&self) -> Option<&Arc<Founding>> {
        self.founding.as_ref()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn set_applied(&mut self, index: Option<u64>) {
        self.applied_index = index;
    }

    pub(crate) fn set_founding(&mut self, founding: Founding) {
        self.founding = Some(Arc::new(founding));
    }

    pub(crate) fn set_config(&mut self, config: PlatformConfig, generation: u64) {
        self.policy = Arc::new(Policy::of(&config));
        self.config = Some(Arc::new(config));
        self.dns_generation = generation;
    }

    pub(crate) fn set_dns_generation(&mut self, generation: u64) {
        self.dns_generation = generation;
    }

    pub(crate) fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// Sets a core as it now is. Only what the zone shows of it counts for the generation.
    pub(crate) fn set_core(&mut self, core: Arc<Core>, generation: u64) {
        let shown = |core: &Core| (core.addresses.clone(), core.state);
        let previous = self.cores.get(&core.id);
        if previous.is_none_or(|previous| shown(previous) != shown(&core)) {
            self.dns_generation = generation;
        }
        if previous.is_none() {
            self.ensure_home(&core.id);
            self.nodes.insert(core.node, core.id.clone());
        }
        self.cores.insert(core.id.clone(), core);
    }

    /// Counts a user more or less on a core. Whether there is such a core.
    pub(crate) fn count_user(&mut self, core: &CoreId, more: bool) -> bool {
        let Some(core) = self.cores.get_mut(core) else {
            return false;
        };
        let core = Arc::make_mut(core);
        core.users = if more {
            core.users.saturating_add(1)
        } else {
            core.users.saturating_sub(1)
        };
        true
    }

    pub(crate) fn set_name(&mut self, name: &str, row: &NameRow) {
        // A name may have been, or become, a present one.
        self.remove_name(name);
        if let Some(present) = &row.alias_of {
            let present = Name::new(present.as_str());
            self.aliases.insert(name, present);
            return;
        }
        let home = self.ensure_home(&row.core);
        let mut id = [0; 24];
        for (to, from) in id.iter_mut().zip(row.id.as_str().bytes()) {
            *to = from;
        }
        let slot = Slot {
            id,
            home,
            active: row.active,
        };
        self.users.insert(name, slot);
        let count = self.count_of(row.active);
        *count = count.saturating_add(1);
    }

    pub(crate) fn remove_name(&mut self, name: &str) {
        if let Some(previous) = self.users.remove(name) {
            self.uncount(previous);
        }
        self.aliases.remove(name);
    }

    pub(crate) fn set_dns(&mut self, label: &str, record: DnsRecord, generation: u64) {
        if self
            .dns
            .insert(label.to_owned(), Arc::new(record))
            .is_none()
        {
            self.counts.dns_labels = self.counts.dns_labels.saturating_add(1);
        }
        self.dns_generation = generation;
    }

    pub(crate) fn remove_dns(&mut self, label: &str, generation: u64) {
        if self.dns.remove(label).is_some() {
            self.counts.dns_labels = self.counts.dns_labels.saturating_sub(1);
        }
        self.dns_generation = generation;
    }

    fn uncount(&mut self, slot: Slot) {
        let count = self.count_of(slot.active);
        *count = count.saturating_sub(1);
    }

    fn count_of(&mut self, active: bool) -> &mut u64 {
        if active {
            &mut self.counts.users
        } else {
            &mut self.counts.reservations
        }
    }

    fn ensure_home(&mut self, core: &CoreId) -> u32 {
        self.home_of(core).unwrap_or_else(|| {
            self.homes.push_back(core.clone());
            u32::try_from(self.homes.len())
                .unwrap_or(u32::MAX)
                .saturating_sub(1)
        })
    }
}

#[cfg(test)]
mod tests;
