//! A shell script in the place of the binary.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn fake(dir: &TempDir, script: &str) -> DemoOptions {
    let path = dir.path().join("homecore");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    DemoOptions {
        within: Duration::from_secs(20),
        binary: Some(path),
        ..DemoOptions::cores(1)
    }
}

const READY: &str = r#"{"ready":true,"domain":"homecore.test","dns":"127.0.0.1:5300","adminKey":"hush","dir":"/d","cores":[{"id":"core-a","url":"http://127.0.0.1:3000/","pid":7}]}"#;

#[tokio::test]
async fn the_ready_line_is_read_and_the_arguments_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let (start, end) = READY.split_at(30);
    let script =
        format!("echo \"$@\" >&2\necho starting\nprintf '%s' '{start}'\necho '{end}'\nsleep 600");
    let mut demo = Demo::start(fake(&dir, &script)).await.unwrap();
    assert_eq!(demo.domain(), "homecore.test");
    assert_eq!(demo.dns(), Some("127.0.0.1:5300"));
    assert_eq!(demo.admin_key().expose(), "hush");
    assert!(!format!("{demo:?}").contains("hush"));
    assert_eq!(
        (demo.core(0).unwrap().id.as_str(), demo.core(0).unwrap().pid),
        ("core-a", 7)
    );
    assert!(demo.core(1).is_err());
    assert!(demo.signal(1, Signal::KILL).is_err());
    let arguments = demo.process().stderr().unwrap();
    assert!(
        arguments.starts_with("demo --json --cores 1 --port 2"),
        "{arguments}"
    );
    assert!(arguments.trim_end().ends_with("--no-sample"), "{arguments}");
}

#[tokio::test]
async fn a_demo_that_fails_shows_its_log() {
    let dir = tempfile::tempdir().unwrap();
    for (script, said) in [
        (
            "echo 'port 3000 is taken' >&2; exit 1",
            "port 3000 is taken",
        ),
        ("echo '{\"ready\":true}'; sleep 600", "not understood"),
    ] {
        let error = Demo::start(fake(&dir, script)).await.unwrap_err();
        assert!(format!("{error:#}").contains(said), "{error:#}");
    }
    // The directory is the last argument but one.
    let logging = "while [ $# -gt 2 ]; do shift; done; mkdir -p $1/core-b; echo 'no disk' > $1/core-b/log; exit 1";
    let error = Demo::start(fake(&dir, logging)).await.unwrap_err();
    assert!(format!("{error:#}").contains("no disk"), "{error:#}");
    let mut slow = fake(&dir, "echo 'still waiting' >&2; sleep 600");
    slow.within = Duration::from_millis(500);
    let error = format!("{:#}", Demo::start(slow).await.unwrap_err());
    assert!(
        error.contains("still waiting") && error.contains("ready line"),
        "{error}"
    );
}
