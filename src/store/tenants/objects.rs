//! What a tenant consists of, each as the one JSON document that is kept of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::formats::{maybe, moment, seconds};
use super::{Tenant, Tenants};
use crate::guardrails::{LegPrice, Limits};
use crate::model::{Confirm, E164, KeyId, OrganizationId, Timestamp, UserId};

/// The tenant that calls are of, with its limits and its defaults for calls.
///
/// A field that a later release adds has a default (`#[serde(default)]`), or older rows cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Organization {
    pub id: OrganizationId,
    pub limits: Limits,
    /// `+1`, `!+1900`.
    pub allowed_destinations: Vec<String>,
    pub confirm: Confirm,
    #[serde(rename = "max_duration_seconds", with = "seconds")]
    pub max_duration: Duration,
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// It owns nothing any more and may call nobody. Its records stay, and so its id is never given again.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub closed_at: Option<Timestamp>,
}

impl Organization {
    pub fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }
}

/// A person of an organization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub organization: OrganizationId,
    pub id: UserId,
    /// The user's own phone: leg A, when a request names no other.
    pub phone: Option<E164>,
    #[serde(with = "moment")]
    pub created_at: Timestamp,
}

/// A number that an organization owns and destinations may be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Number {
    pub organization: OrganizationId,
    pub number: E164,
    #[serde(with = "moment")]
    pub created_at: Timestamp,
}

/// An API key. The secret itself is nowhere.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub organization: OrganizationId,
    pub id: KeyId,
    pub user: UserId,
    /// What people call it.
    pub name: Option<Arc<str>>,
    pub scopes: Arc<[String]>,
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
    #[serde(with = "moment")]
    pub created_at: Timestamp,
    /// From this moment on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub revoked_at: Option<Timestamp>,
    /// The key that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_to: Option<KeyId>,
}

impl Key {
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// A digest is no secret, but nobody needs it in a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {:?})", self.id, self.scopes)
    }
}

/// What a leg to numbers with this prefix costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// With `+`.
    pub prefix: String,
    #[serde(flatten)]
    pub price: LegPrice,
}

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Organization,
    User,
    Number,
    Key,
    Price,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Organization, Kind::User, Kind::Number, Kind::Key, Kind::Price];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Organization => "organization",
            Kind::User => "user",
            Kind::Number => "number",
            Kind::Key => "key",
            Kind::Price => "price",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    Create,
    Update,
    /// Of an organization.
    Close,
    Delete,
    /// Of a key: another took its place.
    Rotate,
    Revoke,
}

impl Verb {
    pub const ALL: [Verb; 6] = [Verb::Create, Verb::Update, Verb::Close, Verb::Delete, Verb::Rotate, Verb::Revoke];

    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Close => "close",
            Verb::Delete => "delete",
            Verb::Rotate => "rotate",
            Verb::Revoke => "revoke",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }
}

/// Which object; the key of its row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectId {
    Organization(OrganizationId),
    User(OrganizationId, UserId),
    Number(OrganizationId, E164),
    Key(OrganizationId, KeyId),
    Price(String),
}

impl ObjectId {
    pub fn kind(&self) -> Kind {
        match self {
            ObjectId::Organization(_) => Kind::Organization,
            ObjectId::User(..) => Kind::User,
            ObjectId::Number(..) => Kind::Number,
            ObjectId::Key(..) => Kind::Key,
            ObjectId::Price(_) => Kind::Price,
        }
    }

    /// Whose it is; `None` for a price, which is everybody's.
    pub fn organization(&self) -> Option<&OrganizationId> {
        match self {
            ObjectId::Organization(id) | ObjectId::User(id, _) | ObjectId::Number(id, _) | ObjectId::Key(id, _) => {
                Some(id)
            }
            ObjectId::Price(_) => None,
        }
    }

    /// Its name within the organization.
    pub fn name(&self) -> String {
        match self {
            ObjectId::Organization(id) => id.as_str().to_owned(),
            ObjectId::User(_, id) => id.as_str().to_owned(),
            ObjectId::Number(_, number) => String::from(&*number.text()),
            ObjectId::Key(_, id) => id.to_string(),
            ObjectId::Price(prefix) => prefix.clone(),
        }
    }

    /// The three columns that are the key of its row: kind, organization, name.
    pub fn columns(&self) -> (&'static str, &str, String) {
        (self.kind().as_str(), self.organization().map_or("", OrganizationId::as_str), self.name())
    }

    /// From the columns of a row; `None` when they are not what this release writes.
    pub fn of_columns(kind: &str, organization: &str, name: &str) -> Option<Self> {
        let owner = OrganizationId(organization.into());
        Some(match Kind::parse(kind)? {
            Kind::Organization => ObjectId::Organization(owner),
            Kind::User => ObjectId::User(owner, UserId(name.into())),
            Kind::Number => ObjectId::Number(owner, E164::parse(name).ok()?),
            Kind::Key => ObjectId::Key(owner, name.parse().ok()?),
            Kind::Price => ObjectId::Price(name.to_owned()),
        })
    }
}

/// For logs, so without whole numbers.
impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectId::Organization(id) => write!(f, "organization {}", id.as_str()),
            ObjectId::User(owner, id) => write!(f, "user {} of {}", id.as_str(), owner.as_str()),
            ObjectId::Number(owner, number) => write!(f, "number {number:?} of {}", owner.as_str()),
            ObjectId::Key(owner, id) => write!(f, "key {id} of {}", owner.as_str()),
            ObjectId::Price(_) => f.write_str("a price"),
        }
    }
}

/// Any of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    Organization(Organization),
    User(User),
    Number(Number),
    Key(Key),
    Price(Price),
}

impl Object {
    pub fn id(&self) -> ObjectId {
        match self {
            Object::Organization(o) => ObjectId::Organization(o.id.clone()),
            Object::User(u) => ObjectId::User(u.organization.clone(), u.id.clone()),
            Object::Number(n) => ObjectId::Number(n.organization.clone(), n.number),
            Object::Key(k) => ObjectId::Key(k.organization.clone(), k.id),
            Object::Price(p) => ObjectId::Price(p.prefix.clone()),
        }
    }

    pub fn read(id: &ObjectId, document: &str) -> serde_json::Result<Self> {
        Ok(match id {
            ObjectId::Organization(_) => Object::Organization(serde_json::from_str(document)?),
            ObjectId::User(..) => Object::User(serde_json::from_str(document)?),
            ObjectId::Number(..) => Object::Number(serde_json::from_str(document)?),
            ObjectId::Key(..) => Object::Key(serde_json::from_str(document)?),
            ObjectId::Price(_) => Object::Price(serde_json::from_str(document)?),
        })
    }

    /// As it is kept.
    pub fn document(&self) -> String {
        let written = match self {
            Object::Organization(o) => serde_json::to_string(o),
            Object::User(u) => serde_json::to_string(u),
            Object::Number(n) => serde_json::to_string(n),
            Object::Key(k) => serde_json::to_string(k),
            Object::Price(p) => serde_json::to_string(p),
        };
        // Texts, numbers and lists of them: there is nothing in it that could fail to be written.
        written.unwrap_or_default()
    }

    /// As an audit entry shows it: without a key's digest, and of a person's phone no more than tells it from
    /// another, so that an entry needs no erasing.
    pub fn shown(&self) -> String {
        let mut value: serde_json::Value = serde_json::from_str(&self.document()).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("sha256");
            if let Object::User(User { phone: Some(phone), .. }) = self {
                fields.insert("phone".to_owned(), format!("{phone:?}").into());
            }
        }
        value.to_string()
    }
}

impl Tenants {
    pub(super) fn object(&self, id: &ObjectId) -> Option<Object> {
        Some(match id {
            ObjectId::Organization(id) => Object::Organization(Organization::clone(self.organization(id)?)),
            ObjectId::User(owner, id) => Object::User(self.user(owner, id)?.clone()),
            ObjectId::Number(owner, number) => Object::Number(self.number(owner, *number)?.clone()),
            ObjectId::Key(owner, id) => Object::Key(self.tenants.get(owner)?.keys.get(id)?.clone()),
            ObjectId::Price(prefix) => Object::Price(self.prices.get(prefix)?.clone()),
        })
    }

    /// Puts an object in its place. What belongs to an organization that is not there is dropped.
    pub(super) fn insert(&mut self, object: Object) {
        match object {
            Object::Organization(organization) => match self.tenants.get_mut(&organization.id) {
                Some(tenant) => Arc::make_mut(tenant).organization = organization.into(),
                None => {
                    let id = organization.id.clone();
                    let (users, numbers, keys) = Default::default();
                    self.tenants.insert(id, Tenant { organization: organization.into(), users, numbers, keys }.into());
                }
            },
            Object::User(user) => {
                self.tenant(&user.organization).map(|tenant| tenant.users.insert(user.id.clone(), user.clone()));
            }
            Object::Number(number) => {
                Arc::make_mut(&mut self.numbers).insert(number.number, number.organization.clone());
                self.tenant(&number.organization).map(|tenant| tenant.numbers.insert(number.number, number.clone()));
            }
            Object::Key(key) => {
                Arc::make_mut(&mut self.digests).insert(key.sha256, key.id);
                Arc::make_mut(&mut self.keys).insert(key.id, key.organization.clone());
                self.tenant(&key.organization).map(|tenant| tenant.keys.insert(key.id, key.clone()));
            }
            Object::Price(price) => {
                Arc::make_mut(&mut self.prices).insert(price.prefix.clone(), price);
            }
        }
    }

    pub(super) fn remove(&mut self, id: &ObjectId) {
        match id {
            ObjectId::Organization(id) => {
                self.tenants.remove(id);
            }
            ObjectId::User(owner, id) => {
                self.tenant(owner).map(|tenant| tenant.users.remove(id));
            }
            ObjectId::Number(owner, number) => {
                Arc::make_mut(&mut self.numbers).remove(number);
                self.tenant(owner).map(|tenant| tenant.numbers.remove(number));
            }
            ObjectId::Key(owner, id) => {
                Arc::make_mut(&mut self.keys).remove(id);
                if let Some(key) = self.tenant(owner).and_then(|tenant| tenant.keys.remove(id)) {
                    Arc::make_mut(&mut self.digests).remove(&key.sha256);
                }
            }
            ObjectId::Price(prefix) => {
                Arc::make_mut(&mut self.prices).remove(prefix);
            }
        }
    }

    fn tenant(&mut self, id: &OrganizationId) -> Option<&mut Tenant> {
        self.tenants.get_mut(id).map(Arc::make_mut)
    }
}
