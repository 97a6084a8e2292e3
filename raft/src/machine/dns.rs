//! DNS records of labels below the domain.

use super::Outcome;
use super::transaction::Transaction;
use crate::command::{Rejection, Response};
use crate::keys::Dns;
use crate::records::DnsRecord;

/// Labels with records of their own: the zone holds them in memory.
pub(super) const LABELS_MAX: u64 = 100_000;
/// Bytes of a label of several parts: the domain has to fit behind it in 253.
const LABEL_BYTES_MAX: usize = 190;

pub(super) fn put(transaction: &mut Transaction<'_>, label: String, record: DnsRecord) -> Outcome {
    let directory = transaction.directory();
    let held = if is_label(&label) {
        directory.holder(&label)
    } else {
        Some("invalid")
    };
    match held {
        None if directory.counts().dns_labels >= LABELS_MAX => {
            let what = "labels with DNS records".to_owned();
            return Err(Rejection::TooMany {
                what,
                most: LABELS_MAX,
            }
            .into());
        }
        None | Some("dns") => {}
        Some(holder) => {
            return Err(Rejection::LabelTaken {
                label,
                holder: holder.to_owned(),
            }
            .into());
        }
    }
    if directory
        .dns_record(&label)
        .is_some_and(|present| **present == record)
    {
        return Ok(Response::Done);
    }
    transaction.put::<Dns>(&label, &record)?;
    let generation = transaction.index();
    transaction
        .directory_mut()
        .set_dns(&label, record, generation);
    Ok(Response::Done)
}

pub(super) fn delete(transaction: &mut Transaction<'_>, label: String) -> Outcome {
    if transaction.directory().dns_record(&label).is_none() {
        return Err(Rejection::UnknownLabel { label }.into());
    }
    transaction.delete::<Dns>(&label);
    let generation = transaction.index();
    transaction.directory_mut().remove_dns(&label, generation);
    Ok(Response::Done)
}

/// Parts of lower-case letters, digits, dashes and underscores (`_acme-challenge`, `a.b`).
fn is_label(label: &str) -> bool {
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    label.len() <= LABEL_BYTES_MAX && label.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::is_label;

    #[test]
    fn labels_have_clean_parts() {
        for good in [
            "a",
            "_acme-challenge",
            "a.b",
            "_dmarc.mail",
            "1",
            &"a".repeat(63),
        ] {
            assert!(is_label(good), "{good}");
        }
        let long = vec!["a".repeat(50); 4].join(".");
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "A",
            "ä",
            "-a",
            "a-",
            "a b",
            "*",
            "@",
            &"a".repeat(64),
            &long,
        ] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
