//! While the database is away: what is refused at once, and what waits until it is back.
//!
//! | step | while it is away |
//! |---|---|
//! | `Admit`, `PermitLeg`, `Connect` | `Unavailable`: nobody is rung that nobody has decided on |
//! | `Settle` | `Unavailable`: the call asks again each second, with the same cost |
//! | `Keep` | waits: a phone's answer is joined when it is durable, if the phone still waits then |
//! | `Extend` | decided by what this node remembers, and owed: the call goes on |
//!
//! What is owed is one step per live call and kind, so it is bounded by the live calls and not by the time. When
//! the database is back it is written before anything else. An extension that others have left no money for by
//! then is not reserved: the limit holds, and its call is charged what it holds.
//!
//! A COMMIT that was sent and not answered is neither written nor not: its group waits, and the number of the
//! node's last transaction says which.

use std::collections::VecDeque;

use tracing::{error, info};

use super::books::Written;
use super::link::Link;
use super::schema;
use super::writer::{Doubt, GROUP, Group, Step, Writer};
use crate::store::{self, Applied, Commit, Committed, Step as Asked};

/// Steps that wait for the database, in the order in which they came.
#[derive(Default)]
pub(super) struct Owed(VecDeque<Step>);

impl Owed {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An extension that was granted already goes into the one before it, if nothing of its call came between.
    fn push(&mut self, step: Step) {
        let last = self.0.iter_mut().rfind(|owed| owed.commit.call == step.commit.call);
        let (None, Some(owed)) = (step.id, last) else { return self.0.push_back(step) };
        let (Asked::Extend { amount: before }, Asked::Extend { amount }) = (&owed.commit.step, &step.commit.step)
        else {
            return self.0.push_back(step);
        };
        if owed.id.is_some() {
            return self.0.push_back(step);
        }
        let sum = Asked::Extend { amount: *before + *amount };
        let mut facts = std::mem::take(&mut owed.commit.facts);
        let snapshot = owed.commit.snapshot.take();
        let Commit { facts: more, snapshot: newer, .. } = *step.commit.clone();
        facts.extend(more);
        *owed.commit = Commit { step: sum, facts, snapshot: newer.or(snapshot), ..*step.commit };
    }

    fn take(&mut self, at_most: usize) -> Vec<Step> {
        self.0.drain(..self.0.len().min(at_most)).collect()
    }
}

impl Writer {
    /// A group that cannot be written now.
    pub(super) fn away(&mut self, group: Group) {
        if self.fenced {
            return self.refuse(group);
        }
        let mut told = Vec::new();
        for Step { id, commit } in group.steps {
            let Some(asked) = id else {
                self.owed.push(Step { id, commit });
                continue;
            };
            match &commit.step {
                Asked::Admit(_) | Asked::PermitLeg(_) | Asked::Connect { .. } | Asked::Settle { .. } => {
                    told.push((asked, Committed::Unavailable));
                }
                Asked::Keep => self.owed.push(Step { id, commit }),
                Asked::Extend { .. } => {
                    let committed = self.remember(&commit);
                    if committed == Committed::Extended {
                        self.owed.push(Step { id: None, commit });
                    }
                    told.push((asked, committed));
                }
            }
        }
        (self.answer)(told);
        group.answers.into_iter().for_each(|(_, _, reply)| reply(None));
    }

    /// Nothing of it is written, and nothing of it waits.
    pub(super) fn refuse(&mut self, group: Group) {
        (self.answer)(group.steps.iter().filter_map(|step| Some((step.id?, Committed::Unavailable))).collect());
        group.answers.into_iter().for_each(|(_, _, reply)| reply(None));
    }

    /// An extension by what this node knows. The account is read again before the next transaction.
    fn remember(&mut self, commit: &Commit) -> Committed {
        let Some(owner) = self.books.accounts.get_mut(&commit.organization) else { return Committed::Unavailable };
        owner.version = None;
        let Applied { committed, .. } = store::apply(&mut owner.account, commit);
        committed
    }

    /// A connection again: what was in doubt is found out, then what is owed is written.
    pub(super) fn back(&mut self, mut link: Link) {
        // The transaction in doubt holds this row until it has ended, one way or the other.
        let sql = "SELECT written FROM node WHERE id = $1 AND epoch = $2 FOR UPDATE";
        let row = schema::claim(&mut link, &self.node.id)
            .and_then(|_| link.query_opt(sql, &[&self.node.id, &self.node.epoch]));
        let written = row.and_then(|row| Ok(row.map(|row| row.try_get::<_, i64>(0)).transpose()?));
        match written {
            Err(error) => return self.lose(&error),
            Ok(None) => self.fence(),
            Ok(Some(written)) => self.resolve(written),
        }
        info!(fenced = self.fenced, "the store can be reached again");
        if self.fenced
            && let Some(Doubt { group, .. }) = self.doubt.take()
        {
            self.refuse(group);
        }
        self.link = Some(link);
        self.pay();
    }

    /// Of a group in doubt, what need not wait: an extension is owed now if it was not written; a settlement and a
    /// permit are asked for again, or not, and neither does any harm when it was written after all.
    pub(super) fn tell_in_doubt(&mut self, group: &mut Group, (committed, stand): &mut Written) {
        let mut told = Vec::new();
        for (step, committed) in group.steps.iter_mut().zip(committed) {
            let known = match (&step.commit.step, &*committed) {
                (Asked::Extend { .. }, Committed::Extended) => Committed::Extended,
                (Asked::Settle { .. } | Asked::PermitLeg(_), _) => Committed::Unavailable,
                (Asked::Extend { .. } | Asked::Admit(_) | Asked::Connect { .. } | Asked::Keep, _) => continue,
            };
            told.extend(step.id.take().map(|id| (id, known)));
        }
        (self.answer)(told);
        stand.clear();
        group.answers.drain(..).for_each(|(_, _, reply)| reply(None));
    }

    fn resolve(&mut self, last: i64) {
        self.number = self.number.max(last);
        let Some(Doubt { number, group, written }) = self.doubt.take() else { return };
        if last >= number {
            return self.tell(group, written);
        }
        // What came after it waits already: this goes before it. A permit that nobody waits for is not needed.
        let later = std::mem::take(&mut self.owed);
        let wanted = |step: &Step| step.id.is_some() || !matches!(step.commit.step, Asked::PermitLeg(_));
        let group = Group::of(group.steps.into_iter().filter(wanted).collect());
        self.away(group);
        self.owed.0.extend(later.0);
    }

    /// Writes what is owed, as far as the database takes it.
    pub(super) fn pay(&mut self) {
        if self.link.is_none() {
            return;
        }
        let mut owed = std::mem::take(&mut self.owed);
        while !owed.is_empty() && self.link.is_some() && self.owed.is_empty() {
            let steps = owed.take(GROUP);
            self.carry_out(Group::of(steps));
        }
        // What was not taken is owed again, and was owed before the rest.
        self.owed.0.append(&mut owed.0);
    }

    /// The process ends. One last attempt, for as long as a connection takes.
    pub(super) fn last_words(&mut self) {
        if self.link.is_none() && !self.fenced && (self.doubt.is_some() || !self.owed.is_empty()) {
            match self.server.writer() {
                Ok(link) => self.back(link),
                Err(error) => error!(%error, "the store is away"),
            }
        }
        if let Some(Doubt { group, .. }) = self.doubt.take() {
            self.refuse(group);
        }
        let steps = self.owed.take(usize::MAX);
        if !steps.is_empty() {
            error!(steps = steps.len(), "the store is away: the next start ends these calls as it last knew them");
            self.refuse(Group::of(steps));
        }
    }
}
