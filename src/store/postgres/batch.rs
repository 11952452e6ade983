//! What a group of commits writes: gathered in memory, then one statement per table.
//!
//! Several steps of one call become one row, as they would have left it one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bytes::Bytes;

use super::answers::Answers;
use super::deliveries::TELL;
use super::link::{Link, LinkError, Part, json};
use super::micros;
use super::tokens::Tokens;
use crate::guardrails::Mark;
use crate::model::{CallId, Day, Money, Timestamp};
use crate::store::{Commit, Entry, EntryKind, Phase, Write};

/// Whose calls a node's are.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub id: String,
    pub epoch: i64,
}

#[derive(Default)]
pub(super) struct Batch {
    begun: Vec<Begun>,
    /// Where a call that begins in this group is in `begun`.
    begun_at: BTreeMap<CallId, usize>,
    steps: BTreeMap<CallId, State>,
    finals: Vec<(CallId, &'static str, String)>,
    journal: Vec<Line>,
    charged: BTreeMap<ChargedBy, Charged>,
    marks: Vec<(i64, Mark)>,
    /// Accounts that are not what they were.
    moved: BTreeSet<i64>,
}

/// Organization, day, user and path: the row of `spend` that a charge goes to.
type ChargedBy = (i64, i32, String, &'static str);

/// What charges add to a row of `spend`.
#[derive(Default)]
struct Charged {
    calls: i64,
    answered: i64,
    billable_seconds: i64,
    spent: i64,
}

/// The part of a call's row that its admission sets.
struct Begun {
    call: CallId,
    organization: i64,
    day: i32,
    user: String,
    from: String,
    to: String,
    connect: Option<String>,
    created_at: i64,
    state: State,
}

/// The part of a call's row that each step sets.
struct State {
    reserved: i64,
    /// `None` once the call is settled: then its record is final and lies elsewhere.
    status: Option<&'static str>,
    record: Option<String>,
    /// `None` leaves the last one.
    snapshot: Option<Bytes>,
}

struct Line {
    organization: i64,
    call: CallId,
    kind: &'static str,
    at: i64,
    amount: Option<i64>,
    day: Option<i32>,
    record: Option<String>,
}

impl Batch {
    /// Takes down what one commit writes.
    pub fn add(&mut self, organization: i64, commit: &Commit, write: &Write) -> Result<(), LinkError> {
        let is_live = matches!(write.phase, Phase::Admitted | Phase::Live);
        let record = match write.phase {
            Phase::Over => None,
            Phase::Admitted | Phase::Live | Phase::Settled => Some(json(&write.record)?),
        };
        if let (Phase::Settled, Some(record)) = (write.phase, &record) {
            self.finals.push((write.record.id, write.record.status.as_str(), record.clone()));
        }
        let state = State {
            reserved: write.reserved.as_micros(),
            status: is_live.then(|| write.record.status.as_str()),
            record: record.clone().filter(|_| is_live),
            snapshot: commit.snapshot.clone(),
        };
        match write.phase {
            Phase::Admitted => self.begin(organization, write, state),
            Phase::Live | Phase::Settled => self.step(commit.call, state),
            Phase::Over if commit.snapshot.is_some() => self.step(commit.call, state),
            Phase::Over => {}
        }
        if let Some(record) = record {
            self.append(organization, commit, write, &record);
        }
        Ok(())
    }

    fn begin(&mut self, organization: i64, write: &Write, state: State) {
        let record = &write.record;
        self.begun_at.insert(record.id, self.begun.len());
        self.begun.push(Begun {
            call: record.id,
            organization,
            day: record.day.0,
            user: record.user_id.as_str().to_owned(),
            from: record.from_number.text().to_string(),
            // Only a record that is over may have lost its number.
            to: record.to_number.map(|number| number.text().to_string()).unwrap_or_default(),
            connect: record.connect_number.map(|number| number.text().to_string()),
            created_at: micros(record.created_at),
            state,
        });
    }

    fn step(&mut self, call: CallId, state: State) {
        let begun = self.begun_at.get(&call).and_then(|at| self.begun.get_mut(*at));
        match begun.map(|begun| &mut begun.state).or_else(|| self.steps.get_mut(&call)) {
            Some(earlier) => {
                let snapshot = state.snapshot.or_else(|| earlier.snapshot.take());
                let status = state.status.or(earlier.status);
                *earlier = State { snapshot, status, ..state };
            }
            None => _ = self.steps.insert(call, state),
        }
    }

    /// Ledger and outbox, which only grow.
    fn append(&mut self, organization: i64, commit: &Commit, write: &Write, record: &str) {
        let at = micros(commit.at);
        for Entry { kind, amount, day } in &write.entries {
            self.moved.insert(organization);
            if *kind == EntryKind::Charge {
                self.charge(organization, write, *amount, *day);
            }
            self.journal.push(Line {
                organization,
                call: commit.call,
                kind: kind.as_str(),
                at,
                amount: Some(amount.as_micros()),
                day: Some(day.0),
                record: None,
            });
        }
        if !write.marks.is_empty() {
            self.moved.insert(organization);
            self.marks.extend(write.marks.iter().map(|mark| (organization, *mark)));
        }
        self.journal.extend(commit.facts.iter().map(|fact| Line {
            organization,
            call: fact.call,
            kind: fact.kind.as_str(),
            at,
            amount: None,
            day: None,
            record: Some(record.to_owned()),
        }));
    }

    fn charge(&mut self, organization: i64, write: &Write, amount: Money, day: Day) {
        let record = &write.record;
        let by = (organization, day.0, record.user_id.as_str().to_owned(), record.path.as_str());
        let charged = self.charged.entry(by).or_default();
        charged.calls += 1;
        charged.answered += i64::from(record.answered_at.is_some());
        charged.billable_seconds += i64::try_from(record.billable_seconds).unwrap_or(i64::MAX);
        charged.spent += amount.as_micros();
    }

    /// Accounts that are one version on when this is written.
    pub fn moved(&self) -> &BTreeSet<i64> {
        &self.moved
    }

    /// Sends everything, with COMMIT at its end; whether anything is to be delivered by it. After an error that the server told nothing is written; after any
    /// other one nobody knows.
    pub fn commit(&self, link: &mut Link, node: &Node, answers: &Answers, tokens: &Tokens) -> Result<bool, LinkError> {
        let begun: Vec<_> = self.begun.iter().collect();
        let calls: Vec<_> = begun.iter().map(|call| call.call.to_bytes().to_vec()).collect();
        let organizations: Vec<_> = begun.iter().map(|call| call.organization).collect();
        let reserved: Vec<_> = begun.iter().map(|call| call.state.reserved).collect();
        let days: Vec<_> = begun.iter().map(|call| call.day).collect();
        let statuses: Vec<_> = begun.iter().map(|call| call.state.status.unwrap_or_default()).collect();
        let users: Vec<_> = begun.iter().map(|call| &*call.user).collect();
        let from: Vec<_> = begun.iter().map(|call| &*call.from).collect();
        let to: Vec<_> = begun.iter().map(|call| &*call.to).collect();
        let connect: Vec<_> = begun.iter().map(|call| call.connect.as_deref()).collect();
        let created: Vec<_> = begun.iter().map(|call| call.created_at).collect();
        let records: Vec<_> = begun.iter().map(|call| call.state.record.as_deref()).collect();
        let snapshots: Vec<_> = begun.iter().map(|call| call.state.snapshot.as_deref()).collect();

        let stepped: Vec<_> = self.steps.keys().map(|call| call.to_bytes().to_vec()).collect();
        let states: Vec<_> = self.steps.values().collect();
        let step_reserved: Vec<_> = states.iter().map(|state| state.reserved).collect();
        let step_statuses: Vec<_> = states.iter().map(|state| state.status).collect();
        let step_records: Vec<_> = states.iter().map(|state| state.record.as_deref()).collect();
        let step_snapshots: Vec<_> = states.iter().map(|state| state.snapshot.as_deref()).collect();

        let ended: Vec<_> = self.finals.iter().map(|(call, _, _)| call.to_bytes().to_vec()).collect();
        let ended_as: Vec<_> = self.finals.iter().map(|(_, status, _)| *status).collect();
        let ended_records: Vec<_> = self.finals.iter().map(|(_, _, record)| &**record).collect();

        let line_organizations: Vec<_> = self.journal.iter().map(|line| line.organization).collect();
        let line_calls: Vec<_> = self.journal.iter().map(|line| line.call.to_bytes().to_vec()).collect();
        let kinds: Vec<_> = self.journal.iter().map(|line| line.kind).collect();
        let ats: Vec<_> = self.journal.iter().map(|line| line.at).collect();
        let amounts: Vec<_> = self.journal.iter().map(|line| line.amount).collect();
        let line_days: Vec<_> = self.journal.iter().map(|line| line.day).collect();
        let line_records: Vec<_> = self.journal.iter().map(|line| line.record.as_deref()).collect();

        let spenders: Vec<_> = self.charged.keys().map(|(organization, _, _, _)| *organization).collect();
        let spent_on: Vec<_> = self.charged.keys().map(|(_, day, _, _)| *day).collect();
        let spent_by: Vec<_> = self.charged.keys().map(|(_, _, user, _)| &**user).collect();
        let spent_for: Vec<_> = self.charged.keys().map(|(_, _, _, path)| *path).collect();
        let spent_calls: Vec<_> = self.charged.values().map(|charged| charged.calls).collect();
        let spent_answered: Vec<_> = self.charged.values().map(|charged| charged.answered).collect();
        let spent_seconds: Vec<_> = self.charged.values().map(|charged| charged.billable_seconds).collect();
        let spent: Vec<_> = self.charged.values().map(|charged| charged.spent).collect();
        let marked: Vec<_> = self.marks.iter().map(|(organization, _)| *organization).collect();
        let prefixes: Vec<_> = self.marks.iter().map(|(_, mark)| mark.prefix.to_string()).collect();
        let mark_kinds: Vec<_> = self.marks.iter().map(|(_, mark)| mark.kind.as_str()).collect();
        let marked_at: Vec<_> = self.marks.iter().map(|(_, mark)| micros(mark.at)).collect();
        let moved: Vec<_> = self.moved.iter().copied().collect();
        let (answered, issued, used) = (answers.columns()?, tokens.issued(), tokens.used());

        let mut parts = Vec::new();
        if !begun.is_empty() {
            parts.push(Part::new(
                "INSERT INTO live (organization, call, node, epoch, reserved, day, status, user_id, from_number, to_number,
                                   connect_number, created_at, record, snapshot)
                 SELECT organization, call, $1, $2, reserved, day, status, user_id, from_number, to_number,
                        connect_number, created_at, record, snapshot
                 FROM unnest($3::bigint[], $4::bytea[], $5::bigint[], $6::int[], $7::text[], $8::text[], $9::text[],
                             $10::text[], $11::text[], $12::bigint[], $13::text[], $14::bytea[])
                      AS begun (organization, call, reserved, day, status, user_id, from_number, to_number,
                                connect_number, created_at, record, snapshot)",
                &[
                    &node.id, &node.epoch, &organizations, &calls, &reserved, &days, &statuses, &users, &from, &to,
                    &connect, &created, &records, &snapshots,
                ],
            ));
        }
        if !self.finals.is_empty() {
            parts.push(Part::new(
                "INSERT INTO calls (id, organization, call, status, user_id, from_number, to_number, created_at, record)
                 SELECT live.id, live.organization, live.call, ended.status, live.user_id, live.from_number,
                        live.to_number, live.created_at, ended.record
                 FROM unnest($1::bytea[], $2::text[], $3::text[]) AS ended (call, status, record)
                      JOIN live ON live.call = ended.call",
                &[&ended, &ended_as, &ended_records],
            ));
        }
        if !states.is_empty() {
            parts.push(Part::new(
                "UPDATE live SET reserved = step.reserved, record = step.record,
                                 status = coalesce(step.status, live.status),
                                 snapshot = coalesce(step.snapshot, live.snapshot)
                 FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[], $5::bytea[])
                      AS step (call, reserved, status, record, snapshot)
                 WHERE live.call = step.call",
                &[&stepped, &step_reserved, &step_statuses, &step_records, &step_snapshots],
            ));
        }
        let told = parts.len();
        if !self.journal.is_empty() {
            parts.push(Part::new(
                &JOURNAL,
                &[&line_organizations, &line_calls, &kinds, &ats, &amounts, &line_days, &line_records],
            ));
        }
        if !spent.is_empty() {
            parts.push(Part::new(
                "INSERT INTO spend (organization, day, user_id, path, calls, answered, billable_seconds, spent)
                 SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                                      $7::bigint[], $8::bigint[])
                 ON CONFLICT (organization, day, user_id, path) DO UPDATE
                    SET calls = spend.calls + excluded.calls, answered = spend.answered + excluded.answered,
                        billable_seconds = spend.billable_seconds + excluded.billable_seconds,
                        spent = spend.spent + excluded.spent",
                &[&spenders, &spent_on, &spent_by, &spent_for, &spent_calls, &spent_answered, &spent_seconds, &spent],
            ));
        }
        if !marked.is_empty() {
            parts.push(Part::new(
                "INSERT INTO breaker (organization, prefix, kind, at)
                 SELECT organization, prefix, kind, at
                 FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
                      WITH ORDINALITY AS mark (organization, prefix, kind, at, place)
                 ORDER BY place",
                &[&marked, &prefixes, &mark_kinds, &marked_at],
            ));
        }
        parts.extend(answered.parts());
        parts.extend(issued.part());
        parts.extend(used.part());
        if !moved.is_empty() {
            parts.push(Part::new("UPDATE organization SET version = version + 1 WHERE id = ANY ($1)", &[&moved]));
        }
        parts.push(Part::new("COMMIT", &[]));
        let rows = link.together(&parts)?;
        Ok(!self.journal.is_empty() && rows.get(told).is_some_and(|rows| !rows.is_empty()))
    }
}

/// Ledger and outbox, and what is to be delivered of the outbox.
static JOURNAL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH told AS (
                 INSERT INTO journal (organization, call, kind, at, amount, day, record)
                 SELECT organization, call, kind, at, amount, day, record
                 FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::bigint[], $6::int[], $7::text[])
                      WITH ORDINALITY AS line (organization, call, kind, at, amount, day, record, place)
                 ORDER BY place RETURNING id, organization, call, kind, at)
             {TELL}"
    )
});

/// A node whose name was taken changes no row. Whoever takes a name waits for this row, and so for the transaction.
pub(super) const STILL_OURS: &str =
    "UPDATE node SET written = $3, alive = $4 WHERE id = $1 AND epoch = $2 RETURNING epoch";

/// Begins a transaction of this number. Whether the node still is what it was.
pub(super) fn begin(link: &mut Link, node: &Node, number: i64, now: Timestamp) -> Result<bool, LinkError> {
    let now = micros(now);
    let rows =
        link.together(&[Part::new("BEGIN", &[]), Part::new(STILL_OURS, &[&node.id, &node.epoch, &number, &now])])?;
    Ok(rows.get(1).is_some_and(|rows| !rows.is_empty()))
}

/// Drops what was kept of calls that are over. A call that is not over yet stays.
pub(super) fn forget(link: &mut Link, calls: &[CallId]) -> Result<(), LinkError> {
    let calls: Vec<_> = calls.iter().map(|call| call.to_bytes().to_vec()).collect();
    link.execute("DELETE FROM live WHERE call = ANY ($1) AND record IS NULL", &[&calls]).map(drop)
}

/// That the process lives, in a transaction that writes nothing else.
pub(super) fn alive(link: &mut Link, node: &Node, now: Timestamp) -> Result<bool, LinkError> {
    let sql = "UPDATE node SET alive = $3 WHERE id = $1 AND epoch = $2";
    Ok(link.execute(sql, &[&node.id, &node.epoch, &micros(now)])? == 1)
}
