//! One connection: statements that block, each with a deadline.
//!
//! A database that does not answer is as bad as one that is gone, and the kernel only notices the second kind:
//! so each wait has an end here too, and a connection that was late is not used again.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row, Socket, Statement};

use crate::store::engine::StoreError;

/// Why a statement has no result.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the database has not answered within {0:?}")]
    Late(Duration),
    #[error("a row cannot be read: {0}")]
    Row(String),
    #[error("the database is away")]
    Away,
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What an operator needs to know. Details and values are left out: they may hold numbers of people.
fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return format!("{error}{cause}");
    };
    let message = if db.code().code().starts_with("22") { "a value is not taken" } else { db.message() };
    let place = [db.table(), db.constraint()].into_iter().flatten().map(|name| format!(" ({name})"));
    format!("{message}, SQLSTATE {}{}", db.code().code(), place.collect::<String>())
}

impl LinkError {
    /// The server has refused a statement, and lives: what was begun is rolled back.
    pub fn is_refusal(&self) -> bool {
        let db = match self {
            LinkError::Postgres(error) => error.as_db_error(),
            LinkError::Late(_) | LinkError::Row(_) | LinkError::Away | LinkError::System(_) => None,
        };
        db.is_some_and(|db| db.parsed_severity() == Some(Severity::Error))
    }

    /// Another transaction was in the way: the same may work at once.
    pub fn is_conflict(&self) -> bool {
        // A unique index had the last word: whoever was first is found the next time.
        self.code().is_some_and(|code| code.code().starts_with("40") || *code == SqlState::UNIQUE_VIOLATION)
    }

    /// A lock, time or room is missing, whatever was asked for.
    pub fn is_shortage(&self) -> bool {
        self.code()
            .is_some_and(|code| ["40", "53", "55", "57", "58"].iter().any(|class| code.code().starts_with(class)))
    }

    pub fn is_late(&self) -> bool {
        matches!(self, LinkError::Late(_))
    }

    fn code(&self) -> Option<&SqlState> {
        match self {
            LinkError::Postgres(error) => error.code(),
            LinkError::Late(_) | LinkError::Row(_) | LinkError::Away | LinkError::System(_) => None,
        }
    }
}

impl From<LinkError> for StoreError {
    fn from(error: LinkError) -> Self {
        StoreError::Postgres(error.into())
    }
}

pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement with its values, to be sent along with others.
pub(super) struct Part<'a> {
    pub sql: &'static str,
    pub params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Part<'a> {
    pub fn new(sql: &'static str, params: &[&'a (dyn ToSql + Sync)]) -> Self {
        Self { sql, params: params.to_vec() }
    }
}

pub(super) struct Link {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    prepared: HashMap<String, Statement>,
    deadline: Duration,
}

impl Link {
    /// `deadline` is for each wait from then on.
    pub fn open<T>(config: &Config, tls: T, patience: Duration, deadline: Duration) -> Result<Self, LinkError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connected = runtime.block_on(async { tokio::time::timeout(patience, config.connect(tls)).await });
        let client = match connected {
            Ok(Ok((client, connection))) => {
                // Its end is told by the statement that it ends.
                drop(runtime.spawn(async { drop(connection.await) }));
                client
            }
            failed => {
                runtime.shutdown_background();
                return Err(failed.map_or(LinkError::Late(patience), |failed| match failed {
                    Ok(_) => LinkError::Late(patience),
                    Err(error) => error.into(),
                }));
            }
        };
        Ok(Self { runtime: Some(runtime), client, prepared: HashMap::new(), deadline })
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Statements without values.
    pub fn batch(&mut self, sql: &str) -> Result<(), LinkError> {
        wait(self.runtime.as_ref(), self.deadline, self.client.batch_execute(sql))
    }

    pub fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, LinkError> {
        let statement = self.prepare(sql)?;
        wait(self.runtime.as_ref(), self.deadline, self.client.query(&statement, params))
    }

    pub fn query_opt(&mut self, sql: &str, params: Params<'_>) -> Result<Option<Row>, LinkError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// The number of rows that it changed.
    pub fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, LinkError> {
        let statement = self.prepare(sql)?;
        wait(self.runtime.as_ref(), self.deadline, self.client.execute(&statement, params))
    }

    /// Sends all of them before it waits for any. They are carried out in order; the first that fails makes all
    /// fail.
    pub fn together(&mut self, parts: &[Part<'_>]) -> Result<Vec<Vec<Row>>, LinkError> {
        let statements = parts.iter().map(|part| self.prepare(part.sql)).collect::<Result<Vec<_>, _>>()?;
        let client = &self.client;
        let sent = parts.iter().zip(&statements).map(|(part, statement)| {
            let one: Pin<Box<dyn Future<Output = _>>> = Box::pin(client.query(statement, &part.params));
            one
        });
        wait(self.runtime.as_ref(), self.deadline, all(sent.collect()))
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, LinkError> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = wait(self.runtime.as_ref(), self.deadline, self.client.prepare(sql))?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Drop for Link {
    /// Not by the runtime's own drop, which waits, and panics inside of another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn wait<T>(
    runtime: Option<&Runtime>,
    deadline: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, LinkError> {
    let late = || LinkError::Late(deadline);
    let done = runtime.ok_or_else(late)?.block_on(async { tokio::time::timeout(deadline, work).await });
    Ok(done.map_err(|_| late())??)
}

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + 'a>>;

/// Asks each in order, so that each is sent in order, until all are done or one has failed.
async fn all<T: Unpin>(mut pending: Vec<Pending<'_, T>>) -> Result<Vec<T>, tokio_postgres::Error> {
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (one, result) in pending.iter_mut().zip(&mut done).filter(|(_, result)| result.is_none()) {
            match one.as_mut().poll(context) {
                Poll::Ready(Ok(value)) => *result = Some(value),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok(done.into_iter().flatten().collect())
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, LinkError> {
    serde_json::to_string(value).map_err(|error| LinkError::Row(error.to_string()))
}

/// Reads a column that [`json`] wrote.
pub(super) fn parse<T: serde::de::DeserializeOwned>(row: &Row, column: usize) -> Result<T, LinkError> {
    let text: &str = row.try_get(column)?;
    // Only where it is wrong: the text holds numbers.
    serde_json::from_str(text).map_err(|error| LinkError::Row(format!("its JSON ends at {}", error.column())))
}

/// Reads bytes of a fixed length.
pub(super) fn bytes<const N: usize>(row: &Row, column: usize) -> Result<[u8; N], LinkError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| LinkError::Row(format!("{} bytes where there are {N}", bytes.len())))
}
