//! What the operator decides about the Pryv API, and the URLs that follow from it.
//!
//! The binary supplies a [`SettingsSource`]; it is asked for each request, so a change of the
//! platform's configuration is in force at once. Everything derived (service info, endpoints) is
//! computed from one [`Settings`], never cached beside it (spec/platform §1.3).

use std::fmt;
use std::sync::Arc;

use homecore_types::Secret;
use serde_json::{Map, Value, json};
use url::Url;

/// Where settings come from. Answers from memory.
pub trait SettingsSource: Send + Sync + fmt::Debug + 'static {
    /// The settings now.
    fn settings(&self) -> Arc<Settings>;
}

/// Settings that do not change.
#[derive(Clone, Debug)]
pub struct FixedSettings(pub Arc<Settings>);

impl SettingsSource for FixedSettings {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What service info says of the platform.
    pub service: Service,
    /// How users are addressed.
    pub addressing: Addressing,
    /// Whether this platform can never have a second core (`dnsLess.isActive`); a few answers then
    /// have another form.
    pub single_core: bool,
    /// The tree of `hostings.regions`, if one is configured.
    pub hosting_regions: Option<Map<String, Value>>,
    /// The app directory: objects with an `id`.
    pub apps: Vec<Map<String, Value>>,
    /// Opens `/system` and `/reg/admin`; None closes them.
    pub admin_key: Option<Secret>,
    /// The consent page of access requests.
    pub default_auth_url: Option<String>,
    /// Other consent pages that a request may name, or anything below them.
    pub trusted_auth_urls: Vec<String>,
    /// Who may delete an account.
    pub deletion: AccountDeletion,
}

/// Who may delete an account (`user-account.delete`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountDeletion {
    /// Whoever has the administrators' key.
    pub by_admin: bool,
    /// The person, with a personal access.
    pub by_person: bool,
}

impl Default for AccountDeletion {
    /// Administrators only.
    fn default() -> Self {
        Self {
            by_admin: true,
            by_person: false,
        }
    }
}

/// The `service` block of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Changes whenever anything here changes.
    pub serial: String,
    /// Name of the platform.
    pub name: String,
    /// URL of its home page.
    pub home: String,
    /// URL of its support page.
    pub support: String,
    /// URL of its terms.
    pub terms: String,
    /// URL of its event types.
    pub event_types: String,
    /// `assets`; derived when absent.
    pub assets: Option<Value>,
    /// `features` set by hand.
    pub features: Map<String, Value>,
    /// `adapters`, if any.
    pub adapters: Option<Value>,
}

/// How users and registration are addressed: the three columns of spec/platform §1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// `{username}.{domain}`.
    Domain {
        /// The platform's domain.
        domain: String,
    },
    /// By path below one public URL.
    Path {
        /// The URL.
        public_url: Url,
    },
    /// By path, at URLs that the operator names.
    Explicit {
        /// With `{username}`.
        api: String,
        /// Ends in `/`.
        register: String,
        /// Ends in `/`.
        access: String,
    },
}

impl Addressing {
    /// `service.api`, with the placeholder `{username}`.
    #[must_use]
    pub fn api(&self) -> String {
        match self {
            Self::Domain { domain } => format!("https://{{username}}.{domain}/"),
            Self::Path { public_url } => format!("{}{{username}}/", slashed(public_url.as_str())),
            Self::Explicit { api, .. } => slashed(api),
        }
    }

    /// `service.register`.
    #[must_use]
    pub fn register(&self) -> String {
        match self {
            Self::Domain { domain } => format!("https://reg.{domain}/"),
            Self::Path { public_url } => format!("{}reg/", slashed(public_url.as_str())),
            Self::Explicit { register, .. } => slashed(register),
        }
    }

    /// `service.access`.
    #[must_use]
    pub fn access(&self) -> String {
        match self {
            Self::Domain { domain } => format!("https://access.{domain}/access/"),
            Self::Path { public_url } => format!("{}reg/access/", slashed(public_url.as_str())),
            Self::Explicit { access, .. } => slashed(access),
        }
    }

    /// The domain below which users have names, if they have.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::Domain { domain } => Some(domain),
            Self::Path { .. } | Self::Explicit { .. } => None,
        }
    }

    /// Base URL of a user who lives at `core_url`. Where users are told apart by path the host is
    /// that of the home core: clients follow it and do not know 421 (spec/platform §4.4).
    #[must_use]
    pub fn user_url(&self, core_url: &str, username: &str) -> String {
        let api = self.api();
        let host_names_user = api
            .split_once("://")
            .and_then(|(_, rest)| rest.split('/').next())
            .is_some_and(|host| host.contains("{username}"));
        if host_names_user {
            api.replace("{username}", username)
        } else {
            format!("{}{username}/", slashed(core_url))
        }
    }

    /// The same with a token in its user part: what clients call an API endpoint.
    #[must_use]
    pub fn api_endpoint(&self, core_url: &str, username: &str, token: &Secret) -> String {
        let url = self.user_url(core_url, username);
        match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}@{rest}", token.expose()),
            None => url,
        }
    }
}

impl Settings {
    /// The `service` block with the URLs that follow from the addressing: what a consent page gets
    /// with an access request.
    #[must_use]
    pub fn service_block(&self, core_url: &str) -> Map<String, Value> {
        let service = &self.service;
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("serial", json!(service.serial));
        put("name", json!(service.name));
        put("home", json!(service.home));
        put("support", json!(service.support));
        put("terms", json!(service.terms));
        put("eventTypes", json!(service.event_types));
        let assets = service.assets.clone().or_else(|| {
            let base = match &self.addressing {
                Addressing::Path { public_url } => slashed(public_url.as_str()),
                Addressing::Domain { .. } => slashed(core_url),
                Addressing::Explicit { .. } => return None,
            };
            Some(json!({ "definitions": format!("{base}www/assets/index.json") }))
        });
        if let Some(assets) = assets {
            put("assets", assets);
        }
        if let Some(adapters) = &service.adapters {
            put("adapters", adapters.clone());
        }
        put("api", json!(self.addressing.api()));
        put("register", json!(self.addressing.register()));
        put("access", json!(self.addressing.access()));
        map
    }

    /// The whole service info (spec/pryv-api §2.1), without `meta`.
    #[must_use]
    pub fn service_info(&self, core_url: &str) -> Map<String, Value> {
        let mut map = self.service_block(core_url);
        let mut features = self.service.features.clone();
        for (name, value) in crate::FEATURES {
            if !features.contains_key(*name) {
                features.insert((*name).to_owned(), Value::Bool(*value));
            }
        }
        map.insert("features".to_owned(), Value::Object(features));
        map.insert("version".to_owned(), json!(homecore_http::API_VERSION));
        map
    }

    /// Whether a request's `Authorization` header is the administrator's key, in constant time.
    #[must_use]
    pub fn is_admin(&self, headers: &http::HeaderMap) -> bool {
        let given = headers
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        match (&self.admin_key, given) {
            (Some(key), Some(given)) => !key.expose().is_empty() && key.matches(given),
            _ => false,
        }
    }
}

/// A URL that ends in `/`.
pub(crate) fn slashed(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(url: &str) -> Addressing {
        Addressing::Path {
            public_url: Url::parse(url).unwrap(),
        }
    }

    #[test]
    fn urls_follow_from_the_addressing() {
        let domain = Addressing::Domain {
            domain: "pryv.test".to_owned(),
        };
        let explicit = Addressing::Explicit {
            api: "https://any.test/{username}".to_owned(),
            register: "https://any.test/reg".to_owned(),
            access: "https://any.test/reg/access".to_owned(),
        };
        for (addressing, api, register, access) in [
            (
                path("http://127.0.0.1:3000"),
                "http://127.0.0.1:3000/{username}/",
                "http://127.0.0.1:3000/reg/",
                "http://127.0.0.1:3000/reg/access/",
            ),
            (
                path("https://host.test/prefix/"),
                "https://host.test/prefix/{username}/",
                "https://host.test/prefix/reg/",
                "https://host.test/prefix/reg/access/",
            ),
            (
                domain,
                "https://{username}.pryv.test/",
                "https://reg.pryv.test/",
                "https://access.pryv.test/access/",
            ),
            (
                explicit,
                "https://any.test/{username}/",
                "https://any.test/reg/",
                "https://any.test/reg/access/",
            ),
        ] {
            assert_eq!(addressing.api(), api);
            assert_eq!(addressing.register(), register);
            assert_eq!(addressing.access(), access);
        }
    }

    #[test]
    fn endpoints_lead_to_the_home_core() {
        let token = Secret::new("tok");
        let home = "https://core-b.test/";
        for (addressing, endpoint) in [
            (
                path("https://core-a.test/"),
                "https://tok@core-b.test/alice/",
            ),
            (
                Addressing::Domain {
                    domain: "pryv.test".to_owned(),
                },
                "https://tok@alice.pryv.test/",
            ),
            (
                Addressing::Explicit {
                    api: "http://{username}.local:8080".to_owned(),
                    register: String::new(),
                    access: String::new(),
                },
                "http://tok@alice.local:8080/",
            ),
        ] {
            assert_eq!(addressing.api_endpoint(home, "alice", &token), endpoint);
        }
    }
}
