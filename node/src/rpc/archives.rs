//! Users in and out of this core, over the operator's socket (node/adr/0007).

use std::sync::Arc;

use homecore_kernel::archive::event::{ArchivedEvent, EventRecord, FormerVersion};
use homecore_kernel::archive::import::Item;
use homecore_kernel::archive::{access, account, audit, event, profile, stream};
use homecore_proto::archive::{
    ExportPart, ExportRequest, ImportPart, ImportReply, ImportStart, Record, Section, UsersReply,
    UsersRequest, archives_server, import_part,
};
use homecore_store::blob::{PinnedBlob, Upload};
use homecore_types::json::value_bytes;
use homecore_types::{UserId, Username, limits};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming};

use super::exports;
use super::records::{TOGETHER_BYTES_MAX, lines};
use crate::accounts::Accounts;
use crate::accounts::importing::{Import, ImportFailure};
use crate::cluster::Cluster;

/// Version of the calls.
pub(crate) const VERSION: u32 = 2;
/// Records written at once: enough for one sync of the disk, few enough for others to write in between.
const BATCH_ITEMS: usize = 1_000;
/// Bytes after which records are written.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Files of one event.
const FILES_MAX: usize = 10_000;
/// Users listed at once.
const USERS_PAGE: usize = 1_000;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Archives {
    cluster: Arc<Cluster>,
    accounts: Arc<Accounts>,
}

impl Archives {
    /// Over this core's accounts.
    pub(crate) fn new(cluster: Arc<Cluster>, accounts: Arc<Accounts>) -> Self {
        Self { cluster, accounts }
    }
}

#[tonic::async_trait]
impl archives_server::Archives for Archives {
    async fn import(
        &self,
        request: Request<Streaming<ImportPart>>,
    ) -> Result<Response<ImportReply>, Status> {
        let accounts = Arc::clone(&self.accounts);
        // A task of its own: if the caller goes away it still cleans up.
        let task = tokio::spawn(async move { import(&accounts, request.into_inner()).await });
        let result = task
            .await
            .map_err(|error| Status::internal(format!("the import ended early: {error}")))?;
        Ok(Response::new(match result {
            Ok(user) => ImportReply {
                refused: String::new(),
                user_id: user.into(),
            },
            Err(failure) => ImportReply {
                refused: failure.to_string(),
                user_id: String::new(),
            },
        }))
    }

    type ExportStream = tokio_stream::wrappers::ReceiverStream<Result<ExportPart, Status>>;

    async fn export(
        &self,
        request: Request<ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let ExportRequest {
            username: name,
            leave_out_damaged,
        } = request.into_inner();
        let platform = &self.cluster.platform;
        // What this core holds is its users' alone: it is given out without a quorum, too.
        let unreachable = match platform.current().await {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let found = match Username::parse(name.clone()) {
            Ok(name) => platform
                .find_user_by_name(name.as_str())
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?,
            Err(_) => None,
        };
        let user = found
            .filter(|user| user.reservation.is_none())
            .ok_or_else(|| {
                let why = Some(&unreachable).filter(|why| !why.is_empty());
                let why = why.map(|why| format!(", as far as this core knows: {why}"));
                let why = why.unwrap_or_default();
                Status::not_found(format!("there is no user {name:?}{why}"))
            })?;
        if user.core != self.cluster.core {
            let home = &user.core;
            return Err(Status::failed_precondition(format!(
                "{name} is on {home}: export there"
            )));
        }
        Ok(Response::new(exports::start(
            &self.accounts,
            user,
            unreachable,
            leave_out_damaged,
        )))
    }

    async fn users(&self, request: Request<UsersRequest>) -> Result<Response<UsersReply>, Status> {
        let after = Some(request.into_inner().after).filter(|after| !after.is_empty());
        let platform = &self.cluster.platform;
        let users = platform
            .users(Some(self.cluster.core.clone()), after, USERS_PAGE)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(UsersReply {
            usernames: users.into_iter().map(|user| user.username.into()).collect(),
        }))
    }
}

fn refused(why: impl Into<String>) -> ImportFailure {
    ImportFailure::Refused(why.into())
}

async fn import(
    accounts: &Accounts,
    mut parts: Streaming<ImportPart>,
) -> Result<UserId, ImportFailure> {
    let Some(import_part::Part::Start(start)) = next(&mut parts).await? else {
        return Err(refused("an import begins with a user"));
    };
    let (wanted, account) = read_start(start)?;
    let import = accounts.begin_import(wanted, account).await?;
    let mut incoming = Incoming::new(accounts, &import);
    let taken = incoming.take_all(&mut parts).await;
    let written = incoming.settle().await;
    // Files that no event took are let go before their folder is.
    drop(incoming);
    let checked = match taken.and(written) {
        Ok(()) => {
            let kernel = accounts.kernel();
            let checked = kernel.check_imported_accesses(import.user()).await;
            checked.map_err(ImportFailure::from)
        }
        failed => failed,
    };
    match checked {
        Ok(()) => import.finish().await,
        Err(failure) => {
            import.give_up().await;
            Err(failure)
        }
    }
}

async fn next(
    parts: &mut Streaming<ImportPart>,
) -> Result<Option<import_part::Part>, ImportFailure> {
    match parts.message().await {
        Ok(Some(ImportPart { part: Some(part) })) => Ok(Some(part)),
        Ok(Some(ImportPart { part: None })) => Err(refused("a part is of an unknown kind")),
        Ok(None) => Ok(None),
        Err(status) => Err(refused(format!(
            "the caller went away: {}",
            status.message()
        ))),
    }
}

fn read_start(
    start: ImportStart,
) -> Result<(Option<UserId>, homecore_kernel::account::Account), ImportFailure> {
    if start.version != VERSION {
        return Err(refused(
            "the core and this command are of different versions",
        ));
    }
    let record: Map<String, Value> = object(&start.account)?;
    let names = account::Names {
        emails: start.emails,
        former: start.former_usernames,
        language: Some(start.language).filter(|language| !language.is_empty()),
    };
    let account = account::read(&start.username, &record, &names)
        .map_err(|why| refused(format!("the account: {why}")))?;
    Ok((UserId::parse(start.user_id).ok(), account.item))
}

fn object(json: &[u8]) -> Result<Map<String, Value>, ImportFailure> {
    if value_bytes(json) > limits::JSON_VALUE_BYTES_MAX {
        return Err(refused("a record has too many values"));
    }
    serde_json::from_slice(json).map_err(|_error| refused("a record is no JSON object"))
}

/// What has arrived and is not written yet.
struct Incoming<'a> {
    accounts: &'a Accounts,
    import: &'a Import<'a>,
    /// Records that come in pieces.
    gathered: Vec<u8>,
    items: Vec<Item>,
    bytes: usize,
    /// A file that is arriving.
    upload: Option<(String, Upload)>,
    /// Files of the next event.
    files: Vec<(String, PinnedBlob)>,
    /// Files of events that are not written yet: nothing deletes them before that.
    pinned: Vec<PinnedBlob>,
    /// Records that are being written while the next ones are read.
    writing: Option<JoinHandle<Result<(), homecore_kernel::Error>>>,
}

impl<'a> Incoming<'a> {
    fn new(accounts: &'a Accounts, import: &'a Import<'a>) -> Self {
        Self {
            accounts,
            import,
            gathered: Vec::new(),
            items: Vec::new(),
            bytes: 0,
            upload: None,
            files: Vec::new(),
            pinned: Vec::new(),
            writing: None,
        }
    }

    async fn take_all(&mut self, parts: &mut Streaming<ImportPart>) -> Result<(), ImportFailure> {
        loop {
            match next(parts).await? {
                Some(import_part::Part::Record(record)) => self.record(record).await?,
                Some(import_part::Part::File(file)) => self.begin_file(file.id).await?,
                Some(import_part::Part::Bytes(bytes)) => match &mut self.upload {
                    Some((_, upload)) => upload.write(&bytes).await?,
                    None => return Err(refused("there are bytes of no file")),
                },
                Some(import_part::Part::End(_)) => {
                    self.end_file().await?;
                    if !self.files.is_empty() || !self.gathered.is_empty() {
                        return Err(refused("the last event is missing"));
                    }
                    return self.flush().await;
                }
                Some(import_part::Part::Start(_)) => return Err(refused("there is one user only")),
                None => return Err(refused("the caller went away before the end")),
            }
        }
    }

    async fn begin_file(&mut self, id: String) -> Result<(), ImportFailure> {
        self.end_file().await?;
        if self.files.len() >= FILES_MAX {
            return Err(refused("an event has too many files"));
        }
        let upload = self.accounts.kernel().blobs().upload(self.import.user())?;
        self.upload = Some((id, upload));
        Ok(())
    }

    async fn end_file(&mut self) -> Result<(), ImportFailure> {
        if let Some((id, upload)) = self.upload.take() {
            self.files.push((id, upload.finish().await?));
        }
        Ok(())
    }

    async fn record(&mut self, record: Record) -> Result<(), ImportFailure> {
        self.end_file().await?;
        if self.gathered.len().saturating_add(record.json.len()) > TOGETHER_BYTES_MAX {
            return Err(refused("a record is too large"));
        }
        let section = record.section();
        self.gathered.extend_from_slice(&record.json);
        if record.more {
            return Ok(());
        }
        for line in lines(&std::mem::take(&mut self.gathered)) {
            self.line(section, line).await?;
        }
        Ok(())
    }

    async fn line(&mut self, section: Section, json: &[u8]) -> Result<(), ImportFailure> {
        let object = object(json)?;
        self.bytes = self.bytes.saturating_add(json.len());
        let item = self.item(section, object)?;
        match (self.items.last_mut(), item) {
            // Versions of one event are written together.
            (Some(Item::Former(present)), Item::Former(mut more))
                if present.first().map(id_of) == more.first().map(id_of) =>
            {
                present.append(&mut more);
            }
            (Some(Item::Audit(present)), Item::Audit(mut more)) => present.append(&mut more),
            (_, item) => self.items.push(item),
        }
        if self.items.len() >= BATCH_ITEMS || self.bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn item(
        &mut self,
        section: Section,
        object: Map<String, Value>,
    ) -> Result<Item, ImportFailure> {
        let unusable = |why: homecore_kernel::archive::Unusable| refused(why.to_string());
        Ok(match section {
            Section::Streams => Item::Stream(stream::read(&object).map_err(unusable)?.item),
            Section::Accesses => Item::Access(access::read(&object).map_err(unusable)?.item),
            Section::Events => match event::read(object).map_err(unusable)?.item {
                EventRecord::Event(event) => Item::Event(self.with_files(event)?),
                EventRecord::Former(version) => Item::Former(vec![version]),
                EventRecord::Deletion { id, deleted, body } => {
                    Item::EventDeletion { id, deleted, body }
                }
            },
            Section::Profile => Item::Profile(profile::read(&object).map_err(unusable)?),
            Section::Audit => Item::Audit(vec![audit::read(&object).map_err(unusable)?]),
            Section::Account | Section::Unspecified => {
                return Err(refused(
                    "a record is of a kind that this core does not take",
                ));
            }
        })
    }

    fn with_files(
        &mut self,
        mut event: ArchivedEvent,
    ) -> Result<event::SealedEvent, ImportFailure> {
        let named = event.files();
        for (id, blob) in std::mem::take(&mut self.files) {
            let file = named.iter().find(|file| file.id == id);
            let file =
                file.ok_or_else(|| refused("there is a file that the event does not name"))?;
            if file.hash.is_some_and(|hash| hash != blob.hash()) {
                return Err(refused(format!("file {id:?} is not what its hash says")));
            }
            event.complete_file(&id, &blob.hash(), blob.size());
            self.pinned.push(blob);
        }
        event.seal().map_err(|why| refused(why.to_string()))
    }

    /// Begins to write what has arrived, after what was begun before.
    async fn flush(&mut self) -> Result<(), ImportFailure> {
        self.settle().await?;
        self.bytes = 0;
        let items = std::mem::take(&mut self.items);
        let pinned = std::mem::take(&mut self.pinned);
        if items.is_empty() {
            return Ok(());
        }
        let (kernel, user) = (self.accounts.kernel().clone(), self.import.user().clone());
        self.writing = Some(tokio::spawn(async move {
            let written = kernel.import_items(&user, items).await;
            drop(pinned);
            written
        }));
        Ok(())
    }

    /// Returns when nothing is being written.
    async fn settle(&mut self) -> Result<(), ImportFailure> {
        let Some(writing) = self.writing.take() else {
            return Ok(());
        };
        let written = writing.await;
        let ended = |error| ImportFailure::Unavailable(format!("writing ended early: {error}"));
        Ok(written.map_err(ended)??)
    }
}

fn id_of(version: &FormerVersion) -> &str {
    &version.id
}
