//! The configuration file, beside an administrator.

use std::time::Duration;

use super::*;
use crate::config::{KeyConfig, OrganizationConfig, UserConfig, bounds};
use crate::guardrails::Limits;
use crate::model::Confirm;

pub(super) fn declaration() -> Declaration {
    let organization = OrganizationConfig {
        id: acme(),
        limits: Limits {
            max_concurrent_legs: 10,
            max_calls_per_minute: 10,
            daily_spend_limit: "50".parse().unwrap(),
            ..Limits::default()
        },
        allowed_destinations: vec!["+1".into()],
        numbers: vec![owned()],
        users: vec![UserConfig { id: alice(), phone: Some(phone()) }],
        keys: vec![KeyConfig { user: alice(), sha256: [1; 32], scopes: vec!["calls:read".into()] }],
        confirm: Confirm::None,
        max_duration: HOUR,
    };
    Declaration { organizations: vec![organization], prices: vec![("+1".into(), price("0.01"))] }
}

fn legs(kept: &Kept) -> u32 {
    kept.tenants.organization(&acme()).unwrap().limits.max_concurrent_legs
}

fn raise(legs: u64) -> Change {
    let settings = SettingsPatch { max_concurrent_legs: Some(legs), ..SettingsPatch::default() };
    Change::UpdateOrganization { id: acme(), settings }
}

#[test]
fn a_file_that_says_the_same_changes_nothing() {
    let mut kept = Kept::default();
    assert_eq!(kept.file(&declaration(), 0), []);
    let verbs: Vec<_> = kept.verbs().into_iter().map(|(by, verb, _)| (by, verb)).collect();
    assert_eq!(verbs, [("file", "create"); 5]);
    assert!(kept.opens(1, 0) && kept.tenants.rules(&acme()).unwrap().owns(owned()));
    let (version, rows) = (kept.tenants.version(), kept.rows.clone());
    assert_eq!(kept.file(&declaration(), 1), []);
    assert_eq!((kept.tenants.version(), kept.log.len()), (version, 5));
    assert_eq!(kept.rows, rows);
}

#[test]
fn what_an_administrator_changed_stays_until_the_file_changes_that_object() {
    let mut kept = Kept::default();
    kept.file(&declaration(), 0);
    kept.make(&raise(40), 1).unwrap();
    kept.make(&Change::RemoveNumber { organization: acme(), number: owned() }, 1).unwrap();
    kept.make(&Change::RemovePrice { prefix: "+1".into() }, 1).unwrap();
    kept.make(&Change::CreateUser { organization: acme(), id: UserId("bob".into()), phone: None }, 1).unwrap();
    // The file changes something else.
    let mut file = declaration();
    file.organizations[0].users[0].phone = None;
    assert_eq!(kept.file(&file, 2), []);
    assert_eq!(legs(&kept), 40);
    assert!(kept.tenants.number(&acme(), owned()).is_none() && kept.tenants.price_of("+1").is_none());
    assert_eq!(kept.tenants.user(&acme(), &alice()).unwrap().phone, None);
    assert!(kept.tenants.user(&acme(), &UserId("bob".into())).is_some(), "the file never knew of bob");
    // The file changes these.
    file.organizations[0].limits.max_concurrent_legs = 12;
    file.prices[0].1 = price("0.02");
    assert_eq!(kept.file(&file, 3), []);
    assert_eq!((legs(&kept), kept.tenants.price_of("+1").map(|p| p.price)), (12, Some(price("0.02"))));
    assert!(kept.tenants.number(&acme(), owned()).is_none());
}

#[test]
fn what_vanishes_from_the_file_goes_and_what_comes_back_is_there_again() {
    let mut kept = Kept::default();
    kept.file(&declaration(), 0);
    let mut file = declaration();
    file.organizations[0].keys.clear();
    file.organizations[0].numbers.clear();
    file.prices.clear();
    assert_eq!(kept.file(&file, 1), []);
    assert!(!kept.opens(1, 1) && kept.tenants.prices().count() == 0);
    assert!(!kept.tenants.rules(&acme()).unwrap().owns(owned()));
    assert_eq!(kept.file(&declaration(), 2), []);
    assert!(kept.opens(1, 2) && kept.tenants.rules(&acme()).unwrap().owns(owned()));

    assert_eq!(kept.file(&Declaration::default(), 3), []);
    assert!(!kept.opens(1, 3) && !kept.tenants.organization(&acme()).unwrap().is_open());
    assert_eq!(kept.file(&declaration(), 4), []);
    assert!(kept.opens(1, 4) && kept.tenants.rules(&acme()).unwrap().owns(owned()));
    assert!(kept.verbs().iter().all(|(by, ..)| *by == "file"));
}

#[test]
fn a_number_and_a_key_move_from_one_organization_of_the_file_to_another() {
    let mut file = declaration();
    let mut other = file.organizations[0].clone();
    (other.id, other.numbers, other.keys) = (OrganizationId("zoo".into()), vec![], vec![]);
    file.organizations.push(other);
    let mut kept = Kept::default();
    assert_eq!(kept.file(&file, 0), []);
    for (from, to) in [(0, 1), (1, 0)] {
        file.organizations[from].numbers.clear();
        file.organizations[to].numbers = vec![owned()];
        let key = file.organizations[from].keys.pop().unwrap();
        file.organizations[to].keys.push(key);
        assert_eq!(kept.file(&file, 1), []);
        let (lines, version) = (kept.log.len(), kept.tenants.version());
        assert_eq!(kept.file(&file, 2), []);
        assert_eq!((kept.log.len(), kept.tenants.version()), (lines, version), "a second time changes nothing");
        let owner = kept.tenants.authenticate(&[1; 32], at(2)).unwrap().organization.id.clone();
        assert_eq!(owner, file.organizations[to].id);
        assert!(kept.tenants.rules(&file.organizations[to].id).unwrap().owns(owned()));
        assert!(!kept.tenants.rules(&file.organizations[from].id).unwrap().owns(owned()));
    }
}

#[test]
fn the_file_cannot_take_back_a_revocation() {
    let mut kept = Kept::default();
    kept.file(&declaration(), 0);
    kept.make(&Change::RevokeKey { id: kept.key(1).id }, 1).unwrap();
    let mut file = declaration();
    file.organizations[0].keys[0].scopes.push("calls:write".into());
    kept.file(&file, 2);
    assert!(!kept.opens(1, 2), "other scopes");
    file.organizations[0].keys.clear();
    kept.file(&file, 3);
    kept.file(&declaration(), 4);
    assert!(!kept.opens(1, 4), "gone and back");
    kept.file(&Declaration::default(), 5);
    kept.file(&declaration(), 6);
    assert!(!kept.opens(1, 6), "gone and back with its organization");
}

#[test]
fn an_organization_that_the_file_opens_again_has_again_what_the_file_gives_it() {
    let mut kept = Kept::default();
    kept.file(&declaration(), 0);
    kept.make(&Change::CloseOrganization { id: acme() }, 1).unwrap();
    assert_eq!(kept.file(&declaration(), 2), []);
    assert!(!kept.tenants.organization(&acme()).unwrap().is_open(), "the file says what it said");
    let mut file = declaration();
    file.organizations[0].limits.max_calls_per_minute = 11;
    assert_eq!(kept.file(&file, 3), []);
    assert!(kept.tenants.rules(&acme()).unwrap().owns(owned()));
    assert!(kept.tenants.user(&acme(), &alice()).is_some());
}

#[test]
fn what_cannot_be_is_skipped_told_and_tried_again() {
    let mut kept = Kept::default();
    let other = OrganizationId("other".into());
    kept.make(&Change::CreateOrganization { id: other.clone(), settings: settings() }, 0).unwrap();
    kept.make(&Change::AddNumber { organization: other.clone(), number: owned() }, 0).unwrap();
    let number = ObjectId::Number(acme(), owned());
    let expected = [Skipped { id: number, why: ChangeRefused::Taken(Kind::Number) }];
    assert_eq!(kept.file(&declaration(), 1), expected);
    assert!(kept.opens(1, 1), "the rest is there");
    assert_eq!(kept.file(&declaration(), 2), expected);
    kept.make(&Change::RemoveNumber { organization: other, number: owned() }, 3).unwrap();
    assert_eq!(kept.file(&declaration(), 4), []);
    assert!(kept.tenants.rules(&acme()).unwrap().owns(owned()));
}

#[test]
fn a_setting_that_an_older_release_did_not_know_is_no_change_of_the_file() {
    let mut kept = Kept::default();
    kept.file(&declaration(), 0);
    kept.make(&raise(40), 1).unwrap();
    let mut file = declaration();
    file.organizations[0].max_duration = Duration::from_secs(bounds::MAX_DURATION);
    kept.file(&file, 2);
    kept.make(&raise(41), 3).unwrap();
    // As if this release were the first to know of the longest call: the file still does not speak of it.
    let id = ObjectId::Organization(acme());
    let mut row = kept.rows[&id].clone();
    let said = row.declared.clone().unwrap();
    row.declared = Some(said.replace(",\"max_duration_seconds\":14400", ""));
    assert_ne!(row.declared.as_deref(), Some(said.as_str()));
    kept.rows.insert(id, row);
    kept.tenants = Tenants::load(kept.tenants.version(), kept.rows.values().cloned()).unwrap();
    kept.file(&file, 4);
    assert_eq!(legs(&kept), 41);
}
