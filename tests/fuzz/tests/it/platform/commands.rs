//! One command of each kind.

use homecore_raft::command::{Command, Founding, HoldNames, ReserveUser, SetEmails};
use homecore_raft::records::{
    AccessRequest, CoreAddresses, DnsRecord, Invitation, PlatformConfig, SealedSecrets,
};
use homecore_types::{ClusterId, CoreId, Millis, NodeId, UserId, Username};

fn core(name: &str) -> CoreId {
    CoreId::parse(name).unwrap()
}

fn name(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub(crate) fn user() -> UserId {
    UserId::parse("u23456789012345678901234").unwrap()
}

fn addresses() -> CoreAddresses {
    CoreAddresses {
        rpc: "core.test:4000".to_owned(),
        url: "https://core.test/".to_owned(),
        ipv4: vec![[192, 0, 2, 1].into()],
        ..CoreAddresses::default()
    }
}

fn reservation() -> ReserveUser {
    ReserveUser {
        reservation: "r1".to_owned(),
        user: user(),
        username: name("alice"),
        unique: [("email".to_owned(), "alice@test.org".to_owned())].into(),
        indexed: [("language".to_owned(), "en".to_owned())].into(),
        hosting: None,
        invitation: Some("i1".to_owned()),
        live: vec![core("core-a")],
        at: Millis(10),
        deadline: Millis(1_000),
        unreached: vec![core("core-b")],
        fields_version: None,
    }
}

/// One of each, in an order in which most take effect.
pub(crate) fn commands() -> Vec<Command> {
    [about_people(), about_cores()].concat()
}

fn about_people() -> Vec<Command> {
    let text = str::to_owned;
    let at = Millis(20);
    vec![
        Command::Found(Founding {
            cluster: ClusterId::parse("c23456789012345678901234").unwrap(),
            core: core("core-a"),
            node: NodeId(1),
            addresses: addresses(),
            config: PlatformConfig {
                version: 1,
                domain: Some(text("example.com")),
                sections: [(text("dns"), text("{}"))].into(),
                fields_version: 0,
            },
            ca_certificate: vec![1, 2, 3],
            secrets: SealedSecrets { envelope: vec![4] },
            at: Millis(0),
        }),
        Command::CreateInvitations {
            invitations: [(
                text("i1"),
                Invitation {
                    created_at: at,
                    created_by: text("admin"),
                    description: String::new(),
                    consumed_at: None,
                    consumed_by: None,
                },
            )]
            .into(),
        },
        Command::ReserveUser(reservation()),
        Command::HoldNames(HoldNames {
            reservation: text("r1"),
            former: Vec::new(),
            changes: 0,
            aliases: vec![name("r-abcdefgh")],
            emails: vec![text("e@test.org")],
            email_changes: 1,
        }),
        Command::CommitUser {
            reservation: text("r1"),
            at,
        },
        Command::UpdateUser {
            user: user(),
            unique: [(text("email"), text("b@test.org"))].into(),
            indexed: [(text("language"), text("fr"))].into(),
            freed: [text("phone")].into(),
            fields_version: None,
        },
        Command::SetEmails(SetEmails {
            user: user(),
            present: text("c@test.org"),
            others: vec![text("d@test.org")],
            changes: 0,
            indexed: [].into(),
            unique: [(text("insuranceNumber"), text("756.1"))].into(),
            freed: [].into(),
            fields_version: None,
        }),
        Command::RenameUser {
            user: user(),
            from: name("alice"),
            to: name("alicia"),
            changes: 0,
            changes_max: 3,
        },
        Command::TakeAlias {
            user: user(),
            alias: name("r-23456789"),
        },
        Command::FreeAliases {
            user: user(),
            aliases: vec![name("r-abcdefgh")],
        },
    ]
}

fn about_cores() -> Vec<Command> {
    let text = str::to_owned;
    let at = Millis(20);
    let request = AccessRequest {
        status: text("NEED_SIGNIN"),
        payload: b"{}".to_vec(),
        deadline: Millis(1_000),
    };
    let accepted = AccessRequest {
        status: text("ACCEPTED"),
        ..request.clone()
    };
    vec![
        Command::PutJoinToken {
            id: text("t"),
            core: core("core-b"),
            at,
            expires: Millis(99),
        },
        Command::AdmitCore {
            token: text("t"),
            core: core("core-b"),
            key: text("k"),
            addresses: addresses(),
            at,
        },
        Command::AnnounceCore {
            core: core("core-b"),
            node: NodeId(2),
            addresses: addresses(),
            at,
        },
        Command::SetCoreAvailable {
            core: core("core-b"),
            available: false,
        },
        Command::AdoptUser {
            asked: reservation(),
            core: core("core-b"),
        },
        Command::PutDnsRecord {
            label: text("_acme"),
            record: DnsRecord {
                txt: vec![text("x")],
                ..DnsRecord::default()
            },
        },
        Command::DeleteDnsRecord {
            label: text("_acme"),
        },
        Command::PutAccessRequest {
            id: text("q"),
            request,
        },
        Command::ResolveAccessRequest {
            id: text("q"),
            request: accepted,
            at,
        },
        Command::PutConfig {
            config: PlatformConfig {
                version: 2,
                domain: None,
                sections: [].into(),
                fields_version: 0,
            },
            base_version: 1,
            unless_accounts: Some(false),
        },
        Command::RevokeJoinToken { id: text("t"), at },
        Command::RemoveCore {
            core: core("core-b"),
            abandon_users: true,
            at,
        },
        Command::ReleaseUser {
            reservation: text("r1"),
        },
        Command::Sweep { now: Millis(5_000) },
        Command::DeleteUser { user: user() },
    ]
}
