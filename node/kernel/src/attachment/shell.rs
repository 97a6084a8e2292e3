//! The asynchronous side of attachments: files come and go outside of the store's threads, so they
//! are no methods of the registry.

use homecore_store::blob::Upload;
use homecore_types::{Secret, UserId};
use serde_json::Value;

use super::token::ReadTokens;
use super::{NewFile, OpenFile, attachments, edit, get, tend, token};
use crate::actor::{Actor, Owner};
use crate::error::Error;
use crate::event::create::{self, NewEvent};
use crate::kernel::Kernel;
use crate::reply::Reply;

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
        let mut new = NewEvent::parse(&params)?;
        let context = self.context();
        new.attachments = attachments(&context, &files);
        let actor_there = actor.clone();
        // The files go along and come back: they are kept as long as it is open whether the event
        // is committed, even if nobody waits for the answer any more.
        let (created, files) = self
            .write(&actor.owner.id, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let created = writer
                    .attempt(|tx| create::create(tx, &context, &mut trees, &actor_there, &new));
                (created, files)
            })
            .await?;
        let event = created?;
        settle(files);
        let tokens = ReadTokens::of(&self.context(), &actor.access);
        Ok(Reply::of("event", &tokens.shown_alone(event.json)))
    }

    /// Whether the caller may add files to an event: asked before they are received.
    ///
    /// # Errors
    /// As [`edit::EditError`].
    pub async fn may_attach(&self, actor: &Actor, event: &str) -> Result<(), Error> {
        let (actor_there, event) = (actor.clone(), event.to_owned());
        self.read(&actor.owner.id, move |view, context| {
            let mut trees = context.trees.for_reading(&actor_there.owner.id);
            edit::check(view, &mut trees, &actor_there, &event)
        })
        .await??;
        Ok(())
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
        let added = attachments(&context, &files);
        let (actor_there, event) = (actor.clone(), event.to_owned());
        let (changed, files) = self
            .write(&actor.owner.id, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let changed = writer.attempt(|tx| {
                    edit::add(tx, &context, &mut trees, &actor_there, &event, &added)
                });
                (changed, files)
            })
            .await?;
        let event = changed?;
        settle(files);
        let tokens = ReadTokens::of(&self.context(), &actor.access);
        Ok(Reply::of("event", &tokens.shown_alone(event.json)))
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

fn settle(files: Vec<NewFile>) {
    for file in files {
        file.blob.settle();
    }
}
