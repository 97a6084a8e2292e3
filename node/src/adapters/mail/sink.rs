//! Where a written mail goes: to a server over SMTP, or to the standard output of a core on a
//! developer's machine.
//!
//! Errors are for the log, so they hold no address: of a server's refusal only the code is kept.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use thiserror::Error;

use super::message::Written;
use crate::config::{Security, SmtpConfig};

/// One step of the conversation with a server.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// Where mails go.
pub(super) enum Sink {
    /// A stream that a developer reads. It shows tokens: the configuration lets only a core that no
    /// other machine reaches have it.
    Console(Mutex<Box<dyn Write + Send>>),
    /// A server; each mail has a connection of its own.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Console(_) => "Console",
            Self::Smtp(_) => "Smtp",
        })
    }
}

/// Why a mail was not sent.
#[derive(Debug, Error)]
pub(super) enum SendError {
    /// The server refused it; whether for now only.
    #[error("the mail server refused it with {code}")]
    Refused {
        /// SMTP's.
        code: u16,
        /// Whether another attempt may succeed.
        for_now: bool,
    },
    /// The server cannot be used as it is configured.
    #[error("the mail server cannot be used")]
    Unusable(#[source] lettre::transport::smtp::Error),
    /// No connection, or it broke.
    #[error("the mail server does not answer as it should")]
    Connection(#[source] lettre::transport::smtp::Error),
    /// Too slow.
    #[error("the mail server did not answer in time")]
    TimedOut,
    /// The console.
    #[error("the mail cannot be shown")]
    Shown(#[source] std::io::Error),
}

impl SendError {
    /// Whether another attempt may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { for_now, .. } => *for_now,
            Self::Connection(_) | Self::TimedOut => true,
            Self::Unusable(_) | Self::Shown(_) => false,
        }
    }
}

impl From<lettre::transport::smtp::Error> for SendError {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        match error.status() {
            Some(code) => Self::Refused {
                code: code.into(),
                for_now: error.is_transient(),
            },
            None if error.is_client() => Self::Unusable(error),
            None => Self::Connection(error),
        }
    }
}

impl Sink {
    /// A stream that a developer reads.
    pub(super) fn console(out: impl Write + Send + 'static) -> Self {
        Self::Console(Mutex::new(Box::new(out)))
    }

    /// A server.
    ///
    /// # Errors
    /// If its certificate authority cannot be read.
    pub(super) fn smtp(server: &SmtpConfig) -> anyhow::Result<Self> {
        let mut tls = TlsParameters::builder(server.host.clone());
        if let Some(path) = &server.ca_file {
            let pem = std::fs::read(path)
                .with_context(|| format!("smtp_ca_file cannot be read: {}", path.display()))?;
            tls = tls.add_root_certificate(Certificate::from_pem(&pem).context("smtp_ca_file")?);
        }
        let security = match server.security {
            Security::None => Tls::None,
            Security::StartTls => Tls::Required(tls.build()?),
            Security::Tls => Tls::Wrapper(tls.build()?),
        };
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.as_str())
                .port(server.port)
                .tls(security)
                .timeout(Some(STEP_TIMEOUT))
                .hello_name(ClientId::Domain(server.hello.clone()));
        if let Some((user, password)) = &server.credentials {
            let password = password.expose().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self::Smtp(builder.build()))
    }

    /// Sends a mail.
    pub(super) async fn send(&self, written: &Written) -> Result<(), SendError> {
        let message = &written.message;
        match self {
            Self::Console(out) => show(out, written).map_err(SendError::Shown),
            Self::Smtp(server) => {
                server
                    .send_raw(message.envelope(), &message.formatted())
                    .await?;
                Ok(())
            }
        }
    }
}

fn show(out: &Mutex<Box<dyn Write + Send>>, written: &Written) -> std::io::Result<()> {
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    out.write_all(b"--- a mail that is not sent ([mail] mode = \"console\")\n")?;
    let headers = written.message.headers();
    write!(out, "{headers}\n{}\n---\n", written.text)?;
    out.flush()
}
