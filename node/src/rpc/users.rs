//! Creating, on its home core, the account that another core reserved.

use std::sync::Arc;

use homecore_proto::platform::users_server;
use homecore_proto::platform::{CreateUserReply, CreateUserRequest, Refusal, create_user_reply};
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
            password: Secret::new(request.password),
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
}
