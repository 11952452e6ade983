//! Changes of tenants: durable as a whole or not at all, in force at once, and each with its line in the log.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::desk::engine::{Hand, share};
use crate::desk::*;
use crate::schema::as_of_version;
use revbridge::guardrails::{LegPrice, Refusal};
use revbridge::model::{E164, Money, OrganizationId, Side, UserId};
use revbridge::store::tenants::{Actor, Change, ChangeRefused, Kind, SettingsPatch, Verb};
use revbridge::store::{Answer, ChangeFilter, ChangeKey, ChangeOrder, Changed, Committed, Step, StoreDown};

const FILE: &str = "REVBRIDGE_TEST_TENANTS_FILE";

fn acme() -> OrganizationId {
    OrganizationId("acme".into())
}

fn order(change: Change) -> ChangeOrder {
    let by = Actor { name: "admin".into(), request_id: Some("req_1".into()) };
    ChangeOrder { change, by, at: now(), idempotency: None }
}

fn change(desk: &Desk, change: Change) -> Changed {
    desk.store.change(order(change)).unwrap()
}

fn done(desk: &Desk, what: Change) {
    let changed = change(desk, what);
    assert!(matches!(&changed, Changed::Done { skipped, .. } if skipped.is_empty()), "{changed:?}");
}

fn user(name: &str) -> Change {
    Change::CreateUser { organization: acme(), id: UserId(name.into()), phone: None }
}

fn issue(sha256: u8) -> Change {
    Change::IssueKey {
        organization: acme(),
        user: UserId("alice".into()),
        name: None,
        scopes: vec!["calls:read".into()],
        expires_at: None,
        sha256: [sha256; 32],
    }
}

fn settings(settings: SettingsPatch) -> Change {
    Change::UpdateOrganization { id: acme(), settings }
}

fn owned() -> E164 {
    number("+12125550100")
}

fn entries(desk: &Desk) -> usize {
    desk.store.changes(&ChangeFilter { limit: 1_000, ..ChangeFilter::default() }).unwrap().entries.len()
}

/// The process that the test below starts and kills: changes without end, and says what was answered.
/// In any other process there is nothing to do.
#[test]
fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let desk = Desk::open(Path::new(&path), wide()).unwrap();
    let mut out = std::io::stdout().lock();
    let first = desk.store.tenants().users(&acme()).count();
    for n in first.. {
        let name = format!("user-{n}");
        done(&desk, user(&name));
        writeln!(out, "created {name}").unwrap();
    }
}

#[test]
fn after_kill_9_each_change_that_was_answered_is_there_with_its_line_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut answered = Vec::new();
    for round in 0..6 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        share(&mut command);
        let mut child = command
            .args(["--exact", "tenants::child", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.by_ref().find(|line| line.starts_with("created "));
        std::thread::sleep(Duration::from_millis(15 + 17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line may have been cut off; a name that was is another's beginning, so it is left out.
        let mut all: Vec<_> = first.into_iter().chain(lines.filter(|line| line.starts_with("created "))).collect();
        all.pop();
        answered.extend(all.iter().map(|line| UserId(line["created ".len()..].into())));
        let desk = Desk::open(&path, wide()).unwrap();
        let tenants = desk.store.tenants();
        for id in &answered {
            assert!(tenants.user(&acme(), id).is_some(), "{id:?}");
        }
        let mut hand = Hand::on(&path);
        let mut count = |sql: &str| hand.count(sql);
        let users = tenants.users(&acme()).count() as i64;
        assert_eq!(count("SELECT count(*) FROM change WHERE kind = 'user'"), users);
        assert_eq!(count("SELECT count(DISTINCT name) FROM change WHERE kind = 'user'"), users);
        // The file was applied once; then each change counted one up.
        assert_eq!(count("SELECT version FROM directory"), users + 1);
    }
    assert!(answered.len() > 5, "{}", answered.len());
}

#[test]
fn a_change_that_fails_halfway_leaves_nothing_in_file_or_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    done(&desk, user("alice"));
    let (before, lines) = (desk.store.tenants(), entries(&desk));
    let mut by_hand = Hand::on(&path);
    by_hand.break_inserts("change");
    assert_eq!(desk.store.change(order(issue(1))), Err(StoreDown));
    assert!(desk.store.authenticate(&[1; 32]).is_none());
    assert_eq!((desk.store.tenants(), entries(&desk)), (before, lines));
    by_hand.mend_inserts("change");
    desk.admit();
    done(&desk, issue(1));
    assert!(desk.store.authenticate(&[1; 32]).is_some());
    let tenants = desk.store.tenants();
    drop(desk);
    assert_eq!(Desk::open(&path, wide()).unwrap().store.tenants(), tenants);
}

#[test]
fn a_change_holds_for_the_call_that_lives() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let attempt = desk.admit();
    let cent = Money::from_micros(10_000);
    // A price holds from the next call on: this one's was fixed by its admission.
    let dear = LegPrice { per_minute: "9".parse().unwrap(), connect: Money::ZERO, first_seconds: 60, step_seconds: 60 };
    done(&desk, Change::SetPrice { prefix: "+1".into(), price: dear });
    assert!(matches!(desk.commit(permit(&attempt, Side::Destination)), Committed::Permitted(_)));
    assert_eq!(desk.commit(step(&attempt, Step::Extend { amount: cent })), Committed::Extended);
    let next = desk.attempt();
    let Committed::Admitted { grant, .. } = desk.commit(admit(&next)) else { panic!("not admitted") };
    assert_eq!(grant.reserved, "18".parse().unwrap());
    done(&desk, Change::RemovePrice { prefix: "+1".into() });
    assert!(matches!(desk.commit(permit(&attempt, Side::Destination)), Committed::Permitted(_)));
    let unpriced = desk.attempt();
    assert!(matches!(desk.commit(admit(&unpriced)), Committed::Refused(Refusal::DestinationNotAllowed(_))));

    let limit = |limit: &str| SettingsPatch { daily_spend_limit: Some(limit.parse().unwrap()), ..Default::default() };
    done(&desk, settings(limit("18.03")));
    let more = desk.commit(step(&attempt, Step::Extend { amount: Money::from_micros(1) }));
    assert!(matches!(more, Committed::Refused(Refusal::SpendLimitExceeded { .. })), "{more:?}");
    done(&desk, settings(limit("100")));
    assert_eq!(desk.commit(step(&attempt, Step::Extend { amount: cent })), Committed::Extended);

    done(&desk, Change::RemoveNumber { organization: acme(), number: owned() });
    let refused = desk.commit(permit(&attempt, Side::Destination));
    assert_eq!(refused, Committed::Refused(Refusal::CallerIdNotVerified));
    // What it holds is settled all the same, also of an organization that is closed.
    done(&desk, Change::CloseOrganization { id: acme() });
    for call in [&attempt, &next] {
        assert_eq!(desk.commit(settle(call, cent)), Committed::Done);
    }
    let usage = desk.store.usage(&acme(), now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.spent, usage.reserved), (0, cent.times(2), Money::ZERO));
}

#[test]
fn an_organization_that_is_new_may_dial_at_once_and_another_timezone_keeps_what_was_spent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let (zoo, theirs) = (OrganizationId("zoo".into()), number("+12125550111"));
    let before = desk.admit();
    let settings = |timezone: &str| SettingsPatch {
        daily_spend_limit: Some("1".parse().unwrap()),
        allowed_destinations: Some(vec!["+1".into()]),
        timezone: Some(timezone.into()),
        ..SettingsPatch::default()
    };
    done(&desk, Change::CreateOrganization { id: zoo.clone(), settings: settings("Pacific/Midway") });
    done(&desk, Change::AddNumber { organization: zoo.clone(), number: theirs });
    let mut attempt = desk.attempt();
    (attempt.organization, attempt.from) = (zoo.clone(), theirs);
    assert!(matches!(desk.commit(admit(&attempt)), Committed::Admitted { .. }));
    let usage = |organization| desk.store.usage(organization, now()).unwrap().unwrap();
    assert_eq!((usage(&zoo).legs, usage(&before.organization).legs, usage(&before.organization).calls), (2, 2, 1));
    desk.commit(settle(&attempt, Money::from_micros(500)));
    // It is a day later there at every moment of the year; a start reads the sums of that day only.
    let moved = |desk: &Desk, timezone: &str| {
        done(desk, Change::UpdateOrganization { id: zoo.clone(), settings: settings(timezone) });
        desk.store.usage(&zoo, now()).unwrap().unwrap().spent
    };
    assert_eq!(moved(&desk, "Pacific/Kiritimati"), Money::ZERO);
    drop(desk);
    let desk = Desk::open(&path, wide()).unwrap();
    assert_eq!(moved(&desk, "Pacific/Midway"), Money::from_micros(500));
}

#[test]
fn a_version_that_somebody_else_counted_up_is_read_again_before_anything_is_decided() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let desk = Desk::open(&path, wide()).unwrap();
    // As another node would: it takes the number away, and gives it to itself.
    let mut other = Hand::on(&path);
    other.execute(
        r#"BEGIN;
               DELETE FROM tenant WHERE kind = 'number';
               INSERT INTO organization (name) VALUES ('zoo');
               INSERT INTO tenant (kind, organization, name, document)
                 SELECT kind, 'zoo', 'zoo', replace(document, '"id":"acme"', '"id":"zoo"') FROM tenant
                 WHERE kind = 'organization';
               INSERT INTO tenant (kind, organization, name, document) VALUES ('number', 'zoo', '+12125550100',
                 '{"organization":"zoo","number":"+12125550100","created_at":"2026-05-01T00:00:00.000Z"}');
               UPDATE directory SET version = version + 1;
               COMMIT"#,
    );
    let take = Change::AddNumber { organization: acme(), number: owned() };
    assert_eq!(change(&desk, take), Changed::Refused(ChangeRefused::Taken(Kind::Number)));
    let before = desk.store.tenants().version();
    done(&desk, user("alice"));
    let tenants = desk.store.tenants();
    assert_eq!(tenants.version(), before + 2);
    assert!(!tenants.rules(&acme()).unwrap().owns(owned()));
    assert!(tenants.rules(&OrganizationId("zoo".into())).unwrap().owns(owned()));
    // What the guardrails go by has followed.
    let mut desk = desk;
    let attempt = desk.attempt();
    assert_eq!(desk.commit(admit(&attempt)), Committed::Refused(Refusal::CallerIdNotVerified));
}

#[test]
fn a_repetition_is_answered_by_the_transaction_that_made_the_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let key = |body: u8, request: &str| ChangeKey {
        key: [5; 32],
        body: [body; 32],
        request_id: request.into(),
        answer: Box::new(|tenants| {
            let users = tenants.users(&acme()).count();
            Answer { status: 201, location: None, body: format!("{users} users") }
        }),
    };
    let desk = Desk::open(&path, wide()).unwrap();
    let send = |desk: &Desk, name: &str, body, request| {
        desk.store.change(ChangeOrder { idempotency: Some(key(body, request)), ..order(user(name)) }).unwrap()
    };
    assert!(matches!(send(&desk, "alice", 1, "first"), Changed::Done { .. }));
    let stored = Answer { status: 201, location: None, body: "1 users".into() };
    assert_eq!(send(&desk, "bob", 1, "second"), Changed::Replayed(stored.clone()));
    assert_eq!(send(&desk, "bob", 2, "third"), Changed::Conflict { request_id: Arc::from("first") });
    assert_eq!(desk.store.find_answer(&[5; 32]).unwrap().unwrap().answer, stored);
    drop(desk);
    let desk = Desk::open(&path, wide()).unwrap();
    assert_eq!(send(&desk, "bob", 1, "fourth"), Changed::Replayed(stored));
    assert_eq!(desk.store.tenants().users(&acme()).count(), 1);
}

#[test]
fn the_log_only_grows_and_is_read_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let desk = Desk::open(&path, wide()).unwrap();
    let names: Vec<_> = (0..7).map(|n| format!("user-{n}")).collect();
    names.iter().for_each(|name| done(&desk, user(name)));
    done(&desk, Change::RemovePrice { prefix: "+1".into() });
    let page = |cursor| {
        let filter = ChangeFilter { limit: 4, cursor, organization: Some(acme()) };
        let page = desk.store.changes(&filter).unwrap();
        (page.entries.iter().map(|(_, entry)| entry.name.clone()).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = page(None);
    assert_eq!(first, ["user-6", "user-5", "user-4", "user-3"]);
    done(&desk, user("later"));
    let (second, next) = page(next);
    assert_eq!(second, ["user-2", "user-1", "user-0", "+12125550100"]);
    assert_eq!(page(next), (vec!["acme".to_owned()], None));
    let all = desk.store.changes(&ChangeFilter { limit: 3, ..ChangeFilter::default() }).unwrap();
    let (_, price) = &all.entries[1];
    assert_eq!((price.verb, price.kind, &price.organization), (Verb::Delete, Kind::Price, &None));
    assert_eq!((&*price.by.name, price.by.request_id.as_deref()), ("admin", Some("req_1")));
    let mut by_hand = Hand::on(&path);
    for forbidden in ["DELETE FROM change", "UPDATE change SET actor = 'nobody'"] {
        let refused = by_hand.refused(forbidden);
        assert!(refused.contains("the audit log only grows"), "{refused}");
    }
}

#[test]
fn a_file_of_an_older_release_takes_its_tenants_from_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open_file(&path, wide()).unwrap();
    let live = desk.admit();
    drop(desk);
    let mut desk = Desk::open_file(&as_of_version(3, &path), wide()).unwrap();
    assert_eq!(desk.recovered.calls.iter().map(|call| call.call).collect::<Vec<_>>(), [live.call]);
    assert!(desk.store.tenants().rules(&acme()).unwrap().owns(owned()));
    assert!(matches!(desk.commit(permit(&live, Side::Destination)), Committed::Permitted(_)));
    assert_eq!(desk.store.usage(&acme(), now()).unwrap().unwrap().legs, 2);
    assert_eq!(entries(&desk), 3, "organization, number, price");
}

#[test]
fn of_all_who_want_one_number_at_once_one_gets_it_and_each_change_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let wanted = number("+12125550177");
    let organizations: Vec<_> = (0..8).map(|n| OrganizationId(format!("org-{n}").into())).collect();
    let settings = || SettingsPatch {
        daily_spend_limit: Some(Money::ZERO),
        allowed_destinations: Some(Vec::new()),
        ..SettingsPatch::default()
    };
    let store = &desk.store;
    let all_at_once = |change_of: &(dyn Fn(&OrganizationId) -> Change + Sync)| {
        std::thread::scope(|scope| {
            let asking = organizations.iter().map(|id| scope.spawn(|| store.change(order(change_of(id))).unwrap()));
            let asking: Vec<_> = asking.collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let before = desk.store.tenants().version();
    let made = all_at_once(&|id| Change::CreateOrganization { id: id.clone(), settings: settings() });
    assert!(made.iter().all(|changed| matches!(changed, Changed::Done { .. })), "{made:?}");
    let got = all_at_once(&|id| Change::AddNumber { organization: id.clone(), number: wanted });
    let refused = |changed: &&Changed| **changed == Changed::Refused(ChangeRefused::Taken(Kind::Number));
    assert_eq!(got.iter().filter(refused).count(), 7, "{got:?}");
    let tenants = desk.store.tenants();
    assert_eq!(tenants.version(), before + 9);
    assert_eq!(organizations.iter().filter(|id| tenants.rules(id).unwrap().owns(wanted)).count(), 1);
}
