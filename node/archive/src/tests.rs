//! The format against archives of another writer, against itself, and against damage.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homecore_types::{Millis, Secret, SystemEntropy};
use proptest::prelude::*;
use serde_json::Value;

use crate::crypt::{DataKey, Decrypt, Encrypt};
use crate::memory::Memory;
use crate::{
    Archive, ArchiveError, ArchiveWriter, Config, Fault, Finish, Options, Protection, Section,
    SinkFile, Unlock,
};

const USER: &str = "cku0sampleuser0000000001";
const FILE: &str = "ckf000000000000000000001";

fn golden(kind: &str) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, base: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
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
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/archive");
    let mut files = BTreeMap::new();
    walk(&base.join(kind), &base.join(kind), &mut files);
    files
}

fn unlock(passphrase: &str) -> Unlock {
    Unlock {
        passphrase: Some(Secret::new(passphrase)),
        private_key: None,
    }
}

/// Everything that an archive holds.
#[derive(Debug, PartialEq)]
struct Whole {
    records: Vec<(String, Value)>,
    files: BTreeMap<String, Vec<u8>>,
    platform: Vec<Value>,
}

fn read_all(files: BTreeMap<String, Vec<u8>>, unlock: &Unlock) -> Result<Whole, ArchiveError> {
    let archive = Archive::open(Memory::of(files), unlock)?;
    let mut whole = Whole {
        records: Vec::new(),
        files: BTreeMap::new(),
        platform: Vec::new(),
    };
    for listed in &archive.manifest().users {
        let user = archive.user(listed)?;
        for section in Section::ALL {
            for record in user.records(*section)? {
                let name = format!("{}/{}", listed.user_id, section.name());
                whole.records.push((name, Value::Object(record?.object)));
            }
        }
        for id in user.attachments()? {
            let mut bytes = Vec::new();
            let mut file = user.attachment(&id)?.unwrap();
            file.read_to_end(&mut bytes)
                .map_err(|error| ArchiveError::attachment(&listed.user_id, &id, error))?;
            whole
                .files
                .insert(format!("{}/{id}", listed.user_id), bytes);
        }
    }
    for row in archive.platform()? {
        whole.platform.push(Value::Object(row?.object));
    }
    Ok(whole)
}

#[test]
fn the_three_forms_hold_the_same() {
    let plain = read_all(golden("plain"), &Unlock::default()).unwrap();
    assert_eq!(plain.records.len(), 1 + 4 + 4 + 3 + 1 + 8 + 1);
    assert_eq!(
        plain.files[&format!("{USER}/{FILE}")],
        b"the bytes of an attachment\n"
    );
    assert_eq!(plain.platform.len(), 2);
    assert_eq!(read_all(golden("gzip"), &Unlock::default()).unwrap(), plain);
    assert_eq!(
        read_all(golden("encrypted"), &unlock("s3cret")).unwrap(),
        plain
    );
}

#[test]
fn keys_are_asked_for_and_checked() {
    let fault = |unlock: &Unlock| *read_all(golden("encrypted"), unlock).unwrap_err().fault;
    assert!(matches!(fault(&unlock("s3cre")), Fault::WrongKey));
    assert!(matches!(fault(&Unlock::default()), Fault::KeyNeeded(_)));
}

#[test]
fn errors_say_where() {
    let mut files = golden("plain");
    let path = format!("users/{USER}/events/events-0002.jsonl");
    let text = String::from_utf8(files[&path].clone()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1] = "{\"id\": 5,";
    files.insert(path.clone(), (lines.join("\n") + "\n").into_bytes());
    let error = read_all(files, &Unlock::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("{path}, line 2: is no JSON object")),
        "{error}"
    );

    let mut files = golden("gzip");
    files.remove("manifest.json");
    let error = read_all(files, &Unlock::default()).unwrap_err();
    assert_eq!(error.to_string(), "manifest.json: is missing");

    let mut files = golden("gzip");
    files.remove(&format!("users/{USER}/events/events-0002.jsonl.gz"));
    let error = read_all(files, &Unlock::default()).unwrap_err();
    assert!(matches!(*error.fault, Fault::Missing), "{error}");

    let mut files = golden("plain");
    let path = format!("users/{USER}/streams.jsonl");
    let cut: Vec<&str> = std::str::from_utf8(&files[&path])
        .unwrap()
        .lines()
        .take(2)
        .collect();
    let cut = cut.join("\n") + "\n";
    files.insert(path, cut.into_bytes());
    let error = read_all(files, &Unlock::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "users/{USER}/user-manifest.json, field \"streams\": has 2 records where there should be 4"
        )
    );
}

#[test]
fn names_cannot_lead_out() {
    for bad in ["..", "../x", "a/b", "", "a\\b", "a\0b"] {
        let mut files = golden("plain");
        let manifest = String::from_utf8(files["manifest.json"].clone()).unwrap();
        let manifest = manifest.replace(&format!("\"{USER}\""), &Value::from(bad).to_string());
        files.insert("manifest.json".to_owned(), manifest.into_bytes());
        let error = read_all(files, &Unlock::default()).unwrap_err();
        assert!(
            matches!(*error.fault, Fault::UnsafeName),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn other_formats_and_deltas_are_refused() {
    for (from, to) in [
        ("\"formatVersion\": 1", "\"formatVersion\": 2"),
        ("\"full\"", "\"incremental\""),
    ] {
        let mut files = golden("plain");
        let manifest = String::from_utf8(files["manifest.json"].clone()).unwrap();
        files.insert(
            "manifest.json".to_owned(),
            manifest.replace(from, to).into_bytes(),
        );
        let error = read_all(files, &Unlock::default()).unwrap_err();
        assert!(matches!(*error.fault, Fault::Unsupported(_)), "{error}");
    }
}

/// Whatever is cut off, wherever: it is noticed.
#[test]
fn any_cut_is_an_error() {
    for kind in ["plain", "gzip", "encrypted"] {
        let files = golden(kind);
        let original = read_all(files.clone(), &unlock("s3cret")).unwrap();
        let step = if kind == "encrypted" { 61 } else { 7 };
        for (path, bytes) in &files {
            // What is in an attachment is for its hash to say; only frames are known here.
            let is_opaque = kind != "encrypted" && path.contains("/attachments/");
            if is_opaque || path.starts_with("platform/") {
                continue;
            }
            for length in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
                let mut cut = files.clone();
                cut.insert(path.clone(), bytes[..length].to_vec());
                let Ok(whole) = read_all(cut, &unlock("s3cret")) else {
                    continue;
                };
                // The last line break alone may be missing.
                let is_line_break = kind == "plain" && length + 1 == bytes.len();
                assert!(
                    is_line_break && whole == original,
                    "{kind}: {path} cut at {length}"
                );
            }
        }
    }
}

/// In an encrypted file every byte counts.
#[test]
fn any_flip_in_an_encrypted_archive_is_an_error() {
    let files = golden("encrypted");
    let key = DataKey::of_passphrase("s3cret", &[1; 16], 65_536);
    for (path, bytes) in files.iter().filter(|(path, _)| *path != "encryption.json") {
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1 << (i % 8);
            let read = Decrypt::open(&flipped[..], &key)
                .and_then(|mut file| file.read_to_end(&mut Vec::new()));
            assert!(read.is_err(), "{path}, byte {i}");
        }
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SinkFile for Shared {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// The vector of the contract.
#[test]
fn frames_are_as_the_reference_writes_them() {
    const VECTOR: &str = "UFJZVkJLRTEAAAAzeyJ2IjoxLCJzYWx0IjoiQWdJQ0FnSUNBZ0lDQWdJQ0FnSUNBZz09IiwiY2h1bmsiOjh9AAAAGEVFi2+UQNz4WzJBUulFtEUgvO4+LnMfJgAAABPwgnwUzegOQWI94OMMIb261L6J";
    let key = DataKey::of_passphrase("s3cret", &[1; 16], 8);
    let written = Shared::default();
    let mut file = Encrypt::with_salt(Box::new(written.clone()), &key, &[2; 16]).unwrap();
    file.write_all(b"hello pryv!").unwrap();
    Box::new(file).finish().unwrap();
    let bytes = written.0.lock().unwrap().clone();
    assert_eq!(STANDARD.encode(&bytes), VECTOR);
    let mut plain = Vec::new();
    Decrypt::open(&bytes[..], &key)
        .unwrap()
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(plain, b"hello pryv!");
}

fn options(compressed: bool, chunk_bytes: u64, protection: Option<Protection>) -> Options {
    Options {
        compressed,
        chunk_bytes,
        protection,
        entropy: Arc::new(SystemEntropy),
    }
}

fn finish() -> Finish {
    Finish {
        core_version: "0.1.0".to_owned(),
        config: Config::default(),
        at: Millis(1_700_000_000_001),
        began: Millis(1_700_000_000_000),
    }
}

fn write_all(whole: &Whole, options: Options) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ArchiveWriter::new(Memory::default(), options).unwrap();
    let mut user = archive.user(USER, "samplebeta1").unwrap();
    for (name, record) in &whole.records {
        let section = Section::ALL
            .iter()
            .find(|section| name.ends_with(section.name()))
            .unwrap();
        user.record(*section, record.to_string().as_bytes())
            .unwrap();
    }
    for (name, bytes) in &whole.files {
        let mut file = user.attachment(name.rsplit('/').next().unwrap()).unwrap();
        file.write(bytes).unwrap();
        file.finish().unwrap();
    }
    user.finish(Millis(5)).unwrap();
    archive.platform(&whole.platform).unwrap();
    archive.finish(finish()).unwrap().files()
}

#[test]
fn a_recipient_reads_what_was_encrypted_for_it() {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&key.public_key()).unwrap();
    let pem = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    let recipient = Protection::Recipient(pem("PUBLIC KEY", public.as_ref()));
    let plain = read_all(golden("plain"), &Unlock::default()).unwrap();
    let files = write_all(&plain, options(true, 1_000, Some(recipient)));
    let unlock = Unlock {
        passphrase: None,
        private_key: Some(Secret::new(pem("PRIVATE KEY", private.as_ref()))),
    };
    assert_eq!(read_all(files.clone(), &unlock).unwrap(), plain);
    let bad = Unlock {
        private_key: Some(Secret::new("no key")),
        ..Unlock::default()
    };
    assert!(matches!(
        *read_all(files, &bad).unwrap_err().fault,
        Fault::KeyNeeded(_)
    ));
}

#[test]
fn sections_come_one_after_the_other() {
    let mut archive = ArchiveWriter::new(Memory::default(), options(false, 10, None)).unwrap();
    let mut user = archive.user("u", "samplebeta1").unwrap();
    user.record(Section::Events, b"{}").unwrap();
    user.record(Section::Streams, b"{}").unwrap();
    let error = user.record(Section::Events, b"{}").unwrap_err();
    assert!(matches!(*error.fault, Fault::Closed));
}

fn record() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map(any::<String>(), value, 0..5)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is written is read, whatever it is and however it is written.
    #[test]
    fn what_is_written_is_read(
        streams in proptest::collection::vec(record(), 0..4),
        events in proptest::collection::vec(record(), 0..12),
        file in proptest::collection::vec(any::<u8>(), 0..200_000),
        compressed: bool,
        encrypted: bool,
        chunk_bytes in 1_u64..400,
    ) {
        let mut records = Vec::new();
        records.extend(streams.into_iter().map(|r| (format!("{USER}/streams"), r)));
        records.extend(events.into_iter().map(|r| (format!("{USER}/events"), r)));
        let whole = Whole {
            records,
            files: BTreeMap::from([(format!("{USER}/{FILE}"), file)]),
            platform: Vec::new(),
        };
        let protection = encrypted.then(|| Protection::Passphrase(Secret::new("p")));
        let files = write_all(&whole, options(compressed, chunk_bytes, protection));
        prop_assert_eq!(read_all(files, &unlock("p")).unwrap(), whole);
    }

    /// Damage gives an error or other content, never a panic.
    #[test]
    fn damage_never_panics(
        kind in 0_usize..3,
        pick: proptest::sample::Index,
        at: proptest::sample::Index,
        byte: u8,
        cut: bool,
    ) {
        let mut files = golden(["plain", "gzip", "encrypted"][kind]);
        let path = files.keys().nth(pick.index(files.len())).unwrap().clone();
        let bytes = files.get_mut(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        drop(read_all(files, &unlock("s3cret")));
    }
}
