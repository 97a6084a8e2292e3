//! Reading the state: the directory at start, and what is asked rarely enough to be read from the
//! engine.

use aws_lc_rs::digest::{Context, SHA256};
use homecore_types::{CoreId, Millis, UserId};

use super::transaction::{Transaction, decode, inconsistent, load};
use super::{Machine, MachineError, Stop, invitations};
use crate::directory::{Counts, Directory};
use crate::engine::Engine;
use crate::keys::{
    AccessRequests, Applied, Config, Cores, Deadline, DeadlineKind, Dns, Founding, Holdings,
    InvitationRow, Invitations, JoinTokens, Names, Space, Table, Unique, Users,
};
use crate::records::{AccessRequest, DnsRecord, JoinToken, User, UserHoldings};

/// Items read at a time.
const PAGE: usize = 1_024;

/// Visits every item of a space, in the order of keys.
fn visit(
    engine: &dyn Engine,
    space: Space,
    mut seen: impl FnMut(&[u8], &[u8]) -> Result<(), MachineError>,
) -> Result<(), MachineError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = engine.scan(space, after.as_deref(), PAGE)?;
        page.iter().try_for_each(|(key, value)| seen(key, value))?;
        let Some((last, _)) = page.into_iter().next_back() else {
            return Ok(());
        };
        after = Some(last);
    }
}

fn text(space: Space, key: &[u8]) -> Result<&str, MachineError> {
    std::str::from_utf8(key).map_err(|_| inconsistent(space, key, "the key is no text"))
}

/// Makes the directory from what an engine holds, in one pass.
pub(super) fn scan_directory(
    engine: &dyn Engine,
    applied: &Applied,
) -> Result<Directory, MachineError> {
    let mut directory = Directory::default();
    let generation = applied.index.unwrap_or(0);
    if let Some(founding) = load::<Founding>(engine, &())? {
        directory.set_founding(founding);
    }
    if let Some(config) = load::<Config>(engine, &())? {
        directory.set_config(config, generation);
    }
    visit(engine, Space::Cores, |key, value| {
        directory.set_core(decode::<Cores>(key, value)?.into(), generation);
        Ok(())
    })?;
    visit(engine, Space::Dns, |key, value| {
        directory.set_dns(
            text(Space::Dns, key)?,
            decode::<Dns>(key, value)?,
            generation,
        );
        Ok(())
    })?;
    visit(engine, Space::Names, |key, value| {
        directory.set_name(text(Space::Names, key)?, &decode::<Names>(key, value)?);
        Ok(())
    })?;
    let mut counts = Counts {
        invitations: 0,
        access_requests: 0,
        ..directory.counts()
    };
    visit(engine, Space::Invitations, |_, _| {
        counts.invitations = counts.invitations.saturating_add(1);
        Ok(())
    })?;
    // Counted by their deadlines: the requests themselves may be large.
    visit(engine, Space::Deadlines, |key, _| {
        let is_request = Deadline::from_key(key)
            .is_some_and(|deadline| deadline.kind == DeadlineKind::AccessRequest);
        counts.access_requests = counts.access_requests.saturating_add(u64::from(is_request));
        Ok(())
    })?;
    *directory.counts_mut() = counts;
    directory.set_applied(applied.index);
    directory.set_dns_generation(generation);
    Ok(directory)
}

fn list<T: Table>(engine: &dyn Engine) -> Result<Vec<(String, T::Value)>, MachineError> {
    let mut all = Vec::new();
    visit(engine, T::SPACE, |key, value| {
        all.push((text(T::SPACE, key)?.to_owned(), decode::<T>(key, value)?));
        Ok(())
    })?;
    Ok(all)
}

/// Some users, in the order of names.
#[derive(Debug, Default)]
pub struct UsersPage {
    /// Those that were found.
    pub users: Vec<User>,
    /// The last name that was looked at: behind it one goes on. None: there are no more names.
    pub last: Option<String>,
}

/// Questions. Each fails when the engine does or a stored value is damaged.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Machine {
    /// A user by its present name, reserved ones included.
    pub fn user_by_name(&self, name: &str) -> Result<Option<User>, MachineError> {
        match self.directory.user(name) {
            Some(entry) => self.user_by_id(&entry.id),
            None => Ok(None),
        }
    }

    /// A user by its id, reserved ones included.
    pub fn user_by_id(&self, id: &UserId) -> Result<Option<User>, MachineError> {
        load::<Users>(self.engine.as_ref(), id)
    }

    /// What a user holds beside its name and fields; none: nothing.
    pub fn holdings(&self, id: &UserId) -> Result<Option<UserHoldings>, MachineError> {
        load::<Holdings>(self.engine.as_ref(), id)
    }

    /// Who holds a value of a unique field, reserved ones included.
    pub fn owner_of(&self, field: &str, value: &str) -> Result<Option<User>, MachineError> {
        let key = (field.to_owned(), value.to_owned());
        match load::<Unique>(self.engine.as_ref(), &key)? {
            Some(id) => self.user_by_id(&id),
            None => Ok(None),
        }
    }

    /// Users behind a name, in the order of names: of one core or of all, at most `limit`, reserved
    /// ones included. Looks at [`PAGE`] names at most, however few users are found.
    pub fn users(
        &self,
        core: Option<&CoreId>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<UsersPage, MachineError> {
        let mut page = UsersPage::default();
        let rows = self
            .engine
            .scan(Space::Names, after.map(str::as_bytes), PAGE)?;
        for (key, value) in rows {
            if page.users.len() == limit {
                break;
            }
            page.last = Some(text(Space::Names, &key)?.to_owned());
            let row = decode::<Names>(&key, &value)?;
            // Under a former name stands a user that has another row.
            if row.alias_of.is_some() || core.is_some_and(|core| *core != row.core) {
                continue;
            }
            page.users.push(
                self.user_by_id(&row.id)?
                    .ok_or_else(|| inconsistent(Space::Names, &key, "a name without a user"))?,
            );
        }
        Ok(page)
    }

    /// Every invitation, by token.
    pub fn invitations(&self) -> Result<Vec<(String, InvitationRow)>, MachineError> {
        list::<Invitations>(self.engine.as_ref())
    }

    /// An invitation by its token.
    pub fn invitation(&self, id: &str) -> Result<Option<InvitationRow>, MachineError> {
        load::<Invitations>(self.engine.as_ref(), id)
    }

    /// Whether somebody may register with this invitation token (or none): the rule that a
    /// reservation applies.
    pub fn invitation_valid(&self, given: Option<&str>) -> Result<bool, MachineError> {
        let transaction = Transaction::new(self.engine.as_ref(), self.directory.clone());
        match invitations::check(&transaction, given) {
            Ok(_) => Ok(true),
            Err(Stop::Rejected(_)) => Ok(false),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Every join token, by the hash of its secret.
    pub fn join_tokens(&self) -> Result<Vec<(String, JoinToken)>, MachineError> {
        list::<JoinTokens>(self.engine.as_ref())
    }

    /// A join token by the hash of its secret.
    pub fn join_token(&self, id: &str) -> Result<Option<JoinToken>, MachineError> {
        load::<JoinTokens>(self.engine.as_ref(), id)
    }

    /// An access request by the hash of its poll key. Whether it has expired is the caller's to see.
    pub fn access_request(&self, id: &str) -> Result<Option<AccessRequest>, MachineError> {
        load::<AccessRequests>(self.engine.as_ref(), id)
    }

    /// The DNS records of a label.
    #[must_use]
    pub fn dns_record(&self, label: &str) -> Option<DnsRecord> {
        self.directory
            .dns_record(label)
            .map(|record| (**record).clone())
    }

    /// The first time after which a sweep has something to do; none: nothing has a deadline.
    pub fn next_deadline(&self) -> Result<Option<Millis>, MachineError> {
        let first = self.engine.scan(Space::Deadlines, None, 1)?;
        let Some((key, _)) = first.first() else {
            return Ok(None);
        };
        let deadline = Deadline::from_key(key)
            .ok_or_else(|| inconsistent(Space::Deadlines, key, "no key of a deadline"))?;
        Ok(Some(deadline.at))
    }

    /// Bytes of the engine's files, roughly.
    pub fn size_bytes(&self) -> Result<u64, MachineError> {
        Ok(self.engine.size_bytes()?)
    }

    /// SHA-256 over everything replicated. Equal on every core that has applied the same entries.
    /// Reads the whole state: for tests, simulation and operators who doubt.
    pub fn state_hash(&self) -> Result<[u8; 32], MachineError> {
        let mut context = Context::new(&SHA256);
        for space in Space::replicated() {
            context.update(&[space.number()]);
            visit(self.engine.as_ref(), *space, |key, value| {
                for part in [key, value] {
                    context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                    context.update(part);
                }
                Ok(())
            })?;
            context.update(&u64::MAX.to_be_bytes());
        }
        let digest = context.finish();
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Ok(hash)
    }
}
