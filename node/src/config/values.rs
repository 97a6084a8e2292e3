//! What a value of the configuration may be.

use std::net::{IpAddr, SocketAddr};

use toml::Value;
use url::Url;

use super::reader::{Problem, Reader, wrong_type};

pub(super) fn parse_ip<T: std::str::FromStr + Into<IpAddr>>(text: String) -> Result<T, String> {
    text.parse()
        .map_err(|_form| format!("{text:?} is not an IP address of this family"))
}

pub(super) fn parse_socket(text: String) -> Result<SocketAddr, String> {
    text.parse().map_err(|_form| {
        format!("{text:?} is not an address and port such as 0.0.0.0:3000 or [::]:3000")
    })
}

/// A host and a port.
pub(crate) fn parse_host_port(text: String) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text),
        _ => Err(format!("{text:?} is not host:port")),
    }
}

pub(super) fn parse_engine(
    text: String,
) -> Result<homecore_raft::engine::EngineKind, &'static str> {
    match text.as_str() {
        "sled" => Ok(homecore_raft::engine::EngineKind::Sled),
        "redb" => Ok(homecore_raft::engine::EngineKind::Redb),
        _ => Err("must be sled or redb"),
    }
}

/// The base URL of a core, made to end in `/`.
pub(crate) fn parse_url(text: String) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest)
            if !rest.is_empty()
                && !rest.starts_with('/')
                && !rest.contains(['?', '#', '@', ' ']) =>
        {
            Ok(if text.ends_with('/') {
                text
            } else {
                format!("{text}/")
            })
        }
        _ => Err(format!(
            "{text:?} is not an http(s) URL without user, query and fragment"
        )),
    }
}

/// The URL of a page, kept as it is written.
pub(super) fn parse_page(text: String) -> Result<String, String> {
    let web = Url::parse(&text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if web {
        Ok(text)
    } else {
        Err(format!(
            "{text:?} is not an http(s) URL such as https://example.com/"
        ))
    }
}

/// A page, or an empty text where there is none.
pub(super) fn parse_page_or_none(text: String) -> Result<String, String> {
    if text.is_empty() {
        return Ok(text);
    }
    parse_page(text)
}

/// The URL of a catalogue of event types: a page, or a file of this machine.
pub(super) fn parse_catalogue(text: String) -> Result<String, String> {
    let local =
        Url::parse(&text).is_ok_and(|url| url.scheme() == "file" && url.to_file_path().is_ok());
    if local { Ok(text) } else { parse_page(text) }
}

/// A text for people or programs that must not be empty.
pub(super) fn parse_filled(text: String) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        Err("must not be empty")
    } else {
        Ok(text)
    }
}

/// A folder, whatever the process is started in: commands find the core by it, too.
pub(super) fn parse_folder(text: String) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text)
    } else {
        Err(format!(
            "{text:?} is not the whole path of a folder, such as /var/lib/homecore"
        ))
    }
}

/// Whatever listens for previews alone needs an address of its own.
pub(super) fn check_apart(root: &mut Reader, http: &[SocketAddr], previews: &[SocketAddr]) {
    if let Some(same) = previews.iter().find(|address| http.contains(address)) {
        root.problem(
            "previews.listen",
            &format!("{same} is in http.listen too, which serves previews already: leave it out"),
        );
    }
}

/// The key of a hosting, as registrations name it.
pub(super) fn parse_hosting(text: String) -> Result<String, String> {
    let good = (1..=100).contains(&text.len()) && !text.contains(char::is_whitespace);
    if good {
        Ok(text)
    } else {
        Err(format!(
            "{text:?} is not the key of a hosting: 1 to 100 characters without spaces"
        ))
    }
}

/// Which apps may log users in from where; kept as it is written.
pub(super) fn parse_trusted_apps(text: String) -> Result<String, String> {
    let entries = || {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
    };
    if entries().next().is_none() {
        return Err("lists no app: nobody could log in; *@* trusts every app".to_owned());
    }
    let half = |entry: &&str| {
        entry
            .split_once('@')
            .is_none_or(|(app, origin)| app.trim().is_empty() || origin.trim().is_empty())
    };
    match entries().find(half) {
        None => Ok(text),
        Some(entry) => Err(format!(
            "{entry:?} is not of the form appId@origin, such as *@https://*.example.com"
        )),
    }
}

/// `[hostings]`: regions with zones with hostings, as apps are shown them. Each may have further
/// fields, which are for people.
pub(super) fn check_hostings(value: &Value) -> Result<(), Problem> {
    let top = table("hostings", value)?;
    match top.iter().find(|(key, _)| *key != "regions") {
        Some((other, _)) => Err(Problem {
            key: format!("hostings.{other}"),
            message: "is no key of homecore; did you mean hostings.regions?".to_owned(),
        }),
        None => match top.get("regions") {
            Some(regions) => check_tree("hostings.regions", regions, &["zones", "hostings"]),
            None => Ok(()),
        },
    }
}

/// Checks that a value is a table of tables, and so is what each of them has under the next name.
fn check_tree(path: &str, value: &Value, below: &[&str]) -> Result<(), Problem> {
    for (key, value) in table(path, value)? {
        let path = format!("{path}.{key}");
        let member = table(&path, value)?;
        if let Some(name) = member.get("name").filter(|name| !name.is_str()) {
            return Err(wrong_type(&format!("{path}.name"), "a text", name));
        }
        if let Some((next, rest)) = below.split_first()
            && let Some(inner) = member.get(*next)
        {
            check_tree(&format!("{path}.{next}"), inner, rest)?;
        }
    }
    Ok(())
}

/// `invitation_tokens`: a list of texts.
pub(super) fn check_tokens(value: &Value) -> Result<(), Problem> {
    let is_list = value.as_array().is_some_and(|items| {
        let mut texts = items.iter().map(|item| item.as_str());
        texts.all(|text| text.is_some_and(|text| !text.is_empty()))
    });
    if is_list {
        Ok(())
    } else {
        Err(wrong_type("invitation_tokens", "a list of texts", value))
    }
}

/// Checks the declaration of account streams.
pub(super) fn check_custom(value: &Value) -> Result<(), Problem> {
    let of = |message: String| Problem {
        key: "custom".to_owned(),
        message,
    };
    let json = serde_json::to_value(value).map_err(|error| of(error.to_string()))?;
    match homecore_kernel::stream::schema::Schema::parse(&json) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem {
            key: error.at,
            message: error.problem,
        }),
    }
}

fn table<'a>(key: &str, value: &'a Value) -> Result<&'a toml::Table, Problem> {
    value
        .as_table()
        .ok_or_else(|| wrong_type(key, "a section", value))
}

/// A domain name, without the final dot.
pub(crate) fn parse_domain(text: String) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_lowercase();
    let good = name.len() <= 253
        && !name.is_empty()
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        });
    if good {
        Ok(name)
    } else {
        Err(format!("{text:?} is not a domain name"))
    }
}

/// The domain below which people have host names: those have no underscore (RFC 1123, 2.1).
pub(super) fn parse_zone(text: String) -> Result<String, String> {
    if text.contains('_') {
        return Err(format!(
            "{text:?} is not the name of a host: it has an underscore"
        ));
    }
    parse_domain(text)
}

pub(super) fn parse_mx(text: String) -> Result<(u16, String), String> {
    let bad = || format!("{text:?} is not \"priority host\", such as \"10 mail.example.net\"");
    let (priority, host) = text.split_once(' ').ok_or_else(bad)?;
    let priority = priority.parse().map_err(|_form| bad())?;
    Ok((priority, parse_domain(host.trim().to_owned())?))
}

pub(super) fn parse_caa(text: String) -> Result<(u8, String, String), String> {
    let mut parts = text.splitn(3, ' ');
    match (
        parts.next().and_then(|flags| flags.parse().ok()),
        parts.next(),
        parts.next(),
    ) {
        (Some(flags), Some(tag), Some(value)) => {
            Ok((flags, tag.to_owned(), value.trim_matches('"').to_owned()))
        }
        _ => Err(format!("{text:?} is not \"flags tag value\"")),
    }
}
