//! Each change by itself, and what `file` and an administrator may do to each other.

mod file;
mod random;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::bounds;
use crate::guardrails::LegPrice;
use crate::model::Money;

const HOUR: Duration = Duration::from_secs(3_600);

fn at(hours: u32) -> Timestamp {
    Timestamp::parse_rfc3339("2026-05-01T00:00:00Z").unwrap() + HOUR * hours
}

fn number(text: &str) -> E164 {
    E164::parse(text).unwrap()
}

fn acme() -> OrganizationId {
    OrganizationId("acme".into())
}

fn alice() -> UserId {
    UserId("alice".into())
}

fn owned() -> E164 {
    number("+12025550100")
}

fn phone() -> E164 {
    number("+14155550100")
}

fn price(per_minute: &str) -> LegPrice {
    LegPrice { per_minute: per_minute.parse().unwrap(), connect: Money::ZERO, first_seconds: 60, step_seconds: 6 }
}

fn admin() -> Actor {
    Actor { name: "admin".into(), request_id: Some("req_1".into()) }
}

fn settings() -> SettingsPatch {
    SettingsPatch {
        daily_spend_limit: Some("50".parse().unwrap()),
        allowed_destinations: Some(vec!["+1".into(), "!+1900".into()]),
        ..SettingsPatch::default()
    }
}

fn issue(sha256: u8) -> Change {
    Change::IssueKey {
        organization: acme(),
        user: alice(),
        name: Some("laptop".into()),
        scopes: vec!["calls:write".into()],
        expires_at: None,
        sha256: [sha256; 32],
    }
}

/// Tenants, the rows that are kept of them, and the audit log.
#[derive(Default)]
struct Kept {
    tenants: Tenants,
    rows: BTreeMap<ObjectId, Row>,
    log: Vec<Entry>,
}

impl Kept {
    /// `acme` with alice, a number, the key of digest 1 and a price.
    fn new() -> Self {
        let mut kept = Self::default();
        for change in [
            Change::CreateOrganization { id: acme(), settings: settings() },
            Change::CreateUser { organization: acme(), id: alice(), phone: Some(phone()) },
            Change::AddNumber { organization: acme(), number: owned() },
            Change::SetPrice { prefix: "+1".into(), price: price("0.01") },
            issue(1),
        ] {
            kept.make(&change, 0).unwrap();
        }
        kept
    }

    fn make(&mut self, change: &Change, hours: u32) -> Result<Vec<Skipped>, ChangeRefused> {
        self.by(change, &admin(), hours)
    }

    fn file(&mut self, declaration: &Declaration, hours: u32) -> Vec<Skipped> {
        self.by(&Change::Declare(Arc::new(declaration.clone())), &Actor::file(), hours).unwrap()
    }

    /// Whatever is changed: what is read back from the rows is what is in memory, and what is not named as
    /// touched has the rules that it had.
    fn by(&mut self, change: &Change, by: &Actor, hours: u32) -> Result<Vec<Skipped>, ChangeRefused> {
        let decided = self.tenants.decide(change, by, at(hours))?;
        assert_eq!(decided.is_nothing(), decided.tenants == self.tenants, "{change:?}");
        for row in decided.rows {
            match (&row.document, &row.declared) {
                (None, None) => self.rows.remove(&row.id),
                (_, _) => self.rows.insert(row.id.clone(), row),
            };
        }
        let loaded = Tenants::load(decided.tenants.version(), self.rows.values().cloned()).unwrap();
        assert_eq!(loaded, decided.tenants, "{change:?}");
        self.log.extend(decided.entries);
        self.tenants = decided.tenants;
        Ok(decided.skipped)
    }

    fn key(&self, sha256: u8) -> &Key {
        self.tenants.key(self.tenants.digests[&[sha256; 32]]).unwrap()
    }

    fn opens(&self, sha256: u8, hours: u32) -> bool {
        self.tenants.authenticate(&[sha256; 32], at(hours)).is_some()
    }

    fn verbs(&self) -> Vec<(&str, &str, &str)> {
        self.log.iter().map(|e| (&*e.by.name, e.verb.as_str(), e.kind.as_str())).collect()
    }
}

fn fields(refused: ChangeRefused) -> Vec<&'static str> {
    let ChangeRefused::Invalid(problems) = refused else { panic!("{refused:?}") };
    problems.into_iter().map(|problem| problem.field).collect()
}

#[test]
fn the_edge_and_the_guardrails_are_told_by_one_value() {
    let kept = Kept::new();
    let key = kept.tenants.authenticate(&[1; 32], at(0)).unwrap();
    assert_eq!((&key.user, key.phone, &key.organization.id), (&alice(), Some(phone()), &acme()));
    assert_eq!(key.organization.limits.max_concurrent_legs, 20);
    let rules = kept.tenants.rules(&acme()).unwrap();
    assert!(rules.owns(owned()) && rules.prices.price(phone()) == Some(price("0.01")));
    assert_eq!(kept.tenants.authenticate(&[2; 32], at(0)).map(|key| key.user), None);
    assert!(kept.tenants.rules(&OrganizationId("other".into())).is_none());
}

#[test]
fn the_log_says_who_changed_what_and_holds_neither_digest_nor_phone() {
    let mut kept = Kept::new();
    kept.make(&Change::RevokeKey { id: kept.key(1).id }, 1).unwrap();
    let entry = kept.log.last().unwrap().clone();
    assert_eq!((entry.at, entry.by, entry.verb, entry.kind), (at(1), admin(), Verb::Revoke, Kind::Key));
    assert_eq!((entry.organization, entry.name), (Some(acme()), kept.key(1).id.to_string()));
    assert!(!entry.before.unwrap().contains("revoked_at"));
    assert!(entry.after.unwrap().contains("\"revoked_at\":\"2026-05-01T01:00:00.000Z\""));
    let all = format!("{:?}", kept.log);
    assert!(!all.contains(&hex::encode([1; 32])) && !all.contains("sha256"));
    assert!(!all.contains("+14155550100") && all.contains("+…00"), "the user's phone");
    assert!(all.contains("+12025550100"), "the organization's number");
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let mut kept = Kept::new();
    let bad = SettingsPatch {
        max_concurrent_legs: Some(1),
        max_calls_per_minute: Some(0),
        max_legs_per_user: Some(1),
        max_legs_per_destination: Some(0),
        breaker_window_seconds: Some(59),
        breaker_short_answers: Some(101),
        breaker_answer_percent: Some(51),
        breaker_min_calls: Some(1),
        breaker_pause_seconds: Some(0),
        timezone: Some("Mars/Olympus".into()),
        allowed_destinations: Some(vec!["+1".into(), "!+1".into()]),
        max_duration_seconds: Some(14_401),
        ..SettingsPatch::default()
    };
    let refused = kept.make(&Change::CreateOrganization { id: OrganizationId("a b".into()), settings: bad }, 0);
    let expected = [
        "max_concurrent_legs",
        "max_calls_per_minute",
        "max_legs_per_user",
        "breaker_window_seconds",
        "breaker_short_answers",
        "breaker_answer_percent",
        "breaker_min_calls",
        "breaker_pause_seconds",
        "max_duration_seconds",
        "timezone",
        "allowed_destinations",
        "daily_spend_limit",
        "id",
    ];
    assert_eq!(fields(refused.unwrap_err()), expected);
    for id in ["", "a\r\nb", "a\0", "a\"b", "a'b", "ä", &"x".repeat(65)] {
        let change = Change::CreateUser { organization: acme(), id: UserId(id.into()), phone: Some(owned()) };
        assert_eq!(fields(kept.make(&change, 0).unwrap_err()), ["id", "phone"], "{id:?}");
    }
    let key = |name: &str| Change::IssueKey {
        organization: acme(),
        user: UserId("bob".into()),
        name: Some(name.into()),
        scopes: vec!["calls:read".into(), "calls:read".into()],
        expires_at: Some(at(0)),
        sha256: [9; 32],
    };
    for name in ["a\nb", "\u{2028}", "\0", &"x".repeat(121)] {
        let refused = kept.make(&key(name), 0).unwrap_err();
        assert_eq!(fields(refused), ["scopes", "name", "expires_at", "user_id"], "{name:?}");
    }
    let bad =
        LegPrice { per_minute: Money::from_micros(-1), connect: Money::ZERO, first_seconds: 0, step_seconds: 3_601 };
    let refused = kept.make(&Change::SetPrice { prefix: "1".into(), price: bad }, 0).unwrap_err();
    assert_eq!(fields(refused), ["prefix", "per_minute", "first_seconds", "step_seconds"]);
    assert_eq!(kept.log.len(), 5, "nothing was changed");
}

#[test]
fn a_number_and_a_key_are_of_one_organization() {
    let mut kept = Kept::new();
    let other = OrganizationId("other".into());
    kept.make(&Change::CreateOrganization { id: other.clone(), settings: settings() }, 0).unwrap();
    kept.make(&Change::CreateUser { organization: other.clone(), id: alice(), phone: None }, 0).unwrap();
    let take = Change::AddNumber { organization: other.clone(), number: owned() };
    assert_eq!(kept.make(&take, 0), Err(ChangeRefused::Taken(Kind::Number)));
    let again = Change::AddNumber { organization: acme(), number: owned() };
    assert_eq!(kept.make(&again, 0), Err(ChangeRefused::Exists(Kind::Number)));
    let Change::IssueKey { user, name, scopes, expires_at, sha256, .. } = issue(1) else { unreachable!() };
    let theirs = Change::IssueKey { organization: other.clone(), user, name, scopes, expires_at, sha256 };
    assert_eq!(kept.make(&theirs, 0), Err(ChangeRefused::Taken(Kind::Key)));
    assert_eq!(kept.make(&issue(1), 0), Err(ChangeRefused::Exists(Kind::Key)));
    let own_phone = Change::AddNumber { organization: acme(), number: phone() };
    assert_eq!(fields(kept.make(&own_phone, 0).unwrap_err()), ["number"]);

    kept.make(&Change::RemoveNumber { organization: acme(), number: owned() }, 0).unwrap();
    assert!(!kept.tenants.rules(&acme()).unwrap().owns(owned()));
    kept.make(&take, 0).unwrap();
    assert!(kept.tenants.rules(&other).unwrap().owns(owned()));
}

#[test]
fn what_does_not_exist_is_not_found() {
    let mut kept = Kept::new();
    let (nobody, nowhere) = (UserId("nobody".into()), OrganizationId("nowhere".into()));
    let no_key = KeyId::of(at(0), &[77; 32]);
    for (change, kind) in [
        (Change::UpdateOrganization { id: nowhere.clone(), settings: settings() }, Kind::Organization),
        (Change::CloseOrganization { id: nowhere.clone() }, Kind::Organization),
        (Change::CreateUser { organization: nowhere.clone(), id: alice(), phone: None }, Kind::Organization),
        (Change::AddNumber { organization: nowhere, number: owned() }, Kind::Organization),
        (Change::UpdateUser { organization: acme(), id: nobody.clone(), phone: None }, Kind::User),
        (Change::DeleteUser { organization: acme(), id: nobody }, Kind::User),
        (Change::RemoveNumber { organization: acme(), number: phone() }, Kind::Number),
        (Change::RevokeKey { id: no_key }, Kind::Key),
        (Change::RotateKey { id: no_key, sha256: [2; 32], overlap: HOUR, expires_at: None }, Kind::Key),
        (Change::RemovePrice { prefix: "+2".into() }, Kind::Price),
    ] {
        assert_eq!(kept.make(&change, 0), Err(ChangeRefused::NotFound(kind)), "{change:?}");
    }
}

#[test]
fn a_key_opens_until_it_expires_and_not_a_moment_longer() {
    let mut kept = Kept::new();
    let Change::IssueKey { organization, user, name, scopes, sha256: _, .. } = issue(2) else { unreachable!() };
    let (expires_at, sha256) = (Some(at(2)), [2; 32]);
    kept.make(&Change::IssueKey { organization, user, name, scopes, expires_at, sha256 }, 0).unwrap();
    let opens = |now| kept.tenants.authenticate(&[2; 32], now).is_some();
    assert!(opens(at(2) - Duration::from_micros(1)) && !opens(at(2)) && !opens(at(3)));
    assert!(kept.opens(1, 999), "one without an end");
}

#[test]
fn a_rotated_key_and_its_successor_overlap_for_as_long_as_was_asked() {
    let mut kept = Kept::new();
    let id = kept.key(1).id;
    let rotate = |sha256: u8, overlap| Change::RotateKey { id, sha256: [sha256; 32], overlap, expires_at: None };
    let too_long = HOUR * 24 * 31;
    assert_eq!(fields(kept.make(&rotate(2, too_long), 1).unwrap_err()), ["overlap_seconds"]);
    kept.make(&rotate(2, HOUR), 1).unwrap();
    assert!(kept.opens(1, 1) && kept.opens(2, 1));
    assert!(!kept.opens(1, 2) && kept.opens(2, 2));
    let (old, new) = (kept.key(1).clone(), kept.key(2).clone());
    assert_eq!((old.rotated_to, old.expires_at), (Some(new.id), Some(at(2))));
    assert_eq!((&new.user, &new.name, &new.scopes), (&old.user, &old.name, &old.scopes));
    assert_eq!(kept.make(&rotate(3, HOUR), 1), Err(ChangeRefused::Rotated(new.id)));

    let at_once = Change::RotateKey { id: new.id, sha256: [3; 32], overlap: Duration::ZERO, expires_at: Some(at(9)) };
    kept.make(&at_once, 3).unwrap();
    assert!(!kept.opens(2, 3) && kept.opens(3, 3) && !kept.opens(3, 9));
    // A successor lives as long as its predecessor was to; an end that was near stays.
    let third = Change::RotateKey { id: kept.key(3).id, sha256: [4; 32], overlap: HOUR * 24, expires_at: None };
    kept.make(&third, 8).unwrap();
    assert_eq!((kept.key(3).expires_at, kept.key(4).expires_at), (Some(at(9)), Some(at(8 + 6))));
    let fourth = Change::RotateKey { id: kept.key(4).id, sha256: [5; 32], overlap: HOUR, expires_at: None };
    kept.make(&Change::RevokeKey { id: kept.key(4).id }, 9).unwrap();
    assert_eq!(kept.make(&fourth, 9), Err(ChangeRefused::Dead));
}

#[test]
fn a_revocation_is_once_and_for_all_and_of_a_deleted_user_all_keys_are_revoked() {
    let mut kept = Kept::new();
    kept.make(&issue(2), 0).unwrap();
    kept.make(&Change::RevokeKey { id: kept.key(1).id }, 1).unwrap();
    kept.make(&Change::RevokeKey { id: kept.key(1).id }, 5).unwrap();
    assert_eq!(kept.key(1).revoked_at, Some(at(1)));
    assert!(!kept.opens(1, 1) && kept.opens(2, 1));
    kept.make(&Change::DeleteUser { organization: acme(), id: alice() }, 2).unwrap();
    assert!(!kept.opens(2, 2) && kept.key(2).revoked_at == Some(at(2)));
    // A user of the same name is another.
    kept.make(&Change::CreateUser { organization: acme(), id: alice(), phone: None }, 3).unwrap();
    assert!(!kept.opens(2, 3));
}

#[test]
fn a_closed_organization_owns_nothing_and_its_id_is_not_given_again() {
    let mut kept = Kept::new();
    kept.make(&Change::CloseOrganization { id: acme() }, 1).unwrap();
    let rules = kept.tenants.rules(&acme()).unwrap();
    assert!(!rules.owns(owned()) && rules.limits.max_concurrent_legs == 0);
    assert!(!kept.opens(1, 1));
    assert_eq!((kept.tenants.users(&acme()).count(), kept.tenants.numbers(&acme()).count()), (0, 0));
    let again = Change::CreateOrganization { id: acme(), settings: settings() };
    assert_eq!(kept.make(&again, 2), Err(ChangeRefused::Exists(Kind::Organization)));
    let user = Change::CreateUser { organization: acme(), id: alice(), phone: None };
    assert_eq!(kept.make(&user, 2), Err(ChangeRefused::Closed));
    let limits = Change::UpdateOrganization { id: acme(), settings: settings() };
    assert_eq!(kept.make(&limits, 2), Err(ChangeRefused::Closed));
    kept.make(&Change::CloseOrganization { id: acme() }, 3).unwrap();
    assert_eq!(kept.tenants.organization(&acme()).unwrap().closed_at, Some(at(1)), "a second time changes nothing");
    let open = SettingsPatch { closed: Some(false), ..SettingsPatch::default() };
    kept.make(&Change::UpdateOrganization { id: acme(), settings: open }, 4).unwrap();
    kept.make(&user, 4).unwrap();
    assert!(!kept.opens(1, 4), "what was revoked stays so");
}

#[test]
fn the_oldest_dead_key_makes_room_and_a_good_one_never() {
    let mut kept = Kept::new();
    let digest = |n: usize| {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&(n as u64 + 1_000).to_be_bytes());
        digest
    };
    let issue = |n: usize| {
        let Change::IssueKey { organization, user, name, scopes, expires_at, .. } = issue(0) else { unreachable!() };
        Change::IssueKey { organization, user, name, scopes, expires_at, sha256: digest(n) }
    };
    let mut draft = kept.tenants.clone();
    for n in 1..bounds::KEYS {
        draft = draft.decide(&issue(n), &admin(), at(1)).unwrap().tenants;
    }
    let full = ChangeRefused::TooMany { kind: Kind::Key, most: bounds::KEYS };
    assert_eq!(draft.decide(&issue(0), &admin(), at(2)), Err(full));
    let dead = draft.key(draft.digests[&[1; 32]]).unwrap().id;
    draft = draft.decide(&Change::RevokeKey { id: dead }, &admin(), at(2)).unwrap().tenants;
    let decided = draft.decide(&issue(0), &admin(), at(2)).unwrap();
    assert!(decided.tenants.key(dead).is_none() && decided.tenants.keys(&acme()).count() == bounds::KEYS);
    kept.tenants = decided.tenants;
    assert!(kept.tenants.authenticate(&digest(0), at(2)).is_some());
}

#[test]
fn only_those_whom_a_change_touches_get_other_rules() {
    let mut kept = Kept::new();
    let other = OrganizationId("other".into());
    kept.make(&Change::CreateOrganization { id: other.clone(), settings: settings() }, 0).unwrap();
    let before = |id: &OrganizationId| kept.tenants.rules(id).unwrap();
    let after = |change: Change, id: &OrganizationId| {
        let decided = kept.tenants.decide(&change, &admin(), at(1)).unwrap();
        let mut rules = before(id);
        let same_days = decided.tenants.renew(&decided.touched, id, &mut rules);
        // What is renewed is what they would be if they were made anew.
        assert_eq!(format!("{rules:?}"), format!("{:?}", decided.tenants.rules(id).unwrap()), "{change:?}");
        (rules, same_days, decided.touched)
    };
    for change in [
        Change::SetPrice { prefix: "+44".into(), price: price("1") },
        Change::RemovePrice { prefix: "+1".into() },
        Change::RemoveNumber { organization: acme(), number: owned() },
        issue(2),
    ] {
        after(change.clone(), &other);
        after(change, &acme());
    }
    let (rules, same_days, touched) = after(Change::RemovePrice { prefix: "+1".into() }, &other);
    assert!(same_days && rules.prices.price(phone()).is_none());
    assert_eq!(touched, Touched { prices: true, ..Touched::default() });
    let (rules, ..) = after(Change::RemoveNumber { organization: acme(), number: owned() }, &acme());
    assert!(!rules.owns(owned()));
    let timezone = SettingsPatch { timezone: Some("Asia/Tokyo".into()), ..SettingsPatch::default() };
    assert!(!after(Change::UpdateOrganization { id: acme(), settings: timezone }, &acme()).1);
}

#[test]
fn a_row_that_cannot_be_read_is_named_by_its_kind() {
    let row = |id: ObjectId, document: &str| Row { id, document: Some(document.into()), declared: None };
    let broken = Tenants::load(1, [row(ObjectId::Price("+1".into()), "{}")]).unwrap_err();
    assert_eq!(broken.kind, "price");
    let orphan = row(
        ObjectId::Number(acme(), owned()),
        r#"{"organization":"acme","number":"+12025550100","created_at":"2026-05-01T00:00:00.000Z"}"#,
    );
    assert_eq!(Tenants::load(1, [orphan]).unwrap_err().kind, "number");
}
