//! Where it is the name of a document that is damaged, or not known here.

use super::*;

const FLIP: &str = "body = CAST(x'7b7d' || substr(body, 3) AS BLOB)";
/// Takes the indexes that would give a name back.
const ONLY_TABLE: &str = "DROP INDEX document_by_id;
    CREATE UNIQUE INDEX document_by_id ON document (kind, id);";

/// A row that was sealed under its kind, be it known or not.
fn seal_as(engine: &SqliteEngine, table: &str, kind: u8, id: &str) {
    let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
    let sql = format!("UPDATE {table} SET kind = ?1 WHERE id = ?2");
    connection.execute(&sql, (kind, id)).unwrap();
    let sql = format!("SELECT rev, seq, written_at, deleted, body FROM {table} WHERE id = ?1");
    let sealed = connection.query_row(&sql, [id], |row| {
        let body: Vec<u8> = row.get(4)?;
        let place = Place {
            kind,
            id,
            rev: row.get(0)?,
            seq: row.get(1)?,
            at: row.get(2)?,
            deleted: row.get(3)?,
        };
        Ok(place.sealed(&body[..body.len() - 4]))
    });
    let sql = format!("UPDATE {table} SET body = ?1 WHERE id = ?2");
    connection.execute(&sql, (sealed.unwrap(), id)).unwrap();
}

fn nothing_was_set_aside(engine: &SqliteEngine) -> bool {
    rows(
        engine,
        "SELECT count(*) FROM sqlite_schema WHERE name = 'set_aside'",
    ) == 0
}

#[test]
fn what_a_newer_release_wrote_is_not_damaged_and_no_repair_touches_it() {
    for (table, kind, entries) in [
        ("document", 77, None),
        ("history", 77, None),
        ("document", 3, Some(&b"\x01"[..])),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        seal_as(&engine, table, kind, "second");
        if let Some(entries) = entries {
            let mut sealed = entries.to_vec();
            homecore_types::seal::seal(&mut sealed, &[&[kind], b"second"]);
            let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
            let sql = "UPDATE document SET entries = ?1 WHERE id = 'second'";
            connection.execute(sql, [sealed]).unwrap();
        }
        // Something else is damaged, too.
        change(
            &engine,
            &format!("UPDATE document SET {FLIP} WHERE id = 'first'"),
        );
        let found = faults(&engine);
        assert!(
            found.iter().any(|found| found.contains("newer release")),
            "{found:?}"
        );
        for accept_loss in [false, true] {
            let refused = engine.rebuild_indexes(&user(), accept_loss).unwrap();
            assert!(!refused.is_done, "{table} {kind}");
            let why = refused.refused.unwrap();
            assert!(
                why.contains("newer release") && why.contains("second"),
                "{why}"
            );
        }
        assert!(nothing_was_set_aside(&engine));
        assert_eq!(faults(&engine), found);
    }
}

#[test]
fn no_repair_leaves_a_user_without_an_account() {
    for way in [
        format!("UPDATE document SET {FLIP} WHERE id = 'account'"),
        "UPDATE document SET entries = x'c1' WHERE id = 'account'".to_owned(),
        format!("UPDATE document SET kind = 3 WHERE id = 'account'; {ONLY_TABLE}"),
        format!("UPDATE document SET {FLIP}, id = 'accounu' WHERE id = 'account'"),
        "DELETE FROM document WHERE id = 'account'".to_owned(),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        change(&engine, &way);
        let found = faults(&engine);
        for accept_loss in [false, true] {
            let refused = engine.rebuild_indexes(&user(), accept_loss).unwrap();
            assert!(!refused.is_done, "{way}");
            let why = refused.refused.unwrap();
            assert!(why.contains("account that can be read"), "{why}");
        }
        assert!(nothing_was_set_aside(&engine), "{way}");
        assert_eq!(faults(&engine), found, "{way}");
    }
}

#[test]
fn a_row_that_became_an_account_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let way = format!("UPDATE document SET kind = 1 WHERE id = 'first'; {ONLY_TABLE}");
    change(&engine, &way);
    assert!(!engine.rebuild_indexes(&user(), false).unwrap().is_done);
    let accepted = engine.rebuild_indexes(&user(), true).unwrap();
    assert!(accepted.is_done, "{accepted:?}");
    assert_eq!(faults(&engine), [""; 0]);
    assert_eq!(under_one(&engine), ["second"]);
    assert_eq!(
        rows(&engine, "SELECT count(*) FROM document WHERE kind = 1"),
        1
    );
}

#[test]
fn a_name_comes_back_from_the_index_that_still_knows_it() {
    for way in [
        "UPDATE document SET kind = 77 WHERE id = 'second'",
        "UPDATE document SET kind = 1 WHERE id = 'second'",
        "UPDATE document SET id = 'secone' WHERE id = 'second'",
        "UPDATE document SET id = CAST(x'ff' AS TEXT) WHERE id = 'second'",
        "UPDATE document SET id = 'first' WHERE id = 'second'",
        "UPDATE document SET kind = 3 WHERE id = 'account'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        change_rows_alone(&engine, way);
        let restored = engine.rebuild_indexes(&user(), false).unwrap();
        assert!(restored.is_done, "{way}: {restored:?}");
        assert_eq!(restored.restored.len(), 1, "{way}");
        assert_eq!(faults(&engine), [""; 0], "{way}");
        assert_eq!(under_one(&engine), ["first", "second"], "{way}");
        assert_eq!(rows(&engine, "SELECT count(*) FROM history"), 1, "{way}");
        assert!(nothing_was_set_aside(&engine), "{way}");
    }
}

#[test]
fn former_versions_stay_with_the_document_that_has_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    // Its name becomes that of one with a former version, and no index knows better.
    change(
        &engine,
        "DROP INDEX document_by_id;
         UPDATE document SET id = 'second' WHERE id = 'first';
         CREATE INDEX document_by_id ON document (kind, id);",
    );
    let accepted = engine.rebuild_indexes(&user(), true).unwrap();
    assert_eq!(
        accepted.lost,
        ["Event second is not what it was: it was set aside, and 0 former versions with it"]
    );
    assert_eq!(under_one(&engine), ["second"]);
    assert_eq!(rows(&engine, "SELECT count(*) FROM history"), 1);
    assert_eq!(faults(&engine), [""; 0]);
}

#[test]
fn a_stream_is_told_with_its_parent() {
    for (body, told) in [
        (r#"{"name":"b","parentId":"a"}"#, "its parent is \"a\""),
        (r#"{"name":"b","parentId":null}"#, "it has no parent"),
        (
            r#"{"name":"b","parentIt":"a"}"#,
            "its parent cannot be read",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
        let sql = "UPDATE document SET kind = 2, body = ?1 WHERE id = 'first'";
        let body = [body.as_bytes(), b"\0\0\0\0"].concat();
        connection.execute(sql, [body]).unwrap();
        drop(connection);
        let accepted = engine.rebuild_indexes(&user(), true).unwrap();
        assert!(accepted.lost[0].contains(told), "{:?}", accepted.lost);
    }
}

/// As a changed byte on the disk does: the index by id stays as it was.
fn change_rows_alone(engine: &SqliteEngine, sql: &str) {
    let path = engine.folder(&user()).join("data.sqlite");
    let hide = "CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'document_by_id';
        PRAGMA writable_schema = ON;
        DELETE FROM sqlite_schema WHERE name = 'document_by_id';";
    let show = "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept;";
    // A connection knows the indexes as it found them.
    for step in [hide, sql, show, "DROP TABLE kept"] {
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(step).unwrap();
    }
}
