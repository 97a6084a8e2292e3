//! Where SQLite's own pages are damaged: an index that cannot be followed, or that leads where it must not.

use std::os::unix::fs::FileExt as _;

use super::*;

const PAGE_BYTES: u64 = 4096;

/// What SQLite itself finds.
fn structure(engine: &SqliteEngine) -> Vec<String> {
    let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
    let mut statement = connection.prepare("PRAGMA integrity_check").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn root_page(engine: &SqliteEngine, of: &str) -> u64 {
    let sql = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{of}'");
    u64::try_from(rows(engine, &sql)).unwrap()
}

/// Overwrites the first bytes of a page.
fn overwrite(engine: &SqliteEngine, page: u64, bytes: &[u8]) {
    let path = engine.folder(&user()).join("data.sqlite");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, (page - 1) * PAGE_BYTES).unwrap();
}

fn documents(engine: &SqliteEngine) -> i64 {
    rows(engine, "SELECT count(*) FROM document NOT INDEXED")
}

#[test]
fn an_index_that_cannot_be_followed_is_made_anew() {
    for name in [
        "document_by_id",
        "document_by_seq",
        "history_by_rev",
        "entry",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        // No kind of page.
        overwrite(&engine, root_page(&engine, name), &[0x99]);
        let refused = engine.rebuild_indexes(&user(), false).unwrap();
        let unknown = "whether documents are lost cannot be told";
        if !refused.is_done {
            assert!(refused.lost[0].starts_with(unknown), "{name}: {refused:?}");
            let accepted = engine.rebuild_indexes(&user(), true).unwrap();
            assert!(accepted.is_done, "{name}: {accepted:?}");
        }
        assert_eq!(structure(&engine), ["ok"], "{name}");
        assert_eq!(faults(&engine), [""; 0], "{name}");
        assert_eq!(under_one(&engine), ["first", "second"], "{name}");
        assert_eq!(documents(&engine), 3, "{name}");
        // And again, as of any other.
        assert!(engine.rebuild_indexes(&user(), false).unwrap().is_done);
    }
}

#[test]
fn an_index_that_leads_to_pages_of_something_else_takes_none_of_them_along() {
    for (index, of) in [
        ("document_by_seq", "document_by_id"),
        ("document_by_id", "entry"),
        ("entry", "document_by_id"),
        ("history_by_rev", "document"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        let page = u32::try_from(root_page(&engine, of)).unwrap();
        // An interior page of an index, without a key, and with this one below it.
        let header = [&[2, 0, 0, 0, 0, 0x10, 0, 0][..], &page.to_be_bytes()].concat();
        overwrite(&engine, root_page(&engine, index), &header);
        let accepted = engine.rebuild_indexes(&user(), true).unwrap();
        assert!(accepted.is_done, "{index}: {accepted:?}");
        assert_eq!(structure(&engine), ["ok"], "{index}");
        assert_eq!(faults(&engine), [""; 0], "{index}");
        assert_eq!(under_one(&engine), ["first", "second"], "{index}");
        assert_eq!(documents(&engine), 3, "{index}");
    }
}

#[test]
fn a_page_that_is_of_two_tables_needs_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let page = root_page(&engine, "document");
    change(
        &engine,
        &format!(
            "CREATE TABLE another (number INTEGER PRIMARY KEY, kind, id, rev, seq, written_at, deleted, entries, body);
             PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = {page} WHERE name = 'another'"
        ),
    );
    for accept_loss in [false, true] {
        let refused = engine.rebuild_indexes(&user(), accept_loss).unwrap();
        assert!(!refused.is_done);
        let why = refused.refused.unwrap();
        assert!(why.contains("a backup is needed"), "{why}");
    }
    assert_eq!(documents(&engine), 3);
}

#[test]
fn former_versions_that_would_be_in_the_way_of_new_ones_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    // The document is lost with its place in the index, its former version is not.
    change_behind_indexes(&engine, "DELETE FROM document WHERE id = 'second'");
    let accepted = engine.rebuild_indexes(&user(), true).unwrap();
    assert_eq!(
        accepted.lost,
        [
            "Event second is lost: only indexes know it",
            "1 former versions have no document any more, or an older one: they were set aside",
        ]
    );
    assert_eq!(rows(&engine, "SELECT count(*) FROM history"), 0);
    assert_eq!(rows(&engine, "SELECT count(*) FROM set_aside"), 1);
    assert_eq!(faults(&engine), [""; 0]);
}
