//! Previews through the real store's threads, on blobs in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::workshop::{Bench, Workshop};
use super::*;
use crate::attachment::NewFile;
use crate::testing::{TestClock, json as read_json, kernel_with, new_account, owner};
use crate::{Credential, Error, Kernel, Method};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const SQUARE: Wish = Wish {
    width: None,
    height: None,
};

/// A picture of one pixel of this red.
fn pixel(red: u8) -> Vec<u8> {
    let mut gif = b"GIF89a\x01\0\x01\0\x80\0\0".to_vec();
    gif.extend([red, 0, 0, 0, 0, 0]);
    gif.extend(b"!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;");
    gif
}

struct Person {
    kernel: Kernel,
    me: Actor,
    clock: Arc<TestClock>,
}

async fn person(previews: PreviewSettings) -> Person {
    let (kernel, clock) = kernel_with(|settings| settings.previews = previews);
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let credential = Credential::parse(token.expose()).unwrap();
    let me = kernel.authenticate(&owner(), credential).await.unwrap();
    for id in ["photos", "diary"] {
        let stream = json!({ "id": id, "name": id });
        kernel.streams_create(&me, stream).await.unwrap();
    }
    Person { kernel, me, clock }
}

impl Person {
    /// An event with files; its id.
    async fn event(&self, kind: &str, contents: &[&[u8]]) -> String {
        let mut files = Vec::new();
        for bytes in contents {
            let mut upload = self.kernel.receive_file(&self.me).unwrap();
            upload.write(bytes).await.unwrap();
            files.push(NewFile {
                name: "picture".to_owned(),
                kind: "image/gif".to_owned(),
                blob: upload.finish().await.unwrap(),
            });
        }
        let params = json!({ "streamIds": ["photos"], "type": kind, "time": 10 });
        let reply = self
            .kernel
            .event_create_with_files(&self.me, params, files)
            .await
            .unwrap();
        let event = read_json(reply.as_bytes())["event"]["id"].clone();
        event.as_str().unwrap().to_owned()
    }

    async fn preview(&self, event: &str, wish: Wish) -> Result<Option<Preview>, Error> {
        self.kernel.event_preview(&self.me, event, wish).await
    }

    async fn call(&self, method: Method, params: Value) -> Value {
        let reply = self.kernel.call(&self.me, method, params).await.unwrap();
        read_json(reply.as_bytes())
    }

    async fn delete(&self, event: &str) {
        self.call(Method::EventsDelete, json!({ "id": event }))
            .await;
    }

    async fn kept(&self, bytes: &[u8], name: &str) -> Option<Bytes> {
        let name = DerivedName::new(BlobHash::of(bytes), name).unwrap();
        let (blobs, user) = (self.kernel.blobs(), owner().id);
        let found = blobs.find_derived(&user, &name, self.kernel.now());
        found.await.unwrap()
    }
}

fn refused(result: Result<Option<Preview>, Error>) -> (ErrorId, String) {
    let error = result.unwrap_err();
    (error.id(), error.message().to_owned())
}

#[tokio::test]
async fn a_preview_is_made_once_and_kept() {
    let person = person(PreviewSettings::default()).await;
    let picture = pixel(200);
    let event = person.event(PICTURE, &[&picture]).await;
    assert_eq!(person.kept(&picture, "facts-1").await, None);
    let first = person.preview(&event, SQUARE).await.unwrap().unwrap();
    let size = Size {
        width: 256,
        height: 256,
    };
    assert_eq!(look(&first.jpeg, &BOUNDS).unwrap(), size);
    assert!(first.tag.ends_with("-256x256-1"), "{}", first.tag);
    assert_eq!(first.modified, person.kernel.now());
    assert_eq!(
        person.kept(&picture, "facts-1").await.as_deref(),
        Some(b"1x1".as_slice())
    );
    let kept = person.kept(&picture, "256x256-1").await.unwrap();
    assert_eq!(kept, first.jpeg);
    // What is found is what was kept, not made anew.
    let again = person.preview(&event, SQUARE).await.unwrap().unwrap();
    assert_eq!(again.jpeg.as_ptr(), kept.as_ptr());
    assert_eq!(again, first);
    let wide = Wish {
        width: Some(256.0),
        height: None,
    };
    let wide = person.preview(&event, wide).await.unwrap().unwrap();
    assert!(wide.tag.ends_with("-512x512-1") && wide.tag != first.tag);
    let figures = person.kernel.preview_figures();
    assert_eq!((figures.hits, figures.misses, figures.failures), (1, 2, 0));
}

#[tokio::test]
async fn what_many_ask_for_is_made_once() {
    let person = Arc::new(person(PreviewSettings::default()).await);
    let event = person.event(PICTURE, &[&pixel(200)]).await;
    let asking: Vec<_> = (0..40)
        .map(|_| {
            let (person, event) = (Arc::clone(&person), event.clone());
            tokio::spawn(async move { person.preview(&event, SQUARE).await })
        })
        .collect();
    let mut copies = BTreeSet::new();
    for asked in asking {
        let preview = asked.await.unwrap().unwrap().unwrap();
        copies.insert(preview.jpeg.as_ptr().addr());
    }
    assert!(copies.len() <= 2, "the one that was made and the one kept");
    assert_eq!(person.kernel.previews().waiting(), (0, 0));
}

#[tokio::test]
async fn a_full_queue_is_answered_busy() {
    let person = person(PreviewSettings::default()).await;
    let (old, new) = (pixel(1), pixel(2));
    let known = person.event(PICTURE, &[&old]).await;
    person.preview(&known, SQUARE).await.unwrap();
    let event = person.event(PICTURE, &[&new]).await;
    let workshop = person.kernel.previews();
    let place = |user: &homecore_types::UserId, n: usize| {
        workshop.enter(user, BlobHash::of(&n.to_be_bytes()))
    };
    let mut places = Vec::new();
    while let Ok(place) = place(&owner().id, places.len()) {
        places.push(place);
    }
    assert_eq!(places.len(), limits::PREVIEWS_WAITING_PER_USER_MAX);
    let busy = person.preview(&event, SQUARE).await.unwrap_err();
    assert_eq!(busy.id(), ErrorId::ApiUnavailable);
    assert!(busy.retry_after().is_some());
    // What is kept needs no place, and others have their own.
    person.preview(&known, SQUARE).await.unwrap();
    for user in 0..9 {
        let user = homecore_types::UserId::parse(format!("o2345678901234567890123{user}"));
        let user = user.unwrap();
        while let Ok(place) = place(&user, places.len()) {
            places.push(place);
        }
    }
    assert_eq!(places.len(), limits::PREVIEWS_WAITING_MAX);
    drop(places);
    assert_eq!(workshop.waiting(), (0, 0));
    person.preview(&event, SQUARE).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_goes_away_leaves_its_place() {
    let person = person(PreviewSettings::default()).await;
    let picture = pixel(3);
    let event = person.event(PICTURE, &[&picture]).await;
    let workshop = person.kernel.previews();
    let other = workshop.enter(&owner().id, BlobHash::of(&picture)).unwrap();
    let turn = other.turn().await;
    let short = Duration::from_millis(1);
    let waited = tokio::time::timeout(short, person.preview(&event, SQUARE)).await;
    assert!(waited.is_err(), "it is not its turn");
    assert_eq!(workshop.waiting(), (1, 1));
    drop((turn, other));
    assert_eq!(workshop.waiting(), (0, 0));
    person.preview(&event, SQUARE).await.unwrap().unwrap();
}

const SHORT: Duration = Duration::from_millis(1);

/// A bench for some picture of a user.
async fn bench(workshop: &Arc<Workshop>, user: u32, picture: u8) -> Bench {
    let user = format!("o2345678901234567890123{user}");
    let user = homecore_types::UserId::parse(user).unwrap();
    let place = workshop.enter(&user, BlobHash::of(&[picture])).unwrap();
    let turn = place.turn().await;
    place.bench(turn).await.unwrap()
}

#[tokio::test]
async fn nobody_has_two_benches() {
    let workshop = Arc::new(Workshop::default());
    let first = bench(&workshop, 1, 1).await;
    let second = tokio::time::timeout(SHORT, bench(&workshop, 1, 2)).await;
    assert!(second.is_err(), "though one is free");
    // Those who wait for their own do not stand before others.
    let waiting: Vec<_> = (2..100)
        .map(|picture| {
            tokio::spawn({
                let workshop = Arc::clone(&workshop);
                async move { bench(&workshop, 1, picture).await }
            })
        })
        .collect();
    let other = bench(&workshop, 2, 1).await;
    let third = tokio::time::timeout(SHORT, bench(&workshop, 3, 1)).await;
    assert!(third.is_err(), "there are two");
    drop(first);
    for waiting in waiting {
        drop(waiting.await.unwrap());
    }
    drop(other);
    assert_eq!(workshop.waiting(), (0, 0));
}

#[tokio::test]
async fn a_large_picture_waits_without_a_bench() {
    let person = Arc::new(person(PreviewSettings::default()).await);
    // Of 20 megapixels, none of which is there.
    let mut large = pixel(9)[..30].to_vec();
    large.splice(6..10, [0x88, 0x13, 0xA0, 0x0F]);
    assert!(measure(&large).unwrap().pixels() > limits::PREVIEW_ALONE_PIXELS);
    let event = person.event(PICTURE, &[&large]).await;
    let workshop = person.kernel.previews();
    let mut other = bench(workshop, 1, 1).await;
    assert!(other.take_large() && other.take_large());
    let asked = tokio::spawn({
        let person = Arc::clone(&person);
        async move { person.preview(&event, SQUARE).await }
    });
    for _ in 0..50 {
        tokio::time::timeout(Duration::from_secs(20), bench(workshop, 2, 1))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished());
    let mut third = bench(workshop, 2, 1).await;
    assert!(!third.take_large());
    drop((other, third));
    assert_eq!(refused(asked.await.unwrap()).0, ErrorId::CorruptedData);
    assert_eq!(workshop.waiting(), (0, 0));
}

#[tokio::test]
async fn what_is_no_picture_is_known_to_be_none() {
    let person = person(PreviewSettings::default()).await;
    let mut bomb = pixel(9);
    bomb.splice(6..10, [0xFF; 4]);
    let cut = &pixel(9)[..30];
    for (bytes, kept, said) in [
        (b"hello attachment".as_slice(), "unknown-format", "no JPEG"),
        (b"", "unknown-format", "no JPEG"),
        (&bomb, "too-large", "too large"),
        (cut, "broken", "cannot be decoded"),
    ] {
        let event = person.event(PICTURE, &[bytes]).await;
        for _ in 0..2 {
            let (id, message) = refused(person.preview(&event, SQUARE).await);
            assert_eq!(id, ErrorId::CorruptedData);
            assert!(message.contains(said), "{message}");
            let facts = person.kept(bytes, "facts-1").await;
            assert_eq!(facts.as_deref(), Some(kept.as_bytes()));
        }
    }
    let figures = person.kernel.preview_figures();
    assert_eq!((figures.hits, figures.misses, figures.failures), (4, 4, 4));
}

#[tokio::test]
async fn which_events_have_one() {
    let person = person(PreviewSettings::default()).await;
    let (one, two) = (pixel(1), pixel(2));
    let other_kind = person.event("file/attached", &[&one]).await;
    assert_eq!(person.preview(&other_kind, SQUARE).await.unwrap(), None);
    let empty = person.event(PICTURE, &[]).await;
    let no_file = refused(person.preview(&empty, SQUARE).await);
    assert_eq!(no_file.0, ErrorId::CorruptedData);
    let unknown = refused(person.preview("nosuchevent", SQUARE).await);
    assert_eq!(unknown.0, ErrorId::UnknownResource);
    assert_eq!(unknown.1, "Unknown event \"nosuchevent\"");
    // The first file is the one that is shown.
    let event = person.event(PICTURE, &[&one, &two]).await;
    let first = person.preview(&event, SQUARE).await.unwrap().unwrap();
    let read = person
        .call(Method::EventsGetOne, json!({ "id": event }))
        .await;
    let file = &read["event"]["attachments"][0]["id"];
    let params = json!({ "id": event, "fileId": file });
    person.clock.advance(DAY);
    person.call(Method::EventsDeleteAttachment, params).await;
    let second = person.preview(&event, SQUARE).await.unwrap().unwrap();
    assert!(second.tag != first.tag && second.modified == first.modified + DAY);
    // In the trash it can still be seen, deleted it cannot.
    person.delete(&event).await;
    let trashed = person.preview(&event, SQUARE).await.unwrap().unwrap();
    assert_eq!(trashed.jpeg, second.jpeg);
    person.delete(&event).await;
    let deleted = refused(person.preview(&event, SQUARE).await);
    assert_eq!(deleted.0, ErrorId::UnknownResource);
    // With the file goes what was made of it.
    person.kernel.free_blobs().await;
    assert_eq!(person.kept(&two, "256x256-1").await, None);
    assert_eq!(person.kept(&two, "facts-1").await, None);
}

#[tokio::test]
async fn who_may_see_one() {
    let person = person(PreviewSettings::default()).await;
    let event = person.event(PICTURE, &[&pixel(1)]).await;
    person.preview(&event, SQUARE).await.unwrap();
    for (stream, level, allowed) in [
        ("photos", "read", true),
        ("photos", "manage", true),
        ("photos", "create-only", false),
        ("diary", "manage", false),
    ] {
        let params = json!({ "name": format!("{stream} {level}"), "type": "shared",
            "permissions": [{ "streamId": stream, "level": level }] });
        let access = person.call(Method::AccessesCreate, params).await;
        let token = access["access"]["token"].as_str().unwrap();
        let credential = Credential::parse(token).unwrap();
        let other = person.kernel.authenticate(&owner(), credential).await;
        let seen = person
            .kernel
            .event_preview(&other.unwrap(), &event, SQUARE)
            .await;
        match seen {
            Ok(preview) => assert!(allowed && preview.is_some(), "{stream} {level}"),
            refusal => {
                assert_eq!(refused(refusal).0, ErrorId::Forbidden);
                assert!(!allowed, "{stream} {level}");
            }
        }
    }
}

#[tokio::test]
async fn each_leaves_an_entry_in_the_audit_log() {
    let person = person(PreviewSettings::default()).await;
    let event = person.event(PICTURE, &[&pixel(1)]).await;
    let wish = Wish {
        width: Some(300.0),
        height: None,
    };
    person.preview(&event, wish).await.unwrap();
    person.preview("nosuchevent", SQUARE).await.unwrap_err();
    let query = json!({ "streams": [":_audit:action-events.getPreview"] });
    let log = person.call(Method::EventsGet, query).await;
    let entries = log["events"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["content"]["id"], "unknown-resource");
    assert_eq!(
        entries[1]["content"]["query"],
        json!({ "id": event, "width": 300.0 })
    );
}

#[tokio::test]
async fn what_nobody_looks_at_is_swept() {
    let person = person(PreviewSettings {
        max_age: 7 * DAY,
        ..PreviewSettings::default()
    })
    .await;
    let (seen, unseen) = (pixel(1), pixel(2));
    let events = [
        person.event(PICTURE, &[&seen]).await,
        person.event(PICTURE, &[&unseen]).await,
    ];
    for event in &events {
        person.preview(event, SQUARE).await.unwrap();
    }
    person.clock.advance(5 * DAY);
    assert!(person.kernel.sweep_previews().await.unwrap());
    person.preview(&events[0], SQUARE).await.unwrap();
    person.clock.advance(5 * DAY);
    assert!(person.kernel.sweep_previews().await.unwrap());
    assert!(person.kept(&seen, "256x256-1").await.is_some());
    assert_eq!(person.kept(&unseen, "256x256-1").await, None);
    assert_eq!(person.kept(&unseen, "facts-1").await, None);
    let again = person.preview(&events[1], SQUARE).await.unwrap();
    assert!(again.is_some(), "it is made again");
    let under_way = person.kernel.previews().sweep();
    assert!(!person.kernel.sweep_previews().await.unwrap());
    drop(under_way);
}

#[tokio::test]
async fn what_takes_too_much_goes_by_age() {
    let one = pixel(0);
    let jpeg = make(&one, SQUARE.of(measure(&one).unwrap())).unwrap();
    let person = person(PreviewSettings {
        bytes_max: u64::try_from(jpeg.len()).unwrap() * 2,
        ..PreviewSettings::default()
    })
    .await;
    for red in 0..4 {
        let event = person.event(PICTURE, &[&pixel(red)]).await;
        person.preview(&event, SQUARE).await.unwrap().unwrap();
        person.clock.advance(DAY);
    }
    person.kernel.sweep_previews().await.unwrap();
    assert!(person.kept(&pixel(3), "256x256-1").await.is_some());
    assert_eq!(person.kept(&pixel(0), "256x256-1").await, None);
    let none = PreviewSettings {
        bytes_max: 0,
        ..PreviewSettings::default()
    };
    let person = self::person(none).await;
    let event = person.event(PICTURE, &[&pixel(1)]).await;
    person.preview(&event, SQUARE).await.unwrap();
    person.clock.advance(Duration::from_secs(1));
    person.kernel.sweep_previews().await.unwrap();
    assert_eq!(person.kept(&pixel(1), "256x256-1").await, None);
}

proptest! {
    #[test]
    fn facts_read_back(width in 1..=u32::MAX, height in 1..=u32::MAX, noise in ".{0,12}") {
        let picture = Facts::Picture(Size { width, height });
        for facts in [
            picture,
            Facts::None(NoPicture::UnknownFormat),
            Facts::None(NoPicture::TooLarge),
            Facts::None(NoPicture::Broken),
        ] {
            prop_assert_eq!(Facts::parse(facts.to_text().as_bytes()), Some(facts));
        }
        if let Some(read) = Facts::parse(noise.as_bytes()) {
            prop_assert_eq!(Facts::parse(read.to_text().as_bytes()), Some(read));
        }
        for damaged in ["", "0x1", "1x0", "1x", "x", "4294967296x1"] {
            prop_assert_eq!(Facts::parse(damaged.as_bytes()), None);
        }
    }
}
