//! Users' databases and the journal in SQLite.
