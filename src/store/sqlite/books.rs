//! The accounts in memory, and the statements that write one commit.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, named_params, params};

use super::{answers, breaker, deliveries, json, tokens};
use crate::guardrails::{Account, Refusal};
use crate::model::{CallId, CallRecord, OrganizationId, Timestamp};
use crate::store::tenants::{Tenants, Touched};
use crate::store::{Applied, Commit, Committed, Entry, Phase, Step, Write, apply};

/// By how much the row of a call grows after its admission, at most, when nothing is out of the ordinary:
/// the other leg, both dialogs.
const ROOM: i64 = 1_200;

/// The accounts, in memory and in the file: what the guardrails decide on, and the statements that
/// write what they decided.
#[derive(Default)]
pub(super) struct Books {
    pub accounts: BTreeMap<OrganizationId, Owner>,
    /// The `id` of the next admission.
    pub next_id: i64,
    /// Organizations, by number, that have webhook subscriptions: the others' facts are looked up for nobody.
    pub subscribed: BTreeSet<i64>,
    /// This transaction makes deliveries due.
    pub deliveries_due: bool,
}

/// An organization: its number in the file, and its account.
pub(super) struct Owner {
    pub id: i64,
    pub account: Account,
}

impl Books {
    pub fn account(&self, organization: &OrganizationId) -> Option<&Account> {
        self.accounts.get(organization).map(|owner| &owner.account)
    }

    pub fn number(&self, organization: &OrganizationId) -> Option<i64> {
        self.accounts.get(organization).map(|owner| owner.id)
    }

    pub fn any_lease(&self) -> bool {
        self.accounts.values().any(|owner| owner.account.legs_in_use() > 0)
    }

    /// The rules from now on, where something has touched them. Whether they fit what is in memory: another timezone
    /// asks for the sums of other days. One that is closed owns nothing and may call nobody, but what it has running
    /// is still accounted for.
    pub fn declare(&mut self, tenants: &Tenants, touched: &Touched) -> bool {
        let accounts = self.accounts.iter_mut();
        accounts.fold(true, |fits, (name, owner)| tenants.renew(touched, name, &mut owner.account.rules) && fits)
    }

    /// Gives an account to each organization that is new, with nothing in use.
    pub fn enlist(&mut self, db: &Connection, tenants: &Tenants) -> rusqlite::Result<()> {
        for organization in tenants.organizations() {
            if self.accounts.contains_key(&organization.id) {
                continue;
            }
            let mut select = db.prepare_cached("SELECT id FROM organization WHERE name = ?")?;
            let id = select.query_row([organization.id.as_str()], |row| row.get(0))?;
            if let Some(rules) = tenants.rules(&organization.id) {
                self.accounts.insert(organization.id.clone(), Owner { id, account: Account::new(rules) });
            }
        }
        Ok(())
    }

    /// Decides and writes, inside the transaction that `tx` is in. After an error the accounts in memory
    /// are ahead of the file and must be read again.
    pub fn apply(&mut self, tx: &Connection, commit: &Commit) -> rusqlite::Result<Committed> {
        if let Some(wanted) = &commit.idempotency
            && let Some(first) = answers::find(tx, &wanted.key, commit.at)?
        {
            return Ok(match first.body == wanted.body {
                true => Committed::Replayed(first.answer),
                false => Committed::Conflict { request_id: first.request_id },
            });
        }
        let Some(owner) = self.accounts.get_mut(&commit.organization) else {
            return Ok(Committed::Refused(Refusal::Unknown));
        };
        let Applied { committed, write } = apply(&mut owner.account, commit);
        if let (Step::Connect { token, returning }, Some(_)) = (&commit.step, &write)
            && !tokens::consume(tx, commit.call, *token, *returning, commit.at)?
        {
            return Ok(Committed::Spent);
        }
        if let Some(write) = write {
            write_call(tx, self.next_id, owner.id, commit, &write)?;
            self.next_id += i64::from(write.phase == Phase::Admitted);
            if write.phase != Phase::Over {
                append(tx, owner.id, commit, &write)?;
                if !commit.facts.is_empty() && self.subscribed.contains(&owner.id) {
                    self.deliveries_due |= tell(tx, owner.id, commit)?;
                }
            }
            if let Some(wanted) = &commit.idempotency {
                answers::insert(tx, wanted, commit.at)?;
            }
            if let Some(token) = commit.token.as_ref().filter(|_| write.phase == Phase::Admitted) {
                tokens::insert(tx, owner.id, commit.call, token, commit.at)?;
            }
        }
        Ok(committed)
    }
}

/// The call's row or rows. `id` is that of a new call.
fn write_call(tx: &Connection, id: i64, organization: i64, commit: &Commit, write: &Write) -> rusqlite::Result<()> {
    match write.phase {
        Phase::Admitted => insert_live(tx, id, organization, commit, write),
        Phase::Live => update_live(tx, commit, write),
        Phase::Settled => {
            insert_final(tx, &write.record)?;
            keep_snapshot(tx, commit)
        }
        Phase::Over if commit.snapshot.is_some() => keep_snapshot(tx, commit),
        Phase::Over => Ok(()),
    }
}

/// Ledger and outbox, which only grow, and marks for the breakers, of which old ones are dropped.
fn append(tx: &Connection, organization: i64, commit: &Commit, write: &Write) -> rusqlite::Result<()> {
    let at = micros(commit.at);
    for Entry { kind, amount, day } in &write.entries {
        let (call, amount) = (commit.call.to_bytes(), amount.as_micros());
        tx.prepare_cached("INSERT INTO journal (organization, call, kind, at, amount, day) VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(params![organization, call, kind.as_str(), at, amount, day.0])?;
    }
    // Before the facts, whose rows are to be the newest.
    breaker::insert(tx, organization, &write.marks)?;
    for fact in &commit.facts {
        tx.prepare_cached("INSERT INTO journal (organization, call, kind, at, record) VALUES (?, ?, ?, ?, ?)")?
            .execute(params![organization, fact.call.to_bytes(), fact.kind.as_str(), at, json(&write.record)?])?;
    }
    Ok(())
}

/// A delivery for each subscription to a fact of the commit: those are the newest rows of the journal. Whether
/// there is any.
fn tell(tx: &Connection, organization: i64, commit: &Commit) -> rusqlite::Result<bool> {
    let (mut position, mut any) = (tx.last_insert_rowid() - commit.facts.len() as i64, false);
    for fact in &commit.facts {
        position += 1;
        any |= deliveries::insert(tx, organization, position, fact.call, fact.kind, commit.at)? > 0;
    }
    Ok(any)
}

fn insert_live(tx: &Connection, id: i64, organization: i64, commit: &Commit, write: &Write) -> rusqlite::Result<()> {
    let record = &write.record;
    tx.prepare_cached(
        "INSERT INTO live (id, organization, call, reserved, day, status, user_id, from_number, to_number, created_at,
                           record, snapshot, room)
         VALUES (:id, :organization, :call, :reserved, :day, :status, :user, :from, :to, :created, :record, :snapshot,
                 zeroblob(:room))",
    )?
    .execute(named_params! {
        ":id": id,
        ":organization": organization,
        ":call": commit.call.to_bytes(),
        ":reserved": write.reserved.as_micros(),
        ":day": record.day.0,
        ":status": record.status.as_str(),
        ":user": record.user_id.as_str(),
        ":from": &*record.from_number.text(),
        ":to": record.to_number.map(|number| String::from(&*number.text())).unwrap_or_default(),
        ":created": micros(record.created_at),
        ":record": json(record)?,
        ":snapshot": commit.snapshot.as_deref(),
        ":room": ROOM,
    })
    .map(drop)
}

fn update_live(tx: &Connection, commit: &Commit, write: &Write) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE live SET reserved = :reserved, status = :status, record = :record,
                         snapshot = coalesce(:snapshot, snapshot), room = NULL
         WHERE call = :call",
    )?
    .execute(named_params! {
        ":call": commit.call.to_bytes(),
        ":reserved": write.reserved.as_micros(),
        ":status": write.record.status.as_str(),
        ":record": json(&write.record)?,
        ":snapshot": commit.snapshot.as_deref(),
    })
    .map(drop)
}

fn insert_final(tx: &Connection, record: &CallRecord) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO calls (id, organization, call, status, user_id, from_number, to_number, created_at, record)
         SELECT id, organization, call, :status, user_id, from_number, to_number, created_at, :record
         FROM live WHERE call = :call",
    )?
    .execute(named_params! {
        ":call": record.id.to_bytes(),
        ":status": record.status.as_str(),
        ":record": json(record)?,
    })
    .map(drop)
}

/// Leaves of a call's row only what takes down late answers.
fn keep_snapshot(tx: &Connection, commit: &Commit) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE live SET reserved = 0, record = NULL, room = NULL, snapshot = coalesce(:snapshot, snapshot)
         WHERE call = :call",
    )?
    .execute(named_params! {
        ":call": commit.call.to_bytes(),
        ":snapshot": commit.snapshot.as_deref(),
    })
    .map(drop)
}

/// Drops what was kept of calls that are over. A call that is not over yet stays.
pub(super) fn forget(tx: &Connection, calls: &[CallId]) -> rusqlite::Result<()> {
    let mut delete = tx.prepare_cached("DELETE FROM live WHERE call = ? AND record IS NULL")?;
    calls.iter().try_for_each(|call| delete.execute([call.to_bytes()]).map(drop))
}

pub(super) fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}
