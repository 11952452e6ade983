//! One bridged call as a pure machine (RFC 3725, simplified by our own relay).
//!
//! ```text
//!            ┌───────────── a guardrail or the store says no: the call never was
//!            │
//!  Committing(RingUser) ─▶ CallingUser ─▶ Committing(Confirm) ─▶ Confirming ─┐
//!                              │                                             ▼
//!                              └──────────────────────▶ Committing(RingDestination)
//!                                                                            ▼
//!       Ended ◀─ Ending ◀─ Failing ◀───────── refused ──────────── CallingDestination
//!                   ▲                                                        ▼
//!                   └── any end, from every state ── Bridged ◀─ Committing(Join)
//! ```
//!
//! - `Committing` waits for a step to be durable. What the step allows (an INVITE, the ACK that makes a
//!   leg billable, the joined audio) is only asked for afterwards, so it cannot leave before.
//! - `Failing` plays the tone that says why the destination did not answer.
//! - `Ending` takes the legs down, settles the money, and stays for 64·T1 so that its legs can take down
//!   late answers; its snapshot stays as long.
//!
//! Leg A may be a browser instead of a phone: then it is not rung but awaited; see `browser`.
//!
//! The call commands legs and hears from them by [`crate::leg`]; it names neither SIP nor WebRTC.
//! Deliberately absent: timers (deadlines are fields, see [`Call::next_timeout`]), identifiers of any
//! protocol, and anything that a peer sent besides codecs, addresses for media, and status codes.

mod bridge;
mod browser;
mod ending;
mod funds;
mod hold;
mod meter;
mod outcome;
mod party;
mod ringing;
mod snapshot;
mod state;
mod stray;
#[cfg(test)]
mod tests;
mod tone;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::events::{BrowserEvent, Fact, FactKind, Notice, SetupStage};
use crate::guardrails::{Attempt, LegAttempt};
use crate::leg::{LegCommand, LegEvent};
use crate::media::{MediaCommand, MediaEvent, PortPair};
use crate::model::{
    CallId, CallRecord, Confirm, E164, EndReason, EndedBy, LegRecord, OrganizationId, Path, Secret, Side, Status,
    Timestamp, UserId,
};
use crate::sdp::Local;
use crate::store::{Committed, Step};

pub use browser::{BrowserPlan, BrowserWish, Offered};
pub use snapshot::Snapshot;

use browser::Browser;
use ending::Ending;
use party::Party;
use state::{Committing, End, Next, State};

/// What a call is asked to be. Fixed for its life.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub id: CallId,
    pub organization: OrganizationId,
    pub user: UserId,
    /// The owned number that leg B sees.
    pub from: E164,
    /// Leg B.
    pub to: E164,
    /// Leg A.
    pub connect: Connect,
    pub confirm: Confirm,
    /// For each leg.
    pub ring_timeout: Duration,
    /// From the moment at which both are joined.
    pub max_duration: Duration,
    pub client_name: Option<Arc<str>>,
    pub client_label: Option<Arc<str>>,
    /// How long A hears the tone of a destination that failed.
    pub failure_tone: Duration,
    /// How long each of the two prompts of `press_1` waits.
    pub confirm_timeout: Duration,
    pub user_leg: LegPlan,
    pub destination_leg: LegPlan,
}

/// Who takes leg A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// A phone, which is rung.
    Phone(E164),
    /// A browser, which comes with a token.
    Browser(BrowserPlan),
}

impl Connect {
    pub fn phone(&self) -> Option<E164> {
        match self {
            Connect::Phone(number) => Some(*number),
            Connect::Browser(_) => None,
        }
    }

    pub fn path(&self) -> Path {
        match self {
            Connect::Phone(_) => Path::Bridge,
            Connect::Browser(plan) => plan.path,
        }
    }
}

/// What a leg starts with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LegPlan {
    /// Where our end of the audio is. A browser's has no use for it.
    pub local: Local,
    /// `None` for a browser: they share their thread's port.
    pub port: Option<PortPair>,
    /// Of the audio: SSRC and CNAME derive from it.
    pub secret: Secret,
}

/// What a call hears.
#[derive(Debug)]
pub enum CallEvent {
    /// How one of its commits went; `Step`s are answered in the order in which they were asked for.
    Committed(StepKind, Committed),
    Leg(Side, LegEvent),
    Media(Side, MediaEvent),
    /// Of the browser that is leg A.
    Browser(BrowserWish),
    /// `POST …/hangup`.
    Hangup,
    /// The server must stop now.
    Drain,
    Timeout,
}

/// Which of its steps a commit was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// `Admit`, `Connect`, `PermitLeg`, or the `Keep` before a confirmation or the joining: the call waits for
    /// it.
    Barrier,
    Extend,
    Settle,
    /// Unwanted answers of this leg become durable before they are taken down.
    TakeDown(Side),
}

/// What a call wants.
#[derive(Debug)]
pub enum CallAction {
    /// Give the leg its identity and route, so that the next snapshot holds it.
    Prepare(Side),
    /// Make this durable, with the record and the snapshot as they are now.
    Commit {
        kind: StepKind,
        step: Step,
        facts: Vec<Fact>,
    },
    Leg(Side, LegCommand),
    Media(Side, MediaCommand),
    /// What became of the offer that the browser made last; one for each.
    Offered(Offered),
    /// For whoever watches the call from its browser.
    Tell(BrowserEvent),
    Notice(Notice),
    /// How the dial went: the `Committed` that answered `Admit`, or `None` for "admitted".
    Reply(Option<Committed>),
    /// Nothing is left of the call: drop it and its snapshot.
    Forget,
}

/// One bridged call.
#[derive(Debug)]
pub struct Call {
    plan: Plan,
    record: CallRecord,
    user: Party,
    destination: Party,
    /// Where leg A is no phone.
    browser: Option<Box<Browser>>,
    state: State,
    /// The moment of the 2xx or dial that the next stage of the set-up is measured from.
    stage_began: Timestamp,
    /// Of the joined audio, which sides have been heard by the other.
    heard: [bool; 2],
    /// B's answer was durable and both were joined.
    joined: bool,
    /// A reservation ahead is being committed; one at a time.
    extending: bool,
}

impl Call {
    /// A call that has been asked for: prepares leg A, unless that is a browser, and commits the admission.
    pub fn start(now: Timestamp, plan: Plan, out: &mut Vec<CallAction>) -> Self {
        let mut call = Self {
            record: new_record(&plan, now),
            user: Party::new(&plan.user_leg),
            destination: Party::new(&plan.destination_leg),
            browser: None,
            state: State::Committing(Committing { next: Next::RingUser, end: None }),
            stage_began: now,
            heard: [false; 2],
            joined: false,
            extending: false,
            plan,
        };
        match call.plan.connect {
            Connect::Phone(_) => {
                out.push(CallAction::Prepare(Side::User));
                // The INVITE leaves the instant this is durable, so this is what the record says.
                call.record.status = Status::CallingUser;
                call.record.started_at = Some(now);
            }
            Connect::Browser(plan) => {
                call.browser = Some(Box::new(Browser::new(plan)));
                call.state = State::Committing(Committing { next: Next::AwaitBrowser, end: None });
            }
        }
        let attempt = call.attempt();
        call.commit(StepKind::Barrier, Step::Admit(attempt), vec![FactKind::NewCall], out);
        call
    }

    pub fn handle(&mut self, now: Timestamp, event: CallEvent, out: &mut Vec<CallAction>) {
        match event {
            CallEvent::Committed(kind, committed) => match kind {
                StepKind::Barrier => {
                    self.committed(now, committed, out);
                    Side::BOTH.into_iter().for_each(|side| self.keep_strays(side, out));
                }
                StepKind::Extend => self.extended(now, committed, out),
                StepKind::Settle => self.settled(now, committed, out),
                StepKind::TakeDown(side) => self.strays_durable(side, &committed, out),
            },
            CallEvent::Leg(side, event) => self.leg(now, side, event, out),
            CallEvent::Media(side, event) => self.media(now, side, event, out),
            CallEvent::Browser(wish) => self.browser_wants(now, wish, out),
            CallEvent::Hangup => self.end(now, End::by_api(), out),
            CallEvent::Drain => self.end(now, End::drained(), out),
            CallEvent::Timeout => self.timeout(now, out),
        }
    }

    /// The earliest moment at which [`CallEvent::Timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let state = match &self.state {
            // An end is already known; nothing else can come of time.
            State::Committing(Committing { end: Some(_), .. }) => return None,
            State::Committing(_) => None,
            State::AwaitingBrowser(awaiting) => Some(awaiting.until),
            State::Arriving(arriving) => arriving.until,
            State::CallingUser(ringing) => Some(ringing.until),
            State::Confirming(confirming) => Some(confirming.until),
            State::CallingDestination(ringing) => Some(ringing.until),
            State::Bridged(bridged) => Some(bridged.until),
            State::Failing(failing) => Some(failing.until),
            State::Ending(ending) => return ending.next_timeout(),
        };
        let browser = self.browser.as_ref().and_then(|browser| browser.next_timeout());
        let asked = self.extending || self.is_stepping();
        [state, browser, self.user.next_timeout(asked), self.destination.next_timeout(asked)]
            .into_iter()
            .flatten()
            .min()
    }

    fn timeout(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        self.meter_timeout(now, out);
        self.browser_timeout(now, out);
        match &self.state {
            State::AwaitingBrowser(awaiting) if awaiting.until <= now => self.token_expired(now, out),
            State::Arriving(arriving) if arriving.until.is_some_and(|until| until <= now) => {
                self.end(now, End::token_expired(), out);
            }
            State::CallingUser(ringing) if ringing.until <= now => self.user_rang_out(now, out),
            State::Confirming(confirming) if confirming.until <= now => self.not_confirmed(now, out),
            State::CallingDestination(ringing) if ringing.until <= now => self.destination_rang_out(now, out),
            State::Bridged(bridged) if bridged.until <= now => self.end(now, End::max_duration(), out),
            State::Failing(failing) if failing.until <= now => {
                let end = failing.end;
                self.begin_ending(now, end, out);
            }
            State::Ending(_) => self.ending_timeout(now, out),
            State::Committing(_)
            | State::AwaitingBrowser(_)
            | State::Arriving(_)
            | State::CallingUser(_)
            | State::Confirming(_)
            | State::CallingDestination(_)
            | State::Bridged(_)
            | State::Failing(_) => {}
        }
        self.reserve_ahead(now, out);
    }

    fn leg(&mut self, now: Timestamp, side: Side, event: LegEvent, out: &mut Vec<CallAction>) {
        self.party_mut(side).hear(now, &event);
        match event {
            // In-dialog changes of one leg's session concern that leg alone, in every state.
            LegEvent::Offer { early, sdp } => self.peer_offers(now, side, early, sdp, out),
            LegEvent::LateAnswer(answer) => self.peer_answers_late(side, &answer, out),
            LegEvent::Stray { known } => self.stray(side, known, out),
            event => match &self.state {
                State::Committing(_) => self.committing_leg(now, side, event, out),
                // Nobody has been rung.
                State::AwaitingBrowser(_) | State::Arriving(_) => {}
                State::CallingUser(_) => self.calling_user_leg(now, side, event, out),
                State::Confirming(_) => self.confirming_leg(now, side, event, out),
                State::CallingDestination(_) => self.calling_destination_leg(now, side, event, out),
                State::Bridged(_) => self.bridged_leg(now, side, event, out),
                State::Failing(_) => self.failing_leg(now, side, event, out),
                // The legs take themselves down; nothing that they say can change how it ended.
                State::Ending(_) => {}
            },
        }
    }

    fn media(&mut self, now: Timestamp, side: Side, event: MediaEvent, out: &mut Vec<CallAction>) {
        match event {
            MediaEvent::Failed => {
                self.party_mut(side).media_open = false;
                self.end(now, End::media_failed(), out);
            }
            MediaEvent::Digit(digit) => self.digit(now, side, digit, out),
            MediaEvent::Flowing => self.audio_flows(now, side, out),
            MediaEvent::Silent => self.silent(now, side, out),
            MediaEvent::BrowserAnswer(answer) => self.browser_answered(now, answer, out),
            MediaEvent::BrowserRefused(error) => self.browser_refused(error, out),
            MediaEvent::BrowserUp => self.browser_up(now, out),
            MediaEvent::BrowserDown => self.browser_down(now, out),
            MediaEvent::Quality(quality) => self.browser_quality(quality, out),
            MediaEvent::Closed(stats) => self.media_closed(side, stats, out),
        }
    }

    fn digit(&mut self, now: Timestamp, side: Side, digit: char, out: &mut Vec<CallAction>) {
        if let (State::Confirming(_), Side::User) = (&self.state, side) {
            self.confirming_digit(now, digit, out);
        }
    }

    /// Ends the call from whatever state it is in. The first end decides; later ones change nothing.
    fn end(&mut self, now: Timestamp, end: End, out: &mut Vec<CallAction>) {
        match &mut self.state {
            State::Committing(committing) => {
                committing.end.get_or_insert(end);
            }
            State::AwaitingBrowser(_)
            | State::Arriving(_)
            | State::CallingUser(_)
            | State::Confirming(_)
            | State::CallingDestination(_)
            | State::Bridged(_) => self.begin_ending(now, end, out),
            State::Failing(failing) => {
                let end = failing.end;
                self.begin_ending(now, end, out);
            }
            State::Ending(_) => {}
        }
    }

    /// A step that the call waits for is on its way to the disk. Another commit would carry what it changes, in record and
    /// snapshot, and not what goes with it: if it came through where the first did not, the call would be answered and
    /// nobody told, or have a leg that nobody permitted.
    fn is_stepping(&self) -> bool {
        matches!(&self.state, State::Committing(_))
    }

    /// A broken invariant: whatever state the call was in, it ends here, with a record.
    pub fn poisoned(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        if !matches!(self.state, State::Ending(_)) {
            self.begin_ending(now, End::new(EndReason::InternalError, EndedBy::Failure), out);
        }
    }

    fn commit(&self, kind: StepKind, step: Step, facts: Vec<FactKind>, out: &mut Vec<CallAction>) {
        let facts = facts.into_iter().map(|kind| Fact { call: self.plan.id, kind }).collect();
        out.push(CallAction::Commit { kind, step, facts });
    }

    fn attempt(&self) -> Attempt {
        Attempt {
            call: self.plan.id,
            organization: self.plan.organization.clone(),
            user: self.plan.user.clone(),
            from: self.plan.from,
            to: self.plan.to,
            connect: self.plan.connect.phone(),
        }
    }

    fn leg_attempt(&self, side: Side) -> LegAttempt {
        LegAttempt { side, attempt: self.attempt() }
    }

    fn party(&self, side: Side) -> &Party {
        match side {
            Side::User => &self.user,
            Side::Destination => &self.destination,
        }
    }

    fn party_mut(&mut self, side: Side) -> &mut Party {
        match side {
            Side::User => &mut self.user,
            Side::Destination => &mut self.destination,
        }
    }

    fn set_status(&mut self, status: Status, out: &mut Vec<CallAction>) {
        self.record.status = status;
        out.push(CallAction::Notice(Notice::CallStatus { call: self.plan.id, status }));
    }

    fn stage_done(&mut self, now: Timestamp, stage: SetupStage, out: &mut Vec<CallAction>) {
        out.push(CallAction::Notice(Notice::Setup { stage, took: now.since(self.stage_began) }));
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The record as of now; what the next commit writes.
    pub fn record(&self) -> &CallRecord {
        &self.record
    }

    /// Whether a terminal record is durable.
    pub fn is_settled(&self) -> bool {
        matches!(&self.state, State::Ending(ending) if ending.is_settled())
    }

    /// It is ending, and no terminal record is durable yet.
    pub fn is_settling(&self) -> bool {
        matches!(&self.state, State::Ending(ending) if !ending.is_settled())
    }

    /// Nobody has used its token yet.
    pub fn awaits_browser(&self) -> bool {
        matches!(self.state, State::AwaitingBrowser(_))
    }

    /// Its browser's audio path stands.
    pub fn has_browser(&self) -> bool {
        self.browser.as_ref().is_some_and(|browser| browser.is_up()) && !matches!(self.state, State::Ending(_))
    }

    /// Legs that may be up at a phone or a browser.
    pub fn live_legs(&self) -> usize {
        [&self.user, &self.destination].into_iter().filter(|p| p.is_live()).count()
    }
}

fn new_record(plan: &Plan, now: Timestamp) -> CallRecord {
    CallRecord {
        id: plan.id,
        organization_id: plan.organization.clone(),
        user_id: plan.user.clone(),
        credential_type: plan.connect.path().credential(),
        path: plan.connect.path(),
        status: Status::Queued,
        from_number: plan.from,
        to_number: Some(plan.to),
        connect_number: plan.connect.phone(),
        client_name: plan.client_name.clone(),
        client_label: plan.client_label.clone(),
        created_at: now,
        started_at: None,
        answered_at: None,
        ended_at: None,
        day: crate::model::Day(0),
        billable_seconds: 0,
        cost: crate::model::Money::ZERO,
        ended_by: None,
        end_reason: None,
        sip_status: None,
        q850_cause: None,
        user_leg: LegRecord::default(),
        destination_leg: LegRecord::default(),
    }
}
