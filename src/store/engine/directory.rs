//! What the configuration declares: keys and organizations for the edge, rules for the guardrails.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::StoreError;
use crate::config::{Config, OrganizationConfig};
use crate::guardrails::{Allowlist, LegPrice, PriceTable, Rules};
use crate::model::OrganizationId;
use crate::store::KeyInfo;

/// What the configuration says of organizations and prices. The file is the source, so none of it is
/// in the database: a start and every reload hand it over anew.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    pub organizations: &'a [OrganizationConfig],
    pub prices: &'a [(String, LegPrice)],
}

impl<'a> From<&'a Config> for Declared<'a> {
    fn from(config: &'a Config) -> Self {
        Self { organizations: &config.organizations, prices: &config.prices }
    }
}

/// Who may ask, and for whom: a snapshot, replaced as a whole.
#[derive(Debug, Default)]
pub(in crate::store) struct Directory {
    keys: HashMap<[u8; 32], Arc<KeyInfo>>,
    organizations: BTreeMap<OrganizationId, Arc<OrganizationConfig>>,
}

impl Directory {
    pub fn new(declared: &Declared<'_>) -> Self {
        let mut directory = Self::default();
        for organization in declared.organizations.iter().cloned().map(Arc::new) {
            for key in &organization.keys {
                let user = organization.users.iter().find(|user| user.id == key.user);
                let info = KeyInfo {
                    sha256: key.sha256,
                    user: key.user.clone(),
                    scopes: key.scopes.clone().into(),
                    phone: user.and_then(|user| user.phone),
                    organization: Arc::clone(&organization),
                };
                directory.keys.insert(key.sha256, Arc::new(info));
            }
            directory.organizations.insert(organization.id.clone(), organization);
        }
        directory
    }

    /// The digest of a secret is looked up, not the secret: how long a miss takes says nothing of a key.
    pub fn key(&self, sha256: &[u8; 32]) -> Option<Arc<KeyInfo>> {
        self.keys.get(sha256).cloned()
    }

    pub fn organization(&self, id: &OrganizationId) -> Option<Arc<OrganizationConfig>> {
        self.organizations.get(id).cloned()
    }
}

/// Each organization's rules.
pub(in crate::store) fn rules(declared: &Declared<'_>) -> Result<BTreeMap<OrganizationId, Rules>, StoreError> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| StoreError::Declared(format!("{what}: {error}"));
    let prices = PriceTable::new(declared.prices.iter().map(|(prefix, price)| (prefix.as_str(), *price)));
    let prices = Arc::new(prices.map_err(|error| wrong("price", &error))?);
    let each = declared.organizations.iter().map(|organization| {
        let name = organization.id.as_str();
        let allowlist = Allowlist::parse(organization.allowed_destinations.iter().map(String::as_str))
            .map_err(|error| wrong(name, &error))?;
        let rules = Rules::new(organization.limits.clone(), allowlist, organization.numbers.clone(), prices.clone())
            .map_err(|error| wrong(name, &error))?;
        Ok((organization.id.clone(), rules))
    });
    each.collect()
}
