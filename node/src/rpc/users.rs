//! Accounts of this core for other cores: creating the one that another core reserved, and looking for
//! an access.

use std::sync::Arc;

use homecore_proto::platform::users_server;
use homecore_proto::platform::{
    CreateUserReply, CreateUserRequest, FindAccessReply, FindAccessRequest, FoundAccess, Refusal,
    create_user_reply,
};
use homecore_types::{Secret, UserId, Username};
use tonic::{Request, Response, Status};

use crate::accounts::{Accounts, CreateError, NewAccount};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    accounts: Arc<Accounts>,
}

impl Users {
    /// Over this core's accounts.
    pub(crate) fn new(accounts: Arc<Accounts>) -> Self {
        Self { accounts }
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
        let result = match self.accounts.create(account).await {
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
        let searched = self.accounts.find_access(&request.into_inner().id).await;
        let searched = searched.map_err(|why| Status::unavailable(why.reason))?;
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
