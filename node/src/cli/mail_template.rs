//! `homecore mail-template`: the words of the mails that people get, for the whole platform.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use homecore_proto::membership::mail_templates_client::MailTemplatesClient;
use homecore_proto::membership::{
    ListMailTemplatesRequest, MailTemplate, SetMailTemplateRequest, UnsetMailTemplateRequest,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::client::{channel, refused};
use super::operate::{PlainArgs, table};
use super::{answer, block_on};

/// How long a call may take.
const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// `homecore mail-template`.
#[derive(Debug, Subcommand)]
pub(super) enum MailTemplateCommand {
    /// List the mails and the languages that they have
    #[command(after_help = "Example: homecore mail-template list --json")]
    List(PlainArgs),
    /// Print the words of a mail
    #[command(after_help = "Example: homecore mail-template get reset-password en")]
    Get(NamedArgs),
    /// Set the words of a mail in a language; {{ NAME }} stands for a value: USERNAME, EMAIL, SERVICE and,
    /// of a reset, RESET_LINK, RESET_TOKEN, RESET_URL, RESET_MINUTES, of a proof of an address, VERIFY_LINK,
    /// VERIFY_TOKEN, VERIFY_URL
    #[command(
        after_help = "Example: homecore mail-template set welcome it --subject 'Benvenuto' --text welcome.txt"
    )]
    Set(SetArgs),
    /// Go back to the words of this program
    #[command(after_help = "Example: homecore mail-template unset welcome fr")]
    Unset(NamedArgs),
}

/// One mail in one language.
#[derive(Debug, Args)]
pub(super) struct NamedArgs {
    /// welcome, reset-password or verify-email
    mail: String,
    /// A language code, such as fr or pt-br
    language: String,
    #[command(flatten)]
    plain: PlainArgs,
}

/// New words.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// The subject
    #[arg(long)]
    subject: String,
    /// A file with the text
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// A file with HTML, for programs that show it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl MailTemplateCommand {
    /// Which core to ask, and how to answer.
    pub(super) fn plain(&self) -> &PlainArgs {
        match self {
            Self::List(plain) => plain,
            Self::Get(named) | Self::Unset(named) => &named.plain,
            Self::Set(args) => &args.named.plain,
        }
    }
}

/// Does it.
pub(super) fn run(command: MailTemplateCommand) -> anyhow::Result<()> {
    block_on(async {
        let mut client = connect(command.plain()).await?;
        match command {
            MailTemplateCommand::List(plain) => list(&mut client, &plain).await,
            MailTemplateCommand::Get(named) => get(&mut client, &named).await,
            MailTemplateCommand::Set(args) => set(&mut client, args).await,
            MailTemplateCommand::Unset(named) => unset(&mut client, named).await,
        }
    })
}

async fn connect(plain: &PlainArgs) -> anyhow::Result<MailTemplatesClient<Channel>> {
    let config = plain.config.load()?;
    let core = config.core.id.as_str();
    let channel = channel(&config.core.data, core, Some(CALL_TIMEOUT)).await?;
    Ok(MailTemplatesClient::new(channel))
}

async fn all(client: &mut MailTemplatesClient<Channel>) -> anyhow::Result<Vec<MailTemplate>> {
    let reply = client.list(ListMailTemplatesRequest {}).await;
    Ok(reply.map_err(|s| refused(&s))?.into_inner().templates)
}

async fn list(client: &mut MailTemplatesClient<Channel>, plain: &PlainArgs) -> anyhow::Result<()> {
    let all = all(client).await?;
    if plain.json {
        let shown: Vec<Value> = all.iter().map(shown).collect();
        return answer(&json!({ "templates": shown }).to_string());
    }
    let head = ["mail", "language", "from", "subject"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(all.into_iter().map(|one| {
        let from = if one.shipped { "homecore" } else { "set" };
        vec![one.mail, one.language, from.to_owned(), one.subject]
    }));
    answer(&table(&rows))
}

async fn get(client: &mut MailTemplatesClient<Channel>, named: &NamedArgs) -> anyhow::Result<()> {
    let language = named.language.to_lowercase();
    let all = all(client).await?;
    let found = all
        .into_iter()
        .find(|one| one.mail == named.mail && one.language == language);
    let Some(found) = found else {
        bail!(
            "there is no mail {} in {language}; homecore mail-template list shows all",
            named.mail
        );
    };
    if named.plain.json {
        return answer(&shown(&found).to_string());
    }
    let html = found.html.map(|html| format!("\n--- HTML\n{html}"));
    let html = html.unwrap_or_default();
    answer(&format!(
        "Subject: {}\n\n{}{html}",
        found.subject, found.text
    ))
}

async fn set(client: &mut MailTemplatesClient<Channel>, args: SetArgs) -> anyhow::Result<()> {
    let SetArgs { named, .. } = args;
    let template = MailTemplate {
        mail: named.mail.clone(),
        language: named.language.clone(),
        subject: args.subject,
        text: read(&args.text)?,
        html: args.html.as_deref().map(read).transpose()?,
        shipped: false,
    };
    let request = SetMailTemplateRequest {
        template: Some(template),
    };
    client.set(request).await.map_err(|s| refused(&s))?;
    if named.plain.json {
        return answer(
            &json!({ "mail": named.mail, "language": named.language, "set": true }).to_string(),
        );
    }
    answer(&format!("{} in {} is set", named.mail, named.language))
}

async fn unset(client: &mut MailTemplatesClient<Channel>, named: NamedArgs) -> anyhow::Result<()> {
    let request = UnsetMailTemplateRequest {
        mail: named.mail.clone(),
        language: named.language.clone(),
    };
    let reply = client.unset(request).await.map_err(|s| refused(&s))?;
    let found = reply.into_inner().found;
    if named.plain.json {
        return answer(
            &json!({ "mail": named.mail, "language": named.language, "found": found }).to_string(),
        );
    }
    answer(if found {
        "the words of this program are used again"
    } else {
        "nothing was set"
    })
}

fn shown(one: &MailTemplate) -> Value {
    json!({
        "mail": one.mail, "language": one.language, "shipped": one.shipped,
        "subject": one.subject, "text": one.text, "html": one.html,
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
