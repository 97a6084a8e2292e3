//! The list of protocols that this binary speaks, and what each is given. A new protocol is a crate
//! under `capabilities/`, a workspace member, and a line in [`list`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use homecore_capability_pryv::{Addressing, Previews, Pryv, Service, Settings, SettingsSource};
use homecore_http::openapi::Outline;
use homecore_http::{Capability, Context, Limits, RateLimits, Site, SiteFacts};
use homecore_kernel::attachment::token::ReadTokenKey;
use homecore_kernel::audit::{AuditSettings, MethodSet};
use homecore_kernel::stream::schema::{Schema, SchemaSource};
use homecore_kernel::trust::TrustedAppsSource;
use homecore_kernel::{Kernel, ports};
use homecore_raft::directory::Directory;
use homecore_raft::records::PlatformConfig;
use homecore_types::limits;
use url::Url;

use crate::cluster::Cluster;
use crate::config::{AppsConfig, Config, ServiceConfig};
use crate::live::{self, Live};

/// Requests under way get this long when the core stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What the listeners of a core speak.
#[derive(Debug)]
pub(crate) struct Capabilities {
    /// Every protocol of this binary.
    pub(crate) all: Vec<Arc<dyn Capability>>,
    /// What `previews.listen` has.
    pub(crate) previews: Arc<dyn Capability>,
}

/// Every protocol of this binary.
pub(crate) fn list(
    config: &Config,
    cluster: &Arc<Cluster>,
    kernel: Kernel,
    platform: Arc<dyn ports::Platform>,
) -> anyhow::Result<Capabilities> {
    let settings = Arc::new(LiveSettings::new(config, Arc::clone(cluster))?);
    let pryv = Pryv::new(kernel, platform, settings, Arc::clone(&cluster.entropy));
    Ok(Capabilities {
        previews: Arc::new(Previews(pryv.clone())),
        all: vec![Arc::new(pryv)],
    })
}

/// What their routes are, without a core: the same list.
pub(crate) fn outlines() -> Vec<Outline> {
    vec![homecore_capability_pryv::outline()]
}

/// The kernel's settings.
pub(crate) fn kernel_settings(
    config: &Config,
    cluster: &Arc<Cluster>,
) -> homecore_kernel::Settings {
    let trusted_apps = live::trusted_apps(config, cluster);
    let account_schema = account_schema(cluster);
    // Sealed in the platform store, which a joining core does not have from its first moment.
    let (cluster, known) = (Arc::clone(cluster), OnceLock::new());
    let read_token_key = ReadTokenKey::new(move || {
        if known.get().is_none()
            && let Ok(secrets) = cluster.secrets()
        {
            known.get_or_init(|| secrets.files_read_token_secret);
        }
        known.get().cloned()
    });
    homecore_kernel::Settings {
        account_schema,
        session_max_age: config.auth.session_max_age,
        reset_max_age: config.auth.reset_max_age,
        mfa_max_age: config.mfa.session_max_age,
        trusted_apps: TrustedAppsSource::new(move || trusted_apps.get()),
        keep_history: config.versioning.force_keep_history,
        deletion_mode: config.versioning.deletion_mode,
        ignore_protected_fields: config.updates.ignore_protected_fields,
        track_accesses: config.access_tracking.active,
        read_token_key,
        audit: AuditSettings {
            active: config.audit.active,
            include: Some(MethodSet::new(config.audit.include.iter().cloned()))
                .filter(|set| !set.is_empty()),
            exclude: MethodSet::new(config.audit.exclude.iter().cloned()),
        },
        passwords: config.auth.passwords.clone(),
        shared_secrets: config.shared_secrets,
        previews: config.previews.kept,
        emails_max: config.emails_max,
        username_changes_max: config.auth.username_changes_max,
    }
}

/// The streams of accounts, as the platform declares them now.
fn account_schema(cluster: &Arc<Cluster>) -> SchemaSource {
    let cluster = Arc::clone(cluster);
    let built: ArcSwapOption<(u64, Option<String>, Arc<Schema>)> = ArcSwapOption::empty();
    // Of a version that there never is: nothing is taken that was checked by it.
    let unknown = Arc::new(Schema::without_fields().of_version(u64::MAX));
    SchemaSource::new(move || {
        let directory = cluster.directory();
        let Some(config) = directory.config() else {
            return Arc::clone(&unknown);
        };
        let version = config.fields_version;
        let section = config.sections.get(PlatformConfig::FIELDS);
        if let Some(built) = &*built.load()
            && (built.0, built.1.as_ref()) == (version, section)
        {
            return Arc::clone(&built.2);
        }
        let schema = read_schema(section, version).unwrap_or_else(|error| {
            // A newer release checked it before the platform took it. What this core has is of another
            // version: the platform takes no fields that were checked by it.
            tracing::error!(%error, "this release cannot read what the platform declares of account fields: nobody \
                registers here, and no declared field that the platform has changes, until this core has the others' release");
            let built = built.load_full();
            built.map_or_else(|| Arc::clone(&unknown), |built| Arc::clone(&built.2))
        });
        let now = (version, section.cloned(), Arc::clone(&schema));
        built.store(Some(Arc::new(now)));
        schema
    })
}

fn read_schema(section: Option<&String>, version: u64) -> anyhow::Result<Arc<Schema>> {
    let custom = section.map_or(Ok(serde_json::json!({})), |text| serde_json::from_str(text))?;
    Ok(Arc::new(Schema::parse(&custom)?.of_version(version)))
}

/// What every protocol shares.
pub(crate) fn context(
    config: &Config,
    cluster: &Arc<Cluster>,
    directory: Arc<dyn ports::Directory>,
) -> Context {
    let site = Arc::new(LiveSite {
        cluster: Arc::clone(cluster),
        domain: config.dns.domain.clone(),
        service: live::service(config, cluster),
        static_labels: config.dns.statics.keys().cloned().collect(),
        built: ArcSwapOption::empty(),
    });
    let bounds = Limits {
        forwarded_hops: usize::from(config.http.trust_forwarded),
        drain_timeout: DRAIN_TIMEOUT,
        upload_bytes_max: config.http.upload_bytes_max,
        // A body is no larger than files may be; where these may be large, it still is in memory.
        body_bytes_max: usize::try_from(config.http.upload_bytes_max)
            .unwrap_or(usize::MAX)
            .min(limits::BODY_BYTES_MAX),
        ..Limits::default()
    };
    let rates = if config.http.rate_limits {
        RateLimits::new(Arc::clone(&cluster.clock), RateLimits::default_rules())
    } else {
        RateLimits::disabled(Arc::clone(&cluster.clock))
    };
    Context::new(site, directory, Arc::clone(&cluster.clock), bounds, rates)
}

/// The platform's names, rebuilt when cores, records or the configuration changed.
#[derive(Debug)]
struct LiveSite {
    cluster: Arc<Cluster>,
    domain: Option<String>,
    service: Live<ServiceConfig>,
    static_labels: std::collections::BTreeSet<String>,
    /// With the generation of names and the version of the configuration.
    built: ArcSwapOption<((u64, u64), Arc<SiteFacts>)>,
}

impl Site for LiveSite {
    fn facts(&self) -> Arc<SiteFacts> {
        let directory = self.cluster.directory();
        let version = directory.config().map_or(0, |config| config.version);
        let generation = (directory.dns_generation(), version);
        if let Some(built) = &*self.built.load()
            && built.0 == generation
        {
            return Arc::clone(&built.1);
        }
        let mut static_labels = self.static_labels.clone();
        static_labels.extend(directory.dns().map(|(label, _)| label.to_owned()));
        let facts = Arc::new(SiteFacts {
            // A core that joined need not have been told.
            domain: directory
                .config()
                .and_then(|config| config.domain.clone())
                .or_else(|| self.domain.clone()),
            core: self.cluster.core.to_string(),
            cores: directory.cores().map(|core| core.id.to_string()).collect(),
            static_labels,
            serial: self.service.get().serial.clone(),
        });
        self.built
            .store(Some(Arc::new((generation, Arc::clone(&facts)))));
        facts
    }
}

/// The Pryv API's settings: the file's, with what the platform is the authority of.
#[derive(Debug)]
struct LiveSettings {
    cluster: Arc<Cluster>,
    base: Settings,
    service: Live<ServiceConfig>,
    apps: Live<AppsConfig>,
    built: ArcSwapOption<(u64, Arc<Settings>)>,
}

impl LiveSettings {
    fn new(config: &Config, cluster: Arc<Cluster>) -> anyhow::Result<Self> {
        Ok(Self {
            base: base_settings(config)?,
            service: live::service(config, &cluster),
            apps: live::apps(config, &cluster),
            cluster,
            built: ArcSwapOption::empty(),
        })
    }

    fn build(&self, directory: &Directory) -> Settings {
        let (service, apps) = (self.service.get(), self.apps.get());
        let mut settings = Settings {
            service: Service {
                serial: service.serial.clone(),
                name: service.name.clone(),
                home: service.home.clone(),
                support: service.support.clone(),
                terms: service.terms.clone(),
                event_types: service.event_types.clone(),
                ..Service::default()
            },
            default_auth_url: Some(apps.default_auth_url.clone()).filter(|url| !url.is_empty()),
            trusted_auth_urls: apps.trusted_auth_urls.clone(),
            ..self.base.clone()
        };
        match self.cluster.secrets() {
            Ok(secrets) => settings.admin_key = Some(secrets.admin_access_key),
            Err(error) => tracing::debug!(%error, "no administrators' key yet"),
        }
        settings.hosting_regions = directory
            .config()
            .and_then(|config| config.sections.get("hostings"))
            .and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok())
            .and_then(|tree| tree.get("regions")?.as_object().cloned());
        settings
    }
}

impl SettingsSource for LiveSettings {
    fn settings(&self) -> Arc<Settings> {
        let directory = self.cluster.directory();
        let version = directory.config().map_or(0, |config| config.version);
        if let Some(built) = &*self.built.load()
            && built.0 == version
            && built.1.admin_key.is_some()
        {
            return Arc::clone(&built.1);
        }
        let settings = Arc::new(self.build(&directory));
        self.built
            .store(Some(Arc::new((version, Arc::clone(&settings)))));
        settings
    }
}

fn base_settings(config: &Config) -> anyhow::Result<Settings> {
    let derived = config
        .dns
        .domain
        .as_ref()
        .map(|domain| format!("https://{}.{domain}/", config.core.id));
    // A core with a URL of its own is addressed by it, whatever names the zone has besides.
    let addressing = match &config.dns.domain {
        Some(domain) if derived.as_ref() == Some(&config.core.url) => Addressing::Domain {
            domain: domain.clone(),
        },
        _ => Addressing::Path {
            public_url: Url::parse(&config.core.url).context("core.url")?,
        },
    };
    Ok(Settings {
        service: Service::default(),
        addressing,
        single_core: false,
        hosting_regions: None,
        apps: Vec::new(),
        admin_key: None,
        default_auth_url: None,
        trusted_auth_urls: Vec::new(),
        deletion: config.auth.deletion,
    })
}
