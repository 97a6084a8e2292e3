//! The words of mails, over the operator's socket. They are a section of the platform's
//! configuration: what one core is told, every core sends.

use std::sync::Arc;

use homecore_proto::membership::mail_templates_server;
use homecore_proto::membership::{
    ListMailTemplatesReply, ListMailTemplatesRequest, MailTemplate, SetMailTemplateReply,
    SetMailTemplateRequest, UnsetMailTemplateReply, UnsetMailTemplateRequest,
};
use homecore_raft::command::{Command, Rejection};
use homecore_raft::records::PlatformConfig;
use tonic::{Request, Response, Status};

use crate::adapters::mail::templates::{
    SECTION, Template, TemplateError, TemplateName, Templates, language,
};
use crate::cluster::{Cluster, CommandError};
use crate::telemetry::chain;

/// Attempts at a change while others change the configuration, too.
const ATTEMPTS: usize = 5;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct MailTemplates {
    cluster: Arc<Cluster>,
}

fn wrong(error: &TemplateError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unavailable(error: &dyn std::error::Error) -> Status {
    Status::unavailable(chain(error))
}

impl MailTemplates {
    /// For this core.
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// The platform's configuration as it is now on the leader.
    async fn current(&self) -> Result<PlatformConfig, Status> {
        let directory = self.cluster.platform.current().await;
        let directory = directory.map_err(|error| unavailable(&error))?;
        let config = directory.config().map(|config| (**config).clone());
        config.ok_or_else(|| Status::failed_precondition("the cluster is not founded yet"))
    }

    /// Changes the templates, on top of whatever others change meanwhile.
    async fn change<T>(
        &self,
        change: impl Fn(&mut Templates) -> Result<T, TemplateError>,
    ) -> Result<T, Status> {
        for _ in 0..ATTEMPTS {
            let mut config = self.current().await?;
            let mut templates = Templates::of_platform(Some(&config));
            let changed = change(&mut templates).map_err(|error| wrong(&error))?;
            let text = templates.to_text();
            let text = text.map_err(|error| Status::internal(error.to_string()))?;
            config.sections.insert(SECTION.to_owned(), text);
            let base_version = config.version;
            let put = Command::PutConfig {
                config,
                base_version,
            };
            match self.cluster.done(put, "PutConfig").await {
                Ok(()) => return Ok(changed),
                Err(CommandError::Rejected(Rejection::StaleVersion { .. })) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(Status::aborted(
            "others change the configuration at this moment; try again",
        ))
    }
}

#[tonic::async_trait]
impl mail_templates_server::MailTemplates for MailTemplates {
    async fn list(
        &self,
        _request: Request<ListMailTemplatesRequest>,
    ) -> Result<Response<ListMailTemplatesReply>, Status> {
        let config = self.current().await?;
        let all = Templates::of_platform(Some(&config)).all();
        let shown = all
            .into_iter()
            .map(|((name, language), (template, shipped))| MailTemplate {
                mail: name.wire().to_owned(),
                language,
                subject: template.subject,
                text: template.text,
                html: template.html,
                shipped,
            });
        Ok(Response::new(ListMailTemplatesReply {
            templates: shown.collect(),
        }))
    }

    async fn set(
        &self,
        request: Request<SetMailTemplateRequest>,
    ) -> Result<Response<SetMailTemplateReply>, Status> {
        let given = request.into_inner().template.unwrap_or_default();
        let name: TemplateName = given.mail.parse().map_err(|error| wrong(&error))?;
        let language = language(&given.language).map_err(|error| wrong(&error))?;
        let template = Template {
            subject: given.subject,
            text: given.text,
            html: given.html,
        };
        self.change(|templates| templates.set(name, language.clone(), template.clone()))
            .await?;
        Ok(Response::new(SetMailTemplateReply {}))
    }

    async fn unset(
        &self,
        request: Request<UnsetMailTemplateRequest>,
    ) -> Result<Response<UnsetMailTemplateReply>, Status> {
        let given = request.into_inner();
        let name: TemplateName = given.mail.parse().map_err(|error| wrong(&error))?;
        let language = language(&given.language).map_err(|error| wrong(&error))?;
        let found = self
            .change(|templates| Ok(templates.unset(name, &language)))
            .await?;
        Ok(Response::new(UnsetMailTemplateReply { found }))
    }
}
