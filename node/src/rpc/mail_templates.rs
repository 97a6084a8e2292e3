//! The words of mails, over the operator's socket. They are a section of the platform's
//! configuration: what one core is told, every core sends.

use std::sync::Arc;

use homecore_proto::membership::mail_templates_server;
use homecore_proto::membership::{
    ListMailTemplatesReply, ListMailTemplatesRequest, MailTemplate, SetMailTemplateReply,
    SetMailTemplateRequest, UnsetMailTemplateReply, UnsetMailTemplateRequest,
};
use tonic::{Request, Response, Status};

use super::sections;
use crate::adapters::mail::templates::{
    SECTION, Template, TemplateError, TemplateName, Templates, language,
};
use crate::cluster::Cluster;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct MailTemplates {
    cluster: Arc<Cluster>,
}

fn wrong(error: &TemplateError) -> Status {
    Status::invalid_argument(error.to_string())
}

impl MailTemplates {
    /// For this core.
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Changes the templates, on top of whatever others change meanwhile.
    async fn change<T>(
        &self,
        change: impl Fn(&mut Templates) -> Result<T, TemplateError>,
    ) -> Result<T, Status> {
        sections::change(&self.cluster, |config| {
            let mut templates = Templates::of_platform(Some(config));
            let changed = change(&mut templates).map_err(|error| wrong(&error))?;
            let text = templates.to_text();
            let text = text.map_err(|error| Status::internal(error.to_string()))?;
            config.sections.insert(SECTION.to_owned(), text);
            Ok(changed)
        })
        .await
    }
}

#[tonic::async_trait]
impl mail_templates_server::MailTemplates for MailTemplates {
    async fn list(
        &self,
        _request: Request<ListMailTemplatesRequest>,
    ) -> Result<Response<ListMailTemplatesReply>, Status> {
        let config = sections::current(&self.cluster).await?;
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
