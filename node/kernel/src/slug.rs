//! The slug rule for ids and tokens that clients choose (spec/pryv-api App. B.4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A chosen id in the form in which it is stored. The prefix of a store (`:name:`) is kept.
pub(crate) fn slugify(chosen: &str) -> String {
    if let Some((name, rest)) = chosen
        .strip_prefix(':')
        .and_then(|inner| inner.split_once(':'))
        && !name.is_empty()
    {
        return format!(":{name}:{}", slug(rest));
    }
    slug(chosen)
}

/// Whether a result cannot be used as an id.
pub(crate) fn is_reserved(id: &str) -> bool {
    matches!(id, "null" | "undefined" | "*" | "")
}

/// A chosen token in the form in which it is stored: only ids are of a store.
pub(crate) fn slug(text: &str) -> String {
    let trimmed = text.trim();
    let mut out = String::with_capacity(trimmed.len());
    let mut had_letters = false;
    for c in trimmed.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '~' => out.push(c),
            '-' => push_dash(&mut out),
            c if c.is_whitespace() => push_dash(&mut out),
            c => {
                had_letters |= c.is_alphanumeric();
                out.push_str(transliterate(c));
            }
        }
    }
    let slug = out.trim_matches('-');
    if slug.is_empty() && had_letters {
        // Nothing of the text can be written in ASCII: an opaque id that depends on it alone.
        return URL_SAFE_NO_PAD.encode(trimmed).replace('-', "~");
    }
    slug.to_owned()
}

fn push_dash(out: &mut String) {
    if !out.ends_with('-') {
        out.push('-');
    }
}

/// The ASCII form of an accented Latin letter; empty for everything else.
fn transliterate(c: char) -> &'static str {
    match c {
        'À'..='Ã' | 'Å' | 'Ā' | 'Ă' | 'Ą' => "A",
        'à'..='ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'Ä' => "A",
        'ä' => "a",
        'Æ' => "AE",
        'æ' => "ae",
        'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' => "C",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'Ð' | 'Ď' | 'Đ' => "D",
        'ð' | 'ď' | 'đ' => "d",
        'È'..='Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' => "E",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => "G",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'Ĥ' | 'Ħ' => "H",
        'ĥ' | 'ħ' => "h",
        'Ì'..='Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' => "I",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'Ĵ' => "J",
        'ĵ' => "j",
        'Ķ' => "K",
        'ķ' => "k",
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ŀ' | 'Ł' => "L",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'Ñ' | 'Ń' | 'Ņ' | 'Ň' => "N",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ŏ' | 'Ő' => "O",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'Œ' => "OE",
        'œ' => "oe",
        'Ŕ' | 'Ŗ' | 'Ř' => "R",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'Ś' | 'Ŝ' | 'Ş' | 'Š' | 'Ș' => "S",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'Ţ' | 'Ť' | 'Ŧ' | 'Ț' => "T",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'Þ' => "TH",
        'þ' => "th",
        'Ù'..='Ü' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ű' | 'Ų' => "U",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'Ŵ' => "W",
        'ŵ' => "w",
        'Ý' | 'Ŷ' | 'Ÿ' => "Y",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'Ź' | 'Ż' | 'Ž' => "Z",
        'ź' | 'ż' | 'ž' => "z",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_contract() {
        for (chosen, stored) in [
            ("Hello World", "Hello-World"),
            ("été & co", "ete-co"),
            ("a/b:c", "abc"),
            ("A--B", "A-B"),
            ("x_y.z~w", "x_y.z~w"),
            ("Not A Slug!", "Not-A-Slug"),
            ("  -a- ", "a"),
            (":dummy:my id", ":dummy:my-id"),
            ("*", ""),
            ("null", "null"),
        ] {
            assert_eq!(slugify(chosen), stored, "{chosen}");
        }
        assert!(is_reserved(&slugify("*")));
        assert!(!slugify("日本語").is_empty());
        assert_ne!(slugify("日本語"), slugify("中文"));
    }

    proptest! {
        #[test]
        fn a_slug_is_its_own_slug(text in "\\PC{0,40}") {
            let once = slug(&text);
            prop_assert!(once.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c)));
            prop_assert_eq!(slug(&once), once.trim_matches('-').to_owned());
        }
    }
}
