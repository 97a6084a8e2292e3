//! Making users, and what administrators ask of the platform about them.

use std::collections::BTreeMap;

use homecore_kernel::account::NewAccount;
use homecore_kernel::ports::{
    AccessInfo, IntegrityCheck, NewUser, RegisterError, Registration, Unavailable, UserInfo,
};
use homecore_types::{CoreId, Secret, SystemEntropy, UserId};

use super::Fake;

impl Fake {
    /// Takes the names of somebody who then lives here.
    pub(super) fn take(&self, registration: &Registration) -> Result<UserId, RegisterError> {
        let name = &registration.username;
        let id = UserId::generate(&SystemEntropy);
        let mut state = self.state.lock().unwrap();
        let mut taken = BTreeMap::new();
        if state.users.contains_key(state.present(name.as_str())) {
            taken.insert("username".to_owned(), name.to_string());
        }
        let email = registration.email.as_str();
        let mut users = state.users.values();
        let held = users.any(|u| u.unique.get("email").is_some_and(|e| e == email));
        if held || state.emails.contains_key(email) {
            taken.insert("email".to_owned(), email.to_owned());
        }
        if !taken.is_empty() {
            return Err(RegisterError::Taken(taken));
        }
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        let user = UserInfo {
            id: id.clone(),
            username: name.clone(),
            core: CoreId::parse(self.this_id()).unwrap(),
            unique: BTreeMap::from([("email".to_owned(), email.to_owned())]),
            indexed: BTreeMap::from([
                ("language".to_owned(), registration.language.clone()),
                ("appId".to_owned(), registration.app.clone()),
                (
                    "invitationToken".to_owned(),
                    optional(&registration.invitation),
                ),
                ("referer".to_owned(), optional(&registration.referer)),
            ]),
        };
        state.users.insert(name.to_string(), user);
        Ok(id)
    }

    pub(super) async fn place(&self, user: NewUser) -> Result<(), RegisterError> {
        self.up()?;
        let as_registered = Registration {
            username: user.username,
            password: Secret::new("unused"),
            email: user.email,
            app: user.app.unwrap_or_else(|| "unknown".to_owned()),
            language: user.language,
            hosting: None,
            invitation: user.invitation,
            referer: user.referer,
            declared: user.declared,
            fields_version: user.fields_version,
        };
        let id = self.take(&as_registered)?;
        let account = NewAccount {
            password: user.password,
            ..NewAccount::from(as_registered)
        };
        let kernel = self.kernel.get().unwrap();
        kernel.place_account(&id, account).await.unwrap();
        Ok(())
    }

    pub(super) async fn whose(&self, id: &str) -> Result<Option<AccessInfo>, Unavailable> {
        self.up()?;
        let here = self.this_id();
        let users: Vec<_> = {
            let state = self.state.lock().unwrap();
            let users = state.users.values();
            users.filter(|u| u.core.as_str() == here).cloned().collect()
        };
        for user in users {
            let kernel = self.kernel.get().unwrap();
            if let Some(access) = kernel.find_access(&user.id, id).await.unwrap() {
                return Ok(Some(AccessInfo {
                    id: id.to_owned(),
                    username: user.username,
                    core: user.core,
                    kind: access.kind,
                    expires: access.expires,
                    created: access.created,
                    modified: access.modified,
                    deleted: access.deleted,
                }));
            }
        }
        Ok(None)
    }
}

pub(super) fn checks() -> Vec<IntegrityCheck> {
    vec![
        IntegrityCheck {
            title: "Platform DB vs users repository",
            infos: BTreeMap::from([("usersCountOnPlatform", 2), ("usersCountOnRepository", 1)]),
            errors: vec!["something differs".to_owned()],
        },
        IntegrityCheck::default(),
    ]
}
