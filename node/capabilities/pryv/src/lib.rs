//! The Pryv API: registration, look-ups, access requests and administration at the root; log-in,
//! streams, events and batch calls below a user.
//!
//! It translates and owns no data: what concerns a user is asked of the kernel, what concerns the
//! platform of its port ([`homecore_kernel::ports::Platform`]).

mod access_request;
mod accesses;
mod account;
mod admin;
mod apps;
mod assets;
mod attachments;
mod batch;
mod caller;
mod create_user;
mod greeting;
mod inspection;
mod items;
mod lookup;
mod mfa;
mod previews;
mod profile;
mod records;
mod registration;
mod reserved;
mod reset;
mod routes;
mod session;
pub mod settings;
mod shared_secrets;
mod state;
mod streams;
mod user_info;

use std::sync::Arc;

use homecore_http::openapi::{Outline, Routes};
use homecore_http::{Capability, Context};
use homecore_kernel::Kernel;
use homecore_kernel::ports::Platform;
use homecore_types::Entropy;
use serde_json::{Map, Value};

pub use previews::Previews;
pub use settings::{AccountDeletion, Addressing, FixedSettings, Service, Settings, SettingsSource};

/// What this implementation says of itself in service info, unless the operator says otherwise.
pub(crate) const FEATURES: &[(&str, bool)] = &[("noHF", true), ("contentQueries", true)];

/// The items of answers as JSON Schema.
const SCHEMAS: &str = include_str!("schemas.json");

fn schemas() -> Map<String, Value> {
    // The tests of the document fail if this cannot be read.
    serde_json::from_str(SCHEMAS).unwrap_or_default()
}

/// What the routes are, for the document without a core.
#[must_use]
pub fn outline() -> Outline {
    Outline {
        schemas: schemas(),
        ..routes::outline()
    }
}

/// The Pryv API as a [`Capability`].
#[derive(Clone, Debug)]
pub struct Pryv {
    kernel: Kernel,
    platform: Arc<dyn Platform>,
    settings: Arc<dyn SettingsSource>,
    entropy: Arc<dyn Entropy>,
}

impl Pryv {
    /// The API over a core's users and the platform.
    #[must_use]
    pub fn new(
        kernel: Kernel,
        platform: Arc<dyn Platform>,
        settings: Arc<dyn SettingsSource>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            kernel,
            platform,
            settings,
            entropy,
        }
    }

    fn state(&self, context: &Arc<Context>) -> state::State {
        state::State::from(state::Parts {
            context: Arc::clone(context),
            kernel: self.kernel.clone(),
            platform: Arc::clone(&self.platform),
            settings: Arc::clone(&self.settings),
            entropy: Arc::clone(&self.entropy),
        })
    }
}

impl Capability for Pryv {
    fn name(&self) -> &'static str {
        "pryv"
    }

    fn roots(&self) -> &'static [&'static str] {
        routes::ROOTS
    }

    fn root_routes(&self, context: &Arc<Context>) -> Routes {
        routes::root(self.state(context))
    }

    fn user_routes(&self, context: &Arc<Context>) -> Routes {
        let limits = account::Limits(Arc::clone(&context.rates));
        self.kernel.limit_calls(Arc::new(limits));
        let own = account::OwnNames(Arc::clone(&context.site));
        self.kernel.reserve_names(Arc::new(own));
        routes::user(self.state(context))
    }

    fn schemas(&self) -> Map<String, Value> {
        schemas()
    }
}
