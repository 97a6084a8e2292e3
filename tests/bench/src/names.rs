//! The load on a DNS server: sockets with so many questions under way each. Every answer is
//! matched with its question and looked at; a question without an answer is asked anew after a
//! while and counted as lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::load::{Measured, Window};

/// Sockets: enough that a server which spreads clients over its sockets by their port uses all.
const SOCKETS: usize = 8;
/// Questions under way on one socket: those of all sockets together fit the default buffer of the
/// one socket that a server may have, so that none is lost there.
const UNDER_WAY: usize = 16;
/// A question that was not answered by then is lost.
const LOST_AFTER: Duration = Duration::from_millis(300);
/// How often a socket looks for lost questions.
const LOOK: Duration = Duration::from_millis(50);

/// What the answers must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// At least one record.
    Hit,
    /// No such name.
    Miss,
}

/// A question for an A record, with the id 0.
pub(crate) fn question(name: &str) -> Vec<u8> {
    // id, flags (an authoritative server need not recurse), one question, nothing else
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes();
        let label = label.get(..63).unwrap_or(label);
        message.push(u8::try_from(label.len()).unwrap_or(63));
        message.extend_from_slice(label);
    }
    // the root, A, IN
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// Why an answer is not what it must be; none if it is.
fn fault(answer: &[u8], expected: Expected) -> Option<String> {
    let &[_, _, flags, code, _, _, many, few, ..] = answer else {
        return Some(format!("{} bytes are no answer", answer.len()));
    };
    let (code, records) = (code & 0x0f, u16::from_be_bytes([many, few]));
    let truncated = flags & 0x02 != 0;
    let right = match expected {
        Expected::Hit => code == 0 && records > 0 && !truncated,
        Expected::Miss => code == 3 && records == 0,
    };
    (!right).then(|| format!("code {code}, {records} records, truncated: {truncated}"))
}

/// Asks one question, once: for those who wait until a name is there.
///
/// # Errors
/// When there is no answer, or not the right one.
pub(crate) async fn ask(server: SocketAddr, name: &str, expected: Expected) -> anyhow::Result<()> {
    let socket = connect(server).await?;
    socket.send(&question(name)).await?;
    let mut answer = [0; 2048];
    let length = timeout(LOST_AFTER, socket.recv(&mut answer))
        .await
        .with_context(|| format!("no answer about {name}"))??;
    match fault(answer.get(..length).unwrap_or_default(), expected) {
        None => Ok(()),
        Some(fault) => bail!("{name}: {fault}"),
    }
}

async fn connect(server: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Asks a server the questions over and over.
///
/// # Errors
/// When a socket fails.
pub(crate) async fn run(
    server: SocketAddr,
    questions: Vec<Vec<u8>>,
    expected: Expected,
    time: Duration,
    groups: &[u32],
) -> anyhow::Result<Measured> {
    let questions = Arc::new(questions);
    let window = Window::ahead(time);
    let mut tasks = JoinSet::new();
    for number in 0..SOCKETS {
        let asking = Asking {
            socket: connect(server).await?,
            questions: Arc::clone(&questions),
            next: number * questions.len() / SOCKETS,
            slots: (0..UNDER_WAY).map(|_| Slot::default()).collect(),
            expected,
            window,
            measured: Measured::empty()?,
        };
        tasks.spawn(asking.run());
    }
    let watched = tokio::spawn(window.processor(groups.to_vec()));
    let mut all = Measured::empty()?;
    while let Some(ended) = tasks.join_next().await {
        all.add(ended.context("a socket's task ended")??)?;
    }
    all.time = window.time();
    all.processor = watched.await.context("the watch over a process ended")?;
    Ok(all)
}

/// A question that is or was under way.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Counts its questions, so that a late answer to a lost one is not taken for the next's.
    turn: u8,
    asked: Option<Instant>,
}

/// One socket.
#[derive(Debug)]
struct Asking {
    socket: UdpSocket,
    questions: Arc<Vec<Vec<u8>>>,
    next: usize,
    slots: Vec<Slot>,
    expected: Expected,
    window: Window,
    measured: Measured,
}

impl Asking {
    async fn run(mut self) -> anyhow::Result<Measured> {
        let mut answer = [0; 2048];
        let mut message = Vec::new();
        let mut look = Instant::now() + LOOK;
        while Instant::now() < self.window.until {
            self.fill(&mut message)?;
            // Its end is a moment to look for lost ones, and no failure.
            let readable = timeout(LOOK, self.socket.readable()).await;
            if let Ok(ready) = readable {
                ready?;
                self.drain(&mut answer)?;
            }
            if Instant::now() >= look {
                self.give_up_lost();
                look = Instant::now() + LOOK;
            }
        }
        Ok(self.measured)
    }

    /// Asks with every free slot.
    fn fill(&mut self, message: &mut Vec<u8>) -> anyhow::Result<()> {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if slot.asked.is_some() {
                continue;
            }
            let question = self.questions.get(self.next % self.questions.len().max(1));
            let question = question.context("there is nothing to ask")?;
            slot.turn = slot.turn.wrapping_add(1);
            message.clear();
            message.extend_from_slice(&[slot.turn, u8::try_from(number)?]);
            message.extend_from_slice(question.get(2..).unwrap_or_default());
            match self.socket.try_send(message) {
                Ok(_) => {
                    slot.asked = Some(Instant::now());
                    self.next += 1;
                }
                // The buffer is full: later, after some answers.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot send to the DNS server"),
            }
        }
        Ok(())
    }

    /// Takes all answers that are there.
    fn drain(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        for _ in 0..UNDER_WAY {
            let length = match self.socket.try_recv(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot receive from the DNS server"),
            };
            let answer = buffer.get(..length).unwrap_or_default();
            let &[turn, number, ..] = answer else {
                continue;
            };
            let slot = self.slots.get_mut(usize::from(number));
            let asked = slot
                .filter(|slot| slot.turn == turn)
                .and_then(|slot| slot.asked.take());
            let Some(asked) = asked else {
                continue;
            };
            let now = Instant::now();
            match fault(answer, self.expected) {
                Some(fault) => self.measured.failed(|| fault),
                None if self.window.holds(now) => self.measured.answered(now - asked),
                None => {}
            }
        }
        Ok(())
    }

    fn give_up_lost(&mut self) {
        for slot in &mut self.slots {
            if slot.asked.is_some_and(|asked| asked.elapsed() > LOST_AFTER) {
                slot.asked = None;
                self.measured
                    .failed(|| "a question was not answered".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_labels() {
        let message = question("ab.example.");
        assert_eq!(
            message.get(12..).unwrap(),
            b"\x02ab\x07example\0\0\x01\0\x01"
        );
    }

    #[test]
    fn answers_are_looked_at() {
        let answer = |code: u8, records: u8, flags: u8| {
            vec![1, 1, 0x84 | flags, code, 0, 1, 0, records, 0, 0, 0, 0]
        };
        assert_eq!(fault(&answer(0, 1, 0), Expected::Hit), None);
        assert_eq!(fault(&answer(3, 0, 0), Expected::Miss), None);
        for (bytes, expected) in [
            (answer(3, 0, 0), Expected::Hit),
            (answer(0, 0, 0), Expected::Hit),
            (answer(0, 1, 2), Expected::Hit),
            (answer(0, 1, 0), Expected::Miss),
            (answer(2, 0, 0), Expected::Miss),
            (vec![1, 1], Expected::Miss),
        ] {
            assert!(fault(&bytes, expected).is_some(), "{bytes:?} {expected:?}");
        }
    }

    #[tokio::test]
    async fn lost_and_wrong_answers_are_counted_apart_from_right_ones() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            for number in 0_u64.. {
                let (length, from) = server.recv_from(&mut buffer).await.unwrap();
                // The first is never answered, the second wrongly.
                let code = if number == 1 { 2 } else { 3 };
                buffer[2] = 0x84;
                buffer[3] = code;
                if number > 0 {
                    server.send_to(&buffer[..length], from).await.unwrap();
                }
            }
        });
        let time = Duration::from_millis(600);
        let measured = run(address, vec![question("x.y")], Expected::Miss, time, &[]).await;
        let measured = measured.unwrap();
        assert!(measured.answers > 100, "{}", measured.answers);
        assert_eq!(measured.failures, 2);
    }
}
