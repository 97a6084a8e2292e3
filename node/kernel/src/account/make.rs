//! The asynchronous side of an account's beginning and end, and of reading it as it is stored.

use homecore_store::{StoreError, Transaction};
use homecore_types::{Secret, UserId};

use super::{Account, AccountError, NewAccount};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::password::PasswordHashText;

impl Kernel {
    /// Makes an account with its first personal access, opens a session on it, and returns its
    /// token. The unique fields were reserved before, by the platform.
    ///
    /// # Errors
    /// If the user exists, if too many passwords are being hashed, or of the store.
    pub async fn create_account(&self, user: &UserId, new: NewAccount) -> Result<Secret, Error> {
        let context = self.context();
        self.make_account(user, new, move |tx, new, hash| {
            super::create(tx, &context, new, hash)
        })
        .await
    }

    /// Makes an account that nobody is logged in to. The unique fields were reserved before, by the
    /// platform.
    ///
    /// # Errors
    /// As of [`Self::create_account`].
    pub async fn place_account(&self, user: &UserId, new: NewAccount) -> Result<(), Error> {
        let schema = self.schema();
        self.make_account(user, new, move |tx, new, hash| {
            super::place(tx, &schema, new, hash)
        })
        .await
    }

    async fn make_account<T: Send + 'static>(
        &self,
        user: &UserId,
        new: NewAccount,
        make: impl FnOnce(
            &mut Transaction<'_>,
            &NewAccount,
            PasswordHashText,
        ) -> Result<T, AccountError>
        + Send
        + 'static,
    ) -> Result<T, Error> {
        let hash = self.hasher().hash_new(new.password.clone()).await?;
        self.trees().forget(user);
        let made = self
            .users()
            .create(user, move |writer| {
                writer.attempt(|tx| make(tx, &new, hash))
            })
            .await?;
        Ok(made?)
    }

    /// The account of a user as it is stored.
    ///
    /// # Errors
    /// If there is none, or of the store.
    pub async fn stored_account(&self, user: &UserId) -> Result<Account, Error> {
        Ok(self.read_short(user, |view, _| super::load(view)).await??)
    }

    /// Removes an account and everything of its user: the folder with data and files, what is kept in
    /// memory, audit entries that wait. Every access ends with it. Again, or for nobody: nothing.
    ///
    /// # Errors
    /// Of the store.
    pub async fn remove_account(&self, user: &UserId) -> Result<(), Error> {
        match self.users().remove(user).await {
            Ok(()) | Err(StoreError::UnknownUser { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.trees().forget(user);
        // Nobody is left to read them.
        drop(self.pending().take(user));
        self.answers().forget(user);
        Ok(())
    }
}
