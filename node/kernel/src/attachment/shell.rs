//! The asynchronous side of attachments: files come and go outside of the store's threads, so they
//! are no methods of the registry.

use homecore_store::blob::Upload;
use homecore_types::{Secret, UserId};
use serde_json::{Value, json};

use super::token::ReadTokens;
use super::{NewFile, OpenFile, attachments, edit, get, tend, token};
use crate::actor::{Actor, Owner};
use crate::audit::Source;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::event::create::{self, NewEvent};
use crate::event::stored::StoredEvent;
use crate::kernel::{Context, Kernel};
use crate::method::Method;
use crate::reply::Reply;

/// The method id of sending a file.
const GET_ATTACHMENT: &str = "events.getAttachment";

impl Kernel {
    /// Begins to receive a file of a user.
    ///
    /// # Errors
    /// When too many are being received.
    pub fn receive_file(&self, actor: &Actor) -> Result<Upload, Error> {
        Ok(self.blobs().upload(&actor.owner.id)?)
    }

    /// `events.create` with files that were received: `{"event": …}`.
    ///
    /// # Errors
    /// As spec/pryv-api §4.7. The files are deleted again then.
    pub async fn event_create_with_files(
        &self,
        actor: &Actor,
        params: Value,
        files: Vec<NewFile>,
    ) -> Result<Reply, Error> {
        let draft = self.draft(actor, Method::EventsCreate);
        let mut new = match NewEvent::parse(&params) {
            Ok(new) => new,
            Err(error) => return Err(self.refused(actor, draft, error.into()).await),
        };
        let context = self.context();
        new.attachments = attachments(&context, &files);
        let actor_there = actor.clone();
        // The files go along and come back: they are kept as long as it is open whether the event
        // is committed, even if nobody waits for the answer any more.
        let (created, files) = self
            .write_noted(&actor.owner.id, draft, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let created = writer
                    .attempt(|tx| create::create(tx, &context, &mut trees, &actor_there, &new))
                    .map(|event| reply(&context, &actor_there, event))
                    .map_err(Error::from);
                (created, files)
            })
            .await?;
        let reply = created?;
        settle(files);
        self.used(actor, Method::EventsCreate.id());
        Ok(reply)
    }

    /// Whether the caller may add files to an event: asked before they are received.
    ///
    /// # Errors
    /// As [`edit::EditError`].
    pub async fn may_attach(&self, actor: &Actor, event: &str) -> Result<(), Error> {
        let (actor_there, event) = (actor.clone(), event.to_owned());
        let allowed = self
            .read(&actor.owner.id, move |view, context| {
                let mut trees = context.trees.for_reading(&actor_there.owner.id);
                edit::check(view, &mut trees, &actor_there, &event)
            })
            .await?;
        match allowed {
            Ok(_) => Ok(()),
            Err(error) => {
                let draft = self.draft(actor, Method::EventsUpdate);
                Err(self.refused(actor, draft, error.into()).await)
            }
        }
    }

    /// Adds files that were received to an event: `{"event": …}`.
    ///
    /// # Errors
    /// As [`edit::EditError`]. The files are deleted again then.
    pub async fn event_attach(
        &self,
        actor: &Actor,
        event: &str,
        files: Vec<NewFile>,
    ) -> Result<Reply, Error> {
        let context = self.context();
        let draft = self.draft(actor, Method::EventsUpdate);
        let added = attachments(&context, &files);
        let (actor_there, event) = (actor.clone(), event.to_owned());
        let (changed, files) = self
            .write_noted(&actor.owner.id, draft, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let changed = writer
                    .attempt(|tx| edit::add(tx, &context, &mut trees, &actor_there, &event, &added))
                    .map(|event| reply(&context, &actor_there, event))
                    .map_err(Error::from);
                (changed, files)
            })
            .await?;
        let reply = changed?;
        settle(files);
        self.used(actor, Method::EventsUpdate.id());
        Ok(reply)
    }

    /// Who a read token for a file stands for.
    ///
    /// # Errors
    /// As [`token::ReadTokenError`].
    pub async fn authenticate_read_token(
        &self,
        owner: &Owner,
        given: Secret,
        file: &str,
        source: Source,
    ) -> Result<Actor, Error> {
        let file = file.to_owned();
        let found = self
            .read(&owner.id, move |view, context| {
                token::find(view, context, &given, &file)
            })
            .await??;
        Ok(Actor {
            owner: owner.clone(),
            access: found.access.into(),
            caller: None,
            source,
        })
    }

    /// `events.getAttachment`: opens a file of an event.
    ///
    /// # Errors
    /// As [`get::GetError`].
    pub async fn event_file(
        &self,
        actor: &Actor,
        event: &str,
        file: &str,
    ) -> Result<OpenFile, Error> {
        let draft = Draft::of(actor, GET_ATTACHMENT, self.now())
            .asking(&json!({ "id": event, "fileId": file }));
        match self.open_file(actor, event, file).await {
            Ok(open) => {
                self.note(&actor.owner.id, draft).await;
                self.used(actor, GET_ATTACHMENT);
                Ok(open)
            }
            Err(error) => Err(self.refused(actor, draft, error).await),
        }
    }

    async fn open_file(&self, actor: &Actor, event: &str, file: &str) -> Result<OpenFile, Error> {
        let (actor_there, event_there, file_there) =
            (actor.clone(), event.to_owned(), file.to_owned());
        let attachment = self
            .read(&actor.owner.id, move |view, context| {
                let mut trees = context.trees.for_reading(&actor_there.owner.id);
                get::find(view, &mut trees, &actor_there, &event_there, &file_there)
            })
            .await??;
        let unknown = || get::GetError::UnknownFile {
            id: file.to_owned(),
        };
        let hash = attachment.hash().ok_or_else(unknown)?;
        // Not there: the file was deleted since, or something happened to the disk.
        let Some(download) = self.blobs().download(&actor.owner.id, hash).await? else {
            tracing::warn!(user = %actor.owner.id, %hash, "the blob of an attachment is not there");
            return Err(unknown().into());
        };
        Ok(OpenFile {
            attachment,
            hash,
            download,
        })
    }

    /// Deletes the blobs that lost their last reference; how many. To be called whenever
    /// [`homecore_store::BlobStore::suspected`] returns.
    pub async fn free_blobs(&self) -> usize {
        tend::free_suspects(self).await
    }

    /// Looks, slowly, for blobs of all users that nobody refers to: what a crash left.
    ///
    /// # Errors
    /// Of the store.
    pub async fn sweep_blobs(&self) -> Result<(), Error> {
        tend::sweep(self).await
    }

    /// The same for one user.
    ///
    /// # Errors
    /// Of the store.
    pub async fn sweep_blobs_of(&self, user: &UserId) -> Result<(), Error> {
        tend::sweep_user(self, user).await.map(|_count| ())
    }
}

fn reply(context: &Context, actor: &Actor, event: StoredEvent) -> Reply {
    let tokens = ReadTokens::of(context, &actor.access);
    Reply::of("event", &tokens.shown_alone(event.json))
}

fn settle(files: Vec<NewFile>) {
    for file in files {
        file.blob.settle();
    }
}
