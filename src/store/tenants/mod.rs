//! Whose server this is: organizations, their users, numbers and keys, and the prices of legs.
//!
//! ```text
//! rows ─▶ Tenants ── decide(&Change, by, at) ─▶ Decided: rows + audit entries + the Tenants that follow
//!            │                               └▶ ChangeRefused (nothing has changed)
//!            └─▶ Rules for the guardrails, KeyInfo for the edge
//! ```
//!
//! [`Tenants`] is a value. Every change of it is one [`Change`], decided here, whoever asks for it: the admin API,
//! the command line by way of that, or the configuration file ([`Change::Declare`]). An engine only keeps it: in
//! one transaction it locks the directory's version, reads the rows again if another node was there, decides,
//! writes rows and entries, and counts the version up. So every engine decides the same.
//!
//! Deliberately absent: secrets. Of a key there is its SHA-256, and an audit entry has not even that.

mod change;
mod decide;
mod declare;
mod formats;
mod keys;
mod objects;
#[cfg(test)]
mod tests;

pub use change::{Actor, Change, ChangeRefused, Decided, Entry, FieldProblem, Row, SettingsPatch, Skipped, Touched};
pub use declare::Declaration;
pub use objects::{Key, Kind, Number, ObjectId, Organization, Price, User, Verb};

use std::collections::BTreeMap;
use std::sync::Arc;

use self::objects::Object;
use super::KeyInfo;
use crate::guardrails::{Allowlist, PriceTable, Rules};
use crate::model::{E164, KeyId, OrganizationId, Timestamp, UserId};

/// All that is known of who may call, as of one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tenants {
    /// Grows with every change.
    version: u64,
    tenants: BTreeMap<OrganizationId, Arc<Tenant>>,
    // Shared with the versions before, as far as they are the same: a change copies what it touches.
    /// Whose a number is.
    numbers: Arc<BTreeMap<E164, OrganizationId>>,
    /// Whose a key is, by what is looked up: its digest, or its id.
    digests: Arc<BTreeMap<[u8; 32], KeyId>>,
    keys: Arc<BTreeMap<KeyId, OrganizationId>>,
    prices: Arc<BTreeMap<String, Price>>,
    /// Made of `prices`.
    table: Table,
    /// What the configuration file said of an object when it was last read, as JSON.
    declared: Arc<BTreeMap<ObjectId, String>>,
}

/// One organization with what it has.
#[derive(Debug, Clone, PartialEq)]
struct Tenant {
    organization: Arc<Organization>,
    users: BTreeMap<UserId, User>,
    numbers: BTreeMap<E164, Number>,
    keys: BTreeMap<KeyId, Key>,
}

/// A table that is the same when the prices are, and so is not compared.
#[derive(Debug, Clone, Default)]
struct Table(Arc<PriceTable>);

impl PartialEq for Table {
    fn eq(&self, _: &Table) -> bool {
        true
    }
}

/// A row that this release cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} of the store cannot be read ({why}); start a newer release")]
pub struct Unreadable {
    pub kind: String,
    pub why: String,
}

impl Tenants {
    /// As the rows have it.
    pub fn load(version: u64, rows: impl IntoIterator<Item = Row>) -> Result<Self, Unreadable> {
        let mut tenants = Self { version, ..Self::default() };
        let mut rest = Vec::new();
        // Organizations first: the others belong to one.
        for row in rows {
            match row.id {
                ObjectId::Organization(_) => tenants.take(row)?,
                ObjectId::User(..) | ObjectId::Number(..) | ObjectId::Key(..) | ObjectId::Price(_) => rest.push(row),
            }
        }
        rest.into_iter().try_for_each(|row| tenants.take(row))?;
        tenants.price();
        Ok(tenants)
    }

    fn take(&mut self, row: Row) -> Result<(), Unreadable> {
        let kind = row.id.kind();
        if let Some(document) = &row.document {
            let unreadable = |why: String| Unreadable { kind: kind.as_str().to_owned(), why };
            let object = Object::read(&row.id, document).map_err(|error| unreadable(error.to_string()))?;
            let owned = row.id.organization().is_none_or(|id| self.tenants.contains_key(id));
            if !owned && kind != Kind::Organization {
                return Err(unreadable("its organization is missing".to_owned()));
            }
            self.insert(object);
        }
        if let Some(declared) = row.declared {
            Arc::make_mut(&mut self.declared).insert(row.id, declared);
        }
        Ok(())
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every organization, closed ones too, by id.
    pub fn organizations(&self) -> impl DoubleEndedIterator<Item = &Arc<Organization>> {
        self.tenants.values().map(|tenant| &tenant.organization)
    }

    pub fn organization(&self, id: &OrganizationId) -> Option<&Arc<Organization>> {
        self.tenants.get(id).map(|tenant| &tenant.organization)
    }

    /// Of one organization, by id; none of one that does not exist.
    pub fn users(&self, organization: &OrganizationId) -> impl DoubleEndedIterator<Item = &User> {
        self.tenants.get(organization).into_iter().flat_map(|tenant| tenant.users.values())
    }

    pub fn user(&self, organization: &OrganizationId, id: &UserId) -> Option<&User> {
        self.tenants.get(organization)?.users.get(id)
    }

    pub fn numbers(&self, organization: &OrganizationId) -> impl DoubleEndedIterator<Item = &Number> {
        self.tenants.get(organization).into_iter().flat_map(|tenant| tenant.numbers.values())
    }

    pub fn number(&self, organization: &OrganizationId, number: E164) -> Option<&Number> {
        self.tenants.get(organization)?.numbers.get(&number)
    }

    /// Oldest first, revoked and expired ones too.
    pub fn keys(&self, organization: &OrganizationId) -> impl DoubleEndedIterator<Item = &Key> {
        self.tenants.get(organization).into_iter().flat_map(|tenant| tenant.keys.values())
    }

    pub fn key(&self, id: KeyId) -> Option<&Key> {
        self.tenants.get(self.keys.get(&id)?)?.keys.get(&id)
    }

    /// Prefix, with `+`, and price, by prefix.
    pub fn prices(&self) -> impl DoubleEndedIterator<Item = &Price> {
        self.prices.values()
    }

    pub fn price_of(&self, prefix: &str) -> Option<&Price> {
        self.prices.get(prefix)
    }

    /// Whose key has this digest, if it is good at this moment. The digest of a secret is looked up, not the
    /// secret: how long a miss takes says nothing of a key.
    pub fn authenticate(&self, sha256: &[u8; 32], now: Timestamp) -> Option<KeyInfo> {
        let id = self.digests.get(sha256)?;
        let tenant = self.tenants.get(self.keys.get(id)?)?;
        let key = tenant.keys.get(id).filter(|key| key.is_good(now))?;
        let user = tenant.users.get(&key.user).filter(|_| tenant.organization.is_open())?;
        Some(KeyInfo {
            sha256: *sha256,
            user: key.user.clone(),
            scopes: Arc::clone(&key.scopes),
            phone: user.phone,
            organization: Arc::clone(&tenant.organization),
        })
    }

    /// What the guardrails know of an organization; `None` for one that never was. One that is closed owns
    /// nothing and may call nobody, and so does one with a timezone that this machine does not know (any more).
    pub fn rules(&self, id: &OrganizationId) -> Option<Rules> {
        let tenant = self.tenants.get(id)?;
        let Organization { limits, allowed_destinations, .. } = &*tenant.organization;
        let allowlist = Allowlist::parse(allowed_destinations.iter().map(String::as_str)).unwrap_or_default();
        let numbers = tenant.numbers.keys().copied().collect();
        let rules = Rules::new(limits.clone(), allowlist, numbers, Arc::clone(&self.table.0)).ok();
        Some(rules.filter(|_| tenant.organization.is_open()).unwrap_or_else(Rules::closed))
    }

    /// Makes an organization's rules follow from these tenants, as far as something has touched them. Whether its
    /// day turns when it did: otherwise other sums of what was spent are asked for.
    pub fn renew(&self, touched: &Touched, id: &OrganizationId, rules: &mut Rules) -> bool {
        if touched.all || touched.organizations.contains(id) {
            let renewed = self.rules(id).unwrap_or_else(Rules::closed);
            let same_days = renewed.zone == rules.zone;
            *rules = renewed;
            return same_days;
        }
        if touched.prices {
            rules.prices = Arc::clone(&self.table.0);
        }
        true
    }

    /// Users, numbers and keys of everybody.
    fn objects(&self) -> usize {
        let users: usize = self.tenants.values().map(|tenant| tenant.users.len()).sum();
        users + self.numbers.len() + self.keys.len()
    }

    /// The table follows the prices.
    fn price(&mut self) {
        let prices = self.prices.values().map(|price| (price.prefix.as_str(), price.price));
        // Every prefix was read once, and there is one price for each.
        self.table = Table(PriceTable::new(prices).unwrap_or_default().into());
    }
}
