//! A call as a value that outlives its process.
//!
//! A snapshot is written with every commit, so it shows the call *before* what that commit allows. Taking
//! it up, the call assumes that all of it happened: the INVITE left, the ACK left, the audio was joined. What it
//! only assumes it does not charge.
//!
//! A call that is taken up only ends, so a snapshot holds what an end needs and nothing else: what the
//! parties agreed on, and what the record says already, would be written with every step and never read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ending::Settling;
use super::meter::Meter;
use super::party::{Party, Phase};
use super::state::{Committing, End, Next, State};
use super::{BrowserPlan, Call, CallAction, Connect, Ending, LegPlan, Plan, StepKind};
use crate::events::Notice;
use crate::leg::{Cause, LINGER, LegCommand};
use crate::model::{CallRecord, Confirm, EndReason, EndedBy, Side, Timestamp, TokenDigest};

/// All that is needed to take a call up.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    user: PartySnapshot,
    destination: PartySnapshot,
    joined: bool,
    stage: Stage,
    /// Of a browser's token; absent where leg A is a phone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PartySnapshot {
    leg: LegPlan,
    phase: Phase,
    meter: Meter,
    invited_at: Option<Timestamp>,
    ring_ended_at: Option<Timestamp>,
}

impl PartySnapshot {
    fn of(party: &Party) -> Self {
        let &Party { local, port, secret, phase, ref meter, invited_at, ring_ended_at, .. } = party;
        Self { leg: LegPlan { local, port, secret }, phase, meter: meter.clone(), invited_at, ring_ended_at }
    }

    fn restore(self) -> Party {
        let Self { leg, phase, meter, invited_at, ring_ended_at } = self;
        Party { phase, meter, invited_at, ring_ended_at, ..Party::new(&leg) }
    }
}

/// How far the call was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// The commit that carries the snapshot allows this.
    Committing(Next),
    AwaitingBrowser,
    Arriving,
    CallingUser,
    Confirming,
    CallingDestination,
    Bridged,
    /// To end so, and not settled.
    Failing(End),
    /// Settled, by the commit that carries the snapshot or before it.
    Ending,
}

impl Call {
    /// `kind`: of the commit that carries it.
    pub fn snapshot(&self, kind: StepKind) -> Snapshot {
        let stage = match &self.state {
            State::Committing(committing) => Stage::Committing(committing.next),
            State::AwaitingBrowser(_) => Stage::AwaitingBrowser,
            State::Arriving(_) => Stage::Arriving,
            State::CallingUser(_) => Stage::CallingUser,
            State::Confirming(_) => Stage::Confirming,
            State::CallingDestination(_) => Stage::CallingDestination,
            State::Bridged(_) => Stage::Bridged,
            State::Failing(failing) => Stage::Failing(failing.end),
            State::Ending(ending) if kind == StepKind::Settle || ending.is_settled() => Stage::Ending,
            State::Ending(ending) => Stage::Failing(ending.end),
        };
        Snapshot {
            user: PartySnapshot::of(&self.user),
            destination: PartySnapshot::of(&self.destination),
            joined: self.joined,
            stage,
            expires_at: match self.plan.connect {
                Connect::Phone(_) => None,
                Connect::Browser(plan) => Some(plan.expires_at),
            },
        }
    }

    /// Takes up what an earlier process left, and ends it: no leg stays up, the record says why, and the
    /// money is settled as of `last_alive`, the last moment at which that process is known to have lived.
    pub fn restore(
        now: Timestamp,
        last_alive: Timestamp,
        snapshot: Snapshot,
        record: CallRecord,
        out: &mut Vec<CallAction>,
    ) -> Self {
        let Snapshot { user, destination, joined, stage, expires_at } = snapshot;
        let plan = plan(&record, user.leg, destination.leg);
        let end = record.end_reason.map_or(End::new(EndReason::ServerRestart, EndedBy::Failure), |reason| {
            End::new(reason, record.ended_by.unwrap_or(EndedBy::Failure))
        });
        let unused = matches!(stage, Stage::AwaitingBrowser | Stage::Committing(Next::AwaitBrowser));
        let end = if unused && expires_at.is_some_and(|at| at <= now) { End::token_expired() } else { end };
        let mut call = Self {
            // The browser finds its way back to no process that it does not know.
            browser: None,
            stage_began: now,
            heard: [false; 2],
            extending: false,
            joined,
            state: State::Committing(Committing { next: Next::RingUser, end: None }),
            plan,
            record,
            user: user.restore(),
            destination: destination.restore(),
        };
        call.assume_all_happened(stage, last_alive);
        for side in Side::BOTH {
            if call.has_dialog(side) {
                out.push(CallAction::Leg(side, LegCommand::TakeDown { known: u32::MAX }));
            }
        }
        out.push(CallAction::Notice(Notice::CallRestored { call: call.plan.id }));
        if stage == Stage::Ending {
            call.resume_ending(now, end, out);
        } else {
            let end = if let Stage::Failing(end) | Stage::Committing(Next::Tone(end)) = stage { end } else { end };
            let ended_at = last_alive.max(call.record.created_at).min(now);
            call.begin_ending_at(now, ended_at, end, out);
        }
        call
    }

    fn has_dialog(&self, side: Side) -> bool {
        self.party(side).phase != Phase::Idle && !self.is_browser(side)
    }

    fn assume_all_happened(&mut self, stage: Stage, last_alive: Timestamp) {
        for party in [&mut self.user, &mut self.destination] {
            party.media_open = false;
            party.meter.restored();
            if party.phase == Phase::Answered {
                party.phase = Phase::Up;
                party.meter.acknowledged_if_long_before(last_alive);
            }
        }
        match stage {
            Stage::Committing(Next::RingUser) => self.user.phase = Phase::Ringing,
            Stage::Committing(Next::RingDestination) if self.destination.phase == Phase::Idle => {
                self.destination.phase = Phase::Ringing;
            }
            Stage::Committing(Next::RingAgain { side, .. }) => self.party_mut(side).phase = Phase::Ringing,
            Stage::Committing(Next::Join) => self.joined = true,
            Stage::Committing(
                Next::AwaitBrowser | Next::Connect | Next::Confirm | Next::Tone(_) | Next::RingDestination,
            )
            | Stage::AwaitingBrowser
            | Stage::Arriving
            | Stage::CallingUser
            | Stage::Confirming
            | Stage::CallingDestination
            | Stage::Bridged
            | Stage::Failing(_)
            | Stage::Ending => {}
        }
    }

    /// Settled before the restart: the BYEs may have been lost with the process, so they are said again.
    fn resume_ending(&mut self, now: Timestamp, end: End, out: &mut Vec<CallAction>) {
        for side in Side::BOTH {
            if self.has_dialog(side) {
                out.push(CallAction::Leg(side, LegCommand::End(Cause::of(end.reason))));
            }
        }
        let ended_at = self.record.ended_at.unwrap_or(now);
        self.state = State::Ending(Ending { end, ended_at, settling: Settling::Settled { forget_at: now + LINGER } });
    }
}

/// What the record still knows of the plan. The rest is about stages that the call will not see again.
fn plan(record: &CallRecord, user_leg: LegPlan, destination_leg: LegPlan) -> Plan {
    Plan {
        id: record.id,
        organization: record.organization_id.clone(),
        user: record.user_id.clone(),
        from: record.from_number,
        // Only what was over for long is erased, and a call that is taken up again rings nobody.
        to: record.to_number.unwrap_or(record.from_number),
        connect: record.connect_number.map_or_else(|| browser(record), Connect::Phone),
        client_name: record.client_name.clone(),
        client_label: record.client_label.clone(),
        confirm: Confirm::None,
        ring_timeout: Duration::ZERO,
        max_duration: Duration::ZERO,
        failure_tone: Duration::ZERO,
        confirm_timeout: Duration::ZERO,
        user_leg,
        destination_leg,
    }
}

/// A browser that does not come any more.
fn browser(record: &CallRecord) -> Connect {
    let token = TokenDigest([0; 32]);
    Connect::Browser(BrowserPlan { path: record.path, token, expires_at: record.created_at, grace: Duration::ZERO })
}
