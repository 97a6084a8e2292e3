//! Who calls: a user's data, and the access through which it is reached.

use std::sync::Arc;

use homecore_types::{Secret, UserId, Username};

use crate::access::{self, Access};
use crate::audit::Source;

/// A user of this core, as the directory found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Whose folder.
    pub id: UserId,
    /// The canonical name.
    pub username: Username,
    /// The random alias that it was asked for under, if it was.
    pub alias: Option<Username>,
}

/// What a caller proves itself with: an access token, and who calls in its name.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The access token.
    pub token: Secret,
    /// A caller id, recorded beside the access id in tracking fields.
    pub caller: Option<String>,
    /// From where it calls, for the audit log.
    pub source: Source,
}

/// Longest caller id that is recorded.
const CALLER_CHARS_MAX: usize = 255;

impl Credential {
    /// Reads `<token> [<caller id>]` (spec/pryv-api §1.3). None without a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (token, caller) = match text.split_once(char::is_whitespace) {
            Some((token, rest)) => (token, rest.trim()),
            None => (text, ""),
        };
        if token.is_empty() {
            return None;
        }
        let caller: String = caller.chars().take(CALLER_CHARS_MAX).collect();
        Some(Self {
            token: Secret::new(token),
            caller: Some(caller).filter(|c| !c.is_empty()),
            source: Source::default(),
        })
    }
}

/// An authenticated caller. It keeps the access as it was when the call began: a batch goes on with
/// it even if one of its calls deletes the access.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Whose data.
    pub owner: Owner,
    /// Through which access.
    pub access: Arc<Access>,
    /// Who calls in its name.
    pub caller: Option<String>,
    /// From where it calls, for the audit log.
    pub source: Source,
}

impl Actor {
    /// What `createdBy` and `modifiedBy` say of this caller: the access in its present version.
    #[must_use]
    pub fn author(&self) -> String {
        let id = access::id::version(&self.access.id, self.access.stored.serial);
        match &self.caller {
            Some(caller) => format!("{id} {caller}"),
            None => id,
        }
    }

    /// What the user is called wherever this access looks: by its alias, if it has one.
    #[must_use]
    pub fn shown_name(&self) -> &Username {
        self.access
            .stored
            .alias
            .as_ref()
            .unwrap_or(&self.owner.username)
    }

    /// Whether this is the person, with every right.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        self.access.is_personal()
    }
}

#[cfg(test)]
mod tests {
    use super::Credential;

    #[test]
    fn a_second_word_is_the_caller() {
        let read =
            |text: &str| Credential::parse(text).map(|c| (c.token.expose().to_owned(), c.caller));
        assert_eq!(read("tok"), Some(("tok".to_owned(), None)));
        assert_eq!(
            read(" tok  bob "),
            Some(("tok".to_owned(), Some("bob".to_owned())))
        );
        assert_eq!(
            read("tok a b"),
            Some(("tok".to_owned(), Some("a b".to_owned())))
        );
        assert_eq!(read("  "), None);
    }
}
