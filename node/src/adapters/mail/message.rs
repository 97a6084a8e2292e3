//! From what a mail is about to the message that is sent. Headers are made by typed values alone:
//! whatever a name, an address or a template holds, it cannot add one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use homecore_kernel::ports::{Mail, MailContent};
use homecore_types::{Clock, Entropy, entropy};
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use thiserror::Error;
use url::Url;

use super::templates::{Template, TemplateName, Templates, Variable};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::live;

/// Reads the operator's templates as they are now.
pub(super) type ReadTemplates = Box<dyn Fn() -> Templates + Send + Sync>;

/// Reads the platform's name as it is now.
pub(super) type ReadName = Box<dyn Fn() -> String + Send + Sync>;

/// What all mails of a core have in common.
pub(super) struct Wording {
    pub(super) from: Mailbox,
    /// For people whose language no template has.
    pub(super) language: String,
    /// What the platform is called now.
    pub(super) service: ReadName,
    pub(super) reset_page: Option<Url>,
    pub(super) reset_max_age: Duration,
    pub(super) verification_page: Option<Url>,
    pub(super) templates: ReadTemplates,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Wording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wording").finish_non_exhaustive()
    }
}

/// A mail that can be sent.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) message: Message,
    /// Its text, as it is before it is encoded for the way.
    pub(super) text: String,
}

/// Why a mail could not be written.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    /// An account may have an address that mail does not know.
    #[error("the address is none of a mailbox")]
    Address(#[from] lettre::address::AddressError),
    /// The parts do not make a message.
    #[error("the message cannot be made")]
    Message(#[from] lettre::error::Error),
}

/// `Auto-Submitted: auto-generated` (RFC 3834): nobody's holiday message answers.
#[derive(Clone, Debug)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Wording {
    /// As the configuration has it.
    ///
    /// # Errors
    /// If something is missing that reading the configuration should have asked for.
    pub(super) fn new(
        config: &Config,
        cluster: &Arc<Cluster>,
        templates: ReadTemplates,
    ) -> anyhow::Result<Self> {
        let page = config.auth.reset_page.as_deref();
        let service = live::service(config, cluster);
        Ok(Self {
            from: config.mail.from.clone().context("mail.from is needed")?,
            language: config.mail.language.clone(),
            service: Box::new(move || service.get().name.clone()),
            reset_page: page
                .map(Url::parse)
                .transpose()
                .context("auth.password_reset_page_url")?,
            reset_max_age: config.auth.reset_max_age,
            verification_page: config
                .auth
                .verification_page
                .as_deref()
                .map(Url::parse)
                .transpose()
                .context("auth.email_verification_page_url")?,
            templates,
            clock: Arc::clone(&cluster.clock),
            entropy: Arc::clone(&cluster.entropy),
        })
    }

    /// Writes a mail.
    pub(super) fn write(&self, mail: &Mail) -> Result<Written, WriteError> {
        let name = match mail.content {
            MailContent::Welcome => TemplateName::Welcome,
            MailContent::ResetPassword { .. } => TemplateName::ResetPassword,
            MailContent::VerifyEmail { .. } => TemplateName::VerifyEmail,
        };
        let template = (self.templates)().choose(name, &mail.language, &self.language);
        self.fill(mail, &template)
    }

    fn fill(&self, mail: &Mail, template: &Template) -> Result<Written, WriteError> {
        let values = self.values(mail);
        let to: Address = mail.to.as_str().parse()?;
        let id = entropy::wire_id(&*self.entropy);
        let builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(template.filled_subject(&values))
            .date(self.date())
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(AutoSubmitted);
        let text = template.filled_text(&values);
        let plain = SinglePart::plain(text.clone());
        let message = match template.filled_html(&values) {
            Some(html) => builder.multipart(
                MultiPart::alternative()
                    .singlepart(plain)
                    .singlepart(SinglePart::html(html)),
            ),
            None => builder.singlepart(plain),
        };
        Ok(Written {
            message: message?,
            text,
        })
    }

    fn values(&self, mail: &Mail) -> BTreeMap<Variable, String> {
        let mut values = BTreeMap::from([
            (Variable::Username, mail.username.to_string()),
            (Variable::Email, mail.to.to_string()),
            (Variable::Service, (self.service)()),
        ]);
        match &mail.content {
            MailContent::Welcome => {}
            MailContent::ResetPassword { token, .. } => {
                let minutes = self.reset_max_age.as_secs().div_ceil(60);
                let (url, link) =
                    linked(self.reset_page.as_ref(), &[("resetToken", token.expose())]);
                values.extend([
                    (Variable::ResetToken, token.expose().to_owned()),
                    (Variable::ResetUrl, url),
                    (Variable::ResetLink, link),
                    (Variable::ResetMinutes, minutes.to_string()),
                ]);
            }
            MailContent::VerifyEmail { token } => {
                let page = self.verification_page.as_ref();
                // The page cannot know whose the token is, and has to say so in the path of its call.
                let whose = ("username", mail.username.as_str());
                let (url, link) = linked(page, &[whose, ("verifyToken", token.expose())]);
                values.extend([
                    (Variable::VerifyToken, token.expose().to_owned()),
                    (Variable::VerifyUrl, url),
                    (Variable::VerifyLink, link),
                ]);
            }
        }
        values
    }

    fn date(&self) -> SystemTime {
        let since = u64::try_from(self.clock.now().0).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_millis(since)
    }
}

/// The page, and `<page>?<name>=<value>…`; a query that the page has stays.
fn linked(page: Option<&Url>, query: &[(&str, &str)]) -> (String, String) {
    let Some(page) = page else {
        return (String::new(), String::new());
    };
    let mut link = page.clone();
    link.query_pairs_mut().extend_pairs(query);
    (page.to_string(), link.to_string())
}
