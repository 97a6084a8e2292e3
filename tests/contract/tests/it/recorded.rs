//! Replays the recorded exchanges of the system that this one is compatible with, in their order,
//! against a fresh core. `tests/golden/pryv/differences.txt` says what differs and why; nothing else
//! may, and each line of it must still be true.
//!
//! `HOMECORE_CONTRACT_REPORT=1 cargo nextest run -p homecore-contract-tests recorded --no-capture`
//! prints all differences, also the listed ones. `HOMECORE_CONTRACT_PRUNE=1` removes from the list what
//! differs no more, then looks whether anything else is wrong. Build the core first: `cargo build -p
//! homecore`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_contract_tests::{
    Bindings, Difference, Exchange, Judge, Message, Request, compare, read_exchanges,
};
use homecore_harness::{Core, CoreOptions, Http};
use reqwest::Method;
use serde_json::Value;

const RECORDED: &str = include_str!("../../../golden/pryv/single-core.jsonl");
/// Steps that the recorded ones need, but that were not recorded themselves.
const UNRECORDED: &str = include_str!("../../../golden/pryv/unrecorded.jsonl");
const DIFFERENCES: &str = include_str!("../../../golden/pryv/differences.txt");

const START_TIMEOUT: Duration = Duration::from_secs(60);
const ADMIN_KEY: &str = "the-key-of-the-recorded-admin";

/// The settings of the recorded server that show on the wire.
fn settings() -> Vec<String> {
    [
        "auth.trusted_apps=*@https://l.backloop.dev, *@https://*.backloop.dev*",
        "user_account.delete=[\"adminToken\",\"personalToken\"]",
        "auth.default_auth_url=http://localhost:3000/access/access.html",
        "service.name=Pryv peer (local)",
        "service.serial=\"2019061301\"",
        "service.home=http://127.0.0.1:3990/",
        "service.support=http://127.0.0.1:3990/support",
        "service.terms=http://127.0.0.1:3990/terms",
        "service.event_types=http://127.0.0.1:3990/event-types/flat.json",
    ]
    .map(str::to_owned)
    .into()
}

/// A core, and what it gave for what was recorded.
#[derive(Debug)]
struct Replayer {
    http: Http,
    origin: String,
    known: Bindings,
}

impl Replayer {
    fn new(core: &Core) -> anyhow::Result<Self> {
        let origin = core.url().trim_end_matches('/').to_owned();
        let host = origin.trim_start_matches("http://");
        let mut known = Bindings::default();
        known.bind("peer-admin-key", ADMIN_KEY);
        // Set before the core has a port.
        let page = "access/access.html";
        known.bind(
            &format!("http://127.0.0.1:3000/{page}"),
            &format!("http://localhost:3000/{page}"),
        );
        known.bind("127.0.0.1:3000", host);
        known.bind("127.0.0.1%3A3000", &host.replace(':', "%3A"));
        Ok(Self {
            http: Http::new()?,
            origin,
            known,
        })
    }

    /// Asks, learns, compares.
    async fn replay(&mut self, exchange: &Exchange) -> anyhow::Result<Vec<Difference>> {
        let request = self.known.translate_request(&exchange.request)?;
        let answer = self.ask(&request).await?;
        self.known.learn(&exchange.response.body, &answer.body);
        let id = "pryv-access-id";
        let of = |message: &Message| message.headers.get(id).cloned();
        if let (Some(recorded), Some(ours)) = (of(&exchange.response), of(&answer)) {
            self.known.bind(&recorded, &ours);
        }
        Ok(compare(&exchange.response, &answer, &self.known))
    }

    async fn ask(&self, request: &Request) -> anyhow::Result<Message> {
        let method = Method::from_bytes(request.method.as_bytes())?;
        let url = format!("{}{}", self.origin, request.path);
        let mut asked = self.http.build(method, &url);
        for (name, value) in &request.headers {
            asked = asked.header(name, value);
        }
        let reply = self.http.send(asked.body(request.bytes()?)).await?;
        let headers: BTreeMap<String, String> = reply
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str().to_owned(), value.into_owned())
            })
            .collect();
        Ok(Message::received(
            reply.status.as_u16(),
            headers,
            &reply.body,
        ))
    }
}

#[tokio::test]
async fn recorded_exchanges_repeat() -> anyhow::Result<()> {
    let exchanges = read_exchanges(RECORDED)?;
    ensure!(exchanges.len() == 220, "there are {}", exchanges.len());
    let unrecorded = read_exchanges(UNRECORDED)?;
    let mut judge = Judge::read(DIFFERENCES, &exchanges)?;
    let dir = tempfile::tempdir()?;
    let mut options = CoreOptions::founder("single", ADMIN_KEY);
    options.set = settings();
    let mut core = Core::prepare(dir.path(), options)?;
    core.start()?;
    core.wait_ready(START_TIMEOUT).await?;

    let mut replayer = Replayer::new(&core)?;
    let (mut faults, mut report) = (String::new(), String::new());
    for (index, exchange) in exchanges.iter().enumerate() {
        let number = index + 1;
        for step in unrecorded.iter().filter(|e| e.before == Some(number)) {
            let asked = replayer.replay(step).await;
            asked.with_context(|| format!("before {number}: {}", step.name))?;
        }
        if judge.skips(number) {
            continue;
        }
        let title = title(number, exchange);
        let found = replayer.replay(exchange).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let log = core.process()?.log_tail();
                return Err(error.context(format!("{title}\n{log}")));
            }
        };
        if !found.is_empty() {
            let reasons = judge.reasons(number).join("; ");
            writeln!(report, "{title}\n    [{reasons}]")?;
        }
        for difference in &found {
            writeln!(report, "    {difference}")?;
        }
        let unexpected = judge.unexpected(number, &found);
        if !unexpected.is_empty() {
            writeln!(faults, "{title}")?;
        }
        for difference in unexpected {
            writeln!(faults, "    {difference}")?;
        }
    }
    if is_set("HOMECORE_CONTRACT_PRUNE") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/pryv/differences.txt");
        std::fs::write(path, judge.pruned(DIFFERENCES))?;
    } else {
        for line in judge.stale() {
            writeln!(faults, "{line}")?;
        }
    }
    if is_set("HOMECORE_CONTRACT_REPORT") {
        println!("{report}");
    }
    assert!(
        faults.is_empty(),
        "these are not as tests/golden/pryv/differences.txt has them:\n{faults}"
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the switches of this test alone")]
fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok()
}

fn title(number: usize, exchange: &Exchange) -> String {
    let Request {
        method, path, body, ..
    } = &exchange.request;
    let mut body = match body {
        Value::Null => String::new(),
        body => format!(" {body}"),
    };
    if let Some((at, _)) = body.char_indices().nth(120) {
        body.truncate(at);
        body.push('…');
    }
    format!("{number} {}: {method} {path}{body}", exchange.name)
}
