//! A step of a call on its way to the store, with the record and the snapshot that belong to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Entry, Output, Pending, Switch};
use crate::call::{self, StepKind};
use crate::events::{Fact, FactKind};
use crate::model::{CallId, CommitId, LegId, Side, Status, Timestamp};
use crate::sip::LegSnapshot;
use crate::store::{Commit, Committed, Step};

/// What the store keeps of a live call. JSON, so that a later version of the program can still read it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub version: u32,
    pub call: call::Snapshot,
    pub user_leg: Option<LegSnapshot>,
    pub destination_leg: Option<LegSnapshot>,
}

/// Room for most snapshots.
const USUAL_BYTES: usize = 2_048;

impl Kept {
    pub const VERSION: u32 = 1;
}

impl Switch {
    pub(super) fn commit(
        &mut self,
        now: Timestamp,
        id: CallId,
        kind: StepKind,
        step: Step,
        mut facts: Vec<Fact>,
        out: &mut Vec<Output>,
    ) {
        let snapshot = self.snapshot(id, kind);
        let Some(entry) = self.calls.get_mut(&id) else { return };
        debug_assert!(
            kind == StepKind::Settle || !entry.call.is_settling(),
            "beside the settlement of a call, {kind:?} would put back a snapshot that is not settled"
        );
        let told_before = tell_status(entry, &mut facts);
        entry.telling += u32::from(told_before.is_some());
        self.last_commit += 1;
        let commit = CommitId(self.last_commit);
        self.commits.insert(commit, Pending { call: id, kind, told_before });
        let commit_body = Commit {
            call: id,
            organization: entry.call.plan().organization.clone(),
            at: now,
            step,
            record: entry.call.record().clone(),
            snapshot,
            facts,
            idempotency: entry.idempotency.take(),
            token: entry.token.take(),
        };
        out.push(Output::Commit(commit, Box::new(commit_body)));
    }

    /// What was not written was not told either.
    pub(super) fn untell(&mut self, call: CallId, told_before: Option<Status>, committed: &Committed) {
        let Some(entry) = self.calls.get_mut(&call).filter(|_| told_before.is_some()) else { return };
        entry.telling = entry.telling.saturating_sub(1);
        if !committed.is_durable() {
            entry.told = told_before;
        }
    }

    fn snapshot(&self, id: CallId, kind: StepKind) -> Option<Bytes> {
        let entry = self.calls.get(&id)?;
        let leg = |side| self.endpoint.snapshot(LegId { call: id, side });
        let kept = Kept {
            version: Kept::VERSION,
            call: entry.call.snapshot(kind),
            user_leg: leg(Side::User),
            destination_leg: leg(Side::Destination),
        };
        let mut json = Vec::with_capacity(USUAL_BYTES);
        // Plain data with string keys: writing it cannot fail.
        serde_json::to_writer(&mut json, &kept).ok().map(|()| Bytes::from(json))
    }
}

/// A change of the status that nothing else tells becomes a fact of its own. Gives the status that was told
/// before, if another one is now. While a commit that tells it may still be refused, each one behind it tells it
/// again: rather twice than not at all.
fn tell_status(entry: &mut Entry, facts: &mut Vec<Fact>) -> Option<Status> {
    let record = entry.call.record();
    let before = entry.told.replace(record.status).filter(|told| *told != record.status);
    if facts.is_empty() && (before.is_some() || entry.telling > 0) {
        facts.push(Fact { call: record.id, kind: FactKind::CallStatus });
    }
    before
}
