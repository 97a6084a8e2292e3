//! `homecore import`: takes the users of an archive in.
//!
//! Everything is read and checked before anything is sent; then each user goes to the running core
//! over its socket, and is there whole or not at all.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use homecore_archive::{Archive, Source as _, Unlock, UserArchive};
use homecore_kernel::archive::account::Names;
use homecore_proto::archive::archives_client::ArchivesClient;
use homecore_types::Secret;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::archives::check::{check, platform_names};
use super::archives::folder::Folder;
use super::archives::plan::Plan;
use super::archives::report::lacks;
use super::archives::{passphrase, read, users_were};
use super::client::{channel, refused};
use super::{ConfigArgs, answer, block_on, say};

pub(super) mod sender;

use sender::{Gone, Sender};

/// Parts on their way.
const PARTS: usize = 8;

/// `homecore import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The archive: a folder with a manifest.json
    archive: PathBuf,
    /// Read and check everything, change nothing; no core needs to run
    #[arg(long)]
    dry_run: bool,
    /// Only this user (username or id in the archive); may be repeated
    #[arg(long, value_name = "NAME")]
    user: Vec<String>,
    /// Take users although some of their records are damaged; these are left out
    #[arg(long)]
    leave_out_damaged: bool,
    /// The file with the archive's passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The recipient's RSA key (PEM, PKCS#8) that opens the archive
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer in JSON, a line for each user
    #[arg(long)]
    pub(super) json: bool,
}

/// Imports.
pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let folder = Folder::at(&args.archive);
    let shown = args.archive.display();
    ensure!(
        args.archive.is_dir(),
        "{shown} is no folder: an archive is a folder with a manifest.json"
    );
    let manifest = folder.open("manifest.json");
    if manifest.context("manifest.json")?.is_none() {
        bail!(
            "{shown} holds no complete archive: manifest.json, which is written last, is missing"
        );
    }
    let private_key = args.private_key.as_deref().map(read).transpose()?;
    let unlock = Unlock {
        passphrase: args
            .passphrase_file
            .as_deref()
            .map(passphrase)
            .transpose()?,
        private_key: private_key.map(Secret::new),
    };
    let archive = Archive::open(folder, &unlock)?;
    let names = platform_names(&archive)?;
    let names_of = |name: &str| names.get(name).cloned().unwrap_or_default();
    let users = chosen(args, &archive)?;
    let (mut good, mut plans) = (0_usize, Vec::new());
    for user in &users {
        let (report, plan) = check(user, &names_of(&user.manifest().username));
        plans.push(plan);
        good = good.saturating_add(usize::from(report.is_good(args.leave_out_damaged)));
        match (args.json, args.dry_run) {
            (true, true) => answer(&report.json(args.leave_out_damaged).to_string())?,
            (true, false) if report.is_good(args.leave_out_damaged) => {}
            (true, false) => answer(&report.json(args.leave_out_damaged).to_string())?,
            (false, true) => answer(&report.text())?,
            (false, false) => say(&report.text()),
        }
    }
    if good < users.len() {
        bail!(
            "{} of {} users cannot be taken as they are; nothing was changed",
            users.len().saturating_sub(good),
            users.len()
        );
    }
    if args.dry_run {
        if !args.json {
            let users = if good == 1 { "user" } else { "users" };
            answer(&format!(
                "{good} {users} can be imported; nothing was changed"
            ))?;
        }
        return Ok(());
    }
    let planned: Vec<_> = users.iter().zip(&plans).collect();
    send_users(args, &planned, &names_of)
}

fn chosen<'a>(
    args: &ImportArgs,
    archive: &'a Archive<Folder>,
) -> anyhow::Result<Vec<UserArchive<'a, Folder>>> {
    for name in &args.user {
        let known =
            |user: &homecore_archive::UserManifest| user.username == *name || user.user_id == *name;
        ensure!(
            archive.manifest().users.iter().any(known),
            "there is no user {name:?} in the archive"
        );
    }
    let mut users = Vec::new();
    for listed in &archive.manifest().users {
        let is_chosen = args.user.is_empty()
            || args.user.contains(&listed.username)
            || args.user.contains(&listed.user_id);
        if is_chosen {
            users.push(archive.user(listed)?);
        }
    }
    Ok(users)
}

fn send_users(
    args: &ImportArgs,
    users: &[(&UserArchive<'_, Folder>, &Plan)],
    names_of: &(dyn Fn(&str) -> Names + Sync),
) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let mut failed = 0_usize;
    for (user, plan) in users {
        let username = &user.manifest().username;
        let left_out = user.manifest().damaged_left_out;
        let result = import(args, &config, (user, plan), names_of(username));
        let line = match &result {
            Ok(id) => json!({
                "ok": true, "username": username, "userId": id, "damagedLeftOut": left_out,
            }),
            Err(error) => json!({
                "ok": false, "username": username, "failure": crate::telemetry::chain(error.as_ref()),
            }),
        };
        match result {
            _ if args.json => answer(&line.to_string())?,
            Ok(_) => {
                let lacks = lacks(left_out).map(|lacks| format!("; {lacks}"));
                answer(&format!(
                    "{username} is here now{}",
                    lacks.unwrap_or_default()
                ))?;
            }
            Err(ref error) => say(&format!(
                "{username} was not imported: {}",
                crate::telemetry::chain(error.as_ref())
            )),
        }
        failed = failed.saturating_add(usize::from(line.get("ok") == Some(&Value::Bool(false))));
    }
    let done = users.len().saturating_sub(failed);
    if failed > 0 {
        bail!(
            "{done} of {} imported; of the others nothing is left behind",
            users_were(users.len())
        );
    }
    if !args.json {
        answer(&format!(
            "{} imported to {}",
            users_were(done),
            config.core.id
        ))?;
    }
    Ok(())
}

/// Sends one user; the id that it has now.
fn import(
    args: &ImportArgs,
    config: &crate::config::Config,
    (user, plan): (&UserArchive<'_, Folder>, &Plan),
    names: Names,
) -> anyhow::Result<String> {
    let (parts, sent) = mpsc::channel(PARTS);
    let sender = Sender::new(user, plan, parts, args.leave_out_damaged);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || sender.send_all(names));
        let replied = block_on(async {
            let core = channel(&config.core.data, config.core.id.as_str(), None).await?;
            let mut client = ArchivesClient::new(core);
            let reply = client.import(ReceiverStream::new(sent)).await;
            Ok(reply.map_err(|status| refused(&status))?.into_inner())
        });
        let read = reading
            .join()
            .unwrap_or_else(|_panic| Err(anyhow!("reading the archive ended early")));
        match (replied, read) {
            // The cause is on this side; the core only saw that it ended.
            (_, Err(error)) if !error.is::<Gone>() => Err(error),
            (Ok(reply), _) => {
                ensure!(reply.refused.is_empty(), "{}", reply.refused);
                Ok(reply.user_id)
            }
            (Err(error), _) => Err(error),
        }
    })
}
