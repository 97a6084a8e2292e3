//! The asynchronous side over real files.

use std::sync::Arc;

use homecore_store::blob::BlobOptions;
use homecore_store::suite::user;
use homecore_store::{BlobHash, BlobStore, Blobs};

use crate::suites::open;

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let staged = || {
        std::fs::read_dir(root.path().join(".uploads"))
            .unwrap()
            .count()
    };
    let blobs = Arc::new(open(root.path()).unwrap());
    let store = BlobStore::new(blobs.clone(), &BlobOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut upload = store.upload(&user(1)).unwrap();
        upload.write(&vec![1; 1_000_000]).await.unwrap();
        assert_eq!(staged(), 1);
        drop(upload);
    });
    // Waits for what runs on its blocking threads.
    drop(runtime);
    assert_eq!(staged(), 0);
    assert_eq!(blobs.list(&user(1), None, 9).unwrap(), []);
}

#[tokio::test]
async fn the_same_bytes_come_many_times_at_once_and_are_kept_once() {
    let root = tempfile::tempdir().unwrap();
    let blobs = Arc::new(open(root.path()).unwrap());
    let store = BlobStore::new(blobs.clone(), &BlobOptions::default());
    let bytes: Arc<Vec<u8>> = Arc::new((0..200_000_u32).flat_map(u32::to_be_bytes).collect());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, bytes) = (store.clone(), Arc::clone(&bytes));
        tasks.spawn(async move {
            let mut upload = store.upload(&user(1)).unwrap();
            for piece in bytes.chunks(10_007) {
                upload.write(piece).await.unwrap();
            }
            let blob = upload.finish().await.unwrap();
            let download = store.download(&user(1), blob.hash()).await.unwrap();
            let mut download = download.unwrap();
            assert_eq!(download.size(), 800_000);
            let piece = download.read_at(799_996, 9).await.unwrap();
            assert_eq!(piece, bytes[799_996..]);
            blob.settle();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let listed = blobs.list(&user(1), None, 9).unwrap();
    let hashes: Vec<_> = listed.iter().map(|info| info.hash).collect();
    assert_eq!(hashes, [BlobHash::of(&bytes)]);
    assert_eq!(store.next_suspect(), None);
}
