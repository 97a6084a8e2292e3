//! What a file says of the whole platform, and what the platform takes.

use std::path::Path;

use super::super::layers::merge;
use super::*;

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
fn a_section_holds_what_the_file_says_and_no_secret() {
    let text = "[service]\nname = \"Ours\"\n[auth]\nadmin_access_key = \"0123456789abcdef\"\n\
                default_auth_url = \"https://example.com/in\"\n";
    let config = load(text, &[]);
    assert_eq!(config.platform["service"], r#"{"name":"Ours"}"#);
    assert_eq!(
        config.platform["auth"],
        r#"{"default_auth_url":"https://example.com/in"}"#
    );
}

#[test]
fn a_founder_gives_every_key_and_no_secret() {
    let text = "[service]\nname = \"Ours\"\n[auth]\nadmin_access_key = \"0123456789abcdef\"\n\
                [hostings.regions.eu]\nname = \"Europe\"\n";
    for text in [text, ""] {
        let config = load(text, &[]);
        let seeds = config.seeds().unwrap();
        assert_eq!(seeds.get("hostings"), config.platform.get("hostings"));
        // Another file, or a later version's default, adds nothing to it.
        let strange = ServiceConfig {
            serial: "strange".to_owned(),
            ..ServiceConfig::default()
        };
        let service = ServiceConfig::parse(&seeds["service"], &strange);
        assert_eq!(service, (config.service, Vec::new()));
        let strange = AppsConfig {
            trusted_apps: "strange@*".to_owned(),
            default_auth_url: "https://example.com/strange".to_owned(),
            trusted_auth_urls: vec!["https://example.com/strange".to_owned()],
        };
        let apps = AppsConfig::parse(&seeds["auth"], &strange);
        assert_eq!(apps, (config.apps, Vec::new()));
        for (name, text) in &seeds {
            assert_eq!(check(name, text), Ok(()), "{name}: {text}");
            assert!(!text.contains("0123456789abcdef"), "{text}");
        }
    }
}

#[test]
fn what_a_file_does_not_say_stays_as_the_platform_has_it() {
    let after = |name, there: Option<&str>, said| {
        let there = there.map(str::to_owned);
        brought(name, there.as_ref(), said).unwrap()
    };
    // One key, also of a later version, stays whatever another becomes.
    let there = r#"{"colour":null,"trusted_apps":"ours@*"}"#;
    let said = r#"{"default_auth_url":"https://example.com/in"}"#;
    let both =
        r#"{"colour":null,"default_auth_url":"https://example.com/in","trusted_apps":"ours@*"}"#;
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(&after("auth", Some(there), said).unwrap()), json(both));
    assert_eq!(after("auth", Some(both), said), None);
    assert_eq!(after("auth", None, said).as_deref(), Some(said));
    // The others are whole, and the same however they are written.
    let there = r#"{"regions": {"eu": {"zones": {}, "name": "Europe"}}}"#;
    let same = r#"{"regions":{"eu":{"name":"Europe","zones":{}}}}"#;
    assert_eq!(after("hostings", Some(there), same), None);
    assert_eq!(after("hostings", Some(there), "{}").as_deref(), Some("{}"));
    assert_eq!(after("custom", None, "{}").as_deref(), Some("{}"));
    // What cannot be read is not replaced by a part.
    assert!(brought("auth", Some(&"[]".to_owned()), said).is_err());
}

#[test]
fn a_page_where_people_sign_in_can_be_taken_back() {
    let config = load("[auth]\ndefault_auth_url = \"\"\n", &[]);
    assert_eq!(config.platform["auth"], r#"{"default_auth_url":""}"#);
    let had = AppsConfig {
        default_auth_url: "https://example.com/in".to_owned(),
        ..AppsConfig::default()
    };
    let (apps, problems) = AppsConfig::parse(&config.platform["auth"], &had);
    assert_eq!((apps, problems), (AppsConfig::default(), Vec::new()));
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
