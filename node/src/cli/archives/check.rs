//! Reads everything of a user of an archive, says what an import would make of it, and plans how it is
//! sent. Ids of streams, accesses, profiles, files and of events with former versions are remembered, of
//! other events eight bytes; records are not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use aws_lc_rs::digest;
use homecore_archive::{ArchiveError, Fault, Place, Record, Section, Source, UserArchive};
use homecore_kernel::archive::access::lineage::{ACCESSES_MAX, Lineage, Standing};
use homecore_kernel::archive::event::{ArchivedEvent, EventRecord, NamedFile};
use homecore_kernel::archive::stream::StreamRecord;
use homecore_kernel::archive::{Note, Unusable, access, account, audit, event, profile, stream};
use homecore_kernel::stream::STREAM_DEPTH_MAX;
use homecore_store::BlobHash;
use homecore_types::limits;
use serde_json::Value;

use super::plan::{LEFT_OUT_MAX, Plan};
use super::report::Report;

mod heads;

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
        let mut key = text("key").into_iter().flat_map(|key| key.splitn(3, '/'));
        let key = (key.next(), key.next(), key.next());
        let value = text("value");
        let (field, user, value) = match (text("field"), text("username"), key) {
            (Some(field), Some(user), _) => (field, Some(user), value),
            (None, _, (Some("user-unique"), Some(field), unique)) => (field, value, unique),
            (None, _, (Some("user-indexed"), Some(field), user)) => (field, user, value),
            _ => continue,
        };
        let (Some(user), Some(value)) = (user.map(str::to_owned), value.map(str::to_owned)) else {
            continue;
        };
        match field {
            "email" => all.entry(user).or_default().emails.push(value),
            "alias" => all.entry(user).or_default().former.push(value),
            "language" => all.entry(user).or_default().language = Some(value),
            _ => {}
        }
    }
    Ok(all)
}

/// Checks a user.
pub(crate) fn check<S: Source>(
    user: &UserArchive<'_, S>,
    names: &account::Names,
) -> (Report, Plan) {
    let mut checker = Checker {
        user,
        report: Report {
            user_id: user.manifest().user_id.clone(),
            username: user.manifest().username.clone(),
            lacks: user.manifest().damaged_left_out,
            ..Report::default()
        },
        plan: Plan::default(),
        ids: BTreeSet::new(),
        streams: BTreeMap::new(),
        files: BTreeSet::new(),
        event_ids: heads::Ids::default(),
    };
    if let Err(error) = checker.run(names) {
        checker.report.broken = Some(crate::telemetry::chain(&error));
    }
    (checker.report, checker.plan)
}

struct Checker<'a, S> {
    user: &'a UserArchive<'a, S>,
    report: Report,
    plan: Plan,
    /// Of the section that is being read.
    ids: BTreeSet<String>,
    /// Id to parent.
    streams: BTreeMap<String, Option<String>>,
    files: BTreeSet<String>,
    event_ids: heads::Ids,
}

impl<S: Source> Checker<'_, S> {
    fn run(&mut self, names: &account::Names) -> Result<(), ArchiveError> {
        self.account(names)?;
        self.streams()?;
        self.accesses()?;
        self.profiles()?;
        self.events()?;
        self.twice()?;
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
        self.attachments()?;
        if self.plan.is_full() {
            let of = "damaged records";
            let place = Place::file(format!("users/{}", self.report.user_id));
            return Err(too_large(place, LEFT_OUT_MAX, of));
        }
        Ok(())
    }

    /// The manifest's count is all that tells that files were lost with the folder, or while copying.
    fn attachments(&mut self) -> Result<(), ArchiveError> {
        let there = self.user.attachments()?;
        let manifest = self.user.manifest();
        let said = manifest.stats.get("attachments").and_then(Value::as_u64);
        let found = u64::try_from(there.len()).unwrap_or(u64::MAX);
        if let Some(said) = said.filter(|said| *said > found) {
            let id = &manifest.user_id;
            self.report.damage.add(|| {
                format!(
                    "users/{id}/user-manifest.json counts {said} attachments, \
                     but {found} are in users/{id}/attachments"
                )
            });
        }
        for id in there {
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

    /// A record that cannot be taken.
    fn damaged(&mut self, place: &Place, why: impl FnOnce() -> String) {
        self.plan.leave_out(place);
        self.report.damage.add(|| format!("{place}: {}", why()));
    }

    fn unusable(&mut self, place: &Place, why: Unusable) {
        self.plan.leave_out(place);
        let place = place.clone().field(why.field);
        self.report.damage.add(|| format!("{place}: {}", why.why));
    }

    /// Whether an id of this section comes for the first time.
    fn is_first(&mut self, place: &Place, kind: &str, id: &str) -> Result<bool, ArchiveError> {
        if self.ids.len() >= ACCESSES_MAX {
            return Err(too_large(place.clone(), ACCESSES_MAX, "records"));
        }
        let is_first = self.ids.insert(id.to_owned());
        if !is_first {
            self.damaged(place, || format!("{kind} {id:?} is there twice"));
        }
        Ok(is_first)
    }

    fn notes(&mut self, place: &Place, notes: &[Note]) {
        for note in notes {
            self.report.notes.add(|| format!("{place}: {}", note.text));
        }
    }

    fn account(&mut self, names: &account::Names) -> Result<(), ArchiveError> {
        let user = self.user;
        let Some(record) = user.records(Section::Account)?.next() else {
            let path = format!("users/{}/account.jsonl", user.manifest().user_id);
            return Err(ArchiveError::file(path, Fault::Missing));
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
                    let (StreamRecord::Stream { id, .. } | StreamRecord::Deletion { id, .. }) =
                        &taken.item;
                    if !self.is_first(&record.place, "stream", id)? {
                        continue;
                    }
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
                let most = limits::STREAMS_PER_USER_MAX;
                return Err(too_large(record.place, most, "streams"));
            }
        }
        self.ids.clear();
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
        let mut lineage = Lineage::default();
        // Where accesses are, and former versions with what they are of.
        let (mut present, mut former) = (BTreeMap::new(), Vec::new());
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
                        former.push((access.id, record.place.clone()));
                    } else if self.is_first(&record.place, "access", &access.id)? {
                        lineage.add(&access.id, &access.access);
                        let is_deleted = access.access.deleted.is_some();
                        present.insert(access.id, (record.place.clone(), is_deleted));
                    }
                }
            }
            if former.len() > ACCESSES_MAX {
                let of = "former versions of accesses";
                return Err(too_large(record.place, ACCESSES_MAX, of));
            }
        }
        self.ids.clear();
        for (id, standing) in lineage.settle() {
            if let Some((place, _)) = present.remove(&id) {
                self.standing(&place, id, standing);
            }
        }
        for (_, is_deleted) in present.values() {
            self.report.count(if *is_deleted {
                "deleted accesses"
            } else {
                "accesses"
            });
        }
        for (id, place) in former {
            let head = self.plan.head_of(&id).unwrap_or(&id);
            if present.contains_key(head) {
                self.report.count("former versions of accesses");
            } else {
                self.damaged(&place, || {
                    format!("it is a former version of access {id:?}, which is not there")
                });
            }
        }
        Ok(())
    }

    /// An access that does not stand for itself.
    fn standing(&mut self, place: &Place, id: String, standing: Standing) {
        match standing {
            Standing::FormerOf(head) => {
                self.report.count("former versions of accesses");
                self.report.notes.add(|| {
                    format!(
                        "{place}: access {id:?} is an older version of {head:?} and does not say so; \
                         it is taken as a former version"
                    )
                });
                self.plan.make_former(id, head);
            }
            Standing::Disputed(other) => self.damaged(place, || {
                format!(
                    "access {id:?} has the token, or the type and name, of access {other:?}: \
                     only one can"
                )
            }),
        }
    }

    fn profiles(&mut self) -> Result<(), ArchiveError> {
        let user = self.user;
        for record in user.records(Section::Profile)? {
            let Some(record) = self.sound(record)? else {
                continue;
            };
            match profile::read(&record.object) {
                Err(why) => self.unusable(&record.place, why),
                Ok(profile) => {
                    if self.is_first(&record.place, "profile", &profile.id)? {
                        self.report.count("profiles");
                    }
                }
            }
        }
        self.ids.clear();
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
                        EventRecord::Deletion { id, .. } => {
                            self.event_ids.add(&id);
                            self.report.count("deleted events");
                        }
                        EventRecord::Former(version) => {
                            self.report.count("former versions");
                            self.event_ids.add_former(version.id, &place)?;
                        }
                    }
                }
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
        self.event_ids.add(&event.id);
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
}

fn too_large(place: Place, most: usize, of: &'static str) -> ArchiveError {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    ArchiveError::new(place, Fault::TooLarge { most, of })
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

#[cfg(test)]
mod tests;
