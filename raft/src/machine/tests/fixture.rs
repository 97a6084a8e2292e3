//! A founded platform and short words for commands.

use std::collections::BTreeMap;
use std::path::Path;

use homecore_types::{ClusterId, CoreId, Millis, NodeId, UserId, Username};
use tempfile::TempDir;

use crate::command::{Command, Founding, Rejection, ReserveUser, Response};
use crate::directory::{View, view};
use crate::engine::EngineKind;
use crate::machine::{Item, Machine};
use crate::records::{
    AccessRequest, CoreAddresses, DnsRecord, Invitation, PlatformConfig, SealedSecrets,
};

/// A machine with its folder and the log's next index.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    pub(super) machine: Machine,
    pub(super) view: View,
    pub(super) index: u64,
}

impl Bench {
    pub(super) fn empty(kind: EngineKind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let view = view();
        let machine = Machine::open(dir.path(), kind, view.clone()).unwrap();
        Self {
            dir,
            machine,
            view,
            index: 0,
        }
    }

    /// Founded by `core-a`, which serves.
    pub(super) fn founded() -> Self {
        Self::founded_on(EngineKind::Memory)
    }

    pub(super) fn founded_on(kind: EngineKind) -> Self {
        let mut bench = Self::empty(kind);
        assert_eq!(bench.run(Command::Found(founding())), Response::Done);
        bench
    }

    pub(super) fn run(&mut self, command: Command) -> Response {
        self.run_all(vec![command]).remove(0)
    }

    pub(super) fn run_all(&mut self, commands: Vec<Command>) -> Vec<Response> {
        let entries = commands
            .into_iter()
            .map(|command| {
                self.index += 1;
                item(self.index, command)
            })
            .collect();
        self.machine.apply(entries).unwrap()
    }

    /// Runs a command that must take effect.
    pub(super) fn done(&mut self, command: Command) {
        let name = command.to_string();
        assert_eq!(self.run(command), Response::Done, "{name}");
    }

    /// Runs a command that must be rejected.
    pub(super) fn rejected(&mut self, command: Command) -> Rejection {
        match self.run(command) {
            Response::Rejected(rejection) => rejection,
            other => panic!("not rejected but {other}"),
        }
    }

    /// A core that joined and serves.
    pub(super) fn add_core(&mut self, name: &str, hosting: Option<&str>) -> NodeId {
        let token = format!("token-of-{name}");
        self.done(put_token(&token, name));
        let Response::Admitted { node } = self.run(admit(&token, name, "key")) else {
            panic!("not admitted")
        };
        self.done(announce(name, node, hosting));
        node
    }

    /// An active user.
    pub(super) fn add_user(&mut self, name: &str) -> UserId {
        let reserve = reserve(name);
        let (reservation, user) = (reserve.reservation.clone(), reserve.user.clone());
        assert!(matches!(
            self.run(Command::ReserveUser(reserve)),
            Response::Reserved { .. }
        ));
        self.done(commit(&reservation));
        user
    }

    /// The machine as it is after a restart, clean or not.
    pub(super) fn reopen(self, kind: EngineKind, clean: bool) -> Self {
        let Self {
            dir, machine, view, ..
        } = self;
        if clean {
            machine.close().unwrap();
        } else {
            drop(machine);
        }
        let machine = Machine::open(dir.path(), kind, view.clone()).unwrap();
        let index = machine.applied_index().unwrap_or(0);
        Self {
            dir,
            machine,
            view,
            index,
        }
    }

    /// Writes a snapshot file of the present state.
    pub(super) fn snapshot(&mut self) -> std::path::PathBuf {
        write_snapshot(&mut self.machine)
    }
}

pub(super) fn write_snapshot(machine: &mut Machine) -> std::path::PathBuf {
    let mut cursor = machine.begin_snapshot().unwrap();
    let dir = machine.snapshots_dir().to_owned();
    let mut writer = crate::snapshot::Writer::create(&dir, cursor.header().clone()).unwrap();
    while let Some(items) = machine.next_chunk(&mut cursor, 7).unwrap() {
        writer.write(&items).unwrap();
    }
    writer.finish().unwrap()
}

/// The state hash of a snapshot file.
pub(super) fn hash_of_file(file: &Path) -> [u8; 32] {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::open(dir.path(), EngineKind::Memory, view()).unwrap();
    machine.install(file).unwrap();
    machine.state_hash().unwrap()
}

pub(super) fn item(index: u64, command: Command) -> Item {
    Item {
        index,
        log_id: index.to_be_bytes().to_vec(),
        membership: None,
        command: Some(command),
    }
}

pub(super) fn core_id(name: &str) -> CoreId {
    CoreId::parse(name).unwrap()
}

/// An id made of a name.
pub(super) fn user_id(name: &str) -> UserId {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    UserId::parse(format!("u{letters:z<23}")).unwrap()
}

pub(super) fn addresses(name: &str, hosting: Option<&str>) -> CoreAddresses {
    CoreAddresses {
        rpc: format!("{name}.test:4000"),
        url: format!("https://{name}.test/"),
        hosting: hosting.map(str::to_owned),
        ..CoreAddresses::default()
    }
}

pub(super) fn founding() -> Founding {
    Founding {
        cluster: ClusterId::parse("c23456789012345678901234").unwrap(),
        core: core_id("core-a"),
        node: NodeId(1),
        addresses: addresses("core-a", None),
        config: PlatformConfig {
            version: 1,
            domain: None,
            sections: BTreeMap::new(),
            fields_version: 0,
        },
        ca_certificate: vec![1, 2, 3],
        secrets: SealedSecrets {
            envelope: vec![4, 5],
        },
        at: Millis(0),
    }
}

/// A registration of `name` with an address of its own, held until 1000, with `core-a`, `core-b` and
/// `core-c` alive.
pub(super) fn reserve(name: &str) -> ReserveUser {
    ReserveUser {
        reservation: format!("r-{name}"),
        user: user_id(name),
        username: Username::parse(name).unwrap(),
        unique: [("email".to_owned(), format!("{name}@test.org"))].into(),
        indexed: [("language".to_owned(), "en".to_owned())].into(),
        hosting: None,
        invitation: None,
        live: ["core-a", "core-b", "core-c"].map(core_id).to_vec(),
        at: Millis(10),
        deadline: Millis(1_000),
        unreached: Vec::new(),
        fields_version: None,
    }
}

pub(super) fn commit(reservation: &str) -> Command {
    Command::CommitUser {
        reservation: reservation.to_owned(),
        at: Millis(20),
    }
}

pub(super) fn release(reservation: &str) -> Command {
    Command::ReleaseUser {
        reservation: reservation.to_owned(),
    }
}

/// A token that ends at 1000.
pub(super) fn put_token(id: &str, core: &str) -> Command {
    Command::PutJoinToken {
        id: id.to_owned(),
        core: core_id(core),
        at: Millis(1),
        expires: Millis(1_000),
    }
}

pub(super) fn admit(token: &str, core: &str, key: &str) -> Command {
    Command::AdmitCore {
        token: token.to_owned(),
        core: core_id(core),
        key: key.to_owned(),
        addresses: addresses(core, None),
        at: Millis(30),
    }
}

pub(super) fn announce(core: &str, node: NodeId, hosting: Option<&str>) -> Command {
    Command::AnnounceCore {
        core: core_id(core),
        node,
        addresses: addresses(core, hosting),
        at: Millis(40),
    }
}

pub(super) fn remove(core: &str, abandon_users: bool) -> Command {
    Command::RemoveCore {
        core: core_id(core),
        abandon_users,
        at: Millis(50),
    }
}

pub(super) fn sweep(now: i64) -> Command {
    Command::Sweep { now: Millis(now) }
}

pub(super) fn put_dns(label: &str, text: &str) -> Command {
    Command::PutDnsRecord {
        label: label.to_owned(),
        record: DnsRecord {
            txt: vec![text.to_owned()],
            ..DnsRecord::default()
        },
    }
}

pub(super) fn invite(ids: &[&str]) -> Command {
    let invitation = Invitation {
        created_at: Millis(1),
        created_by: "admin".to_owned(),
        description: String::new(),
        consumed_at: None,
        consumed_by: None,
    };
    let invitations = ids
        .iter()
        .map(|id| ((*id).to_owned(), invitation.clone()))
        .collect();
    Command::CreateInvitations { invitations }
}

pub(super) fn access_request(status: &str, payload: &str, deadline: i64) -> AccessRequest {
    AccessRequest {
        status: status.to_owned(),
        payload: payload.as_bytes().to_vec(),
        deadline: Millis(deadline),
    }
}

pub(super) fn put_section(bench: &mut Bench, section: &str, text: &str) {
    let mut config = (**bench.machine.directory().config().unwrap()).clone();
    let base_version = config.version;
    config.sections.insert(section.to_owned(), text.to_owned());
    bench.done(Command::PutConfig {
        config,
        base_version,
        unless_accounts: Some(false),
    });
}

/// The answer to a reservation of `name` that took effect.
pub(super) fn reserved(core: &str, name: &str) -> Response {
    Response::Reserved {
        core: core_id(core),
        user: user_id(name),
    }
}

/// Another name for a user whose name was changed so often.
pub(super) fn rename(user: &str, from: &str, to: &str, changes: u32, changes_max: u32) -> Command {
    Command::RenameUser {
        user: user_id(user),
        from: Username::parse(from).unwrap(),
        to: Username::parse(to).unwrap(),
        changes,
        changes_max,
    }
}

/// Users counted on a core.
pub(super) fn users_on(machine: &Machine, core: &str) -> u64 {
    machine.directory().core(&core_id(core)).unwrap().users
}

pub(super) fn username(name: &str) -> Username {
    Username::parse(name).unwrap()
}
