//! Questions that the directory does not answer: read from this core's own state, on the machine's
//! thread. For an answer as of now, call [`Handle::current`] first.

use homecore_types::{CoreId, Millis, UserId};

use crate::handle::{Handle, ReadError};
use crate::keys::InvitationRow;
use crate::machine::{Machine, MachineError};
use crate::records::{AccessRequest, JoinToken, User, UserHoldings};

impl Handle {
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Machine) -> Result<T, MachineError> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.inner
            .worker
            .run(move |machine| question(machine))
            .await
            .map_err(|_| ReadError::Stopped)?
            .map_err(|error| ReadError::Storage {
                reason: crate::report(&error),
            })
    }

    /// A user by its id, reserved ones included.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn find_user_by_id(&self, id: &UserId) -> Result<Option<User>, ReadError> {
        let id = id.clone();
        self.ask(move |machine| machine.user_by_id(&id)).await
    }

    /// What a user holds beside its name and fields; none: nothing.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn holdings_of(&self, id: &UserId) -> Result<UserHoldings, ReadError> {
        let id = id.clone();
        let held = self.ask(move |machine| machine.holdings(&id)).await?;
        Ok(held.unwrap_or_default())
    }

    /// A user by its name, reserved ones included.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn find_user_by_name(&self, name: &str) -> Result<Option<User>, ReadError> {
        let name = name.to_owned();
        self.ask(move |machine| machine.user_by_name(&name)).await
    }

    /// Who holds a value of a unique field, reserved ones included.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn find_by_unique(
        &self,
        field: &str,
        value: &str,
    ) -> Result<Option<User>, ReadError> {
        let (field, value) = (field.to_owned(), value.to_owned());
        self.ask(move |machine| machine.owner_of(&field, &value))
            .await
    }

    /// Users whose names follow `after`, of one core or of all, at most `limit`, in the order of names.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn users(
        &self,
        core: Option<CoreId>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<User>, ReadError> {
        let (mut users, mut after) = (Vec::new(), after);
        // Some names at a time: of a core with few users among millions nobody waits for the whole walk.
        while users.len() < limit {
            let (core, from, wanted) = (core.clone(), after.take(), limit - users.len());
            let page = self
                .ask(move |machine| machine.users(core.as_ref(), from.as_deref(), wanted))
                .await?;
            users.extend(page.users);
            match page.last {
                None => break,
                last => after = last,
            }
        }
        Ok(users)
    }

    /// Every invitation, by its token.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn invitations(&self) -> Result<Vec<(String, InvitationRow)>, ReadError> {
        self.ask(Machine::invitations).await
    }

    /// An invitation by its token.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn invitation(&self, id: &str) -> Result<Option<InvitationRow>, ReadError> {
        let id = id.to_owned();
        self.ask(move |machine| machine.invitation(&id)).await
    }

    /// Whether somebody may register with this invitation token, or without one.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn invitation_valid(&self, given: Option<String>) -> Result<bool, ReadError> {
        self.ask(move |machine| machine.invitation_valid(given.as_deref()))
            .await
    }

    /// Every join token, by the hash of its secret.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn join_tokens(&self) -> Result<Vec<(String, JoinToken)>, ReadError> {
        self.ask(Machine::join_tokens).await
    }

    /// A join token by the hash of its secret.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn join_token(&self, id: &str) -> Result<Option<JoinToken>, ReadError> {
        let id = id.to_owned();
        self.ask(move |machine| machine.join_token(&id)).await
    }

    /// An access request by the hash of its poll key. Whether it has expired is the caller's to see.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn access_request(&self, id: &str) -> Result<Option<AccessRequest>, ReadError> {
        let id = id.to_owned();
        self.ask(move |machine| machine.access_request(&id)).await
    }

    /// Bytes of the state's files, roughly.
    ///
    /// # Errors
    /// When they cannot be looked at.
    pub async fn size_bytes(&self) -> Result<u64, ReadError> {
        self.ask(Machine::size_bytes).await
    }

    /// SHA-256 over everything replicated: equal on every core that has applied the same entries.
    /// Reads the whole state: for tests, simulation and operators who doubt.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn state_hash(&self) -> Result<[u8; 32], ReadError> {
        self.ask(Machine::state_hash).await
    }

    /// Whether a sweep at this time has something to do.
    pub(crate) async fn sweep_due(&self, now: Millis) -> Result<bool, ReadError> {
        let next = self.ask(Machine::next_deadline).await?;
        Ok(next.is_some_and(|deadline| deadline <= now))
    }
}
