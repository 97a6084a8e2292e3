//! `[audit]`: which calls the audit log has, what becomes of it, and whether and where a system log is told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use homecore_kernel::audit::{InvalidMethodPattern, MethodPattern, noted_methods};

use super::reader::{Reader, Section, nearest};
use super::values::{parse_filled, parse_host_port};

/// What a line is made from, unless the operator says otherwise.
pub(crate) const TEMPLATE: &str = "{userid} {type} createdBy:{createdBy} {streamIds} {content}";

/// `[audit]`.
#[derive(Clone, Debug)]
pub(crate) struct AuditConfig {
    pub(crate) active: bool,
    /// Empty: every method.
    pub(crate) include: Vec<MethodPattern>,
    pub(crate) exclude: Vec<MethodPattern>,
    pub(crate) on_user_delete: OnUserDelete,
    /// A system log that is told of calls, too.
    pub(crate) syslog: Option<SyslogConfig>,
}

/// What becomes of the audit log of a user that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnUserDelete {
    /// It goes with the user.
    Erase,
    /// It stays as a file of this core.
    Keep,
}

/// `[audit.syslog]`.
#[derive(Clone, Debug)]
pub(crate) struct SyslogConfig {
    pub(crate) address: SyslogAddress,
    pub(crate) app_name: String,
    pub(crate) facility: Facility,
    pub(crate) level: Severity,
    /// With `{userid}`, `{type}`, `{createdBy}`, `{streamIds}` and `{content}`.
    pub(crate) template: String,
    /// Empty: every method.
    pub(crate) include: Vec<MethodPattern>,
    pub(crate) exclude: Vec<MethodPattern>,
}

/// Where a system log listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyslogAddress {
    /// A datagram socket of this machine.
    Unix(PathBuf),
    /// `host:port`, over UDP.
    Udp(String),
}

/// Which kind of program speaks (RFC 5424, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facility(pub(crate) u8);

/// How serious a line is (RFC 5424, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Severity(pub(crate) u8);

/// The usual names, in the order of their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "error", "warning", "notice", "info", "debug",
];

fn number(names: &[&str], text: &str) -> Result<u8, String> {
    let place = names.iter().position(|name| *name == text);
    place
        .and_then(|place| u8::try_from(place).ok())
        .ok_or_else(|| format!("{text:?} is none of {}", names.join(", ")))
}

impl FromStr for Facility {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        number(&FACILITIES, text).map(Self)
    }
}

impl FromStr for Severity {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        number(&SEVERITIES, text).map(Self)
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(to) => write!(f, "udp:{to}"),
        }
    }
}

/// Reads the section.
pub(super) fn read(root: &mut Reader) -> AuditConfig {
    let mut section = root.section("audit");
    AuditConfig {
        active: section.boolean("active").unwrap_or(true),
        include: section.list("include", parse_method),
        exclude: section.list("exclude", parse_method),
        on_user_delete: section
            .parsed("on_user_delete", |text: String| match text.as_str() {
                "erase" => Ok(OnUserDelete::Erase),
                "keep" => Ok(OnUserDelete::Keep),
                _ => Err("must be erase or keep"),
            })
            .unwrap_or(OnUserDelete::Erase),
        syslog: read_syslog(&mut section),
    }
}

/// Reads the section below `[audit]`; none where no line is written.
fn read_syslog(audit: &mut Section<'_>) -> Option<SyslogConfig> {
    let mut section = audit.table("syslog")?;
    let address = section.required("address", parse_address);
    let config = SyslogConfig {
        address: SyslogAddress::Udp(String::new()),
        app_name: section
            .parsed("app_name", parse_app_name)
            .unwrap_or_else(|| "homecore-audit".to_owned()),
        facility: section
            .parsed("facility", |text| text.parse())
            .unwrap_or(Facility(16)),
        level: section
            .parsed("level", |text| text.parse())
            .unwrap_or(Severity(5)),
        template: section
            .parsed("template", parse_template)
            .unwrap_or_else(|| TEMPLATE.to_owned()),
        include: section.list("include", parse_method),
        exclude: section.list("exclude", parse_method),
    };
    Some(SyslogConfig {
        address: address?,
        ..config
    })
}

/// A name that no method has would switch off more, or less, than is meant.
fn parse_method(name: String) -> Result<MethodPattern, String> {
    let pattern: MethodPattern = name
        .parse()
        .map_err(|error: InvalidMethodPattern| format!("{name:?} {error}"))?;
    if pattern.is_of_the_log() {
        return Ok(pattern);
    }
    let said = format!("the audit log has no method {name}");
    Err(match nearest(&name, noted_methods()) {
        Some(near) => format!("{said}; did you mean {near}?"),
        None => said,
    })
}

fn parse_address(text: String) -> Result<SyslogAddress, String> {
    let bad = || {
        format!("{text:?} is not unix:/path/of/a/socket or udp:host:port, such as unix:/dev/log")
    };
    match text.split_once(':').ok_or_else(bad)? {
        ("unix", path) if path.starts_with('/') => Ok(SyslogAddress::Unix(PathBuf::from(path))),
        ("udp", to) => parse_host_port(to.to_owned())
            .map(SyslogAddress::Udp)
            .map_err(|_form| bad()),
        _ => Err(bad()),
    }
}

/// RFC 5424: at most 48 printable characters of ASCII.
fn parse_app_name(text: String) -> Result<String, &'static str> {
    let good = (1..=48).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if good {
        Ok(text)
    } else {
        Err("must be 1 to 48 printable ASCII characters without spaces")
    }
}

fn parse_template(text: String) -> Result<String, String> {
    let text = parse_filled(text)?;
    let known = ["userid", "type", "createdBy", "streamIds", "content"];
    for piece in text.split('{').skip(1) {
        let name = piece.split_once('}').map(|(name, _)| name);
        if !name.is_some_and(|name| known.contains(&name)) {
            return Err(format!(
                "{{{piece} is no placeholder: there are {{{}}}",
                known.join("}, {")
            ));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
