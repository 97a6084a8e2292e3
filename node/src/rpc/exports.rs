//! One user on the way out: records in pages, and the files of each event before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use homecore_kernel::archive::event::{self, EventRecord};
use homecore_kernel::archive::export::Cursor;
use homecore_proto::archive::{
    ExportEnd, ExportPart, ExportStart, FileStart, Section, export_part,
};
use homecore_raft::records::User;
use homecore_store::Kind;
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

type Parts = mpsc::Sender<Result<ExportPart, Status>>;

/// Begins to send a user of this core. What the platform knows of the user may be old if it could not
/// be asked; why is sent along.
pub(crate) fn start(
    accounts: &Arc<Accounts>,
    user: User,
    unreachable: String,
) -> ReceiverStream<Result<ExportPart, Status>> {
    let (parts, sent) = mpsc::channel(PARTS);
    let accounts = Arc::clone(accounts);
    tokio::spawn(async move {
        if let Err(Stop::Failed(status)) = send_all(&accounts, &user, unreachable, &parts).await
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

async fn send(parts: &Parts, part: export_part::Part) -> Result<(), Stop> {
    let part = ExportPart { part: Some(part) };
    parts.send(Ok(part)).await.map_err(|_gone| Stop::Gone)
}

async fn send_all(
    accounts: &Accounts,
    user: &User,
    unreachable: String,
    parts: &Parts,
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
    send(parts, export_part::Part::Start(start)).await?;
    let (mut next, mut first) = (Some(Cursor::default()), None);
    let mut sent = BTreeSet::new();
    let mut last = None;
    let mut gathered = Outgoing::default();
    while let Some(cursor) = next {
        let page = accounts.kernel().export_page(&user.id, cursor).await;
        let page = page.map_err(|error| failed(&error))?;
        first.get_or_insert(page.seq);
        last = Some(page.seq);
        next = page.next;
        let section = match page.kind {
            Kind::Account => Section::Account,
            Kind::Stream => Section::Streams,
            Kind::Access => Section::Accesses,
            Kind::Profile => Section::Profile,
            _ => Section::Events,
        };
        for record in page.records {
            if section == Section::Events && names_files(&record) {
                gathered.send(parts).await?;
                send_files(accounts, &user.id, &record, &mut sent, parts).await?;
            }
            let json = Value::Object(record).to_string();
            gathered.add(section, json.as_bytes(), parts).await?;
        }
    }
    let mut log = accounts.kernel().audit_log(&user.id, None).await;
    while let Some((events, place)) = log.map_err(|error| failed(&error))? {
        for event in events {
            gathered.add(Section::Audit, &event, parts).await?;
        }
        log = accounts.kernel().audit_log(&user.id, Some(place)).await;
    }
    gathered.send(parts).await?;
    let changes = match (first, last) {
        (Some(first), Some(last)) => last.0.saturating_sub(first.0),
        _ => 0,
    };
    send(parts, export_part::Part::End(ExportEnd { changes })).await
}

/// Records that were not sent yet.
#[derive(Default)]
struct Outgoing(Gathered);

impl Outgoing {
    async fn add(&mut self, section: Section, json: &[u8], parts: &Parts) -> Result<(), Stop> {
        if !self.0.takes(section) {
            self.send(parts).await?;
        }
        self.0.add(section, json);
        Ok(())
    }

    async fn send(&mut self, parts: &Parts) -> Result<(), Stop> {
        for piece in self.0.take() {
            send(parts, export_part::Part::Record(piece)).await?;
        }
        Ok(())
    }
}

/// Whether it is an event that has files; what it was before is sent without.
fn names_files(record: &Map<String, Value>) -> bool {
    record.contains_key("attachments") && !record.contains_key("headId")
}

/// Sends the files that an event names and that were not sent yet.
async fn send_files(
    accounts: &Accounts,
    user: &UserId,
    record: &Map<String, Value>,
    sent: &mut BTreeSet<String>,
    parts: &Parts,
) -> Result<(), Stop> {
    let Ok(taken) = event::read(record.clone()) else {
        return Ok(());
    };
    let EventRecord::Event(event) = taken.item else {
        return Ok(());
    };
    for file in event.files() {
        let Some(hash) = file.hash.filter(|_| sent.insert(file.id.clone())) else {
            continue;
        };
        let blobs = accounts.kernel().blobs();
        let opened = blobs.download(user, hash).await;
        let Some(mut download) = opened.map_err(|error| failed(&error))? else {
            tracing::warn!(%user, "the bytes of a file are gone; its event is exported without");
            continue;
        };
        send(parts, export_part::Part::File(FileStart { id: file.id })).await?;
        let mut at = 0_u64;
        while at < download.size() {
            let bytes = download.read_at(at, PIECE_BYTES).await;
            let bytes = bytes.map_err(|error| failed(&error))?;
            if bytes.is_empty() {
                return Err(failed(&homecore_kernel::attachment::cut_short()));
            }
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            send(parts, export_part::Part::Bytes(bytes)).await?;
        }
    }
    Ok(())
}
