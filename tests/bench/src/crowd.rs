//! A crowd: any number of users, put where a core that is stopped keeps its users, because millions
//! of registrations would take days of hashing passwords.
//!
//! Nothing is copied or faked: the platform's part is a snapshot file, written with the platform
//! store's own types in the order in which a core writes one, and the accounts ([`data`]) are made by
//! the store and the kernel's import. A core that starts on it makes its state from it as it would
//! from any other snapshot. Names and ids look random, as drawn ones do, so that no index gains from
//! their likeness; yet each is told from its number alone, in order, so that millions need no memory.

pub(crate) mod data;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::Core;
use homecore_raft::directory;
use homecore_raft::engine::EngineKind;
use homecore_raft::keys::{Cores, NameRow, Names, Space, Table, Unique, Users};
use homecore_raft::machine::Machine;
use homecore_raft::records::User;
use homecore_raft::snapshot::{Item, Writer};
use homecore_types::{Clock as _, CoreId, Millis, SystemClock, UserId, Username};

/// The folder of the platform store in a core's data.
const PLATFORM: &str = "platform";
/// Nine digits of a number to the base of 36.
const NAMES: u64 = 101_559_956_668_416;
const NAME_DIGITS: usize = 9;
/// Longest time that an empty core may take to start, or to stop.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Items handed to the writer at a time.
const BATCH: usize = 1_024;
/// Items read at a time.
const CHUNK: usize = 512;

/// Users who all live on one core.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    core: CoreId,
    count: u64,
    made: Millis,
}

/// A crowd on a core's disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    /// How long its snapshot took to write.
    pub(crate) took: Duration,
}

impl Crowd {
    /// So many users of a core.
    ///
    /// # Errors
    /// When that is no core's name, or there are no users.
    pub(crate) fn new(core: &str, count: u64) -> anyhow::Result<Self> {
        ensure!((1..=NAMES / 2).contains(&count), "a crowd of {count}");
        Ok(Self {
            core: CoreId::parse(core)?,
            count,
            made: SystemClock.now(),
        })
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The name of one. Larger numbers have later names.
    pub(crate) fn username(&self, number: u64) -> String {
        format!("u{}", digits(self.place(number, 1), NAME_DIGITS))
    }

    /// So many names from everywhere among them and in no order; of a small crowd each comes several
    /// times, so that whoever asks for them goes through as much memory of its own as with a large one.
    pub(crate) fn some_names(&self, many: u64) -> Vec<String> {
        let mut order: Vec<u64> = (0..many).collect();
        order.sort_by_key(|place| mixed(*place));
        let numbers = order.into_iter().map(|place| place * self.count / many);
        numbers.map(|number| self.username(number)).collect()
    }

    /// The id of one. The order of ids is not that of names.
    ///
    /// # Errors
    /// Never: it is made as one.
    pub(crate) fn id(&self, number: u64) -> anyhow::Result<UserId> {
        let place = self.count.saturating_sub(number.saturating_add(1));
        let text = format!(
            "c{}{}{}",
            digits(self.place(place, 2), NAME_DIGITS),
            digits(mixed(place), 12),
            digits(mixed(place ^ u64::MAX), 2)
        );
        Ok(UserId::parse(text)?)
    }

    /// Where one stands among all names that there could be: somewhere in a range of its own.
    fn place(&self, number: u64, salt: u64) -> u64 {
        let range = NAMES / self.count;
        number * range + mixed(number.wrapping_mul(4).wrapping_add(salt)) % range
    }

    /// Starts a founder once and stops it, and puts them into its platform.
    ///
    /// # Errors
    /// When the core does not start or stop, or see [`Crowd::settle`].
    pub(crate) async fn found(&self, core: &mut Core) -> anyhow::Result<Settled> {
        core.start()?;
        core.wait_ready(START_TIMEOUT).await?;
        core.stop(START_TIMEOUT).await?;
        let (crowd, data) = (self.clone(), core.data());
        tokio::task::spawn_blocking(move || crowd.settle(&data)).await?
    }

    /// Puts them into the platform of a founder that was started once and is stopped: its next start
    /// finds a snapshot of the same moment with them in it, and nothing else.
    ///
    /// # Errors
    /// When the data is not of such a core, or the disk refuses.
    fn settle(&self, data: &Path) -> anyhow::Result<Settled> {
        let started = Instant::now();
        let platform = data.join(PLATFORM);
        let (engine, state) = state_of(&platform)?;
        let mut machine = Machine::open(&platform, engine, directory::view())?;
        let mut cursor = machine.begin_snapshot()?;
        let mut present: BTreeMap<Space, Vec<Item>> = BTreeMap::new();
        while let Some(items) = machine.next_chunk(&mut cursor, CHUNK)? {
            for item in items {
                present.entry(item.0).or_default().push(item);
            }
        }
        ensure!(
            !present.contains_key(&Space::Names) && !present.contains_key(&Space::Users),
            "there are users on this core already"
        );
        self.count_in(present.entry(Space::Cores).or_default())?;
        let mut writer = Writer::create(machine.snapshots_dir(), cursor.header().clone())?;
        // Not closed: what it held is no longer what the platform is.
        drop(machine);
        std::fs::remove_dir_all(&state)
            .with_context(|| format!("cannot remove {}", state.display()))?;
        for space in Space::replicated() {
            match space {
                Space::Names => self.write(&mut writer, |number| self.name_item(number))?,
                Space::Users => self.write(&mut writer, |place| self.user_item(place))?,
                Space::Unique => self.write(&mut writer, |number| self.email_item(number))?,
                _ => {}
            }
            writer.write(present.get(space).map_or(&[][..], Vec::as_slice))?;
        }
        writer.finish()?;
        Ok(Settled {
            took: started.elapsed(),
        })
    }

    fn write(
        &self,
        writer: &mut Writer,
        item: impl Fn(u64) -> anyhow::Result<Item>,
    ) -> anyhow::Result<()> {
        let mut items = Vec::with_capacity(BATCH);
        for number in 0..self.count {
            items.push(item(number)?);
            if items.len() >= BATCH {
                writer.write(&items)?;
                items.clear();
            }
        }
        Ok(writer.write(&items)?)
    }

    /// Counts them to their core.
    fn count_in(&self, cores: &mut [Item]) -> anyhow::Result<()> {
        let key = Cores::key(&self.core);
        let mine = cores.iter_mut().find(|item| item.1 == key);
        let (_, _, value) = mine.with_context(|| format!("this core is not {}", self.core))?;
        let mut core = Cores::decode(value)?;
        core.users = self.count;
        *value = Cores::encode(&core)?;
        Ok(())
    }

    fn name_item(&self, number: u64) -> anyhow::Result<Item> {
        let row = NameRow {
            id: self.id(number)?,
            core: self.core.clone(),
            active: true,
            alias_of: None,
        };
        let key = Names::key(&self.username(number));
        Ok((Space::Names, key, Names::encode(&row)?))
    }

    /// By the place of the id: in the order of ids.
    fn user_item(&self, place: u64) -> anyhow::Result<Item> {
        let number = self.count.saturating_sub(place.saturating_add(1));
        let (id, username) = (self.id(number)?, self.username(number));
        let (field, email) = email(&username);
        let user = User {
            id: id.clone(),
            username: Username::parse(username)?,
            core: self.core.clone(),
            unique: BTreeMap::from([(field, email)]),
            indexed: BTreeMap::from([
                ("appId".to_owned(), "homecore-bench".to_owned()),
                ("language".to_owned(), "en".to_owned()),
            ]),
            reservation: None,
            invitation: None,
            created_at: self.made,
            aliases: Vec::new(),
            name_changes: 0,
        };
        Ok((Space::Users, Users::key(&id), Users::encode(&user)?))
    }

    fn email_item(&self, number: u64) -> anyhow::Result<Item> {
        let key = Unique::key(&email(&self.username(number)));
        Ok((Space::Unique, key, Unique::encode(&self.id(number)?)?))
    }
}

/// The engine that a core uses, and where.
fn state_of(platform: &Path) -> anyhow::Result<(EngineKind, PathBuf)> {
    [EngineKind::Redb, EngineKind::Sled]
        .into_iter()
        .map(|engine| (engine, platform.join(format!("state-{}", engine.name()))))
        .find(|(_, state)| state.is_dir())
        .with_context(|| format!("{} holds no state", platform.display()))
}

/// The field and the address of a user.
fn email(username: &str) -> (String, String) {
    ("email".to_owned(), format!("{username}@example.com"))
}

/// The last digits of a number to the base of 36.
fn digits(mut number: u64, many: usize) -> String {
    let mut digits = Vec::with_capacity(many);
    for _ in 0..many {
        let digit = u32::try_from(number % 36).unwrap_or(0);
        digits.push(char::from_digit(digit, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.into_iter().rev().collect()
}

/// A number that looks like chance (`SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_ids_are_valid_and_in_order() {
        let crowd = Crowd::new("core-a", 5_000).unwrap();
        let items = |item: &dyn Fn(u64) -> anyhow::Result<Item>| -> Vec<Vec<u8>> {
            (0..crowd.count()).map(|n| item(n).unwrap().1).collect()
        };
        for keys in [
            items(&|n| crowd.name_item(n)),
            items(&|n| crowd.user_item(n)),
            items(&|n| crowd.email_item(n)),
        ] {
            assert!(keys.is_sorted_by(|a, b| a < b));
        }
        let some = crowd.some_names(100);
        assert_eq!(some.len(), 100);
        assert!(!some.is_sorted());
        let few = Crowd::new("core-a", 7).unwrap().some_names(100);
        assert_eq!(few.len(), 100);
        assert_eq!(few.into_iter().collect::<BTreeSet<_>>().len(), 7);
        assert!(Crowd::new("core-a", 0).is_err());
    }

    #[test]
    fn a_name_and_its_user_belong_together() {
        let crowd = Crowd::new("core-a", 1_000).unwrap();
        let (_, name, row) = crowd.name_item(17).unwrap();
        let row = Names::decode(&row).unwrap();
        let (_, id, user) = crowd.user_item(1_000 - 1 - 17).unwrap();
        let user = Users::decode(&user).unwrap();
        assert_eq!(name, user.username.as_str().as_bytes());
        assert_eq!(id, row.id.as_str().as_bytes());
    }
}
