//! What operators ask of a running cluster: invite, status, remove, tokens, drain.

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use homecore_proto::membership::{
    CoreStatus, DrainRequest, InviteRequest, ListTokensRequest, RemoveRequest, RevokeTokenRequest,
    StatusReply, StatusRequest,
};
use serde_json::json;

use super::client::{connect, refused};
use super::reach::is_loopback;
use super::{ConfigArgs, answer, block_on, say};
use crate::rpc::token::JoinToken;

/// Only which core to ask, and how to answer.
#[derive(Debug, Args)]
pub(super) struct PlainArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Answer in JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `homecore invite`.
#[derive(Debug, Args)]
pub(super) struct InviteArgs {
    /// The name of the new core
    #[arg(long, value_name = "ID")]
    id: String,
    /// How long the line can be used: 90s, 30m, 24h, 7d
    #[arg(long, default_value = "24h", value_parser = parse_span)]
    ttl: Duration,
    #[command(flatten)]
    pub(super) plain: PlainArgs,
}

/// `homecore remove`.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The core to remove
    id: String,
    /// Remove it although users live on it: their names become free, their data stays on its disk
    #[arg(long)]
    abandon_users: bool,
    #[command(flatten)]
    pub(super) plain: PlainArgs,
}

/// `homecore tokens`.
#[derive(Debug, Subcommand)]
pub(super) enum TokensCommand {
    /// List join tokens
    #[command(after_help = "Example: homecore tokens list --json")]
    List(PlainArgs),
    /// Make a join token useless
    #[command(after_help = "Example: homecore tokens revoke 3f9a")]
    Revoke {
        /// As `tokens list` shows it (a unique beginning is enough)
        id: String,
        #[command(flatten)]
        plain: PlainArgs,
    },
}

impl TokensCommand {
    /// Which core to ask, and how to answer.
    pub(super) fn plain(&self) -> &PlainArgs {
        match self {
            Self::List(plain) | Self::Revoke { plain, .. } => plain,
        }
    }
}

/// Prints a join line.
pub(super) fn invite(args: InviteArgs) -> anyhow::Result<()> {
    block_on(async {
        let request = InviteRequest {
            core: args.id.clone(),
            ttl_seconds: args.ttl.as_secs(),
        };
        let mut client = connect(&args.plain.config).await?;
        let reply = client
            .invite(request)
            .await
            .map_err(|s| refused(&s))?
            .into_inner();
        let token = JoinToken::parse(&reply.token)?;
        // It is right where all cores are on one machine, and useless anywhere else.
        let warning = token.addresses.iter().all(|address| is_loopback(address)).then(|| {
            format!(
                "this works on this machine only, for its cores say that they are reached at {}. \
                 For another machine set cluster.listen = \"0.0.0.0:4002\" and cluster.advertise = \
                 \"ADDR:4002\" (ADDR: as that machine reaches this one) in this core's \
                 configuration, restart it, and invite again",
                token.addresses.join(", ")
            )
        });
        if args.plain.json {
            let line = json!({"core": args.id, "token": reply.token, "expires": reply.expires_ms,
                "warning": warning});
            return answer(&line.to_string());
        }
        if let Some(warning) = warning {
            say(&warning);
        }
        answer(&format!("homecore join {}", reply.token))
    })
}

/// Prints the cores.
pub(super) fn status(args: &PlainArgs) -> anyhow::Result<()> {
    block_on(async {
        let mut client = connect(&args.config).await?;
        let reply = client
            .status(StatusRequest {})
            .await
            .map_err(|s| refused(&s))?
            .into_inner();
        if args.json {
            answer(&status_json(&reply).to_string())
        } else {
            answer(&status_text(&reply))
        }
    })
}

/// Removes a core.
pub(super) fn remove(args: RemoveArgs) -> anyhow::Result<()> {
    block_on(async {
        let mut client = connect(&args.plain.config).await?;
        let request = RemoveRequest {
            core: args.id.clone(),
            abandon_users: args.abandon_users,
        };
        let reply = client
            .remove(request)
            .await
            .map_err(|s| refused(&s))?
            .into_inner();
        ensure!(
            reply.removed,
            "{} was not removed: {}",
            args.id,
            reply.message
        );
        if args.plain.json {
            return answer(&json!({"core": args.id, "removed": true}).to_string());
        }
        answer(&reply.message)
    })
}

/// Lists or revokes tokens.
pub(super) fn tokens(command: TokensCommand) -> anyhow::Result<()> {
    block_on(async {
        match command {
            TokensCommand::List(plain) => list_tokens(&plain).await,
            TokensCommand::Revoke { id, plain } => revoke_token(&id, &plain).await,
        }
    })
}

async fn list_tokens(plain: &PlainArgs) -> anyhow::Result<()> {
    let mut client = connect(&plain.config).await?;
    let reply = client
        .list_tokens(ListTokensRequest {})
        .await
        .map_err(|s| refused(&s))?
        .into_inner();
    if plain.json {
        let tokens: Vec<_> = reply
            .tokens
            .iter()
            .map(|t| json!({"id": t.id, "core": t.core, "issued": t.issued_ms, "expires": t.expires_ms, "state": t.state}))
            .collect();
        return answer(&json!({ "tokens": tokens }).to_string());
    }
    if reply.tokens.is_empty() {
        return answer("no join tokens");
    }
    let mut rows = vec![vec![
        "token".to_owned(),
        "core".to_owned(),
        "state".to_owned(),
    ]];
    rows.extend(reply.tokens.iter().map(|t| {
        vec![
            t.id.chars().take(12).collect(),
            t.core.clone(),
            t.state.clone(),
        ]
    }));
    answer(&table(&rows))
}

async fn revoke_token(id: &str, plain: &PlainArgs) -> anyhow::Result<()> {
    let mut client = connect(&plain.config).await?;
    let known = client
        .list_tokens(ListTokensRequest {})
        .await
        .map_err(|s| refused(&s))?
        .into_inner();
    let matching: Vec<_> = known
        .tokens
        .iter()
        .filter(|t| t.id.starts_with(id))
        .collect();
    let [token] = matching.as_slice() else {
        if matching.is_empty() {
            bail!("no join token begins with {id:?}");
        }
        bail!(
            "{} join tokens begin with {id:?}; give more of it",
            matching.len()
        );
    };
    let request = RevokeTokenRequest {
        id: token.id.clone(),
    };
    let reply = client
        .revoke_token(request)
        .await
        .map_err(|s| refused(&s))?
        .into_inner();
    ensure!(reply.found, "the token for {} is gone already", token.core);
    if plain.json {
        return answer(&json!({"id": token.id, "revoked": true}).to_string());
    }
    answer(&format!(
        "the token for {} opens nothing any more",
        token.core
    ))
}

/// Takes no new users any more and hands leadership over.
pub(super) fn drain(args: &PlainArgs) -> anyhow::Result<()> {
    block_on(async {
        let mut client = connect(&args.config).await?;
        let reply = client
            .drain(DrainRequest {})
            .await
            .map_err(|s| refused(&s))?
            .into_inner();
        if args.json {
            return answer(&json!({"message": reply.message}).to_string());
        }
        answer(&reply.message)
    })
}

fn status_json(reply: &StatusReply) -> serde_json::Value {
    let cores: Vec<_> = reply
        .cores
        .iter()
        .map(|c| {
            json!({
                "id": c.core, "node": c.node, "url": c.url, "rpc": c.rpc, "version": c.version,
                "role": c.role, "state": c.state, "available": c.available, "applied": c.applied,
                "lag": c.lag, "silentMs": c.silent_ms, "users": c.users,
                "hosting": Some(&c.hosting).filter(|h| !h.is_empty()),
                "certificateExpires": c.certificate_expires_ms,
                "warning": Some(&c.warning).filter(|w| !w.is_empty()),
            })
        })
        .collect();
    json!({
        "cluster": reply.cluster, "domain": Some(&reply.domain).filter(|d| !d.is_empty()),
        "core": reply.core, "term": reply.term,
        "leader": Some(&reply.leader).filter(|l| !l.is_empty()),
        "applied": reply.last_applied, "quorum": reply.quorum,
        "failuresTolerated": reply.failures_tolerated, "cores": cores,
    })
}

fn status_text(reply: &StatusReply) -> String {
    let mut rows: Vec<Vec<String>> = vec![
        ["core", "url", "role", "state", "applied", "lag", "users"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(reply.cores.iter().map(row));
    let leader = if reply.leader.is_empty() {
        "none"
    } else {
        &reply.leader
    };
    let quorum = if reply.quorum {
        format!("{} more of the voters may fail", reply.failures_tolerated)
    } else {
        "NO QUORUM: cores serve their users, the platform takes no writes".to_owned()
    };
    let mut text = format!(
        "{}\n\ncluster {} · leader {leader} · term {} · {quorum}",
        table(&rows),
        reply.cluster,
        reply.term
    );
    for core in reply.cores.iter().filter(|core| !core.warning.is_empty()) {
        text = format!("{text}\n{}: {}", core.core, core.warning);
    }
    text
}

fn row(core: &CoreStatus) -> Vec<String> {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    vec![
        core.core.clone(),
        core.url.clone(),
        core.role.clone(),
        core.state.clone(),
        number(core.applied),
        number(core.lag),
        core.users.to_string(),
    ]
}

/// Columns, aligned; the first row is the head.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|i| {
            rows.iter()
                .filter_map(|r| r.get(i))
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}", width = *width))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// A span of time such as `24h`.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a span of time such as 90s, 30m, 24h or 7d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(bad()),
    };
    let count: u64 = text
        .strip_suffix(unit)
        .and_then(|n| n.parse().ok())
        .ok_or_else(bad)?;
    count
        .checked_mul(seconds)
        .filter(|s| *s > 0)
        .map(Duration::from_secs)
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_or_refused() {
        assert_eq!(parse_span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in [
            "",
            "h",
            "0s",
            "-1h",
            "1.5h",
            "10",
            "99999999999999999999d",
            "1é",
        ] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tables_are_aligned() {
        let rows = vec![
            vec!["a".to_owned(), "bb".to_owned()],
            vec!["ccc".to_owned(), "d".to_owned()],
        ];
        assert_eq!(table(&rows), "a    bb\nccc  d");
    }
}
