//! A party changes its own session: re-INVITE and UPDATE are answered by us alone (RFC 3264 §8).
//!
//! An address change, hold and resume move only that leg's media; the other party hears silence or the
//! hold tone, and nothing of the description crosses.

use super::state::State;
use super::{Call, CallAction};
use crate::leg::LegCommand;
use crate::media::MediaCommand;
use crate::model::{Side, Timestamp};
use crate::sdp::{self, Agreed, Codec, Description};

/// What we speak, in the order in which we offer it.
pub(super) const OUR_CODECS: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent];

impl Call {
    pub(super) fn peer_offers(
        &mut self,
        now: Timestamp,
        side: Side,
        early: Option<u32>,
        offer: Option<Description>,
        out: &mut Vec<CallAction>,
    ) {
        if let State::Ending(_) = self.state {
            return out.push(CallAction::Leg(side, LegCommand::RefuseOffer));
        }
        let party = self.party_mut(side);
        let Some(offer) = offer else {
            // RFC 3261 §14.2: asked for an offer, we offer what we already have.
            let codecs = party.codecs();
            party.local.version += 1;
            let description = sdp::offer(party.local, &codecs);
            party.offered = Some(Box::new(description.clone()));
            return out.push(CallAction::Leg(side, LegCommand::Answer(description)));
        };
        let mut local = party.local;
        local.version += 1;
        match sdp::answer_offer(&offer, local, &OUR_CODECS) {
            Err(_) => out.push(CallAction::Leg(side, LegCommand::RefuseOffer)),
            Ok((answer, agreed)) => {
                party.local = local;
                out.push(CallAction::Leg(side, LegCommand::Answer(answer.clone())));
                if let Some(early) = early {
                    return self.early_change(now, side, early, agreed, out);
                }
                party.offered = Some(Box::new(answer));
                party.agreed = Some(agreed.clone());
                out.push(CallAction::Media(side, MediaCommand::Remote(agreed)));
                self.replay(out);
            }
        }
    }

    pub(super) fn peer_answers_late(&mut self, side: Side, answer: &Description, out: &mut Vec<CallAction>) {
        let Some(agreed) = self.party(side).read_answer(Some(answer)) else { return };
        self.party_mut(side).agreed = Some(agreed.clone());
        out.push(CallAction::Media(side, MediaCommand::Remote(agreed)));
        self.replay(out);
    }

    /// A party that rings still (RFC 3311 §5.1). Other forks still answer what the INVITE has offered.
    fn early_change(&mut self, now: Timestamp, side: Side, early: u32, agreed: Agreed, out: &mut Vec<CallAction>) {
        match (side, &self.state) {
            (Side::Destination, State::CallingDestination(_)) => self.early_media(now, early, agreed, out),
            (Side::User | Side::Destination, _) => {
                self.party_mut(side).hear_early(early, &agreed);
            }
        }
    }

    /// What each hears follows who is on hold, once they are joined.
    fn replay(&self, out: &mut Vec<CallAction>) {
        if let State::Bridged(_) = self.state {
            self.play_peers(out);
        }
    }
}
