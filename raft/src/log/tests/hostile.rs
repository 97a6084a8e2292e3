//! Hostile bytes as a log and as messages of other cores: `tests/fuzz` has the driver and says how to run
//! these for longer.

use homecore_fuzz_tests::{Campaign, Verdict};
use homecore_proto::raft::Frame;
use openraft::raft::{AppendEntriesRequest, VoteRequest};

use super::*;
use crate::network::frame;
use crate::network::snapshots::Header;
use crate::types::{SnapshotMeta, decode, encode};

/// The end that bytes come to as a value: refused, or the same when written again.
fn as_value<T: serde::Serialize + serde::de::DeserializeOwned>(
    what: &str,
    bytes: &[u8],
) -> Result<&'static str, String> {
    let Ok(read) = decode::<T>(bytes) else {
        return Ok("no");
    };
    let once = encode(&read).map_err(|error| format!("{what}: {error}"))?;
    let again: T = decode(&once).map_err(|error| format!("{what}, written again: {error}"))?;
    if encode(&again).ok().as_ref() == Some(&once) {
        Ok("yes")
    } else {
        Err(format!("{what} is another when written again"))
    }
}

fn messages() -> Vec<Vec<u8>> {
    let append = AppendEntriesRequest::<TypeConfig> {
        vote: vote(3),
        prev_log_id: Some(log_id(1, 4)),
        entries: vec![entry(1, 5), entry(2, 6)],
        leader_commit: Some(log_id(1, 4)),
    };
    let header = Header {
        vote: vote(3),
        meta: SnapshotMeta::default(),
        bytes: 1_000,
    };
    vec![
        encode(&append).unwrap(),
        encode(&VoteRequest::<TypeConfig>::new(vote(4), Some(log_id(1, 2)))).unwrap(),
        encode(&header).unwrap(),
        encode(&entry(1, 1)).unwrap(),
    ]
}

#[test]
fn fuzz_consensus_messages() {
    let campaign = Campaign::new("consensus-messages", messages()).words(&[
        "\u{c0}",
        "\x01\u{93}",
        "\u{dd}\u{ff}\u{ff}\u{ff}\u{ff}",
        "\u{c6}\u{ff}\u{ff}\u{ff}\u{ff}",
        "\u{cf}\u{ff}",
    ]);
    let report = campaign.run(|bytes| {
        let packed = Frame {
            from: String::new(),
            format: 1,
            body: bytes.to_vec().into(),
        };
        let unpacked: Result<AppendEntriesRequest<TypeConfig>, _> = frame::unpack(&packed);
        let ends = [
            if unpacked.is_ok() { "yes" } else { "no" },
            as_value::<AppendEntriesRequest<TypeConfig>>("an append", bytes)?,
            as_value::<VoteRequest<TypeConfig>>("a vote", bytes)?,
            as_value::<Header>("a header", bytes)?,
            as_value::<Entry>("an entry", bytes)?,
        ];
        Ok(ends.join(" ").into())
    });
    assert!(report.ended("no no no no no") > 0, "{report}");
    assert!(report.ended("yes yes") > 0, "{report}");
}

/// A log whose file was changed is refused, or gives what was written and nothing else.
#[test]
fn fuzz_log_files() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (made, mut log) = opened();
    runtime.block_on(async {
        append(&mut log, (0..6).map(|i| entry(1, i))).await;
        log.save_vote(&vote(3)).await.unwrap();
        log.close().await.unwrap();
    });
    drop(log);
    let names = ["watermark", "identity.json", disk::FILE];
    let files = names.map(|name| std::fs::read(made.path().join(name)).unwrap());
    let known: Vec<Entry> = (0..6).map(|i| entry(1, i)).collect();
    let campaign = Campaign::new("log-files", vec![files[2].clone()]).words(&[
        "SQLite format 3\0",
        "entry",
        "vote",
        "\0\0\0\0",
        "\x0d",
    ]);
    let report = campaign.run(|bytes| {
        let dir = tempfile::tempdir().unwrap();
        for (name, file) in names.iter().zip(&files) {
            let file = if *name == disk::FILE {
                bytes
            } else {
                file.as_slice()
            };
            std::fs::write(dir.path().join(name), file).unwrap();
        }
        runtime.block_on(replay(dir.path(), &known))
    });
    assert!(
        report.ended("refused") > 0 && report.ended("6 entries") > 0,
        "{report}"
    );
}

async fn replay(dir: &Path, known: &[Entry]) -> Verdict {
    let Ok(mut log) = LogStore::open(&system(), dir, &identity(1)) else {
        return Ok("refused".into());
    };
    let Ok(entries) = log.try_get_log_entries(..).await else {
        return Ok("not read".into());
    };
    if let Some(foreign) = entries.iter().find(|entry| !known.contains(entry)) {
        return Err(format!("{foreign:?} was never written"));
    }
    match log.read_vote().await {
        Ok(Some(read)) if read != vote(3) => Err(format!("{read:?} was never voted")),
        // A core that has forgotten what it voted must not vote.
        Ok(None) => Err("the vote is gone, and nobody says so".to_owned()),
        Ok(Some(_)) => Ok(format!("{} entries", entries.len()).into()),
        Err(_) => Ok("no vote to be read".into()),
    }
}
