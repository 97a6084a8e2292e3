//! How SQLite runs each statement. One that reads a whole table, or that sorts, is slow for
//! whoever has much data, and nobody else would notice.

use std::fmt::Write as _;

use super::*;

const STATEMENTS: &[(&str, &str)] = &[
    ("state insert", STATE_INSERT),
    ("state select", STATE_SELECT),
    ("state update", STATE_UPDATE),
    ("document", DOCUMENT),
    ("document entries", DOCUMENT_ENTRIES),
    ("document insert", DOCUMENT_INSERT),
    ("document update", DOCUMENT_UPDATE),
    ("history keep", HISTORY_KEEP),
    ("history drop", HISTORY_DROP),
    ("history", HISTORY),
    ("entry insert", ENTRY_INSERT),
    ("entry delete", ENTRY_DELETE),
    ("list", LIST),
    ("list after", LIST_AFTER),
    ("changes", CHANGES),
    ("scan up", SCAN_UP),
    ("scan up to", SCAN_UP_TO),
    ("scan up after", SCAN_UP_AFTER),
    ("scan up after to", SCAN_UP_AFTER_TO),
    ("scan down", SCAN_DOWN),
    ("scan down to", SCAN_DOWN_TO),
    ("scan down after", SCAN_DOWN_AFTER),
];

/// How SQLite runs a statement.
fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let count = explain.parameter_count();
    let nothing = rusqlite::params_from_iter(vec![rusqlite::types::Null; count]);
    let lines = explain
        .query_map(nothing, |row| row.get::<_, String>(3))
        .unwrap();
    lines.map(Result::unwrap).collect()
}

#[test]
fn every_statement_runs_as_planned() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(TABLES).unwrap();
    let mut plans = String::new();
    for (name, sql) in STATEMENTS {
        writeln!(plans, "{name}").unwrap();
        for line in plan(&connection, sql) {
            assert!(!line.contains("SCAN"), "{name} reads a whole table: {line}");
            assert!(!line.contains("TEMP B-TREE"), "{name} sorts: {line}");
            writeln!(plans, "  {line}").unwrap();
        }
    }
    assert_eq!(
        plans,
        include_str!("plans.txt"),
        "the plans are now:\n{plans}"
    );
}

/// Each is run for every damaged document.
#[test]
fn what_sets_aside_reads_no_whole_table() {
    let connection = Connection::open_in_memory().unwrap();
    for tables in [TABLES, SET_ASIDE_MAKE, INDEXES_FORGET, REPAIR_INDEXES_MAKE] {
        connection.execute_batch(tables).unwrap();
    }
    for sql in [
        SET_ASIDE_DOCUMENT,
        SET_ASIDE_HISTORY,
        SET_ASIDE_VERSION,
        HISTORY_DROP_OF,
        HISTORY_HAS,
        HISTORY_KEEP,
        DOCUMENT_NUMBERED,
        DOCUMENT_RENAME,
        DOCUMENT_DELETE,
        VERSION_DELETE,
    ] {
        for line in plan(&connection, sql) {
            assert!(!line.contains("SCAN"), "{sql}: {line}");
        }
    }
    connection.execute_batch(REPAIR_INDEXES_DROP).unwrap();
    connection.execute_batch(INDEXES_MAKE).unwrap();
}

#[test]
fn a_statement_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let made = Connection::open(&path).unwrap();
    made.execute_batch(TABLES).unwrap();
    made.pragma_update(None, "user_version", FORMAT).unwrap();
    drop(made);
    let connection = connect(&path, &SqliteOptions::default(), "it").unwrap();
    let mut statement = connection.prepare(SCAN_UP_TO).unwrap();
    for key in [b"a", b"b", b"c"] {
        let mut rows = statement.query((1, 10, key, b"z")).unwrap();
        assert!(rows.next().unwrap().is_none());
    }
    let again = statement.get_status(rusqlite::StatementStatus::RePrepare);
    assert_eq!(again, 0, "bound values made SQLite compile it again");
}
