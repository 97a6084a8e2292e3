//! Ids of accesses and of their versions: an access keeps its id for good, and each update makes a
//! version `<id>:<serial>` of it, the first update serial 1 (spec/pryv-api §3.7).

/// The id of a version; that of an access which was never updated is its own.
#[must_use]
pub fn version(id: &str, serial: u32) -> String {
    if serial == 0 {
        return id.to_owned();
    }
    format!("{id}:{serial}")
}

/// An access, or one version of it, as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As given.
    pub given: String,
    /// The access.
    pub id: String,
    /// Which version; none: the present one.
    pub serial: Option<u32>,
}

impl Named {
    /// Reads an id. None for a version that cannot be: serials begin at 1 and have one spelling.
    #[must_use]
    pub fn parse(given: &str) -> Option<Self> {
        let (id, serial) = match given.split_once(':') {
            None => (given, None),
            Some((id, text)) => {
                let serial: u32 = text.parse().ok()?;
                if serial == 0 || serial.to_string() != text {
                    return None;
                }
                (id, Some(serial))
            }
        };
        Some(Self {
            given: given.to_owned(),
            id: id.to_owned(),
            serial,
        })
    }
}

/// The access in an author (`<id>[:<serial>][ <caller>]`), whichever version of it that was.
#[must_use]
pub fn author_base(author: &str) -> &str {
    author.split([':', ' ']).next().unwrap_or(author)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_one_spelling() {
        let named = |given: &str| Named::parse(given).map(|named| (named.id, named.serial));
        assert_eq!(named("cabc"), Some(("cabc".to_owned(), None)));
        assert_eq!(named("cabc:1"), Some(("cabc".to_owned(), Some(1))));
        for wrong in [
            "cabc:0",
            "cabc:01",
            "cabc:+1",
            "cabc:",
            "cabc:x",
            "cabc:1:2",
            "c:4294967296",
        ] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
        assert_eq!(version("cabc", 0), "cabc");
        assert_eq!(
            named(&version("cabc", 7)),
            Some(("cabc".to_owned(), Some(7)))
        );
    }

    #[test]
    fn authors_are_accesses() {
        for author in ["cabc", "cabc:3", "cabc robot", "cabc:3 robot x", "cabc a:b"] {
            assert_eq!(author_base(author), "cabc", "{author}");
        }
        assert_eq!(author_base("system"), "system");
    }
}
