//! Which engine keeps the store of a test: `REVBRIDGE_TEST_STORE` is `sqlite`, or `postgres`.
//!
//! A test names a file as if there were only files; with PostgreSQL the path stands for a database of its own.
#![allow(dead_code, reason = "each test program uses its own part of it")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test: processes, clocks, threads")]

#[path = "postgres.rs"]
pub mod postgres;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// The one that the tests run on.
pub fn engine() -> Engine {
    match std::env::var("REVBRIDGE_TEST_STORE").as_deref() {
        Err(_) | Ok("sqlite") => Engine::Sqlite,
        Ok("postgres") => Engine::Postgres,
        Ok(other) => panic!("REVBRIDGE_TEST_STORE is {other}; sqlite or postgres?"),
    }
}

/// What is only the SQLite file's, and why: a test that begins with this ends here on PostgreSQL, and is counted.
pub fn only_sqlite(why: &str) -> bool {
    let other = engine() == Engine::Postgres;
    if other {
        // Past the runner's capture: the summary adds them up.
        let _ = writeln!(std::io::stdout().lock(), "revbridge-test: only-sqlite=1 ({why})");
    }
    other
}

/// `[store] url` of the store that this path stands for.
pub fn url_of(path: &Path) -> String {
    match engine() {
        Engine::Sqlite => format!("sqlite:{}", path.display()),
        Engine::Postgres => postgres::server().database(&database(path)),
    }
}

fn database(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    format!("t{:x}", hasher.finish())
}

/// Lets a process that a test starts reach the test's databases.
pub fn share(command: &mut Command) {
    if engine() == Engine::Postgres {
        postgres::server().share(command);
    }
}

/// A copy of a store that nobody has open.
pub fn copy(from: &Path, to: &Path) {
    match engine() {
        Engine::Sqlite => drop(std::fs::copy(from, to).expect("a file")),
        Engine::Postgres => postgres::server().copy(&database(from), &database(to)),
    }
}

/// Every byte that the store has written, or could give back.
pub fn bytes(path: &Path) -> Vec<u8> {
    match engine() {
        Engine::Sqlite => {
            let folder = path.parent().expect("a file in a folder");
            let files = std::fs::read_dir(folder).expect("a folder").flatten();
            files.flat_map(|file| std::fs::read(file.path()).unwrap_or_default()).collect()
        }
        Engine::Postgres => postgres::server().dump(&database(path)),
    }
}

/// Somebody who looks into the store beside the program, in SQL that both engines know.
pub enum Hand {
    Sqlite(Connection),
    Postgres(postgres::Hand),
}

impl Hand {
    pub fn on(path: &Path) -> Self {
        match engine() {
            Engine::Sqlite => Hand::Sqlite(Connection::open(path).expect("a file")),
            Engine::Postgres => Hand::Postgres(postgres::Hand::connect(&url_of(path)).expect("a database")),
        }
    }

    pub fn execute(&mut self, sql: &str) {
        match self {
            Hand::Sqlite(db) => db.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}")),
            Hand::Postgres(hand) => hand.execute(sql),
        }
    }

    /// Why it was not done.
    pub fn refused(&mut self, sql: &str) -> String {
        match self {
            Hand::Sqlite(db) => db.execute_batch(sql).expect_err("refused").to_string(),
            Hand::Postgres(hand) => {
                hand.try_execute(sql).expect_err("refused").as_db_error().expect("by the server").to_string()
            }
        }
    }

    /// From now on, whoever inserts into this table fails.
    pub fn break_inserts(&mut self, table: &str) {
        let trigger = format!("CREATE TRIGGER fault BEFORE INSERT ON {table}");
        match self {
            Hand::Sqlite(_) => self.execute(&format!("{trigger} BEGIN SELECT RAISE(FAIL, 'planted'); END")),
            Hand::Postgres(_) => self.execute(&format!(
                "CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
                 {trigger} FOR EACH STATEMENT EXECUTE FUNCTION fault()"
            )),
        }
    }

    pub fn mend_inserts(&mut self, table: &str) {
        match self {
            Hand::Sqlite(_) => self.execute("DROP TRIGGER fault"),
            Hand::Postgres(_) => self.execute(&format!("DROP TRIGGER fault ON {table}")),
        }
    }

    pub fn count(&mut self, sql: &str) -> i64 {
        match self {
            Hand::Sqlite(db) => db.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|e| panic!("{sql}: {e}")),
            Hand::Postgres(hand) => hand.count(sql),
        }
    }

    /// The first column of every row.
    pub fn texts(&mut self, sql: &str) -> Vec<String> {
        match self {
            Hand::Sqlite(db) => {
                let mut select = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
                let rows = select.query_map([], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"));
                rows.map(|row| row.unwrap_or_else(|error| panic!("{sql}: {error}"))).collect()
            }
            Hand::Postgres(hand) => hand.texts(sql),
        }
    }

    /// These bytes, as SQL writes them.
    pub fn blob(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Hand::Sqlite(_) => format!("x'{digits}'"),
            Hand::Postgres(_) => format!("'\\x{digits}'::bytea"),
        }
    }

    pub fn text(&mut self, sql: &str) -> Option<String> {
        match self {
            Hand::Sqlite(db) => db.query_row(sql, [], |row| row.get(0)).ok(),
            Hand::Postgres(hand) => hand.text(sql),
        }
    }
}
