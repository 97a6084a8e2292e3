//! Clients who register, use invitations, look people up, write and read, at every core and all the
//! time; what they asked for and were told becomes histories.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::history::{
    Claim, Claims, Log, LogCall, LogStep, Outcome, Recorder, Step, check, claim,
};
use homecore_harness::{Cluster, Http, Reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::people::Person;

/// How many want the same name, or the same invitation.
const RIVALS: u64 = 3;
/// Rest between two calls of one client: faults are what is tried, not speed.
const REST: Duration = Duration::from_millis(70);
/// One winner in so many logs in at the end.
const PROVED_EVERY: usize = 4;
/// Invitations made at once, the most that the platform makes.
const INVITATIONS: usize = 1000;
/// No request may take longer: `REQUEST_TIMEOUT` of the product, and a little for the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(32);

/// What is known of all clients.
#[derive(Debug)]
pub(crate) struct Book {
    http: Http,
    cores: Vec<String>,
    names: Recorder<Claim>,
    invitations: Recorder<Claim>,
    events: Recorder<LogCall>,
    /// Invitations that nobody has had yet.
    unused: Mutex<Vec<String>>,
    ticket: AtomicU64,
    client: AtomicU32,
    stop: AtomicBool,
    /// Owners by name, with the password that they chose.
    won: Mutex<BTreeMap<String, u32>>,
    /// Writes of users that failed, by core.
    failed: Mutex<Vec<Failure>>,
    longest: Mutex<(Duration, String)>,
    answers: AtomicU64,
}

/// A request of a user that did not get what it should.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The base URL of the core.
    core: String,
    when: Instant,
    why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Running clients; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) book: Arc<Book>,
    people: Vec<Person>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Load {
    /// Somebody who lives at each core, invitations, and the clients.
    pub(crate) async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let http = Http::new()?;
        let cores: Vec<String> = cluster.cores().iter().map(|core| core.url()).collect();
        // Each lives where the fewest live.
        let mut people = Vec::new();
        for number in 0..cores.len() {
            people.push(Person::new(&http, &cores[0], &format!("resident{number}")).await?);
        }
        for core in &cores {
            ensure!(
                people.iter().any(|person| person.home == *core),
                "nobody lives at {core}"
            );
        }
        let unused = invitations(&http, &cores[0], cluster.admin_key().expose()).await?;
        let book = Arc::new(Book {
            http,
            cores,
            names: Recorder::default(),
            invitations: Recorder::default(),
            events: Recorder::default(),
            unused: Mutex::new(unused),
            ticket: AtomicU64::new(0),
            client: AtomicU32::new(1),
            stop: AtomicBool::new(false),
            won: Mutex::default(),
            failed: Mutex::default(),
            longest: Mutex::default(),
            answers: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for at in 0..book.cores.len() {
            tasks.spawn(Arc::clone(&book).claim_on(at));
        }
        for person in &people {
            tasks.spawn(Arc::clone(&book).write_on(person.clone()));
        }
        Ok(Self {
            book,
            people,
            tasks,
        })
    }

    /// No client begins anything any more. While they write, somebody is always a command behind.
    pub(crate) fn stop(&self) {
        self.book.stop.store(true, Ordering::SeqCst);
    }

    /// Ends the clients, looks at everything once more, and has the histories checked. Everything has
    /// to be healed by now. What there was.
    pub(crate) async fn finish(mut self) -> anyhow::Result<String> {
        self.stop();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        let book = &self.book;
        for person in &self.people {
            ensure!(
                book.read(person).await?,
                "{} reads nothing",
                person.username
            );
        }
        let won = book.lock(&book.won).clone();
        // Some of them: a password takes its time.
        for (name, client) in won.iter().step_by(PROVED_EVERY) {
            for core in &book.cores {
                book.look_up(core, name).await?;
            }
            book.prove(name, *client).await?;
        }
        check::<Log>(&book.events.history()).context("the events")?;
        check::<Claims>(&book.names.history()).context("the names")?;
        check::<Claims>(&book.invitations.history()).context("the invitations")?;
        let (longest, what) = book.lock(&book.longest).clone();
        ensure!(longest < DEADLINE, "{what} took {longest:?}");
        Ok(format!(
            "{} names won; {} steps about names, {} about invitations, {} about events; \
             {} answers, the longest after {longest:.1?} ({what})",
            won.len(),
            book.names.history().len(),
            book.invitations.history().len(),
            book.events.history().len(),
            book.answers.load(Ordering::Relaxed),
        ))
    }
}

async fn invitations(http: &Http, core: &str, key: &str) -> anyhow::Result<Vec<String>> {
    let url = format!("{core}system/admin/invitations");
    let body = json!({"count": INVITATIONS});
    let made = http.post(&url, Some(key), &body).await?.expect(201)?;
    let ids = made["invitations"].as_array().context("no invitations")?;
    let ids = ids.iter().filter_map(|item| item["id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

impl Book {
    /// The first failure of a user's request at a core since a moment.
    pub(crate) fn failure(&self, core: &str, since: Instant) -> Option<Failure> {
        let failed = self.lock(&self.failed);
        let mut here = failed
            .iter()
            .filter(|failure| failure.core == core && failure.when >= since);
        here.next().cloned()
    }

    /// What a core says to a question that anybody may ask.
    pub(crate) async fn ask(&self, url: &str) -> anyhow::Result<Value> {
        self.http.get(url, None).await?.expect(200)
    }

    /// How many calls have been answered.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Registers a name of its own: what a core says to that.
    pub(crate) async fn register_fresh(&self, core: &str) -> anyhow::Result<Reply> {
        let client = self.client.fetch_add(1, Ordering::Relaxed);
        let name = format!("fresh{client}");
        let invitation = self.invitation().context("no invitation is left")?;
        let (called, reply) = (
            self.names.now(),
            self.register(core, &name, client, &invitation),
        );
        let reply = reply.await?;
        self.note_name(&name, client, called, Some(&reply));
        Ok(reply)
    }

    /// Asks for names and invitations that others ask for too, at one core.
    async fn claim_on(self: Arc<Self>, at: usize) -> anyhow::Result<()> {
        let core = self.cores[at].clone();
        while !self.stop.load(Ordering::SeqCst) {
            let ticket = self.ticket.fetch_add(1, Ordering::SeqCst);
            let client = self.client.fetch_add(1, Ordering::Relaxed);
            let prize = ticket / RIVALS;
            if prize.is_multiple_of(2) {
                self.claim_name(&core, &format!("prize{prize}"), client)
                    .await?;
            } else {
                self.claim_invitation(&core, prize, client).await?;
            }
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }

    async fn claim_name(&self, core: &str, name: &str, client: u32) -> anyhow::Result<()> {
        let Some(invitation) = self.invitation() else {
            return Ok(());
        };
        let called = self.names.now();
        match self.register(core, name, client, &invitation).await {
            Err(error) if was_never_sent(&error) => {}
            answer => self.note_name(name, client, called, answer.ok().as_ref()),
        }
        let elsewhere = usize::try_from(client)? % self.cores.len();
        self.look_up(&self.cores[elsewhere], name).await
    }

    fn note_name(&self, name: &str, client: u32, called: u64, reply: Option<&Reply>) {
        let outcome = match reply.map(|reply| reply.status.as_u16()) {
            Some(201) => Outcome::Won,
            Some(409) => Outcome::Taken,
            _ => Outcome::Unknown,
        };
        if outcome == Outcome::Won {
            self.lock(&self.won).insert(name.to_owned(), client);
        }
        for entry in claim(name, client, outcome, called, self.names.now()) {
            self.names.note(entry);
        }
    }

    async fn claim_invitation(&self, core: &str, prize: u64, client: u32) -> anyhow::Result<()> {
        // The pool is taken from its end; the invitations at its beginning are fought for.
        let contested = {
            let unused = self.lock(&self.unused);
            let at = usize::try_from(prize)? / 2;
            if at >= unused.len() / 2 {
                return Ok(());
            }
            unused.get(at).cloned()
        };
        let Some(contested) = contested else {
            return Ok(());
        };
        let called = self.invitations.now();
        let name = format!("guest{client}");
        let reply = self.register(core, &name, client, &contested).await;
        let outcome = match reply {
            Err(error) if was_never_sent(&error) => return Ok(()),
            Ok(reply) if reply.status == 201 => Outcome::Won,
            Ok(reply) if reply.status == 400 => {
                ensure!(reply.text().contains("nvitation"), "{}", reply.text());
                Outcome::Taken
            }
            _ => Outcome::Unknown,
        };
        for entry in claim(&contested, client, outcome, called, self.invitations.now()) {
            self.invitations.note(entry);
        }
        Ok(())
    }

    async fn register(
        &self,
        core: &str,
        name: &str,
        client: u32,
        invitation: &str,
    ) -> anyhow::Result<Reply> {
        let body = json!({
            "appId": "cluster-tests", "username": name, "password": password(client),
            "email": format!("{name}-{client}@example.com"), "language": "en",
            "invitationToken": invitation,
        });
        let url = format!("{core}users");
        let reply = self.timed("a registration", self.http.post(&url, None, &body));
        let reply = reply.await?;
        let status = reply.status.as_u16();
        ensure!(
            [201, 400, 409, 503].contains(&status),
            "{status}: {}",
            reply.text()
        );
        ensure!(
            status != 503 || reply.headers.contains_key("retry-after"),
            "503 without Retry-After: {}",
            reply.text()
        );
        Ok(reply)
    }

    /// Notes whether a name has an owner, if that is answered.
    async fn look_up(&self, core: &str, name: &str) -> anyhow::Result<()> {
        let url = format!("{core}reg/cores?username={name}");
        let called = self.names.now();
        let Ok(reply) = self.timed("a look-up", self.http.get(&url, None)).await else {
            return Ok(());
        };
        let seen = match reply.status.as_u16() {
            200 => true,
            404 => false,
            503 => return Ok(()),
            status => anyhow::bail!("{url}: {status}: {}", reply.text()),
        };
        let of = name.to_owned();
        let step = Step::Seen(seen);
        self.names.answered(called, Claim { of, step });
        Ok(())
    }

    /// Logs in as the owner of a name.
    async fn prove(&self, name: &str, client: u32) -> anyhow::Result<()> {
        let url = format!("{}reg/cores?username={name}", self.cores[0]);
        let found = self.http.get(&url, None).await?.expect(200)?;
        let home = found["core"]["url"].as_str().context("no core")?;
        let body =
            json!({"username": name, "password": password(client), "appId": "cluster-tests"});
        let called = self.names.now();
        let url = format!("{home}{name}/auth/login");
        self.http.post(&url, None, &body).await?.expect(200)?;
        let of = name.to_owned();
        let step = Step::Owns(client);
        self.names.answered(called, Claim { of, step });
        Ok(())
    }

    /// Writes and reads somebody's events.
    async fn write_on(self: Arc<Self>, person: Person) -> anyhow::Result<()> {
        for number in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let called = self.events.now();
            let call = LogCall {
                of: person.username.clone(),
                step: LogStep::Append(number),
            };
            let written = self
                .timed("a write", person.write(&self.http, number))
                .await;
            match written {
                Ok(reply) if reply.status == 201 => self.events.answered(called, call),
                other => {
                    if !other.as_ref().is_err_and(was_never_sent) {
                        self.events.unknown(called, call);
                    }
                    let why = match other {
                        Ok(reply) => format!("{}: {}", reply.status, reply.text()),
                        Err(error) => format!("{error:#}"),
                    };
                    self.fail(&person, why);
                }
            }
            if number % 10 == 0 && !self.read(&person).await? {
                self.fail(&person, "it cannot be read".to_owned());
            }
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }

    /// Reads all events; false if there is no answer.
    async fn read(&self, person: &Person) -> anyhow::Result<bool> {
        let called = self.events.now();
        let Ok(numbers) = self.timed("a read", person.numbers(&self.http)).await else {
            return Ok(false);
        };
        let of = person.username.clone();
        let step = LogStep::Read(numbers);
        self.events.answered(called, LogCall { of, step });
        Ok(true)
    }

    fn fail(&self, person: &Person, why: String) {
        self.lock(&self.failed).push(Failure {
            core: person.home.clone(),
            when: Instant::now(),
            why,
        });
    }

    /// Measures how long an answer takes, also one that does not come.
    async fn timed<T>(
        &self,
        what: &str,
        asked: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        let answer = asked.await;
        let took = began.elapsed();
        self.answers
            .fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
        let mut longest = self.lock(&self.longest);
        if took > longest.0 {
            *longest = (took, what.to_owned());
        }
        answer
    }

    fn invitation(&self) -> Option<String> {
        self.lock(&self.unused).pop()
    }

    #[expect(clippy::unused_self, reason = "reads better where it is used")]
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there was no connection to send it through.
fn was_never_sent(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<reqwest::Error>();
    error.is_some_and(reqwest::Error::is_connect)
}

fn password(client: u32) -> Value {
    Value::from(format!("password-of-{client}"))
}
