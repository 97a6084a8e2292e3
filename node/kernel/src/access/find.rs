//! Finds an access by its id alone, for administrators.

use homecore_store::{Kind, StoreError};
use homecore_types::UserId;

use super::StoredAccess;
use crate::error::Error;
use crate::kernel::Kernel;

impl Kernel {
    /// An access of a user, also a deleted one.
    ///
    /// # Errors
    /// Of the store.
    pub async fn find_access(
        &self,
        user: &UserId,
        id: &str,
    ) -> Result<Option<StoredAccess>, Error> {
        let id = id.to_owned();
        let found = self
            .read_short(user, move |view, _| match view.get(Kind::Access, &id)? {
                Some(document) => StoredAccess::decode(&document).map(Some),
                None => Ok::<_, StoreError>(None),
            })
            .await??;
        Ok(found)
    }
}
