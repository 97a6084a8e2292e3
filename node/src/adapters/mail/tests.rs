//! Mails from the queue to a server on this machine.

mod server;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use homecore_kernel::ports::Sender;
use homecore_types::{Clock as _, Email, Millis, Secret, SystemClock, SystemEntropy, Username};
use tokio::task::JoinHandle;
use url::Url;

use super::*;
use crate::config::{Security, SmtpConfig};
use server::{Manner, certificate, serve};
use templates::{Template, TemplateName};

const AT_ONCE: &[Duration] = &[Duration::ZERO, Duration::ZERO];

const ALL: Wanted = Wanted {
    welcomes: true,
    resets: true,
    verifications: true,
};

fn wording() -> Wording {
    Wording {
        from: "Platform <noreply@example.com>".parse().unwrap(),
        language: "en".to_owned(),
        service: Box::new(|| "Test platform".to_owned()),
        reset_page: Some(Url::parse("https://example.com/reset?lang=en").unwrap()),
        reset_max_age: Duration::from_secs(3_600),
        verification_page: Some(Url::parse("https://example.com/verify").unwrap()),
        templates: Box::new(Templates::default),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    }
}

fn config(address: SocketAddr, security: Security) -> SmtpConfig {
    SmtpConfig {
        host: address.ip().to_string(),
        port: address.port(),
        security,
        credentials: None,
        ca_file: None,
        hello: "core-a.example.com".to_owned(),
    }
}

fn office(sink: Sink, wording: Wording) -> Office {
    Office {
        sink,
        wording,
        retries: AT_ONCE,
    }
}

fn mail(content: MailContent) -> Mail {
    Mail {
        to: Email::parse("bob@example.org").unwrap(),
        username: Username::parse("bobby").unwrap(),
        language: "en".to_owned(),
        content,
    }
}

fn reset() -> Mail {
    let expires = SystemClock.now() + Duration::from_secs(3_600);
    reset_until(expires, &Arc::default())
}

fn reset_until(expires: Millis, told: &Arc<Told>) -> Mail {
    mail(MailContent::ResetPassword {
        token: Secret::new("thetoken"),
        expires,
        sender: Arc::clone(told) as Arc<dyn Sender>,
    })
}

/// How often a mail was given up.
#[derive(Debug, Default)]
struct Told(AtomicUsize);

#[async_trait]
impl Sender for Told {
    async fn given_up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs an office until it is told to stop.
fn open(office: Office) -> (Queue, CancellationToken, JoinHandle<()>) {
    let (queue, waiting) = Queue::new(ALL, 10);
    let stop = CancellationToken::new();
    let running = tokio::spawn(office.run(waiting, stop.clone()));
    (queue, stop, running)
}

fn begins(lines: &[String], with: &str) -> bool {
    lines.iter().any(|line| line.starts_with(with))
}

#[test]
fn a_link_to_verify_says_whose_it_is() {
    let token = Secret::new("thetoken");
    let written = wording().write(&mail(MailContent::VerifyEmail { token }));
    let text = written.unwrap().text;
    let link = "https://example.com/verify?username=bobby&verifyToken=thetoken";
    assert!(text.contains(link), "{text}");
}

#[tokio::test]
async fn a_mail_is_spoken_to_a_server() {
    let (address, mut heard) = serve(vec![Manner::default()]).await;
    let mut server = config(address, Security::None);
    server.credentials = Some(("user".to_owned(), Secret::new("pass")));
    let (queue, stop, running) = open(office(Sink::smtp(&server).unwrap(), wording()));
    queue.reserve().unwrap().post(reset());
    let lines = heard.recv().await.unwrap();
    for line in [
        "EHLO core-a.example.com",
        // user and pass, each after a zero byte.
        "AUTH PLAIN AHVzZXIAcGFzcw==",
        "MAIL FROM:<noreply@example.com>",
        "RCPT TO:<bob@example.org>",
        "DATA",
        "From: Platform <noreply@example.com>",
        "To: bob@example.org",
        "Subject: Set a new password for Test platform",
        "Date: ",
        "Message-ID: <",
        "Auto-Submitted: auto-generated",
        "Hello bobby,",
    ] {
        assert!(begins(&lines, line), "{line} is missing in {lines:#?}");
    }
    // Quoted-printable (RFC 2045 §6.7).
    let text = lines.join("\n").replace("=\n", "").replace("=3D", "=");
    let link = "\nhttps://example.com/reset?lang=en&resetToken=thetoken\n";
    assert!(text.contains(link), "{text}");
    stop.cancel();
    running.await.unwrap();
    assert!(queue.reserve().is_err(), "nobody would send it");
}

#[tokio::test]
async fn what_waits_when_the_core_stops_is_sent() {
    let (address, mut heard) = serve(vec![Manner::default(); 3]).await;
    let office = office(
        Sink::smtp(&config(address, Security::None)).unwrap(),
        wording(),
    );
    let (queue, waiting) = Queue::new(ALL, 10);
    for _ in 0..3 {
        queue.reserve().unwrap().post(reset());
    }
    let stop = CancellationToken::new();
    stop.cancel();
    office.run(waiting, stop).await;
    for _ in 0..3 {
        let lines = heard.recv().await.unwrap();
        assert!(begins(&lines, "DATA"), "{lines:#?}");
    }
    assert!(queue.reserve().is_err(), "nobody would send it");
}

#[tokio::test]
async fn what_fails_for_now_is_tried_again_and_what_fails_for_good_is_not() {
    let busy = |command| Manner {
        refuses: Some((command, "451 later")),
        ..Manner::default()
    };
    let gone = Manner {
        hangs_up: true,
        ..Manner::default()
    };
    for (manners, attempts, given_up) in [
        (vec![busy("RCPT"), Manner::default()], 2, 0),
        (vec![gone.clone(), busy("MAIL"), Manner::default()], 3, 0),
        (vec![gone.clone(), gone.clone(), gone], 3, 1),
        (
            vec![Manner {
                refuses: Some(("RCPT", "550 nobody")),
                ..Manner::default()
            }],
            1,
            0,
        ),
    ] {
        let case = format!("{manners:?}");
        let told = Arc::<Told>::default();
        let (address, mut heard) = serve(manners).await;
        let sink = Sink::smtp(&config(address, Security::None)).unwrap();
        // It ends by itself: one attempt too many would find nobody who answers.
        let office = office(sink, wording());
        let expires = SystemClock.now() + Duration::from_secs(3_600);
        let mail = reset_until(expires, &told);
        office.deliver(mail, &CancellationToken::new()).await;
        let mut conversations = 0;
        while heard.recv().await.is_some() {
            conversations += 1;
        }
        assert_eq!(conversations, attempts, "{case}");
        assert_eq!(told.0.load(Ordering::SeqCst), given_up, "{case}");
    }
}

#[tokio::test]
async fn without_tls_nothing_is_said_where_it_is_asked_for() {
    let (address, mut heard) = serve(vec![Manner::default()]).await;
    let sink = Sink::smtp(&config(address, Security::StartTls)).unwrap();
    let office = office(sink, wording());
    office.deliver(reset(), &CancellationToken::new()).await;
    let lines = heard.recv().await.unwrap();
    assert!(
        begins(&lines, "EHLO") && !begins(&lines, "MAIL"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_operator_trusts() {
    let (tls, pem) = certificate();
    let dir = std::env::temp_dir().join(format!("homecore-mail-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let ca_file = dir.join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let manner = Manner {
        tls: Some(tls),
        ..Manner::default()
    };
    for trusted in [true, false] {
        let again = if trusted { 1 } else { 3 };
        let (address, mut heard) = serve(vec![manner.clone(); again]).await;
        let mut server = config(address, Security::StartTls);
        server.host = "localhost".to_owned();
        server.ca_file = trusted.then(|| ca_file.clone());
        let office = office(Sink::smtp(&server).unwrap(), wording());
        office.deliver(reset(), &CancellationToken::new()).await;
        let lines = heard.recv().await.unwrap();
        assert_eq!(begins(&lines, "(TLS)"), trusted, "{lines:?}");
        assert_eq!(
            begins(&lines, "RCPT TO:<bob@example.org>"),
            trusted,
            "{lines:?}"
        );
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_full_queue_takes_no_more_until_a_place_is_free() {
    let wanted = Wanted {
        welcomes: false,
        ..ALL
    };
    let (queue, mut waiting) = Queue::new(wanted, 1);
    assert!(!queue.sends_welcomes() && queue.sends_resets());
    let place = queue.reserve().unwrap();
    let full = queue.reserve().unwrap_err();
    assert_eq!(full.retry_after, FULL_RETRY);
    drop(place);
    queue.reserve().unwrap().post(mail(MailContent::Welcome));
    assert!(queue.reserve().is_err());
    assert_eq!(waiting.recv().await.unwrap().username.as_str(), "bobby");
    assert!(queue.reserve().is_ok());
}

#[test]
fn no_value_adds_a_header() {
    let mut wording = wording();
    wording.service = Box::new(|| "Evil\r\nBcc: eve@example.com\r\n\r\n".to_owned());
    wording.templates = Box::new(|| {
        // As no operator can set it, but as it may stand in the platform store.
        let template = Template {
            subject: "{{ SERVICE }}\r\nX-Own: 1".to_owned(),
            text: "{{ SERVICE }}{{ RESET_LINK }}".to_owned(),
            html: Some("{{ SERVICE }}".to_owned()),
        };
        let name = TemplateName::ResetPassword.wire();
        let json = serde_json::json!({ name: { "en": template } });
        serde_json::from_value(json).unwrap()
    });
    let message = wording.write(&reset()).unwrap().message;
    let text = String::from_utf8(message.formatted()).unwrap();
    let (headers, _) = text.split_once("\r\n\r\n").unwrap();
    for header in ["bcc:", "x-own:"] {
        let lower = headers.to_lowercase();
        assert!(
            !lower.lines().any(|line| line.starts_with(header)),
            "{headers}"
        );
    }
    let to: Vec<String> = message
        .envelope()
        .to()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(to, ["bob@example.org"]);
}

#[test]
fn an_address_that_mail_does_not_know_is_an_error() {
    let mut odd = reset();
    let Ok(email) = Email::parse("a b@exa mple") else {
        return;
    };
    odd.to = email;
    assert!(wording().write(&odd).is_err());
}

/// A stream that a test reads.
#[derive(Clone, Debug, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_console_shows_mails() {
    let paper = Paper::default();
    let office = office(Sink::console(paper.clone()), wording());
    let stop = CancellationToken::new();
    let too_late = reset_until(SystemClock.now(), &Arc::default());
    office.deliver(too_late, &stop).await;
    assert!(paper.0.lock().unwrap().is_empty());
    office.deliver(reset(), &stop).await;
    office.deliver(mail(MailContent::Welcome), &stop).await;
    let shown = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    for part in [
        "resetToken=thetoken",
        "Welcome to Test platform",
        "To: bob@example.org",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}
