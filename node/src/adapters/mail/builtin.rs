//! The words of mails where an operator has set no others.

use super::templates::{Template, TemplateName};

/// A template of the binary: only text, which every program shows.
#[derive(Debug)]
pub(super) struct Shipped {
    subject: &'static str,
    text: &'static str,
}

impl Shipped {
    pub(super) fn owned(&self) -> Template {
        Template {
            subject: self.subject.to_owned(),
            text: self.text.to_owned(),
            html: None,
        }
    }
}

const WELCOME_EN: Shipped = Shipped {
    subject: "Welcome to {{ SERVICE }}",
    text: "Hello {{ USERNAME }},\n\n\
           your account on {{ SERVICE }} is ready. Your username is {{ USERNAME }}.\n\n\
           If you did not create this account, somebody else used your address: please tell us.\n",
};

const RESET_EN: Shipped = Shipped {
    subject: "Set a new password for {{ SERVICE }}",
    text: "Hello {{ USERNAME }},\n\n\
           somebody, probably you, asked for a new password for your account on {{ SERVICE }}.\n\
           You can set it here within {{ RESET_MINUTES }} minutes:\n\n\
           {{ RESET_LINK }}\n\n\
           If it was not you, do nothing: your password stays as it is.\n",
};

const WELCOME_FR: Shipped = Shipped {
    subject: "Bienvenue sur {{ SERVICE }}",
    text: "Bonjour {{ USERNAME }},\n\n\
           votre compte sur {{ SERVICE }} est prêt. Votre nom d'utilisateur est {{ USERNAME }}.\n\n\
           Si vous n'avez pas créé ce compte, quelqu'un a utilisé votre adresse : merci de nous le \
           signaler.\n",
};

const RESET_FR: Shipped = Shipped {
    subject: "Nouveau mot de passe pour {{ SERVICE }}",
    text: "Bonjour {{ USERNAME }},\n\n\
           quelqu'un, sans doute vous, a demandé un nouveau mot de passe pour votre compte sur \
           {{ SERVICE }}.\n\
           Vous pouvez le définir ici dans les {{ RESET_MINUTES }} minutes :\n\n\
           {{ RESET_LINK }}\n\n\
           Si ce n'était pas vous, ne faites rien : votre mot de passe reste le même.\n",
};

const WELCOME_DE: Shipped = Shipped {
    subject: "Willkommen bei {{ SERVICE }}",
    text: "Guten Tag {{ USERNAME }},\n\n\
           Ihr Konto bei {{ SERVICE }} ist bereit. Ihr Benutzername ist {{ USERNAME }}.\n\n\
           Wenn Sie dieses Konto nicht eröffnet haben, hat jemand Ihre Adresse benutzt: Bitte sagen \
           Sie es uns.\n",
};

const RESET_DE: Shipped = Shipped {
    subject: "Neues Passwort für {{ SERVICE }}",
    text: "Guten Tag {{ USERNAME }},\n\n\
           jemand, vermutlich Sie, hat ein neues Passwort für Ihr Konto bei {{ SERVICE }} verlangt.\n\
           Sie können es innert {{ RESET_MINUTES }} Minuten hier setzen:\n\n\
           {{ RESET_LINK }}\n\n\
           Wenn Sie es nicht waren, tun Sie nichts: Ihr Passwort bleibt, wie es ist.\n",
};

const VERIFY_EN: Shipped = Shipped {
    subject: "Is this your address? {{ SERVICE }} asks",
    text: "Hello {{ USERNAME }},\n\n\
           the address {{ EMAIL }} was added to the account {{ USERNAME }} on {{ SERVICE }}.\n\
           If it is yours, say so here within a day:\n\n\
           {{ VERIFY_LINK }}\n\n\
           If it was not you, do nothing: the address is not used.\n",
};

const VERIFY_FR: Shipped = Shipped {
    subject: "Confirmez votre adresse pour {{ SERVICE }}",
    text: "Bonjour {{ USERNAME }},\n\n\
           l'adresse {{ EMAIL }} a été ajoutée au compte {{ USERNAME }} sur {{ SERVICE }}.\n\
           Si elle est à vous, confirmez-le ici dans la journée :\n\n\
           {{ VERIFY_LINK }}\n\n\
           Si ce n'était pas vous, ne faites rien : l'adresse n'est pas utilisée.\n",
};

const VERIFY_DE: Shipped = Shipped {
    subject: "Bestätigen Sie Ihre Adresse für {{ SERVICE }}",
    text: "Guten Tag {{ USERNAME }},\n\n\
           die Adresse {{ EMAIL }} wurde dem Konto {{ USERNAME }} bei {{ SERVICE }} hinzugefügt.\n\
           Wenn sie Ihnen gehört, bestätigen Sie es innert eines Tages hier:\n\n\
           {{ VERIFY_LINK }}\n\n\
           Wenn Sie es nicht waren, tun Sie nichts: Die Adresse wird nicht benutzt.\n",
};

/// All of them.
pub(super) const ALL: &[(TemplateName, &str, Shipped)] = &[
    (TemplateName::Welcome, "en", WELCOME_EN),
    (TemplateName::Welcome, "fr", WELCOME_FR),
    (TemplateName::Welcome, "de", WELCOME_DE),
    (TemplateName::ResetPassword, "en", RESET_EN),
    (TemplateName::ResetPassword, "fr", RESET_FR),
    (TemplateName::ResetPassword, "de", RESET_DE),
    (TemplateName::VerifyEmail, "en", VERIFY_EN),
    (TemplateName::VerifyEmail, "fr", VERIFY_FR),
    (TemplateName::VerifyEmail, "de", VERIFY_DE),
];

/// The one of a language.
pub(super) fn find(name: TemplateName, language: &str) -> Option<Template> {
    let mut all = ALL.iter();
    let found = all.find(|(of, code, _)| *of == name && *code == language);
    found.map(|(_, _, template)| template.owned())
}

/// The one that there always is.
pub(super) fn last(name: TemplateName) -> Template {
    match name {
        TemplateName::Welcome => WELCOME_EN.owned(),
        TemplateName::ResetPassword => RESET_EN.owned(),
        TemplateName::VerifyEmail => VERIFY_EN.owned(),
    }
}
