//! Requests that come twice: once, and once more later, when whoever sent it waits no longer. TCP sends
//! nothing twice, so these stand for callers that try again. Only what consensus says may come again is
//! sent so: whoever asks for a vote.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Layer, Service, ServiceExt as _};

use crate::net::Net;

/// Puts [`Twice`] before the services of one life of a core.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    pub(crate) net: Net,
    /// Ends with this life.
    pub(crate) stop: CancellationToken,
}

impl Layer<Routes> for Again {
    type Service = Twice;

    fn layer(&self, inner: Routes) -> Twice {
        Twice {
            again: self.clone(),
            inner,
        }
    }
}

/// Services that are asked twice now and then.
#[derive(Clone, Debug)]
pub(crate) struct Twice {
    again: Again,
    inner: Routes,
}

impl Service<Request<Body>> for Twice {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, again) = (self.inner.clone(), self.again.clone());
        let asks_for_votes = ["/Vote", "/PreVote"]
            .iter()
            .any(|method| request.uri().path().ends_with(method));
        let after = asks_for_votes.then(|| again.net.again()).flatten();
        let Some(after) = after else {
            return Box::pin(inner.oneshot(request));
        };
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // What arrives in part only comes to nothing, once or twice.
            let body = body.collect().await.unwrap_or_default().to_bytes();
            let copy = |parts| Request::from_parts(parts, Body::new(Full::new(body.clone())));
            let late = inner.clone().oneshot(copy(parts.clone()));
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = again.stop.cancelled() => {}
                    () = sleep(after) => drop(late.await),
                }
            });
            inner.oneshot(copy(parts)).await
        })
    }
}
