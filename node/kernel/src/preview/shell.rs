//! The asynchronous side of previews: what is kept is found, what is not is made by a thread.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use homecore_previews::{Size, Wish};
use homecore_store::blob::DerivedName;
use homecore_store::{BlobHash, StoreError};
use homecore_types::{UserId, limits};
use serde_json::{Map, Value};

use super::figures::PreviewFigures;
use super::workshop::{Bench, Place};
use super::{
    Facts, NoPicture, Preview, PreviewError, Source, facts_name, find, make, measure, preview_name,
};
use crate::actor::Actor;
use crate::attachment::cut_short;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::kernel::Kernel;

/// The method id under which previews are written down.
const GET_PREVIEW: &str = "events.getPreview";
/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// A preview by its size.
type Made = (Size, Bytes);

/// What was made of a picture.
struct Fresh {
    /// Of the picture as it is seen.
    picture: Size,
    size: Size,
    jpeg: Bytes,
}

/// Makes a preview; none where it must wait for another large picture.
fn make_at(bench: &mut Bench, bytes: &[u8], wish: Wish) -> Option<Result<Fresh, NoPicture>> {
    let picture = match measure(bytes) {
        Ok(picture) => picture,
        Err(why) => return Some(Err(why)),
    };
    if picture.pixels() > limits::PREVIEW_ALONE_PIXELS && !bench.take_large() {
        return None;
    }
    let size = wish.of(picture);
    Some(make(bytes, size).map(|jpeg| Fresh {
        picture,
        size,
        jpeg: jpeg.into(),
    }))
}

impl Kernel {
    /// A preview of the picture that is attached to an event; none where events of this type have none.
    ///
    /// # Errors
    /// See [`PreviewError`].
    pub async fn event_preview(
        &self,
        actor: &Actor,
        event: &str,
        wish: Wish,
    ) -> Result<Option<Preview>, Error> {
        let mut asked = Map::new();
        asked.insert("id".to_owned(), Value::from(event));
        for (name, side) in [("width", wish.width), ("height", wish.height)] {
            if let Some(side) = side {
                asked.insert(name.to_owned(), Value::from(side));
            }
        }
        let draft = Draft::of(actor, GET_PREVIEW, self.now()).asking(&Value::Object(asked));
        match self.preview(actor, event, wish).await {
            Ok(preview) => {
                self.note(&actor.owner.id, draft).await;
                self.used(actor, GET_PREVIEW);
                Ok(preview)
            }
            Err(error) => Err(self.refused(actor, draft, error.into()).await),
        }
    }

    async fn preview(
        &self,
        actor: &Actor,
        event: &str,
        wish: Wish,
    ) -> Result<Option<Preview>, PreviewError> {
        let (actor_there, event) = (actor.clone(), event.to_owned());
        let source = self
            .read(&actor.owner.id, move |view, context| {
                let mut trees = context.trees.for_reading(&actor_there.owner.id);
                find(view, &mut trees, &actor_there, &event)
            })
            .await??;
        let Some(source) = source else {
            return Ok(None);
        };
        let user = &actor.owner.id;
        let counters = &self.previews().counters;
        let kept = self.kept_preview(user, source.hash, wish).await.transpose();
        let made = if let Some(kept) = kept {
            counters.hit();
            kept
        } else {
            let since = tokio::time::Instant::now();
            let made = self.await_preview(user, source, wish).await;
            counters.missed(since.elapsed(), made.is_ok());
            made
        };
        let (size, jpeg) = made?;
        let hash = source.hash.to_string();
        let tag = hash.get(..16).unwrap_or_default();
        Ok(Some(Preview {
            jpeg,
            tag: format!("{tag}-{}x{}-{}", size.width, size.height, super::VERSION),
            modified: source.modified,
        }))
    }

    /// What was made before, be it the knowledge that nothing can be.
    async fn kept_preview(
        &self,
        user: &UserId,
        hash: BlobHash,
        wish: Wish,
    ) -> Result<Option<Made>, PreviewError> {
        let facts = self.kept(user, facts_name(hash)).await;
        match facts.and_then(|text| Facts::parse(&text)) {
            None => Ok(None),
            Some(Facts::None(why)) => Err(PreviewError::NoPicture(why)),
            Some(Facts::Picture(picture)) => {
                let size = wish.of(picture);
                let jpeg = self.kept(user, preview_name(hash, size)).await;
                Ok(jpeg.map(|jpeg| (size, jpeg)))
            }
        }
    }

    /// What cannot be read is made again.
    async fn kept(&self, user: &UserId, name: Option<DerivedName>) -> Option<Bytes> {
        let found = self.blobs().find_derived(user, &name?, self.now()).await;
        found.unwrap_or_else(|error| {
            tracing::warn!(%user, %error, "a preview that was kept cannot be read");
            None
        })
    }

    async fn await_preview(
        &self,
        user: &UserId,
        source: Source,
        wish: Wish,
    ) -> Result<Made, PreviewError> {
        let place = self.previews().enter(user, source.hash)?;
        let made = self.make_preview(place, user, source.hash, wish);
        let made = tokio::time::timeout(limits::PREVIEW_WAIT, made).await;
        made.map_err(|_elapsed| PreviewError::Busy)?
    }

    async fn make_preview(
        &self,
        place: Place,
        user: &UserId,
        hash: BlobHash,
        wish: Wish,
    ) -> Result<Made, PreviewError> {
        let turn = place.turn().await;
        if let Some(made) = self.kept_preview(user, hash, wish).await? {
            return Ok(made);
        }
        // Before the file is read: as many files are in memory as there are benches.
        let mut bench = place.bench(turn).await?;
        loop {
            let bytes = self.read_picture(user, hash).await?;
            let (blobs, of, now) = (self.blobs().clone(), user.clone(), self.now());
            let work = tokio::task::spawn_blocking(move || {
                let made = match bytes {
                    Some(bytes) => match make_at(&mut bench, &bytes, wish) {
                        Some(made) => made,
                        None => return ControlFlow::Continue(bench),
                    },
                    None => Err(NoPicture::TooLarge),
                };
                let keep = |name: Option<DerivedName>, bytes: &[u8]| {
                    let Some(name) = name else { return };
                    match blobs.keep_derived(&of, &name, bytes, now) {
                        // Said once for all of the core; it is made again the next time.
                        Ok(()) | Err(StoreError::Full { .. }) => {}
                        Err(error) => {
                            tracing::warn!(user = %of, %error, "a preview cannot be kept");
                        }
                    }
                };
                let facts = match &made {
                    Ok(made) => Facts::Picture(made.picture),
                    Err(why) => Facts::None(*why),
                };
                keep(facts_name(hash), facts.to_text().as_bytes());
                if let Ok(made) = &made {
                    keep(preview_name(hash, made.size), &made.jpeg);
                }
                // Kept until here, also where nobody waits any more.
                drop(bench);
                ControlFlow::Break(made)
            });
            let worked = work.await;
            match worked.map_err(|error| StoreError::engine("making a preview", error))? {
                ControlFlow::Break(Ok(made)) => return Ok((made.size, made.jpeg)),
                ControlFlow::Break(Err(why)) => return Err(PreviewError::NoPicture(why)),
                // Read again later: what waits has nothing in memory.
                ControlFlow::Continue(left) => bench = left.wait_for_large().await?,
            }
        }
    }

    /// The bytes of a file; none if there are more than are looked at.
    async fn read_picture(
        &self,
        user: &UserId,
        hash: BlobHash,
    ) -> Result<Option<Bytes>, PreviewError> {
        // Not there: the file was deleted since, or something happened to the disk.
        let Some(mut download) = self.blobs().download(user, hash).await? else {
            tracing::warn!(%user, %hash, "the blob of an attachment is not there");
            return Err(PreviewError::NoFile);
        };
        let size = download.size();
        if size > limits::PREVIEW_SOURCE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
        loop {
            let at = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if at >= size {
                return Ok(Some(bytes.freeze()));
            }
            let piece = download.read_at(at, PIECE_BYTES).await?;
            if piece.is_empty() {
                return Err(cut_short().into());
            }
            bytes.extend_from_slice(&piece);
        }
    }

    /// What became of previews that were asked for, for operators.
    #[must_use]
    pub fn preview_figures(&self) -> PreviewFigures {
        self.previews().counters.read()
    }

    /// Deletes previews that were not used for long; whether it did, for it does not while another
    /// sweep is under way.
    ///
    /// # Errors
    /// Of the store.
    pub async fn sweep_previews(&self) -> Result<bool, Error> {
        let Some(sweeping) = self.previews().sweep() else {
            return Ok(false);
        };
        super::sweep::sweep(self).await?;
        drop(sweeping);
        Ok(true)
    }
}
