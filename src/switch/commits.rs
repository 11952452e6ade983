//! A step of a call on its way to the store, with the record and the snapshot that belong to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Output, Switch};
use crate::call::{self, StepKind};
use crate::events::Fact;
use crate::model::{CallId, CommitId, LegId, Side, Timestamp};
use crate::sip::LegSnapshot;
use crate::store::{Commit, Step};

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
        facts: Vec<Fact>,
        out: &mut Vec<Output>,
    ) {
        let snapshot = self.snapshot(id);
        let Some(entry) = self.calls.get_mut(&id) else { return };
        self.last_commit += 1;
        let commit = CommitId(self.last_commit);
        self.commits.insert(commit, (id, kind));
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

    fn snapshot(&self, id: CallId) -> Option<Bytes> {
        let entry = self.calls.get(&id)?;
        let leg = |side| self.endpoint.snapshot(LegId { call: id, side });
        let kept = Kept {
            version: Kept::VERSION,
            call: entry.call.snapshot(),
            user_leg: leg(Side::User),
            destination_leg: leg(Side::Destination),
        };
        let mut json = Vec::with_capacity(USUAL_BYTES);
        // Plain data with string keys: writing it cannot fail.
        serde_json::to_writer(&mut json, &kept).ok().map(|()| Bytes::from(json))
    }
}
