//! Which apps may ask for a person's password, and from which origin (spec/pryv-api §2.2).

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The list of `auth.trustedApps`: patterns of app ids and origins in which `*` stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedApps(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    app: String,
    origin: String,
}

/// An entry of the list that is not `app@origin`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("trusted app {entry:?} is not of the form appId@origin")]
pub struct TrustedAppsError {
    /// As it was given.
    pub entry: String,
}

impl TrustedApps {
    /// Reads a comma-separated list of `appIdPattern@originPattern`.
    ///
    /// ```
    /// # use homecore_kernel::trust::TrustedApps;
    /// let apps = TrustedApps::parse("*@https://*.example.com:*, my-app@*").unwrap();
    /// assert!(apps.trusts("my-app", ""));
    /// assert!(!apps.trusts("other", "https://example.org"));
    /// ```
    ///
    /// # Errors
    /// Names the first entry that has no `@`.
    pub fn parse(list: &str) -> Result<Self, TrustedAppsError> {
        list.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| match entry.split_once('@') {
                Some((app, origin)) => Ok(Entry {
                    app: app.trim().to_owned(),
                    origin: origin.trim().to_owned(),
                }),
                None => Err(TrustedAppsError {
                    entry: entry.to_owned(),
                }),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether an app may act from an origin; the whole of both must match one entry.
    #[must_use]
    pub fn trusts(&self, app: &str, origin: &str) -> bool {
        self.0
            .iter()
            .any(|entry| matches(&entry.app, app) && matches(&entry.origin, origin))
    }
}

/// Where the list comes from: the platform may change it at any time.
#[derive(Clone)]
pub struct TrustedAppsSource(Arc<dyn Fn() -> Arc<TrustedApps> + Send + Sync>);

impl TrustedAppsSource {
    /// One that asks this.
    pub fn new(ask: impl Fn() -> Arc<TrustedApps> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// A list that stays.
    #[must_use]
    pub fn fixed(apps: TrustedApps) -> Self {
        let apps = Arc::new(apps);
        Self::new(move || Arc::clone(&apps))
    }

    /// The present one.
    #[must_use]
    pub fn get(&self) -> Arc<TrustedApps> {
        (self.0)()
    }
}

impl Default for TrustedAppsSource {
    /// No app is trusted.
    fn default() -> Self {
        Self::fixed(TrustedApps::default())
    }
}

impl fmt::Debug for TrustedAppsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedAppsSource").finish_non_exhaustive()
    }
}

/// Whether `text` as a whole matches `pattern`, where `*` stands for any run of characters; only one
/// at the very end of the pattern also covers `/`. Otherwise `https://*.example.com` would trust the
/// referer `https://evil.test/.example.com`. Goes back only to the last star, which is enough and
/// bounds the time by the product of both lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) if p + 1 == pattern.len() => return true,
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(wanted), Some(found)) if wanted == found => {
                p += 1;
                t += 1;
            }
            (None, None) => return true,
            _ => match star {
                Some((at, from)) if text.get(from).is_some_and(|byte| *byte != b'/') => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_anything_and_the_rest_must_fit() {
        let apps =
            TrustedApps::parse("*@https://*.example.com:*, my-app@*, *@https://l.backloop.dev*")
                .unwrap();
        for (app, origin, trusted) in [
            ("any", "https://a.example.com:443", true),
            ("any", "https://a.b.example.com:1", true),
            ("any", "https://a.example.com", false),
            ("any", "https://evil.com/.example.com:1", false),
            ("my-app", "", true),
            ("my-app", "https://anywhere", true),
            ("my-app2", "https://anywhere", false),
            ("sample-app", "https://l.backloop.dev", true),
            ("sample-app", "https://l.backloop.dev/x", true),
            ("sample-app", "https://evil.example.com", false),
            ("sample-app", "", false),
        ] {
            assert_eq!(apps.trusts(app, origin), trusted, "{app} {origin}");
        }
        assert!(!TrustedApps::default().trusts("a", ""));
    }

    #[test]
    fn a_broken_entry_is_named() {
        let error = TrustedApps::parse("a@*, nothing").unwrap_err();
        assert_eq!(
            error,
            TrustedAppsError {
                entry: "nothing".to_owned()
            }
        );
    }
}
