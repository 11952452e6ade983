use std::collections::BTreeSet;

use revbridge::model::{CallId, Money, OrganizationId, Status, UserId};
use revbridge::store::{CallFilter, Page};

use crate::desk::engine::{Engine, Hand, engine};
use crate::desk::*;

#[test]
fn paging_sees_each_call_once_while_calls_arrive_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let organization = OrganizationId("acme".into());
    let mut live: Vec<_> = (0..95).map(|_| desk.admit()).collect();
    let there: BTreeSet<CallId> = live.iter().map(|attempt| attempt.call).collect();
    let mut seen = Vec::new();
    let mut query = CallFilter { limit: 10, ..CallFilter::default() };
    loop {
        let page = desk.store.list(&organization, &query).unwrap();
        assert!(page.records.len() <= 10);
        seen.extend(page.records.iter().map(|record| record.id));
        // Between two pages some calls end, are forgotten, and others arrive.
        for ended in live.drain(..live.len().min(7)) {
            desk.commit(settle(&ended, Money::ZERO));
            desk.store.forget(vec![ended.call]);
        }
        desk.admit();
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), there);
}

#[test]
fn a_list_is_narrowed_by_every_field() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let organization = OrganizationId("acme".into());
    let before = now();
    let ended = desk.admit();
    desk.commit(settle(&ended, Money::ZERO));
    let mut other = desk.attempt();
    other.user = UserId("bob".into());
    other.to = number("+13105550199");
    desk.commit(admit(&other));
    let after = now();

    let list = |query: CallFilter| {
        let page = desk.store.list(&organization, &CallFilter { limit: 100, ..query }).unwrap();
        page.records.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    let all = CallFilter::default;
    assert_eq!(list(all()), [other.call, ended.call]);
    assert_eq!(list(CallFilter { status: Some(Status::Completed), ..all() }), [ended.call]);
    assert_eq!(list(CallFilter { status: Some(Status::Queued), ..all() }), [other.call]);
    assert_eq!(list(CallFilter { user: Some(UserId("bob".into())), ..all() }), [other.call]);
    assert_eq!(list(CallFilter { to: Some(ended.to), ..all() }), [ended.call]);
    assert_eq!(list(CallFilter { from: Some(ended.to), ..all() }), []);
    assert_eq!(list(CallFilter { after: Some(before), before: Some(after), ..all() }), [other.call, ended.call]);
    assert_eq!(list(CallFilter { before: Some(before), ..all() }), []);
    assert_eq!(list(CallFilter { after: Some(after), ..all() }), []);
}

#[test]
fn another_organization_sees_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let live = desk.admit();
    let ended = desk.admit();
    desk.commit(settle(&ended, Money::ZERO));
    let stranger = OrganizationId("other".into());
    for attempt in [&live, &ended] {
        assert!(desk.store.get(&attempt.organization, attempt.call).unwrap().is_some());
        assert_eq!(desk.store.get(&stranger, attempt.call).unwrap(), None);
    }
    let query = CallFilter { limit: 100, ..CallFilter::default() };
    assert_eq!(desk.store.list(&stranger, &query).unwrap().records, []);
}

/// However large the store: what a filter rarely matches is found over several pages.
#[test]
fn a_page_looks_at_so_many_calls_and_the_next_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let organization = OrganizationId("acme".into());
    let sought = desk.admit();
    desk.commit(settle(&sought, Money::ZERO));
    // Newer than it, and to another number.
    Hand::on(&path).execute(match engine() {
        Engine::Sqlite => {
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 45000)
             INSERT INTO calls (organization, call, status, user_id, from_number, to_number, created_at, record)
             SELECT organization, CAST(format('%016d', n) AS BLOB), status, user_id, from_number, '', created_at, record
             FROM calls, n"
        }
        Engine::Postgres => {
            "INSERT INTO calls (id, organization, call, status, user_id, from_number, to_number, created_at, record)
             SELECT 1000000 + n, organization, convert_to(lpad(n::text, 16, '0'), 'UTF8'), status, user_id, from_number,
                    '', created_at, record
             FROM calls, generate_series(1, 45000) AS n"
        }
    });

    let mut query = CallFilter { limit: 10, to: Some(sought.to), ..CallFilter::default() };
    let mut pages = Vec::new();
    loop {
        let page = desk.store.list(&organization, &query).unwrap();
        pages.push(page.records.iter().map(|record| record.id).collect::<Vec<_>>());
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, [vec![], vec![], vec![sought.call]]);

    let live = CallFilter { limit: 10, status: Some(Status::InProgress), ..CallFilter::default() };
    assert_eq!(desk.store.list(&organization, &live).unwrap(), Page::default(), "known without a look at what is over");
}
