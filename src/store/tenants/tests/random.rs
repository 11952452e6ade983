//! Any changes in any order: what must hold after each of them.

use proptest::prelude::*;
use proptest::sample::subsequence;
use std::collections::BTreeMap;

use super::file::declaration;
use super::*;
use crate::config::{KeyConfig, UserConfig};

fn organization(n: usize) -> OrganizationId {
    OrganizationId(["acme", "zoo"][n % 2].into())
}

fn person(n: usize) -> UserId {
    UserId(["alice", "bob"][n % 2].into())
}

fn any_number(n: usize) -> E164 {
    number(["+12025550100", "+12025550101", "+14155550100"][n % 3])
}

/// A file with some of everything.
fn file(pick: Vec<usize>, which: usize) -> Declaration {
    let mut file = declaration();
    let mut other = file.organizations[0].clone();
    other.id = organization(1);
    (other.numbers, other.keys) = (vec![], vec![]);
    file.organizations.push(other);
    for n in pick {
        let organization = &mut file.organizations[(n + which) % 2];
        match n {
            0 => organization.users.clear(),
            1 => organization.users.push(UserConfig { id: person(1), phone: None }),
            2 => organization.numbers.clear(),
            3 => organization.numbers.push(any_number(1)),
            4 => organization.limits.max_concurrent_legs = 30,
            5 => {
                let (user, scopes) = (person(which), vec!["calls:read".into()]);
                organization.keys.push(KeyConfig { user, sha256: [4; 32], scopes });
            }
            6 => file.prices.clear(),
            _ => drop(file.organizations.remove(which % 2)),
        }
        if file.organizations.len() < 2 {
            break;
        }
    }
    file
}

fn change(kind: usize, a: usize, b: usize, kept: &Kept) -> Change {
    let (organization, id) = (organization(a), person(b));
    let keys: Vec<KeyId> = kept.tenants.keys.keys().copied().collect();
    let key = keys.get(b % keys.len().max(1)).copied().unwrap_or(KeyId::of(at(0), &[99; 32]));
    let sha256 = [(b % 7) as u8; 32];
    match kind {
        0 => Change::CreateOrganization { id: organization, settings: settings() },
        1 => {
            let settings = SettingsPatch { max_concurrent_legs: Some(2 + b as u64), ..SettingsPatch::default() };
            Change::UpdateOrganization { id: organization, settings }
        }
        2 => Change::CloseOrganization { id: organization },
        3 => {
            let settings = SettingsPatch { closed: Some(false), ..SettingsPatch::default() };
            Change::UpdateOrganization { id: organization, settings }
        }
        4 | 5 => Change::CreateUser { organization, id, phone: (b > 3).then(|| any_number(b)) },
        6 => Change::UpdateUser { organization, id, phone: (b > 3).then(|| any_number(b)) },
        7 => Change::DeleteUser { organization, id },
        8 | 9 => Change::AddNumber { organization, number: any_number(b) },
        10 => Change::RemoveNumber { organization, number: any_number(b) },
        11 | 12 => {
            let (user, scopes, expires_at) = (id, vec!["calls:read".into()], (b > 6).then(|| at(90)));
            Change::IssueKey { organization, user, name: None, scopes, expires_at, sha256 }
        }
        13 => Change::RotateKey { id: key, sha256, overlap: HOUR * b as u32, expires_at: None },
        14 => Change::RevokeKey { id: key },
        15 => Change::SetPrice { prefix: ["+1", "+44"][b % 2].into(), price: price("0.01") },
        _ => Change::RemovePrice { prefix: ["+1", "+44"][b % 2].into() },
    }
}

/// A key that was revoked while it was kept opens nothing ever after.
type Revoked = BTreeMap<[u8; 32], Timestamp>;

fn check(kept: &Kept, revoked: &mut Revoked, hours: u32) {
    let mut owners: BTreeMap<E164, OrganizationId> = BTreeMap::new();
    for organization in kept.tenants.organizations() {
        for number in kept.tenants.numbers(&organization.id) {
            let twice = owners.insert(number.number, organization.id.clone());
            assert_eq!(twice, None, "one owner each");
            assert!(organization.is_open(), "what is closed owns nothing");
            let users = kept.tenants.users(&organization.id);
            assert!(users.into_iter().all(|user| user.phone != Some(number.number)), "no call to oneself");
        }
        for key in kept.tenants.keys(&organization.id) {
            let opens = kept.tenants.authenticate(&key.sha256, at(hours));
            assert_eq!(opens.is_some(), key.is_good(at(hours)), "nothing but its time and its revocation closes a key");
            let user = kept.tenants.user(&organization.id, &key.user);
            assert!(opens.is_none() || (user.is_some() && organization.is_open()));
            assert!(opens.is_none_or(|info| info.organization.id == organization.id && info.user == key.user));
            if let Some(moment) = key.revoked_at {
                assert_eq!(*revoked.entry(key.sha256).or_insert(moment), moment, "a revocation does not move");
            }
            assert!(key.revoked_at.is_some() || !revoked.contains_key(&key.sha256), "nor does it end");
        }
    }
    assert_eq!(*kept.tenants.numbers, owners);
}

/// The log alone tells what there is: each line begins where the one before it of that object ended.
fn retell(kept: &Kept) {
    let mut told: BTreeMap<(Kind, Option<OrganizationId>, String), String> = BTreeMap::new();
    for entry in &kept.log {
        let object = (entry.kind, entry.organization.clone(), entry.name.clone());
        assert_eq!(told.get(&object), entry.before.as_ref(), "{entry:?}");
        match entry.after.clone() {
            Some(after) => told.insert(object, after),
            None => told.remove(&object),
        };
    }
    let objects = kept.rows.values().filter(|row| row.document.is_some()).count();
    assert_eq!(told.len(), objects);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_changed_by_whomever_tenants_stay_apart_and_the_log_tells_all(
        moves in prop::collection::vec((0..19usize, 0..4usize, 0..8usize, subsequence((0..8).collect::<Vec<_>>(), 0..5)), 1..60)
    ) {
        let mut kept = Kept::default();
        let mut revoked = Revoked::new();
        for (hours, (kind, a, b, pick)) in (0u32..).zip(moves) {
            if kind < 17 {
                let change = change(kind, a, b, &kept);
                let _ = kept.make(&change, hours);
            } else {
                let declared = file(pick, a);
                kept.file(&declared, hours);
                let before = (kept.log.len(), kept.tenants.clone());
                let skipped = kept.file(&declared, hours);
                // What could not be is tried again, and nothing else is done.
                if skipped.is_empty() {
                    assert_eq!((kept.log.len(), kept.tenants.clone()), before, "a second time changes nothing");
                }
            }
            check(&kept, &mut revoked, hours);
        }
        retell(&kept);
    }
}
