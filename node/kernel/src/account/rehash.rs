//! Replacing a hash of an older kind when the password is known: at a log-in.

use homecore_store::{Base, Transaction};
use homecore_types::Secret;

use super::{Account, AccountError};
use crate::password::{Hasher, is_outdated};

/// A new hash and the one that it replaces.
#[derive(Clone)]
pub struct Rehash {
    old: String,
    new: String,
}

impl std::fmt::Debug for Rehash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rehash(***)")
    }
}

/// A new hash of a password that was just verified, where the account's is outdated. None where it
/// cannot be made now: the next log-in will.
pub async fn prepare(hasher: &Hasher, account: &Account, password: Secret) -> Option<Rehash> {
    if !is_outdated(&account.password_hash) {
        return None;
    }
    let new = hasher.hash(password).await.ok()?;
    Some(Rehash {
        old: account.password_hash.clone(),
        new,
    })
}

/// Writes it, unless the password was changed meanwhile.
///
/// # Errors
/// Of the store.
pub fn replace(tx: &mut Transaction<'_>, rehash: Rehash) -> Result<(), AccountError> {
    let mut account = super::load(tx.view())?;
    if account.password_hash == rehash.old {
        account.password_hash = rehash.new;
        super::store(tx, &account, Base::Any)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::archive::account::{Names, read};
    use crate::audit::Source;
    use crate::testing::{kernel, owner};

    #[tokio::test]
    async fn a_log_in_replaces_a_hash_of_the_original_server() {
        const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let (kernel, _clock) = kernel();
        let record = json!({"passwords": [{"time": 1, "hash": HASH}],
            "accountFields": [{"field": "email", "value": "a@b.c", "time": 1}]});
        let record = record.as_object().unwrap();
        let account = read("samplebeta1", record, &Names::default()).unwrap().item;
        let owner = owner();
        kernel.import_account(&owner.id, account).await.unwrap();
        let hash = || async {
            let read = kernel
                .read(&owner.id, |view, _| super::super::load(view))
                .await;
            read.unwrap().unwrap().password_hash
        };
        let params = |password: &str| json!({"username": "samplebeta1", "password": password, "appId": "app-web"});
        let origin = "https://x.backloop.dev";
        assert!(
            kernel
                .login(&owner, &params("u*u"), origin, Source::default())
                .await
                .is_err()
        );
        assert_eq!(hash().await, HASH);
        kernel
            .login(&owner, &params("U*U"), origin, Source::default())
            .await
            .unwrap();
        assert!(hash().await.starts_with("$argon2id$"));
        kernel
            .login(&owner, &params("U*U"), origin, Source::default())
            .await
            .unwrap();
        assert!(
            kernel
                .login(&owner, &params("u*u"), origin, Source::default())
                .await
                .is_err()
        );
    }
}
