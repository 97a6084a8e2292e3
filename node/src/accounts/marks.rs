//! Files that remember of which users a step is under way that touches both the platform and this
//! core's disk: one each, named after the user.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homecore_kernel::ports::Unavailable;
use homecore_types::UserId;

use super::unavailable;
use crate::rpc::files;

/// What a file says of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The account is being made.
    Creation,
    /// The user is being imported under this reservation.
    Import(String),
    /// Its fields may differ from the platform's.
    Change,
    /// It is being deleted.
    Deletion,
}

/// The text of [`Mark::Change`].
const CHANGE: &str = "change";
/// The text of [`Mark::Deletion`].
const DELETION: &str = "deletion";
/// Writing a mark takes no longer.
const UNFINISHED_MAX: Duration = Duration::from_secs(60);
/// Characters of a reservation's id, which no other text has.
const RESERVATION_CHARS: usize = 24;

impl Mark {
    fn text(&self) -> &str {
        match self {
            Self::Creation => "",
            Self::Import(reservation) => reservation,
            Self::Change => CHANGE,
            Self::Deletion => DELETION,
        }
    }

    /// What a file means.
    fn of(text: String) -> Option<Self> {
        match text.as_str() {
            "" => Some(Self::Creation),
            CHANGE => Some(Self::Change),
            DELETION => Some(Self::Deletion),
            _ if text.len() == RESERVATION_CHARS => Some(Self::Import(text)),
            _ => None,
        }
    }
}

/// The files of a core.
#[derive(Clone, Debug)]
pub(super) struct Marks(Arc<Path>);

impl Marks {
    /// Those in a directory.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory.into())
    }

    /// Sets a mark, on disk when this returns; it replaces another.
    pub(super) async fn set(&self, user: &UserId, mark: Mark) -> Result<(), Unavailable> {
        let path = self.0.join(user.as_str());
        let write = move || files::write(&path, mark.text().as_bytes());
        on_disk(move || write().map_err(|e| crate::telemetry::chain(&e)))
            .await
            .map_err(|reason| unavailable(format!("this core cannot write: {reason}")))
    }

    /// Sets [`Mark::Change`], on disk when this returns, anew if it is there: what this change leaves
    /// may be as late as what the one before left. A deletion stays one, and what a newer release
    /// wrote stays. Whether there is something that stays to be settled whatever becomes of this
    /// change.
    pub(super) async fn set_change(&self, user: &UserId) -> Result<bool, Unavailable> {
        let path = self.0.join(user.as_str());
        let begin = move || {
            let (stays, write) = match read(&path) {
                Ok(Some((Mark::Change, _))) => (true, true),
                Ok(Some((Mark::Deletion, _)) | None) => (true, false),
                // Of one who is a user meanwhile.
                Ok(Some((Mark::Creation | Mark::Import(_), _))) => (false, true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (false, true),
                Err(error) => return Err(format!("{}: {error}", path.display())),
            };
            if write {
                let text = Mark::Change.text().as_bytes();
                files::write(&path, text).map_err(|e| crate::telemetry::chain(&e))?;
            }
            Ok(stays)
        };
        on_disk(begin)
            .await
            .map_err(|reason| unavailable(format!("this core cannot write: {reason}")))
    }

    /// The mark of a user and how old it is. One that a newer release wrote is left alone.
    pub(super) async fn find(
        &self,
        user: &UserId,
    ) -> Result<Option<(Mark, Duration)>, Unavailable> {
        let path = self.0.join(user.as_str());
        on_disk(move || match read(&path) {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        })
        .await
        .map_err(unavailable)
    }

    /// Users with a mark, in the order of ids.
    pub(super) async fn list(&self) -> Result<Vec<UserId>, Unavailable> {
        let directory = Arc::clone(&self.0);
        on_disk(move || names(&directory).map_err(|error| error.to_string()))
            .await
            .map_err(unavailable)
    }

    /// Removes a mark. That it stays if it cannot be removed is harmless.
    pub(super) async fn remove(&self, user: &UserId) {
        let path = self.0.join(user.as_str());
        let removed =
            on_disk(move || files::remove(&path).map_err(|e| crate::telemetry::chain(&e)));
        if let Err(error) = removed.await {
            tracing::warn!(%user, error, "cannot remove a mark; it is looked at again");
        }
    }
}

fn read(path: &Path) -> io::Result<Option<(Mark, Duration)>> {
    let Some(mark) = Mark::of(std::fs::read_to_string(path)?) else {
        tracing::warn!(path = %path.display(), "a mark is of no known kind: it is left alone");
        return Ok(None);
    };
    let written = std::fs::metadata(path)?.modified()?;
    // A clock that was set back makes the mark young, and it is kept for longer.
    Ok(Some((mark, written.elapsed().unwrap_or_default())))
}

/// Also removes what a crash left of a mark that was being written, which nothing depends on.
fn names(directory: &Path) -> io::Result<Vec<UserId>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Ok(user) = UserId::parse(name) {
            names.push(user);
        } else if files::is_unfinished(name) && is_old(&entry) {
            std::fs::remove_file(entry.path())?;
        }
    }
    names.sort();
    Ok(names)
}

/// Whether nobody can still be writing it.
fn is_old(entry: &std::fs::DirEntry) -> bool {
    let written = entry.metadata().and_then(|found| found.modified());
    written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > UNFINISHED_MAX))
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks_in(name: &str) -> (PathBuf, Marks, UserId) {
        let name = format!("homecore-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let marks = Marks::new(dir.clone());
        let user = UserId::parse("u23456789012345678901234").unwrap();
        (dir, marks, user)
    }

    #[tokio::test]
    async fn each_change_makes_the_mark_young_again() {
        let (dir, marks, user) = marks_in("marks-of-changes");
        let old = Duration::from_secs(58);
        assert!(!marks.set_change(&user).await.unwrap());
        let file = std::fs::File::open(dir.join(user.as_str())).unwrap();
        let written = file.metadata().unwrap().modified().unwrap() - old;
        file.set_modified(written).unwrap();
        let (_, age) = marks.find(&user).await.unwrap().unwrap();
        assert!(age >= old);
        assert!(marks.set_change(&user).await.unwrap(), "one was there");
        let (mark, age) = marks.find(&user).await.unwrap().unwrap();
        assert!(mark == Mark::Change && age < old, "{age:?}");

        // An account that is there and whose making was not settled yet.
        let import = Mark::Import("r23456789012345678901234".to_owned());
        for mark in [Mark::Creation, import] {
            marks.set(&user, mark).await.unwrap();
            assert!(!marks.set_change(&user).await.unwrap());
            let (mark, _) = marks.find(&user).await.unwrap().unwrap();
            assert_eq!(mark, Mark::Change);
        }
        for text in ["deletion", "of the future"] {
            std::fs::write(dir.join(user.as_str()), text).unwrap();
            assert!(marks.set_change(&user).await.unwrap(), "{text} stays");
            let found = std::fs::read_to_string(dir.join(user.as_str())).unwrap();
            assert_eq!(found, text);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_mark_is_found_until_it_is_removed() {
        let (dir, marks, user) = marks_in("marks");
        assert_eq!(marks.find(&user).await.unwrap(), None);
        let import = Mark::Import("r23456789012345678901234".to_owned());
        for mark in [Mark::Creation, import, Mark::Change, Mark::Deletion] {
            marks.set(&user, mark.clone()).await.unwrap();
            let (found, age) = marks.find(&user).await.unwrap().unwrap();
            assert_eq!(found, mark);
            assert!(age < Duration::from_secs(60));
        }
        std::fs::write(dir.join("no user"), b"").unwrap();
        assert_eq!(marks.list().await.unwrap(), vec![user.clone()]);
        std::fs::write(dir.join(user.as_str()), b"of the future").unwrap();
        assert_eq!(marks.find(&user).await.unwrap(), None);
        marks.remove(&user).await;
        marks.remove(&user).await;
        assert_eq!(marks.list().await.unwrap(), []);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_a_crash_left_of_a_mark_is_removed_in_time() {
        let dir = std::env::temp_dir().join(format!("homecore-left-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let user = "u23456789012345678901234";
        let (old, new) = (format!(".{user}.new"), ".u23456789012345678901235.new");
        for name in [old.as_str(), new, user, "notes.txt"] {
            std::fs::write(dir.join(name), b"").unwrap();
        }
        let mut options = std::fs::File::options();
        let file = options.append(true).open(dir.join(&old)).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - 2 * UNFINISHED_MAX).unwrap();
        assert_eq!(names(&dir).unwrap(), [UserId::parse(user).unwrap()]);
        let left = |name: &str| dir.join(name).try_exists().unwrap();
        assert!(!left(&old) && left(new) && left(user) && left("notes.txt"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
