//! Both are joined.

use super::state::{End, State};
use super::{Call, CallAction};
use crate::events::SetupStage;
use crate::leg::LegEvent;
use crate::media::{MediaCommand, Source};
use crate::model::{EndReason, EndedBy, Side, Timestamp};

impl Call {
    pub(super) fn bridged_leg(&mut self, now: Timestamp, side: Side, event: LegEvent, out: &mut Vec<CallAction>) {
        match event {
            LegEvent::Hangup(cause) => self.end(now, End { q850: Some(cause.q850), ..End::hung_up(side, true) }, out),
            LegEvent::Lost(loss) => self.end(now, End::lost(side, loss, false), out),
            LegEvent::Refused { status, q850 } => self.end(now, End::refused(side, status, q850), out),
            LegEvent::Progress { .. }
            | LegEvent::Answered { .. }
            | LegEvent::Offer { .. }
            | LegEvent::LateAnswer(_)
            | LegEvent::Stray { .. }
            | LegEvent::Digit(_)
            | LegEvent::Unreached(_)
            | LegEvent::Gone => {}
        }
    }

    /// Each hears the other, unless one of them is on hold.
    pub(super) fn play_peers(&self, out: &mut Vec<CallAction>) {
        for side in Side::BOTH {
            let source = if self.party(side.other()).is_on_hold() { Source::Hold } else { Source::Peer };
            out.push(CallAction::Media(side, MediaCommand::Play(source)));
        }
    }

    pub(super) fn audio_flows(&mut self, now: Timestamp, side: Side, out: &mut Vec<CallAction>) {
        let before = self.heard;
        self.heard[side as usize] = true;
        if let State::Bridged(_) = self.state
            && self.heard == [true; 2]
            && before != self.heard
        {
            self.stage_done(now, SetupStage::DestinationAnswerToAudio, out);
        }
    }

    /// Only of a joined call: before that, one side has nobody to talk to.
    /// A browser that was lost has its own time to come back.
    pub(super) fn silent(&mut self, now: Timestamp, side: Side, out: &mut Vec<CallAction>) {
        let away = side == Side::User && self.browser.as_ref().is_some_and(|browser| !browser.is_up());
        if let (State::Bridged(_), false) = (&self.state, away) {
            self.end(now, End::new(EndReason::MediaTimeout, EndedBy::Timeout), out);
        }
    }
}
