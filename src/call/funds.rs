//! Reserving ahead for a call that goes on, and its hard stop when nothing more can be reserved.

use super::meter::Meter;
use super::party::Party;
use super::state::{End, State};
use super::{Call, CallAction, StepKind};
use crate::events::Notice;
use crate::media::{MediaCommand, Source};
use crate::model::{EndReason, EndedBy, Money, Side, Timestamp};
use crate::store::{Committed, Step};

impl Call {
    /// Ends the call at the end of what is paid.
    pub(super) fn meter_timeout(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        if matches!(self.state, State::Ending(_)) {
            return;
        }
        if let Some(side) = Side::BOTH.into_iter().find(|side| self.party(*side).is_spent(now)) {
            let reason = if self.party(side).meter.last { EndReason::SpendLimit } else { EndReason::StoreUnavailable };
            self.end(now, End::new(reason, EndedBy::Guardrail), out);
        }
    }

    /// Reserves ahead for the legs that need it: last of all that a timeout does, because a call that it ends needs
    /// nothing more, and its settlement is to be the last commit that asks for money.
    pub(super) fn reserve_ahead(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        if self.extending || self.is_stepping() || matches!(self.state, State::Ending(_)) {
            return;
        }
        let asked: Vec<Money> = Side::BOTH.into_iter().filter_map(|side| self.party_mut(side).ask(now)).collect();
        if !asked.is_empty() {
            self.extending = true;
            self.commit(StepKind::Extend, Step::Extend { amount: asked.into_iter().sum() }, Vec::new(), out);
        }
    }

    pub(super) fn extended(&mut self, now: Timestamp, committed: Committed, out: &mut Vec<CallAction>) {
        self.extending = false;
        match committed {
            Committed::Extended => self.meters(Meter::granted),
            Committed::Refused(refusal) => {
                self.meters(Meter::refused);
                out.push(CallAction::Notice(Notice::LegRefused { call: self.plan.id, guardrail: refusal.guardrail() }));
                if let State::Bridged(_) = self.state {
                    out.push(CallAction::Media(Side::User, MediaCommand::Play(Source::Warning)));
                }
            }
            Committed::Done
            | Committed::Admitted { .. }
            | Committed::Permitted(_)
            | Committed::Replayed(_)
            | Committed::Conflict { .. }
            | Committed::Spent
            | Committed::Tripped(_)
            | Committed::Unavailable => self.meters(|meter| meter.unavailable(now)),
        }
    }

    fn meters(&mut self, change: impl Fn(&mut Meter)) {
        change(&mut self.user.meter);
        change(&mut self.destination.meter);
    }
}

impl Party {
    fn is_spent(&self, now: Timestamp) -> bool {
        self.is_live() && self.meter.is_spent(now)
    }

    fn ask(&mut self, now: Timestamp) -> Option<Money> {
        if self.is_live() { self.meter.ask(now) } else { None }
    }
}
