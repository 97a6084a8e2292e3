//! Values of account fields that the platform declares (`crate::stream::schema`), with what the platform has to
//! know of each.

use std::collections::BTreeMap;

/// The value of a field that the platform declares (`custom.systemStreams.account`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The value.
    pub text: String,
    /// Nobody else on the platform may have it.
    pub unique: bool,
    /// The platform shows it in its listing of users.
    pub indexed: bool,
}

/// The values of those that nobody else may have, by field.
#[must_use]
pub fn unique_of(declared: &BTreeMap<String, Declared>) -> BTreeMap<String, String> {
    texts_of(declared, |value| value.unique)
}

/// The values of those that only listings show, by field.
#[must_use]
pub fn indexed_of(declared: &BTreeMap<String, Declared>) -> BTreeMap<String, String> {
    texts_of(declared, |value| value.indexed && !value.unique)
}

/// Every value, by field.
#[must_use]
pub fn all_of(declared: &BTreeMap<String, Declared>) -> BTreeMap<String, String> {
    texts_of(declared, |_| true)
}

fn texts_of(
    declared: &BTreeMap<String, Declared>,
    which: impl Fn(&Declared) -> bool,
) -> BTreeMap<String, String> {
    let chosen = declared.iter().filter(|(_, value)| which(value));
    chosen
        .map(|(name, value)| (name.clone(), value.text.clone()))
        .collect()
}
