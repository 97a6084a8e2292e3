//! Mails that nobody sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homecore_kernel::ports::{self, Envelope, Mail, MailContent, MailsFull};

/// What was posted; and whether any more is taken.
#[derive(Debug, Default)]
pub(crate) struct Mails {
    posted: Arc<Mutex<Vec<Mail>>>,
    pub(crate) off: AtomicBool,
    pub(crate) full: AtomicBool,
}

impl Mails {
    pub(crate) fn posted(&self) -> Vec<Mail> {
        self.posted.lock().unwrap().clone()
    }

    /// The token of the last mail.
    pub(crate) fn token(&self) -> String {
        let content = self.posted().pop().unwrap().content;
        let token = match &content {
            MailContent::ResetPassword { token, .. } | MailContent::VerifyEmail { token } => {
                Some(token.expose())
            }
            MailContent::Welcome => None,
        };
        token.unwrap().to_owned()
    }
}

impl ports::Mails for Mails {
    fn sends_welcomes(&self) -> bool {
        false
    }

    fn sends_resets(&self) -> bool {
        !self.off.load(Ordering::SeqCst)
    }

    fn sends_verifications(&self) -> bool {
        !self.off.load(Ordering::SeqCst)
    }

    fn reserve(&self) -> Result<Box<dyn Envelope>, MailsFull> {
        if self.full.load(Ordering::SeqCst) {
            let retry_after = Duration::from_secs(7);
            return Err(MailsFull { retry_after });
        }
        Ok(Box::new(Paper(Arc::clone(&self.posted))))
    }
}

#[derive(Debug)]
struct Paper(Arc<Mutex<Vec<Mail>>>);

impl Envelope for Paper {
    fn post(self: Box<Self>, mail: Mail) {
        self.0.lock().unwrap().push(mail);
    }
}
