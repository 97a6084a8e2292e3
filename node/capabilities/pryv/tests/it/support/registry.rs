//! Account fields that the platform keeps, too.

use std::collections::BTreeMap;

use homecore_kernel::ports::{Claim, FieldChanges, Registry, TakeError, UserInfo};
use homecore_types::UserId;

use super::Fake;

#[async_trait::async_trait]
impl Registry for Fake {
    async fn take(&self, id: &UserId, changes: &FieldChanges) -> Result<Box<dyn Claim>, TakeError> {
        self.up()?;
        let mut state = self.state.lock().unwrap();
        let holds = |user: &UserInfo, (field, value): (&String, &String)| {
            user.unique.get(field).is_some_and(|held| held == value)
        };
        let taken: BTreeMap<String, String> = changes
            .unique()
            .into_iter()
            .filter(|(field, value)| {
                let others = state.users.values().filter(|user| user.id != *id);
                others.into_iter().any(|user| holds(user, (field, value)))
            })
            .collect();
        if !taken.is_empty() {
            return Err(TakeError::Taken(taken));
        }
        let user = state.users.values_mut().find(|user| user.id == *id);
        let user = user.unwrap();
        user.unique.extend(changes.unique());
        user.indexed.extend(changes.indexed());
        Ok(Box::new(Taken))
    }
}

#[derive(Debug)]
struct Taken;

#[async_trait::async_trait]
impl Claim for Taken {
    async fn settled(self: Box<Self>) {}
}
