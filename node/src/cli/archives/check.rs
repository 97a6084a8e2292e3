//! Reads everything of a user of an archive and says what an import would make of it. Ids of
//! streams, of events with former versions, and of files are remembered; records are not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use aws_lc_rs::digest;
use homecore_archive::{ArchiveError, Fault, Place, Record, Section, Source, UserArchive};
use homecore_kernel::archive::event::{ArchivedEvent, EventRecord, NamedFile};
use homecore_kernel::archive::stream::StreamRecord;
use homecore_kernel::archive::{Note, Unusable, access, account, audit, event, profile, stream};
use homecore_kernel::stream::STREAM_DEPTH_MAX;
use homecore_store::BlobHash;
use homecore_types::limits;
use serde_json::Value;

use super::report::Report;

/// Events with former versions whose ids are remembered.
const HEADS_MAX: usize = 5_000_000;
const PIECE_BYTES: usize = 256 * 1024;

/// Streams that the core makes for every user.
pub(crate) fn is_account_stream(id: &str) -> bool {
    id.starts_with(":_system:") || id.starts_with(":system:")
}

/// Whether an event is an account field, as servers stored them long ago.
pub(crate) fn is_account_event(event: &ArchivedEvent) -> bool {
    event.streams().all(is_account_stream)
}

/// What the platform's part of an archive says of users, by username.
pub(crate) fn platform_names<S: Source>(
    archive: &homecore_archive::Archive<S>,
) -> Result<BTreeMap<String, account::Names>, ArchiveError> {
    let mut all: BTreeMap<String, account::Names> = BTreeMap::new();
    for row in archive.platform()? {
        let row = row?.object;
        let text = |name: &str| row.get(name).and_then(Value::as_str);
        let told = match (text("field"), text("username"), text("key"), text("value")) {
            (Some(field), Some(user), _, Some(value)) => Some((field, user, value)),
            (None, _, Some(key), Some(user)) => key
                .strip_prefix("user-unique/")
                .and_then(|rest| rest.split_once('/'))
                .map(|(field, value)| (field, user, value)),
            _ => None,
        };
        let Some((field, user, value)) = told else {
            continue;
        };
        if field == "email" {
            let names = all.entry(user.to_owned()).or_default();
            names.emails.push(value.to_owned());
        } else if field == "alias" {
            let names = all.entry(user.to_owned()).or_default();
            names.former.push(value.to_owned());
        }
    }
    Ok(all)
}

/// Checks a user.
pub(crate) fn check<S: Source>(user: &UserArchive<'_, S>, names: &account::Names) -> Report {
    let mut checker = Checker {
        user,
        report: Report {
            user_id: user.manifest().user_id.clone(),
            username: user.manifest().username.clone(),
            ..Report::default()
        },
        streams: BTreeMap::new(),
        files: BTreeSet::new(),
        former: BTreeSet::new(),
    };
    if let Err(error) = checker.run(names) {
        checker.report.broken = Some(crate::telemetry::chain(&error));
    }
    checker.report
}

struct Checker<'a, S> {
    user: &'a UserArchive<'a, S>,
    report: Report,
    /// Id to parent.
    streams: BTreeMap<String, Option<String>>,
    files: BTreeSet<String>,
    /// Events that former versions belong to.
    former: BTreeSet<String>,
}

impl<S: Source> Checker<'_, S> {
    fn run(&mut self, names: &account::Names) -> Result<(), ArchiveError> {
        self.account(names)?;
        self.streams()?;
        self.accesses()?;
        self.profiles()?;
        self.events()?;
        self.heads()?;
        self.audit()?;
        for (section, what) in [(Section::Webhooks, "webhooks"), (Section::Series, "series")] {
            let user = self.user;
            for record in user.records(section)? {
                if self.sound(record)?.is_some() {
                    self.report.leave_out(what);
                }
            }
        }
        for id in self.user.attachments()? {
            if !self.files.contains(&id) {
                self.report.leave_out("files of no event");
            }
        }
        Ok(())
    }

    /// A record, or none if the line is none; anything else ends the check.
    fn sound(
        &mut self,
        record: Result<Record, ArchiveError>,
    ) -> Result<Option<Record>, ArchiveError> {
        match record {
            Ok(record) => Ok(Some(record)),
            Err(error) if matches!(*error.fault, Fault::NotAnObject { .. }) => {
                self.report.damage.add(|| error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn unusable(&mut self, place: &Place, why: Unusable) {
        let place = place.clone().field(why.field);
        self.report.damage.add(|| format!("{place}: {}", why.why));
    }

    fn notes(&mut self, place: &Place, notes: &[Note]) {
        for note in notes {
            self.report.notes.add(|| format!("{place}: {}", note.text));
        }
    }

    fn account(&mut self, names: &account::Names) -> Result<(), ArchiveError> {
        let user = self.user;
        let Some(record) = user.records(Section::Account)?.next() else {
            let fault = Fault::Missing;
            return Err(ArchiveError::file("account.jsonl", fault));
        };
        let record = record?;
        match account::read(&self.report.username, &record.object, names) {
            Ok(taken) => self.notes(&record.place, &taken.notes),
            Err(why) => {
                let place = record.place.field(why.field);
                return Err(ArchiveError::new(place, Fault::Field(why.why)));
            }
        }
        Ok(())
    }

    fn streams(&mut self) -> Result<(), ArchiveError> {
        let user = self.user;
        for record in user.records(Section::Streams)? {
            let Some(record) = self.sound(record)? else {
                continue;
            };
            match stream::read(&record.object) {
                Err(why) => self.unusable(&record.place, why),
                Ok(taken) => {
                    self.notes(&record.place, &taken.notes);
                    match taken.item {
                        StreamRecord::Stream { id, stream } => {
                            self.report.count("streams");
                            self.streams.insert(id, stream.parent_id);
                        }
                        StreamRecord::Deletion { .. } => self.report.count("deleted streams"),
                    }
                }
            }
            if self.streams.len() > limits::STREAMS_PER_USER_MAX {
                let most = u64::try_from(limits::STREAMS_PER_USER_MAX).unwrap_or(u64::MAX);
                let fault = Fault::TooLarge {
                    most,
                    of: "streams",
                };
                return Err(ArchiveError::new(record.place, fault));
            }
        }
        for (id, parent) in &self.streams {
            let Some(parent) = parent else { continue };
            if !self.streams.contains_key(parent) && !parent.starts_with(':') {
                self.report
                    .notes
                    .add(|| format!("stream {id:?} hangs on {parent:?}, which is not there"));
            }
            let mut above = Some(parent);
            let mut depth = 1_usize;
            while let Some(id) = above.filter(|_| depth <= STREAM_DEPTH_MAX) {
                above = self.streams.get(id).and_then(Option::as_ref);
                depth = depth.saturating_add(1);
            }
            if depth > STREAM_DEPTH_MAX {
                self.report
                    .damage
                    .add(|| format!("stream {id:?} lies too deep, or in a circle"));
            }
        }
        Ok(())
    }

    fn accesses(&mut self) -> Result<(), ArchiveError> {
        let user = self.user;
        let (mut present, mut former) = (BTreeSet::new(), BTreeSet::new());
        for record in user.records(Section::Accesses)? {
            let Some(record) = self.sound(record)? else {
                continue;
            };
            match access::read(&record.object) {
                Err(why) => self.unusable(&record.place, why),
                Ok(taken) => {
                    self.notes(&record.place, &taken.notes);
                    let access = taken.item;
                    if access.is_former {
                        self.report.count("former versions of accesses");
                        former.insert(access.id);
                        continue;
                    }
                    let is_deleted = access.access.deleted.is_some();
                    present.insert(access.id);
                    self.report.count(if is_deleted {
                        "deleted accesses"
                    } else {
                        "accesses"
                    });
                }
            }
        }
        for id in former.difference(&present) {
            self.report
                .damage
                .add(|| format!("there are former versions of access {id:?}, but not the access"));
        }
        Ok(())
    }

    fn profiles(&mut self) -> Result<(), ArchiveError> {
        let user = self.user;
        for record in user.records(Section::Profile)? {
            let Some(record) = self.sound(record)? else {
                continue;
            };
            match profile::read(&record.object) {
                Err(why) => self.unusable(&record.place, why),
                Ok(_) => self.report.count("profiles"),
            }
        }
        Ok(())
    }

    fn events(&mut self) -> Result<(), ArchiveError> {
        let user = self.user;
        for record in user.records(Section::Events)? {
            let Some(record) = self.sound(record)? else {
                continue;
            };
            let place = record.place;
            match event::read(record.object) {
                Err(why) => self.unusable(&place, why),
                Ok(taken) => {
                    self.notes(&place, &taken.notes);
                    match taken.item {
                        EventRecord::Event(event) => self.event(&place, &event)?,
                        EventRecord::Deletion { .. } => self.report.count("deleted events"),
                        EventRecord::Former(version) => {
                            self.report.count("former versions");
                            self.former.insert(version.id);
                        }
                    }
                }
            }
            if self.former.len() > HEADS_MAX {
                let most = u64::try_from(HEADS_MAX).unwrap_or(u64::MAX);
                let of = "events with former versions";
                return Err(ArchiveError::new(place, Fault::TooLarge { most, of }));
            }
        }
        Ok(())
    }

    fn audit(&mut self) -> Result<(), ArchiveError> {
        let user = self.user;
        for record in user.records(Section::Audit)? {
            if let Some(record) = self.sound(record)? {
                match audit::read(&record.object) {
                    Ok(_) => self.report.count("audit records"),
                    Err(_) => self.report.leave_out("audit records that say too little"),
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, place: &Place, event: &ArchivedEvent) -> Result<(), ArchiveError> {
        if is_account_event(event) {
            self.report.leave_out("events of account fields");
            return Ok(());
        }
        self.report.count("events");
        let unknown = event
            .streams()
            .find(|id| !id.starts_with(':') && !self.streams.contains_key(*id));
        if let Some(id) = unknown {
            self.report
                .notes
                .add(|| format!("{place}: it is in stream {id:?}, which is not there"));
        }
        for file in event.files() {
            self.file(place, file)?;
        }
        Ok(())
    }

    fn file(&mut self, place: &Place, file: NamedFile) -> Result<(), ArchiveError> {
        let Some((hash, size)) = hash_of(self.user, &file.id)? else {
            self.report.notes.add(|| {
                format!(
                    "{place}: the bytes of file {:?} are not in the archive",
                    file.id
                )
            });
            return Ok(());
        };
        match file.hash {
            Some(said) if said != hash => self
                .report
                .damage
                .add(|| format!("{place}: file {:?} is not what its hash says", file.id)),
            said => {
                if said.is_none() {
                    let id = &file.id;
                    self.report.notes.add(|| {
                        format!("{place}: file {id:?} had no hash; it gets one, and the event's is made anew")
                    });
                }
                self.report.count("files");
                self.report.file_bytes = self.report.file_bytes.saturating_add(size);
            }
        }
        self.files.insert(file.id);
        Ok(())
    }

    /// That the events of all former versions are there.
    fn heads(&mut self) -> Result<(), ArchiveError> {
        if self.former.is_empty() {
            return Ok(());
        }
        let user = self.user;
        for record in user.records(Section::Events)? {
            let Ok(record) = record else { continue };
            let is_former = event::is_former(&record.object);
            if let Some(id) = record.object.get("id").and_then(Value::as_str)
                && !is_former
            {
                self.former.remove(id);
            }
        }
        for id in &self.former {
            self.report
                .damage
                .add(|| format!("there are former versions of event {id:?}, but not the event"));
        }
        Ok(())
    }
}

/// The hash and the size of a file of an archive; none if it does not have it.
pub(crate) fn hash_of<S: Source>(
    user: &UserArchive<'_, S>,
    id: &str,
) -> Result<Option<(BlobHash, u64)>, ArchiveError> {
    let Some(mut file) = user.attachment(id)? else {
        return Ok(None);
    };
    let failed = |error| ArchiveError::attachment(&user.manifest().user_id, id, error);
    let mut context = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0_u8; PIECE_BYTES];
    let mut size = 0_u64;
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            break;
        }
        context.update(piece.get(..count).unwrap_or_default());
        size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    let digest = context.finish();
    Ok(BlobHash::from_bytes(digest.as_ref()).map(|hash| (hash, size)))
}
