//! `homecore import`: takes the users of an archive in.
//!
//! Everything is read and checked before anything is sent; then each user goes to the running core
//! over its socket, and is there whole or not at all. Events go first, then their former versions,
//! in the order of their times as far as a bounded memory allows; the core puts them in order.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use clap::Args;
use homecore_archive::{Archive, Section, Source as _, Unlock, UserArchive};
use homecore_kernel::archive::account::Names;
use homecore_kernel::archive::event::{EventRecord, FormerVersion};
use homecore_kernel::archive::{access, audit, event, profile, stream};
use homecore_proto::archive::archives_client::ArchivesClient;
use homecore_proto::archive::{
    FileStart, ImportEnd, ImportPart, ImportStart, Section as Wire, import_part,
};
use homecore_types::Secret;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::archives::check::{check, hash_of, is_account_event, platform_names};
use super::archives::folder::Folder;
use super::archives::{passphrase, read, users_were};
use super::client::{channel, refused};
use super::{ConfigArgs, answer, block_on, say};
use crate::rpc::archives::{VERSION, pieces};

/// Bytes of former versions that are sorted at once.
const SORTED_BYTES: usize = 32 * 1024 * 1024;
/// Parts on their way.
const PARTS: usize = 8;
const PIECE_BYTES: usize = 256 * 1024;

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
    if folder.open("manifest.json")?.is_none() {
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
    let mut good = 0_usize;
    for user in &users {
        let report = check(user, &names_of(&user.manifest().username));
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
            answer(&format!(
                "{good} users can be imported; nothing was changed"
            ))?;
        }
        return Ok(());
    }
    send_users(args, &users, &names_of)
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
    users: &[UserArchive<'_, Folder>],
    names_of: &(dyn Fn(&str) -> Names + Sync),
) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let mut failed = 0_usize;
    for user in users {
        let username = &user.manifest().username;
        let result = import(args, &config, user, names_of(username));
        let line = match &result {
            Ok(id) => json!({"ok": true, "username": username, "userId": id}),
            Err(error) => json!({
                "ok": false, "username": username, "failure": crate::telemetry::chain(error.as_ref()),
            }),
        };
        match result {
            _ if args.json => answer(&line.to_string())?,
            Ok(_) => answer(&format!("{username} is here now"))?,
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
    user: &UserArchive<'_, Folder>,
    names: Names,
) -> anyhow::Result<String> {
    let (parts, sent) = mpsc::channel(PARTS);
    let sender = Sender {
        user,
        parts,
        leave_out_damaged: args.leave_out_damaged,
    };
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

/// The core does not listen any more; its answer says why.
#[derive(Debug, thiserror::Error)]
#[error("the core ended the import")]
struct Gone;

/// Reads a user and sends what it reads.
struct Sender<'a> {
    user: &'a UserArchive<'a, Folder>,
    parts: mpsc::Sender<ImportPart>,
    leave_out_damaged: bool,
}

impl Sender<'_> {
    fn send_all(&self, names: Names) -> anyhow::Result<()> {
        let manifest = self.user.manifest();
        let account = self.user.records(Section::Account)?.next();
        let account = account.context("there is no account")??;
        let start = ImportStart {
            version: VERSION,
            user_id: manifest.user_id.clone(),
            username: manifest.username.clone(),
            emails: names.emails,
            former_usernames: names.former,
            account: Bytes::from(Value::Object(account.object).to_string()),
        };
        self.send(import_part::Part::Start(start))?;
        for record in self.user.records(Section::Streams)? {
            let Some(object) = self.sound(record)? else {
                continue;
            };
            if !self.leave_out_damaged || stream::read(&object).is_ok() {
                self.record(Wire::Streams, object)?;
            }
        }
        // Former versions after what they are versions of.
        for former in [false, true] {
            for record in self.user.records(Section::Accesses)? {
                let Some(object) = self.sound(record)? else {
                    continue;
                };
                let is_former = object.get("headId").is_some_and(Value::is_string);
                let usable = !self.leave_out_damaged || access::read(&object).is_ok();
                if usable && is_former == former {
                    self.record(Wire::Accesses, object)?;
                }
            }
        }
        for record in self.user.records(Section::Profile)? {
            let Some(object) = self.sound(record)? else {
                continue;
            };
            if !self.leave_out_damaged || profile::read(&object).is_ok() {
                self.record(Wire::Profile, object)?;
            }
        }
        self.events()?;
        self.former()?;
        for record in self.user.records(Section::Audit)? {
            // What cannot be told from it was said by the check.
            if let Some(object) = self.sound(record)?
                && audit::read(&object).is_ok()
            {
                self.record(Wire::Audit, object)?;
            }
        }
        self.send(import_part::Part::End(ImportEnd {}))
    }

    fn send(&self, part: import_part::Part) -> anyhow::Result<()> {
        self.parts
            .blocking_send(ImportPart { part: Some(part) })
            .map_err(|_gone| Gone.into())
    }

    fn record(&self, section: Wire, object: Map<String, Value>) -> anyhow::Result<()> {
        let json = Bytes::from(Value::Object(object).to_string());
        for piece in pieces(section, json) {
            self.send(import_part::Part::Record(piece))?;
        }
        Ok(())
    }

    fn sound(
        &self,
        record: Result<homecore_archive::Record, homecore_archive::ArchiveError>,
    ) -> anyhow::Result<Option<Map<String, Value>>> {
        match record {
            Ok(record) => Ok(Some(record.object)),
            Err(error)
                if self.leave_out_damaged
                    && matches!(*error.fault, homecore_archive::Fault::NotAnObject { .. }) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Events and deletions, each event after its files.
    fn events(&self) -> anyhow::Result<()> {
        for record in self.user.records(Section::Events)? {
            let Some(object) = self.sound(record)? else {
                continue;
            };
            match event::read(object.clone()) {
                Ok(taken) => match taken.item {
                    EventRecord::Former(_) => continue,
                    EventRecord::Event(event) if is_account_event(&event) => continue,
                    EventRecord::Event(event) => {
                        for file in event.files() {
                            self.file(&file)?;
                        }
                    }
                    EventRecord::Deletion { .. } => {}
                },
                Err(_) if self.leave_out_damaged => continue,
                Err(why) => return Err(why.into()),
            }
            self.record(Wire::Events, object)?;
        }
        Ok(())
    }

    fn file(&self, named: &event::NamedFile) -> anyhow::Result<()> {
        let id = named.id.as_str();
        if self.leave_out_damaged && named.hash.is_some() {
            let found = hash_of(self.user, id)?.map(|(hash, _)| hash);
            if found != named.hash {
                return Ok(());
            }
        }
        let Some(mut file) = self.user.attachment(id)? else {
            return Ok(());
        };
        self.send(import_part::Part::File(FileStart { id: id.to_owned() }))?;
        let mut piece = vec![0_u8; PIECE_BYTES];
        loop {
            let user = &self.user.manifest().user_id;
            let count = file
                .read(&mut piece)
                .map_err(|error| homecore_archive::ArchiveError::attachment(user, id, error))?;
            if count == 0 {
                return Ok(());
            }
            let bytes = Bytes::copy_from_slice(piece.get(..count).unwrap_or_default());
            self.send(import_part::Part::Bytes(bytes))?;
        }
    }

    /// Former versions, sorted by event and time as far as memory allows.
    fn former(&self) -> anyhow::Result<()> {
        let (mut gathered, mut bytes) = (Vec::new(), 0_usize);
        for record in self.user.records(Section::Events)? {
            let Some(object) = self.sound(record)? else {
                continue;
            };
            if !object.get("headId").is_some_and(Value::is_string) {
                continue;
            }
            let Ok(taken) = event::read(object.clone()) else {
                continue;
            };
            if let EventRecord::Former(FormerVersion {
                id, order, body, ..
            }) = taken.item
            {
                bytes = bytes.saturating_add(body.len());
                gathered.push((id, order, object));
            }
            if bytes > SORTED_BYTES {
                self.send_sorted(&mut gathered)?;
                bytes = 0;
            }
        }
        self.send_sorted(&mut gathered)
    }

    fn send_sorted(
        &self,
        gathered: &mut Vec<(String, f64, Map<String, Value>)>,
    ) -> anyhow::Result<()> {
        gathered.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (_, _, object) in gathered.drain(..) {
            self.record(Wire::Events, object)?;
        }
        Ok(())
    }
}
