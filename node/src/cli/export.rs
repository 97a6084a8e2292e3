//! `homecore export`: writes users of a running core into an archive.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use homecore_archive::{
    ArchiveWriter, AttachmentWriter, Config, Finish, Options, Protection, Section, UserWriter,
};
use homecore_proto::archive::archives_client::ArchivesClient;
use homecore_proto::archive::{
    ExportPart, ExportRequest, ExportStart, Section as Wire, UsersRequest, export_part,
};
use homecore_types::{Clock as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};
use tonic::Streaming;
use tonic::transport::Channel;

use super::archives::folder::Folder;
use super::archives::{passphrase, read, users_were};
use super::client::{channel, refused};
use super::serve::stop_signal;
use super::{ConfigArgs, answer, block_on, say};
use crate::rpc::records::{TOGETHER_BYTES_MAX, lines};

/// `homecore export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The folder to write the archive into; it must be empty or not there
    archive: PathBuf,
    /// Only this user; may be repeated [default: every user of this core]
    #[arg(long, value_name = "NAME")]
    user: Vec<String>,
    /// Write plain lines instead of gzip
    #[arg(long)]
    no_compress: bool,
    /// Encrypt with the passphrase in this file
    #[arg(long, value_name = "FILE", conflicts_with = "recipient")]
    passphrase_file: Option<PathBuf>,
    /// Encrypt for the holder of the private key to this one (RSA, PEM)
    #[arg(long, value_name = "FILE")]
    recipient: Option<PathBuf>,
    /// Leave out what is damaged, and say what it is; without this, damage ends the export
    #[arg(long)]
    leave_out_damaged: bool,
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer in JSON, a line for each user
    #[arg(long)]
    pub(super) json: bool,
}

/// Exports.
pub(super) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let shown = args.archive.display();
    let mut options = Options::new(Arc::new(SystemEntropy));
    options.compressed = !args.no_compress;
    options.protection = match (&args.recipient, &args.passphrase_file) {
        (Some(path), _) => Some(Protection::Recipient(read(path)?)),
        (None, Some(path)) => Some(Protection::Passphrase(passphrase(path)?)),
        (None, None) => None,
    };
    let config = args.config.load()?;
    let folder = Folder::at(&args.archive);
    let (taken, exported) = block_on(async {
        // Before anything is made, so that all of it is taken away again.
        let interrupted = stop_signal()?;
        let taken = folder.take()?;
        let exported = tokio::select! {
            exported = export_users(args, &config, &folder, options) => exported,
            () = interrupted => Err(anyhow::anyhow!("the export was interrupted")),
        };
        Ok((taken, exported))
    })?;
    let count = match exported {
        Ok(count) => count,
        Err(error) => {
            // Half an archive is none, and would be in the way of the next try.
            let cleared = folder.clear();
            if let Err(left) = &cleared {
                say(&format!("part of an archive is left in {shown}: {left:#}"));
            } else if taken.made
                && let Err(left) = std::fs::remove_dir(&args.archive)
            {
                say(&format!("the folder {shown} stays: {left}"));
            }
            return Err(error);
        }
    };
    if args.json {
        return Ok(());
    }
    answer(&format!("{} exported to {shown}", users_were(count)))
}

/// Exports everybody who is asked for; how many.
async fn export_users(
    args: &ExportArgs,
    config: &crate::config::Config,
    folder: &Folder,
    options: Options,
) -> anyhow::Result<usize> {
    let core = channel(&config.core.data, config.core.id.as_str(), None).await?;
    let mut client = ArchivesClient::new(core);
    let began = SystemClock.now();
    let mut names = if args.user.is_empty() {
        all_users(&mut client).await?
    } else {
        args.user.clone()
    };
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let mut archive = ArchiveWriter::new(folder.clone(), options)?;
    let mut rows = Vec::new();
    let mut unreachable = String::new();
    for name in &names {
        let request = ExportRequest {
            username: name.clone(),
            leave_out_damaged: args.leave_out_damaged,
        };
        let parts = client.export(request).await.map_err(|s| refused(&s))?;
        let exported = export(&mut archive, parts.into_inner())
            .await
            .with_context(|| format!("{name} was not exported"))?;
        tell(args, &exported)?;
        rows.extend(platform_rows(&exported.start));
        if unreachable.is_empty() {
            unreachable = exported.start.platform_unreachable;
        }
    }
    archive.platform(&rows)?;
    archive.finish(Finish {
        core_version: format!("homecore {}", env!("CARGO_PKG_VERSION")),
        config: Config {
            engine: Value::from("homecore"),
            domain: Value::from(config.core.url.as_str()),
        },
        at: SystemClock.now(),
        began,
    })?;
    if !unreachable.is_empty() {
        say(&format!(
            "the platform was not reachable ({unreachable}): users' data is whole, but their names, \
             addresses and languages are those that this core knew last"
        ));
    }
    Ok(names.len())
}

async fn all_users(client: &mut ArchivesClient<Channel>) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().cloned().unwrap_or_default();
        let page = client.users(UsersRequest { after }).await;
        let page = page.map_err(|s| refused(&s))?.into_inner().usernames;
        if page.is_empty() {
            return Ok(names);
        }
        names.extend(page);
    }
}

fn platform_rows(user: &ExportStart) -> Vec<Value> {
    let row = |unique: bool, field: &str, value: &str| json!({"isUnique": unique, "field": field, "username": user.username, "value": value});
    let mut rows = vec![
        row(true, "email", &user.email),
        row(false, "language", &user.language),
    ];
    let others = user.other_emails.iter();
    rows.extend(others.map(|email| row(true, "email", email)));
    rows.extend(user.aliases.iter().map(|name| row(true, "alias", name)));
    rows
}

/// What was exported of a user.
struct Exported {
    start: ExportStart,
    stats: Value,
    changes: u64,
    left_out: u64,
    first_left_out: Vec<String>,
    /// Of the user, earlier.
    set_aside: u64,
}

fn tell(args: &ExportArgs, exported: &Exported) -> anyhow::Result<()> {
    let name = &exported.start.username;
    for what in &exported.first_left_out {
        say(&format!("{name}: left out, it is damaged: {what}"));
    }
    let named = u64::try_from(exported.first_left_out.len()).unwrap_or(u64::MAX);
    if exported.left_out > named {
        say(&format!("{name}: and {} more", exported.left_out - named));
    }
    if exported.set_aside > 0 {
        say(&format!(
            "{name}: {} documents and former versions were set aside as damaged earlier, and are not in the archive",
            exported.set_aside
        ));
    }
    if args.json {
        let line = json!({
            "username": name, "userId": exported.start.user_id, "stats": exported.stats,
            "changesMeanwhile": exported.changes,
            "damagedLeftOut": exported.left_out, "firstLeftOut": exported.first_left_out,
            "setAside": exported.set_aside,
            "platformUnreachable": Some(&exported.start.platform_unreachable).filter(|why| !why.is_empty()),
        });
        return answer(&line.to_string());
    }
    let left_out = match exported.left_out {
        0 => String::new(),
        count => format!("; not whole: {count} damaged left out"),
    };
    let set_aside = match exported.set_aside {
        0 => String::new(),
        count => format!("; not whole: {count} set aside earlier"),
    };
    answer(&format!("{name}: {}{left_out}{set_aside}", exported.stats))?;
    if exported.changes > 0 {
        say(&format!(
            "{name} made {} changes meanwhile, which may be in the archive or not: export again for an exact copy",
            exported.changes
        ));
    }
    Ok(())
}

async fn export(
    archive: &mut ArchiveWriter<Folder>,
    mut parts: Streaming<ExportPart>,
) -> anyhow::Result<Exported> {
    let Some(export_part::Part::Start(start)) = next(&mut parts).await? else {
        bail!("the core did not say whom it sends");
    };
    let mut user = archive.user(&start.user_id, &start.username)?;
    let mut file: Option<AttachmentWriter> = None;
    let mut gathered = Vec::new();
    loop {
        match next(&mut parts).await? {
            Some(export_part::Part::Record(record)) => {
                file.take().map_or(Ok(()), AttachmentWriter::finish)?;
                let length = gathered.len().saturating_add(record.json.len());
                ensure!(
                    length <= TOGETHER_BYTES_MAX,
                    "the core sent a record that is too large"
                );
                gathered.extend_from_slice(&record.json);
                if !record.more {
                    for line in lines(&gathered) {
                        write(&mut user, record.section(), line)?;
                    }
                    gathered.clear();
                }
            }
            Some(export_part::Part::File(begun)) => {
                ensure!(gathered.is_empty(), "the core sent half a record");
                file.take().map_or(Ok(()), AttachmentWriter::finish)?;
                file = Some(user.attachment(&begun.id)?);
            }
            Some(export_part::Part::Bytes(bytes)) => match &mut file {
                Some(file) => file.write(&bytes)?,
                None => bail!("the core sent bytes of no file"),
            },
            Some(export_part::Part::End(end)) => {
                ensure!(gathered.is_empty(), "the core sent half a record");
                file.take().map_or(Ok(()), AttachmentWriter::finish)?;
                user.left_out(end.left_out);
                let manifest = user.finish(SystemClock.now())?;
                return Ok(Exported {
                    start,
                    stats: json!(manifest.stats),
                    changes: end.changes,
                    left_out: end.left_out,
                    first_left_out: end.first_left_out,
                    set_aside: end.set_aside,
                });
            }
            Some(export_part::Part::Start(_)) | None => bail!("the core ended the export early"),
        }
    }
}

async fn next(parts: &mut Streaming<ExportPart>) -> anyhow::Result<Option<export_part::Part>> {
    let part = parts.message().await.map_err(|s| refused(&s))?;
    Ok(part.and_then(|part| part.part))
}

fn write(user: &mut UserWriter<'_, Folder>, section: Wire, json: &[u8]) -> anyhow::Result<()> {
    let section = match section {
        Wire::Streams => Section::Streams,
        Wire::Accesses => Section::Accesses,
        Wire::Events => Section::Events,
        Wire::Account => Section::Account,
        Wire::Profile => Section::Profile,
        Wire::Audit => Section::Audit,
        Wire::Unspecified => bail!("the core sent a record of a kind that is not known here"),
    };
    Ok(user.record(section, json)?)
}
