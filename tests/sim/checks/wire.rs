//! What leaves for the phones: permits, the commit barrier, masking, fresh identifiers per leg.

use std::collections::{BTreeMap, BTreeSet};

use revbridge::config::Transport;
use revbridge::model::{LegId, Side};
use rsip::Method;
use rsip::prelude::*;

use super::{Check, Checks, masking};
use crate::disk::Tables;
use crate::phone::{message, message::Incoming, sdp};

/// A permit that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub leg: LegId,
    pub to: String,
    pub shown: String,
}

#[derive(Debug, Default)]
pub struct Wire {
    granted: Vec<Granted>,
    /// Legs by the Call-ID of their INVITE.
    pub legs: BTreeMap<String, LegId>,
    /// Call-IDs, tags, session ids: on which side each was seen first.
    tokens: BTreeMap<String, Side>,
    /// Requests that left before, by Call-ID, branch and method: the same again is a retransmission.
    sent: BTreeSet<(String, String, &'static str)>,
    /// By side: whether a connection was lost.
    lost: [bool; 2],
    /// Call-IDs of which the server has heard a provisional answer, and those where it was more than 100.
    ringing: BTreeSet<String>,
    alerting: BTreeSet<String>,
    /// Told to stop, or have refused: what still comes of their ringing is late.
    quiet: BTreeSet<String>,
    /// The Call-ID of the last INVITE of each leg.
    last: BTreeMap<LegId, String>,
    /// The last CSeq number of each Call-ID.
    cseqs: BTreeMap<String, u32>,
    pub invites: u64,
}

impl Wire {
    /// The server hears that a connection to this side is no more.
    pub fn connection_lost(&mut self, side: Side) {
        self.lost[side as usize] = true;
    }

    /// A provisional answer reaches the switch.
    pub fn rings(&mut self, call_id: String, alerts: bool) {
        if alerts && !self.quiet.contains(&call_id) {
            self.alerting.insert(call_id.clone());
        }
        self.ringing.insert(call_id);
    }

    /// A refusal reaches the switch: whatever rang has stopped.
    pub fn refuses(&mut self, call_id: String) {
        self.alerting.remove(&call_id);
        self.quiet.insert(call_id);
    }

    /// The attempt at this leg that counts.
    pub fn last_attempt(&self, leg: LegId) -> Option<&str> {
        self.last.get(&leg).map(String::as_str)
    }

    /// RFC 3261 §9.1: no CANCEL before a provisional answer, so none to a phone of which all were lost.
    pub fn may_cancel(&self, call_id: &str) -> bool {
        self.ringing.contains(call_id)
    }

    pub fn grant(&mut self, granted: Granted) {
        self.granted.push(granted);
    }
}

impl Checks {
    /// A message that leaves for `side`'s phones.
    pub fn on_sent(&mut self, side: Side, transport: Transport, message: &Incoming, bytes: &[u8], tables: &Tables) {
        if let Some(what) = masking::leak(side.other(), bytes) {
            self.fail(Check::Masking, format!("{what} of {:?} in {}", side.other(), message.summary()));
        }
        self.on_tokens(side, message);
        let Some(request) = message.request() else { return };
        if request.method == Method::Options && message.to_tag.is_none() {
            return;
        }
        if request.method == Method::Invite && message.to_tag.is_none() {
            self.on_invite(side, message, request);
        }
        let first = self.is_first(side, transport, message, request.method);
        if request.method == Method::Cancel {
            // One that was given up rang while the next one was being permitted: it is told to stop before that rings.
            self.wire.alerting.remove(&message.call_id);
            self.wire.quiet.insert(message.call_id.clone());
        }
        let leg = self.wire.legs.get(&message.call_id).copied();
        if first && !matches!(request.method, Method::Ack | Method::Cancel) {
            self.on_cseq(message);
        }
        match leg {
            // After a restart nobody knows whether the INVITE left; it was allowed to.
            None if request.method == Method::Cancel && self.was_permitted(side, request) => {}
            None => self.fail(Check::Permit, format!("{} of no leg", message.summary())),
            Some(leg) => self.on_barrier(leg, message, request.method, tables),
        }
    }

    /// Whether it leaves for the first time. Where no connection was lost nothing leaves twice on one (RFC 3261 §17.1),
    /// but for the ACK of an answer that is repeated.
    fn is_first(&mut self, side: Side, transport: Transport, message: &Incoming, method: Method) -> bool {
        let key = (message.call_id.clone(), message.branch.clone(), name(method));
        let first = self.wire.sent.insert(key);
        let needless = !first && transport.is_reliable() && method != Method::Ack && !self.wire.lost[side as usize];
        self.unless(!needless, Check::Protocol, || format!("{} again on one connection", message.summary()));
        first
    }

    fn on_invite(&mut self, side: Side, message: &Incoming, request: &rsip::Request) {
        let to = digits(&message::user(&request.uri));
        let shown = request.from_header().ok().and_then(|f| f.typed().ok()).map(|f| digits(&message::user(&f.uri)));
        let fits = |g: &&Granted| g.leg.side == side && g.to == to && Some(&g.shown) == shown.as_ref();
        let Some(granted) = self.wire.granted.iter().find(fits) else {
            return self.fail(Check::Permit, format!("an INVITE to …{} without a durable permit", tail(&to)));
        };
        let leg = granted.leg;
        let permits = self.wire.granted.iter().filter(|g| g.leg == leg).count();
        if self.wire.legs.insert(message.call_id.clone(), leg).is_none() {
            self.wire.invites += 1;
            let before = self.wire.last.insert(leg, message.call_id.clone());
            let rings = before.is_some_and(|before| self.wire.alerting.contains(&before));
            self.unless(!rings, Check::Protocol, || format!("{leg:?} is rung again, and a phone rings for it already"));
        }
        let used = self.wire.legs.values().filter(|l| **l == leg).count();
        self.unless(used <= permits, Check::Permit, || format!("{leg:?} used {used} permits of {permits}"));
    }

    /// What a dead process leaves behind at the phones must be what its tables tell the next one: the leg
    /// of each INVITE, the dialog of each acknowledged answer, wanted or not. What ends a leg may leave at
    /// any time.
    fn on_barrier(&mut self, leg: LegId, message: &Incoming, method: Method, tables: &Tables) {
        let known = match (method, &message.to_tag) {
            (Method::Invite, None) => tables.snapshot(leg.call).is_some(),
            (Method::Ack, Some(tag)) if !self.is_ack_of_refusal(message) => tables.knows(leg.call, tag),
            _ => true,
        };
        self.unless(known, Check::Barrier, || format!("{} of {leg:?} before it is durable", message.summary()));
    }

    /// RFC 3261 §12.2.1.1: it only goes up. A crash may leave gaps, and never makes it go back.
    fn on_cseq(&mut self, message: &Incoming) {
        let last = self.wire.cseqs.insert(message.call_id.clone(), message.cseq).unwrap_or_default();
        self.unless(message.cseq > last, Check::Protocol, || format!("{} after CSeq {last}", message.summary()));
    }

    fn was_permitted(&self, side: Side, request: &rsip::Request) -> bool {
        let to = digits(&message::user(&request.uri));
        self.wire.granted.iter().any(|g| g.leg.side == side && g.to == to)
    }

    /// The ACK of a refusal belongs to the INVITE's transaction (RFC 3261 §17.1.1.3): same branch.
    fn is_ack_of_refusal(&self, message: &Incoming) -> bool {
        self.wire.sent.contains(&(message.call_id.clone(), message.branch.clone(), name(Method::Invite)))
    }

    /// Fresh identifiers per leg: what was seen on one side is never seen on the other.
    fn on_tokens(&mut self, side: Side, message: &Incoming) {
        let mut tokens = vec![message.call_id.clone(), message.from_tag.clone(), message.branch.clone()];
        tokens.extend(sdp::read(message.body()).map(|heard| heard.session_id));
        for token in tokens {
            let first = *self.wire.tokens.entry(token).or_insert(side);
            if first != side {
                self.fail(Check::Masking, format!("{} uses an identifier of the other leg", message.summary()));
            }
        }
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Invite => "INVITE",
        Method::Ack => "ACK",
        Method::Bye => "BYE",
        Method::Cancel => "CANCEL",
        _ => "other",
    }
}

fn digits(user: &str) -> String {
    user.trim_start_matches('+').to_owned()
}

fn tail(number: &str) -> &str {
    &number[number.len().saturating_sub(2)..]
}
