//! The commented configuration file that `homecore init`, `join` and `demo` write.

use std::fmt::Write as _;

/// What a new configuration needs to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) core_id: String,
    pub(crate) data: String,
    pub(crate) url: Option<String>,
    pub(crate) ipv4: Vec<String>,
    pub(crate) ipv6: Vec<String>,
    pub(crate) hosting: Option<String>,
    pub(crate) http_listen: String,
    pub(crate) rpc_listen: String,
    pub(crate) rpc_advertise: Option<String>,
    pub(crate) dns_listen: Vec<String>,
    pub(crate) domain: Option<String>,
    pub(crate) found: bool,
    pub(crate) admin_access_key: Option<String>,
    pub(crate) join_secret_file: Option<String>,
    pub(crate) service_name: Option<String>,
}

/// Writes the file's text. Values that were not given stand as comments with their defaults.
pub(crate) fn render(answers: &Answers) -> String {
    let mut out = String::new();
    let text = &mut out;
    line(
        text,
        "# homecore: one core of a cluster. Check this file with: homecore check-config --config FILE",
    );
    line(
        text,
        "# Every key can also be set by the environment, as HOMECORE__SECTION__KEY=value, and by --set section.key=value.",
    );
    core(text, answers);
    listeners(text, answers);
    dns(text, answers);
    rest(text, answers);
    out
}

fn core(out: &mut String, answers: &Answers) {
    line(out, "\n[core]");
    line(
        out,
        "# The name of this core, for good: a DNS label below the domain.",
    );
    set(out, "id", &answers.core_id);
    line(
        out,
        "# Everything this core keeps. Copy nothing into it by hand; never let two cores share it.",
    );
    set(out, "data", &answers.data);
    line(
        out,
        "# Users' writes are refused while less than this is free there. Default: 256, or a sixteenth of a small disk",
    );
    line(out, "# free_min_mb = 256");
    line(
        out,
        "# Where apps reach this core; ends in '/'. Default: https://{id}.{domain}/",
    );
    optional(
        out,
        "url",
        answers.url.as_deref(),
        "https://core-a.example.com/",
    );
    line(
        out,
        "# Addresses that the zone gives out for this core and its users.",
    );
    list(out, "ipv4", &answers.ipv4);
    list(out, "ipv6", &answers.ipv6);
    line(
        out,
        "# The hosting that this core belongs to, where [hostings] lists some.",
    );
    optional(out, "hosting", answers.hosting.as_deref(), "default");
}

fn listeners(out: &mut String, answers: &Answers) {
    line(out, "\n[http]");
    line(
        out,
        "# The API. Put TLS in front of it (deploy/nginx shows how).",
    );
    list(out, "listen", std::slice::from_ref(&answers.http_listen));
    line(
        out,
        "# Believe X-Forwarded-For: only behind a proxy of your own.",
    );
    line(out, "# trust_forwarded = false");
    line(
        out,
        "# Limits of logins, registrations and look-ups per address and user.",
    );
    line(out, "# rate_limits = true");
    line(out, "\n[uploads]");
    line(
        out,
        "# Most megabytes of one file, and of any body that is no form with files (at most 50).",
    );
    line(out, "# max_size_mb = 50");
    line(out, "\n[cluster]");
    line(
        out,
        "# Found a new cluster when the data directory is empty. Left to `homecore serve --found`, it",
    );
    line(
        out,
        "# cannot happen by accident when a disk is not mounted.",
    );
    let comment = if answers.found { "" } else { "# " };
    let _infallible = writeln!(out, "{comment}found = true");
    line(
        out,
        "# Core-to-core traffic (gRPC, mutual TLS), and where the others reach it.",
    );
    set(out, "listen", &answers.rpc_listen);
    optional(
        out,
        "advertise",
        answers.rpc_advertise.as_deref(),
        "core-a.internal:4002",
    );
    line(
        out,
        "# A secret file that lets cores join without a token, for orchestrators.",
    );
    optional(
        out,
        "join_secret_file",
        answers.join_secret_file.as_deref(),
        "/run/secrets/join",
    );
    line(
        out,
        "# Store under the platform's state machine: redb or sled.",
    );
    line(out, "# engine = \"redb\"");
    line(
        out,
        "# A voter silent for this long is replaced by another core.",
    );
    line(out, "# dead_after_s = 60");
    line(
        out,
        "# Platform entries between snapshots: fewer make a start after a crash faster and writes dearer.",
    );
    line(out, "# snapshot_every = 10000");
}

fn dns(out: &mut String, answers: &Answers) {
    line(out, "\n[dns]");
    line(
        out,
        "# The platform's domain; users become {username}.{domain}. The same on every core.",
    );
    optional(out, "domain", answers.domain.as_deref(), "example.com");
    line(out, "# Answer for the domain here.");
    let _infallible = writeln!(out, "active = {}", !answers.dns_listen.is_empty());
    if answers.dns_listen.is_empty() {
        line(out, "# listen = [\"0.0.0.0:5353\"]");
    } else {
        list(out, "listen", &answers.dns_listen);
    }
    line(
        out,
        "# Names of the name servers; default: every core with an address.",
    );
    line(out, "# ns = [\"core-a.example.com\"]");
    line(out, "# ttl_s = 300");
    line(
        out,
        "# Answers a second to one network before they are limited; 0: no limit.",
    );
    line(out, "# rrl_per_second = 200");
    line(
        out,
        "# [dns.root]            # records of the domain itself",
    );
    line(out, "# mx = [\"10 mail.example.net\"]");
    line(out, "# txt = [\"v=spf1 -all\"]");
    line(out, "# [dns.static.www]      # records of other names");
    line(out, "# cname = \"pages.example.net\"");
}

fn rest(out: &mut String, answers: &Answers) {
    auth(out, answers);
    mail(out);
    mfa(out);
    line(out, "\n[account]");
    line(out, "# Addresses of one account, the present one included.");
    line(out, "# max_emails = 5");
    line(out, "\n[user_account]");
    line(
        out,
        "# Who may delete an account: adminToken (with the administrators' key), personalToken (the person).",
    );
    line(out, "# delete = [\"adminToken\"]");
    line(out, "\n[service]");
    line(
        out,
        "# What apps are told about this platform. The same on every core: the file of the core that founds it is",
    );
    line(
        out,
        "# the beginning, homecore apply-config brings the keys that are set; other cores need nothing here.",
    );
    optional(out, "name", answers.service_name.as_deref(), "homecore");
    line(out, "# serial = \"2026112201\"");
    line(out, "# home = \"https://example.com/\"");
    line(out, "# support = \"https://example.com/support\"");
    line(out, "# terms = \"https://example.com/terms\"");
    line(
        out,
        "# Contents of events are checked by this catalogue, read at start and each day (http, https or",
    );
    line(
        out,
        "# file:///…, a file of each core), laid over that of the binary.",
    );
    line(
        out,
        "# event_types = \"https://pryv.github.io/event-types/flat.json\"",
    );
    declared_fields(out);
    changes(out);
    line(out, "\n[log]");
    line(
        out,
        "# auto (text on a terminal, JSON otherwise), json or text; error, warn, info, debug or trace.",
    );
    line(out, "# format = \"auto\"");
    line(out, "# level = \"info\"");
}

fn auth(out: &mut String, answers: &Answers) {
    line(out, "\n[auth]");
    line(
        out,
        "# The administrators' key for /system and /reg/admin. The founder's becomes the cluster's;",
    );
    line(out, "# other cores receive it when they join.");
    optional(
        out,
        "admin_access_key",
        answers.admin_access_key.as_deref(),
        "",
    );
    line(
        out,
        "# Apps that may log users in: appId@origin, '*' matches anything.",
    );
    line(out, "# trusted_apps = \"*@*\"");
    line(
        out,
        "# Pages where people sign in: the usual one, and others that an app may name. These three keys are the",
    );
    line(
        out,
        "# platform's, as [service] is. An empty default_auth_url is none.",
    );
    line(
        out,
        "# default_auth_url = \"https://example.com/access/access.html\"",
    );
    line(out, "# trusted_auth_urls = []");
    line(out, "# session_max_age_s = 1209600");
    line(
        out,
        "# What new passwords need; 0 asks nothing. Categories: lower case, upper case, digits, others.",
    );
    line(out, "# password_complexity_min_length = 0");
    line(out, "# password_complexity_min_char_categories = 0");
    line(
        out,
        "# Days after which a password must, and before which it cannot be changed; the last ones that",
    );
    line(out, "# cannot be chosen again.");
    line(out, "# password_age_max_days = 0");
    line(out, "# password_age_min_days = 0");
    line(out, "# password_prevent_reuse_history_length = 0");
    line(
        out,
        "# How often a person may change the username; former ones still lead to the account.",
    );
    line(out, "# username_change_limit = 2");
    line(
        out,
        "# Where people set a new password, and for how long the token works that they are sent there with.",
    );
    line(
        out,
        "# password_reset_page_url = \"https://example.com/access/reset-password.html\"",
    );
    line(out, "# password_reset_request_max_age_s = 3600");
    line(
        out,
        "# Where people prove an address that they add to the account.",
    );
    line(
        out,
        "# email_verification_page_url = \"https://example.com/access/verify-email.html\"",
    );
}

fn mfa(out: &mut String) {
    line(out, "\n[mfa]");
    line(
        out,
        "# disabled; single (this core makes codes of four digits, a provider sends them) or challenge-verify",
    );
    line(
        out,
        "# (the provider makes, sends and checks them). Who set a second factor is then asked for a code.",
    );
    line(out, "# mode = \"disabled\"");
    line(out, "# session_ttl_s = 1800");
    line(
        out,
        "# One section for each call to the provider ([mfa.single]; [mfa.challenge] and [mfa.verify]). {{ key }} is",
    );
    line(
        out,
        "# what the person gave under that key, such as a telephone number; {{ code }} is the code.",
    );
    line(out, "# [mfa.single]");
    line(out, "# url = \"https://sms.example.com/send\"");
    line(out, "# method = \"POST\"");
    line(out, "# headers = [\"Authorization: Bearer KEY\"]");
    line(
        out,
        "# body = '{ \"to\": \"{{ phone_number }}\", \"text\": \"Your code: {{ code }}\" }'",
    );
}

fn mail(out: &mut String) {
    line(out, "\n[mail]");
    line(
        out,
        "# off, smtp, or console (development: mails with their tokens go to the standard output).",
    );
    line(out, "# mode = \"off\"");
    line(out, "# from = \"Platform <noreply@example.com>\"");
    line(
        out,
        "# Which mails are sent; their words: homecore mail-template --help. The language is for people whose",
    );
    line(out, "# own has none.");
    line(out, "# welcome = true");
    line(out, "# reset_password = true");
    line(out, "# verify_email = false");
    line(out, "# language = \"en\"");
    line(
        out,
        "# starttls (port 587), tls (465) or none (25); a server of your own may need its certificate authority.",
    );
    line(out, "# smtp_host = \"smtp.example.com\"");
    line(out, "# smtp_port = 587");
    line(out, "# smtp_security = \"starttls\"");
    line(out, "# smtp_user = \"platform\"");
    line(
        out,
        "# smtp_password_file = \"/etc/homecore/smtp-password\"",
    );
    line(out, "# smtp_ca_file = \"/etc/homecore/smtp-ca.pem\"");
}

fn declared_fields(out: &mut String) {
    for text in [
        "\n# Account fields of this platform's own (from the file of the core that founds it, or brought later by",
        "# homecore apply-config), and streams that every account begins with. Keys are those of the original server.",
        "# [[custom.systemStreams.account]]",
        "# id = \"insuranceNumber\"",
        "# name = \"Insurance number\"",
        "# type = \"identifier/string\"",
        "# isUnique = true                 # nobody else on the platform has it; so it is indexed, too",
        "# isIndexed = true                # shown in listings of users",
        "# isRequiredInValidation = true   # nobody registers without it",
        "# isShown = true                  # false: nobody can read it",
        "# isEditable = true",
        "# regexValidation = \"^756\\\\.\"",
        "# default = \"none\"                # where nothing is given; not of a unique one",
        "# [[custom.systemStreams.other]]",
        "# id = \"diary\"",
        "# name = \"Diary\"",
    ] {
        line(out, text);
    }
}

fn changes(out: &mut String) {
    line(out, "\n[versioning]");
    line(
        out,
        "# Keep every former version of events that change; apps ask for them by includeHistory.",
    );
    line(out, "# force_keep_history = false");
    line(
        out,
        "# What stays of a deleted event beside its id and the time: keep-nothing (its history goes, too),",
    );
    line(
        out,
        "# keep-authors (who changed each version, and when) or keep-everything.",
    );
    line(out, "# deletion_mode = \"keep-nothing\"");
    line(out, "\n[audit]");
    line(
        out,
        "# Every call on a user leaves an entry in the user's audit log (the streams :_audit:).",
    );
    line(out, "# active = true");
    line(
        out,
        "# Only these methods, or all but these: by id, events.all for a family, all for every one.",
    );
    line(out, "# include = [\"all\"]");
    line(out, "# exclude = [\"events.get\"]");
    line(
        out,
        "# When a user is deleted: erase the log, or keep it as audit/{user id}.jsonl in the data directory.",
    );
    line(out, "# on_user_delete = \"erase\"");
    line(
        out,
        "# A system log that is told of calls, too (RFC 5424): unix:/path or udp:host:port. It never holds a",
    );
    line(
        out,
        "# call up: what it does not take is dropped and counted.",
    );
    line(out, "# [audit.syslog]");
    line(out, "# address = \"unix:/dev/log\"");
    line(out, "# facility = \"local0\"");
    line(out, "# level = \"notice\"");
    line(out, "# app_name = \"homecore-audit\"");
    line(
        out,
        "# template = \"{userid} {type} createdBy:{createdBy} {streamIds} {content}\"",
    );
    line(out, "# include = [\"all\"]");
    line(out, "# exclude = []");
    line(out, "\n[access_tracking]");
    line(
        out,
        "# When each access was last used, and how often for what, is written down (lastUsed, calls).",
    );
    line(out, "# active = true");
    line(out, "\n[shared_secrets]");
    line(
        out,
        "# Secrets that are left with an account and handed over once, to whoever has the key.",
    );
    line(out, "# active = true");
    line(out, "# max_size_bytes = 4096");
    line(out, "# max_ttl_seconds = 2592000");
    line(out, "\n[updates]");
    line(
        out,
        "# Drop changes of fields that only the server writes (such as created) instead of refusing them.",
    );
    line(out, "# ignore_protected_fields = false");
    line(out, "\n[previews]");
    line(
        out,
        "# Previews of pictures that are attached to events: /previews/{username}/events/{id} of [http].",
    );
    line(
        out,
        "# Seconds after which one that nobody looked at is deleted, and most megabytes of all of them.",
    );
    line(out, "# max_age_s = 604800");
    line(out, "# max_size_mb = 4096");
    line(
        out,
        "# Listeners that have them at /{username}/events/{id}, and nothing else, for proxies that expect",
    );
    line(out, "# the original's port.");
    line(out, "# listen = [\"127.0.0.1:3001\"]");
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn set(out: &mut String, key: &str, value: &str) {
    let _infallible = writeln!(out, "{key} = {}", quote(value));
}

fn optional(out: &mut String, key: &str, value: Option<&str>, example: &str) {
    match value {
        Some(value) => set(out, key, value),
        None => {
            let _infallible = writeln!(out, "# {key} = {}", quote(example));
        }
    }
}

fn list(out: &mut String, key: &str, values: &[String]) {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    let _infallible = writeln!(out, "{key} = [{}]", quoted.join(", "));
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
