//! What a section of the platform's configuration means at this moment: read again when it changed, so that a
//! change is in effect on every core at once. Where the platform has no such section (an older version founded
//! it), this core's file is what counts.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use homecore_kernel::trust::TrustedApps;

use crate::cluster::Cluster;
use crate::config::{AppsConfig, Config, Problem, ServiceConfig};

/// Makes something of a section's text, if there is the section.
type Build<T> = dyn Fn(Option<&str>) -> Arc<T> + Send + Sync;

/// See the module.
pub(crate) struct Live<T> {
    cluster: Arc<Cluster>,
    section: &'static str,
    build: Box<Build<T>>,
    built: ArcSwapOption<(Option<String>, Arc<T>)>,
}

impl<T> Live<T> {
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        section: &'static str,
        build: impl Fn(Option<&str>) -> Arc<T> + Send + Sync + 'static,
    ) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            section,
            build: Box::new(build),
            built: ArcSwapOption::empty(),
        }
    }

    /// What it means now.
    pub(crate) fn get(&self) -> Arc<T> {
        let directory = self.cluster.directory();
        let config = directory.config();
        let text = config.and_then(|config| config.sections.get(self.section));
        if let Some(built) = &*self.built.load()
            && built.0.as_ref() == text
        {
            return Arc::clone(&built.1);
        }
        let value = (self.build)(text.map(String::as_str));
        self.built
            .store(Some(Arc::new((text.cloned(), Arc::clone(&value)))));
        value
    }

    /// Returns once it may mean something else than this.
    pub(crate) async fn changed(&self, known: &Arc<T>) {
        let mut applied = self.cluster.platform.watch_applied();
        while Arc::ptr_eq(known, &self.get()) {
            if applied.changed().await.is_err() {
                // The core stops.
                return std::future::pending().await;
            }
        }
    }
}

impl<T> std::fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("section", &self.section)
            .finish_non_exhaustive()
    }
}

/// What service info says.
pub(crate) fn service(config: &Config, cluster: &Arc<Cluster>) -> Live<ServiceConfig> {
    let file = config.service.clone();
    Live::new(cluster, ServiceConfig::SECTION, move |text| {
        Arc::new(said(
            text,
            ServiceConfig::SECTION,
            ServiceConfig::parse,
            &file,
        ))
    })
}

/// Where people sign in.
pub(crate) fn apps(config: &Config, cluster: &Arc<Cluster>) -> Live<AppsConfig> {
    let file = config.apps.clone();
    Live::new(cluster, AppsConfig::SECTION, move |text| {
        Arc::new(said(text, AppsConfig::SECTION, AppsConfig::parse, &file))
    })
}

/// Which apps may ask for passwords.
pub(crate) fn trusted_apps(config: &Config, cluster: &Arc<Cluster>) -> Live<TrustedApps> {
    let file = config.apps.clone();
    Live::new(cluster, AppsConfig::SECTION, move |text| {
        Arc::new(trusted(text, &file))
    })
}

/// The platform's list, else the file's. One that cannot be read trusts nobody: what a core's own file says may
/// be everybody.
fn trusted(text: Option<&str>, file: &AppsConfig) -> TrustedApps {
    let list = match text.map(|text| AppsConfig::parse_trusted(text, file)) {
        None => file.trusted_apps.clone(),
        Some(Ok(list)) => list,
        Some(Err(problems)) => {
            for problem in problems {
                tracing::error!(%problem, "no app is trusted: the platform's list cannot be read");
            }
            return TrustedApps::default();
        }
    };
    TrustedApps::parse(&list).unwrap_or_else(|error| {
        // It was checked when it was read.
        tracing::error!(%error, "no app is trusted: the list cannot be read");
        TrustedApps::default()
    })
}

/// The platform's word, key by key, else the file's.
fn said<T: Clone>(
    text: Option<&str>,
    section: &'static str,
    parse: fn(&str, &T) -> Result<T, Vec<Problem>>,
    file: &T,
) -> T {
    let Some(text) = text else {
        return file.clone();
    };
    parse(text, file).unwrap_or_else(|problems| {
        // It was checked before the platform took it: a newer version did.
        for problem in problems {
            tracing::error!(%problem, section, "the platform's section cannot be read: this core's file is used");
        }
        file.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_goes_before_the_file_key_by_key() {
        let file = ServiceConfig::of_file(r#"{"name":"file","serial":"7"}"#);
        let said = |text| said(text, ServiceConfig::SECTION, ServiceConfig::parse, &file);
        assert_eq!(said(None), file);
        // What a newer version says besides is no reason to pass over what this one knows.
        let platform = said(Some(r#"{"name":"platform","colour":1}"#));
        assert_eq!(
            (platform.name.as_str(), platform.serial.as_str()),
            ("platform", "7")
        );
        for damaged in ["", "null", r#"{"name":1}"#] {
            assert_eq!(said(Some(damaged)), file, "{damaged}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_trusts_nobody() {
        let file = AppsConfig::of_file("{}");
        assert_eq!(file.trusted_apps, "*@*");
        let trusts = |text: &str| trusted(Some(text), &file).trusts("an-app", "https://any.test");
        assert!(trusts("{}"));
        // Another key that only a newer version can read is no reason to go by the file.
        let listed = r#"{"trusted_apps":"an-app@*","default_auth_url":1}"#;
        assert!(trusts(listed));
        for closed in [
            r#"{"trusted_apps":"other@*","default_auth_url":1}"#,
            r#"{"trusted_apps":["an-app@*"]}"#,
            "null",
            "[broken",
        ] {
            assert!(!trusts(closed), "{closed}");
        }
    }
}
