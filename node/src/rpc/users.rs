//! Accounts of this core for other cores: creating the one that another core reserved, and looking for
//! an access.
//!
//! Calls arrive on the thread of consensus and are done where requests are: one may read many users.

use std::sync::Arc;

use homecore_proto::platform::users_server;
use homecore_proto::platform::{
    CreateUserReply, CreateUserRequest, FindAccessReply, FindAccessRequest, FoundAccess, Refusal,
    create_user_reply,
};
use homecore_types::{Secret, UserId, Username};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

use crate::accounts::{Accounts, CreateError, NewAccount};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    accounts: Arc<Accounts>,
    requests: Handle,
}

impl Users {
    /// Over this core's accounts, with the runtime of requests.
    pub(crate) fn new(accounts: Arc<Accounts>, requests: Handle) -> Self {
        Self { accounts, requests }
    }

    /// Does something there; nobody waits for it any more if the caller goes away.
    async fn there<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        let task = AbortOnDropHandle::new(self.requests.spawn(work));
        task.await
            .map_err(|error| Status::unavailable(format!("it ended early: {error}")))
    }
}

#[tonic::async_trait]
impl users_server::Users for Users {
    async fn create(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserReply>, Status> {
        let request = request.into_inner();
        let bad = |error: homecore_types::IdError| Status::invalid_argument(error.to_string());
        let account = NewAccount {
            reservation: request.reservation,
            user: UserId::parse(request.user).map_err(bad)?,
            username: Username::parse(request.username).map_err(bad)?,
            password: Secret::new(request.password).into(),
            app: request.app,
            language: request.language,
            fields: request.fields.into_iter().collect(),
        };
        let accounts = Arc::clone(&self.accounts);
        let created = self.there(async move { accounts.create(account).await });
        let result = match created.await? {
            Ok(token) => create_user_reply::Result::Token(token.expose().to_owned()),
            Err(CreateError::Refused { id, message }) => {
                create_user_reply::Result::Refusal(Refusal {
                    id: id.wire().to_owned(),
                    message,
                })
            }
            Err(CreateError::Unavailable(unavailable)) => {
                return Err(Status::unavailable(unavailable.reason));
            }
        };
        Ok(Response::new(CreateUserReply {
            result: Some(result),
        }))
    }

    async fn find_access(
        &self,
        request: Request<FindAccessRequest>,
    ) -> Result<Response<FindAccessReply>, Status> {
        let (accounts, id) = (Arc::clone(&self.accounts), request.into_inner().id);
        let searched = self.there(async move { accounts.find_access(&id).await });
        let searched = searched
            .await?
            .map_err(|why| Status::unavailable(why.reason))?;
        let found = searched.found.map(|access| FoundAccess {
            username: access.username.into(),
            r#type: access.kind.wire().to_owned(),
            expires: access.expires.map(|at| at.0),
            created: access.created.0,
            modified: access.modified.0,
            deleted: access.deleted.map(|at| at.0),
        });
        Ok(Response::new(FindAccessReply {
            found,
            users_left: searched.users_left,
        }))
    }
}
