//! The wire: takes each packet from the device it came from, and gives it to the device of its
//! destination, if, when and as often as the link between the two says.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tappers::Tun;

/// More than the largest packet.
const PACKET_BYTES_MAX: usize = 65_536;

/// How soon a thread notices that it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Packets that may be on their way at once; more are lost, as in a full queue of a router.
const ON_THE_WAY_MAX: usize = 10_000;

/// How packets pass from one machine to another. The default passes everything at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Of a thousand packets, how many are lost.
    pub lost: u16,
    /// Of a thousand packets, how many come twice.
    pub doubled: u16,
    /// How long each is on its way.
    pub delay: Duration,
    /// Up to how much longer, by chance: packets overtake each other.
    pub jitter: Duration,
}

impl Link {
    /// Nothing passes.
    pub const CUT: Self = Self {
        lost: 1000,
        doubled: 0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
    };
}

/// What has become of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Given to their destination.
    pub delivered: u64,
    /// Lost on a link.
    pub lost: u64,
    /// Sent twice.
    pub doubled: u64,
    /// Held back for a time.
    pub delayed: u64,
}

/// A running wire. Its threads end when it is dropped.
#[derive(Debug)]
pub(super) struct Wire {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    ports: Vec<(Ipv4Addr, Tun)>,
    state: Mutex<State>,
    /// Something is to be sent later, or the end has come.
    later: Condvar,
    stop: AtomicBool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    delayed: AtomicU64,
}

struct State {
    /// By sender, then by receiver.
    links: Vec<Vec<Link>>,
    on_the_way: BinaryHeap<Reverse<Held>>,
    random: u64,
    number: u64,
}

/// A packet on its way: when it arrives, which one it is, whereto.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

impl Wire {
    pub(super) fn start(ports: Vec<(Ipv4Addr, Tun)>, seed: u64) -> anyhow::Result<Self> {
        let count = ports.len();
        let shared = Arc::new(Shared {
            ports,
            state: Mutex::new(State {
                links: vec![vec![Link::default(); count]; count],
                on_the_way: BinaryHeap::new(),
                random: seed,
                number: 0,
            }),
            later: Condvar::new(),
            stop: AtomicBool::new(false),
            counts: Counts::default(),
        });
        let mut wire = Self {
            shared,
            threads: Vec::new(),
        };
        for port in 0..count {
            wire.spawn(move |shared| shared.receive(port))?;
        }
        wire.spawn(Shared::send_later)?;
        Ok(wire)
    }

    fn spawn(&mut self, run: impl FnOnce(&Shared) + Send + 'static) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name("wire".to_owned())
            .spawn(move || run(&shared))
            .context("cannot start a thread")?;
        self.threads.push(thread);
        Ok(())
    }

    pub(super) fn set(&self, from: usize, to: usize, link: Link) -> anyhow::Result<()> {
        let mut state = self.shared.lock();
        let row = state.links.get_mut(from).context("no such machine")?;
        *row.get_mut(to).context("no such machine")? = link;
        Ok(())
    }

    pub(super) fn heal(&self) {
        for row in &mut self.shared.lock().links {
            row.fill(Link::default());
        }
    }

    pub(super) fn passed(&self) -> Passed {
        let counts = &self.shared.counts;
        Passed {
            delivered: counts.delivered.load(Ordering::Relaxed),
            lost: counts.lost.load(Ordering::Relaxed),
            doubled: counts.doubled.load(Ordering::Relaxed),
            delayed: counts.delayed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Under the lock: else the sender could look just before and wait just after.
        let state = self.shared.lock();
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(state);
        self.shared.later.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("ports", &self.ports.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes packets from a port until the end.
    fn receive(&self, port: usize) {
        let Some((_address, device)) = self.ports.get(port) else {
            return;
        };
        let wait = Timespec::try_from(LOOK_EVERY).ok();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !self.stop.load(Ordering::SeqCst) {
            let mut asked = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN)];
            if !matches!(poll(&mut asked, wait.as_ref()), Ok(1..)) {
                continue;
            }
            if let Ok(length) = device.recv(&mut buffer)
                && let Some(packet) = buffer.get(..length)
            {
                self.pass(port, packet);
            }
        }
    }

    /// Decides about a packet.
    fn pass(&self, from: usize, packet: &[u8]) {
        let Some(to) = self.destination(packet) else {
            return;
        };
        let mut state = self.lock();
        let Some(link) = state.link(from, to) else {
            return;
        };
        if state.happens(link.lost) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let copies = 1 + usize::from(state.happens(link.doubled));
        if copies > 1 {
            self.counts.doubled.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..copies {
            let wait = link.delay + state.up_to(link.jitter);
            if wait.is_zero() {
                self.deliver(to, packet);
            } else if state.on_the_way.len() < ON_THE_WAY_MAX {
                self.counts.delayed.fetch_add(1, Ordering::Relaxed);
                state.number += 1;
                let held = Held {
                    due: Instant::now() + wait,
                    number: state.number,
                    to,
                    packet: packet.to_vec(),
                };
                state.on_the_way.push(Reverse(held));
                self.later.notify_all();
            } else {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Delivers what is due, until the end.
    fn send_later(&self) {
        let mut state = self.lock();
        while !self.stop.load(Ordering::SeqCst) {
            let now = Instant::now();
            let first = state.on_the_way.peek().map(|Reverse(held)| held.due);
            let wait = match first {
                Some(due) if due <= now => {
                    if let Some(Reverse(held)) = state.on_the_way.pop() {
                        self.deliver(held.to, &held.packet);
                    }
                    continue;
                }
                Some(due) => due - now,
                None => LOOK_EVERY,
            };
            let woken = self.later.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn deliver(&self, to: usize, packet: &[u8]) {
        let sent = self.ports.get(to).map(|(_address, port)| port.send(packet));
        // A machine that takes no packet has lost it.
        let count = match sent {
            Some(Ok(_)) => &self.counts.delivered,
            _ => &self.counts.lost,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The port of an IPv4 packet's destination.
    fn destination(&self, packet: &[u8]) -> Option<usize> {
        let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
        let version = packet.first()? >> 4;
        let to = Ipv4Addr::from(to);
        (version == 4)
            .then(|| self.ports.iter().position(|(address, _)| *address == to))
            .flatten()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn link(&self, from: usize, to: usize) -> Option<Link> {
        self.links.get(from)?.get(to).copied()
    }

    fn happens(&mut self, of_a_thousand: u16) -> bool {
        self.next() % 1000 < u64::from(of_a_thousand)
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next() % micros.saturating_add(1).max(1))
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
