//! Which templates are taken, and which one somebody gets.

use super::*;

fn template(subject: &str, text: &str) -> Template {
    Template {
        subject: subject.to_owned(),
        text: text.to_owned(),
        html: None,
    }
}

fn no_link(part: &'static str) -> TemplateError {
    TemplateError::NoLink {
        part,
        link: "RESET_LINK",
        token: "RESET_TOKEN",
    }
}

#[test]
fn those_of_the_binary_can_be_sent() {
    for (name, language, template) in builtin::ALL {
        template.owned().check(*name).unwrap();
        assert_eq!(super::language(language).as_deref(), Ok(*language));
    }
    for name in TemplateName::ALL {
        assert!(builtin::find(*name, LAST).is_some());
        assert_eq!(name.wire().parse(), Ok(*name));
    }
}

#[test]
fn what_cannot_be_sent_is_not_taken() {
    use TemplateError as E;
    let reset = TemplateName::ResetPassword;
    let link = "{{ RESET_LINK }}";
    let long = "x".repeat(SUBJECT_CHARS_MAX + 1);
    let huge = format!("{link}{}", "x".repeat(BODY_BYTES_MAX));
    let body = |part| E::Body { part };
    let unknown = |part, name: &str| E::Variable {
        part,
        name: name.to_owned(),
    };
    for (name, subject, text, expected) in [
        (reset, "", link, E::Subject),
        (reset, " ", link, E::Subject),
        (reset, &*long, link, E::Subject),
        (reset, "a\r\nBcc: b@example.com", link, E::Subject),
        (reset, "a {{ RESET_TOKEN }}", link, E::TokenInSubject),
        (reset, "a {{ NOPE }}", link, unknown("subject", "NOPE")),
        (reset, "a", "", body("text")),
        (reset, "a", &*huge, body("text")),
        (reset, "a", "{{ RESET_LINK }}\u{0}", body("text")),
        (reset, "a", "no link", no_link("text")),
        (reset, "a", "{{ RESET_LINK", E::Open { part: "text" }),
        (
            reset,
            "a",
            "{{ reset_link }}",
            unknown("text", "reset_link"),
        ),
        (
            TemplateName::Welcome,
            "a",
            link,
            unknown("text", "RESET_LINK"),
        ),
    ] {
        let refused = template(subject, text).check(name);
        assert_eq!(refused, Err(expected), "{subject} {text:.40}");
    }
    let mut both = template("a", "{{RESET_TOKEN}}");
    both.check(reset).unwrap();
    both.html = Some("<p>no link</p>".to_owned());
    assert_eq!(both.check(reset), Err(no_link("HTML")));
    both.html = Some("<a href=\"{{ RESET_LINK }}\">here</a>".to_owned());
    both.check(reset).unwrap();
}

#[test]
fn values_are_put_in_as_text() {
    let values = BTreeMap::from([
        (Variable::Username, "a\"<b>&'".to_owned()),
        (Variable::Service, "x\r\ny {{ USERNAME }}".to_owned()),
    ]);
    let template = Template {
        subject: "To {{USERNAME}} of {{ SERVICE }}!".to_owned(),
        text: "{{ USERNAME }} {{ EMAIL }}.".to_owned(),
        html: Some("<p>{{ USERNAME }}</p>".to_owned()),
    };
    assert_eq!(
        template.filled_subject(&values),
        "To a\"<b>&' of x  y {{ USERNAME }}!"
    );
    assert_eq!(template.filled_text(&values), "a\"<b>&' .");
    assert_eq!(
        template.filled_html(&values).unwrap(),
        "<p>a&quot;&lt;b&gt;&amp;&#39;</p>"
    );
}

#[test]
fn languages_are_codes() {
    assert_eq!(language("pt-BR").as_deref(), Ok("pt-br"));
    for wrong in ["", "f", "french", "f_r", "1a", "fr\n"] {
        assert!(language(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn everybody_gets_the_nearest_language() {
    let mut templates = Templates::default();
    let welcome = TemplateName::Welcome;
    let set = |templates: &mut Templates, code: &str| {
        templates.set(
            welcome,
            code.to_owned(),
            template(&format!("in {code}"), "x"),
        )
    };
    set(&mut templates, "it").unwrap();
    set(&mut templates, "fr").unwrap();
    let subject = |templates: &Templates, wanted: &str, fallback: &str| {
        templates.choose(welcome, wanted, fallback).subject
    };
    assert_eq!(subject(&templates, "fr-CH", "en"), "in fr");
    assert_eq!(subject(&templates, "FR", "en"), "in fr");
    assert!(subject(&templates, "de", "it").starts_with("Willkommen"));
    assert_eq!(subject(&templates, "xx", "it"), "in it");
    assert!(subject(&templates, "xx", "yy").starts_with("Welcome"));
    assert!(subject(&templates, "", "en").starts_with("Welcome"));

    let read: Templates = serde_json::from_str(&templates.to_text().unwrap()).unwrap();
    assert_eq!(read, templates);
    let all = templates.all();
    assert!(!all[&(welcome, "fr".to_owned())].1 && all[&(welcome, "de".to_owned())].1);
    assert!(templates.unset(welcome, "fr") && !templates.unset(welcome, "fr"));
    assert!(subject(&templates, "fr", "en").starts_with("Bienvenue"));
    for n in 0..LANGUAGES_MAX - 1 {
        set(&mut templates, &format!("x{n}")).unwrap();
    }
    assert_eq!(set(&mut templates, "zz"), Err(TemplateError::TooMany));
    set(&mut templates, "it").unwrap();
}

#[test]
fn sections_that_cannot_be_read_are_as_if_there_were_none() {
    let section = |text: &str| PlatformConfig {
        version: 1,
        domain: None,
        sections: BTreeMap::from([(SECTION.to_owned(), text.to_owned())]),
        fields_version: 0,
    };
    for text in ["", "[]", "{\"goodbye\":{}}", "{\"welcome\":{\"fr\":{}}}"] {
        let config = section(text);
        assert_eq!(Templates::of_platform(Some(&config)), Templates::default());
    }
    assert_eq!(Templates::of_platform(None), Templates::default());
}
