//! Configuration: precedence, and every problem at once with its key.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use homecore_kernel::settings::DeletionMode;
use homecore_kernel::shared_secret::SharedSecretSettings;

use super::layers::{LoadError, merge};
use super::{Answers, Config, render};

fn load(text: &str, environment: &[(&str, &str)], set: &[&str]) -> Result<Config, LoadError> {
    let environment: BTreeMap<String, String> = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
    merge(
        Some((Path::new("test.toml"), text.to_owned())),
        &environment,
        &set,
    )
}

fn keys(result: Result<Config, LoadError>) -> Vec<String> {
    match result {
        Err(LoadError::Problems(problems)) => problems.into_iter().map(|p| p.key).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

const MINIMAL: &str = "[core]\nid = \"core-a\"\nurl = \"http://127.0.0.1:3000\"\n";

#[test]
fn defaults_are_complete() {
    let config = load(MINIMAL, &[], &[]).unwrap();
    assert_eq!(config.core.url, "http://127.0.0.1:3000/");
    assert_eq!(config.http.listen[0].to_string(), "127.0.0.1:3000");
    assert_eq!(config.cluster.advertise, "127.0.0.1:4002");
    assert!(!config.dns.active && !config.cluster.found);
    assert_eq!(config.cluster.snapshot_every, 10_000);
    assert_eq!(config.core.free_min_bytes, None);
}

#[test]
fn what_must_be_free_is_in_megabytes() {
    let free = |text: &str| load(MINIMAL, &[], &[&format!("core.free_min_mb={text}")]);
    assert_eq!(free("2").unwrap().core.free_min_bytes, Some(2 << 20));
    assert_eq!(keys(free("0")), ["core.free_min_mb"]);
}

#[test]
fn snapshots_may_be_frequent_but_not_endless() {
    let every = |text: &str| load(MINIMAL, &[], &[&format!("cluster.snapshot_every={text}")]);
    assert_eq!(every("100").unwrap().cluster.snapshot_every, 100);
    for refused in ["99", "0", "-1", "many"] {
        assert_eq!(
            keys(every(refused)),
            ["cluster.snapshot_every"],
            "{refused}"
        );
    }
}

#[test]
fn the_audit_log_is_on_and_its_filters_are_ids_of_methods() {
    let config = load(MINIMAL, &[], &[]).unwrap();
    assert!(config.audit.active && config.audit.include.is_empty());
    let text = format!("{MINIMAL}[audit]\nactive = false\nexclude = [\"events.all\"]\n");
    let config = load(&text, &[], &[]).unwrap();
    assert!(!config.audit.active);
    assert_eq!(config.audit.exclude.len(), 1);
    let text = format!("{MINIMAL}[audit]\ninclude = [\"events/get\"]\n");
    assert_eq!(keys(load(&text, &[], &[])), ["audit.include"]);
}

#[test]
fn shared_secrets_have_bounds() {
    let secrets = load(MINIMAL, &[], &[]).unwrap().shared_secrets;
    assert_eq!(secrets, SharedSecretSettings::default());
    let text = format!("{MINIMAL}[shared_secrets]\nactive = false\nmax_ttl_seconds = 60\n");
    let secrets = load(&text, &[], &[]).unwrap().shared_secrets;
    assert!(!secrets.active && secrets.ttl_max == Duration::from_secs(60));
    let text = format!("{MINIMAL}[shared_secrets]\nmax_size_bytes = 1000000\n");
    assert_eq!(
        keys(load(&text, &[], &[])),
        ["shared_secrets.max_size_bytes"]
    );
}

#[test]
fn uses_of_accesses_are_tracked_unless_switched_off() {
    assert!(load(MINIMAL, &[], &[]).unwrap().access_tracking.active);
    let text = format!("{MINIMAL}[access_tracking]\nactive = false\n");
    assert!(!load(&text, &[], &[]).unwrap().access_tracking.active);
}

#[test]
fn what_is_kept_of_changes_is_said_in_words() {
    let config = load(MINIMAL, &[], &[]).unwrap();
    assert!(!config.versioning.force_keep_history && !config.updates.ignore_protected_fields);
    assert_eq!(config.versioning.deletion_mode, DeletionMode::KeepNothing);
    let text = format!(
        "{MINIMAL}[versioning]\nforce_keep_history = true\ndeletion_mode = \"keep-authors\"\n\
         [updates]\nignore_protected_fields = true\n"
    );
    let config = load(&text, &[], &[]).unwrap();
    assert!(config.versioning.force_keep_history && config.updates.ignore_protected_fields);
    assert_eq!(config.versioning.deletion_mode, DeletionMode::KeepAuthors);
    let wrong = [
        "versioning.deletion_mode=keep",
        "updates.ignore_protected_fields=2",
    ];
    assert_eq!(
        keys(load(MINIMAL, &[], &wrong)),
        [
            "updates.ignore_protected_fields",
            "versioning.deletion_mode"
        ]
    );
}

#[test]
fn previews_are_kept_for_a_week_unless_told_otherwise() {
    let week = Duration::from_secs(7 * 24 * 3_600);
    let previews = load(MINIMAL, &[], &[]).unwrap().previews;
    assert!(previews.listen.is_empty());
    assert_eq!(
        (previews.kept.max_age, previews.kept.bytes_max),
        (week, 4 << 30)
    );
    let text = format!(
        "{MINIMAL}[previews]\nlisten = [\"127.0.0.1:3001\"]\nmax_age_s = 60\nmax_size_mb = 2\n"
    );
    let previews = load(&text, &[], &[]).unwrap().previews;
    assert_eq!(previews.listen[0].port(), 3001);
    assert_eq!(previews.kept.max_age, Duration::from_secs(60));
    assert_eq!(previews.kept.bytes_max, 2 << 20);
    let wrong = [
        "previews.listen=nowhere",
        "previews.max_age_s=1",
        "previews.max_size_mb=0",
        "previews.maxage=1",
    ];
    let mut found = keys(load(MINIMAL, &[], &wrong));
    found.sort();
    assert_eq!(
        found,
        [
            "previews.listen",
            "previews.max_age_s",
            "previews.max_size_mb",
            "previews.maxage"
        ]
    );
}

#[test]
fn flags_beat_the_environment_and_that_the_file() {
    let file = format!("{MINIMAL}[dns]\nttl_s = 1\n");
    let environment = [
        ("HOMECORE__DNS__TTL_S", "2"),
        ("HOMECORE__HTTP__LISTEN", "0.0.0.0:80"),
    ];
    let config = load(&file, &environment, &[]).unwrap();
    assert_eq!((config.dns.ttl_s, config.http.listen[0].port()), (2, 80));
    assert_eq!(
        load(&file, &environment, &["dns.ttl_s=3"])
            .unwrap()
            .dns
            .ttl_s,
        3
    );
}

#[test]
fn every_problem_is_named_at_once() {
    let file = "[core]\nid = \"Core A\"\nipv4 = [\"1.2.3\"]\nurl = \"ftp://x\"\n[htpp]\nlisten = 3\n\
                [http]\nlisen = []\nlisten = [\"nowhere\"]\n[dns]\nactive = true\nttl_s = 0\n\
                [auth]\nadmin_access_key = \"short\"\n[log]\nlevel = \"loud\"\nformat = 3\n";
    let found = keys(load(file, &[("HOMECORE__X__Y", "1")], &["nonsense"]));
    for key in [
        "--set",
        "core.id",
        "core.ipv4",
        "core.url",
        "htpp",
        "http.lisen",
        "http.listen",
        "dns.domain",
        "dns.ttl_s",
        "auth.admin_access_key",
        "log.level",
        "log.format",
        "x",
    ] {
        assert!(
            found.iter().any(|k| k == key),
            "{key} is missing in {found:?}"
        );
    }
}

#[test]
fn a_near_miss_is_suggested() {
    let Err(LoadError::Problems(problems)) =
        load(&format!("{MINIMAL}[http]\nlisen = []\n"), &[], &[])
    else {
        panic!("accepted")
    };
    assert!(
        problems[0].message.contains("did you mean http.listen"),
        "{problems:?}"
    );
}

#[test]
fn what_cannot_work_is_a_problem() {
    for (key, set) in [
        ("dns.domain", "dns.domain=exa_mple.com"),
        ("dns.domain", "dns.domain=-x"),
        ("dns.domain", "dns.domain=x-.example"),
        ("core.data", "core.data=data"),
        ("core.data", "core.data=\"\""),
        ("previews.listen", "previews.listen=127.0.0.1:3000"),
    ] {
        assert_eq!(keys(load(MINIMAL, &[], &[set])), [key], "{set}");
    }
}

#[test]
fn a_problem_says_that_it_comes_from_the_environment() {
    for variable in [
        "HOMECORE__FOO",
        "HOMECORE__HTTP__LISENT",
        "HOMECORE__FOO__BAR",
    ] {
        let Err(LoadError::Problems(problems)) = load(MINIMAL, &[(variable, "x")], &[]) else {
            panic!("accepted")
        };
        let said = problems[0].to_string();
        assert!(
            said.contains(&format!("(from {variable}) is no key")),
            "{said}"
        );
    }
    let set = ["foo=1"];
    let Err(LoadError::Problems(problems)) = load(MINIMAL, &[("HOMECORE__FOO", "x")], &set) else {
        panic!("accepted")
    };
    assert!(!problems[0].to_string().contains("(from"), "{problems:?}");
}

#[test]
fn what_listens_everywhere_must_say_where_it_is() {
    let file = format!("{MINIMAL}[cluster]\nlisten = \"0.0.0.0:4002\"\n");
    assert_eq!(keys(load(&file, &[], &[])), ["cluster.advertise"]);
}

#[test]
fn the_rendered_file_reads_back() {
    let answers = Answers {
        core_id: "core-a".to_owned(),
        data: "/tmp/with \"quotes\"".to_owned(),
        domain: Some("example.com".to_owned()),
        ipv4: vec!["192.0.2.1".to_owned()],
        http_listen: "127.0.0.1:3000".to_owned(),
        rpc_listen: "127.0.0.1:4002".to_owned(),
        dns_listen: vec!["127.0.0.1:5353".to_owned()],
        found: true,
        admin_access_key: Some("0123456789abcdef".to_owned()),
        ..Answers::default()
    };
    let config = load(&render(&answers), &[], &[]).unwrap();
    assert_eq!(config.core.url, "https://core-a.example.com/");
    assert_eq!(config.core.data.to_str(), Some("/tmp/with \"quotes\""));
    assert!(config.cluster.found && config.dns.active);
}

#[test]
fn static_records_and_platform_sections() {
    let file = format!(
        "{MINIMAL}[dns.static.www]\ncname = \"x.example.net\"\n[dns.root]\nmx = [\"5 m.example.net\"]\n\
         caa = [\"0 issue letsencrypt.org\"]\n[hostings.regions.eu]\nname = \"Europe\"\n"
    );
    let config = load(&file, &[], &["invitation_tokens=[\"enjoy\"]"]).unwrap();
    assert_eq!(
        config.dns.statics["www"].cname.as_deref(),
        Some("x.example.net")
    );
    assert_eq!(config.dns.root.mx, [(5, "m.example.net".to_owned())]);
    assert_eq!(config.platform["invitationTokens"], "[\"enjoy\"]");
    assert!(config.platform["hostings"].contains("Europe"));
    let wrong = format!("{MINIMAL}[dns.static.www]\ncnam = \"x\"\n");
    assert_eq!(keys(load(&wrong, &[], &[])), ["dns.static.www.cnam"]);
}

#[test]
fn what_cannot_be_meant_is_a_problem() {
    for (key, text) in [
        ("core.data", "[core]\ndata = \"\""),
        ("core.data", "[core]\ndata = \"${DATA}/x\""),
        ("core.data", "[core]\ndata = \"/tmp/\\u0000\""),
        ("core.hosting", "[core]\nhosting = \"${HOSTING}\""),
        ("core.hosting", "[core]\nhosting = \"\""),
        ("core.cname", "[core]\ncname = \"not a name\""),
        ("http.listen", "[http]\nlisten = []"),
        ("http.listen", "[http]\nlisten = \" , \""),
        ("dns.listen", "[dns]\nlisten = []"),
        ("dns.ns", "[dns]\nns = [\"REPLACE_ME\"]"),
        ("dns.root.txt", "[dns.root]\ntxt = [\"REPLACE_ME\"]"),
        ("dns.root.mx", "[dns.root]\nmx = [\"x\"]"),
        (
            "dns.static.a b",
            "[dns.static.\"a b\"]\na = [\"192.0.2.1\"]",
        ),
        ("dns.static.WWW", "[dns.static.WWW]\na = [\"192.0.2.1\"]"),
        ("auth.trusted_apps", "[auth]\ntrusted_apps = \"x\""),
        ("auth.trusted_apps", "[auth]\ntrusted_apps = \"*@*, x@\""),
        ("auth.trusted_apps", "[auth]\ntrusted_apps = \"\""),
        ("auth.trusted_apps", "[auth]\ntrusted_apps = \"${APPS}\""),
        (
            "auth.default_auth_url",
            "[auth]\ndefault_auth_url = \"https://\"",
        ),
        ("service.name", "[service]\nname = \" \""),
        ("service.serial", "[service]\nserial = \"\""),
        ("service.home", "[service]\nhome = \"example.com\""),
        ("service.terms", "[service]\nterms = \"${TERMS}\""),
        (
            "service.event_types",
            "[service]\nevent_types = \"flat.json\"",
        ),
        ("hostings", "hostings = 1"),
        ("hostings.x", "[hostings]\nx = 1"),
        ("hostings.regions", "[hostings]\nregions = 1"),
        (
            "hostings.regions.eu.name",
            "[hostings.regions.eu]\nname = 1",
        ),
        (
            "hostings.regions.eu.zones.ch.hostings",
            "[hostings.regions.eu.zones.ch]\nhostings = []",
        ),
        ("invitation_tokens", "invitation_tokens = [1]"),
    ] {
        // The top level comes before all sections.
        let minimal = MINIMAL.replacen("[core]\n", "", 1);
        let text = match text.strip_prefix("[core]\n") {
            Some(more) if more.starts_with("data") => {
                let rest: Vec<&str> = minimal.lines().filter(|l| !l.starts_with("data")).collect();
                format!("[core]\n{more}\n{}\n", rest.join("\n"))
            }
            Some(more) => format!("[core]\n{more}\n{minimal}"),
            None if text.starts_with('[') => format!("[core]\n{minimal}\n{text}\n"),
            None => format!("{text}\n[core]\n{minimal}"),
        };
        assert_eq!(keys(load(&text, &[], &[])), [key], "{text}");
    }
}

#[test]
fn a_catalogue_is_a_page_or_a_file() {
    for (text, good) in [
        ("https://example.com/flat.json", true),
        ("file:///etc/homecore/flat.json", true),
        ("file://other.example/flat.json", false),
        ("ftp://example.com/flat.json", false),
        ("flat.json", false),
        ("", false),
    ] {
        let read = crate::config::values::parse_catalogue(text.to_owned());
        assert_eq!(read.is_ok(), good, "{text}");
    }
}
