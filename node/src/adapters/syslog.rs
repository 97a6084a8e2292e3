//! Lines about calls for the system log of the operator (RFC 5424, one datagram each), over a socket
//! of this machine or UDP.
//!
//! A call only puts its entry into a bounded queue and goes on; a task words and sends what is in it.
//! What finds no place, or cannot be sent, is dropped and counted (`homecore_audit_syslog_*`): the
//! user's own log is the one that is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homecore_kernel::audit::{AuditListener, Entry, MethodSet};
use homecore_types::UserId;
use time::OffsetDateTime;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{SyslogAddress, SyslogConfig};
use crate::tasks::Tasks;

/// Entries that wait to be sent.
const WAITING_MAX: usize = 8_192;
/// One datagram, from the name of the host that it goes to.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// What waits when the core stops gets this long.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest line; what is longer is cut off.
const LINE_BYTES_MAX: usize = 8_192;
/// Begins the names of the log's streams, which the lines do without.
const STORE_PREFIX: &str = ":_audit:";

/// How many lines went which way.
#[derive(Debug, Default)]
pub(crate) struct SyslogCounts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl SyslogCounts {
    /// Lines that were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Lines that were not, for lack of a place or of somebody who takes them.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Where calls are told.
#[derive(Debug)]
pub(crate) struct Syslog {
    waiting: mpsc::Sender<(UserId, Entry)>,
    include: Option<MethodSet>,
    exclude: MethodSet,
    counts: Arc<SyslogCounts>,
}

/// Starts sending.
pub(crate) fn start(
    tasks: &Tasks,
    config: &SyslogConfig,
    host: &str,
    counts: &Arc<SyslogCounts>,
) -> Arc<Syslog> {
    let (syslog, writer, waiting) = Syslog::new(config, host, counts, WAITING_MAX);
    tasks.spawn("syslog", writer.run(waiting, tasks.stop_signal()));
    Arc::new(syslog)
}

impl Syslog {
    fn new(
        config: &SyslogConfig,
        host: &str,
        counts: &Arc<SyslogCounts>,
        places: usize,
    ) -> (Self, Writer, mpsc::Receiver<(UserId, Entry)>) {
        let (sender, receiver) = mpsc::channel(places);
        let include = MethodSet::new(config.include.iter().cloned());
        let syslog = Self {
            waiting: sender,
            include: Some(include).filter(|set| !set.is_empty()),
            exclude: MethodSet::new(config.exclude.iter().cloned()),
            counts: Arc::clone(counts),
        };
        let writer = Writer {
            config: config.clone(),
            host: host.to_owned(),
            counts: Arc::clone(counts),
            socket: None,
            failing: false,
        };
        (syslog, writer, receiver)
    }
}

impl AuditListener for Syslog {
    fn hears(&self, method: &str) -> bool {
        self.include.as_ref().is_none_or(|set| set.holds(method)) && !self.exclude.holds(method)
    }

    fn tell(&self, user: &UserId, entry: Entry) {
        if self.waiting.try_send((user.clone(), entry)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A socket that knows where it sends.
#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

/// The queue's other end.
#[derive(Debug)]
struct Writer {
    config: SyslogConfig,
    host: String,
    counts: Arc<SyslogCounts>,
    socket: Option<Socket>,
    /// Whether the last line was not taken: what that means is logged once.
    failing: bool,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<(UserId, Entry)>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                next = waiting.recv() => match next {
                    Some((user, entry)) => self.write(&user, &entry).await,
                    None => return,
                },
            }
        }
        waiting.close();
        let rest = async {
            while let Some((user, entry)) = waiting.recv().await {
                self.write(&user, &entry).await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, rest).await.is_err() {
            tracing::warn!(
                lost = waiting.len(),
                "lines for the system log were not sent: the core stops"
            );
        }
    }

    async fn write(&mut self, user: &UserId, entry: &Entry) {
        let line = line(&self.config, &self.host, user, entry);
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.send(line.as_bytes())).await;
        let sent = sent.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into()));
        let address = &self.config.address;
        match sent {
            Ok(()) => {
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%address, "the system log takes lines again");
                }
            }
            Err(error) => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                self.socket = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%address, %error, "the system log does not take lines; they are dropped");
                }
            }
        }
    }

    /// Sends a datagram. One that was connected to a log that was restarted since fails once.
    async fn send(&mut self, line: &[u8]) -> std::io::Result<()> {
        if let Some(socket) = &self.socket
            && socket.send(line).await.is_ok()
        {
            return Ok(());
        }
        let socket = self
            .socket
            .insert(Socket::connect(&self.config.address).await?);
        socket.send(line).await
    }
}

impl Socket {
    async fn connect(address: &SyslogAddress) -> std::io::Result<Self> {
        match address {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Self::Unix(socket))
            }
            SyslogAddress::Udp(to) => {
                let mut last = None;
                for to in tokio::net::lookup_host(to).await? {
                    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(any).await?;
                    match socket.connect(to).await {
                        Ok(()) => return Ok(Self::Udp(socket)),
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()))
            }
        }
    }

    async fn send(&self, line: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Unix(socket) => socket.send(line).await,
            Self::Udp(socket) => socket.send(line).await,
        }
        .map(|_bytes| ())
    }
}

/// `<PRI>1 TIME HOST APP PROCID MSGID - MSG` (RFC 5424, section 6).
fn line(config: &SyslogConfig, host: &str, user: &UserId, entry: &Entry) -> String {
    let priority = u16::from(config.facility.0) * 8 + u16::from(config.level.0);
    let mut line = format!(
        "<{priority}>1 {} {} {} {} {} - {}",
        timestamp(entry.at.0),
        header(host, 255),
        config.app_name,
        std::process::id(),
        header(&entry.action, 32),
        message(&config.template, user, entry),
    );
    line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
    line
}

/// A field of the header: printable ASCII, or nothing.
fn header(text: &str, most: usize) -> String {
    let field: String = (text.chars().filter(char::is_ascii_graphic))
        .take(most)
        .collect();
    if field.is_empty() {
        "-".to_owned()
    } else {
        field
    }
}

fn timestamp(millis: i64) -> String {
    let nanos = i128::from(millis) * 1_000_000;
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return "-".to_owned();
    };
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

/// The template with what the entry has in the place of its names.
fn message(template: &str, user: &UserId, entry: &Entry) -> String {
    let streams = entry.streams();
    let streams: Vec<&str> = streams
        .iter()
        .map(|id| id.strip_prefix(STORE_PREFIX).unwrap_or(id))
        .collect();
    let mut message = String::with_capacity(template.len() + entry.content().len() + 200);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        message.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        match name {
            "userid" => message.push_str(user.as_str()),
            "type" => message.push_str(entry.kind()),
            "createdBy" => message.push_str("system"),
            "streamIds" => message.push_str(&serde_json::json!(streams).to_string()),
            // JSON in one line: what is no letter in it is escaped.
            "content" => message.push_str(entry.content()),
            _ => {}
        }
        rest = after;
    }
    message.push_str(rest);
    message
}

#[cfg(test)]
mod tests;
