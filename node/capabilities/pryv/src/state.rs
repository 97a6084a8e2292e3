//! What every handler has at hand.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use homecore_http::context::ClientAddress;
use homecore_http::rate::{Rate, RateKey};
use homecore_http::{ApiError, Context};
use homecore_kernel::Kernel;
use homecore_kernel::ports::Platform;
use homecore_types::Entropy;

use crate::settings::{Settings, SettingsSource};

/// Shared by all handlers of this capability. Every layer that a request goes through clones it, so there
/// is one count and not one for each part.
#[derive(Clone, Debug)]
pub(crate) struct State(Arc<Parts>);

/// What a [`State`] has.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) context: Arc<Context>,
    pub(crate) kernel: Kernel,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) settings: Arc<dyn SettingsSource>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Parts> for State {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl State {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.0.settings.settings()
    }

    /// Base URL of this core, ending in `/`.
    pub(crate) fn own_url(&self) -> String {
        self.platform.this_core().url
    }

    pub(crate) fn limit(&self, rate: Rate, client: ClientAddress) -> Result<(), ApiError> {
        self.context.rates.take(rate, RateKey::client(client.0))
    }
}

impl FromRef<State> for Arc<Context> {
    fn from_ref(state: &State) -> Self {
        Self::clone(&state.context)
    }
}
