//! The asynchronous side over the memory engine.

use std::sync::Arc;

use homecore_types::SystemClock;

use super::*;
use crate::memory::MemoryBlobs;
use crate::suite::{blob_suite, user};

fn store(options: &BlobOptions) -> (BlobStore, Arc<MemoryBlobs>) {
    let engine = Arc::new(MemoryBlobs::new(Arc::new(SystemClock)));
    let store = BlobStore::new(Arc::clone(&engine) as Arc<dyn Blobs>, options);
    (store, engine)
}

async fn put(store: &BlobStore, bytes: &[u8]) -> PinnedBlob {
    let mut upload = store.upload(&user(1)).unwrap();
    upload.write(bytes).await.unwrap();
    upload.finish().await.unwrap()
}

#[test]
fn the_memory_engine_keeps_its_promises() {
    blob_suite(|| Arc::new(MemoryBlobs::new(Arc::new(SystemClock)))).unwrap();
}

#[test]
fn names_are_read_as_they_are_written() {
    let hash = BlobHash::of(b"hello attachment");
    let text = hash.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(BlobHash::parse(&text), Some(hash));
    assert_eq!(BlobHash::from_bytes(hash.as_bytes()), Some(hash));
    for wrong in ["", "abc", &text.to_uppercase(), &format!("{text}0")] {
        assert_eq!(BlobHash::parse(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn a_blob_noted_during_a_decision_is_looked_at_again() {
    let (store, _) = store(&BlobOptions::default());
    let blob = put(&store, b"kept, then not").await;
    let hash = blob.hash();
    blob.settle();
    let seen_too_early = async {
        // The last reference goes here, and a second tender takes the blob up.
        store.suspect(&user(1), hash);
        let noted = store.next_suspect();
        assert_eq!(noted, Some((user(1), hash)));
        let second = store.free(&user(1), hash, async { Ok(false) }).await;
        assert!(!second.unwrap());
        Ok(true)
    };
    let first = store.free(&user(1), hash, seen_too_early).await;
    assert!(!first.unwrap());
    assert_eq!(store.next_suspect(), Some((user(1), hash)));
    let freed = store.free(&user(1), hash, async { Ok(false) }).await;
    assert!(freed.unwrap());
    assert_eq!(store.next_suspect(), None);
}

#[tokio::test]
async fn a_blob_goes_in_and_out_in_pieces() {
    let (store, _) = store(&BlobOptions::default());
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let blob = put(&store, &bytes).await;
    assert_eq!(blob.hash(), BlobHash::of(&bytes));
    assert_eq!(blob.size(), 1_200_000);
    let download = store.download(&user(1), blob.hash()).await.unwrap();
    let mut download = download.unwrap();
    assert_eq!(download.size(), 1_200_000);
    let piece = download.read_at(4, 8).await.unwrap();
    assert_eq!(piece, bytes[4..12]);
    assert!(
        store
            .download(&user(2), blob.hash())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn places_are_bounded_and_given_back() {
    let (store, _) = store(&BlobOptions {
        uploads_max: 3,
        uploads_per_user_max: 2,
        downloads_per_user_max: 1,
        ..BlobOptions::default()
    });
    let first = store.upload(&user(1)).unwrap();
    let second = store.upload(&user(1)).unwrap();
    assert!(matches!(
        store.upload(&user(1)),
        Err(StoreError::Busy { .. })
    ));
    let third = store.upload(&user(2)).unwrap();
    assert!(store.upload(&user(3)).is_err());
    assert_eq!(store.stats().uploads, 3);
    drop((first, second, third));
    let blob = put(&store, b"x").await;
    let open = store.download(&user(1), blob.hash()).await.unwrap();
    assert!(store.download(&user(1), blob.hash()).await.is_err());
    assert_eq!(store.stats().downloads, 1);
    drop(open);
    assert_eq!(store.stats().downloads, 0);
    assert!(store.download(&user(1), blob.hash()).await.is_ok());
}

#[tokio::test]
async fn who_stands_still_loses_its_place_to_another() {
    let (store, _) = store(&BlobOptions {
        downloads_max: 2,
        downloads_per_user_max: 1,
        idle: std::time::Duration::ZERO,
        ..BlobOptions::default()
    });
    let blob = put(&store, b"hello").await;
    let open = async || {
        let opened = store.download(&user(1), blob.hash()).await;
        opened.unwrap().unwrap()
    };
    let mut first = open().await;
    assert_eq!(first.read_at(0, 2).await.unwrap(), b"he".as_slice());
    let mut second = open().await;
    assert!(matches!(
        first.read_at(2, 2).await,
        Err(StoreError::Busy { .. })
    ));
    assert_eq!(second.read_at(2, 2).await.unwrap(), b"ll".as_slice());
    drop(first);
    assert_eq!(store.stats().downloads, 1);
    drop(second);
    assert_eq!(store.stats().downloads, 0);
}

#[tokio::test]
async fn what_is_given_up_is_noted_and_what_is_settled_is_not() {
    let (store, _) = store(&BlobOptions::default());
    let (one, two) = (put(&store, b"one").await, put(&store, b"two").await);
    let hash = one.hash();
    drop(one);
    two.settle();
    assert_eq!(store.next_suspect(), Some((user(1), hash)));
    assert_eq!(store.next_suspect(), None);
}

#[tokio::test]
async fn a_pinned_blob_is_not_freed() {
    let (store, engine) = store(&BlobOptions::default());
    let blob = put(&store, b"one").await;
    let hash = blob.hash();
    let freed = store.free(&user(1), hash, async { Ok(false) }).await;
    assert!(!freed.unwrap());
    drop(blob);
    let freed = store.free(&user(1), hash, async { Ok(true) }).await;
    assert!(!freed.unwrap());
    let freed = store.free(&user(1), hash, async { Ok(false) }).await;
    assert!(freed.unwrap());
    assert_eq!(engine.list(&user(1), None, 9).unwrap(), []);
}

#[tokio::test]
async fn an_upload_of_the_same_bytes_waits_for_the_decision() {
    let (store, engine) = store(&BlobOptions::default());
    let hash = put(&store, b"one").await.hash();
    let (decide, decided) = tokio::sync::oneshot::channel::<()>();
    let freeing = tokio::spawn({
        let store = store.clone();
        async move {
            let is_referenced = async {
                decided.await.unwrap();
                Ok(false)
            };
            store.free(&user(1), hash, is_referenced).await
        }
    });
    while store.pins().decide(&user(1), hash).is_some() {
        tokio::task::yield_now().await;
    }
    let uploading = tokio::spawn({
        let store = store.clone();
        async move { put(&store, b"one").await }
    });
    decide.send(()).unwrap();
    assert!(freeing.await.unwrap().unwrap());
    let blob = uploading.await.unwrap();
    assert_eq!(engine.list(&user(1), None, 9).unwrap().len(), 1);
    blob.settle();
}

#[tokio::test]
async fn without_room_nothing_more_comes_in() {
    let options = BlobOptions::default();
    let (store, _) = store(&options);
    let blob = put(&store, b"before").await;
    let mut begun = store.upload(&user(1)).unwrap();
    options.room.set_lacking(true);
    let refused = store.upload(&user(1));
    assert!(matches!(refused, Err(StoreError::Full { .. })));
    let piece = vec![1; 1024 * 1024];
    let refused = begun.write(&piece).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })));
    drop(begun);
    assert!(
        store
            .download(&user(1), blob.hash())
            .await
            .unwrap()
            .is_some()
    );
    options.room.set_lacking(false);
    put(&store, &piece).await;
}
