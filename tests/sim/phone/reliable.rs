//! Reliable provisional responses of a phone, and what it asks before it answers (RFC 3262, RFC 3311).

use std::time::Duration;

use rsip::prelude::*;
use rsip::{Header, Method, Request};

use super::message::{Incoming, response};
use super::plan::Act;
use super::{Effects, PATIENCE, Phone, T1, Timer};

/// A response that is sent again until its PRACK comes.
#[derive(Debug, Clone, Default)]
pub struct Reliable {
    /// RSeq of the last one; 0 before the first.
    rseq: u32,
    text: String,
    described: bool,
    acknowledged: bool,
    /// The server has acknowledged a description: our answer to its offer.
    pub answered: bool,
}

impl Reliable {
    fn is_open(&self) -> bool {
        self.rseq > 0 && !self.acknowledged
    }

    /// RFC 3262 §3: no 2xx while a description waits for its PRACK.
    pub fn holds_back(&self) -> bool {
        self.is_open() && self.described
    }
}

impl Phone {
    /// A provisional response in this fork, reliable where that was agreed; one at a time. `again`: what to try later, of a
    /// response that may not be left out.
    pub(super) fn say_provisional(
        &mut self,
        status: u16,
        fork: usize,
        sdp: Option<&str>,
        again: Option<Timer>,
        fx: &mut Effects,
    ) {
        let (mut extra, tag) = (self.confessions(), self.dialogs[fork].tag.clone());
        if !self.plan.reliable || !self.supports("100rel") {
            return self.respond(response(&self.invite, status, Some(&tag), &extra, sdp), fx);
        }
        if self.dialogs[fork].reliable.is_open() {
            again.into_iter().for_each(|again| fx.after(T1, again));
            return;
        }
        let rseq = match self.dialogs[fork].reliable.rseq {
            0 => 1 + self.rng.below(1_000_000) as u32,
            last => last + 1,
        };
        extra.push(Header::Require("100rel".into()));
        extra.push(Header::Other("RSeq".into(), rseq.to_string()));
        let text = response(&self.invite, status, Some(&tag), &extra, sdp);
        let answered = self.dialogs[fork].reliable.answered;
        self.dialogs[fork].reliable =
            Reliable { rseq, text: text.clone(), described: sdp.is_some(), acknowledged: false, answered };
        self.respond(text, fx);
        fx.after(T1, Timer::ResendReliable { fork, rseq, waited: T1, wait: T1 });
    }

    pub(super) fn supports(&self, option: &str) -> bool {
        self.invite.headers.iter().any(|h| matches!(h, Header::Supported(s) if s.value().contains(option)))
    }

    pub(super) fn resend_reliable(
        &mut self,
        fork: usize,
        rseq: u32,
        waited: Duration,
        wait: Duration,
        fx: &mut Effects,
    ) {
        let reliable = &self.dialogs[fork].reliable;
        if !self.is_ringing() || reliable.rseq != rseq || reliable.acknowledged {
            return;
        }
        if waited > 8 * T1 && fx.clean {
            fx.fault(format!("a reliable response was sent again for {waited:?} and nobody acknowledged it"));
        }
        if waited >= PATIENCE {
            // RFC 3262 §3: "the UAS SHOULD reject the original request with a 5xx".
            return self.give_up(fx);
        }
        fx.send(reliable.text.clone());
        fx.after(wait * 2, Timer::ResendReliable { fork, rseq, waited: waited + wait * 2, wait: wait * 2 });
    }

    pub(super) fn on_prack(&mut self, message: &Incoming, request: &Request, fx: &mut Effects) {
        let named = request.headers.iter().find_map(|h| match h {
            Header::Other(name, value) if name.eq_ignore_ascii_case("RAck") => Some(value.clone()),
            _ => None,
        });
        let Some(fork) = self.fork_of(message) else {
            return fx.fault("a PRACK for a dialog that this phone does not have");
        };
        let reliable = &mut self.dialogs[fork].reliable;
        let wanted = format!("{} {} INVITE", reliable.rseq, self.cseq);
        if named.as_deref() != Some(&*wanted) {
            fx.send(response(request, 481, None, &[], None));
            // An earlier one, sent again because its answer was lost.
            let earlier =
                named.and_then(|n| n.split(' ').next()?.parse::<u32>().ok()).is_some_and(|n| n < reliable.rseq);
            if !earlier {
                fx.fault("a PRACK for a response that was not sent");
            }
            return;
        }
        let first = !std::mem::replace(&mut reliable.acknowledged, true);
        reliable.answered |= reliable.described;
        let describes = first && reliable.described;
        let extra = self.confessions();
        fx.send(response(request, 200, None, &extra, None));
        if describes && self.plan.changes_early && self.is_ringing() {
            self.dialogs[fork].sdp_version += 1;
            let body = self.describe(fork, "sendrecv");
            let extra = self.confessions();
            self.request(fork, Act::EarlyUpdate, Method::Update, extra, Some(&body), fx);
        }
    }
}
