//! May this change be, and what follows from it?
//!
//! One function per change. A [`Draft`] is what has been decided so far: the tenants as they would be, and what
//! tells them from those that are kept. A change that is refused leaves the draft as it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Tenants;
use super::change::{Actor, Change, ChangeRefused, Decided, Entry, FieldProblem, Row, SettingsPatch, Skipped, Touched};
use super::keys::NewKey;
use super::objects::{Kind, Number, Object, ObjectId, Organization, Price, User, Verb};
use crate::config::{self, bounds};
use crate::guardrails::{LegPrice, Limits, Prefix};
use crate::model::{Confirm, E164, Money, OrganizationId, Timestamp, UserId};

pub(super) type Verdict = Result<(), ChangeRefused>;

impl Tenants {
    /// What follows when `by` changes this at `at`.
    pub fn decide(&self, change: &Change, by: &Actor, at: Timestamp) -> Result<Decided, ChangeRefused> {
        let mut draft = Draft::new(self, by, at);
        draft.change(change)?;
        Ok(draft.finish())
    }
}

/// Decisions so far.
pub(super) struct Draft<'a> {
    pub tenants: Tenants,
    pub skipped: Vec<Skipped>,
    by: &'a Actor,
    pub at: Timestamp,
    /// Whose rows differ.
    dirty: BTreeSet<ObjectId>,
    entries: Vec<Entry>,
}

impl<'a> Draft<'a> {
    fn new(tenants: &Tenants, by: &'a Actor, at: Timestamp) -> Self {
        // Documents have milliseconds; what is in memory is what they say.
        let at = Timestamp::from_millis(at.as_millis());
        Self { tenants: tenants.clone(), skipped: Vec::new(), by, at, dirty: BTreeSet::new(), entries: Vec::new() }
    }

    fn finish(self) -> Decided {
        let Self { mut tenants, skipped, dirty, entries, .. } = self;
        let prices = dirty.iter().any(|id| id.kind() == Kind::Price);
        if prices {
            tenants.price();
        }
        tenants.version += u64::from(!dirty.is_empty());
        let organizations = dirty.iter().filter_map(|id| id.organization().cloned()).collect();
        let touched = Touched { all: false, prices, organizations };
        let rows = dirty.into_iter().map(|id| Row {
            document: tenants.object(&id).map(|object| object.document()),
            declared: tenants.declared.get(&id).cloned(),
            id,
        });
        let rows = rows.collect();
        Decided { tenants, rows, entries, touched, skipped }
    }

    pub fn change(&mut self, change: &Change) -> Verdict {
        match change {
            Change::CreateOrganization { id, settings } => self.create_organization(id, settings),
            Change::UpdateOrganization { id, settings } => self.update_organization(id, settings),
            Change::CloseOrganization { id } => self.close_organization(id),
            Change::CreateUser { organization, id, phone } => self.create_user(organization, id, *phone),
            Change::UpdateUser { organization, id, phone } => self.update_user(organization, id, *phone),
            Change::DeleteUser { organization, id } => self.delete_user(organization, id),
            Change::AddNumber { organization, number } => self.add_number(organization, *number),
            Change::RemoveNumber { organization, number } => self.remove_number(organization, *number),
            Change::IssueKey { organization, user, name, scopes, expires_at, sha256 } => {
                let scopes = scopes.as_slice().into();
                let (user, name) = (user.clone(), name.clone());
                self.issue_key(organization, NewKey { user, name, scopes, expires_at: *expires_at, sha256: *sha256 })
            }
            Change::RotateKey { id, sha256, overlap, expires_at } => {
                self.rotate_key(*id, *sha256, *overlap, *expires_at)
            }
            Change::RevokeKey { id } => self.revoke_key(*id),
            Change::SetPrice { prefix, price } => self.set_price(prefix, *price),
            Change::RemovePrice { prefix } => self.remove_price(prefix),
            Change::Declare(declaration) => {
                self.declare(declaration);
                Ok(())
            }
        }
    }

    /// Puts an object in its place, and notes it when that changes anything.
    pub fn put(&mut self, verb: Verb, object: Object) {
        let (id, before) = (object.id(), self.tenants.object(&object.id()));
        if before.as_ref() == Some(&object) {
            return;
        }
        self.note(verb, &id, before.as_ref(), Some(&object));
        self.tenants.insert(object);
    }

    pub(super) fn take(&mut self, id: ObjectId) {
        let before = self.tenants.object(&id);
        self.note(Verb::Delete, &id, before.as_ref(), None);
        self.tenants.remove(&id);
    }

    fn note(&mut self, verb: Verb, id: &ObjectId, before: Option<&Object>, after: Option<&Object>) {
        self.dirty.insert(id.clone());
        self.entries.push(Entry {
            at: self.at,
            by: self.by.clone(),
            verb,
            kind: id.kind(),
            organization: id.organization().cloned(),
            name: id.name(),
            before: before.map(Object::shown),
            after: after.map(Object::shown),
        });
    }

    /// Keeps in mind what the file says of an object; `None` when it does not speak of it any more.
    pub fn remember(&mut self, id: ObjectId, declared: Option<String>) {
        match declared {
            Some(text) => Arc::make_mut(&mut self.tenants.declared).insert(id.clone(), text),
            None => Arc::make_mut(&mut self.tenants.declared).remove(&id),
        };
        self.dirty.insert(id);
    }

    pub(super) fn open(&self, id: &OrganizationId) -> Result<Arc<Organization>, ChangeRefused> {
        let organization = self.tenants.organization(id).ok_or(ChangeRefused::NotFound(Kind::Organization))?;
        if organization.is_open() { Ok(Arc::clone(organization)) } else { Err(ChangeRefused::Closed) }
    }

    /// Whether one more of these fits into its organization and into what a server keeps in all.
    pub(super) fn room_for_one(&self, kind: Kind, count: usize, bound: usize) -> Verdict {
        room(kind, count, bound)?;
        room(kind, self.tenants.objects(), bounds::TENANT_OBJECTS)
    }

    fn create_organization(&mut self, id: &OrganizationId, settings: &SettingsPatch) -> Verdict {
        if self.tenants.organization(id).is_some() {
            return Err(ChangeRefused::Exists(Kind::Organization));
        }
        room(Kind::Organization, self.tenants.tenants.len(), bounds::ORGANIZATIONS)?;
        let mut problems = [settings.problems(), settings.missing()].concat();
        problems.extend(id_problem("id", id.as_str()));
        valid(problems)?;
        let mut organization = new_organization(id.clone(), self.at);
        settings.apply(&mut organization);
        self.put(Verb::Create, Object::Organization(organization));
        Ok(())
    }

    fn update_organization(&mut self, id: &OrganizationId, settings: &SettingsPatch) -> Verdict {
        let organization = self.tenants.organization(id).ok_or(ChangeRefused::NotFound(Kind::Organization))?;
        if !organization.is_open() && settings.closed.is_none() {
            return Err(ChangeRefused::Closed);
        }
        valid(settings.problems())?;
        let mut organization = Organization::clone(organization);
        settings.apply(&mut organization);
        self.put(Verb::Update, Object::Organization(organization));
        Ok(())
    }

    fn close_organization(&mut self, id: &OrganizationId) -> Verdict {
        let organization = self.tenants.organization(id).ok_or(ChangeRefused::NotFound(Kind::Organization))?;
        if !organization.is_open() {
            return Ok(());
        }
        let closed = Organization { closed_at: Some(self.at), ..Organization::clone(organization) };
        for key in self.tenants.keys(id).map(|key| key.id).collect::<Vec<_>>() {
            self.revoke_key(key)?;
        }
        for number in self.tenants.numbers(id).map(|number| number.number).collect::<Vec<_>>() {
            self.take(ObjectId::Number(id.clone(), number));
        }
        for user in self.tenants.users(id).map(|user| user.id.clone()).collect::<Vec<_>>() {
            self.take(ObjectId::User(id.clone(), user));
        }
        self.put(Verb::Close, Object::Organization(closed));
        Ok(())
    }

    fn create_user(&mut self, owner: &OrganizationId, id: &UserId, phone: Option<E164>) -> Verdict {
        self.open(owner)?;
        if self.tenants.user(owner, id).is_some() {
            return Err(ChangeRefused::Exists(Kind::User));
        }
        self.room_for_one(Kind::User, self.tenants.users(owner).count(), bounds::USERS)?;
        let problems = id_problem("id", id.as_str()).into_iter().chain(self.phone_problem(owner, phone));
        valid(problems.collect())?;
        let (organization, id) = (owner.clone(), id.clone());
        self.put(Verb::Create, Object::User(User { organization, id, phone, created_at: self.at }));
        Ok(())
    }

    fn update_user(&mut self, owner: &OrganizationId, id: &UserId, phone: Option<E164>) -> Verdict {
        self.open(owner)?;
        let user = self.tenants.user(owner, id).ok_or(ChangeRefused::NotFound(Kind::User))?.clone();
        valid(self.phone_problem(owner, phone).into_iter().collect())?;
        self.put(Verb::Update, Object::User(User { phone, ..user }));
        Ok(())
    }

    fn phone_problem(&self, owner: &OrganizationId, phone: Option<E164>) -> Option<FieldProblem> {
        self.tenants.number(owner, phone?)?;
        let text = "the organization owns this number, so a call to it would loop; give the user's own";
        Some(FieldProblem::new("phone", text))
    }

    fn delete_user(&mut self, owner: &OrganizationId, id: &UserId) -> Verdict {
        self.tenants.user(owner, id).ok_or(ChangeRefused::NotFound(Kind::User))?;
        for key in self.tenants.keys(owner).filter(|key| key.user == *id).map(|key| key.id).collect::<Vec<_>>() {
            self.revoke_key(key)?;
        }
        self.take(ObjectId::User(owner.clone(), id.clone()));
        Ok(())
    }

    fn add_number(&mut self, owner: &OrganizationId, number: E164) -> Verdict {
        self.open(owner)?;
        match self.tenants.numbers.get(&number) {
            Some(other) if other == owner => return Err(ChangeRefused::Exists(Kind::Number)),
            Some(_) => return Err(ChangeRefused::Taken(Kind::Number)),
            None => self.room_for_one(Kind::Number, self.tenants.numbers(owner).count(), bounds::NUMBERS)?,
        }
        if self.tenants.users(owner).any(|user| user.phone == Some(number)) {
            let text = "this is the phone of one of the organization's users, so a call would loop";
            return Err(ChangeRefused::Invalid(vec![FieldProblem::new("number", text)]));
        }
        let organization = owner.clone();
        self.put(Verb::Create, Object::Number(Number { organization, number, created_at: self.at }));
        Ok(())
    }

    fn remove_number(&mut self, owner: &OrganizationId, number: E164) -> Verdict {
        self.tenants.number(owner, number).ok_or(ChangeRefused::NotFound(Kind::Number))?;
        self.take(ObjectId::Number(owner.clone(), number));
        Ok(())
    }

    fn set_price(&mut self, prefix: &str, price: LegPrice) -> Verdict {
        let verb = match self.tenants.prices.contains_key(prefix) {
            true => Verb::Update,
            false => {
                room(Kind::Price, self.tenants.prices.len(), bounds::PRICES)?;
                Verb::Create
            }
        };
        let mut problems: Vec<FieldProblem> = Prefix::parse(prefix)
            .err()
            .map(|error| FieldProblem::new("prefix", error.to_string()))
            .into_iter()
            .collect();
        for (field, amount) in [("per_minute", price.per_minute), ("connect", price.connect)] {
            if amount < Money::ZERO || amount > Money::MAX {
                problems.push(FieldProblem::new(field, "expected an amount such as \"0.0100\""));
            }
        }
        for (field, seconds) in [("first_seconds", price.first_seconds), ("step_seconds", price.step_seconds)] {
            if !bounds::PERIOD_BOUND.contains(&u64::from(seconds)) {
                let (least, most) = bounds::PERIOD_BOUND.into_inner();
                problems.push(FieldProblem::new(field, format!("expected a whole number from {least} to {most}")));
            }
        }
        valid(problems)?;
        self.put(verb, Object::Price(Price { prefix: prefix.to_owned(), price }));
        Ok(())
    }

    fn remove_price(&mut self, prefix: &str) -> Verdict {
        self.tenants.prices.get(prefix).ok_or(ChangeRefused::NotFound(Kind::Price))?;
        self.take(ObjectId::Price(prefix.to_owned()));
        Ok(())
    }

    /// Deletes an object that the file alone had brought; without a trace but in the audit log.
    pub fn delete(&mut self, id: ObjectId) {
        if self.tenants.object(&id).is_some() {
            self.take(id);
        }
    }
}

/// One with every default.
pub(super) fn new_organization(id: OrganizationId, created_at: Timestamp) -> Organization {
    let most = |bound: u64| u32::try_from(bound).unwrap_or(u32::MAX);
    Organization {
        id,
        limits: Limits {
            max_concurrent_legs: most(bounds::MAX_CONCURRENT_LEGS),
            max_calls_per_minute: most(bounds::MAX_CALLS_PER_MINUTE),
            ..Limits::default()
        },
        allowed_destinations: Vec::new(),
        confirm: Confirm::None,
        max_duration: Duration::from_secs(bounds::MAX_DURATION),
        created_at,
        closed_at: None,
    }
}

fn room(kind: Kind, count: usize, bound: usize) -> Verdict {
    if count < bound { Ok(()) } else { Err(ChangeRefused::TooMany { kind, most: bound }) }
}

pub(super) fn valid(problems: Vec<FieldProblem>) -> Verdict {
    if problems.is_empty() { Ok(()) } else { Err(ChangeRefused::Invalid(problems)) }
}

fn id_problem(field: &'static str, id: &str) -> Option<FieldProblem> {
    config::id(id).err().map(|text| FieldProblem::new(field, text))
}
