//! `kill -9` at a random moment: what was answered is in the file, and nothing is there by half.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::desk::engine::{Engine, Hand, engine, share};
use crate::desk::*;
use revbridge::guardrails::Attempt;
use revbridge::model::{Money, Timestamp};
use revbridge::store::{Committed, Step};

const FILE: &str = "REVBRIDGE_TEST_FILE";

/// The process that the test below starts and kills: commits without end, and says what was answered.
/// In any other process there is nothing to do.
#[test]
fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let mut desk = Desk::open(Path::new(&path), wide()).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        let attempts: Vec<_> = (0..4).map(|_| desk.attempt()).collect();
        attempts.iter().for_each(|attempt| desk.submit(admit(attempt)));
        for attempt in &attempts {
            assert!(matches!(desk.wait(), Committed::Admitted { .. }));
            writeln!(out, "admitted {}", attempt.call).unwrap();
        }
        for attempt in &attempts[1..] {
            desk.submit(step(attempt, Step::Extend { amount: Money::from_micros(500) }));
            desk.submit(settle(attempt, Money::from_micros(100)));
            assert_eq!((desk.wait(), desk.wait()), (Committed::Extended, Committed::Done));
            writeln!(out, "settled {}", attempt.call).unwrap();
        }
        desk.store.forget(attempts[2..].iter().map(|attempt| attempt.call).collect());
    }
}

#[test]
fn after_kill_9_everything_answered_is_there_and_nothing_by_half() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut answered = Vec::new();
    for round in 0..8 {
        answered.extend(run_and_kill(&path, Duration::from_millis(40 + 23 * round)));
        let desk = Desk::open(&path, wide()).unwrap();
        check(&desk, &path, &answered);
    }
    assert!(answered.iter().any(|line| line.starts_with("settled")), "the child got somewhere");
}

/// What the child was answered before it was killed.
fn run_and_kill(path: &Path, after: Duration) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    share(&mut command);
    let mut child = command
        .args(["--exact", "crash::child", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut answered: Vec<_> = lines.by_ref().find(|line| line.starts_with("admitted")).into_iter().collect();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    answered.extend(lines.filter(|line| line.starts_with("admitted call_") || line.starts_with("settled call_")));
    // The last line may have been cut off.
    answered.retain(|line| line.split(' ').nth(1).is_some_and(|id| id.len() == 31));
    answered
}

fn check(desk: &Desk, path: &Path, answered: &[String]) {
    let organization = revbridge::model::OrganizationId("acme".into());
    for line in answered {
        let (what, id) = line.split_once(' ').unwrap();
        let record = desk.store.get(&organization, id.parse().unwrap()).unwrap().expect(line);
        assert!(what == "admitted" || record.status.is_terminal(), "{line}");
    }
    let mut hand = Hand::on(path);
    let mut count = |sql: &str| hand.count(sql);
    if engine() == Engine::Sqlite {
        assert_eq!(count("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    }
    let balance = "SELECT coalesce(sum(CASE WHEN kind IN ('reserve', 'extend') THEN amount ELSE -amount END), 0)";
    assert_eq!(count(&format!("{balance} FROM ledger")), count("SELECT coalesce(sum(reserved), 0) FROM live"));
    let spent = "SELECT coalesce(sum(amount), 0) FROM ledger WHERE kind = 'charge'";
    assert_eq!(count(spent), count("SELECT coalesce(sum(spent), 0) FROM spend"));
    assert_eq!(
        count("SELECT count(*) FROM calls"),
        count("SELECT count(DISTINCT call) FROM ledger WHERE kind = 'charge'")
    );
    for kind in ["charge", "reserve"] {
        let twice = "GROUP BY call HAVING count(*) > 1";
        assert_eq!(
            count(&format!("SELECT count(*) FROM (SELECT 1 FROM ledger WHERE kind = '{kind}' {twice}) AS twice")),
            0
        );
    }
    assert_eq!(count("SELECT count(*) FROM outbox WHERE kind = 'call_completed'"), count("SELECT count(*) FROM calls"));
    assert_eq!(
        count("SELECT count(*) FROM outbox WHERE kind = 'new_call'"),
        count("SELECT count(*) FROM calls") + count("SELECT count(*) FROM live WHERE record IS NOT NULL")
    );
}

#[test]
fn what_a_dead_process_left_keeps_its_last_moment_however_many_die_before_it_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let first = desk.admit();
    desk.beat();
    drop(desk);
    let mut desk = Desk::open(&path, wide()).unwrap();
    let left_at = desk.left_at(&first);
    assert_eq!(left_at, desk.recovered.last_alive);
    // It takes the call up, lives, and dies before it has settled it.
    let second = desk.admit();
    desk.beat();
    drop(desk);
    let desk = Desk::open(&path, wide()).unwrap();
    assert!(desk.recovered.last_alive > left_at);
    assert_eq!(desk.left_at(&first), left_at);
    assert_eq!(desk.left_at(&second), desk.recovered.last_alive);
}

impl Desk {
    fn left_at(&self, attempt: &Attempt) -> Option<Timestamp> {
        self.recovered.calls.iter().find(|call| call.call == attempt.call).expect("it is found").last_alive
    }

    /// Until the store has noted that this process lives.
    fn beat(&mut self) {
        std::thread::sleep(Duration::from_millis(1_200));
        let attempt = self.admit();
        self.commit(settle(&attempt, Money::ZERO));
        std::thread::sleep(Duration::from_millis(1_200));
    }
}
