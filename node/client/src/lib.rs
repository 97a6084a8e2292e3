//! The client's side of a homecore cluster. Each user lives on one core; any other core answers a
//! request below `/{username}/` with 421 and the home's address. [`Client`] follows one such answer
//! with the same request, remembers the home, and goes there directly the next time.
//!
//! It is small on purpose: typed where a mistake costs (addresses, tokens, errors), JSON values
//! where the API's objects are meant to be open. The npm module in `js/` behaves the same way.
//!
//! ```no_run
//! # async fn example() -> Result<(), homecore_client::ClientError> {
//! use homecore_client::{Client, Call};
//! use homecore_types::{Secret, Username};
//!
//! let client = Client::new("http://127.0.0.1:3000/")?;
//! let alice = Username::parse("alice").expect("a good name");
//! let user = client.login(&alice, &Secret::new("correct horse"), "my-app").await?;
//! let results = user.api(&[Call::new("streams.get", serde_json::json!({}))]).await?;
//! # Ok(()) }
//! ```

mod client;
mod error;
mod homes;
mod platform;
mod request;
mod user;

pub use client::{Client, ClientBuilder};
pub use error::{ClientError, WireError};
pub use platform::{NewUser, ServiceInfo};
pub use request::{Answer, Request};
pub use reqwest::{Method, StatusCode, header};
pub use url::Url;
pub use user::{Call, UserClient};
