//! The audit names each kind of difference that is planted in a real file, and nothing in a file that is right.

use std::path::Path;

use revbridge::config::StoreUrl;
use revbridge::model::Money;
use revbridge::store::audit::{Difference, Finding};
use revbridge::store::engine::StoreError;
use revbridge::store::{IssuedToken, Step};
use revbridge::store::{postgres, sqlite::audit};
use rusqlite::Connection;

use crate::desk::engine::postgres::{Hand as PostgresHand, server};
use crate::desk::engine::{Engine, Hand, copy, engine, url_of};
use crate::desk::*;

pub fn audited(path: &Path) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut tell = |difference| found.push(difference);
    match url_of(path).parse().unwrap() {
        StoreUrl::Sqlite(path) => audit(&path, &mut tell).unwrap(),
        StoreUrl::Postgres(url) => postgres::audit(&url, &mut tell).unwrap(),
    };
    found
}

/// As [`is_right`], of a file whatever engine the tests run on.
pub fn file_is_right(path: &Path) {
    let mut found = Vec::new();
    audit(path, &mut |difference| found.push(difference)).unwrap();
    assert_eq!(found, []);
}

pub fn is_right(path: &Path) {
    let found = audited(path);
    assert!(found.is_empty(), "{}", found.iter().map(|one| format!("{one}\n")).collect::<String>());
}

/// One call that lives, with an extension; one that is over, and one that is over and forgotten.
fn sound(path: &Path) {
    let mut desk = Desk::open(path, wide()).unwrap();
    let live = desk.attempt();
    let mut with_answer = admit(&live);
    let mut answer = idempotency(1, 1, "first");
    answer.answer.location = Some(format!("/v1/calls/{}", live.call));
    with_answer.idempotency = Some(answer);
    let digest = revbridge::model::TokenDigest([1; 32]);
    let expires_at = now() + std::time::Duration::from_secs(60);
    with_answer.token = Some(IssuedToken { digest, path: revbridge::model::Path::Join, expires_at });
    desk.commit(with_answer);
    desk.commit(step(&live, Step::Extend { amount: Money::from_micros(500) }));
    let (lingering, forgotten) = (desk.admit(), desk.admit());
    for attempt in [&lingering, &forgotten] {
        let mut commit = settle(attempt, Money::from_micros(300));
        commit.record.answered_at = Some(now());
        commit.record.billable_seconds = 60;
        desk.commit(commit);
    }
    desk.store.forget(vec![forgotten.call]);
    drop(desk);
}

/// What stands in for `CALL`, the call that is over; and `LIVE`, the one that is not.
fn plant(path: &Path, sql: &str) {
    let mut hand = Hand::on(path);
    let mut sql = sql
        .replace("CALL", "(SELECT call FROM calls ORDER BY id DESC LIMIT 1)")
        .replace("LIVE", "(SELECT call FROM live WHERE record IS NOT NULL)");
    // What keeps such things out is taken away first.
    match engine() {
        Engine::Sqlite => {
            let triggers = hand.texts("SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger'");
            triggers.iter().for_each(|drop| hand.execute(drop));
            hand.execute("PRAGMA ignore_check_constraints = on");
        }
        Engine::Postgres => {
            hand.execute("ALTER TABLE journal DISABLE TRIGGER USER");
            let checks = hand.texts(
                "SELECT 'ALTER TABLE ' || conrelid::regclass || ' DROP CONSTRAINT ' || conname FROM pg_constraint
                 WHERE contype = 'c' AND conrelid IN ('journal'::regclass, 'spend'::regclass, 'live'::regclass)",
            );
            checks.iter().for_each(|drop| hand.execute(drop));
            let (set, path) = ("json_set(record, '$.", "', '");
            for field in ["status", "cost"] {
                sql = sql.replace(&format!("{set}{field}{path}"), &format!("with_field(record, '{field}{path}"));
            }
            hand.execute(
                "CREATE FUNCTION with_field(record text, field text, value text) RETURNS text LANGUAGE sql
                 RETURN jsonb_set(record::jsonb, ARRAY[field], to_jsonb(value))::text",
            );
        }
    }
    hand.execute("DROP INDEX calls_by_call");
    hand.execute(&sql);
}

#[test]
fn each_kind_of_difference_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    sound(&original);
    is_right(&original);
    let copied = "INSERT INTO journal (organization, call, kind, at, amount, day) SELECT organization, call";
    let planted = [
        (Finding::UnknownOrganization, "UPDATE calls SET organization = 99 WHERE call = CALL".to_owned()),
        (Finding::UnknownBooking, "UPDATE journal SET kind = 'gift' WHERE call = CALL AND kind = 'release'".to_owned()),
        (Finding::NeverAdmitted, "DELETE FROM journal WHERE call = CALL AND kind = 'reserve'".to_owned()),
        (Finding::AdmittedTwice, format!("{copied}, 'reserve', at, 0, day FROM journal WHERE call = LIVE AND kind = 'reserve'")),
        (Finding::ChargedTwice, format!("{copied}, 'charge', at, amount, day FROM journal WHERE call = CALL AND kind = 'charge'")),
        (Finding::BookedAfterEnd, format!("{copied}, 'extend', at, 0, day FROM journal WHERE call = CALL AND kind = 'charge'")),
        (Finding::NegativeAmount, format!("{copied}, 'extend', at, -5, day FROM journal WHERE call = LIVE AND kind = 'reserve'")),
        (Finding::Unbalanced, "UPDATE journal SET amount = amount + 1 WHERE call = CALL AND kind = 'release'".to_owned()),
        (Finding::DayDiffers, "UPDATE journal SET day = day - 1 WHERE call = CALL AND kind = 'release'".to_owned()),
        (Finding::Lost, "DELETE FROM live WHERE call = LIVE".to_owned()),
        (Finding::StillLive, "UPDATE live SET reserved = 7 WHERE record IS NULL".to_owned()),
        (Finding::ReservationDiffers, "UPDATE live SET reserved = reserved - 1 WHERE call = LIVE".to_owned()),
        (Finding::RecordMissing, "DELETE FROM calls WHERE call = CALL".to_owned()),
        (Finding::RecordTwice, "INSERT INTO calls SELECT id + 100, organization, call, status, user_id, from_number, to_number, created_at, record FROM calls WHERE call = CALL".to_owned()),
        (Finding::RecordUnreadable, "UPDATE calls SET record = '{' WHERE call = CALL".to_owned()),
        (Finding::RecordOfAnother, "UPDATE calls SET record = (SELECT record FROM calls WHERE call <> CALL) WHERE call = CALL".to_owned()),
        (Finding::RecordNotCharged, "INSERT INTO calls SELECT id, organization, call, status, user_id, from_number, to_number, created_at, record FROM live WHERE call = LIVE".to_owned()),
        (Finding::RecordNotTerminal, "UPDATE calls SET status = 'in_progress', record = json_set(record, '$.status', 'in_progress') WHERE call = CALL".to_owned()),
        (Finding::CostDiffers, "UPDATE calls SET record = json_set(record, '$.cost', '0.000301') WHERE call = CALL".to_owned()),
        (Finding::CostDiffers, "UPDATE journal SET record = json_set(record, '$.cost', '0.000301') WHERE call = CALL AND kind = 'call_completed'".to_owned()),
        (Finding::EventMissing, "DELETE FROM journal WHERE call = CALL AND kind = 'call_completed'".to_owned()),
        (Finding::EventMissing, "DELETE FROM journal WHERE call = LIVE AND kind = 'new_call'".to_owned()),
        (Finding::EventTwice, "INSERT INTO journal (organization, call, kind, at, record) SELECT organization, call, kind, at, record FROM journal WHERE call = CALL AND kind = 'call_completed'".to_owned()),
        (Finding::EventUntrue, "INSERT INTO journal (organization, call, kind, at, record) SELECT organization, call, 'call_busy', at, record FROM journal WHERE call = CALL AND kind = 'call_completed'".to_owned()),
        (Finding::EventUntrue, "INSERT INTO journal (organization, call, kind, at, record) SELECT organization, call, 'call_completed', at, record FROM journal WHERE call = LIVE AND kind = 'new_call'".to_owned()),
        (Finding::SumOfCallsDiffers, "UPDATE spend SET calls = calls + 1".to_owned()),
        (Finding::SumOfAnsweredDiffers, "UPDATE spend SET answered = answered - 1".to_owned()),
        (Finding::SumOfSecondsDiffers, "UPDATE spend SET billable_seconds = billable_seconds + 6".to_owned()),
        (Finding::SumOfSpentDiffers, "UPDATE spend SET spent = spent + 1".to_owned()),
        (Finding::SumOfSpentDiffers, "INSERT INTO spend VALUES (1, 1, 'alice', 'bridge', 0, 0, 0, 1)".to_owned()),
        (Finding::RetiredCallsDiffer, "INSERT INTO retired SELECT organization, day, 1, 0, 0, 0 FROM spend".to_owned()),
        (Finding::RetiredSpentDiffers, "INSERT INTO retired SELECT organization, day, 0, 0, 0, 1 FROM spend".to_owned()),
        (Finding::PostingsUnbalanced, "DROP VIEW postings; CREATE VIEW postings AS SELECT id AS booking, organization, day, call, at, 'spent' AS account, amount FROM ledger WHERE kind = 'charge'".to_owned()),
        (Finding::SpentBalanceDiffers, "DROP VIEW postings; CREATE VIEW postings AS SELECT id AS booking, organization, day, call, at, 'spent' AS account, 0 AS amount FROM ledger".to_owned()),
        (Finding::ReservedBalanceDiffers, "DROP VIEW postings; CREATE VIEW postings AS SELECT id AS booking, organization, day, call, at, 'spent' AS account, 0 AS amount FROM ledger".to_owned()),
        (Finding::AvailableBalanceDiffers, "DROP VIEW postings; CREATE VIEW postings AS SELECT id AS booking, organization, day, call, at, 'spent' AS account, 0 AS amount FROM ledger".to_owned()),
        (Finding::AnswerOfNoCall, "DELETE FROM live WHERE call = LIVE".to_owned()),
        (Finding::TokenOfNoCall, "DELETE FROM live WHERE call = LIVE".to_owned()),
        (
            Finding::DeliveryOfNothing,
            "INSERT INTO delivery (subscription, receiver, lane, call, event, at, state, due)
             SELECT 7, 1, 1, call, id, at, 'pending', at FROM journal WHERE call = CALL AND kind = 'call_completed'"
                .to_owned(),
        ),
    ];
    for (n, (finding, sql)) in planted.iter().enumerate() {
        let path = dir.path().join(format!("planted-{n}"));
        copy(&original, &path);
        plant(&path, sql);
        let found = audited(&path);
        assert!(found.iter().any(|one| one.finding == *finding), "{finding:?} is not named in {found:?} after {sql}");
    }
    let every: std::collections::BTreeSet<Finding> = planted.iter().map(|(finding, _)| *finding).collect();
    assert_eq!(every.len(), FINDINGS, "each finding is planted");
    is_right(&original);
}

/// As many as there are.
const FINDINGS: usize = Finding::DeliveryOfNothing as usize + 1;

#[test]
fn a_difference_says_where_it_is_and_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    sound(&path);
    plant(&path, "UPDATE calls SET record = json_set(record, '$.cost', '0.000301') WHERE call = CALL");
    let found = audited(&path);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    let call = one.call.unwrap();
    assert_eq!(
        one.to_string(),
        format!("acme {call}: a record says another cost than was charged: expected 0.000300, found 0.000301")
    );
    let json = serde_json::to_value(one).unwrap();
    assert_eq!((&json["finding"], &json["organization"]), (&"cost_differs".into(), &"acme".into()));
}

#[test]
fn a_live_store_can_be_audited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    for _ in 0..20 {
        let attempts: Vec<_> = (0..10).map(|_| desk.attempt()).collect();
        for attempt in &attempts {
            desk.submit(admit(attempt));
            desk.submit(settle(attempt, Money::from_micros(77)));
        }
        is_right(&path);
        (0..20).for_each(|_| drop(desk.wait()));
    }
}

#[test]
fn what_is_no_file_of_this_release_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    assert!(matches!(audit(&dir.path().join("none"), &mut |_| ()), Err(StoreError::File(..))));
    let foreign = dir.path().join("foreign");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(matches!(audit(&foreign, &mut |_| ()), Err(StoreError::Foreign)));
    drop(Desk::open_file(&path, wide()).unwrap());
    let old = crate::schema::as_of_version(1, &path);
    assert!(matches!(audit(&old, &mut |_| ()), Err(StoreError::TooOld { version: 1, .. })));
}

#[test]
fn a_database_of_another_program_or_release_is_not_audited() {
    let url = server().database("not_audited");
    let StoreUrl::Postgres(parsed) = url.parse().unwrap() else { panic!("{url}") };
    let refused = || postgres::audit(&parsed, &mut |_| ()).unwrap_err();
    assert!(matches!(refused(), StoreError::Foreign));
    drop(Desk::open_url(&url, "a", wide(), || ()).unwrap());
    let mut hand = PostgresHand::connect(&url).unwrap();
    hand.execute("UPDATE schema_version SET version = version + 1");
    assert!(matches!(refused(), StoreError::TooNew { .. }));
    hand.execute("UPDATE schema_version SET version = 1");
    assert!(matches!(refused(), StoreError::TooOld { version: 1, .. }));
}
