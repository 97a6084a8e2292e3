//! Configuration: built-in defaults, then the file, then the environment, then `--set`. Typed;
//! every problem is reported at once, each with its key.
//!
//! Three classes of keys: *bootstrap* (needed before the platform store opens), *per core*, and
//! *platform-wide*: of the last the platform store is the authority, the file only seeds it when
//! the cluster is founded, and a difference is logged as `[platform-drift]`.

mod audit;
mod layers;
mod mail;
mod mfa;
mod reader;
mod sections;
mod service;
mod template;
mod values;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use homecore_capability_pryv::AccountDeletion;
use homecore_kernel::account::name;
use homecore_kernel::account::passwords::{self, PasswordPolicy};
use homecore_kernel::preview::PreviewSettings;
use homecore_kernel::settings::DeletionMode;
use homecore_kernel::shared_secret::{self, SharedSecretSettings};
use homecore_raft::records::CoreAddresses;
use homecore_types::{CoreId, Secret, limits};

pub(crate) use audit::{AuditConfig, OnUserDelete, SyslogAddress, SyslogConfig};
#[cfg(test)]
pub(crate) use audit::{Facility, Severity, TEMPLATE as SYSLOG_TEMPLATE};
pub(crate) use layers::{LoadError, Sources, default_path, load};
pub(crate) use mail::{Delivery, MailConfig, Security, SmtpConfig};
pub(crate) use mfa::{Endpoint, MfaConfig, MfaMode};
pub(crate) use reader::Problem;
pub(crate) use sections::{brought as brought_section, check as check_section};
pub(crate) use service::{AppsConfig, ServiceConfig};
pub(crate) use template::{Answers, render};
use values::{
    check_apart, parse_caa, parse_engine, parse_folder, parse_hosting, parse_ip, parse_mx,
    parse_page, parse_socket, parse_zone,
};
pub(crate) use values::{parse_domain, parse_host_port, parse_url};

/// Everything that configures one core.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// This core.
    pub(crate) core: CoreConfig,
    /// HTTP listener.
    pub(crate) http: HttpConfig,
    /// Other cores.
    pub(crate) cluster: ClusterConfig,
    /// Names.
    pub(crate) dns: DnsConfig,
    /// Logins and administrators.
    pub(crate) auth: AuthConfig,
    /// Mails to people.
    pub(crate) mail: MailConfig,
    /// Addresses that an account may have.
    pub(crate) emails_max: usize,
    /// Second factors of log-ins.
    pub(crate) mfa: MfaConfig,
    /// What service info says, key by key, where the platform says nothing of it.
    pub(crate) service: ServiceConfig,
    /// Which apps are trusted and where people sign in, where the platform says nothing of it.
    pub(crate) apps: AppsConfig,
    /// What stays of events that change or go.
    pub(crate) versioning: VersioningConfig,
    pub(crate) audit: AuditConfig,
    pub(crate) access_tracking: AccessTrackingConfig,
    pub(crate) shared_secrets: SharedSecretSettings,
    /// How changes are taken.
    pub(crate) updates: UpdatesConfig,
    pub(crate) previews: PreviewsConfig,
    /// What the file says of platform-wide sections, as JSON texts.
    pub(crate) platform: BTreeMap<String, String>,
    /// Logs.
    pub(crate) log: Logging,
}

/// `[core]`.
#[derive(Clone, Debug)]
pub(crate) struct CoreConfig {
    pub(crate) id: CoreId,
    pub(crate) data: PathBuf,
    /// Users' writes are refused where less is free; none: by the size of the disk.
    pub(crate) free_min_bytes: Option<u64>,
    pub(crate) url: String,
    pub(crate) ipv4: Vec<Ipv4Addr>,
    pub(crate) ipv6: Vec<Ipv6Addr>,
    pub(crate) cname: Option<String>,
    pub(crate) hosting: Option<String>,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub(crate) struct HttpConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) trust_forwarded: bool,
    pub(crate) rate_limits: bool,
    /// Bytes of one file in a form.
    pub(crate) upload_bytes_max: u64,
}

/// `[cluster]`.
#[derive(Clone, Debug)]
pub(crate) struct ClusterConfig {
    pub(crate) found: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: String,
    pub(crate) engine: homecore_raft::engine::EngineKind,
    pub(crate) join_secret: Option<Secret>,
    pub(crate) dead_after: Duration,
    /// Platform entries between snapshots.
    pub(crate) snapshot_every: u64,
}

/// `[dns]`.
#[derive(Clone, Debug)]
pub(crate) struct DnsConfig {
    pub(crate) active: bool,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) domain: Option<String>,
    pub(crate) ttl_s: u32,
    pub(crate) ns: Vec<String>,
    pub(crate) admin: Option<String>,
    pub(crate) root: RecordsConfig,
    pub(crate) statics: BTreeMap<String, RecordsConfig>,
    pub(crate) rrl_per_second: u32,
}

/// Records of one name in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordsConfig {
    pub(crate) a: Vec<Ipv4Addr>,
    pub(crate) aaaa: Vec<Ipv6Addr>,
    pub(crate) cname: Option<String>,
    pub(crate) txt: Vec<String>,
    pub(crate) mx: Vec<(u16, String)>,
    pub(crate) caa: Vec<(u8, String, String)>,
}

/// `[auth]`, but for what is in [`AppsConfig`].
#[derive(Clone, Debug)]
pub(crate) struct AuthConfig {
    /// Only the founder's counts: the platform store keeps it, sealed.
    pub(crate) admin_access_key: Option<Secret>,
    pub(crate) session_max_age: Duration,
    pub(crate) passwords: PasswordPolicy,
    /// How long a token to reset a password works.
    pub(crate) reset_max_age: Duration,
    /// The page where people set a new password.
    pub(crate) reset_page: Option<String>,
    /// The page where people prove an address.
    pub(crate) verification_page: Option<String>,
    /// How often a person may change the name.
    pub(crate) username_changes_max: u32,
    /// Who may delete an account.
    pub(crate) deletion: AccountDeletion,
}

/// `[versioning]`.
#[derive(Clone, Debug)]
pub(crate) struct VersioningConfig {
    pub(crate) force_keep_history: bool,
    pub(crate) deletion_mode: DeletionMode,
}

/// `[access_tracking]`.
#[derive(Clone, Debug)]
pub(crate) struct AccessTrackingConfig {
    pub(crate) active: bool,
}

/// `[updates]`.
#[derive(Clone, Debug)]
pub(crate) struct UpdatesConfig {
    pub(crate) ignore_protected_fields: bool,
}

/// `[previews]`.
#[derive(Clone, Debug)]
pub(crate) struct PreviewsConfig {
    /// Listeners that have previews where the original has them; none: only those of `[http]`.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) kept: PreviewSettings,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub(crate) struct Logging {
    pub(crate) format: LogFormat,
    pub(crate) level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Config {
    /// Seeds of the platform store.
    pub(crate) fn seeds(&self) -> Result<BTreeMap<String, String>, serde_json::Error> {
        sections::seeds(self)
    }

    /// Where this core says it can be reached.
    pub(crate) fn addresses(&self) -> CoreAddresses {
        CoreAddresses {
            rpc: self.cluster.advertise.clone(),
            url: self.core.url.clone(),
            ipv4: self.core.ipv4.clone(),
            ipv6: self.core.ipv6.clone(),
            cname: self.core.cname.clone(),
            hosting: self.core.hosting.clone(),
        }
    }
}

/// Reads a merged table. All problems, or the configuration.
fn read(table: toml::Table) -> Result<Config, Vec<Problem>> {
    let mut root = reader::Reader::new(table);
    let dns = read_dns(&mut root);
    let core = read_core(&mut root, dns.domain.as_deref());
    let cluster = read_cluster(&mut root);
    let auth = read_auth(&mut root);
    let shared = sections::read(&mut root);
    let config = Config {
        http: read_http(&mut root),
        mail: mail::read(&mut root, &core.url, &auth),
        emails_max: read_emails_max(&mut root),
        auth,
        mfa: mfa::read(&mut root),
        service: shared.service,
        apps: shared.apps,
        versioning: read_versioning(&mut root),
        audit: audit::read(&mut root),
        access_tracking: read_access_tracking(&mut root),
        shared_secrets: read_shared_secrets(&mut root),
        updates: read_updates(&mut root),
        previews: read_previews(&mut root),
        platform: shared.sections,
        log: read_log(&mut root),
        core,
        cluster,
        dns,
    };
    if config.dns.active && config.dns.domain.is_none() {
        root.problem("dns.domain", "is needed where dns.active is true");
    }
    check_apart(&mut root, &config.http.listen, &config.previews.listen);
    root.finish()?;
    Ok(config)
}

fn read_core(root: &mut reader::Reader, domain: Option<&str>) -> CoreConfig {
    let mut section = root.section("core");
    let id: CoreId = section
        .required("id", CoreId::parse)
        .unwrap_or_else(placeholder_core);
    let data = section
        .parsed("data", parse_folder)
        .unwrap_or_else(|| "/var/lib/homecore".to_owned());
    let url = match (section.parsed("url", parse_url), domain) {
        (Some(url), _) => url,
        (None, Some(domain)) => format!("https://{id}.{domain}/"),
        (None, None) => {
            if !section.mentions("url") {
                section.problem("url", "is needed where dns.domain is not set: the address at which apps reach this core, such as https://core-a.example.com/");
            }
            String::new()
        }
    };
    CoreConfig {
        id,
        data: PathBuf::from(data),
        free_min_bytes: section
            .number("free_min_mb", 1, 100_000_000)
            .map(|mb| u64::from(mb) * 1024 * 1024),
        url,
        ipv4: section.list("ipv4", parse_ip),
        ipv6: section.list("ipv6", parse_ip),
        cname: section.parsed("cname", parse_domain),
        hosting: section.parsed("hosting", parse_hosting),
    }
}

fn read_http(root: &mut reader::Reader) -> HttpConfig {
    let upload_mb = root
        .section("uploads")
        .number("max_size_mb", 1, 1_000_000)
        .unwrap_or(50);
    let mut section = root.section("http");
    let listen = read_listen(&mut section, 3000);
    HttpConfig {
        listen,
        trust_forwarded: section.boolean("trust_forwarded").unwrap_or(false),
        rate_limits: section.boolean("rate_limits").unwrap_or(true),
        upload_bytes_max: u64::from(upload_mb) * 1024 * 1024,
    }
}

/// Where something listens; without the key, on this machine alone.
fn read_listen(section: &mut reader::Section<'_>, port: u16) -> Vec<SocketAddr> {
    if !section.mentions("listen") {
        return vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    }
    if section.is_empty("listen") {
        section.problem(
            "listen",
            "names no address: give at least one, such as [\"127.0.0.1:3000\"]",
        );
    }
    section.list("listen", parse_socket)
}

fn read_cluster(root: &mut reader::Reader) -> ClusterConfig {
    let mut section = root.section("cluster");
    let listen = section
        .parsed("listen", parse_socket)
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 4002)));
    let advertise = section
        .parsed("advertise", parse_host_port)
        .unwrap_or_else(|| listen.to_string());
    if listen.ip().is_unspecified() && !section.mentions("advertise") {
        section.problem("advertise", "is needed where cluster.listen is 0.0.0.0 or [::]: the host:port at which other cores reach this one");
    }
    let secret_file = section.text("join_secret_file");
    let join_secret = secret_file.and_then(|path| match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 16 => Some(Secret::new(text.trim())),
        Ok(_) => {
            section.problem(
                "join_secret_file",
                "holds fewer than 16 characters; make one with `openssl rand -hex 32`",
            );
            None
        }
        Err(error) => {
            section.problem(
                "join_secret_file",
                &format!("cannot be read: {path}: {error}"),
            );
            None
        }
    });
    let engine = section
        .parsed("engine", parse_engine)
        .unwrap_or(homecore_raft::engine::EngineKind::Redb);
    ClusterConfig {
        found: section.boolean("found").unwrap_or(false),
        listen,
        advertise,
        engine,
        join_secret,
        dead_after: Duration::from_secs(u64::from(
            section.number("dead_after_s", 5, 86_400).unwrap_or(60),
        )),
        snapshot_every: u64::from(
            section
                .number("snapshot_every", 100, 100_000_000)
                .unwrap_or(10_000),
        ),
    }
}

fn read_dns(root: &mut reader::Reader) -> DnsConfig {
    let mut section = root.section("dns");
    let listen = read_listen(&mut section, 5353);
    DnsConfig {
        active: section.boolean("active").unwrap_or(false),
        listen,
        domain: section.parsed("domain", parse_zone),
        ttl_s: section.number("ttl_s", 1, 604_800).unwrap_or(300),
        ns: section.list("ns", parse_domain),
        admin: section.text("admin"),
        root: section.table("root").map(read_records).unwrap_or_default(),
        statics: read_statics(&mut section),
        rrl_per_second: section
            .number("rrl_per_second", 0, 1_000_000)
            .unwrap_or(200),
    }
}

fn read_statics(section: &mut reader::Section<'_>) -> BTreeMap<String, RecordsConfig> {
    let statics: BTreeMap<String, RecordsConfig> =
        section.tables("static", read_records).into_iter().collect();
    for name in statics.keys() {
        if parse_domain(name.clone()).as_ref() != Ok(name) {
            section.problem(
                &format!("static.{name}"),
                "is not a name below the domain, in lower case, such as www or mail.eu",
            );
        }
    }
    statics
}

fn read_records(mut section: reader::Section<'_>) -> RecordsConfig {
    RecordsConfig {
        a: section.list("a", parse_ip),
        aaaa: section.list("aaaa", parse_ip),
        cname: section.parsed("cname", parse_domain),
        txt: section.list("txt", |text: String| Ok::<_, String>(text)),
        mx: section.list("mx", parse_mx),
        caa: section.list("caa", parse_caa),
    }
}

fn read_auth(root: &mut reader::Reader) -> AuthConfig {
    let deletion = read_deletion(root);
    let mut section = root.section("auth");
    let in_file = section.text("admin_access_key_file").and_then(|path| {
        std::fs::read_to_string(&path)
            .map_err(|error| {
                section.problem(
                    "admin_access_key_file",
                    &format!("cannot be read: {path}: {error}"),
                );
            })
            .ok()
    });
    let key = section
        .text("admin_access_key")
        .or(in_file)
        .map(|key| key.trim().to_owned());
    if key.as_ref().is_some_and(|key| key.len() < 16) {
        section.problem("admin_access_key", "must have at least 16 characters");
    }
    AuthConfig {
        admin_access_key: key.map(Secret::new),
        session_max_age: Duration::from_secs(u64::from(
            section
                .number("session_max_age_s", 60, 315_360_000)
                .unwrap_or(14 * 24 * 3_600),
        )),
        passwords: read_passwords(&mut section),
        reset_max_age: section
            .number("password_reset_request_max_age_s", 60, 604_800)
            .map_or(limits::PASSWORD_RESET_MAX_AGE, |seconds| {
                Duration::from_secs(u64::from(seconds))
            }),
        reset_page: section.parsed("password_reset_page_url", parse_page),
        verification_page: section.parsed("email_verification_page_url", parse_page),
        username_changes_max: section
            .number("username_change_limit", 0, 100)
            .unwrap_or(name::CHANGES_MAX),
        deletion,
    }
}

/// What is asked of passwords; 0 asks nothing.
fn read_passwords(section: &mut reader::Section<'_>) -> PasswordPolicy {
    let mut number = |key: &str, most: usize| {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let read = section.number(key, 0, most).unwrap_or(0);
        usize::try_from(read).unwrap_or_default()
    };
    let policy = PasswordPolicy {
        chars_min: number("password_complexity_min_length", *passwords::CHARS.end()),
        categories_min: number("password_complexity_min_char_categories", 4),
        history: number(
            "password_prevent_reuse_history_length",
            passwords::HISTORY_MAX,
        ),
        ..PasswordPolicy::default()
    };
    let mut days = |key: &str| {
        let days = section.number(key, 0, 36_500).filter(|days| *days > 0)?;
        Some(Duration::from_secs(u64::from(days) * 24 * 3_600))
    };
    let policy = PasswordPolicy {
        age_max: days("password_age_max_days"),
        age_min: days("password_age_min_days"),
        ..policy
    };
    let both = policy.age_max.zip(policy.age_min);
    if both.is_some_and(|(max, min)| min >= max) {
        section.problem(
            "password_age_min_days",
            "must be less than password_age_max_days",
        );
    }
    policy
}

fn read_deletion(root: &mut reader::Reader) -> AccountDeletion {
    let mut section = root.section("user_account");
    if !section.mentions("delete") {
        return AccountDeletion::default();
    }
    let by = section.list("delete", |name: String| match name.as_str() {
        "adminToken" => Ok(true),
        "personalToken" => Ok(false),
        _ => Err("must be adminToken or personalToken"),
    });
    AccountDeletion {
        by_admin: by.contains(&true),
        by_person: by.contains(&false),
    }
}

fn read_versioning(root: &mut reader::Reader) -> VersioningConfig {
    let mut section = root.section("versioning");
    VersioningConfig {
        force_keep_history: section.boolean("force_keep_history").unwrap_or(false),
        deletion_mode: section
            .parsed("deletion_mode", |mode| mode.parse())
            .unwrap_or_default(),
    }
}

fn read_emails_max(root: &mut reader::Reader) -> usize {
    let most = u32::try_from(limits::EMAILS_MAX).unwrap_or(u32::MAX);
    let read = root.section("account").number("max_emails", 1, most);
    read.and_then(|read| usize::try_from(read).ok())
        .unwrap_or(5)
}

fn read_access_tracking(root: &mut reader::Reader) -> AccessTrackingConfig {
    let mut section = root.section("access_tracking");
    AccessTrackingConfig {
        active: section.boolean("active").unwrap_or(true),
    }
}

fn read_shared_secrets(root: &mut reader::Reader) -> SharedSecretSettings {
    let mut section = root.section("shared_secrets");
    let default = SharedSecretSettings::default();
    let size = section.number("max_size_bytes", 1, shared_secret::SIZE_BYTES_LIMIT);
    let ttl = section.number("max_ttl_seconds", 1, u32::MAX);
    SharedSecretSettings {
        active: section.boolean("active").unwrap_or(default.active),
        size_bytes_max: size
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(default.size_bytes_max),
        ttl_max: ttl.map_or(default.ttl_max, |seconds| {
            Duration::from_secs(seconds.into())
        }),
    }
}

fn read_updates(root: &mut reader::Reader) -> UpdatesConfig {
    let mut section = root.section("updates");
    UpdatesConfig {
        ignore_protected_fields: section.boolean("ignore_protected_fields").unwrap_or(false),
    }
}

fn read_previews(root: &mut reader::Reader) -> PreviewsConfig {
    let mut section = root.section("previews");
    let default = PreviewSettings::default();
    let max_age = section.number("max_age_s", 60, 315_360_000);
    let max_size_mb = section.number("max_size_mb", 1, 1_000_000_000);
    PreviewsConfig {
        listen: section.list("listen", parse_socket),
        kept: PreviewSettings {
            max_age: max_age.map_or(default.max_age, |age| Duration::from_secs(u64::from(age))),
            bytes_max: max_size_mb.map_or(default.bytes_max, |mb| u64::from(mb) * 1024 * 1024),
        },
    }
}

fn read_log(root: &mut reader::Reader) -> Logging {
    let mut section = root.section("log");
    Logging {
        format: section
            .parsed("format", |text: String| match text.as_str() {
                "auto" => Ok(LogFormat::Auto),
                "json" => Ok(LogFormat::Json),
                "text" => Ok(LogFormat::Text),
                _ => Err("must be auto, json or text"),
            })
            .unwrap_or(LogFormat::Auto),
        level: section
            .parsed("level", |text: String| {
                if ["error", "warn", "info", "debug", "trace"].contains(&text.as_str()) {
                    Ok(text)
                } else {
                    Err("must be error, warn, info, debug or trace")
                }
            })
            .unwrap_or_else(|| "info".to_owned()),
    }
}

/// Stands in for an id that was reported as a problem already.
#[expect(clippy::expect_used, reason = "a constant of ours")]
fn placeholder_core() -> CoreId {
    CoreId::parse("unset").expect("a valid constant")
}

#[cfg(test)]
mod tests;
