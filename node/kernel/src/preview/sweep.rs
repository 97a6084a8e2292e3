//! Deletes previews that nobody looked at for long, a little at a time.

use std::time::Duration;

use homecore_types::{Millis, UserId};

use crate::error::Error;
use crate::kernel::Kernel;

/// Rest after each part of a user's previews.
const PAUSE: Duration = Duration::from_millis(5);
/// Where previews take too much, age is no reason to keep one from here on: uses are not noted more
/// exactly.
const AGE_MIN: Duration = Duration::from_secs(2 * 3_600);

/// A pass over all users; further ones, each with half the age, while they take too much together.
pub(super) async fn sweep(kernel: &Kernel) -> Result<(), Error> {
    let settings = kernel.settings().previews;
    let now = kernel.now();
    let mut age = settings.max_age;
    loop {
        let kept = pass(kernel, now - age).await?;
        if kept <= settings.bytes_max || age.is_zero() {
            return Ok(());
        }
        age = if age < AGE_MIN {
            Duration::ZERO
        } else {
            age / 2
        };
        tracing::info!(
            kept,
            age_s = age.as_secs(),
            "previews take too much: fewer are kept"
        );
    }
}

/// Bytes that are left of all users.
async fn pass(kernel: &Kernel, unused_since: Millis) -> Result<u64, Error> {
    let mut kept = 0_u64;
    for user in kernel.users().list().await? {
        match sweep_user(kernel, &user, unused_since).await {
            Ok(bytes) => kept = kept.saturating_add(bytes),
            Err(error) => tracing::warn!(%user, %error, "a user's previews were not looked at"),
        }
    }
    Ok(kept)
}

async fn sweep_user(kernel: &Kernel, user: &UserId, unused_since: Millis) -> Result<u64, Error> {
    let mut kept = 0_u64;
    for shard in kernel.blobs().derived_shards(user).await? {
        let swept = kernel.blobs().sweep_derived(user, shard, unused_since);
        kept = kept.saturating_add(swept.await?.kept_bytes);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(kept)
}
