//! What leaves for the phones: permits, the commit barrier, masking, fresh identifiers per leg.

use std::collections::{BTreeMap, BTreeSet};

use revbridge::model::{CallId, CommitId, LegId, Side};
use rsip::Method;
use rsip::prelude::*;

use super::{Check, Checks, masking};
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
    /// Commits that left the switch and are not durable yet.
    in_flight: BTreeMap<CallId, BTreeSet<CommitId>>,
    /// Requests that left before, by Call-ID, branch and method: the same again is a retransmission.
    sent: BTreeSet<(String, String, &'static str)>,
    /// The To tag of the first 2xx that reached the switch for each Call-ID: the dialog that counts.
    main: BTreeMap<String, String>,
    /// Dialogs for which a BYE left, by Call-ID and To tag.
    byes: BTreeSet<(String, String)>,
    /// Call-IDs whose phone hung up: an ACK to it has nothing to bill any more.
    hung_up: BTreeSet<String>,
    /// The last CSeq number of each Call-ID.
    cseqs: BTreeMap<String, u32>,
    pub invites: u64,
}

impl Wire {
    /// A step that allows something is on its way; a settlement allows nothing.
    pub fn committing(&mut self, call: CallId, id: CommitId) {
        self.in_flight.entry(call).or_default().insert(id);
    }

    pub fn durable(&mut self, call: CallId, id: CommitId) {
        if let Some(ids) = self.in_flight.get_mut(&call) {
            ids.remove(&id);
        }
    }

    pub fn crashed(&mut self) {
        self.in_flight.clear();
    }

    /// A 2xx or a BYE reaches the switch.
    pub fn heard(&mut self, message: &Incoming) {
        match (message.request(), &message.to_tag) {
            (Some(_), _) => {
                self.hung_up.insert(message.call_id.clone());
            }
            (None, Some(tag)) if message.method == Method::Invite => {
                self.main.entry(message.call_id.clone()).or_insert_with(|| tag.clone());
            }
            (None, _) => {}
        }
    }

    pub fn grant(&mut self, granted: Granted) {
        self.granted.push(granted);
    }

    pub fn said_bye(&self, call_id: &str, tag: &str) -> bool {
        self.byes.contains(&(call_id.to_owned(), tag.to_owned()))
    }

    pub fn waits(&self, call: CallId) -> bool {
        self.in_flight.get(&call).is_some_and(|ids| !ids.is_empty())
    }
}

impl Checks {
    /// A message that leaves for `side`'s phones.
    pub fn on_sent(&mut self, side: Side, message: &Incoming, bytes: &[u8]) {
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
        if let (Method::Bye, Some(tag)) = (request.method, &message.to_tag) {
            self.wire.byes.insert((message.call_id.clone(), tag.clone()));
        }
        let first = self.wire.sent.insert((message.call_id.clone(), message.branch.clone(), name(request.method)));
        let leg = self.wire.legs.get(&message.call_id).copied();
        let ends_stray = message.to_tag.is_some() && self.wire.main.get(&message.call_id) != message.to_tag.as_ref();
        if first && !matches!(request.method, Method::Ack | Method::Cancel) {
            self.on_cseq(message);
        }
        let over = self.wire.hung_up.contains(&message.call_id);
        let allows_nothing = request.method == Method::Ack && (over || ends_stray || self.is_ack_of_refusal(message));
        match leg {
            // After a restart nobody knows whether the INVITE left; it was allowed to.
            None if request.method == Method::Cancel && self.was_permitted(side, request) => {}
            None => self.fail(Check::Permit, format!("{} of no leg", message.summary())),
            // What ends a leg allows nothing, so it waits for nothing.
            Some(_) if matches!(request.method, Method::Bye | Method::Cancel) => {}
            Some(leg) if first && !allows_nothing && self.wire.waits(leg.call) => {
                self.fail(Check::Barrier, format!("{} of {leg:?} before its commit is durable", message.summary()));
            }
            Some(_) => {}
        }
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
        }
        let used = self.wire.legs.values().filter(|l| **l == leg).count();
        self.unless(used <= permits, Check::Permit, || format!("{leg:?} used {used} permits of {permits}"));
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
