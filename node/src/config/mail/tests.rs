//! What `[mail]` may say.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Delivery, Security, SmtpConfig};
use crate::config::layers::{LoadError, merge};
use crate::config::{Answers, Config, render};

const CORE: &str = "[core]\nid = \"core-a\"\n";
const PAGE: &str = "[auth]\npassword_reset_page_url = \"https://example.com/reset\"\n";

fn load(mail: &str, url: &str, auth: &str) -> Result<Config, LoadError> {
    let text = format!("{CORE}url = \"{url}\"\n{auth}[mail]\n{mail}\n");
    merge(Some((Path::new("test.toml"), text)), &BTreeMap::new(), &[])
}

fn keys(mail: &str, url: &str, auth: &str) -> Vec<String> {
    match load(mail, url, auth) {
        Err(LoadError::Problems(problems)) => problems.into_iter().map(|p| p.key).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

fn server(mail: &str) -> SmtpConfig {
    let mail = format!("mode = \"smtp\"\nfrom = \"a@example.com\"\n{mail}");
    match load(&mail, "https://core-a.example.com", PAGE)
        .unwrap()
        .mail
        .delivery
    {
        Delivery::Smtp(server) => server,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_sent_unless_it_is_asked_for() {
    let mail = load("", "http://127.0.0.1:3000", "").unwrap().mail;
    assert!(matches!(mail.delivery, Delivery::Off));
    assert!(mail.welcome && mail.reset_password && mail.language == "en");
}

#[test]
fn ports_follow_from_the_security() {
    for (text, security, port) in [
        ("", Security::StartTls, 587),
        ("smtp_security = \"tls\"", Security::Tls, 465),
        ("smtp_security = \"none\"", Security::None, 25),
        ("smtp_port = 2525", Security::StartTls, 2525),
    ] {
        let server = server(&format!("smtp_host = \"mail.example.com\"\n{text}"));
        assert_eq!((server.security, server.port), (security, port), "{text}");
        assert_eq!(server.hello, "core-a.example.com");
    }
    let known = server("smtp_host = \"::1\"\nsmtp_user = \"u\"\nsmtp_password = \"p\"");
    assert_eq!(known.credentials.as_ref().unwrap().0, "u");
    assert!(!format!("{known:?}").contains("\"p\""));
}

#[test]
fn what_cannot_be_meant_is_a_problem() {
    let from = "from = \"Platform <noreply@example.com>\"";
    let smtp = format!("mode = \"smtp\"\n{from}\nsmtp_host = \"mail.example.com\"");
    for (key, mail) in [
        ("mail.mode", "mode = \"post\"".to_owned()),
        ("mail.from", "mode = \"console\"".to_owned()),
        (
            "mail.from",
            "mode = \"console\"\nfrom = \"nobody\"".to_owned(),
        ),
        (
            "mail.from",
            "from = \"a@example.com\\r\\nBcc: b@example.com\"".to_owned(),
        ),
        ("mail.smtp_host", format!("mode = \"smtp\"\n{from}")),
        ("mail.smtp_host", "smtp_host = \"not a host\"".to_owned()),
        ("mail.smtp_port", format!("{smtp}\nsmtp_port = 0")),
        (
            "mail.smtp_security",
            format!("{smtp}\nsmtp_security = \"ssl\""),
        ),
        (
            "mail.smtp_security",
            format!("{smtp}\nsmtp_security = \"none\"\nsmtp_user = \"u\"\nsmtp_password = \"p\""),
        ),
        ("mail.smtp_password", format!("{smtp}\nsmtp_user = \"u\"")),
        ("mail.smtp_user", format!("{smtp}\nsmtp_password = \"p\"")),
        (
            "mail.smtp_password_file",
            format!("{smtp}\nsmtp_user = \"u\"\nsmtp_password_file = \"/nowhere/x\""),
        ),
        (
            "mail.smtp_ca_file",
            format!("{smtp}\nsmtp_ca_file = \"/nowhere/x\""),
        ),
        ("mail.language", "language = \"english\"".to_owned()),
        ("mail.welcome", "welcome = \"yes\"".to_owned()),
        ("mail.reset", "reset = true".to_owned()),
    ] {
        assert_eq!(keys(&mail, "http://127.0.0.1:3000", PAGE), [key], "{mail}");
    }
    assert_eq!(keys(&smtp, "http://127.0.0.1:3000", PAGE), [""; 0]);
}

#[test]
fn a_page_is_needed_where_resets_are_sent() {
    let mail = "mode = \"console\"\nfrom = \"a@example.com\"";
    let url = "http://localhost:3000";
    assert_eq!(keys(mail, url, ""), ["auth.password_reset_page_url"]);
    assert_eq!(
        keys(&format!("{mail}\nreset_password = false"), url, ""),
        [""; 0]
    );
    assert_eq!(keys(mail, url, PAGE), [""; 0]);
    let auth =
        "[auth]\npassword_reset_page_url = \"example.com\"\npassword_reset_request_max_age_s = 1\n";
    let found = keys(mail, url, auth);
    assert!(
        found.contains(&"auth.password_reset_page_url".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"auth.password_reset_request_max_age_s".to_owned()),
        "{found:?}"
    );
}

#[test]
fn mails_are_shown_only_on_a_machine_that_serves_itself() {
    let mail = "mode = \"console\"\nfrom = \"a@example.com\"";
    for url in ["https://core-a.example.com", "http://192.0.2.1:3000"] {
        assert_eq!(keys(mail, url, PAGE), ["mail.mode"], "{url}");
    }
    for url in [
        "http://127.0.0.1:3000",
        "http://localhost:3000",
        "http://[::1]:3000",
    ] {
        assert_eq!(keys(mail, url, PAGE), [""; 0], "{url}");
    }
}

#[test]
fn the_rendered_keys_are_known() {
    let answers = Answers {
        core_id: "core-a".to_owned(),
        data: "/tmp/x".to_owned(),
        url: Some("http://127.0.0.1:3000".to_owned()),
        http_listen: "127.0.0.1:3000".to_owned(),
        rpc_listen: "127.0.0.1:4002".to_owned(),
        ..Answers::default()
    };
    let text = render(&answers);
    let (_, mail) = text.split_once("\n[mail]\n").unwrap();
    let (mail, _) = mail.split_once("\n[").unwrap();
    let values: Vec<&str> = mail
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" = "))
        .collect();
    assert!(values.len() > 10);
    let found = keys(&values.join("\n"), "http://127.0.0.1:3000", PAGE);
    // Files that are not there, and what they are for.
    let files = ["mail.smtp_ca_file", "mail.smtp_password_file"];
    assert_eq!(found, files);
}
