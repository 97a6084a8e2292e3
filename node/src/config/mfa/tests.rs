//! What `[mfa]` may say.

use std::collections::BTreeMap;
use std::path::Path;

use super::MfaMode;
use crate::config::Config;
use crate::config::layers::{LoadError, merge};

fn load(mfa: &str) -> Result<Config, LoadError> {
    let core = "[core]\nid = \"core-a\"\nurl = \"http://127.0.0.1:3000\"\n";
    let text = format!("{core}[mfa]\n{mfa}\n");
    merge(Some((Path::new("test.toml"), text)), &BTreeMap::new(), &[])
}

fn keys(mfa: &str) -> Vec<String> {
    match load(mfa) {
        Err(LoadError::Problems(problems)) => problems.into_iter().map(|p| p.key).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

#[test]
fn no_code_is_asked_for_unless_the_operator_wants_it() {
    let mfa = load("").unwrap().mfa;
    assert!(matches!(mfa.mode, MfaMode::Disabled));
    assert_eq!(mfa.session_max_age.as_secs(), 1_800);
}

#[test]
fn providers_are_read() {
    let text = "mode = \"challenge-verify\"\nsession_ttl_s = 60\n\
        [mfa.challenge]\nurl = \"https://sms.example.com/{{ phone }}/send?x={{y}}\"\nmethod = \"PUT\"\n\
        headers = [\"Authorization: Bearer sms-key\"]\nbody = '{\"to\":\"{{ phone }}\"}'\n\
        [mfa.verify]\nurl = \"https://sms.example.com/check\"\n";
    let mfa = load(text).unwrap().mfa;
    let shown = format!("{mfa:?}");
    assert!(!shown.contains("sms-key"), "{shown}");
    let MfaMode::ChallengeVerify { challenge, verify } = mfa.mode else {
        panic!("{shown}");
    };
    assert_eq!(challenge.method, reqwest::Method::PUT);
    assert_eq!(challenge.headers[0].0, "authorization");
    assert_eq!(challenge.headers[0].1.expose(), "Bearer sms-key");
    assert_eq!(verify.method, reqwest::Method::POST);
    assert_eq!(mfa.session_max_age.as_secs(), 60);
}

#[test]
fn what_cannot_be_meant_is_a_problem() {
    let single = "mode = \"single\"\n[mfa.single]\n";
    let url = "url = \"https://sms.example.com/\"";
    for (key, text) in [
        ("mfa.mode", "mode = \"sms\"".to_owned()),
        ("mfa.session_ttl_s", "session_ttl_s = 1".to_owned()),
        ("mfa.single", "mode = \"single\"".to_owned()),
        (
            "mfa.verify",
            format!("mode = \"challenge-verify\"\n[mfa.challenge]\n{url}"),
        ),
        ("mfa.single.url", single.to_owned()),
        (
            "mfa.single.url",
            format!("{single}url = \"sms.example.com\""),
        ),
        (
            "mfa.single.url",
            format!("{single}url = \"ftp://sms.example.com\""),
        ),
        (
            "mfa.single.url",
            format!("{single}url = \"https://{{{{ host }}}}/x\""),
        ),
        (
            "mfa.single.url",
            format!("{single}url = \"https://a.example:{{{{ port }}}}/x\""),
        ),
        (
            "mfa.single.url",
            format!("{single}url = \"https://a.example/{{{{ open\""),
        ),
        (
            "mfa.single.method",
            format!("{single}{url}\nmethod = \"DELETE\""),
        ),
        (
            "mfa.single.headers",
            format!("{single}{url}\nheaders = [\"no header\"]"),
        ),
        ("mfa.single.body", format!("{single}{url}\nbody = \"\"")),
        ("mfa.single.boddy", format!("{single}{url}\nboddy = \"\"")),
    ] {
        assert_eq!(keys(&text), [key], "{text}");
    }
}
