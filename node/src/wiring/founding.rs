//! How a core gets its identity: from its files, or by founding a cluster.
//!
//! Founding writes its files first and the platform's first command after; what that command says
//! is kept in `founding.json` until it is in the log, so that a crash in between is taken up again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use homecore_raft::command::Founding;
use homecore_raft::identity::{self, Identity as Member};
use homecore_raft::records::PlatformConfig;
use homecore_types::{Clock, ClusterId, Entropy, NodeId};
use rustls::pki_types::CertificateDer;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::rpc::files::{self, DataDir};
use crate::rpc::pki;
use crate::rpc::secrets::{ClusterKey, PlatformSecrets, random_text};
use crate::rpc::tls::Identity;

/// The founder's node id. Later ones are drawn from the log, which starts above it.
const FIRST_NODE: NodeId = NodeId(1);

/// Who this core is.
#[derive(Debug)]
pub(super) struct Membership {
    /// For the platform store.
    pub(super) member: Member,
    /// For other cores.
    pub(super) identity: Identity,
    /// Opens the platform's secrets.
    pub(super) key: ClusterKey,
    /// Whom to listen to before the platform has arrived here.
    pub(super) first_members: BTreeSet<u64>,
    /// The first command, where it may not be in the log yet.
    pub(super) founding: Option<Founding>,
}

fn founding_file(data: &DataDir) -> PathBuf {
    data.root().join("founding.json")
}

/// Reads the identity, or founds a cluster if the configuration says so and nothing is here yet.
pub(super) fn identify(
    config: &Config,
    data: &DataDir,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> anyhow::Result<Membership> {
    let member = match identity::load(&data.platform())? {
        Some(member) => member,
        None if config.cluster.found => {
            nothing_here(data)?;
            found(config, data, clock, entropy)?
        }
        None => bail!(
            "{} holds no core. On a core of the cluster run `homecore invite --id {}` and here the \
             line that it prints; or, for the first core of a new cluster, `homecore serve --found`",
            data.root().display(),
            config.core.id
        ),
    };
    if member.core != config.core.id {
        bail!(
            "core.id is {}, but {} holds the data of {}",
            config.core.id,
            data.root().display(),
            member.core
        );
    }
    let key_pem = files::read_text(&data.node_key())?
        .with_context(|| format!("{} is missing", data.node_key().display()))?;
    let chain = files::read(&data.node_certificate())?
        .and_then(|bytes| files::split_blocks(&bytes))
        .with_context(|| {
            format!(
                "{} is missing or damaged",
                data.node_certificate().display()
            )
        })?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = files::read_text(&data.cluster_key())?
        .as_deref()
        .and_then(ClusterKey::from_text)
        .with_context(|| format!("{} is missing or damaged", data.cluster_key().display()))?;
    let identity = Identity::new(member.cluster.clone(), &key_pem, chain).with_context(|| {
        let (key, certificate) = (data.node_key(), data.node_certificate());
        format!("{} or {} is damaged", key.display(), certificate.display())
    })?;
    if identity.node() != member.node {
        bail!(
            "the certificate in {} is of another core than identity.json says",
            data.node_certificate().display()
        );
    }
    let founding = match files::read(&founding_file(data))? {
        Some(bytes) => Some(serde_json::from_slice(&bytes).context("founding.json is damaged")?),
        None => None,
    };
    let first_members = match files::read(&data.first_members())? {
        Some(bytes) => serde_json::from_slice(&bytes).context("members.json is damaged")?,
        None => BTreeSet::new(),
    };
    Ok(Membership {
        member,
        identity,
        key,
        first_members,
        founding,
    })
}

/// Refuses a cluster key that does not open what the platform keeps sealed, and a CA other than the
/// platform's: a core with either would serve, and fail when somebody joins or renews. A core whose
/// platform has not arrived yet is not refused.
pub(super) fn check(data: &DataDir, cluster: &Cluster) -> anyhow::Result<()> {
    let directory = cluster.directory();
    let (Some(sealed), Some(ca)) = (directory.secrets(), directory.ca_certificate()) else {
        return Ok(());
    };
    let restore = "restore it from a copy, or from any other core of the cluster";
    let file = data.cluster_key();
    let secrets = cluster.key.open(sealed).with_context(|| {
        format!(
            "{} is damaged, or another cluster's; it is the same on every core: {restore}",
            file.display()
        )
    })?;
    let own = cluster.identity.ca();
    if own.as_ref() != ca {
        bail!(
            "the CA certificate, the last one in {}, is not the one of this cluster; restore the file \
             from a copy, or remove this core and join again under a new id",
            data.node_certificate().display()
        );
    }
    if !pki::is_key_of(secrets.ca_key.expose(), own)? {
        bail!(
            "the platform's secrets, as {} opens them, do not hold the key of this cluster's CA",
            file.display()
        );
    }
    Ok(())
}

/// The founding is in the log: its file is not needed any more.
pub(super) fn founded(data: &DataDir) -> anyhow::Result<()> {
    Ok(files::remove(&founding_file(data))?)
}

/// Founding where a core was before would make its users' names free and its data unreachable: a
/// directory that lost its identity, or whose disk is not mounted, must be looked at by a person.
fn nothing_here(data: &DataDir) -> anyhow::Result<()> {
    if founding_file(data).try_exists()? {
        return Ok(());
    }
    let traces = [
        "users",
        "journal.sqlite",
        "node.key",
        "cluster.key",
        "platform",
    ];
    for trace in traces {
        if data.root().join(trace).try_exists()? {
            bail!(
                "{} has no identity but holds {trace}: a core was here. Nothing was changed. Restore \
                 the directory, or move it away and join the cluster under a new id",
                data.root().display()
            );
        }
    }
    Ok(())
}

fn found(
    config: &Config,
    data: &DataDir,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> anyhow::Result<Member> {
    let cluster = ClusterId::generate(entropy);
    let (ca, ca_key) = pki::new_authority(&cluster, clock)?;
    let key_pem = pki::new_key()?;
    let request = pki::signing_request(&key_pem)?;
    let chain = pki::sign(&request, FIRST_NODE, &cluster, &ca, &ca_key, clock)?;
    let key = ClusterKey::generate(entropy);
    let secrets = PlatformSecrets {
        ca_key: homecore_types::Secret::new(ca_key),
        admin_access_key: config
            .auth
            .admin_access_key
            .clone()
            .unwrap_or_else(|| random_text(entropy)),
        files_read_token_secret: random_text(entropy),
    };
    let founding = Founding {
        cluster: cluster.clone(),
        core: config.core.id.clone(),
        node: FIRST_NODE,
        addresses: config.addresses(),
        config: PlatformConfig {
            version: 1,
            domain: config.dns.domain.clone(),
            sections: config.seeds()?,
            // One who knows nothing of the platform yet is at 0.
            fields_version: 1,
        },
        ca_certificate: ca.to_vec(),
        secrets: key.seal(&secrets, entropy)?,
        at: clock.now(),
    };
    let chain: Vec<Vec<u8>> = chain.iter().map(|c| c.to_vec()).collect();
    // First: an interrupted founding is known by it, and then begun again.
    files::write(&founding_file(data), &serde_json::to_vec(&founding)?)?;
    files::write(&data.node_key(), key_pem.as_bytes())?;
    files::write(&data.node_certificate(), &files::join_blocks(&chain))?;
    files::write(&data.cluster_key(), key.to_text().as_bytes())?;
    let member = Member {
        cluster,
        node: FIRST_NODE,
        core: config.core.id.clone(),
    };
    identity::store(&data.platform(), &member)?;
    tracing::info!(cluster = %member.cluster, core = %member.core, "founding a new cluster");
    Ok(member)
}
