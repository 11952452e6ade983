//! From the admission to B's answer: one function per state and kind of event.

use std::time::Duration;

use super::hold::OUR_CODECS;
use super::party::Phase;
use super::state::{Bridged, Committing, Confirming, End, Failing, Next, Ringing, State};
use super::{Call, CallAction, StepKind, tone};
use crate::events::{BrowserState, FactKind, Notice, SetupStage};
use crate::guardrails::{Grant, Permit};
use crate::leg::{Cause, LegCommand, LegEvent};
use crate::media::{MediaCommand, Source};
use crate::model::{Confirm, EndReason, EndedBy, Side, Status, Timestamp};
use crate::sdp::{self, Agreed, Description};
use crate::store::{Committed, Step};

/// An admission that was decided this much later rings nobody: the store was lost while it committed, and has been
/// found again.
const LATE: Duration = Duration::from_secs(15);

/// Prompts of `press_1`: the first and one more.
const PROMPTS: u8 = 2;

impl Call {
    /// The step that the call waited for is decided.
    pub(super) fn committed(&mut self, now: Timestamp, committed: Committed, out: &mut Vec<CallAction>) {
        let State::Committing(Committing { next, end }) = &self.state else { return };
        let (next, end) = (*next, *end);
        match committed {
            Committed::Admitted { permit, grant } => self.admitted(now, permit, grant, end, out),
            Committed::Permitted(_) | Committed::Done if end.is_some() => {
                self.begin_ending(now, end.unwrap_or_else(End::drained), out);
            }
            Committed::Permitted(permit) => match next {
                Next::RingAgain { side, until } => self.ring_again(now, side, until, permit, out),
                Next::RingUser
                | Next::AwaitBrowser
                | Next::Connect
                | Next::Confirm
                | Next::RingDestination
                | Next::Join
                | Next::Tone(_) => self.ring_destination(now, permit, out),
            },
            Committed::Done => match next {
                Next::Connect => self.browser_connected(now, out),
                Next::Confirm => self.ask_for_confirmation(now, out),
                Next::Join => self.join(now, out),
                Next::Tone(end) => self.play_failure(now, end, out),
                // Those wait for more than that.
                Next::RingUser | Next::AwaitBrowser | Next::RingDestination | Next::RingAgain { .. } => {
                    self.begin_ending(now, End::store_unavailable(), out)
                }
            },
            refused @ (Committed::Refused(_) | Committed::Replayed(_) | Committed::Conflict { .. }) => {
                self.step_refused(now, next, end, refused, out);
            }
            Committed::Unavailable if matches!(next, Next::RingUser | Next::AwaitBrowser) => {
                self.never_was(Committed::Unavailable, out);
            }
            not @ (Committed::Spent | Committed::Unavailable) if next == Next::Connect && end.is_none() => {
                self.browser_not_connected(&not, out);
            }
            Committed::Extended | Committed::Tripped(_) | Committed::Spent | Committed::Unavailable => {
                self.begin_ending(now, end.unwrap_or_else(End::store_unavailable), out);
            }
        }
    }

    fn step_refused(
        &mut self,
        now: Timestamp,
        next: Next,
        end: Option<End>,
        refused: Committed,
        out: &mut Vec<CallAction>,
    ) {
        match (next, refused) {
            (Next::RingUser | Next::AwaitBrowser, refused) => self.never_was(refused, out),
            (_, Committed::Refused(refusal)) => {
                out.push(CallAction::Notice(Notice::LegRefused { call: self.plan.id, guardrail: refusal.guardrail() }));
                match end {
                    Some(end) => self.begin_ending(now, end, out),
                    None => self.fail(now, End::guardrail(refusal), out),
                }
            }
            (_, _) => self.begin_ending(now, end.unwrap_or_else(End::store_unavailable), out),
        }
    }

    /// Nothing was written and nothing left: there is no call.
    fn never_was(&mut self, committed: Committed, out: &mut Vec<CallAction>) {
        out.push(CallAction::Reply(Some(committed)));
        out.push(CallAction::Forget);
    }

    fn admitted(
        &mut self,
        now: Timestamp,
        permit: Option<Permit>,
        grant: Grant,
        end: Option<End>,
        out: &mut Vec<CallAction>,
    ) {
        if let Some(price) = grant.user_price {
            self.user.meter.admitted(price);
        }
        self.destination.meter.admitted(grant.destination_price);
        self.record.day = grant.day;
        out.push(CallAction::Reply(None));
        out.push(CallAction::Notice(Notice::CallAdmitted {
            call: self.plan.id,
            organization: self.plan.organization.clone(),
        }));
        if let Some(end) = end {
            return self.begin_ending(now, end, out);
        }
        // Whoever asked has had no answer for so long that a phone would ring for nobody.
        if now.since(self.record.created_at) > LATE {
            return self.begin_ending(now, End::store_unavailable(), out);
        }
        let Some(permit) = permit else { return self.await_browser(out) };
        self.stage_done(now, SetupStage::DialToUserInvite, out);
        let offer = sdp::offer(self.user.local, &OUR_CODECS);
        self.ring(now, Side::User, permit, offer, out);
        self.set_status(Status::CallingUser, out);
        self.state = State::CallingUser(Ringing { until: now + self.plan.ring_timeout });
    }

    fn ring(&mut self, now: Timestamp, side: Side, permit: Permit, offer: Description, out: &mut Vec<CallAction>) {
        let party = self.party_mut(side);
        party.invited(now, offer.clone());
        if let Some(port) = party.port {
            party.media_open = true;
            out.push(CallAction::Media(side, MediaCommand::Open { port, secret: party.secret }));
        }
        out.push(CallAction::Leg(side, LegCommand::Invite { permit, offer }));
    }

    /// Waiting for the disk: what a leg says now can only make the next step pointless.
    pub(super) fn committing_leg(&mut self, now: Timestamp, side: Side, event: LegEvent, out: &mut Vec<CallAction>) {
        let end = match event {
            LegEvent::Hangup(_) => End::hung_up(side, false),
            LegEvent::Refused { status, q850 } => End::refused(side, status, q850),
            LegEvent::Lost(loss) => End::lost(side, loss, self.record.answered_at.is_none()),
            LegEvent::Unreached(failure) => End::unreached(side, failure),
            LegEvent::Progress { .. }
            | LegEvent::Answered { .. }
            | LegEvent::Offer { .. }
            | LegEvent::LateAnswer(_)
            | LegEvent::Stray { .. }
            | LegEvent::Digit(_)
            | LegEvent::Gone => return,
        };
        self.end(now, end, out);
    }

    pub(super) fn calling_user_leg(&mut self, now: Timestamp, side: Side, event: LegEvent, out: &mut Vec<CallAction>) {
        if side == Side::Destination {
            return;
        }
        match event {
            LegEvent::Answered { early, sdp } => self.user_answered(now, early, sdp, out),
            // A's own early media is not wanted, for nobody is there to hear it; but it may be the answer.
            LegEvent::Progress { early, sdp: Some(sdp), .. } => {
                if let Some(agreed) = self.user.read_answer(Some(&sdp)) {
                    self.user.hear_early(early, &agreed);
                }
            }
            LegEvent::Refused { status, q850 } => self.end(now, End::refused(side, status, q850), out),
            LegEvent::Lost(loss) => self.end(now, End::lost(side, loss, true), out),
            LegEvent::Unreached(_) => self.try_elsewhere(side, out),
            LegEvent::Hangup(_) => self.end(now, End::hung_up(side, false), out),
            LegEvent::Progress { .. }
            | LegEvent::Offer { .. }
            | LegEvent::LateAnswer(_)
            | LegEvent::Stray { .. }
            | LegEvent::Digit(_)
            | LegEvent::Gone => {}
        }
    }

    fn user_answered(
        &mut self,
        now: Timestamp,
        early: Option<u32>,
        answer: Option<Description>,
        out: &mut Vec<CallAction>,
    ) {
        self.stage_began = now;
        let Some(agreed) = self.user.answered(early, answer.as_ref()) else {
            return self.end(now, End::no_common_codec(), out);
        };
        self.user.agreed = Some(agreed);
        self.user.meter.answered(now);
        match self.plan.confirm {
            Confirm::None => self.permit_destination(out),
            Confirm::Press1 => {
                self.set_status(Status::Confirming, out);
                self.wait_for(Next::Confirm, Step::Keep, Vec::new(), out);
            }
        }
    }

    pub(super) fn permit_destination(&mut self, out: &mut Vec<CallAction>) {
        self.set_status(Status::CallingDestination, out);
        out.push(CallAction::Prepare(Side::Destination));
        let step = Step::PermitLeg(self.leg_attempt(Side::Destination));
        self.wait_for(Next::RingDestination, step, Vec::new(), out);
    }

    /// The trunk failed before anybody rang, and another takes the number: the guardrails are asked again, for an INVITE of its
    /// own, and what is left of the time to ring goes on.
    fn try_elsewhere(&mut self, side: Side, out: &mut Vec<CallAction>) {
        let (State::CallingUser(Ringing { until }) | State::CallingDestination(Ringing { until })) = self.state else {
            return;
        };
        out.push(CallAction::Prepare(side));
        let step = Step::PermitLeg(self.leg_attempt(side));
        self.wait_for(Next::RingAgain { side, until }, step, Vec::new(), out);
    }

    fn ring_again(&mut self, now: Timestamp, side: Side, until: Timestamp, permit: Permit, out: &mut Vec<CallAction>) {
        self.state = match side {
            Side::User => State::CallingUser(Ringing { until }),
            Side::Destination => State::CallingDestination(Ringing { until }),
        };
        if until <= now {
            return match side {
                Side::User => self.user_rang_out(now, out),
                Side::Destination => self.destination_rang_out(now, out),
            };
        }
        if let Some(offer) = self.party_mut(side).invited_again() {
            out.push(CallAction::Leg(side, LegCommand::Invite { permit, offer }));
        }
    }

    pub(super) fn wait_for(&mut self, next: Next, step: Step, facts: Vec<FactKind>, out: &mut Vec<CallAction>) {
        self.commit(StepKind::Barrier, step, facts, out);
        self.state = State::Committing(Committing { next, end: None });
    }

    pub(super) fn user_rang_out(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        self.end(now, End::new(EndReason::UserNoAnswer, EndedBy::Timeout), out);
    }

    /// A's answer is durable: from here on A is never left in silence.
    fn acknowledge_user(&mut self, out: &mut Vec<CallAction>) {
        if self.user.phase != Phase::Answered {
            return;
        }
        self.user.phase = Phase::Up;
        self.user.meter.acknowledged();
        out.push(CallAction::Leg(Side::User, LegCommand::Ack));
        if let Some(agreed) = self.user.agreed.clone() {
            out.push(CallAction::Media(Side::User, MediaCommand::Remote(agreed)));
        }
    }

    fn play(&self, side: Side, source: Source, out: &mut Vec<CallAction>) {
        out.push(CallAction::Media(side, MediaCommand::Play(source)));
    }

    fn ask_for_confirmation(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        self.acknowledge_user(out);
        self.play(Side::User, Source::Prompt, out);
        self.state = State::Confirming(Confirming { until: now + self.plan.confirm_timeout, tries_left: PROMPTS - 1 });
    }

    pub(super) fn confirming_digit(&mut self, now: Timestamp, digit: char, out: &mut Vec<CallAction>) {
        if digit == '1' { self.permit_destination(out) } else { self.not_confirmed(now, out) }
    }

    /// The prompt ran out, or another key was pressed.
    pub(super) fn not_confirmed(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let State::Confirming(confirming) = &mut self.state else { return };
        if confirming.tries_left == 0 {
            return self.end(now, End::new(EndReason::NotConfirmed, EndedBy::Timeout), out);
        }
        confirming.tries_left -= 1;
        confirming.until = now + self.plan.confirm_timeout;
        self.play(Side::User, Source::Prompt, out);
    }

    pub(super) fn confirming_leg(&mut self, now: Timestamp, side: Side, event: LegEvent, out: &mut Vec<CallAction>) {
        match event {
            LegEvent::Digit(digit) if side == Side::User => self.confirming_digit(now, digit, out),
            LegEvent::Hangup(_) => self.end(now, End::hung_up(side, false), out),
            LegEvent::Refused { status, q850 } => self.end(now, End::refused(side, status, q850), out),
            LegEvent::Lost(loss) => self.end(now, End::lost(side, loss, false), out),
            LegEvent::Unreached(failure) => self.end(now, End::unreached(side, failure), out),
            LegEvent::Progress { .. }
            | LegEvent::Answered { .. }
            | LegEvent::Offer { .. }
            | LegEvent::LateAnswer(_)
            | LegEvent::Stray { .. }
            | LegEvent::Digit(_)
            | LegEvent::Gone => {}
        }
    }

    /// The permit is here and A's answer is durable: B is offered only what A accepted.
    fn ring_destination(&mut self, now: Timestamp, permit: Permit, out: &mut Vec<CallAction>) {
        self.acknowledge_user(out);
        self.play(Side::User, Source::Ringback(tone::region(self.plan.to)), out);
        self.stage_done(now, SetupStage::UserAnswerToDestinationInvite, out);
        let codecs = self.browser.as_ref().map_or_else(|| self.user.codecs(), |browser| browser.codecs().into());
        let offer = sdp::offer(self.destination.local, &codecs);
        self.ring(now, Side::Destination, permit, offer, out);
        self.tell_state(now, BrowserState::Ringing, out);
        self.state = State::CallingDestination(Ringing { until: now + self.plan.ring_timeout });
    }

    pub(super) fn calling_destination_leg(
        &mut self,
        now: Timestamp,
        side: Side,
        event: LegEvent,
        out: &mut Vec<CallAction>,
    ) {
        match (side, event) {
            (Side::Destination, LegEvent::Progress { early, sdp: Some(sdp), .. }) => {
                if let Some(agreed) = self.destination.read_answer(Some(&sdp)) {
                    self.early_media(now, early, agreed, out);
                }
            }
            (Side::Destination, LegEvent::Answered { early, sdp }) => {
                self.destination_answered(now, early, sdp, out);
            }
            (Side::Destination, LegEvent::Refused { status, q850 }) => {
                self.fail(now, End::refused(side, status, q850), out);
            }
            (Side::Destination, LegEvent::Lost(loss)) => self.fail(now, End::lost(side, loss, true), out),
            (Side::Destination, LegEvent::Unreached(_)) => self.try_elsewhere(side, out),
            (Side::Destination, LegEvent::Hangup(cause)) => {
                // BYE on an early dialog: as good as a refusal.
                self.fail(now, End::refused(side, 480, Some(cause.q850)), out);
            }
            (Side::User, LegEvent::Hangup(_)) => self.end(now, End::hung_up(side, false), out),
            (Side::User, LegEvent::Lost(loss)) => self.end(now, End::lost(side, loss, false), out),
            (
                Side::User | Side::Destination,
                LegEvent::Progress { .. }
                | LegEvent::Answered { .. }
                | LegEvent::Refused { .. }
                | LegEvent::Unreached(_)
                | LegEvent::Offer { .. }
                | LegEvent::LateAnswer(_)
                | LegEvent::Stray { .. }
                | LegEvent::Digit(_)
                | LegEvent::Gone,
            ) => {}
        }
    }

    /// Real early media replaces the ringback; with several early dialogs the last one to describe
    /// itself is heard.
    pub(super) fn early_media(&mut self, now: Timestamp, early: u32, agreed: Agreed, out: &mut Vec<CallAction>) {
        if !self.destination.hear_early(early, &agreed) {
            return;
        }
        out.push(CallAction::Media(Side::Destination, MediaCommand::Remote(agreed)));
        self.play(Side::User, Source::Peer, out);
        self.tell_state(now, BrowserState::EarlyMedia, out);
    }

    fn destination_answered(
        &mut self,
        now: Timestamp,
        early: Option<u32>,
        answer: Option<Description>,
        out: &mut Vec<CallAction>,
    ) {
        self.stage_began = now;
        let Some(agreed) = self.destination.answered(early, answer.as_ref()) else {
            return self.fail(now, End::no_common_codec(), out);
        };
        self.destination.agreed = Some(agreed);
        self.destination.meter.answered(now);
        self.record.answered_at = Some(now);
        self.set_status(Status::InProgress, out);
        self.wait_for(Next::Join, Step::Keep, vec![FactKind::CallAnswered], out);
    }

    pub(super) fn destination_rang_out(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        self.fail(now, End::new(EndReason::DestinationNoAnswer, EndedBy::Timeout), out);
    }

    fn join(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        self.destination.phase = Phase::Up;
        self.destination.meter.acknowledged();
        self.joined = true;
        out.push(CallAction::Leg(Side::Destination, LegCommand::Ack));
        if let Some(agreed) = self.destination.agreed.clone() {
            out.push(CallAction::Media(Side::Destination, MediaCommand::Remote(agreed)));
        }
        self.state = State::Bridged(Bridged { until: now + self.plan.max_duration });
        self.play_peers(out);
        self.tell_state(now, BrowserState::Answered, out);
    }

    /// B did not come to be: A hears why. An answer that is not durable yet is made so first: until then
    /// it is neither acknowledged nor taken down.
    fn fail(&mut self, now: Timestamp, end: End, out: &mut Vec<CallAction>) {
        if self.destination.phase == Phase::Ringing {
            self.destination.stop_ringing(now);
            out.push(CallAction::Leg(Side::Destination, LegCommand::End(Cause::of(end.reason))));
        }
        if self.user.phase == Phase::Answered || self.destination.phase == Phase::Answered {
            self.wait_for(Next::Tone(end), Step::Keep, Vec::new(), out);
        } else {
            self.play_failure(now, end, out);
        }
    }

    fn play_failure(&mut self, now: Timestamp, end: End, out: &mut Vec<CallAction>) {
        if self.destination.phase == Phase::Answered {
            self.destination.phase = Phase::Up;
            out.push(CallAction::Leg(Side::Destination, LegCommand::End(Cause::of(end.reason))));
        }
        self.acknowledge_user(out);
        if self.user.phase != Phase::Up {
            return self.begin_ending(now, end, out);
        }
        self.play(Side::User, tone::failure(end.reason, self.plan.to), out);
        self.state = State::Failing(Failing { until: now + self.plan.failure_tone, end });
    }

    pub(super) fn failing_leg(&mut self, now: Timestamp, side: Side, event: LegEvent, out: &mut Vec<CallAction>) {
        let State::Failing(failing) = &self.state else { return };
        let end = failing.end;
        match (side, event) {
            (Side::User, LegEvent::Hangup(_) | LegEvent::Lost(_)) => self.begin_ending(now, end, out),
            (
                Side::User | Side::Destination,
                LegEvent::Progress { .. }
                | LegEvent::Answered { .. }
                | LegEvent::Refused { .. }
                | LegEvent::Unreached(_)
                | LegEvent::Offer { .. }
                | LegEvent::LateAnswer(_)
                | LegEvent::Stray { .. }
                | LegEvent::Digit(_)
                | LegEvent::Hangup(_)
                | LegEvent::Lost(_)
                | LegEvent::Gone,
            ) => {}
        }
    }
}
