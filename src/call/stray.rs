//! Answers that nobody wants: of a second fork, or crossing a CANCEL.
//!
//! An acknowledged dialog that no snapshot knows would survive a crash at the phone and nowhere else. So a
//! stray answer becomes durable first, and is acknowledged and ended afterwards. What could not be committed
//! is asked for again when its phone repeats the answer.

use super::{Call, CallAction, StepKind};
use crate::leg::LegCommand;
use crate::model::Side;
use crate::store::{Committed, Step};

impl Call {
    pub(super) fn stray(&mut self, side: Side, known: u32, out: &mut Vec<CallAction>) {
        self.party_mut(side).strays.reported = Some(known);
        self.keep_strays(side, out);
    }

    /// One commit at a time, and none while the settlement is on its way: behind it, a snapshot that does not know
    /// of it yet would be settled again. None either while a step is: see [`Call::is_stepping`].
    pub(super) fn keep_strays(&mut self, side: Side, out: &mut Vec<CallAction>) {
        let busy = self.is_settling() || self.is_stepping();
        let strays = &mut self.party_mut(side).strays;
        if busy || strays.committing.is_some() {
            return;
        }
        strays.committing = strays.reported.take();
        if strays.committing.is_some() {
            self.commit(StepKind::TakeDown(side), Step::Keep, Vec::new(), out);
        }
    }

    pub(super) fn strays_durable(&mut self, side: Side, committed: &Committed, out: &mut Vec<CallAction>) {
        let strays = &mut self.party_mut(side).strays;
        let durable = strays.committing.take().filter(|_| *committed == Committed::Done);
        // Meanwhile the same ones may have been reported again.
        strays.reported = strays.reported.filter(|reported| durable.is_some_and(|known| *reported > known));
        if let Some(known) = durable {
            out.push(CallAction::Leg(side, LegCommand::TakeDown { known }));
            self.keep_strays(side, out);
        }
    }
}
