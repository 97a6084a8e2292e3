//! Lines as a system log gets them.

use homecore_kernel::audit::Source;
use homecore_kernel::audit::entry::Draft;
use homecore_types::Millis;

use super::*;
use crate::config::{Facility, SYSLOG_TEMPLATE, Severity};

fn config(address: SyslogAddress) -> SyslogConfig {
    SyslogConfig {
        address,
        app_name: "homecore-audit".to_owned(),
        facility: Facility(16),
        level: Severity(5),
        template: SYSLOG_TEMPLATE.to_owned(),
        include: Vec::new(),
        exclude: vec!["events.getOne".parse().unwrap()],
    }
}

fn user() -> UserId {
    UserId::parse("u23456789012345678901234").unwrap()
}

fn entry(action: &str) -> Entry {
    let source = Source::http("192.0.2.7".parse().unwrap());
    let at = Millis(1_800_000_000_123);
    let query = serde_json::json!({ "limit": 1, "text": "a\nb" });
    Draft::anonymous(&source, "public", action, at)
        .asking(&query)
        .finish()
}

/// What a system log is sent of an entry.
fn expected(action: &str) -> String {
    format!(
        "<133>1 2027-01-15T08:00:00.123Z core-a homecore-audit {} {action} - u23456789012345678901234 \
         audit-log/pryv-api createdBy:system [\"access-public\",\"action-{action}\"] \
         {{\"source\":{{\"name\":\"http\",\"ip\":\"192.0.2.7\"}},\"action\":\"{action}\",\
         \"query\":{{\"limit\":1,\"text\":\"a\\nb\"}}}}",
        std::process::id()
    )
}

fn started(address: SyslogAddress, places: usize) -> (Tasks, Arc<Syslog>, Arc<SyslogCounts>) {
    let (tasks, counts) = (Tasks::default(), Arc::default());
    let (syslog, writer, waiting) = Syslog::new(&config(address), "core-a", &counts, places);
    tasks.spawn("syslog", writer.run(waiting, tasks.stop_signal()));
    (tasks, Arc::new(syslog), counts)
}

#[tokio::test]
async fn a_socket_of_this_machine_gets_a_line_for_each_call() {
    let path = std::env::temp_dir().join(format!("homecore-syslog-{}", std::process::id()));
    let log = UnixDatagram::bind(&path).unwrap();
    let (tasks, syslog, counts) = started(SyslogAddress::Unix(path.clone()), 8);
    assert!(syslog.hears("events.get") && !syslog.hears("events.getOne"));
    let mut buffer = vec![0; LINE_BYTES_MAX];
    syslog.tell(&user(), entry("events.get"));
    let length = log.recv(&mut buffer).await.unwrap();
    assert_eq!(
        std::str::from_utf8(&buffer[..length]).unwrap(),
        expected("events.get")
    );

    // The log is started anew: the socket that was connected is of no use any more.
    drop(log);
    std::fs::remove_file(&path).unwrap();
    let log = UnixDatagram::bind(&path).unwrap();
    syslog.tell(&user(), entry("streams.get"));
    let length = log.recv(&mut buffer).await.unwrap();
    assert_eq!(
        std::str::from_utf8(&buffer[..length]).unwrap(),
        expected("streams.get")
    );

    // What waits when the core stops is sent.
    syslog.tell(&user(), entry("events.create"));
    assert!(tasks.finish(STOP_TIMEOUT).await.is_empty());
    assert_eq!((counts.sent(), counts.dropped()), (3, 0));
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn udp_gets_the_same_lines() {
    let log = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = SyslogAddress::Udp(log.local_addr().unwrap().to_string());
    let (tasks, syslog, _counts) = started(to, 8);
    syslog.tell(&user(), entry("events.get"));
    let mut buffer = vec![0; LINE_BYTES_MAX];
    let length = log.recv(&mut buffer).await.unwrap();
    assert_eq!(
        std::str::from_utf8(&buffer[..length]).unwrap(),
        expected("events.get")
    );
    assert!(tasks.finish(STOP_TIMEOUT).await.is_empty());
}

#[tokio::test]
async fn what_finds_no_place_or_no_log_is_counted_and_nobody_waits() {
    let nowhere = SyslogAddress::Unix("/nonexistent/log".into());
    let counts = Arc::default();
    let (syslog, writer, waiting) = Syslog::new(&config(nowhere), "core-a", &counts, 2);
    for _ in 0..5 {
        syslog.tell(&user(), entry("events.get"));
    }
    assert_eq!(counts.dropped(), 3, "two wait");
    drop(syslog);
    writer.run(waiting, CancellationToken::new()).await;
    assert_eq!((counts.sent(), counts.dropped()), (0, 5));
}

#[test]
fn lines_have_an_end_and_headers_no_spaces() {
    let config = config(SyslogAddress::Unix("/dev/log".into()));
    let config = SyslogConfig {
        template: format!("{}{{content}}", "é".repeat(LINE_BYTES_MAX)),
        ..config
    };
    let line = line(&config, "a b\u{e9}", &user(), &entry("events.get"));
    assert!(line.len() <= LINE_BYTES_MAX && line.len() > LINE_BYTES_MAX - 2);
    assert!(line.contains("Z ab homecore-audit "));
    assert_eq!(header(" ", 8), "-");
}
