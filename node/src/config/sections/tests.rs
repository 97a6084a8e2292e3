//! What a file says of the whole platform, and what the platform takes.

use std::path::Path;

use super::super::layers::merge;
use super::*;
use crate::config::Config;

fn load(text: &str, set: &[&str]) -> Config {
    let text = format!("[core]\nid = \"core-a\"\nurl = \"http://127.0.0.1:3000\"\n{text}");
    let set: Vec<String> = set.iter().map(|pair| (*pair).to_owned()).collect();
    let file = Some((Path::new("test.toml"), text));
    merge(file, &BTreeMap::new(), &set).unwrap()
}

#[test]
fn a_file_that_says_nothing_of_a_section_has_none() {
    for text in [
        "",
        "[service]\n",
        "[auth]\nadmin_access_key = \"0123456789abcdef\"\nsession_max_age_s = 60\n",
    ] {
        assert!(load(text, &[]).platform.is_empty(), "{text}");
    }
}

#[test]
fn a_section_is_whole_and_holds_no_secret() {
    let text = "[service]\nname = \"Ours\"\n[auth]\nadmin_access_key = \"0123456789abcdef\"\n\
                default_auth_url = \"https://example.com/in\"\n";
    let config = load(text, &[]);
    let service = ServiceConfig::parse(&config.platform["service"], &ServiceConfig::default());
    assert_eq!(service, (config.service, Vec::new()));
    // The default of today stays the cluster's, whatever a later version's is.
    assert!(config.platform["service"].contains("\"serial\":\"2026112201\""));
    let apps = &config.platform["auth"];
    let parsed = AppsConfig::parse(apps, &AppsConfig::default());
    assert_eq!(parsed, (config.apps, Vec::new()));
    assert!(!apps.contains("0123456789abcdef"), "{apps}");
    assert!(check("service", &config.platform["service"]).is_ok());
    assert!(check("auth", apps).is_ok());
}

#[test]
fn a_list_is_the_same_however_it_is_written() {
    let text = "[auth]\ntrusted_auth_urls = [\"https://a.example/\", \"https://b.example/\"]\n";
    let set = ["auth.trusted_auth_urls=https://a.example/, https://b.example/"];
    assert_eq!(load(text, &[]).platform, load("", &set).platform);
}

#[test]
fn the_platform_takes_what_a_file_may_say_and_names_what_it_does_not() {
    for (name, text) in [
        ("hostings", r#"{"regions":{"eu":{"name":"Europe"}}}"#),
        ("invitationTokens", r#"["enjoy"]"#),
        ("service", "{}"),
        ("service", r#"{"serial":"7"}"#),
        ("auth", r#"{"trusted_apps":"a@*"}"#),
    ] {
        assert_eq!(check(name, text), Ok(()), "{name}: {text}");
    }
    for (name, text, key) in [
        ("hostings", r#"{"regions":1}"#, "hostings.regions"),
        ("hostings", r#"{"zones":{}}"#, "hostings.zones"),
        ("hostings", "{", "hostings"),
        ("invitationTokens", r#"[1]"#, "invitation_tokens"),
        ("invitationTokens", r#"{"a":"b"}"#, "invitation_tokens"),
        ("custom", r#"{"systemStreams":1}"#, "custom.systemStreams"),
        ("service", r#"{"home":"nowhere"}"#, "service.home"),
        ("service", r#"{"serial":7}"#, "service.serial"),
        ("service", r#"{"nme":"x"}"#, "service.nme"),
        ("service", "null", "service"),
        (
            "auth",
            r#"{"default_auth_url":"ftp://x"}"#,
            "auth.default_auth_url",
        ),
        (
            "auth",
            r#"{"trusted_auth_urls":["x"]}"#,
            "auth.trusted_auth_urls",
        ),
        ("auth", r#"{"trusted_apps":"x"}"#, "auth.trusted_apps"),
        (
            "auth",
            r#"{"admin_access_key":"0123456789abcdef"}"#,
            "auth.admin_access_key",
        ),
        ("mailTemplates", "{}", "mailTemplates"),
    ] {
        let problems = check(name, text).unwrap_err();
        let keys: Vec<&str> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(keys, [key], "{name}: {text}: {problems:?}");
    }
}
