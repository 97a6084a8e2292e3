//! The port between cores of a core that runs: any bytes as the message of any call, of strangers and of
//! members, and bytes instead of TLS. And who is let in at all.

mod client;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use homecore_fuzz_tests::{Campaign, Chance, Verdict};
use homecore_harness::{Cluster, ClusterOptions, Core, CoreOptions, wait_until};
use homecore_proto::membership::{CoreAddresses, JoinRequest, RemoveRequest, RenewRequest};
use homecore_proto::platform::{
    CreateUserRequest, FindAccessRequest, ProposeRequest, ReadIndexRequest,
};
use homecore_proto::raft::{Frame, SnapshotPart, snapshot_part};
use homecore_raft::codec;
use homecore_raft::command::Command;
use homecore_types::Millis;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::Code;

use client::{Identity, METHODS, Peer};

const PATIENCE: Duration = Duration::from_secs(60);
/// No call and no handshake takes longer.
const CALL_MAX: Duration = Duration::from_secs(20);
/// What a core may take after all of it.
const RESIDENT_KB_MAX: u64 = 400 * 1024;
/// What is logged of one call of a stranger: he must not fill a disk.
const LOGGED_BYTES_MAX: usize = 1_024;
const JOIN: &str = "/homecore.membership.v1.Enrolment/Join";

struct Home {
    runtime: Runtime,
    core: Core,
    rpc: SocketAddr,
    own: Identity,
    // Removed when the core has ended.
    _dir: tempfile::TempDir,
}

fn home() -> Home {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = CoreOptions::founder("single", "the-key-of-the-rpc-fuzz");
    let mut core = Core::prepare(dir.path(), options).unwrap();
    core.start().unwrap();
    runtime.block_on(core.wait_ready(PATIENCE)).unwrap();
    let own = Identity::of(&core).unwrap();
    Home {
        runtime,
        rpc: core.rpc().unwrap(),
        core,
        own,
        _dir: dir,
    }
}

impl Home {
    /// The core lives, serves, has not panicked and is small.
    fn assert_well(&mut self) {
        assert!(self.core.is_running(), "{}", self.core.log_tail());
        self.runtime
            .block_on(self.core.wait_ready(PATIENCE))
            .unwrap();
        let log = self.core.process().unwrap().stderr().unwrap();
        assert!(!log.contains("panicked"), "{}", self.core.log_tail());
        let id = self.core.process().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        assert!(most.unwrap() < RESIDENT_KB_MAX, "it took {most:?} kB");
    }

    fn logged(&mut self) -> usize {
        self.core.process().unwrap().stderr().unwrap().len()
    }

    /// One call; what became of it.
    fn call(&self, peer: &mut Peer, input: &[u8]) -> Result<(&'static str, Code), String> {
        let (number, messages) = input.split_first().unwrap_or((&0, &[]));
        let method = METHODS[usize::from(*number) % METHODS.len()];
        let asked = async { timeout(CALL_MAX, peer.call(method, split(messages))).await };
        match self.runtime.block_on(asked) {
            Ok(code) => Ok((method, code)),
            Err(_elapsed) => Err(format!("{method} was not answered")),
        }
    }
}

/// Messages of a stream, each behind its length.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<3>() {
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        let length = usize::try_from(length).unwrap().min(rest.len());
        let (message, rest) = rest.split_at(length);
        messages.push(message.to_vec());
        bytes = rest;
    }
    messages
}

fn framed(method: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    let number = METHODS.iter().position(|known| *known == method).unwrap();
    let mut bytes = vec![u8::try_from(number).unwrap()];
    for message in messages {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        bytes.extend(&length[1..]);
        bytes.extend(message);
    }
    bytes
}

fn join() -> JoinRequest {
    JoinRequest {
        version: 1,
        secret: "s3cret".to_owned(),
        core: "core-b".to_owned(),
        signing_request: vec![0x30, 0x82, 0, 4, 1, 2, 3, 4].into(),
        addresses: Some(CoreAddresses {
            rpc: "127.0.0.1:1".to_owned(),
            url: "http://127.0.0.1:2/".to_owned(),
            ipv4: vec!["192.0.2.1".to_owned()],
            ..CoreAddresses::default()
        }),
        proof: vec![7; 32].into(),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let sweep = codec::encode(1, &Command::Sweep { now: Millis(1) }).unwrap();
    // Bodies that are none: what a good one does to a cluster of one is its own affair.
    let frame = Frame {
        from: String::new(),
        format: 1,
        body: vec![1, 0x93, 0x92, 1, 1, 0xc0, 0x90].into(),
    };
    let header = SnapshotPart {
        part: Some(snapshot_part::Part::Header(frame.clone())),
    };
    let data = SnapshotPart {
        part: Some(snapshot_part::Part::Data(b"HOMESNAP".to_vec().into())),
    };
    let of = |name: &str| {
        let of = METHODS.iter().find(|method| method.ends_with(name));
        of.copied().unwrap()
    };
    let create = CreateUserRequest {
        reservation: "r1".to_owned(),
        user: "u23456789012345678901234".to_owned(),
        username: "alice".to_owned(),
        password: "a-password".to_owned(),
        app: "an-app-id".to_owned(),
        language: "en".to_owned(),
        fields: [("email".to_owned(), "a@example.com".to_owned())].into(),
    };
    let remove = RemoveRequest {
        core: "nobody".to_owned(),
        abandon_users: true,
    };
    let mut seeds = vec![
        framed(JOIN, &[join().encode_to_vec()]),
        framed(JOIN, &[Vec::new()]),
        framed(
            of("/RenewCertificate"),
            &[RenewRequest {
                signing_request: vec![0x30, 3, 2, 1, 1].into(),
            }
            .encode_to_vec()],
        ),
        framed(of("/Describe"), &[Vec::new()]),
        framed(of("/Remove"), &[remove.encode_to_vec()]),
        framed(of("/Create"), &[create.encode_to_vec()]),
        framed(
            of("/FindAccess"),
            &[FindAccessRequest {
                id: "cabc".to_owned(),
            }
            .encode_to_vec()],
        ),
        framed(
            of("/Propose"),
            &[ProposeRequest {
                format: 1,
                command: sweep.into(),
            }
            .encode_to_vec()],
        ),
        framed(of("/ReadIndex"), &[ReadIndexRequest {}.encode_to_vec()]),
        framed(of("/Liveness"), &[Vec::new()]),
        framed(
            of("/InstallSnapshot"),
            &[header.encode_to_vec(), data.encode_to_vec()],
        ),
    ];
    for method in ["/Append", "/Vote", "/PreVote", "/TransferLeader"] {
        seeds.push(framed(of(method), &[frame.encode_to_vec()]));
    }
    seeds
}

/// A request to join with texts of any length: a stranger chooses them.
fn made(chance: &mut Chance) -> Vec<u8> {
    let text = |chance: &mut Chance| {
        let piece = chance.text(&["a", "\u{1}", "é", "\"", "\n", "core-b", "http://x/", "::1"]);
        piece.repeat(1 << chance.below(13))
    };
    let mut asked = join();
    let addresses = asked.addresses.get_or_insert_default();
    match chance.below(6) {
        0 => asked.core = text(chance),
        1 => addresses.url = text(chance),
        2 => addresses.ipv4 = vec![text(chance); 1 << chance.below(6)],
        3 => addresses.ipv6 = vec![text(chance)],
        4 => asked.secret = text(chance),
        _ => asked.version = u32::MAX,
    }
    framed(JOIN, &[asked.encode_to_vec()])
}

fn campaign(name: &'static str) -> Campaign<'static> {
    Campaign::new(name, seeds())
        .words(&[
            "\x0a",
            "\x12",
            "\x1a\x7f",
            "\u{ff}\u{ff}\u{ff}\x0f",
            "\x08\x01",
            "\x01\u{93}",
            "\x01\u{dd}\u{ff}\u{ff}\u{ff}",
        ])
        .made_by(made)
        .bytes_max(100_000)
}

#[test]
fn strangers() {
    let mut home = home();
    let stranger = Identity {
        chain: Vec::new(),
        ..home.own.clone()
    };
    let mut peer = Peer::new(home.rpc, stranger);
    let mut before = home.logged();
    let report = campaign("rpc-strangers").run(|input| {
        let (method, code) = home.call(&mut peer, input)?;
        let logged = home.logged();
        let wrote = logged.saturating_sub(before);
        before = logged;
        if wrote > LOGGED_BYTES_MAX {
            return Err(format!("{wrote} bytes were logged"));
        }
        if method != JOIN && code == Code::Ok {
            return Err(format!("{method} was done for a stranger"));
        }
        Ok(format!("{method}: {code:?}").into())
    });
    home.assert_well();
    assert!(report.ended(&format!("{JOIN}: Ok")) > 0, "{report}");
    assert!(
        report.ended("/homecore.raft.v1.Raft/Vote: Unauthenticated") > 0,
        "{report}"
    );
    let status = home.runtime.block_on(home.core.status()).unwrap();
    assert_eq!(status.cores.len(), 1, "a stranger joined: {status:?}");
}

#[test]
fn members() {
    let mut home = home();
    let mut peer = Peer::new(home.rpc, home.own.clone());
    let report = campaign("rpc-members").run(|input| {
        let (method, code) = home.call(&mut peer, input)?;
        Ok(format!("{method}: {code:?}").into())
    });
    home.assert_well();
    assert!(
        report.ended("/homecore.platform.v1.Platform/Propose: Ok") > 0,
        "{report}"
    );
    assert!(
        report.ended("/homecore.membership.v1.Membership/Describe: Ok") > 0,
        "{report}"
    );
}

/// The beginning of TLS 1.3 as a client says it, near enough to be read.
fn hello() -> Vec<u8> {
    let mut inner = vec![3, 3];
    inner.extend([7; 32]);
    inner.extend([0, 0, 2, 0x13, 1, 1, 0, 0, 0]);
    let mut bytes = vec![0x16, 3, 1];
    bytes.extend(u16::try_from(inner.len() + 4).unwrap().to_be_bytes());
    bytes.extend([1, 0]);
    bytes.extend(u16::try_from(inner.len()).unwrap().to_be_bytes());
    bytes.extend(inner);
    bytes
}

#[test]
fn handshakes() {
    let mut home = home();
    let seeds = vec![
        hello(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    ];
    let campaign = Campaign::new("rpc-handshakes", seeds).words(&[
        "\x16\x03\x01",
        "\x15\x03\x03\0\x02",
        "\x14\x03\x03\0\x01\x01",
    ]);
    let report = campaign.run(|bytes| {
        let said = async {
            let mut stream = TcpStream::connect(home.rpc).await?;
            // Who is refused in the middle of a sentence may not be able to end it.
            if stream.write_all(bytes).await.is_ok() {
                drop(stream.shutdown().await);
            }
            let mut answer = Vec::new();
            drop(stream.read_to_end(&mut answer).await);
            anyhow::Ok(answer)
        };
        let said = async { timeout(CALL_MAX, said).await };
        let said: Verdict = match home.runtime.block_on(said) {
            Err(_elapsed) => Err("the connection stays open".to_owned()),
            Ok(Err(error)) => Err(format!("not accepted: {error}")),
            Ok(Ok(answer)) => Ok(format!("{} bytes", answer.len().min(8)).into()),
        };
        said
    });
    home.assert_well();
    assert!(report.ended("7 bytes") > 0, "no alert was sent: {report}");
}

/// Each call of the port, by somebody who is none of the cluster; the codes of all.
async fn all(rpc: SocketAddr, as_whom: Identity) -> anyhow::Result<Vec<(&'static str, Code)>> {
    let mut peer = Peer::new(rpc, as_whom.clone());
    let mut codes = Vec::new();
    for method in METHODS {
        let mut answered = timeout(CALL_MAX, peer.call(method, vec![Vec::new()])).await;
        // The caller's own library may lose a call whose connection ends at the very moment it is handed
        // over, under load one in some thousands: its channel neither takes it nor gives it back
        // (tokio#7714, hyper#4122). Twice in a row it is the core that does not answer.
        if answered.is_err() {
            peer = Peer::new(rpc, as_whom.clone());
            answered = timeout(CALL_MAX, peer.call(method, vec![Vec::new()])).await;
        }
        let code = answered.map_err(|_elapsed| anyhow!("{method} was not answered"))?;
        codes.push((method, code));
    }
    Ok(codes)
}

/// TLS ended the connection, sooner or later.
fn is_cut_off(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Unknown | Code::Cancelled)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_none_of_the_cluster_is_refused() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(2)).await?;
    let other = Cluster::start(ClusterOptions::cores(1)).await?;
    let (rpc, own) = (cluster.core(0)?.rpc()?, Identity::of(cluster.core(0)?)?);
    let second = Identity::of(cluster.core(1)?)?;
    let foreign = Identity::of(other.core(0)?)?;

    // A member is let in, so that what follows proves something.
    let codes = all(rpc, second.clone()).await?;
    let is_refused = |code: Code| {
        is_cut_off(code) || matches!(code, Code::Unauthenticated | Code::PermissionDenied)
    };
    ensure!(
        codes.iter().all(|(_, code)| !is_refused(*code)),
        "{codes:?}"
    );

    // Without a certificate: joining, and nothing else.
    let stranger = Identity {
        chain: Vec::new(),
        ..own.clone()
    };
    for (method, code) in all(rpc, stranger).await? {
        let expected = if method == JOIN {
            Code::Ok
        } else {
            Code::Unauthenticated
        };
        ensure!(code == expected, "{method}: {code:?}");
    }

    // With one of another cluster, trusting ours: not even joining; TLS ends it.
    let of_another = Identity {
        authority: own.authority.clone(),
        ..foreign.clone()
    };
    for (method, code) in all(rpc, of_another.clone()).await? {
        ensure!(is_cut_off(code), "{method}: {code:?}");
    }
    // And with our authority hung behind it, or a member's certificate without its key.
    let mut chain = foreign.chain.clone();
    chain.push(own.authority.clone());
    let dressed = Identity {
        chain,
        ..of_another.clone()
    };
    for (method, code) in all(rpc, dressed).await? {
        ensure!(is_cut_off(code), "{method}: {code:?}");
    }
    let stolen = Identity {
        chain: second.chain.clone(),
        ..of_another
    };
    for (method, code) in all(rpc, stolen).await? {
        ensure!(is_cut_off(code), "{method}: {code:?}");
    }

    // A core that was removed keeps its key and its certificate, which are of no use.
    cluster.core(0)?.run(&["remove", "core-b"]).await?;
    wait_until(PATIENCE, "the removed core has stopped", async || {
        Ok((!cluster.core_mut(1)?.is_running()).then_some(()))
    })
    .await?;
    for (method, code) in all(rpc, second).await? {
        let expected = if method == JOIN {
            Code::Ok
        } else {
            Code::PermissionDenied
        };
        ensure!(code == expected, "{method}: {code:?}");
    }
    let status = cluster.core(0)?.status().await?;
    let serving = status.cores.first().context("no core")?;
    ensure!(serving.id == "core-a", "{status:?}");
    Ok(())
}
