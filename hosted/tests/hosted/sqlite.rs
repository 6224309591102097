//! SQLite, bundled C, through rusqlite.

use rusqlite::{Connection, ErrorCode};

use super::power_losses::{Database, survive};

/// How a connection keeps its promises.
struct Sqlite(Connection);

fn open(journal: &str, synchronous: &str) -> Result<Option<(Sqlite, u64)>, String> {
    let open = || -> rusqlite::Result<(Connection, String, u64)> {
        let connection = Connection::open("/numbers.db")?;
        connection.query_row(&format!("PRAGMA journal_mode = {journal}"), [], |row| row.get::<_, String>(0))?;
        connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}"))?;
        connection.execute_batch("CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY, words TEXT)")?;
        let verdict = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let last = connection.query_row("SELECT coalesce(max(n), 0) FROM numbers", [], |row| row.get::<_, i64>(0))?;
        Ok((connection, verdict, last as u64))
    };
    let (connection, verdict, last) = match open() {
        Ok(found) => found,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if verdict != "ok" {
        return Err(format!("corrupt: {verdict}"));
    }
    Ok(Some((Sqlite(connection), last)))
}

fn commit(database: &Sqlite, number: u64) -> Result<(), String> {
    let words = "a row of some length ".repeat(number as usize % 40);
    let insert = database.0.execute("INSERT INTO numbers VALUES (?1, ?2)", rusqlite::params![number as i64, words]);
    insert.map(drop).map_err(|error| error.to_string())
}

macro_rules! databases {
    ($($name:ident: $journal:literal $synchronous:literal;)*) => {$(
        struct $name(Sqlite);

        impl Database for $name {
            fn open() -> Result<Option<(Self, u64)>, String> {
                Ok(open($journal, $synchronous)?.map(|(database, last)| ($name(database), last)))
            }

            fn commit(&mut self, number: u64) -> Result<(), String> {
                commit(&self.0, number)
            }
        }
    )*};
}

databases! {
    Wal: "wal" "full";
    Rollback: "delete" "extra";
    RollbackFull: "delete" "full";
    Off: "wal" "off";
}

#[sim::test(seed = 0)]
async fn wal_survives_a_thousand_power_losses() {
    survive::<Wal>(1_000).await;
}

#[sim::test(seed = 0)]
async fn rollback_journal_survives_a_thousand_power_losses() {
    survive::<Rollback>(1_000).await;
}

/// A finding, which SQLite's documentation has too: with `synchronous = FULL` the removal of the journal is not synced, so
/// that a power loss may bring the journal back, which rolls an acknowledged transaction back. `EXTRA` mends that.
#[sim::test(seeds = 20, expect = "incorrect")]
async fn rollback_journal_with_full_loses_what_it_acknowledged() {
    survive::<RollbackFull>(50).await;
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn synchronous_off_loses_what_it_acknowledged() {
    survive::<Off>(20).await;
}
