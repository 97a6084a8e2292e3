//! What a section of the platform's configuration means at this moment: read again when it changed, so that a
//! change is in effect on every core at once. Where the platform does not say a key (an older version founded it),
//! this core's file is what counts.

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

    /// Returns once this is so of what it means.
    pub(crate) async fn wait_until(&self, is_so: impl Fn(&T) -> bool) {
        let mut applied = self.cluster.platform.watch_applied();
        while !is_so(&self.get()) {
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
        Arc::new(said(text, ServiceConfig::parse, &file))
    })
}

/// Where people sign in.
pub(crate) fn apps(config: &Config, cluster: &Arc<Cluster>) -> Live<AppsConfig> {
    let file = config.apps.clone();
    Live::new(cluster, AppsConfig::SECTION, move |text| {
        Arc::new(said(text, AppsConfig::parse, &file))
    })
}

/// Which apps may ask for passwords.
pub(crate) fn trusted_apps(config: &Config, cluster: &Arc<Cluster>) -> Live<TrustedApps> {
    let file = config.apps.trusted_apps.clone();
    let last = ArcSwapOption::empty();
    Live::new(cluster, AppsConfig::SECTION, move |text| {
        trusted(text, &file, &last)
    })
}

/// Key by key the platform's word, else the file's.
fn said<T: Clone>(text: Option<&str>, parse: fn(&str, &T) -> (T, Vec<Problem>), file: &T) -> T {
    let Some(text) = text else {
        return file.clone();
    };
    let (value, problems) = parse(text, file);
    for problem in problems {
        // It was checked before the platform took it: a newer version did.
        tracing::error!(%problem, "this release cannot read this key of the platform");
    }
    value
}

/// A list that cannot be read is not the file's, which trusts every app where it says nothing: it is the last of the
/// platform that could be read, or empty.
fn trusted(text: Option<&str>, file: &str, last: &ArcSwapOption<TrustedApps>) -> Arc<TrustedApps> {
    match text.map_or(Ok(None), AppsConfig::parse_trusted) {
        Ok(Some(apps)) => {
            let apps = Arc::new(apps);
            last.store(Some(Arc::clone(&apps)));
            apps
        }
        Ok(None) => Arc::new(TrustedApps::parse(file).unwrap_or_else(|error| {
            // It was checked when it was read.
            tracing::error!(%error, "no app is trusted: the list cannot be read");
            TrustedApps::default()
        })),
        Err(problems) => {
            let last = last.load_full();
            let kept = last.is_some();
            for problem in problems {
                tracing::error!(%problem, kept, "this release cannot read which apps the platform trusts: the last \
                    list that it could read stays, or no app is trusted, until this core has the others' release");
            }
            last.unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_the_platforms_before_the_files() {
        let file = r#"{"name":"file","serial":"7"}"#;
        let (file, problems) = ServiceConfig::parse(file, &ServiceConfig::default());
        assert_eq!(problems, []);
        let said = |text| said(text, ServiceConfig::parse, &file);
        assert_eq!(said(None), file);
        // What a newer version says besides is no reason to pass over what this one knows.
        for text in [
            r#"{"name":"platform","colour":1}"#,
            r#"{"name":"platform","colour":null}"#,
            r#"{"name":"platform","serial":8}"#,
            r#"{"name":"platform","serial":null}"#,
        ] {
            let platform = said(Some(text));
            let names = (platform.name.as_str(), platform.serial.as_str());
            assert_eq!(names, ("platform", "7"), "{text}");
        }
        for damaged in ["", "null", r#"{"name":1}"#] {
            assert_eq!(said(Some(damaged)), file, "{damaged}");
        }
    }

    #[test]
    fn a_list_of_trusted_apps_that_cannot_be_read_trusts_nobody_more_than_the_last_one() {
        let unreadable = [
            "",
            "null",
            "[]",
            r#"{"trusted_apps":["a@*"]}"#,
            r#"{"trusted_apps":null}"#,
            r#"{"trusted_apps":"a"}"#,
            r#"{"trusted_apps":"","default_auth_url":"https://example.com/"}"#,
        ];
        let last = ArcSwapOption::empty();
        let trusts = |text, app| trusted(text, "*@*", &last).trusts(app, "https://example.com");
        assert!(trusts(None, "any") && trusts(Some("{}"), "any"));
        for text in unreadable {
            assert!(!trusts(Some(text), "any"), "{text}");
        }
        // Whatever is wrong with its neighbours, or new to this release.
        for text in [
            r#"{"trusted_apps":"ours@*","default_auth_url":null,"trusted_auth_urls":1}"#,
            r#"{"trusted_apps":"ours@*","default_auth_url":"app://x","colour":null}"#,
        ] {
            assert!(trusts(Some(text), "ours") && !trusts(Some(text), "any"));
        }
        for text in unreadable {
            assert!(trusts(Some(text), "ours"), "{text}");
            assert!(!trusts(Some(text), "any"), "{text}");
        }
    }
}
