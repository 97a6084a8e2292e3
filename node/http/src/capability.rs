//! A wire protocol as the router sees it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::context::Context;
use crate::openapi::Routes;

/// A set of routes. The binary holds the list; adding a protocol is one line there.
pub trait Capability: Send + Sync + fmt::Debug + 'static {
    /// For logs.
    fn name(&self) -> &'static str;

    /// First path segments that belong to this capability at the root. They can never be usernames
    /// and no two capabilities may claim the same; `""` is `/` itself.
    fn roots(&self) -> &'static [&'static str];

    /// Routes at the root, with their first segment: `/reg/service/info`.
    fn root_routes(&self, context: &Arc<Context>) -> Routes;

    /// Routes below a user, without the user: `/events`. `/` is the user's own root. Each request
    /// has a [`crate::UserContext`] in its extensions, of a user who lives on this core.
    fn user_routes(&self, context: &Arc<Context>) -> Routes;

    /// The schemas that descriptions of its routes name.
    fn schemas(&self) -> Map<String, Value> {
        Map::new()
    }
}
