//! One hot account in PostgreSQL: the engine's groups against a transaction for each admission.
//!
//! The other side has what it can have without groups: sixteen connections at once, the engine's rows, the account
//! locked while one decides, and two round trips for each, as the engine takes for a group. It decides nothing.

use std::time::{Duration, Instant};

use revbridge::guardrails::Attempt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

use super::desk::{self, Desk};

/// Connections of those who commit each by itself.
pub const CONNECTIONS: usize = 16;

/// Admissions per second, a transaction for each.
pub fn each(url: &str, time: Duration) -> f64 {
    let mut desk = Desk::open_url(url, "solo", desk::wide(), || ()).expect("a new store");
    let attempts: Vec<Vec<_>> = (0..CONNECTIONS).map(|_| (0..4_000).map(|_| desk.attempt()).collect()).collect();
    drop(desk);
    let began = Instant::now();
    let done: usize = std::thread::scope(|scope| {
        let all: Vec<_> = attempts.iter().map(|own| scope.spawn(|| one_connection(url, own, began, time))).collect();
        all.into_iter().map(|one| one.join().expect("a connection")).sum()
    });
    done as f64 / began.elapsed().as_secs_f64()
}

fn one_connection(url: &str, attempts: &[Attempt], began: Instant, time: Duration) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
        drop(tokio::spawn(connection));
        client.batch_execute("SET search_path = revbridge").await.expect("a setting");
        admit(&client, attempts, began, time).await.expect("admissions")
    })
}

async fn admit(
    client: &Client,
    attempts: &[Attempt],
    began: Instant,
    time: Duration,
) -> Result<usize, tokio_postgres::Error> {
    let begin = client.prepare("BEGIN").await?;
    let lock = client.prepare("SELECT version FROM organization WHERE name = 'acme' FOR NO KEY UPDATE").await?;
    let live = client
        .prepare(
            "INSERT INTO live (organization, call, node, epoch, reserved, day, status, user_id, from_number, to_number,
                               created_at, record, snapshot)
             VALUES (1, $1, 'solo', 1, 20000, 20000, $2, $3, $4, $5, $6, $7, $8)",
        )
        .await?;
    let journal = client
        .prepare(
            "INSERT INTO journal (organization, call, kind, at, amount, day, record)
             VALUES (1, $1, 'reserve', $2, 20000, 20000, NULL), (1, $1, 'new_call', $2, NULL, NULL, $3)",
        )
        .await?;
    let moved = client.prepare("UPDATE organization SET version = version + 1 WHERE name = 'acme'").await?;
    let commit = client.prepare("COMMIT").await?;
    let mut done = 0;
    for attempt in attempts.iter().take_while(|_| began.elapsed() < time) {
        let revbridge::store::Commit { record, snapshot, at, .. } = desk::admit(attempt);
        let (call, at) = (attempt.call.to_bytes(), at.as_micros().cast_signed());
        let text = serde_json::to_string(&record).expect("a record as text");
        let (from, to) = (attempt.from.text(), attempt.to.text());
        let (call, snapshot) = (call.as_slice(), snapshot.as_deref());
        tokio::try_join!(client.query(&begin, &[]), client.query(&lock, &[]))?;
        let (status, user) = (record.status.as_str(), record.user_id.as_str());
        let (from, to) = (&*from, &*to);
        let of_live: [&(dyn ToSql + Sync); 8] = [&call, &status, &user, &from, &to, &at, &text, &snapshot];
        let of_journal: [&(dyn ToSql + Sync); 3] = [&call, &at, &text];
        tokio::try_join!(
            client.execute(&live, &of_live),
            client.execute(&journal, &of_journal),
            client.execute(&moved, &[]),
            client.execute(&commit, &[]),
        )?;
        done += 1;
    }
    Ok(done)
}
