//! What is left to be settled when a change did not end.

use futures_util::FutureExt as _;
use tokio::sync::Mutex;

use super::*;

async fn taken(left: &Arc<Notify>, marks: &Marks, user: &UserId) -> Box<Taken> {
    let turn = Arc::new(Mutex::new(()));
    let marked = marks.set_change(user).await.unwrap();
    Box::new(Taken {
        user: user.clone(),
        marks: marks.clone(),
        marked,
        settled: false,
        left: Arc::clone(left),
        _turn: turn.lock_owned().await,
    })
}

#[tokio::test]
async fn what_was_taken_and_not_written_is_gone_on_with_at_once() {
    let dir = std::env::temp_dir().join(format!("homecore-changes-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let marks = Marks::new(dir.clone());
    let user = UserId::parse("u23456789012345678901234").unwrap();
    let left = Arc::new(Notify::new());
    taken(&left, &marks, &user).await.settled().await;
    assert_eq!(marks.find(&user).await.unwrap(), None);
    assert!(left.notified().now_or_never().is_none(), "nothing is left");

    drop(taken(&left, &marks, &user).await);
    assert!(left.notified().now_or_never().is_some());
    // The next change does not settle what the one before left.
    taken(&left, &marks, &user).await.settled().await;
    let (mark, _) = marks.find(&user).await.unwrap().unwrap();
    assert_eq!(mark, Mark::Change);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_came_second_is_planned_anew() {
    let present = Username::parse("alice").unwrap();
    for late in [
        Rejection::NameChanged { present },
        Rejection::EmailsChanged { changes: 2 },
    ] {
        let refused = refusal(CommandError::Rejected(late));
        assert!(matches!(refused, TakeError::Changed), "{refused}");
    }
    let fields = CommandError::Rejected(Rejection::FieldsChanged { present: 3 });
    assert!(is_outdated(&fields));
    assert!(matches!(refusal(fields), TakeError::FieldsChanged));
    let used = CommandError::Rejected(Rejection::NameChangesUsed { used: 2 });
    assert!(matches!(refusal(used), TakeError::ChangesUsed { .. }));
    let many = CommandError::Rejected(Rejection::TooManyAliases { most: 7 });
    assert!(matches!(
        refusal(many),
        TakeError::TooManyAliases { most: 7 }
    ));
}
