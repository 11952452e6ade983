//! After an erasure no byte of the number is in the files, and the books are what they were.

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use revbridge::guardrails::Attempt;
use revbridge::model::{E164, Money};
use revbridge::store::{CallFilter, Commit, Erased, ErasedRows, Erasure};

use crate::audit::is_right;
use crate::desk::engine::{self, Hand, only_sqlite};
use crate::desk::*;

const PERSON: &str = "+13105559876";

fn erasure() -> Erasure {
    Erasure { number: number(PERSON), by: "operator".to_owned(), at: now(), salt: [9; 16] }
}

/// Spellings by which somebody could still find it.
const SPELLINGS: [&str; 5] = ["13105559876", "3105559876", "(310) 555-9876", "310-555-9876", "310.555.9876"];

fn spellings_in(path: &Path) -> Vec<&'static str> {
    let all = engine::bytes(path);
    SPELLINGS.into_iter().filter(|spelling| memchr::memmem::find(&all, spelling.as_bytes()).is_some()).collect()
}

fn with_words(commit: Commit, name: &str, label: &str) -> Commit {
    let mut commit = commit;
    commit.record.client_name = Some(name.into());
    commit.record.client_label = Some(label.into());
    commit
}

/// A whole life with a snapshot that holds the numbers, as the switch writes it.
fn live_and_end(desk: &mut Desk, attempt: &Attempt, name: &str, label: &str, key: Option<u8>) {
    let snapshot = format!("{{\"to\":\"{}\",\"more\":\"{}\"}}", &*attempt.to.text(), "x".repeat(1_500));
    let mut first = with_words(admit(attempt), name, label);
    first.snapshot = Some(snapshot.clone().into());
    first.idempotency = key.map(|key| {
        let mut used = idempotency(key, key, "request");
        used.answer.body =
            format!("{{\"data\":{{\"call_id\":\"{}\",\"to_number\":\"{}\"}}}}", attempt.call, &*attempt.to.text());
        used.answer.location = Some(format!("/v1/calls/{}", attempt.call));
        used
    });
    let mut last = with_words(settle(attempt, Money::from_micros(4_200)), name, label);
    last.snapshot = Some(snapshot.into());
    for commit in [first, with_words(step(attempt, revbridge::store::Step::Keep), name, label), last] {
        desk.submit(commit);
    }
    (0..3).for_each(|_| drop(desk.wait()));
}

#[test]
fn after_an_erasure_no_byte_of_the_number_is_left_and_the_books_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let mut forgotten = Vec::new();
    let mut persons = Vec::new();
    for n in 0..120u8 {
        let mut attempt = desk.attempt();
        let (name, label) = match n % 4 {
            0 => {
                attempt.to = number(PERSON);
                persons.push(attempt.call);
                ("Jane Roe", "call (310) 555-9876")
            }
            1 => {
                attempt.connect = Some(number(PERSON));
                persons.push(attempt.call);
                ("Jane Roe", "mobile")
            }
            2 => {
                persons.push(attempt.call);
                ("somebody", "then 310-555-9876 again")
            }
            _ => ("John Doe", "nothing of hers"),
        };
        live_and_end(&mut desk, &attempt, name, label, Some(n));
        forgotten.push(attempt.call);
        if n % 16 == 0 {
            desk.store.forget(std::mem::take(&mut forgotten));
        }
    }
    desk.store.forget(forgotten);
    let mut hand = Hand::on(&path);
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while hand.count("SELECT count(*) FROM live") > 0 {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    // She was a user once, with this phone.
    hand.execute(&format!(
        "INSERT INTO change (at, actor, verb, kind, organization, name, before, after)
         VALUES (1, 'file', 'update', 'user', 'acme', 'jane', NULL, '{{\"phone\":\"{PERSON}\"}}')"
    ));
    assert!(spellings_in(&path).len() >= 3, "it is there before: {:?}", spellings_in(&path));
    let today = now().day(&TimeZone::UTC);
    let organization = revbridge::model::OrganizationId("acme".into());
    let before = desk.store.statement(&organization, today, today).unwrap();

    let erased = desk.store.erase(&erasure()).unwrap();
    assert_eq!(erased, Erased::Done(ErasedRows { records: 90, events: 180, answers: 30, changes: 1 }));
    assert!(spellings_in(&path).is_empty(), "in no spelling, in no file, the log included");
    let after = desk.store.statement(&organization, today, today).unwrap();
    assert_eq!((before.total, &before.users, &before.days), (after.total, &after.users, &after.days));
    for call in &persons {
        let record = desk.store.get(&organization, *call).unwrap().unwrap();
        assert!(record.to_number != Some(number(PERSON)) && record.connect_number != Some(number(PERSON)));
        assert_eq!((record.cost, &record.client_name, &record.client_label), (Money::from_micros(4_200), &None, &None));
    }
    let listed = |filter| desk.store.list(&organization, &CallFilter { limit: 100, ..filter }).unwrap().records.len();
    assert_eq!(listed(CallFilter { to: Some(number(PERSON)), ..CallFilter::default() }), 0);
    assert_eq!(listed(CallFilter { to: Some(number("+13105550100")), ..CallFilter::default() }), 90);
    let events = desk.store.events(&organization, None, 0, 1_000).unwrap();
    assert_eq!(events.len(), 240, "every event is there");
    let first = desk.store.find_answer(&[0; 32]).unwrap().unwrap();
    assert!(first.answer.body.contains("\"to_number\":null"), "a repetition still makes no second call");
    is_right(&path);
    // Once more changes nothing, and who asked is in the list by a digest.
    assert_eq!(desk.store.erase(&erasure()).unwrap(), Erased::Done(ErasedRows::default()));
    let by = hand.text("SELECT asked_by FROM erasure WHERE length(digest) = 32 ORDER BY id LIMIT 1");
    assert_eq!(by.as_deref(), Some("operator"));
    drop(desk);
    let mut desk = Desk::open(&path, wide()).unwrap();
    desk.admit();
    assert!(spellings_in(&path).is_empty());
}

#[test]
fn what_cannot_be_erased_now_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let of = |text: &str| Erasure { number: E164::parse(text).unwrap(), ..erasure() };
    let mut attempt = desk.attempt();
    attempt.to = number(PERSON);
    live_and_end(&mut desk, &attempt, "Jane", "", None);
    assert_eq!(desk.store.erase(&erasure()).unwrap(), Erased::InUse { calls: 1 }, "its phone may still be told of it");
    let mut live = desk.attempt();
    live.connect = Some(number(PERSON));
    desk.commit(admit(&live));
    assert_eq!(desk.store.erase(&erasure()).unwrap(), Erased::InUse { calls: 2 });
    assert_eq!(desk.store.erase(&of("+12125550100")).unwrap(), Erased::Owned);
    assert_eq!(desk.store.erase(&of("+12125559999")).unwrap(), Erased::Done(ErasedRows::default()), "nobody's");
    let record = desk.store.get(&attempt.organization, attempt.call).unwrap().unwrap();
    assert_eq!(record.to_number, Some(number(PERSON)), "nothing was changed by halves");
    is_right(&path);
    if only_sqlite("a table that we do not know is looked through in a file, which is all ours") {
        return;
    }
    let other = "CREATE TABLE phones (owner TEXT, phone TEXT); INSERT INTO phones VALUES ('x', '+13105559876')";
    Hand::on(&path).execute(other);
    assert_eq!(desk.store.erase(&erasure()).unwrap(), Erased::Declared { places: vec!["phones".to_owned()] });
}
