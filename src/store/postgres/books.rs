//! The accounts in memory, and the decisions of one group on them.
//!
//! ```text
//!  BEGIN; is the node still itself?; lock the accounts, read their versions; find keys, hold tokens   one round trip
//!    version as remembered ─▶ memory is true          another ─▶ read the account again
//!  apply each commit in memory
//!  write, one statement per table; versions + 1; COMMIT                                              one round trip
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_postgres::Row;
use tracing::warn;

use super::answers::{self, Answers};
use super::batch::{self, Batch, Node};
use super::link::{Link, LinkError, Part};
use super::tokens::{self, Tokens};
use super::{micros, recover, tenancy};
use crate::guardrails::{Account, Refusal, Rules};
use crate::model::{OrganizationId, Timestamp};
use crate::store::engine::directory::Directory;
use crate::store::tenants::{Tenants, Touched};
use crate::store::{Applied, Commit, Committed, Idempotency, Phase, Step, apply};

/// The accounts as of the last transaction of this node on each, and the tenants as of its last look at them.
pub(super) struct Books {
    pub accounts: BTreeMap<OrganizationId, Owner>,
    pub tenants: Arc<Tenants>,
    /// What the edge sees of them.
    directory: Arc<Directory>,
    /// Deliveries were written since somebody was told so.
    pub deliveries_due: bool,
}

/// An organization: its number in the database, and its account.
pub(super) struct Owner {
    pub id: i64,
    pub account: Account,
    /// The version of which `account` is; `None` when it may be ahead of the database.
    pub version: Option<i64>,
}

/// What is decided on and written in one transaction.
pub(super) struct Work<'a> {
    pub commits: Vec<(&'a Commit, Promise)>,
    pub answers: Vec<(&'a Idempotency, Timestamp)>,
    /// The number of this transaction among the node's.
    pub number: i64,
    pub now: Timestamp,
    /// Up to when this node may be said to live, once this is written.
    pub alive: Timestamp,
}

/// Whether somebody goes by what a commit asks for already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    Open,
    /// An extension that was granted while the database was away: the call goes on, whatever is found now.
    Given,
}

/// What became of each part of the work.
pub(super) type Written = (Vec<Committed>, Vec<Idempotency>);

/// Why a group is not written, or not known to be.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing is written, and the database lives.
    Refused(LinkError),
    /// Nothing is written, and the connection is no good.
    Lost(LinkError),
    /// The connection was lost while the database committed: this is what it is if it did.
    InDoubt(LinkError, Written),
    /// Another process has taken this node's name. Nothing is written, now or later.
    Fenced,
}

impl Failed {
    pub fn before_commit(error: LinkError) -> Self {
        if error.is_refusal() { Failed::Refused(error) } else { Failed::Lost(error) }
    }
}

impl Books {
    pub fn new(tenants: Arc<Tenants>, directory: Arc<Directory>) -> Self {
        Self { accounts: BTreeMap::new(), tenants, directory, deliveries_due: false }
    }

    /// An organization of this number has this name.
    pub fn meet(&mut self, id: i64, name: OrganizationId) {
        if !self.accounts.contains_key(&name) {
            let rules = self.tenants.rules(&name).unwrap_or_else(Rules::closed);
            self.accounts.insert(name, Owner { id, account: Account::new(rules), version: None });
        }
    }

    pub fn account(&self, organization: &OrganizationId) -> Option<&Account> {
        self.accounts.get(organization).map(|owner| &owner.account)
    }

    pub fn any_lease(&self) -> bool {
        self.accounts.values().any(|owner| owner.account.legs_in_use() > 0)
    }

    /// The numbers of these organizations, ascending.
    pub fn ids<'a>(&self, organizations: impl IntoIterator<Item = &'a OrganizationId>) -> Vec<i64> {
        let known = organizations.into_iter().filter_map(|name| self.accounts.get(name).map(|owner| owner.id));
        known.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The tenants from now on, and the rules where something has touched them. An organization that is closed owns
    /// nothing and may call nobody, but what it has running is still accounted for.
    pub fn declare(&mut self, tenants: Arc<Tenants>, touched: &Touched) {
        for (name, owner) in &mut self.accounts {
            if !tenants.renew(touched, name, &mut owner.account.rules) {
                // Another timezone asks for the sums of other days.
                owner.version = None;
            }
        }
        self.directory.replace(Arc::clone(&tenants));
        self.tenants = tenants;
    }

    /// Whether each organization has an account in memory: one that is new has none yet.
    pub fn has_all(&self) -> bool {
        self.tenants.organizations().all(|organization| self.accounts.contains_key(&organization.id))
    }

    /// Of these rows (number, version), the accounts that memory does not have so.
    pub fn moved(&self, rows: &[Row]) -> Result<BTreeMap<i64, i64>, LinkError> {
        let known: BTreeMap<i64, Option<i64>> = self.accounts.values().map(|owner| (owner.id, owner.version)).collect();
        let mut moved = BTreeMap::new();
        for row in rows {
            let (id, version): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            if known.get(&id).is_some_and(|known| *known != Some(version)) {
                moved.insert(id, version);
            }
        }
        Ok(moved)
    }

    /// Memory may be ahead of the database.
    pub fn doubt<'a>(&mut self, organizations: impl IntoIterator<Item = &'a OrganizationId>) {
        for name in organizations {
            if let Some(owner) = self.accounts.get_mut(name) {
                owner.version = None;
            }
        }
    }

    /// Decides and writes, in a transaction of its own. After a failure memory may be ahead of the database.
    pub fn carry_out(&mut self, link: &mut Link, node: &Node, work: &Work<'_>) -> Result<Written, Failed> {
        if work.commits.iter().any(|(commit, _)| !self.accounts.contains_key(&commit.organization)) {
            tenancy::catch_up(link, self).map_err(Failed::before_commit)?;
        }
        let (mut answers, mut tokens) = self.begin(link, node, work)?;
        let mut batch = Batch::default();
        let committed = work.commits.iter().map(|(commit, promise)| {
            let committed = self.apply(&mut batch, &mut answers, &mut tokens, commit)?;
            match (committed, promise) {
                (Committed::Refused(refusal), Promise::Given) => {
                    self.keep_promise(&mut batch, &mut answers, &mut tokens, commit, refusal)
                }
                (committed, Promise::Open | Promise::Given) => Ok(committed),
            }
        });
        let committed = committed.collect::<Result<Vec<_>, _>>().map_err(Failed::before_commit)?;
        let stand = work.answers.iter().map(|(answer, now)| match answers.first(&answer.key, *now) {
            Some(first) => first.clone(),
            None => {
                answers.add(answer, *now);
                Idempotency::clone(answer)
            }
        });
        let stand: Vec<_> = stand.collect();
        match batch.commit(link, node, &answers, &tokens) {
            Ok(told) => {
                self.deliveries_due |= told;
                let moved = batch.moved();
                for owner in self.accounts.values_mut().filter(|owner| moved.contains(&owner.id)) {
                    owner.version = owner.version.map(|version| version + 1);
                }
                Ok((committed, stand))
            }
            Err(error) if error.is_refusal() => Err(Failed::Refused(error)),
            Err(error) => Err(Failed::InDoubt(error, (committed, stand))),
        }
    }

    /// Locks what the group decides on, and makes memory agree with it.
    fn begin(&mut self, link: &mut Link, node: &Node, work: &Work<'_>) -> Result<(Answers, Tokens), Failed> {
        let ids = self.ids(work.commits.iter().map(|(commit, _)| &commit.organization));
        let keys = work.commits.iter().filter_map(|(commit, _)| commit.idempotency.as_ref());
        let keys: Vec<_> = keys.chain(work.answers.iter().map(|(answer, _)| *answer)).map(|k| k.key.to_vec()).collect();
        let digests: Vec<_> = work.commits.iter().filter_map(|(commit, _)| used_token(commit)).collect();
        let alive = micros(work.alive);
        let mut parts = vec![
            Part::new("BEGIN", &[]),
            Part::new(batch::STILL_OURS, &[&node.id, &node.epoch, &work.number, &alive]),
            Part::new(tenancy::VERSION, &[]),
            Part::new(
                "SELECT id, version FROM organization WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE",
                &[&ids],
            ),
        ];
        if !keys.is_empty() {
            parts.push(Part::new(answers::FIND, &[&keys]));
        }
        if !digests.is_empty() {
            parts.push(Part::new(tokens::HOLD, &[&digests]));
        }
        let mut rows = link.together(&parts).map_err(Failed::before_commit)?.into_iter().skip(1);
        let mut next = || rows.next().unwrap_or_default();
        let (ours, directory, versions) = (next(), next(), next());
        if ours.is_empty() {
            return Err(Failed::Fenced);
        }
        let found = if keys.is_empty() { Vec::new() } else { next() };
        let held = if digests.is_empty() { Vec::new() } else { next() };
        let directory = directory.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0)).map_err(LinkError::from);
        if directory.map_err(Failed::before_commit)?.unsigned_abs() != self.tenants.version() {
            // A change of another node: in force for this group already.
            let newer = tenancy::load(link).map_err(Failed::before_commit)?;
            self.declare(Arc::new(newer), &Touched::all());
        }
        let moved = self.moved(&versions).map_err(Failed::before_commit)?;
        recover::reload(link, self, &moved, work.now).map_err(Failed::before_commit)?;
        let answers = Answers::found(&found).map_err(Failed::before_commit)?;
        Ok((answers, Tokens::held(&held).map_err(Failed::before_commit)?))
    }

    fn apply(
        &mut self,
        batch: &mut Batch,
        answers: &mut Answers,
        tokens: &mut Tokens,
        commit: &Commit,
    ) -> Result<Committed, LinkError> {
        if let Some(wanted) = &commit.idempotency
            && let Some(first) = answers.first(&wanted.key, commit.at)
        {
            return Ok(match first.body == wanted.body {
                true => Committed::Replayed(first.answer.clone()),
                false => Committed::Conflict { request_id: first.request_id.clone() },
            });
        }
        let Some(owner) = self.accounts.get_mut(&commit.organization) else {
            return Ok(Committed::Refused(Refusal::Unknown));
        };
        let Applied { committed, write } = apply(&mut owner.account, commit);
        if let (Step::Connect { token, returning }, Some(_)) = (&commit.step, &write)
            && !tokens.consume(commit.call, *token, *returning, commit.at)
        {
            return Ok(Committed::Spent);
        }
        if let Some(write) = write {
            batch.add(owner.id, commit, &write)?;
            if let Some(wanted) = &commit.idempotency {
                answers.add(wanted, commit.at);
            }
            if let Some(token) = commit.token.filter(|_| write.phase == Phase::Admitted) {
                tokens.issue(owner.id, commit.call, token, commit.at);
            }
        }
        Ok(committed)
    }

    /// The call went on without the database, and others have used its money up: where it stands is written down
    /// all the same, and its end charges no more than what it holds.
    fn keep_promise(
        &mut self,
        batch: &mut Batch,
        answers: &mut Answers,
        tokens: &mut Tokens,
        commit: &Commit,
        refusal: Refusal,
    ) -> Result<Committed, LinkError> {
        warn!(call = %commit.call, ?refusal, "a call was extended without the database, and cannot be charged for it");
        self.apply(batch, answers, tokens, &Commit { step: Step::Keep, ..commit.clone() })
    }
}

fn used_token(commit: &Commit) -> Option<Vec<u8>> {
    match &commit.step {
        Step::Connect { token, .. } => Some(token.0.to_vec()),
        Step::Admit(_) | Step::PermitLeg(_) | Step::Extend { .. } | Step::Settle { .. } | Step::Keep => None,
    }
}
