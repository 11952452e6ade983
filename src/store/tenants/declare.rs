//! What the configuration file declares, as changes.
//!
//! ```text
//! the file says …      … and said last time   then
//! an object            nothing                create it, or bring it to what the file says
//! an object            the same               leave it: what an administrator made of it since stays
//! an object            something else         bring it to what the file says
//! nothing              an object              close or delete it
//! ```
//!
//! So the file and the admin API can both be used, and who speaks last about an object wins. What the file says of
//! an object is kept beside it, also when the object is gone: one that an administrator deleted does not come
//! back with the next reload. What cannot be (a number that is another's by now) is skipped and told, and tried
//! again with the next reload: a server that does not start would be worse.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Change, ChangeRefused, SettingsPatch, Skipped};
use super::decide::{Draft, new_organization};
use super::objects::{Kind, ObjectId};
use crate::config::{Config, KeyConfig, OrganizationConfig};
use crate::guardrails::LegPrice;
use crate::model::{E164, KeyId, OrganizationId, Timestamp, UserId};

/// What a file says of organizations and prices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declaration {
    pub organizations: Vec<OrganizationConfig>,
    /// Prefix with `+`, and price.
    pub prices: Vec<(String, LegPrice)>,
}

impl From<&Config> for Declaration {
    fn from(config: &Config) -> Self {
        Self { organizations: config.organizations.clone(), prices: config.prices.clone() }
    }
}

/// What the file says of one object, as it is kept. Fields that an older release did not know read as absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Said {
    #[serde(rename = "organization")]
    Organization(SettingsPatch),
    #[serde(rename = "user")]
    User { phone: Option<E164> },
    #[serde(rename = "number")]
    Number,
    #[serde(rename = "key")]
    Key {
        user: UserId,
        scopes: Arc<[String]>,
        #[serde(with = "hex::serde")]
        sha256: [u8; 32],
    },
    #[serde(rename = "price")]
    Price(LegPrice),
}

impl Said {
    fn text(&self) -> String {
        // Texts and numbers: there is nothing in it that could fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether an earlier reading said the same. One setting that it did not name had its default.
    fn is_as(&self, earlier: &str) -> bool {
        match (self, serde_json::from_str(earlier)) {
            (Said::Organization(now), Ok(Said::Organization(then))) => {
                let full = |patch: &SettingsPatch| {
                    let mut organization = new_organization(OrganizationId("".into()), Timestamp::default());
                    patch.apply(&mut organization);
                    organization
                };
                full(now) == full(&then)
            }
            (now, Ok(then)) => *now == then,
            (_, Err(_)) => false,
        }
    }
}

impl Draft<'_> {
    pub(super) fn declare(&mut self, declaration: &Declaration) {
        let said = self.said(declaration);
        // What goes makes room for what comes: a number may move from one organization to another.
        let gone: Vec<_> = self.tenants.declared.keys().filter(|id| !said.contains_key(*id)).cloned().collect();
        for id in in_order_of_going(gone) {
            self.go(id);
        }
        // Once more: a key that moves is another key there, with an id of its own.
        let said = self.said(declaration);
        // Organizations come before what they have, and users before their keys: so are the kinds sorted.
        let mut all: Vec<_> = said.into_iter().collect();
        all.sort_by_key(|(id, _)| id.kind());
        let mut opened = Vec::new();
        for (id, said) in all {
            let renewed = id.organization().is_some_and(|owner| opened.contains(owner));
            let same = self.tenants.declared.get(&id).is_some_and(|earlier| said.is_as(earlier));
            if same && !renewed {
                continue;
            }
            let was_closed = self.is_closed(&id);
            match self.bring(&id, &said) {
                Ok(()) => {
                    if was_closed && let ObjectId::Organization(owner) = &id {
                        opened.push(owner.clone());
                    }
                    self.remember(id, Some(said.text()));
                }
                Err(why) => self.skipped.push(Skipped { id, why }),
            }
        }
    }

    /// Each object of the file by its id.
    fn said(&self, declaration: &Declaration) -> BTreeMap<ObjectId, Said> {
        let mut said = BTreeMap::new();
        for file in &declaration.organizations {
            let owner = || file.id.clone();
            said.insert(ObjectId::Organization(owner()), Said::Organization(file.into()));
            for user in &file.users {
                said.insert(ObjectId::User(owner(), user.id.clone()), Said::User { phone: user.phone });
            }
            for number in &file.numbers {
                said.insert(ObjectId::Number(owner(), *number), Said::Number);
            }
            for KeyConfig { user, sha256, scopes } in &file.keys {
                let (user, scopes) = (user.clone(), scopes.as_slice().into());
                said.insert(ObjectId::Key(owner(), self.key_id(sha256)), Said::Key { user, scopes, sha256: *sha256 });
            }
        }
        for (prefix, price) in &declaration.prices {
            said.insert(ObjectId::Price(prefix.clone()), Said::Price(*price));
        }
        said
    }

    /// The id that a key has, had when the file was last read, or gets now.
    fn key_id(&self, sha256: &[u8; 32]) -> KeyId {
        let remembered = || {
            self.tenants.declared.iter().find_map(|(id, text)| {
                let ObjectId::Key(_, id) = id else { return None };
                let Ok(Said::Key { sha256: digest, .. }) = serde_json::from_str(text) else { return None };
                (digest == *sha256).then_some(*id)
            })
        };
        let known = self.tenants.digests.get(sha256).copied();
        known.or_else(remembered).unwrap_or_else(|| KeyId::of(self.at, sha256))
    }

    fn is_closed(&self, id: &ObjectId) -> bool {
        let owner = id.organization().and_then(|owner| self.tenants.organization(owner));
        owner.is_some_and(|organization| !organization.is_open())
    }

    /// The file speaks of this no more.
    fn go(&mut self, id: ObjectId) {
        let done = match &id {
            ObjectId::Organization(owner) => self.change(&Change::CloseOrganization { id: owner.clone() }),
            ObjectId::User(organization, user) => {
                self.change(&Change::DeleteUser { organization: organization.clone(), id: user.clone() })
            }
            ObjectId::Key(_, key) if self.tenants.key(*key).is_some_and(|key| key.revoked_at.is_some()) => {
                // It stays as revoked: were it gone, the file could bring it back.
                Ok(())
            }
            ObjectId::Key(..) | ObjectId::Number(..) | ObjectId::Price(_) => {
                self.delete(id.clone());
                Ok(())
            }
        };
        match done {
            // An administrator was faster.
            Ok(()) | Err(ChangeRefused::NotFound(_)) => self.remember(id, None),
            Err(why) => self.skipped.push(Skipped { id, why }),
        }
    }

    /// Makes an object what the file says.
    fn bring(&mut self, id: &ObjectId, said: &Said) -> Result<(), ChangeRefused> {
        let exists = self.tenants.object(id).is_some();
        let change = match (id.clone(), said.clone()) {
            (ObjectId::Organization(id), Said::Organization(settings)) if exists => {
                Change::UpdateOrganization { id, settings: SettingsPatch { closed: Some(false), ..settings } }
            }
            (ObjectId::Organization(id), Said::Organization(settings)) => Change::CreateOrganization { id, settings },
            (ObjectId::User(organization, id), Said::User { phone }) if exists => {
                Change::UpdateUser { organization, id, phone }
            }
            (ObjectId::User(organization, id), Said::User { phone }) => Change::CreateUser { organization, id, phone },
            (ObjectId::Number(..), Said::Number) if exists => return Ok(()),
            (ObjectId::Number(organization, number), Said::Number) => Change::AddNumber { organization, number },
            (ObjectId::Key(organization, id), Said::Key { user, scopes, .. })
                if self.tenants.keys.contains_key(&id) =>
            {
                return self.update_key(&organization, id, user, scopes);
            }
            (ObjectId::Key(organization, _), Said::Key { user, scopes, sha256 }) => {
                let (name, expires_at, scopes) = (None, None, scopes.to_vec());
                Change::IssueKey { organization, user, name, scopes, expires_at, sha256 }
            }
            (ObjectId::Price(prefix), Said::Price(price)) => Change::SetPrice { prefix, price },
            // An id and what is said of it are made together.
            (_, _) => return Ok(()),
        };
        self.change(&change)
    }
}

/// Keys before their users, and organizations last.
fn in_order_of_going(mut ids: Vec<ObjectId>) -> Vec<ObjectId> {
    let order = |kind| match kind {
        Kind::Key => 0,
        Kind::Number => 1,
        Kind::User => 2,
        Kind::Price => 3,
        Kind::Organization => 4,
    };
    ids.sort_by_key(|id| order(id.kind()));
    ids
}
