//! Mails to people: a bounded queue, and a task that words and sends what is in it. A request only
//! puts a mail into the queue; when it is full the request is told so.
//!
//! What could not be sent is tried again a few times and then given up, and its sender is told; a mail
//! whose token no longer works is not sent. What waits when the core stops is sent for some seconds more, and
//! what is left then is lost; whoever misses a mail asks for another.

mod builtin;
mod message;
mod sink;
pub(crate) mod templates;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use homecore_kernel::ports::{Envelope, Mail, MailContent, Mails, MailsFull};
use homecore_types::limits::{MAILS_AT_ONCE_MAX, MAILS_MAX};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::config::{Config, Delivery};
use crate::tasks::Tasks;
use crate::telemetry::chain;
use message::Wording;
use sink::{SendError, Sink};
use templates::Templates;

/// Between the attempts to send one mail.
const RETRIES: &[Duration] = &[
    Duration::from_secs(2),
    Duration::from_secs(15),
    Duration::from_secs(60),
];
/// One attempt, from the connection to the server's last word.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// When it is worth asking again after the queue was full.
const FULL_RETRY: Duration = Duration::from_secs(10);
/// Mails that wait or are being sent when the core stops get this long; none is tried again.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The queue's end where mails are put in.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: mpsc::Sender<Mail>,
    wanted: Wanted,
}

/// Which mails the operator wants.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    welcomes: bool,
    resets: bool,
    verifications: bool,
}

/// The queue's end where they are sent.
#[derive(Debug)]
struct Office {
    sink: Sink,
    wording: Wording,
    retries: &'static [Duration],
}

/// Starts sending; none where the operator wants no mails.
pub(crate) fn start(
    tasks: &Tasks,
    config: &Config,
    cluster: &Arc<Cluster>,
) -> anyhow::Result<Option<Arc<dyn Mails>>> {
    let sink = match &config.mail.delivery {
        Delivery::Off => return Ok(None),
        Delivery::Console => Sink::console(std::io::stdout()),
        Delivery::Smtp(server) => Sink::smtp(server).context("[mail]")?,
    };
    let known = Arc::clone(cluster);
    let templates = move || Templates::of_platform(known.directory().config().map(|c| &**c));
    let office = Office {
        sink,
        wording: Wording::new(config, cluster, Box::new(templates))?,
        retries: RETRIES,
    };
    let wanted = Wanted {
        welcomes: config.mail.welcome,
        resets: config.mail.reset_password,
        verifications: config.mail.verify_email,
    };
    let (queue, waiting) = Queue::new(wanted, MAILS_MAX);
    tasks.spawn("mail", office.run(waiting, tasks.stop_signal()));
    Ok(Some(Arc::new(queue)))
}

impl Queue {
    fn new(wanted: Wanted, places: usize) -> (Self, mpsc::Receiver<Mail>) {
        let (sender, receiver) = mpsc::channel(places);
        let queue = Self {
            waiting: sender,
            wanted,
        };
        (queue, receiver)
    }
}

impl Mails for Queue {
    fn sends_welcomes(&self) -> bool {
        self.wanted.welcomes
    }

    fn sends_resets(&self) -> bool {
        self.wanted.resets
    }

    fn sends_verifications(&self) -> bool {
        self.wanted.verifications
    }

    fn reserve(&self) -> Result<Box<dyn Envelope>, MailsFull> {
        match self.waiting.clone().try_reserve_owned() {
            Ok(place) => Ok(Box::new(Place(place))),
            // Closed: the core is stopping.
            Err(_full_or_closed) => Err(MailsFull {
                retry_after: FULL_RETRY,
            }),
        }
    }
}

#[derive(Debug)]
struct Place(mpsc::OwnedPermit<Mail>);

impl Envelope for Place {
    fn post(self: Box<Self>, mail: Mail) {
        drop(self.0.send(mail));
    }
}

impl Office {
    /// Sends what comes, a few at once, until the core stops.
    async fn run(self, mut waiting: mpsc::Receiver<Mail>, stop: CancellationToken) {
        let office = Arc::new(self);
        let mut sending = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = sending.join_next(), if !sending.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "sending a mail ended early");
                    }
                }
                mail = waiting.recv(), if sending.len() < MAILS_AT_ONCE_MAX => {
                    let Some(mail) = mail else { break };
                    let (office, stop) = (Arc::clone(&office), stop.clone());
                    sending.spawn(async move { office.deliver(mail, &stop).await });
                }
            }
        }
        waiting.close();
        let rest = async {
            loop {
                tokio::select! {
                    Some(_) = sending.join_next(), if !sending.is_empty() => {}
                    mail = waiting.recv(), if sending.len() < MAILS_AT_ONCE_MAX => {
                        let Some(mail) = mail else { break };
                        let (office, stop) = (Arc::clone(&office), stop.clone());
                        sending.spawn(async move { office.deliver(mail, &stop).await });
                    }
                }
            }
            while sending.join_next().await.is_some() {}
        };
        let all_ended = tokio::time::timeout(STOP_TIMEOUT, rest).await.is_ok();
        let lost = waiting.len();
        if lost > 0 || !all_ended {
            tracing::warn!(lost, "mails were not sent: the core stops");
        }
    }

    /// Sends one mail, in several attempts if it must be.
    async fn deliver(&self, mail: Mail, stop: &CancellationToken) {
        let about = about(&mail.content);
        let written = match self.wording.write(&mail) {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(about, error = %chain(&error), "a mail could not be written");
                return;
            }
        };
        let mut pauses = self.retries.iter();
        let mut may_have_arrived = false;
        loop {
            if self.is_too_late(&mail.content) {
                tracing::warn!(
                    about,
                    "a mail was not sent; what it carries no longer works"
                );
                return;
            }
            let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, self.sink.send(&written)).await;
            let error = match attempt.unwrap_or(Err(SendError::TimedOut)) {
                Ok(()) => {
                    tracing::debug!(about, "a mail was sent");
                    return;
                }
                Err(error) => error,
            };
            may_have_arrived |= matches!(error, SendError::TimedOut);
            let pause = pauses.next().filter(|_| error.may_pass());
            let Some(pause) = pause else {
                tracing::error!(about, error = %chain(&error), "a mail was not sent; it is given up");
                // Where the server will have none of it another mail would be as vain.
                if error.may_pass() && !may_have_arrived {
                    tell_sender(&mail.content).await;
                }
                return;
            };
            tracing::warn!(about, error = %chain(&error), "a mail was not sent; it is tried again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(*pause) => {}
            }
        }
    }

    fn is_too_late(&self, content: &MailContent) -> bool {
        match content {
            MailContent::Welcome | MailContent::VerifyEmail { .. } => false,
            MailContent::ResetPassword { expires, .. } => self.wording.clock.now() >= *expires,
        }
    }
}

/// Tells who asked for a mail that it is given up.
async fn tell_sender(content: &MailContent) {
    match content {
        MailContent::Welcome | MailContent::VerifyEmail { .. } => {}
        MailContent::ResetPassword { sender, .. } => sender.given_up().await,
    }
}

/// What a mail is about, for the log.
fn about(content: &MailContent) -> &'static str {
    match content {
        MailContent::Welcome => "welcome",
        MailContent::ResetPassword { .. } => "reset-password",
        MailContent::VerifyEmail { .. } => "verify-email",
    }
}

#[cfg(test)]
mod tests;
