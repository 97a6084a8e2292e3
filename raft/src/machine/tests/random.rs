//! Random histories: however entries are grouped, whatever engine keeps them and however often the
//! process stops, the answers and the state are the same, and the state is sound.

use std::collections::{BTreeMap, BTreeSet};

use homecore_types::{Millis, NodeId};
use proptest::prelude::*;

use super::fixture::*;
use crate::command::{Command, HoldNames, Rejection, ReserveUser, Response, SetEmails};
use crate::directory::view;
use crate::engine::EngineKind;
use crate::keys::{ReservationState, Reservations, Space, Table, Unique};
use crate::machine::read::scan_directory;
use crate::machine::{Machine, read_applied};
use crate::records::CoreState;
use crate::snapshot::Writer;

const NAMES: [&str; 6] = ["alice", "bobby", "carol", "core-b", "mailer", "system"];
const ALIASES: [&str; 4] = ["r-abcdefgh", "r-23456789", "r-stuvwxyz", "mailer"];
const CORES: [&str; 4] = ["core-a", "core-b", "core-c", "alice"];

/// By which declaration fields were judged: by none, the present one, or one that is not.
fn a_version() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 2 => Just(Some(0)), 1 => (1..3_u64).prop_map(Some)]
}

fn a_reservation() -> impl Strategy<Value = Command> {
    (
        0..8_usize,
        0..NAMES.len(),
        0..3_u8,
        0..4_u8,
        0..8_u8,
        0..60_i64,
        a_version(),
    )
        .prop_map(|(id, name, email, invitation, live, at, fields_version)| {
            let live = CORES
                .iter()
                .enumerate()
                .filter(|(n, _)| live & (1 << n) == 0);
            Command::ReserveUser(ReserveUser {
                reservation: format!("r{id}"),
                user: user_id(&format!("x{id}")),
                username: homecore_types::Username::parse(NAMES[name]).unwrap(),
                unique: [("email".to_owned(), format!("{email}@test.org"))].into(),
                indexed: BTreeMap::new(),
                hosting: (email == 2).then(|| "swiss".to_owned()),
                invitation: (invitation > 0).then(|| format!("inv{invitation}")),
                live: live.map(|(_, name)| core_id(name)).collect(),
                at: Millis(at),
                deadline: Millis(at + 30),
                unreached: Vec::new(),
                fields_version,
            })
        })
}

fn a_change_of_fields() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (0..8_usize, 0..4_u8, 0..4_u8, 0..3_u32, a_version()).prop_map(|(id, present, other, changes, version)| {
            Command::SetEmails(SetEmails {
                user: user_id(&format!("x{id}")),
                present: format!("{present}@test.org"),
                others: vec![format!("{other}@test.org"), "0@test.org".to_owned()],
                changes,
                indexed: BTreeMap::new(),
                unique: BTreeMap::new(),
                freed: BTreeSet::new(),
                fields_version: version,
            })
        }),
        4 => (0..8_usize, 0..4_u8, "[ab]", 0..3_u8).prop_map(|(id, email, language, phone)| {
            let mut unique = BTreeMap::from([("email".to_owned(), format!("{email}@test.org"))]);
            unique.extend((phone > 0).then(|| ("phone".to_owned(), format!("{phone}"))));
            Command::UpdateUser {
                user: user_id(&format!("x{id}")),
                unique,
                indexed: [("language".to_owned(), language)].into(),
                freed: BTreeSet::new(),
                fields_version: None,
            }
        }),
        // Some are judged by a declaration that is the present one no more.
        3 => (0..8_usize, any::<bool>(), 0..3_u64).prop_map(|(id, email, version)| Command::UpdateUser {
            user: user_id(&format!("x{id}")),
            unique: BTreeMap::new(),
            indexed: BTreeMap::new(),
            freed: [if email { "email" } else { "phone" }.to_owned()].into(),
            fields_version: Some(version),
        }),
    ]
}

fn a_command() -> impl Strategy<Value = Command> {
    let core = || 0..CORES.len();
    let label = || {
        prop::sample::select(vec![
            "alice", "bobby", "core-b", "mailer", "_x", "bad..", "a.b",
        ])
    };
    prop_oneof![
        12 => a_reservation(),
        8 => (0..8_usize, 0..90_i64).prop_map(|(id, at)| Command::CommitUser {
            reservation: format!("r{id}"), at: Millis(at),
        }),
        4 => (0..8_usize).prop_map(|id| release(&format!("r{id}"))),
        3 => (0..8_usize).prop_map(|id| Command::DeleteUser { user: user_id(&format!("x{id}")) }),
        11 => a_change_of_fields(),
        6 => (0..8_usize, 0..NAMES.len(), 0..NAMES.len(), 0..2_u32).prop_map(|(id, from, to, changes)| {
            rename(&format!("x{id}"), NAMES[from], NAMES[to], changes, 3)
        }),
        4 => (0..8_usize, 0..ALIASES.len()).prop_map(|(id, alias)| Command::TakeAlias {
            user: user_id(&format!("x{id}")), alias: username(ALIASES[alias]),
        }),
        2 => (0..8_usize, prop::sample::subsequence(ALIASES.to_vec(), 0..3)).prop_map(|(id, aliases)| {
            let aliases = aliases.into_iter().chain(["alice"]).map(username).collect();
            Command::FreeAliases { user: user_id(&format!("x{id}")), aliases }
        }),
        3 => (0..8_usize, prop::sample::subsequence(NAMES.to_vec(), 0..2), 0..ALIASES.len(), 0..3_u32, 0..8_u8)
            .prop_map(|(id, former, alias, changes, email)| Command::HoldNames(HoldNames {
                reservation: format!("r{id}"),
                former: former.into_iter().map(username).collect(),
                changes,
                aliases: vec![username(ALIASES[alias])],
                // Often none.
                emails: (0..4).contains(&email).then(|| format!("{email}@test.org")).into_iter().collect(),
                email_changes: changes,
            })),
        3 => (0..4_u8, core()).prop_map(|(id, core)| put_token(&format!("t{id}"), CORES[core])),
        1 => (0..4_u8).prop_map(|id| Command::RevokeJoinToken { id: format!("t{id}"), at: Millis(3) }),
        4 => (0..4_u8, core(), 0..2_u8).prop_map(|(id, core, key)| {
            admit(&format!("t{id}"), CORES[core], &format!("k{key}"))
        }),
        4 => (core(), 1..30_u64, any::<bool>()).prop_map(|(core, node, swiss)| {
            announce(CORES[core], NodeId(node), swiss.then_some("swiss"))
        }),
        2 => (core(), any::<bool>()).prop_map(|(core, available)| Command::SetCoreAvailable {
            core: core_id(CORES[core]), available,
        }),
        2 => (core(), any::<bool>()).prop_map(|(core, abandon)| remove(CORES[core], abandon)),
        3 => (label(), "[xy]").prop_map(|(label, text)| put_dns(label, &text)),
        2 => label().prop_map(|label| Command::DeleteDnsRecord { label: label.to_owned() }),
        1 => prop::sample::subsequence(vec!["inv1", "inv2", "inv3"], 0..3).prop_map(|ids| invite(&ids)),
        3 => (0..3_u8, 0..40_i64).prop_map(|(id, deadline)| Command::PutAccessRequest {
            id: format!("a{id}"), request: access_request("NEED_SIGNIN", "p", deadline),
        }),
        3 => (0..3_u8, 0..2_u8, 0..60_i64).prop_map(|(id, status, at)| Command::ResolveAccessRequest {
            id: format!("a{id}"),
            request: access_request(["ACCEPTED", "REFUSED"][usize::from(status)], "q", at + 20),
            at: Millis(at),
        }),
        1 => (1..4_u64, "[ab]").prop_map(|(base_version, domain)| {
            let mut config = founding().config;
            config.sections.insert("custom".to_owned(), domain.clone());
            config.domain = Some(domain);
            Command::PutConfig { config, base_version, unless_accounts: Some(false) }
        }),
        3 => (0..120_i64).prop_map(sweep),
        1 => Just(Command::Found(founding())),
    ]
}

fn a_history() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(a_command(), 1..120).prop_map(|mut commands| {
        commands.insert(0, Command::Found(founding()));
        // Two cores to choose from, most of the time.
        commands.insert(1, put_token("t-b", "core-b"));
        commands.insert(2, admit("t-b", "core-b", "k"));
        commands.insert(3, announce("core-b", NodeId(3), Some("swiss")));
        commands
    })
}

/// What a reader of the directory sees.
fn seen(directory: &crate::directory::Directory) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        directory.applied_index(),
        directory.config(),
        directory.users(None).collect::<BTreeMap<_, _>>(),
        directory.cores().collect::<Vec<_>>(),
        directory.dns().collect::<Vec<_>>(),
        directory.counts(),
    )
}

/// What must hold of every state.
fn check_sound(machine: &Machine) {
    let directory = machine.directory();
    let engine = machine.engine.as_ref();
    let applied = read_applied(engine).unwrap();
    let scanned = scan_directory(engine, &applied).unwrap();
    assert_eq!(
        seen(&scanned),
        seen(directory),
        "the directory is what the engine holds"
    );

    let users = machine.users(None, None, usize::MAX).unwrap().users;
    let rows = crate::engine::suite::everything(engine, Space::Users, 64);
    assert_eq!(rows.len(), users.len(), "every user has a name");
    let drawn = |user: &crate::records::User| {
        let held = machine.holdings(&user.id).unwrap();
        held.map(|held| held.aliases).unwrap_or_default()
    };
    let names = |user: &crate::records::User| 1 + user.aliases.len() + drawn(user).len();
    let names: usize = users.iter().map(names).sum();
    let rows = crate::engine::suite::everything(engine, Space::Names, 64);
    assert_eq!(
        rows.len(),
        names,
        "a name belongs to one user, and is one of its"
    );
    let mut unique = BTreeSet::new();
    let mut on_core: BTreeMap<_, u64> = BTreeMap::new();
    for user in &users {
        let entry = directory.user(user.username.as_str()).unwrap();
        assert_eq!((&entry.id, &entry.core), (&user.id, &user.core));
        assert_eq!(entry.active, user.reservation.is_none());
        for (field, value) in &user.unique {
            assert_eq!(machine.owner_of(field, value).unwrap().as_ref(), Some(user));
            assert!(
                unique.insert((field.clone(), value.clone())),
                "one owner for {field} {value}"
            );
        }
        let holdings = machine.holdings(&user.id).unwrap().unwrap_or_default();
        for email in holdings.emails {
            let owner = machine.owner_of("email", &email).unwrap();
            assert_eq!(owner.as_ref(), Some(user));
            assert!(
                unique.insert(("email".to_owned(), email)),
                "held beside the fields"
            );
        }
        let drawn = drawn(user);
        for name in std::iter::once(&user.username)
            .chain(&user.aliases)
            .chain(&drawn)
        {
            let name = name.as_str();
            assert_eq!(
                directory.user(name),
                Some(entry.clone()),
                "{name} leads to it"
            );
            assert_eq!(directory.present_name(name), user.username.as_str());
            assert!(directory.dns_record(name).is_none());
            assert!(directory.core_or_removed(name).is_none());
        }
        assert!(u32::try_from(user.aliases.len()).unwrap() <= user.name_changes);
        assert!(directory.core(&user.core).is_some(), "lives on a member");
        *on_core.entry(user.core.clone()).or_default() += 1;
    }
    assert_eq!(
        crate::engine::suite::everything(engine, Space::Unique, 64).len(),
        unique.len()
    );
    for core in directory.cores() {
        assert_eq!(
            core.users,
            on_core.get(&core.id).copied().unwrap_or(0),
            "{}",
            core.id
        );
        assert!(directory.dns_record(core.id.as_str()).is_none());
        assert_eq!(
            directory.core_by_node(core.node).map(|found| &found.id),
            Some(&core.id)
        );
        assert_ne!(core.state, CoreState::Removed);
    }
    check_reservations(machine, &users);
}

fn check_reservations(machine: &Machine, users: &[crate::records::User]) {
    let engine = machine.engine.as_ref();
    let mut held = BTreeSet::new();
    for (key, value) in crate::engine::suite::everything(engine, Space::Reservations, 64) {
        let row = Reservations::decode(&value).unwrap();
        if row.state == ReservationState::Held {
            held.insert((String::from_utf8(key).unwrap(), row.user));
        }
    }
    let expected: BTreeSet<_> = users
        .iter()
        .filter_map(|user| Some((user.reservation.as_ref()?.id.clone(), user.id.clone())))
        .collect();
    assert_eq!(held, expected, "held reservations are those of users to be");
    for (id, row) in machine.invitations().unwrap() {
        if let Some(reservation) = &row.held_by {
            assert!(row.invitation.consumed_at.is_none());
            let holder = users.iter().find(|user| {
                user.reservation
                    .as_ref()
                    .is_some_and(|own| own.id == *reservation)
            });
            assert_eq!(holder.unwrap().invitation.as_deref(), Some(id.as_str()));
        }
    }
    assert_eq!(Unique::SPACE, Space::Unique);
}

/// Which declaration of fields is the present one.
fn fields_version(bench: &Bench) -> u64 {
    let config = bench.machine.directory().config();
    config.map_or(0, |config| config.fields_version)
}

/// By which one the fields were judged that a command takes, if it says so.
fn judged_by(command: &Command) -> Option<u64> {
    match command {
        Command::ReserveUser(asked) => asked.fields_version,
        Command::SetEmails(change) => change.fields_version,
        Command::UpdateUser { fields_version, .. } => *fields_version,
        _ => None,
    }
}

/// One by one, in memory: what every other way must come to.
fn reference(history: &[Command]) -> (Vec<Response>, [u8; 32]) {
    let mut bench = Bench::empty(EngineKind::Memory);
    let mut answers = Vec::new();
    for command in history {
        let present = fields_version(&bench);
        let before = judged_by(command)
            .is_some_and(|version| version != present)
            .then(|| bench.machine.state_hash().unwrap());
        let answer = bench.run(command.clone());
        let is_stale = matches!(&answer, Response::Rejected(Rejection::FieldsChanged { .. }));
        match before {
            None => assert!(!is_stale, "it was judged by the present declaration"),
            Some(before) => {
                let after = bench.machine.state_hash().unwrap();
                assert_eq!(before, after, "nothing is taken by another declaration");
            }
        }
        answers.push(answer);
        check_sound(&bench.machine);
    }
    (answers, bench.machine.state_hash().unwrap())
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Apply(usize),
    Restart { clean: bool },
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..20_usize).prop_map(Step::Apply),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
        1 => Just(Step::Snapshot),
    ];
    prop::collection::vec(step, 0..20)
}

/// In groups, on an engine, with stops: the log replays what the state lost.
fn with_stops(kind: EngineKind, history: &[Command], steps: &[Step]) -> (Vec<Response>, [u8; 32]) {
    let mut bench = Bench::empty(kind);
    let mut answers: Vec<Option<Response>> = vec![None; history.len()];
    let mut apply = |bench: &mut Bench, count: usize| {
        let from = usize::try_from(bench.index).unwrap();
        let until = history.len().min(from + count);
        let group = bench.run_all(history[from..until].to_vec());
        for (answer, given) in answers[from..until].iter_mut().zip(group) {
            if let Some(before) = answer.as_ref() {
                assert_eq!(before, &given, "replayed, answered as before");
            }
            *answer = Some(given);
        }
    };
    for step in steps {
        match step {
            Step::Apply(count) => apply(&mut bench, *count),
            Step::Snapshot => drop(bench.snapshot()),
            Step::Restart { clean } => {
                bench = bench.reopen(kind, *clean);
                check_sound(&bench.machine);
            }
        }
    }
    while bench.index < history.len() as u64 {
        apply(&mut bench, 17);
    }
    check_sound(&bench.machine);
    let hash = bench.machine.state_hash().unwrap();
    (answers.into_iter().map(Option::unwrap).collect(), hash)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn every_way_comes_to_the_same(history in a_history(), steps in steps()) {
        let expected = reference(&history);
        for kind in [EngineKind::Memory, EngineKind::Redb, EngineKind::Sled] {
            prop_assert_eq!(&with_stops(kind, &history, &steps), &expected, "{:?}", kind);
        }
    }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn a_snapshot_is_of_its_beginning(
        history in a_history(),
        begin in 0..100_usize,
        pace in prop::collection::vec((1..4_usize, 0..9_usize), 1..40),
    ) {
        for kind in [EngineKind::Memory, EngineKind::Redb] {
            let mut bench = Bench::empty(kind);
            let (before, after) = history.split_at(begin.min(history.len()));
            bench.run_all(before.to_vec());
            let hash = bench.machine.state_hash().unwrap();
            let mut cursor = bench.machine.begin_snapshot().unwrap();
            let mut writer =
                Writer::create(bench.machine.snapshots_dir(), cursor.header().clone()).unwrap();
            let mut rest = after;
            let mut pace = pace.iter().cycle();
            loop {
                let (items, commands) = *pace.next().unwrap();
                let Some(items) = bench.machine.next_chunk(&mut cursor, items).unwrap() else { break };
                writer.write(&items).unwrap();
                let (now, later) = rest.split_at(commands.min(rest.len()));
                bench.run_all(now.to_vec());
                rest = later;
            }
            let file = writer.finish().unwrap();
            prop_assert_eq!(hash_of_file(&file), hash);
            // And a machine that starts from it comes to where this one is.
            let dir = tempfile::tempdir().unwrap();
            let mut other = Machine::open(dir.path(), EngineKind::Memory, view()).unwrap();
            other.install(&file).unwrap();
            let done = history.len() - rest.len();
            let entries = history[before.len()..done].iter().zip(before.len()..);
            other.apply(entries.map(|(command, n)| item(n as u64 + 1, command.clone())).collect()).unwrap();
            prop_assert_eq!(other.state_hash().unwrap(), bench.machine.state_hash().unwrap());
        }
    }
}
