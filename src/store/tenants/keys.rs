//! Keys: issued, rotated, revoked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::change::{ChangeRefused, FieldProblem};
use super::decide::{Draft, Verdict, valid};
use super::objects::{Key, Kind, Object, ObjectId, Verb};
use crate::config::{SCOPES, bounds};
use crate::model::{KeyId, OrganizationId, Timestamp, UserId};

impl Draft<'_> {
    pub(super) fn issue_key(&mut self, owner: &OrganizationId, key: NewKey) -> Verdict {
        self.open(owner)?;
        let mut problems: Vec<FieldProblem> = scope_problem(&key.scopes).into_iter().collect();
        problems.extend(key.name.as_deref().and_then(name_problem));
        if key.expires_at.is_some_and(|at| at <= self.at) {
            problems.push(FieldProblem::new("expires_at", "expected a time that is still to come"));
        }
        if self.tenants.user(owner, &key.user).is_none() {
            problems.push(FieldProblem::new("user_id", "this organization has no such user"));
        }
        valid(problems)?;
        self.make_room_for_key(owner)?;
        let key = self.new_key(owner, key)?;
        self.put(Verb::Create, Object::Key(key));
        Ok(())
    }

    fn new_key(&self, owner: &OrganizationId, key: NewKey) -> Result<Key, ChangeRefused> {
        let NewKey { user, name, scopes, expires_at, sha256 } = key;
        if let Some(other) = self.tenants.digests.get(&sha256) {
            let own = self.tenants.keys.get(other) == Some(owner);
            return Err(if own { ChangeRefused::Exists(Kind::Key) } else { ChangeRefused::Taken(Kind::Key) });
        }
        let (organization, id, created_at) = (owner.clone(), KeyId::of(self.at, &sha256), self.at);
        let expires_at = expires_at.map(|at| Timestamp::from_millis(at.as_millis()));
        let (revoked_at, rotated_to) = (None, None);
        Ok(Key { organization, id, user, name, scopes, sha256, created_at, expires_at, revoked_at, rotated_to })
    }

    /// Drops the oldest key that opens nothing any more when there are as many as are kept.
    fn make_room_for_key(&mut self, owner: &OrganizationId) -> Verdict {
        let full = self.room_for_one(Kind::Key, self.tenants.keys(owner).count(), bounds::KEYS);
        if full.is_ok() {
            return Ok(());
        }
        let dead = self.tenants.keys(owner).find(|key| !key.is_good(self.at)).map(|key| key.id);
        self.take(ObjectId::Key(
            owner.clone(),
            dead.ok_or(ChangeRefused::TooMany { kind: Kind::Key, most: bounds::KEYS })?,
        ));
        Ok(())
    }

    pub(super) fn rotate_key(
        &mut self,
        id: KeyId,
        sha256: [u8; 32],
        overlap: Duration,
        until: Option<Timestamp>,
    ) -> Verdict {
        let old = self.tenants.key(id).ok_or(ChangeRefused::NotFound(Kind::Key))?.clone();
        self.open(&old.organization)?;
        if let Some(successor) = old.rotated_to {
            return Err(ChangeRefused::Rotated(successor));
        }
        if !old.is_good(self.at) {
            return Err(ChangeRefused::Dead);
        }
        let mut problems = Vec::new();
        if !bounds::ROTATION_OVERLAP_BOUND.contains(&overlap.as_secs()) {
            let (least, most) = bounds::ROTATION_OVERLAP_BOUND.into_inner();
            let text = format!("expected a whole number from {least} to {most}");
            problems.push(FieldProblem::new("overlap_seconds", text));
        }
        if until.is_some_and(|at| at <= self.at) {
            problems.push(FieldProblem::new("expires_at", "expected a time that is still to come"));
        }
        valid(problems)?;
        self.make_room_for_key(&old.organization)?;
        let lifetime = old.expires_at.map(|at| at.since(old.created_at));
        let expires_at = until.or(lifetime.map(|time| self.at + time));
        let (user, name, scopes) = (old.user.clone(), old.name.clone(), Arc::clone(&old.scopes));
        let new = self.new_key(&old.organization, NewKey { user, name, scopes, expires_at, sha256 })?;
        let end = self.at + overlap;
        let ending = old.expires_at.map_or(end, |at| at.min(end));
        let rotated = Key { expires_at: Some(ending), rotated_to: Some(new.id), ..old };
        self.put(Verb::Create, Object::Key(new));
        self.put(Verb::Rotate, Object::Key(rotated));
        Ok(())
    }

    pub(super) fn revoke_key(&mut self, id: KeyId) -> Verdict {
        let key = self.tenants.key(id).ok_or(ChangeRefused::NotFound(Kind::Key))?;
        // A second revocation changes nothing, so the moment of the first one stays.
        if key.revoked_at.is_none() {
            self.put(Verb::Revoke, Object::Key(Key { revoked_at: Some(self.at), ..key.clone() }));
        }
        Ok(())
    }

    /// Changes what the file says of a key. A revocation stays: the file cannot take it back.
    pub(super) fn update_key(
        &mut self,
        owner: &OrganizationId,
        id: KeyId,
        user: UserId,
        scopes: Arc<[String]>,
    ) -> Verdict {
        let key = self.tenants.key(id).filter(|key| key.organization == *owner).cloned();
        let key = key.ok_or(ChangeRefused::Taken(Kind::Key))?;
        let mut problems: Vec<FieldProblem> = scope_problem(&scopes).into_iter().collect();
        if self.tenants.user(owner, &user).is_none() {
            problems.push(FieldProblem::new("user_id", "this organization has no such user"));
        }
        valid(problems)?;
        self.put(Verb::Update, Object::Key(Key { user, scopes, ..key }));
        Ok(())
    }
}

/// A key that is to be.
pub(super) struct NewKey {
    pub user: UserId,
    pub name: Option<Arc<str>>,
    pub scopes: Arc<[String]>,
    pub expires_at: Option<Timestamp>,
    pub sha256: [u8; 32],
}

fn scope_problem(scopes: &[String]) -> Option<FieldProblem> {
    let known = scopes.iter().all(|scope| SCOPES.contains(&scope.as_str()));
    let twice = scopes.iter().collect::<BTreeSet<_>>().len() < scopes.len();
    let text = format!("expected a list of {}, each at most once", SCOPES.join(", "));
    (!known || twice).then(|| FieldProblem::new("scopes", text))
}

fn name_problem(name: &str) -> Option<FieldProblem> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let longest = bounds::KEY_NAME_CHARS;
    let text = format!("expected at most {longest} characters on one line, none of them of control");
    (name.chars().count() > longest || name.contains(breaks)).then(|| FieldProblem::new("name", text))
}
