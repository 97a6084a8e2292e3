//! The founding, and the configuration of the whole platform.

use homecore_types::CoreId;

use super::Outcome;
use super::transaction::Transaction;
use crate::command::{Founding, Rejection, Response};
use crate::keys::{self, Config};
use crate::records::{Core, CoreState, PlatformConfig};

/// Writes what a cluster starts from. The founding itself is kept whole, to tell a repetition from
/// another cluster's founding.
pub(super) fn found(transaction: &mut Transaction<'_>, founding: Founding) -> Outcome {
    if let Some(before) = transaction.directory().founding() {
        return if **before == founding {
            Ok(Response::Done)
        } else {
            Err(Rejection::AlreadyFounded.into())
        };
    }
    transaction.put_core(first_core(&founding));
    transaction.put::<Config>(&(), &founding.config)?;
    transaction.put::<keys::Founding>(&(), &founding)?;
    let generation = transaction.index();
    let directory = transaction.directory_mut();
    directory.set_config(founding.config.clone(), generation);
    directory.set_founding(founding);
    Ok(Response::Done)
}

/// That who judged values of account fields knows what is declared of them now.
pub(super) fn check_fields(
    transaction: &Transaction<'_>,
    judged_by: Option<u64>,
) -> Result<(), Rejection> {
    let config = transaction.directory().config();
    let present = config.map_or(0, |config| config.fields_version);
    if judged_by.is_some_and(|version| version != present) {
        return Err(Rejection::FieldsChanged { present });
    }
    Ok(())
}

/// The founder serves at once: nobody else could say so for it.
fn first_core(founding: &Founding) -> Core {
    let id: CoreId = founding.core.clone();
    Core {
        id,
        node: founding.node,
        addresses: founding.addresses.clone(),
        key: String::new(),
        state: CoreState::Serving,
        available: true,
        users: 0,
        joined_at: founding.at,
        removed_at: None,
    }
}

/// Replaces the configuration, if nobody else has meanwhile. Versions count on whatever the command says.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    config: PlatformConfig,
    base_version: u64,
    unless_accounts: Option<bool>,
) -> Outcome {
    let version = base_version.saturating_add(1);
    let present = transaction.directory().config().cloned();
    let repeated = present.as_ref().is_some_and(|present| {
        let same = PlatformConfig {
            version,
            fields_version: present.fields_version,
            ..config.clone()
        };
        **present == same
    });
    if repeated {
        return Ok(Response::Done);
    }
    let current = present.as_ref().map_or(0, |present| present.version);
    if current != base_version {
        return Err(Rejection::StaleVersion { current }.into());
    }
    let counts = transaction.directory().counts();
    if unless_accounts == Some(true) && (counts.users > 0 || counts.reservations > 0) {
        return Err(Rejection::AccountsExist.into());
    }
    let kept = present.filter(|present| {
        let fields = |config: &PlatformConfig| config.sections.get(PlatformConfig::FIELDS).cloned();
        unless_accounts.is_none() || fields(present) == fields(&config)
    });
    let config = PlatformConfig {
        version,
        fields_version: kept.map_or(version, |present| present.fields_version),
        ..config
    };
    transaction.put::<Config>(&(), &config)?;
    let generation = transaction.index();
    transaction.directory_mut().set_config(config, generation);
    Ok(Response::Done)
}
