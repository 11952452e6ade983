//! What of a leg survives the process.
//!
//! Identifiers are not kept: they derive from the secret. Nor are the messages: they are written again
//! from the facts. A leg that is taken up may have sent anything that a leg can have sent after its
//! snapshot, so it uses CSeq numbers only beyond the block that the snapshot reserved.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::dialog::Dialog;
use super::early::Early;
use super::way::{Detour, Way};
use super::{Facts, Invite, Leg, Phase};
use crate::config::{Listener, Trunk};
use crate::model::{E164, LegId, Secret};
use crate::sip::Flow;
use crate::sip::nonces::Authorization;
use crate::sip::route::listener_of;
use crate::sip::transaction::InviteClient;

/// CSeq numbers that a leg may use after a snapshot without another one: many more than it can.
const CSEQ_BLOCK: u32 = 100;
/// Further INVITEs that answer challenges, and one for a session interval that was too small.
const MOST_CHALLENGES: u32 = super::challenge::MAX_CHALLENGES as u32;

/// All that is needed to take a leg up after a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegSnapshot {
    secret: Secret,
    pub(in crate::sip) trunk: Arc<str>,
    host: Arc<str>,
    pub(in crate::sip) flow: Flow,
    advertised: SocketAddr,
    to: E164,
    shown: E164,
    phase: PhaseSnapshot,
    cseq_block_end: u32,
    invites: Vec<InviteSnapshot>,
    /// Hashes of tags.
    early: SmallVec<[u64; 2]>,
    dialog: Option<Dialog>,
    strays: Vec<Dialog>,
    /// Attempts before this one, which reached nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<LegSnapshot>,
}

/// How far the leg had come. An end that was under way is asked for again after a restart, so what
/// counts is what it still had to take down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseSnapshot {
    /// The INVITE may have left, or be about to.
    Prepared,
    Calling,
    Answered,
    Confirmed,
    Over,
}

/// The INVITE's branch derives from its CSeq number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InviteSnapshot {
    cseq: u32,
    pending: bool,
    /// Too long for UDP.
    #[serde(default)]
    large: bool,
    /// Nobody had answered it in time: it may be pending again.
    #[serde(default)]
    given_up: bool,
    authorization: Option<Authorization>,
    /// Of the other kind, where both a proxy and the peer have asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second: Option<Authorization>,
}

impl LegSnapshot {
    /// The trunk of the leg: what the configuration now says of it, but always where its dialog lives.
    pub(in crate::sip) fn trunk(&self, configured: Option<&Arc<Trunk>>) -> Arc<Trunk> {
        match configured {
            Some(trunk) if self.is_at(trunk) => Arc::clone(trunk),
            Some(trunk) => {
                let Flow { transport, remote, .. } = self.flow;
                let host = self.host.clone();
                Arc::new(Trunk { transport, target: remote, host, ..Trunk::clone(trunk) })
            }
            None => {
                let trunk = Trunk::at(&self.trunk, self.flow.transport, self.flow.remote);
                // What has a name is called by it alone, as far as anybody remembers.
                let port = trunk.port.filter(|_| *trunk.host == *self.host);
                Arc::new(Trunk { host: self.host.clone(), port, ..trunk })
            }
        }
    }

    /// With those that were tried before it.
    pub(in crate::sip) fn after(self, former: Vec<LegSnapshot>) -> Self {
        Self { former, ..self }
    }

    /// Those that were tried before it, then itself.
    pub(in crate::sip) fn attempts(mut self) -> Vec<LegSnapshot> {
        let mut attempts = std::mem::take(&mut self.former);
        attempts.push(self);
        attempts
    }

    fn is_at(&self, trunk: &Trunk) -> bool {
        trunk.target == self.flow.remote && trunk.transport == self.flow.transport && trunk.host == self.host
    }
}

impl Leg {
    pub fn snapshot(&self) -> LegSnapshot {
        let facts = &self.facts;
        let invite = |i: &Invite| InviteSnapshot {
            cseq: i.cseq,
            pending: i.transaction.is_pending(),
            large: i.way == Way::Large,
            given_up: i.given_up,
            authorization: i.authorization.first().cloned(),
            second: i.authorization.get(1).cloned(),
        };
        LegSnapshot {
            secret: facts.secret,
            trunk: facts.trunk.name.clone(),
            host: facts.trunk.host.clone(),
            flow: facts.flow,
            advertised: facts.advertised,
            to: facts.to,
            shown: facts.shown,
            phase: self.phase_snapshot(),
            cseq_block_end: self.cseq.saturating_add(CSEQ_BLOCK),
            invites: self.invites.iter().map(invite).collect(),
            early: self.early.iter().map(Early::tag).collect(),
            dialog: self.dialog.clone(),
            strays: self.strays.clone(),
            former: Vec::new(),
        }
    }

    fn phase_snapshot(&self) -> PhaseSnapshot {
        match self.phase {
            Phase::Prepared => PhaseSnapshot::Prepared,
            Phase::Calling => PhaseSnapshot::Calling,
            Phase::Answered => PhaseSnapshot::Answered,
            Phase::Confirmed => PhaseSnapshot::Confirmed,
            Phase::Ending { .. } => match &self.dialog {
                Some(dialog) if dialog.acknowledged => PhaseSnapshot::Confirmed,
                Some(_) => PhaseSnapshot::Answered,
                None => PhaseSnapshot::Calling,
            },
            Phase::Over => PhaseSnapshot::Over,
        }
    }

    /// `trunk` is the one that the snapshot names. Our end of the way to it is the one of the snapshot's flow, or
    /// another of `listeners` where that was a socket of another node.
    pub fn restore(id: LegId, trunk: Arc<Trunk>, listeners: &[Listener], snapshot: LegSnapshot) -> Self {
        let LegSnapshot { secret, flow, advertised, to, shown, .. } = snapshot;
        let listener = listener_of(listeners, flow);
        let (local, sent_by) = listener.map_or((flow.local, advertised), |l| (l.local, l.advertised));
        let facts = Facts::new(id, secret, trunk, local, advertised, to, shown);
        let detour = Detour::beside(listeners, facts.flow);
        let mut leg = Leg::new(Facts { sent_by, detour, ..facts });
        leg.cseq = snapshot.cseq_block_end;
        leg.early = snapshot.early.into_iter().map(Early::known).collect();
        leg.dialog = snapshot.dialog;
        // Whether their BYE arrived is not known: they are taken down again.
        leg.strays = snapshot.strays;
        leg.strays.iter_mut().for_each(|dialog| dialog.acknowledged = false);
        leg.phase = match snapshot.phase {
            // The INVITE may have left, so it must not be sent (again), and may have to be cancelled.
            PhaseSnapshot::Prepared | PhaseSnapshot::Calling => Phase::Calling,
            PhaseSnapshot::Answered => Phase::Answered,
            PhaseSnapshot::Confirmed => Phase::Confirmed,
            // It may ring since, and have said so to a process that was dying.
            PhaseSnapshot::Over if snapshot.invites.iter().any(|invite| invite.given_up) => Phase::Calling,
            PhaseSnapshot::Over => Phase::Over,
        };
        leg.restore_invites(snapshot.phase, &snapshot.invites);
        leg
    }

    fn restore_invites(&mut self, phase: PhaseSnapshot, known: &[InviteSnapshot]) {
        for invite in known {
            let way = if invite.large { Way::Large } else { Way::Usual };
            let pending = invite.pending || invite.given_up;
            let authorization = invite.authorization.iter().chain(&invite.second).cloned().collect();
            self.restore_invite(invite.cseq, way, pending, authorization);
        }
        match phase {
            // Challenges may have been answered after the snapshot, and a longer session asked for.
            PhaseSnapshot::Prepared | PhaseSnapshot::Calling => {
                let trunk = &self.facts.trunk;
                let challenges = if trunk.credentials.is_some() { MOST_CHALLENGES } else { 0 };
                let most = 1 + challenges + u32::from(trunk.session_expires.is_some());
                let first = known.last().map_or(1, |last| last.cseq + 1);
                for cseq in first..=most {
                    self.restore_invite(cseq, Way::Usual, true, Vec::new());
                }
            }
            PhaseSnapshot::Answered | PhaseSnapshot::Confirmed | PhaseSnapshot::Over => {}
        }
    }

    fn restore_invite(&mut self, cseq: u32, way: Way, pending: bool, authorization: Vec<Authorization>) {
        let mut transaction = InviteClient::resume();
        if !pending {
            transaction.terminate();
        }
        self.invites.push(Invite {
            cseq,
            branch: self.facts.branch(cseq),
            way,
            transaction,
            bytes: bytes::Bytes::new(),
            cancelled: false,
            doubtful: false,
            given_up: false,
            authorization,
        });
    }
}
