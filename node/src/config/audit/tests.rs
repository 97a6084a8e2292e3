//! What `[audit.syslog]` and its neighbours may say.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::config::layers::{LoadError, merge};

fn load(audit: &str) -> Result<AuditConfig, Vec<String>> {
    let core = "[core]\nid = \"core-a\"\nurl = \"http://127.0.0.1:3000\"\n";
    let text = format!("{core}[audit]\n{audit}\n");
    match merge(Some((Path::new("test.toml"), text)), &BTreeMap::new(), &[]) {
        Ok(config) => Ok(config.audit),
        Err(LoadError::Problems(problems)) => Err(problems.into_iter().map(|p| p.key).collect()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn nothing_is_told_and_nothing_kept_unless_the_operator_wants_it() {
    let audit = load("").unwrap();
    assert!(audit.syslog.is_none());
    assert_eq!(audit.on_user_delete, OnUserDelete::Erase);
}

#[test]
fn sockets_and_filters_are_read() {
    let text = "on_user_delete = \"keep\"\n[audit.syslog]\naddress = \"unix:/dev/log\"\n\
        exclude = [\"events.get\"]\n";
    let audit = load(text).unwrap();
    assert_eq!(audit.on_user_delete, OnUserDelete::Keep);
    let syslog = audit.syslog.unwrap();
    assert_eq!(syslog.address.to_string(), "unix:/dev/log");
    assert_eq!((syslog.facility, syslog.level), (Facility(16), Severity(5)));
    assert_eq!(syslog.exclude.len(), 1);
    let text = "[audit.syslog]\naddress = \"udp:[::1]:514\"\nfacility = \"audit\"\nlevel = \"info\"\n\
        template = \"{type} of {userid}\"\n";
    let syslog = load(text).unwrap().syslog.unwrap();
    assert_eq!(syslog.address, SyslogAddress::Udp("[::1]:514".to_owned()));
    assert_eq!((syslog.facility, syslog.level), (Facility(13), Severity(6)));
}

#[test]
fn what_cannot_be_meant_is_a_problem() {
    let address = "address = \"unix:/dev/log\"";
    for (key, text) in [
        (
            "audit.on_user_delete",
            "on_user_delete = \"maybe\"".to_owned(),
        ),
        (
            "audit.syslog.address",
            "[audit.syslog]\nlevel = \"info\"".to_owned(),
        ),
        (
            "audit.syslog.address",
            "[audit.syslog]\naddress = \"/dev/log\"".to_owned(),
        ),
        (
            "audit.syslog.address",
            "[audit.syslog]\naddress = \"udp:host\"".to_owned(),
        ),
        (
            "audit.syslog.address",
            "[audit.syslog]\naddress = \"unix:log\"".to_owned(),
        ),
        (
            "audit.syslog.level",
            format!("[audit.syslog]\n{address}\nlevel = \"loud\""),
        ),
        (
            "audit.syslog.facility",
            format!("[audit.syslog]\n{address}\nfacility = \"local8\""),
        ),
        (
            "audit.syslog.app_name",
            format!("[audit.syslog]\n{address}\napp_name = \"a b\""),
        ),
        (
            "audit.syslog.template",
            format!("[audit.syslog]\n{address}\ntemplate = \"{{token}}\""),
        ),
        (
            "audit.syslog.template",
            format!("[audit.syslog]\n{address}\ntemplate = \"{{content\""),
        ),
        (
            "audit.syslog.include",
            format!("[audit.syslog]\n{address}\ninclude = [\"a/b\"]"),
        ),
        (
            "audit.syslog.port",
            format!("[audit.syslog]\n{address}\nport = 514"),
        ),
    ] {
        assert_eq!(load(&text).unwrap_err(), [key], "{text}");
    }
}

#[test]
fn a_method_that_is_none_is_a_problem() {
    let of = |name: &str| {
        let error = parse_method(name.to_owned()).unwrap_err();
        assert_eq!(
            load(&format!("include = [{name:?}]")).unwrap_err(),
            ["audit.include"]
        );
        assert_eq!(
            load(&format!("exclude = [{name:?}]")).unwrap_err(),
            ["audit.exclude"]
        );
        error
    };
    assert_eq!(
        of("event.get"),
        "the audit log has no method event.get; did you mean events.get?"
    );
    assert_eq!(of("x"), "the audit log has no method x");
    assert_eq!(
        of("webhooks.all"),
        "the audit log has no method webhooks.all"
    );
    for good in [
        "all",
        "events.all",
        "auth.login",
        "getAccessInfo",
        "callBatch",
        "mfa.all",
    ] {
        parse_method(good.to_owned()).unwrap();
    }
}
