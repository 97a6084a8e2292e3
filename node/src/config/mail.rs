//! `[mail]`: whether and how people are written to.

use std::net::IpAddr;
use std::path::PathBuf;

use homecore_types::Secret;
use lettre::message::Mailbox;
use url::{Host, Url};

use super::AuthConfig;
use super::reader::{Reader, Section};
use super::values::{parse_domain, parse_filled};
use crate::adapters::mail::templates;

/// `[mail]`.
#[derive(Clone, Debug)]
pub(crate) struct MailConfig {
    pub(crate) delivery: Delivery,
    /// There where anything is delivered.
    pub(crate) from: Option<Mailbox>,
    /// For people whose language no template has.
    pub(crate) language: String,
    pub(crate) welcome: bool,
    pub(crate) reset_password: bool,
    pub(crate) verify_email: bool,
}

/// Where mails go.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    /// Nowhere: none are written.
    Off,
    /// To the standard output.
    Console,
    /// To a server.
    Smtp(SmtpConfig),
}

/// `mail.smtp_*`.
#[derive(Clone, Debug)]
pub(crate) struct SmtpConfig {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) credentials: Option<(String, Secret)>,
    /// A certificate authority that is trusted beside those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    /// How this core introduces itself.
    pub(crate) hello: String,
}

/// How the conversation with a server is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS after a first word in clear; without it nothing is sent.
    StartTls,
    /// TLS from the beginning.
    Tls,
    /// Not at all.
    None,
}

impl Security {
    const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// Reads the section. `url` is the core's; `auth` has the pages that mails lead to.
pub(super) fn read(root: &mut Reader, url: &str, auth: &AuthConfig) -> MailConfig {
    let mut section = root.section("mail");
    let mode = section
        .parsed("mode", |text: String| match text.as_str() {
            "off" | "console" | "smtp" => Ok(text),
            _ => Err("must be off, console or smtp"),
        })
        .unwrap_or_else(|| "off".to_owned());
    let server = read_server(&mut section, mode == "smtp", url);
    let from = section.parsed("from", |text: String| {
        text.parse::<Mailbox>().map_err(|error| {
            format!("{text:?} is not a mailbox such as \"Platform <noreply@example.com>\": {error}")
        })
    });
    if mode != "off" && from.is_none() && !section.mentions("from") {
        section.problem("from", "is needed where mail.mode is not off");
    }
    if mode == "console" && !url.is_empty() && !is_local(url) {
        section.problem("mode", "console shows tokens to whoever reads the output: only for a core whose core.url is on this machine, such as http://127.0.0.1:3000/");
    }
    let config = MailConfig {
        delivery: match (mode.as_str(), server) {
            ("smtp", Some(server)) => Delivery::Smtp(server),
            ("console", _) => Delivery::Console,
            _ => Delivery::Off,
        },
        from,
        language: section
            .parsed("language", |text: String| templates::language(&text))
            .unwrap_or_else(|| "en".to_owned()),
        welcome: section.boolean("welcome").unwrap_or(true),
        reset_password: section.boolean("reset_password").unwrap_or(true),
        verify_email: section.boolean("verify_email").unwrap_or(false),
    };
    if mode != "off" && config.reset_password && auth.reset_page.is_none() {
        root.problem("auth.password_reset_page_url", "is needed where mail.mode is not off, unless mail.reset_password is false: the page that sets a new password");
    }
    if mode != "off" && config.verify_email && auth.verification_page.is_none() {
        root.problem(
            "auth.email_verification_page_url",
            "is needed where mail.verify_email is true: the page that proves an address",
        );
    }
    config
}

fn read_server(section: &mut Section<'_>, used: bool, url: &str) -> Option<SmtpConfig> {
    let security = section
        .parsed("smtp_security", |text: String| match text.as_str() {
            "starttls" => Ok(Security::StartTls),
            "tls" => Ok(Security::Tls),
            "none" => Ok(Security::None),
            _ => Err("must be starttls, tls or none"),
        })
        .unwrap_or(Security::StartTls);
    let host = section.parsed("smtp_host", parse_server);
    if used && host.is_none() && !section.mentions("smtp_host") {
        section.problem("smtp_host", "is needed where mail.mode is smtp");
    }
    let port = section.number("smtp_port", 1, 65_535);
    let port = port.and_then(|port| u16::try_from(port).ok());
    let credentials = read_credentials(section);
    let local = host.as_deref().is_some_and(is_local_host);
    if credentials.is_some() && security == Security::None && !local {
        section.problem(
            "smtp_security",
            "none would send the password in clear over the network",
        );
    }
    let ca_file = section
        .parsed("smtp_ca_file", parse_filled)
        .map(PathBuf::from);
    if let Some(path) = ca_file.as_ref()
        && let Err(error) = std::fs::metadata(path)
    {
        let shown = path.display();
        section.problem("smtp_ca_file", &format!("cannot be read: {shown}: {error}"));
    }
    let own = Url::parse(url).ok();
    let hello = own.as_ref().and_then(Url::host_str).unwrap_or("localhost");
    Some(SmtpConfig {
        host: host?,
        port: port.unwrap_or_else(|| security.port()),
        security,
        credentials,
        ca_file,
        hello: hello.to_owned(),
    })
}

fn read_credentials(section: &mut Section<'_>) -> Option<(String, Secret)> {
    let user = section.parsed("smtp_user", parse_filled);
    let in_file = section.text("smtp_password_file").and_then(|path| {
        let read = std::fs::read_to_string(&path);
        read.map_err(|error| {
            section.problem(
                "smtp_password_file",
                &format!("cannot be read: {path}: {error}"),
            );
        })
        .ok()
    });
    let password = section.text("smtp_password").or(in_file);
    let password = password.map(|text| Secret::new(text.trim_end_matches(['\r', '\n'])));
    match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (Some(_), None) => {
            if !section.mentions("smtp_password_file") {
                section.problem(
                    "smtp_password",
                    "is needed where smtp_user is set (or smtp_password_file)",
                );
            }
            None
        }
        (None, Some(_)) => {
            if !section.mentions("smtp_user") {
                section.problem("smtp_user", "is needed where a password is set");
            }
            None
        }
    }
}

/// A host name or an IP address.
fn parse_server(text: String) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text);
    }
    parse_domain(text)
}

fn is_local_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_local(url: &str) -> bool {
    let parsed = Url::parse(url);
    parsed.is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    })
}

#[cfg(test)]
mod tests;
