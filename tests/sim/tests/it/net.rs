//! The network between simulated machines: links with delay and loss, cut in one direction or both, and
//! what machines that die do to their connections.
//!
//! Cores speak over TCP, so what is lost arrives later, behind a retransmission, and nothing arrives twice
//! or out of order on one connection. Messages are lost for good where connections break: that is done
//! often, and who sent them sends them again (or must not).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use homecore_types::NodeId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::tally::Fault;
use crate::trace::Trace;
use crate::wire::{Pipe, Wire};

/// A machine's number.
pub(crate) type Host = u64;

/// After so much silence a sender sends again.
pub(crate) const RESEND: Duration = Duration::from_millis(200);
/// What takes so long is delayed.
const LONG: Duration = Duration::from_millis(20);
/// A segment is lost at most so often in a row.
const LOST_MAX: u32 = 4;
/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// How good the links are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) delay_least_ms: u64,
    pub(crate) delay_most_ms: u64,
    /// Of a thousand segments.
    pub(crate) lost: u64,
    /// Of a hundred requests that may come twice.
    pub(crate) twice: u64,
}

impl Weather {
    pub(crate) const FINE: Self = Self {
        delay_least_ms: 1,
        delay_most_ms: 4,
        lost: 0,
        twice: 0,
    };
}

/// The network. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    state: Arc<Mutex<State>>,
    chance: Chance,
    pub(crate) trace: Trace,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    /// From whom to whom nothing gets through.
    cut: BTreeMap<(Host, Host), ()>,
    machines: BTreeMap<Host, Machine>,
    connections: Vec<Connection>,
}

#[derive(Debug, Default)]
struct Machine {
    /// Counts lives: what belongs to an earlier one is dead.
    life: u64,
    off: bool,
    listener: Option<(NodeId, mpsc::Sender<Wire>)>,
}

/// Both directions of a connection, and whose lives it belongs to.
#[derive(Debug)]
struct Connection {
    ends: [(Host, u64); 2],
    /// From the first end to the second, and back.
    pipes: [Weak<Mutex<Pipe>>; 2],
}

/// How a machine's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process is killed: its connections are reset.
    Killed,
    /// The power fails: nobody hears of it.
    Dark,
}

impl Net {
    pub(crate) fn new(chance: Chance, trace: Trace) -> Self {
        let state = State {
            weather: Weather::FINE,
            cut: BTreeMap::new(),
            machines: BTreeMap::new(),
            connections: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            chance,
            trace,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// Lets nothing through from one to another, or everything again.
    pub(crate) fn set_cut(&self, from: Host, to: Host, cut: bool) {
        let mut state = self.lock();
        if cut {
            state.cut.insert((from, to), ());
        } else {
            state.cut.remove(&(from, to));
        }
    }

    /// Lets everything through.
    pub(crate) fn mend(&self) {
        self.lock().cut.clear();
    }

    pub(crate) fn has_cut(&self, from: Host, to: Host) -> bool {
        self.lock().cut.contains_key(&(from, to))
    }

    /// Whether nothing gets through, for whichever reason.
    pub(crate) fn is_cut(&self, from: Host, to: Host) -> bool {
        let state = self.lock();
        state.cut.contains_key(&(from, to)) || state.machines.get(&to).is_some_and(|to| to.off)
    }

    pub(crate) fn is_alive(&self, host: Host, life: u64) -> bool {
        self.lock()
            .machines
            .get(&host)
            .is_some_and(|machine| machine.life == life)
    }

    /// How long a segment that is sent now takes.
    pub(crate) fn travel(&self) -> Duration {
        let weather = self.lock().weather;
        let mut time = self
            .chance
            .millis(weather.delay_least_ms, weather.delay_most_ms);
        let mut lost = 0;
        while lost < LOST_MAX && self.chance.below(1000) < weather.lost {
            time += RESEND * 2_u32.pow(lost);
            lost += 1;
        }
        if lost > 0 {
            self.trace.fault(Fault::Loss);
        }
        if time >= LONG {
            self.trace.fault(Fault::Delay);
        }
        time
    }

    /// After which time a request comes once more, if it does.
    pub(crate) fn again(&self) -> Option<Duration> {
        let weather = self.lock().weather;
        (self.chance.below(100) < weather.twice).then(|| {
            self.trace.fault(Fault::Twice);
            self.chance.millis(0, 3_000)
        })
    }

    /// Begins a machine's life, and tells which it is.
    pub(crate) fn boot(&self, host: Host) -> u64 {
        let mut state = self.lock();
        let machine = state.machines.entry(host).or_default();
        machine.off = false;
        let life = machine.life;
        // What the others still send to an earlier life is answered with a reset.
        for connection in &state.connections {
            connection.reset_behind(host, life, || self.chance.millis(1, 300));
        }
        state.forget_dead();
        life
    }

    /// Takes connections at a machine, as a node.
    pub(crate) fn listen(&self, host: Host, node: NodeId) -> mpsc::Receiver<Wire> {
        let (send, receive) = mpsc::channel(BACKLOG);
        if let Some(machine) = self.lock().machines.get_mut(&host) {
            machine.listener = Some((node, send));
        }
        receive
    }

    /// Ends a machine's life.
    pub(crate) fn end(&self, host: Host, end: End) {
        let mut state = self.lock();
        let machine = state.machines.entry(host).or_default();
        machine.life += 1;
        machine.listener = None;
        machine.off = end == End::Dark;
        let life = machine.life;
        for connection in &state.connections {
            if end == End::Killed {
                connection.reset_behind(host, life, || self.travel_in(state.weather));
            }
            connection.wake();
        }
        if end == End::Killed {
            state.forget_dead();
        }
    }

    fn travel_in(&self, weather: Weather) -> Duration {
        self.chance
            .millis(weather.delay_least_ms, weather.delay_most_ms)
    }

    /// Breaks every connection of a machine; what is under way is lost.
    pub(crate) fn reset(&self, host: Host) {
        for connection in &self.lock().connections {
            if connection.ends.iter().any(|(end, _)| *end == host) {
                connection.reset_now();
            }
        }
    }

    /// Whether a machine that can be reached says that nobody listens there.
    pub(crate) async fn refuses(&self, (from, life): (Host, u64), to: Host) -> bool {
        while self.is_cut(from, to) || self.is_cut(to, from) {
            sleep(RESEND).await;
        }
        sleep(self.travel() + self.travel()).await;
        let gone = self.is_alive(from, life)
            && self
                .lock()
                .machines
                .get(&to)
                .is_some_and(|machine| !machine.off && machine.listener.is_none());
        if gone {
            self.trace.fault(Fault::Refused);
        }
        gone
    }

    /// Connects to a node at a machine.
    pub(crate) async fn connect(
        &self,
        (from, life): (Host, u64),
        caller: NodeId,
        to: Host,
        node: NodeId,
    ) -> io::Result<Wire> {
        while self.is_cut(from, to) || self.is_cut(to, from) {
            sleep(RESEND).await;
        }
        sleep(self.travel() + self.travel()).await;
        if !self.is_alive(from, life) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let (listener, other_life) = {
            let state = self.lock();
            let machine = state.machines.get(&to);
            let listening = machine.and_then(|machine| machine.listener.clone());
            let Some((_, sender)) = listening.filter(|(there, _)| *there == node) else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            (sender, machine.map_or(0, |machine| machine.life))
        };
        let (there, back) = (Pipe::shared(from, to), Pipe::shared(to, from));
        let connection = Connection {
            ends: [(from, life), (to, other_life)],
            pipes: [Arc::downgrade(&there), Arc::downgrade(&back)],
        };
        let far = Wire::new(
            self,
            (to, other_life),
            caller,
            Arc::clone(&there),
            Arc::clone(&back),
        );
        let near = Wire::new(self, (from, life), caller, back, there);
        listener
            .try_send(far)
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        self.lock().connections.push(connection);
        self.trace.detail(format_args!("connect {from}>{to}"));
        Ok(near)
    }
}

impl State {
    fn forget_dead(&mut self) {
        self.connections
            .retain(|connection| connection.pipes.iter().any(|pipe| pipe.strong_count() > 0));
    }
}

impl Connection {
    /// Sends a reset from a machine that has forgotten its end, behind what it had sent.
    fn reset_behind(&self, host: Host, life: u64, travel: impl Fn() -> Duration) {
        for ((end, lived), pipe) in self.ends.iter().zip(&self.pipes) {
            if *end == host
                && *lived != life
                && let Some(pipe) = pipe.upgrade()
            {
                pipe.lock().unwrap().reset(Instant::now() + travel());
            }
        }
    }

    fn reset_now(&self) {
        for pipe in self.pipes.iter().filter_map(Weak::upgrade) {
            let mut pipe = pipe.lock().unwrap();
            pipe.lose();
            pipe.reset(Instant::now());
        }
    }

    fn wake(&self) {
        for pipe in self.pipes.iter().filter_map(Weak::upgrade) {
            pipe.lock().unwrap().wake();
        }
    }
}
