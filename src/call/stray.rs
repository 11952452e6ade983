//! Answers that nobody wants: of a second fork, or crossing a CANCEL.
//!
//! An acknowledged dialog that no snapshot knows would survive a crash at the phone and nowhere else. So a
//! stray answer becomes durable first, and is acknowledged and ended afterwards; until then its phone
//! repeats it, which also asks again for what could not be committed.

use super::state::State;
use super::{Call, CallAction, StepKind};
use crate::leg::LegCommand;
use crate::model::Side;
use crate::store::{Committed, Step};

impl Call {
    pub(super) fn stray(&mut self, side: Side, known: u32, out: &mut Vec<CallAction>) {
        // While the settlement is on its way, a snapshot beside it could be taken for a settled one.
        let settling = matches!(&self.state, State::Ending(ending) if !ending.is_settled());
        let party = self.party_mut(side);
        if settling || party.strays.is_some() {
            return;
        }
        party.strays = Some(known);
        self.commit(StepKind::TakeDown(side), Step::Keep, Vec::new(), out);
    }

    pub(super) fn strays_durable(&mut self, side: Side, committed: &Committed, out: &mut Vec<CallAction>) {
        let strays = self.party_mut(side).strays.take();
        if let (Committed::Done, Some(known)) = (committed, strays) {
            out.push(CallAction::Leg(side, LegCommand::TakeDown { known }));
        }
    }
}
