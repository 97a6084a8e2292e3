//! A disk without room.

use super::*;

fn full(result: Result<Result<Rev, PutError>, StoreError>) -> bool {
    matches!(result, Err(StoreError::Full { .. }))
}

#[tokio::test]
async fn without_room_only_what_takes_some_is_refused() {
    let options = options();
    let room = Arc::clone(&options.room);
    let Store { users, .. } = start(options);
    let anna = make(&users, 1).await;
    let bert = make(&users, 2).await;
    assert!(room.set_lacking(true) && !room.set_lacking(true));
    assert!(full(users.write(&anna, one(1)).await));
    assert!(full(users.create(&user(3), one(0)).await));
    assert_eq!(room.refused(), 2);
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
    users.checkpoint().await.unwrap();
    users.remove(&bert).await.unwrap();
    assert!(room.set_lacking(false));
    write(&users, &anna, 1).await;
    make(&users, 3).await;
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn an_append_that_finds_no_room_is_refused_and_nothing_stops() {
    let Store { users, faults, .. } = start(options());
    let anna = make(&users, 1).await;
    faults.fail(Step::Append, 1, Fault::Full);
    assert!(full(users.write(&anna, one(1)).await));
    write(&users, &anna, 2).await;
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 2]);
    assert_eq!(users.stats().poisoned, None);
}
