//! Archives of users from elsewhere: plain, gzip and encrypted. Nothing outside is opened, and however
//! little a file is, what comes out of it is bounded.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use homecore_archive::memory::Memory;
use homecore_archive::{Archive, LINE_BYTES_MAX, Section, Source, Unlock};
use homecore_fuzz_tests::{Campaign, Chance, Settings, Verdict};
use homecore_types::Secret;

use crate::{Allocated, MEGABYTE};

/// What one record may take of memory.
const RECORD_MEMORY_MAX: usize = 768 * MEGABYTE;
/// What making a key may take, and a bit.
const KEY_MEMORY_MAX: usize = 300 * MEGABYTE;
/// A key that is as dear as is allowed.
const CPU_MAX: Duration = Duration::from_secs(60);
/// What is read of one input.
const BYTES_READ_MAX: u64 = 4 * 1024 * 1024;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn golden(kind: &str) -> Files {
    fn walk(folder: &Path, base: &Path, files: &mut Files) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, base, files);
            } else {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap();
                files.insert(name.to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    let base = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../golden/archive")
        .join(kind);
    let mut files = Files::new();
    walk(&base, &base, &mut files);
    files
}

/// A folder as one text: a name and a length on a line, then so many bytes.
fn packed(files: &Files) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        bytes.extend(format!("{name} {}\n", content.len()).bytes());
        bytes.extend(content);
    }
    bytes
}

fn unpacked(mut bytes: &[u8]) -> Files {
    let mut files = Files::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 1..];
        let Some((name, length)) = line.rsplit_once(' ') else {
            continue;
        };
        let length = length.parse().unwrap_or(bytes.len()).min(bytes.len());
        let (content, rest) = bytes.split_at(length);
        files.insert(name.to_owned(), content.to_vec());
        bytes = rest;
    }
    files
}

/// A folder that notices who looks outside of it.
#[derive(Debug)]
struct Guarded(Memory);

fn guard(path: &str) {
    let is_inside = !path.is_empty()
        && !path.contains(['\\', '\0'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    assert!(is_inside, "opened outside of the archive: {path:?}");
}

impl Source for Guarded {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        guard(path);
        self.0.open(path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        guard(folder);
        self.0.list(folder)
    }
}

fn unlock() -> Unlock {
    Unlock {
        passphrase: Some(Secret::new("s3cret")),
        private_key: None,
    }
}

/// Reads everything that there is, up to a bound.
fn read(files: Files) -> Verdict {
    let archive = match Archive::open(Guarded(Memory::of(files)), &unlock()) {
        Ok(archive) => archive,
        Err(error) => return Ok(format!("not opened: {:?}", kind(&error.fault)).into()),
    };
    let (mut well, mut wrong, mut files_read) = (0, 0, 0);
    let mut count = |is_well: bool| if is_well { well += 1 } else { wrong += 1 };
    for listed in archive.manifest().users.iter().take(20) {
        let Ok(user) = archive.user(listed) else {
            count(false);
            continue;
        };
        for section in Section::ALL {
            match user.records(*section) {
                Ok(records) => records.take(5_000).for_each(|record| count(record.is_ok())),
                Err(_) => count(false),
            }
        }
        for id in user.attachments().unwrap_or_default() {
            match user.attachment(&id) {
                Ok(Some(file)) => {
                    let read = io::copy(&mut file.take(BYTES_READ_MAX), &mut io::sink());
                    files_read += usize::from(read.is_ok());
                }
                Ok(None) => return Err(format!("{id} is listed and not there")),
                Err(_) => count(false),
            }
        }
    }
    match archive.platform() {
        Ok(rows) => rows.take(5_000).for_each(|row| count(row.is_ok())),
        Err(_) => count(false),
    }
    let (well, wrong) = (well.min(20) / 4, wrong.min(3));
    Ok(format!("opened: {well} {wrong} {}", files_read.min(2)).into())
}

fn kind(fault: &homecore_archive::Fault) -> String {
    format!("{fault:?}")
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect()
}

fn run(name: &'static str, kind: &str, memory: usize, made: impl Fn(&mut Chance) -> Vec<u8>) {
    let campaign = Campaign::new(name, vec![packed(&golden(kind))])
        .words(&[
            "../",
            "..",
            "/",
            "\\",
            "users/",
            "manifest.json 9\n",
            "\"userId\":\"..\"",
            "\"chunks\":",
            "{\"",
            "[",
            "\x1f\u{8b}\x08",
            "PRYVBKE1",
            "\0\0\0\x20",
            "\"N\":16384",
            "null",
        ])
        .made_by(made)
        .bytes_max(128 * 1024)
        .memory_max(&Allocated, memory)
        .cpu_max(CPU_MAX);
    let report = campaign.run(|bytes| read(unpacked(bytes)));
    assert!(
        report.ended("opened") > 0 && report.ended("not opened") > 0,
        "{report}"
    );
}

/// The whole with one field of a manifest said otherwise.
fn renamed(kind: &'static str) -> impl Fn(&mut Chance) -> Vec<u8> {
    let files = golden(kind);
    move |chance| {
        let mut files = files.clone();
        let bad = chance.text(&[
            "..",
            "../../etc",
            "/etc/passwd",
            "a/../../b",
            "C:\\x",
            "",
            ".",
            "\\u0000",
        ]);
        for (name, content) in &mut files {
            if name.ends_with("manifest.json") {
                let text = String::from_utf8_lossy(content).into_owned();
                let changed = match chance.below(3) {
                    0 => text.replace("cku0sampleuser0000000001", &bad),
                    1 => text.replace("events-", &format!("{bad}/events-")),
                    _ => text.replacen(
                        "\"userId\"",
                        &format!("\"chunks\":{{\"events\":[\"{bad}\"]}},\"userId\""),
                        1,
                    ),
                };
                *content = changed.into_bytes();
            }
        }
        packed(&files)
    }
}

#[test]
fn plain_archives() {
    run("archive-plain", "plain", 32 * MEGABYTE, renamed("plain"));
}

#[test]
fn gzip_archives() {
    run("archive-gzip", "gzip", 32 * MEGABYTE, renamed("gzip"));
}

#[test]
fn encrypted_archives() {
    // Deriving a key from a passphrase is slow on purpose, so these are few.
    run("archive-encrypted", "encrypted", KEY_MEMORY_MAX, |chance| {
        let costs = [
            "\"N\":1",
            "\"N\":1073741824",
            "\"N\":16384,\"r\":4294967295",
            "\"p\":4294967295",
        ];
        let text = chance.text(&costs);
        let mut files = golden("encrypted");
        let envelope = files.get_mut("encryption.json").unwrap();
        let said = String::from_utf8_lossy(envelope).replacen("{", &format!("{{{text},"), 1);
        *envelope = said.into_bytes();
        packed(&files)
    });
}

fn zipped(write: impl FnOnce(&mut GzEncoder<Vec<u8>>)) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    write(&mut encoder);
    encoder.finish().unwrap()
}

fn with_events(lines: Vec<u8>) -> Files {
    let mut files = golden("gzip");
    let events = files
        .keys()
        .find(|name| name.contains("/events/"))
        .unwrap()
        .clone();
    files.insert(events, lines);
    files
}

/// Files that are small and become large.
#[test]
fn bombs() {
    // A line without end.
    let endless = zipped(|to| {
        for _ in 0..(2 * LINE_BYTES_MAX / MEGABYTE) {
            to.write_all(&vec![b' '; MEGABYTE]).unwrap();
        }
    });
    // A record whose text is within the bounds of a line and whose values are not within those of memory.
    let values = zipped(|to| {
        to.write_all(b"{\"a\":[0").unwrap();
        for _ in 0..(LINE_BYTES_MAX / MEGABYTE - 1) {
            to.write_all(&b",0".repeat(MEGABYTE / 2)).unwrap();
        }
        to.write_all(b"]}\n").unwrap();
    });
    let nested = zipped(|to| {
        to.write_all(&b"{\"a\":".repeat(MEGABYTE)).unwrap();
    });
    let bombs = [endless, values, nested];
    let campaign = Campaign::new("archive-bombs", bombs.to_vec())
        .memory_max(&Allocated, RECORD_MEMORY_MAX)
        .cpu_max(CPU_MAX);
    let alone = Settings::of(1, 0);
    let report = campaign.run_with(&alone, |bomb| read(with_events(bomb.to_vec())));
    report.assert_sound();
}
