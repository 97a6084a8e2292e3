//! One user on the way into a core: events go first, then their former versions, in the order of their
//! times as far as a bounded memory allows; the core puts them in order.

use std::io::Read as _;

use anyhow::Context as _;
use bytes::Bytes;
use homecore_archive::{Section, UserArchive};
use homecore_kernel::archive::account::Names;
use homecore_kernel::archive::event::{EventRecord, FormerVersion};
use homecore_kernel::archive::{audit, event};
use homecore_proto::archive::{
    FileStart, ImportEnd, ImportPart, ImportStart, Section as Wire, import_part,
};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::cli::archives::check::{hash_of, is_account_event, is_account_stream};
use crate::cli::archives::folder::Folder;
use crate::cli::archives::plan::Plan;
use crate::rpc::archives::VERSION;
use crate::rpc::records::Gathered;

/// Bytes of former versions that are sorted at once.
const SORTED_BYTES: usize = 32 * 1024 * 1024;
const PIECE_BYTES: usize = 256 * 1024;

/// The core does not listen any more; its answer says why.
#[derive(Debug, thiserror::Error)]
#[error("the core ended the import")]
pub(super) struct Gone;

/// Reads a user and sends what it reads.
pub(super) struct Sender<'a> {
    user: &'a UserArchive<'a, Folder>,
    plan: &'a Plan,
    parts: mpsc::Sender<ImportPart>,
    leave_out_damaged: bool,
    /// Records that were not sent yet.
    gathered: Gathered,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        user: &'a UserArchive<'a, Folder>,
        plan: &'a Plan,
        parts: mpsc::Sender<ImportPart>,
        leave_out_damaged: bool,
    ) -> Self {
        Self {
            user,
            plan,
            parts,
            leave_out_damaged,
            gathered: Gathered::default(),
        }
    }

    /// Sends the user.
    ///
    /// # Errors
    /// Of reading the archive, or [`Gone`].
    pub(super) fn send_all(mut self, names: Names) -> anyhow::Result<()> {
        let manifest = self.user.manifest();
        let account = self.user.records(Section::Account)?.next();
        let account = account.with_context(|| {
            let id = &manifest.user_id;
            format!("users/{id}/account.jsonl: there is no account")
        })??;
        let start = ImportStart {
            version: VERSION,
            user_id: manifest.user_id.clone(),
            username: manifest.username.clone(),
            emails: names.emails,
            former_usernames: names.former,
            language: names.language.unwrap_or_default(),
            account: Bytes::from(Value::Object(account.object).to_string()),
        };
        self.send(import_part::Part::Start(start))?;
        for record in self.user.records(Section::Streams)? {
            if let Some(object) = self.sound(record)? {
                self.record(Wire::Streams, object)?;
            }
        }
        // Former versions after what they are versions of.
        for former in [false, true] {
            for record in self.user.records(Section::Accesses)? {
                let Some(mut object) = self.sound(record)? else {
                    continue;
                };
                if self.is_former_access(&mut object) == former {
                    self.record(Wire::Accesses, object)?;
                }
            }
        }
        for record in self.user.records(Section::Profile)? {
            if let Some(object) = self.sound(record)? {
                self.record(Wire::Profile, object)?;
            }
        }
        if self.events()? {
            self.former()?;
        }
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

    /// Sends a part, after the records before it.
    fn send(&mut self, part: import_part::Part) -> anyhow::Result<()> {
        self.flush()?;
        self.send_now(part)
    }

    fn send_now(&self, part: import_part::Part) -> anyhow::Result<()> {
        self.parts
            .blocking_send(ImportPart { part: Some(part) })
            .map_err(|_gone| Gone.into())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        for piece in self.gathered.take() {
            self.send_now(import_part::Part::Record(piece))?;
        }
        Ok(())
    }

    fn record(&mut self, section: Wire, object: Map<String, Value>) -> anyhow::Result<()> {
        if !self.gathered.takes(section) {
            self.flush()?;
        }
        let json = Value::Object(object).to_string();
        self.gathered.add(section, json.as_bytes());
        Ok(())
    }

    /// Whether an access is a former version; where the plan says of which, it says so, too.
    fn is_former_access(&self, object: &mut Map<String, Value>) -> bool {
        let is_former = event::is_former(object);
        let names = ["headId", "head_id", "id"].iter();
        let mut ids = names.filter_map(|name| object.get(*name)?.as_str());
        let head = ids.next().and_then(|id| self.plan.head_of(id));
        if let Some(head) = head {
            object.insert("headId".to_owned(), Value::from(head));
            return true;
        }
        is_former
    }

    /// A record that is sent, or none if it is left out.
    fn sound(
        &self,
        record: Result<homecore_archive::Record, homecore_archive::ArchiveError>,
    ) -> anyhow::Result<Option<Map<String, Value>>> {
        match record {
            Ok(record) if self.plan.leaves_out(&record.place) => Ok(None),
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

    /// Events and deletions, each event after its files. Whether there are former versions.
    fn events(&mut self) -> anyhow::Result<bool> {
        let mut former = false;
        for record in self.user.records(Section::Events)? {
            let Some(object) = self.sound(record)? else {
                continue;
            };
            // Most are: what they hold was checked, and the core reads them again.
            if is_plain(&object) {
                self.record(Wire::Events, object)?;
                continue;
            }
            match event::read(object.clone())?.item {
                EventRecord::Former(_) => {
                    former = true;
                    continue;
                }
                EventRecord::Event(event) if is_account_event(&event) => continue,
                EventRecord::Event(event) => {
                    for file in event.files() {
                        self.file(&file)?;
                    }
                }
                EventRecord::Deletion { .. } => {}
            }
            self.record(Wire::Events, object)?;
        }
        Ok(former)
    }

    fn file(&mut self, named: &event::NamedFile) -> anyhow::Result<()> {
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
    fn former(&mut self) -> anyhow::Result<()> {
        let (mut gathered, mut bytes) = (Vec::new(), 0_usize);
        for record in self.user.records(Section::Events)? {
            let Some(object) = self.sound(record)? else {
                continue;
            };
            if !event::is_former(&object) {
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
        &mut self,
        gathered: &mut Vec<(String, f64, Map<String, Value>)>,
    ) -> anyhow::Result<()> {
        gathered.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (_, _, object) in gathered.drain(..) {
            self.record(Wire::Events, object)?;
        }
        Ok(())
    }
}

/// Whether a record of events is no former version, without files, and in no stream that may be one of the
/// account's.
fn is_plain(object: &Map<String, Value>) -> bool {
    let has_files = match object.get("attachments") {
        None | Some(Value::Null) => false,
        Some(Value::Array(files)) => !files.is_empty(),
        Some(_) => true,
    };
    let streams = object.get("streamIds").or_else(|| object.get("stream_ids"));
    let Some(Value::Array(streams)) = streams else {
        return false;
    };
    let is_usual = |id: &Value| id.as_str().is_some_and(|id| !is_account_stream(id));
    !event::is_former(object) && !has_files && streams.iter().all(is_usual)
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::*;
    use crate::rpc::records::lines;

    /// The records that are sent of a user, but for the account.
    pub(in crate::cli) fn sent(
        user: &UserArchive<'_, Folder>,
        plan: &Plan,
        leave_out_damaged: bool,
    ) -> Vec<Value> {
        let (parts, mut sent) = mpsc::channel(1_000);
        let sender = Sender::new(user, plan, parts, leave_out_damaged);
        sender.send_all(Names::default()).unwrap();
        let mut records = Vec::new();
        while let Ok(part) = sent.try_recv() {
            if let Some(import_part::Part::Record(record)) = part.part {
                assert!(!record.more, "a record of a test is small");
                let objects = lines(&record.json).map(serde_json::from_slice::<Value>);
                records.extend(objects.map(Result::unwrap));
            }
        }
        records
    }
}
