//! One user on the way out: records in pages, and the files of each event before it.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use homecore_kernel::archive::event::{self, EventRecord, NamedFile};
use homecore_kernel::archive::export::Cursor;
use homecore_kernel::attachment::cut_short;
use homecore_proto::archive::{
    ExportEnd, ExportPart, ExportStart, FileStart, Section, export_part,
};
use homecore_raft::records::User;
use homecore_store::blob::Download;
use homecore_store::{Kind, StoreError};
use homecore_types::UserId;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::records::Gathered;
use crate::accounts::Accounts;
use crate::telemetry::chain;

/// Parts on their way; each may be a megabyte.
const PARTS: usize = 4;
/// Bytes of a file sent at once.
const PIECE_BYTES: usize = 256 * 1024;
/// What is wrong with a file that is not there.
const MISSING: &str = "is missing";
/// Damaged things that are named; what more there are, are counted.
const LEFT_OUT_NAMED_MAX: usize = 1_000;

type Parts = mpsc::Sender<Result<ExportPart, Status>>;

/// Begins to send a user of this core. What the platform knows of the user may be old if it could not
/// be asked; why is sent along. What is damaged ends it, or is left out and named at the end.
pub(crate) fn start(
    accounts: &Arc<Accounts>,
    user: User,
    unreachable: String,
    leave_out_damaged: bool,
) -> ReceiverStream<Result<ExportPart, Status>> {
    let (parts, sent) = mpsc::channel(PARTS);
    let accounts = Arc::clone(accounts);
    tokio::spawn(async move {
        let mut outgoing = Outgoing {
            parts: parts.clone(),
            gathered: Gathered::default(),
            left_out: leave_out_damaged.then(LeftOut::default),
        };
        if let Err(Stop::Failed(status)) = outgoing.send_all(&accounts, &user, unreachable).await
            && parts.send(Err(status)).await.is_err()
        {
            tracing::debug!("nobody waits for an export any more");
        }
    });
    ReceiverStream::new(sent)
}

/// Why an export ends early.
enum Stop {
    /// Nobody reads it.
    Gone,
    Failed(Status),
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Stop {
    Stop::Failed(Status::internal(chain(error)))
}

/// What was left out, the first ones by name.
#[derive(Default)]
struct LeftOut {
    count: u64,
    first: Vec<String>,
}

impl LeftOut {
    fn note(&mut self, what: String) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < LEFT_OUT_NAMED_MAX {
            self.first.push(what);
        }
    }
}

/// An export on its way.
struct Outgoing {
    parts: Parts,
    /// Records that were not sent yet.
    gathered: Gathered,
    /// What was left out, if that is allowed.
    left_out: Option<LeftOut>,
}

impl Outgoing {
    async fn send_all(
        &mut self,
        accounts: &Accounts,
        user: &User,
        unreachable: String,
    ) -> Result<(), Stop> {
        let text = |map: &std::collections::BTreeMap<String, String>, name: &str| {
            map.get(name).cloned().unwrap_or_default()
        };
        let held = accounts.holdings_of(&user.id).await;
        let held = held.map_err(|why| Stop::Failed(Status::unavailable(why.reason)))?;
        let start = ExportStart {
            user_id: user.id.to_string(),
            username: user.username.to_string(),
            email: text(&user.unique, "email"),
            language: text(&user.indexed, "language"),
            aliases: user
                .aliases
                .iter()
                .chain(&held.aliases)
                .map(ToString::to_string)
                .collect(),
            other_emails: held.emails,
            platform_unreachable: unreachable,
        };
        self.send(export_part::Part::Start(start)).await?;
        let set_aside = accounts.kernel().count_set_aside(&user.id).await;
        let set_aside = set_aside.map_err(|error| self.failed(&error))?;
        let changes = self.send_records(accounts, &user.id).await?;
        match &self.left_out {
            None => self.send_audit_log(accounts, &user.id).await?,
            Some(_) => self.send_readable_audit_log(accounts, &user.id).await?,
        }
        self.flush().await?;
        let left_out = self.left_out.take().unwrap_or_default();
        if left_out.count > 0 {
            tracing::warn!(user = %user.id, count = left_out.count, "an export leaves out what is damaged");
        }
        self.send(export_part::Part::End(ExportEnd {
            changes,
            left_out: left_out.count,
            first_left_out: left_out.first,
            set_aside,
        }))
        .await
    }

    /// How much changed meanwhile.
    async fn send_records(&mut self, accounts: &Accounts, user: &UserId) -> Result<u64, Stop> {
        let begin = match &self.left_out {
            None => Cursor::default(),
            Some(_) => Cursor::leaving_out_damaged(),
        };
        let (mut next, mut first) = (Some(begin), None);
        let mut sent = BTreeSet::new();
        let mut last = None;
        while let Some(cursor) = next {
            let page = accounts.kernel().export_page(user, cursor).await;
            let page = page.map_err(|error| self.failed(&error))?;
            first.get_or_insert(page.seq);
            last = Some(page.seq);
            next = page.next;
            self.note(page.left_out);
            let section = match page.kind {
                Kind::Account => Section::Account,
                Kind::Stream => Section::Streams,
                Kind::Access => Section::Accesses,
                Kind::Profile => Section::Profile,
                _ => Section::Events,
            };
            for record in page.records {
                if section == Section::Events && names_files(&record) {
                    self.flush().await?;
                    self.send_files(accounts, user, &record, &mut sent).await?;
                }
                let json = Value::Object(record).to_string();
                self.add(section, json.as_bytes()).await?;
            }
        }
        Ok(match (first, last) {
            (Some(first), Some(last)) => last.0.saturating_sub(first.0),
            _ => 0,
        })
    }

    async fn send_audit_log(&mut self, accounts: &Accounts, user: &UserId) -> Result<(), Stop> {
        let mut log = accounts.kernel().audit_log(user, None).await;
        while let Some((events, place)) = log.map_err(|error| self.failed(&error))? {
            for event in events {
                self.add(Section::Audit, &event).await?;
            }
            log = accounts.kernel().audit_log(user, Some(place)).await;
        }
        Ok(())
    }

    async fn send_readable_audit_log(
        &mut self,
        accounts: &Accounts,
        user: &UserId,
    ) -> Result<(), Stop> {
        let mut after = None;
        loop {
            let read = accounts.kernel().readable_audit_log(user, after).await;
            let Some(read) = read.map_err(|error| failed(&error))? else {
                return Ok(());
            };
            self.note(read.left_out);
            for event in read.events {
                self.add(Section::Audit, &event).await?;
            }
            after = Some(read.last);
        }
    }

    /// What to do about damage is said where it is not done already.
    fn failed(&self, error: &homecore_kernel::Error) -> Stop {
        let said = chain(error.cause());
        let is_damage = error.is_damage()
            || matches!(
                error.cause().downcast_ref(),
                Some(StoreError::Corrupted { .. })
            );
        Stop::Failed(Status::internal(if is_damage && self.left_out.is_none() {
            format!("{said}; with --leave-out-damaged the rest is exported")
        } else {
            said
        }))
    }

    fn note(&mut self, damaged: impl IntoIterator<Item = String>) {
        if let Some(left_out) = &mut self.left_out {
            damaged.into_iter().for_each(|what| left_out.note(what));
        }
    }

    async fn send(&self, part: export_part::Part) -> Result<(), Stop> {
        let part = ExportPart { part: Some(part) };
        self.parts.send(Ok(part)).await.map_err(|_gone| Stop::Gone)
    }

    async fn add(&mut self, section: Section, json: &[u8]) -> Result<(), Stop> {
        if !self.gathered.takes(section) {
            self.flush().await?;
        }
        self.gathered.add(section, json);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        for piece in self.gathered.take() {
            self.send(export_part::Part::Record(piece)).await?;
        }
        Ok(())
    }

    /// Sends the files that an event names and that were not sent yet.
    async fn send_files(
        &mut self,
        accounts: &Accounts,
        user: &UserId,
        record: &Map<String, Value>,
        sent: &mut BTreeSet<String>,
    ) -> Result<(), Stop> {
        let taken = match event::read(record.clone()) {
            Ok(taken) => taken,
            Err(error) => {
                let id = record.get("id").and_then(Value::as_str);
                let id = id.unwrap_or("without an id");
                let what = format!("files of event {id}, which cannot be read: {error}");
                return self.leave_out(what);
            }
        };
        let EventRecord::Event(event) = taken.item else {
            return Ok(());
        };
        for file in event.files() {
            if !sent.insert(file.id.clone()) {
                continue;
            }
            let Some(fault) = self.send_file(accounts, user, &event.id, &file).await? else {
                continue;
            };
            // It may have been taken off the event meanwhile. Of an event that cannot be read it is not known.
            let named = accounts.kernel().names_file(user, &event.id, &file.id);
            if named.await.unwrap_or(true) {
                self.leave_out_file(&event.id, &file.id, &fault)?;
            }
        }
        Ok(())
    }

    /// Sends a file; what is wrong with it where it is not what its event says, and nothing of it was sent.
    async fn send_file(
        &self,
        accounts: &Accounts,
        user: &UserId,
        event: &str,
        file: &NamedFile,
    ) -> Result<Option<String>, Stop> {
        if self.left_out.is_some() {
            // It is read once before it is sent, for what is sent cannot be taken back.
            match open(accounts, user, file).await? {
                Err(fault) => return Ok(Some(fault)),
                Ok(mut whole) => {
                    if let Err(error) = read_all(&mut whole, |_bytes| ready(Ok(()))).await? {
                        return Ok(Some(unreadable(&error)));
                    }
                }
            }
        }
        let mut download = match open(accounts, user, file).await? {
            Err(fault) => return Ok(Some(fault)),
            Ok(download) => download,
        };
        let id = file.id.clone();
        self.send(export_part::Part::File(FileStart { id })).await?;
        let send = |bytes| self.send(export_part::Part::Bytes(bytes));
        match read_all(&mut download, send).await? {
            Ok(()) => Ok(None),
            Err(error) => Err(self.damaged_file(event, &file.id, &unreadable(&error))),
        }
    }

    /// Notes a file that is damaged, or ends the export with it.
    fn leave_out_file(&mut self, event: &str, file: &str, fault: &str) -> Result<(), Stop> {
        if self.left_out.is_none() {
            return Err(self.damaged_file(event, file, fault));
        }
        self.leave_out(format!("file {file} of event {event}, which {fault}"))
    }

    fn leave_out(&mut self, what: String) -> Result<(), Stop> {
        if self.left_out.is_none() {
            let error = StoreError::Corrupted { what };
            return Err(self.failed(&homecore_kernel::Error::from(error)));
        }
        self.note([what]);
        Ok(())
    }

    fn damaged_file(&self, event: &str, file: &str, fault: &str) -> Stop {
        let what = format!("file {file} of event {event} {fault}");
        self.failed(&homecore_kernel::Error::from(StoreError::Corrupted {
            what,
        }))
    }
}

/// Opens a file; what is wrong with it where it is not what its event says.
async fn open(
    accounts: &Accounts,
    user: &UserId,
    file: &NamedFile,
) -> Result<Result<Download, String>, Stop> {
    // One without a hash came without its bytes.
    let Some(hash) = file.hash else {
        return Ok(Err(MISSING.to_owned()));
    };
    match accounts.kernel().blobs().download(user, hash).await {
        Ok(None) => Ok(Err(MISSING.to_owned())),
        Ok(Some(download)) if file.size.is_some_and(|size| size != download.size()) => {
            Ok(Err("has another size".to_owned()))
        }
        Ok(Some(download)) => Ok(Ok(download)),
        Err(error) if is_of_the_file(&error) => Ok(Err(unreadable(&error))),
        Err(error) => Err(failed(&error)),
    }
}

/// Reads a file piece by piece; what is wrong with it.
async fn read_all<Doing>(
    download: &mut Download,
    each: impl Fn(Bytes) -> Doing,
) -> Result<Result<(), StoreError>, Stop>
where
    Doing: Future<Output = Result<(), Stop>>,
{
    let mut at = 0_u64;
    while at < download.size() {
        match download.read_at(at, PIECE_BYTES).await {
            Ok(bytes) if bytes.is_empty() => return Ok(Err(cut_short())),
            Ok(bytes) => {
                at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                each(bytes).await?;
            }
            Err(error) if is_of_the_file(&error) => return Ok(Err(error)),
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(Ok(()))
}

/// Whether what failed is the reading of this file, and not of any: a disk that cannot read it is the usual damage.
const fn is_of_the_file(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Corrupted { .. } | StoreError::Engine { .. }
    )
}

fn unreadable(error: &StoreError) -> String {
    format!("cannot be read: {}", chain(error))
}

/// Whether it is an event that has files; what it was before is sent without.
fn names_files(record: &Map<String, Value>) -> bool {
    record.contains_key("attachments") && !record.contains_key("headId")
}
