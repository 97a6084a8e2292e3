//! What the platform store reads from other cores and from its own disk: commands, snapshots, the log's
//! values.

mod commands;

use std::path::Path;

use homecore_fuzz_tests::{Campaign, Chance, Verdict};
use homecore_raft::codec;
use homecore_raft::command::Command;
use homecore_raft::directory::view;
use homecore_raft::engine::EngineKind;
use homecore_raft::keys::{Applied, Space};
use homecore_raft::machine::{Item, Machine, MachineError};
use homecore_raft::snapshot::{self, Header, Reader, Writer};
use homecore_types::Millis;

use crate::{Allocated, MEGABYTE};
use commands::{commands, user};

/// The format of commands on the wire and in the log.
const FORMAT: u8 = 1;

fn encoded(command: &Command) -> Vec<u8> {
    codec::encode(FORMAT, command).unwrap()
}

/// Several, each behind its length.
fn packed(commands: &[Command]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        let command = encoded(command);
        bytes.extend(u16::try_from(command.len()).unwrap().to_be_bytes());
        bytes.extend(command);
    }
    bytes
}

/// Commands in any order, each with a changed byte now and then: texts stay texts, so most are readable.
fn made(all: &[Command], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=chance.below(12) {
        let mut command = chance.pick(all).map(encoded).unwrap_or_default();
        for _ in 0..chance.below(3) {
            let at = chance.below(command.len());
            let with = chance.pick(b"\0\x01-./@A_az~\x7f\xc0\xcf\xd3\xff").copied();
            if at > 0 {
                command[at] = with.unwrap_or_default();
            }
        }
        bytes.extend(u16::try_from(command.len()).unwrap().to_be_bytes());
        bytes.extend(command);
    }
    bytes
}

fn unpacked(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut commands = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (command, rest) = rest.split_at(length);
        commands.push(command);
        bytes = rest;
    }
    commands
}

fn machine(dir: &Path) -> Machine {
    Machine::open(dir, EngineKind::Memory, view()).unwrap()
}

fn apply(machine: &mut Machine, command: Command) -> Result<String, MachineError> {
    let index = machine.applied_index().unwrap_or(0) + 1;
    let item = Item {
        index,
        log_id: index.to_be_bytes().to_vec(),
        membership: None,
        command: Some(command),
    };
    let answers = machine.apply(vec![item])?;
    Ok(answers.iter().map(ToString::to_string).collect())
}

/// A core that may propose may propose anything, and what it proposes is applied by all: nothing that
/// can be read may be more than the state machine can take.
#[test]
fn commands_of_other_cores() {
    let all = commands();
    let seeds = (1..=all.len()).map(|count| packed(&all[..count])).collect();
    let words: Vec<Vec<u8>> = all.iter().map(encoded).collect();
    let campaign = Campaign::new("commands", seeds)
        .words(&words)
        .made_by(|chance| made(&all, chance))
        .memory_max(&Allocated, 4 * MEGABYTE);
    let report = campaign.run(|bytes| {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = machine(dir.path());
        apply(&mut machine, all[0].clone()).map_err(|error| error.to_string())?;
        let mut last = "nothing".to_owned();
        for bytes in unpacked(bytes).into_iter().take(64) {
            let Ok(command) = codec::decode::<Command>(FORMAT, bytes) else {
                last += ", unreadable";
                last.truncate(60);
                continue;
            };
            let name = command.to_string();
            let answer = apply(&mut machine, command)
                .map_err(|error| format!("{name} broke the state machine: {error:?}"))?;
            let answer: String = answer
                .chars()
                .take(20)
                .filter(|c| !c.is_ascii_digit())
                .collect();
            last = format!("{name}: {answer}");
        }
        // What is applied can be handed to a new core, which comes to the same.
        // That writes and syncs files, so it is done now and then.
        if bytes.len() % 8 != 0 {
            return Ok(last.into());
        }
        let file = write_snapshot(&mut machine);
        let other = tempfile::tempdir().unwrap();
        let mut copy = self::machine(other.path());
        copy.install(&file)
            .map_err(|error| format!("after {last}, a snapshot is refused: {error}"))?;
        Ok(last.into())
    });
    for end in [
        "Found: Done",
        "CommitUser: Done",
        "RenameUser: Renamed",
        "nothing, unreadable",
    ] {
        assert!(report.ended(end) > 0, "never came to {end:?}: {report}");
    }
}

fn write_snapshot(machine: &mut Machine) -> std::path::PathBuf {
    let mut cursor = machine.begin_snapshot().unwrap();
    let dir = machine.snapshots_dir().to_owned();
    let mut writer = Writer::create(&dir, cursor.header().clone()).unwrap();
    while let Some(items) = machine.next_chunk(&mut cursor, 1_000).unwrap() {
        writer.write(&items).unwrap();
    }
    writer.finish().unwrap()
}

/// A snapshot of a platform with something of everything.
fn full_snapshot(dir: &Path) -> std::path::PathBuf {
    let mut machine = machine(dir);
    let kept = commands().into_iter().filter(|command| {
        !matches!(
            command,
            Command::DeleteUser { .. }
                | Command::Sweep { .. }
                | Command::RemoveCore { .. }
                | Command::DeleteDnsRecord { .. }
        )
    });
    for command in kept {
        apply(&mut machine, command).unwrap();
    }
    write_snapshot(&mut machine)
}

/// The file, as another core sends it: refused, or read to its end.
#[test]
fn files_of_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(full_snapshot(dir.path())).unwrap();
    let path = dir.path().join("changed.hcs");
    let campaign = Campaign::new("snapshot-files", vec![whole.clone()])
        .words(&["HOMESNAP", "\0\0\0\x01", "\u{ff}", "\x01", "\x02", "\x03"])
        .memory_max(&Allocated, 20 * MEGABYTE);
    let report = campaign.run(|bytes| {
        std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
        match snapshot::verify(&path) {
            Ok(_) if bytes == whole => Ok("whole".into()),
            Ok(_) => Err("a changed file is taken for whole".to_owned()),
            Err(error) => Ok(format!("refused: {}", shape(&error)).into()),
        }
    });
    assert!(
        report.ended("whole") > 0 && report.ended("refused") > 0,
        "{report}"
    );
}

/// The name of an error, and of what is in it.
fn shape(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let name =
        |text: &str| -> String { text.chars().take_while(char::is_ascii_alphabetic).collect() };
    let inner = text
        .split_once("damage: ")
        .or_else(|| text.split_once("source: "));
    format!(
        "{} {}",
        name(&text),
        inner.map(|(_, inner)| name(inner)).unwrap_or_default()
    )
}

/// The items behind the checks, as a core of another release or a bad one would send them: refused, or
/// a state that the next command can be applied to.
#[test]
fn items_of_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let file = full_snapshot(dir.path());
    let mut reader = Reader::open(&file).unwrap();
    let mut seed = Vec::new();
    while let Some(items) = reader.next_items().unwrap() {
        for (space, key, value) in items {
            seed.push(space.number());
            seed.push(u8::try_from(key.len()).unwrap());
            seed.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            seed.extend(key);
            seed.extend(value);
        }
    }
    let campaign = Campaign::new("snapshot-items", vec![seed]).memory_max(&Allocated, 8 * MEGABYTE);
    let report = campaign.run(install);
    assert!(
        report.ended("refused") > 0 && report.ended("installed") > 0,
        "{report}"
    );
}

fn install(mut bytes: &[u8]) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let header = Header {
        applied: Applied {
            index: Some(7),
            log_id: Some(vec![7]),
            ..Applied::default()
        },
    };
    let mut writer = Writer::create(dir.path(), header).unwrap();
    while let Some(([space, key, long, short], rest)) = bytes.split_first_chunk::<4>() {
        let (key, rest) = rest.split_at(usize::from(*key).min(rest.len()));
        let length = usize::from(u16::from_be_bytes([*long, *short]));
        let (value, rest) = rest.split_at(length.min(rest.len()));
        if let Some(space) = Space::from_number(*space) {
            writer
                .write(&[(space, key.to_vec(), value.to_vec())])
                .unwrap();
        }
        bytes = rest;
    }
    let file = writer.finish().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut machine = machine(home.path());
    if let Err(error) = machine.install(&file) {
        return Ok(format!("refused: {}", shape(&error)).into());
    }
    // A state that contradicts itself is found at the latest here, and said.
    for command in [
        Command::Sweep { now: Millis(5_000) },
        Command::DeleteUser { user: user() },
    ] {
        match apply(&mut machine, command) {
            Ok(_) => {}
            Err(MachineError::Inconsistent { .. } | MachineError::Value { .. }) => {
                return Ok("installed, and found wanting".into());
            }
            Err(other) => return Err(format!("{other:?}")),
        }
    }
    Ok("installed".into())
}
