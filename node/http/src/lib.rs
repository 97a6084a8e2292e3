//! What every wire protocol of a core shares: the listener and its bounds, CORS, host and path
//! routing, the one place that knows where a user lives, tokens, bodies, query parameters, rate
//! limits and the error envelope.
//!
//! A protocol is a [`Capability`]: routes at the root (`/reg/…`) and routes below a user
//! (`/{username}/…`). [`App`] puts the capabilities together and is the whole request path, in one
//! readable function; [`Server`] carries it to sockets.
//!
//! **Invariant:** nothing below `/{username}` is reached but through [`owner`]: a user of another
//! core is answered 421, an unknown one 404, and a platform that cannot say which 503.

pub mod app;
pub mod body;
pub mod capability;
pub mod context;
pub mod cors;
pub mod credentials;
pub mod error;
pub mod form;
pub mod health;
mod inflate;
mod json_text;
pub mod metrics;
pub mod multipart;
pub mod openapi;
pub mod owner;
pub mod query;
pub mod range;
pub mod rate;
pub mod server;
pub mod site;
pub mod stream;
mod unread;
pub mod upload;

pub use app::{App, AppError};
pub use body::{JsonBody, Unread};
pub use capability::Capability;
pub use context::{API_VERSION, Context, Limits};
pub use credentials::Credentials;
pub use error::ApiError;
pub use health::{Health, Readiness};
pub use metrics::HttpMetrics;
pub use owner::UserContext;
pub use query::{Kind, Query};
pub use rate::{Rate, RateLimits, RateRule};
pub use server::{Server, ServerError};
pub use site::{Site, SiteFacts};
