//! The attempts at one leg: the INVITE that counts, and those before it that reached nobody (RFC 3263 §4.3).
//!
//! ```text
//! attempt 0 ── 503, no way there, or silence ──▶ kept: a late 180 is cancelled, a late 200 is a stray
//! attempt 1 ── … ──▶ kept
//! attempt 2 ── counts: its events are the leg's
//! ```
//!
//! Each is a [`Leg`] of its own, with a secret of its own, so that nothing of one attempt tells of another. To the call
//! they are one leg.

use std::sync::Arc;

use smallvec::SmallVec;

use super::EndpointAction;
use super::guard::Party;
use super::leg::{Context, Known, Leg, LegSnapshot};
use super::route::{Tried, tried_of};
use crate::config::Trunk;
use crate::leg::{LegCommand, LegEvent};
use crate::model::Timestamp;

/// A number is asked of so many trunks at most: with a patience of seconds for each, its caller waits no longer.
pub const MAX_ATTEMPTS: usize = 4;

#[derive(Debug)]
pub struct Attempts {
    /// The last counts.
    legs: SmallVec<[Leg; 1]>,
    /// Whose each stray is that was reported, in order.
    strays: Vec<usize>,
    /// As it stands in the table of deadlines.
    pub deadline: Option<Timestamp>,
    /// The last attempt takes its trunk's room.
    pub on_trunk: bool,
    /// What the guard looks for, and what the legs knew when that was prepared.
    party: Option<(Vec<Known>, Arc<Party>)>,
}

impl Attempts {
    pub fn new(leg: Leg) -> Self {
        Self { legs: SmallVec::from_iter([leg]), strays: Vec::new(), deadline: None, on_trunk: false, party: None }
    }

    /// As a snapshot has them, the last one last.
    pub fn restored(legs: impl IntoIterator<Item = Leg>) -> Option<Self> {
        let mut legs = legs.into_iter();
        let mut attempts = Self::new(legs.next()?);
        legs.for_each(|leg| attempts.legs.push(leg));
        let strays = |(index, leg): (usize, &Leg)| std::iter::repeat_n(index, leg.strays() as usize);
        attempts.strays = attempts.legs.iter().enumerate().flat_map(strays).collect();
        Some(attempts)
    }

    /// A further one, which counts from now on.
    pub fn add(&mut self, leg: Leg) {
        self.legs.push(leg);
    }

    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// The one that counts.
    pub fn last(&self) -> &Leg {
        &self.legs[self.legs.len() - 1]
    }

    pub fn last_mut(&mut self) -> &mut Leg {
        let last = self.legs.len() - 1;
        &mut self.legs[last]
    }

    pub fn trunk(&self) -> &Arc<Trunk> {
        &self.last().facts().trunk
    }

    /// The trunks that were asked, each at its address.
    pub fn tried(&self) -> SmallVec<[Tried<'_>; MAX_ATTEMPTS]> {
        self.legs.iter().map(|leg| tried_of(&leg.facts().trunk)).collect()
    }

    pub fn may_go_on(&self) -> bool {
        self.legs.len() < MAX_ATTEMPTS
    }

    pub fn is_over(&self) -> bool {
        self.legs.iter().all(Leg::is_over)
    }

    pub fn has_pending_end(&self) -> bool {
        self.legs.iter().any(Leg::has_pending_end)
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.legs.iter().filter_map(Leg::next_timeout).min()
    }

    pub fn snapshot(&self) -> LegSnapshot {
        let (last, former) = self.legs.split_last().expect("there is one at least");
        last.snapshot().after(former.iter().map(Leg::snapshot).collect())
    }

    pub fn command(&mut self, command: LegCommand, cx: &mut Context<'_>) {
        match command {
            LegCommand::TakeDown { known } => {
                let known = self.strays.len().min(usize::try_from(known).unwrap_or(usize::MAX));
                for (index, leg) in self.legs.iter_mut().enumerate() {
                    let known = self.strays[..known].iter().filter(|of| **of == index).count() as u32;
                    leg.command(LegCommand::TakeDown { known }, cx);
                }
            }
            LegCommand::End(cause) => self.all(cx, |leg, cx| leg.command(LegCommand::End(cause), cx)),
            LegCommand::Invite { .. } | LegCommand::Ack | LegCommand::Answer(_) | LegCommand::RefuseOffer => {
                self.last_mut().command(command, cx);
            }
        }
    }

    /// Lets one of them act, and tells what it means for the leg: of a former attempt, its strays alone.
    pub fn act(&mut self, index: usize, cx: &mut Context<'_>, act: impl FnOnce(&mut Leg, &mut Context<'_>)) {
        let Some(leg) = self.legs.get_mut(index) else { return };
        let from = cx.out.len();
        act(leg, cx);
        self.translate(index, from, cx.out);
    }

    pub fn all(&mut self, cx: &mut Context<'_>, mut act: impl FnMut(&mut Leg, &mut Context<'_>)) {
        for index in 0..self.legs.len() {
            self.act(index, cx, &mut act);
        }
    }

    fn translate(&mut self, index: usize, from: usize, out: &mut Vec<EndpointAction>) {
        let counts = index + 1 == self.legs.len();
        let mut at = from;
        while at < out.len() {
            let EndpointAction::Leg(_, event) = &mut out[at] else {
                at += 1;
                continue;
            };
            match event {
                LegEvent::Stray { known } => {
                    let before = self.strays.iter().filter(|of| **of == index).count();
                    self.strays.extend(std::iter::repeat_n(index, (*known as usize).saturating_sub(before)));
                    *known = self.strays.len() as u32;
                    at += 1;
                }
                _ if counts => at += 1,
                _ => _ = out.remove(at),
            }
        }
    }

    /// What the guard must not find in a request of the other leg.
    pub fn party(&mut self, public: &[String]) -> Arc<Party> {
        if let Some((known, party)) = &self.party
            && known.len() == self.legs.len()
            && known.iter().zip(&self.legs).all(|(known, leg)| known.is_of(leg))
        {
            return Arc::clone(party);
        }
        let known: Vec<_> = self.legs.iter().map(Known::of).collect();
        let strings = known.iter().flat_map(|known| known.strings(public));
        let party = Arc::new(Party::with_told(strings, known.iter().flat_map(Known::told)));
        self.party = Some((known, Arc::clone(&party)));
        party
    }

    pub fn forget_party(&mut self) {
        self.party = None;
    }
}
