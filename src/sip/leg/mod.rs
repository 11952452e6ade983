//! One SIP leg: the dialogs with one party of a call, and every transaction in them.
//!
//! ```text
//!              Invite            2xx                Ack
//! Prepared ────────────▶ Calling ─────▶ Answered ─────────▶ Confirmed
//!     │                   │   │          │    │              │    │
//!     │              End  │   │ 3-6xx,   │    │ BYE          │    │ BYE, no ACK
//!     │                   ▼   │ timer B  ▼    │          End │    │
//!     │ End            Ending ◀──────── End ◀─┼──────────────┘    │
//!     │                   │   ▼               ▼                   ▼
//!     └──────────────▶ Over ◀─────────────────────────────────────┘
//! ```
//!
//! - `Calling`: an INVITE is out. A 401 or 407 is answered here with a further INVITE, the same attempt.
//! - `Answered`: a 2xx came; it is acknowledged when the call says so, since the answer must be durable.
//! - `Ending`: CANCEL or BYE is out, or waits for the provisional response that allows the CANCEL.
//! - `Over`: the leg has ended. A 2xx that comes now, or of another fork in any phase, is a stray: it is
//!   reported, and acknowledged and ended on the call's word, for as long as the leg is kept.
//!
//! Everything a leg needs it can rebuild from its [`Facts`]: ACK and CANCEL are not stored, their
//! branches and tags derive from the secret.
//!
//! Deliberately absent: the other leg, and any way to carry a received string to it.

mod challenge;
mod compose;
mod dialog;
mod early;
mod inbound;
mod known;
mod offer;
mod refresh;
mod snapshot;
mod uac;
mod uas;
mod way;

pub use compose::{ALLOW, Branch, Over, TrunkHost};
pub use inbound::Packet;
pub use known::Known;
pub use snapshot::LegSnapshot;
pub use uas::unsupported;
pub use way::{Detour, Way};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use self::dialog::Dialog;
use self::early::{Early, RAck};
use self::inbound::Inbound;
use self::known::Peer;
use self::offer::{PeerOffer, Unacknowledged};
use self::refresh::Reinvite;
use super::ident::Token;
use super::identity::Signer;
use super::nonces::{Authorization, Nonces};
use super::session_timer::SessionTimer;
use super::status;
use super::transaction::{Client, InviteClient};
use super::{EndpointAction, Flow};
use crate::config::Trunk;
use crate::events::{NoiseKind, Notice};
use crate::guardrails::OwnedNumber;
use crate::leg::{Cause, LINGER, LegCommand, LegEvent, Loss};
use crate::model::{E164, LegId, Secret, Timestamp};

/// Early dialogs that one INVITE may open. A proxy that forks wider is not heard beyond.
const MAX_FORKS: usize = 64;

/// What a leg is, fixed when it is made.
#[derive(Debug, Clone)]
pub struct Facts {
    pub id: LegId,
    pub secret: Secret,
    pub trunk: Arc<Trunk>,
    /// Every message of the leg takes this way, whatever Contact or Record-Route say: a peer names
    /// URIs, never addresses that we send to (hostile.md). And nothing is heard that comes another way.
    pub flow: Flow,
    /// For requests that are too long for it.
    pub detour: Option<Detour>,
    /// Our address as the INVITE named it, in its Via and From. CANCEL repeats it (RFC 3261 §9.1), also from
    /// another node.
    pub advertised: SocketAddr,
    /// Our address for Via of every later request, and for Contact: the same, unless another node has taken
    /// the leg over.
    pub sent_by: SocketAddr,
    pub to: E164,
    pub shown: E164,
    pub call_id: Token,
    pub local_tag: Token,
}

impl Facts {
    pub fn new(
        id: LegId,
        secret: Secret,
        trunk: Arc<Trunk>,
        local: SocketAddr,
        advertised: SocketAddr,
        to: E164,
        shown: E164,
    ) -> Self {
        let flow = Flow { transport: trunk.transport, local, remote: trunk.target };
        let detour = None;
        let call_id = Token::derive(secret, "call-id", &[]);
        let local_tag = Token::derive(secret, "tag", &[]);
        Self { id, secret, trunk, flow, detour, advertised, sent_by: advertised, to, shown, call_id, local_tag }
    }
}

/// What a leg is handed with every event.
#[derive(Debug)]
pub struct Context<'a> {
    pub now: Timestamp,
    /// `User-Agent` and `Server`.
    pub product: &'a str,
    pub signer: Option<&'a Signer>,
    pub out: &'a mut Vec<EndpointAction>,
}

impl Context<'_> {
    pub fn noise(&mut self, kind: NoiseKind) {
        self.out.push(EndpointAction::Notice(Notice::Noise { kind }));
    }
}

#[derive(Debug)]
pub struct Leg {
    facts: Facts,
    phase: Phase,
    /// As the permit of its INVITE proved it: what a signature needs.
    owned: Option<OwnedNumber>,
    /// The challenges that it answers: at most one of a proxy, and one of the peer.
    nonces: Nonces,
    /// The last CSeq number used.
    cseq: u32,
    /// More than one when a challenge was answered; the last is the one that counts.
    invites: SmallVec<[Invite; 1]>,
    /// Our last description as sent: a further INVITE repeats it, and a re-INVITE that only refreshes the session.
    said: Bytes,
    /// Early dialogs in order of appearance.
    early: Vec<Early>,
    /// The dialog of the first 2xx.
    dialog: Option<Dialog>,
    /// Dialogs of other 2xx: acknowledged and ended when the call says so, and kept to acknowledge again.
    strays: Vec<Dialog>,
    /// All but INVITEs.
    requests: Vec<Request>,
    /// Our own re-INVITE, until its answer is no longer repeated.
    reinvite: Option<Box<Reinvite>>,
    timer: Option<SessionTimer>,
    /// What a peer has refused our session interval for being less than (RFC 4028 §6).
    min_se: Option<u32>,
    inbound: Vec<Inbound>,
    /// Boxed, since few legs ever have one.
    peer_offer: Option<Box<PeerOffer>>,
    unacknowledged: Option<Unacknowledged>,
    /// [`LegEvent::Gone`] was reported.
    gone: bool,
    /// How long the first INVITE waits for a sign of life, where another trunk could be asked; and until when.
    patience: Option<Duration>,
    silent_until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Prepared,
    Calling,
    Answered,
    Confirmed,
    Ending { give_up: Timestamp, cause: Cause },
    Over,
}

/// One INVITE that left, or may have left before a restart.
#[derive(Debug)]
struct Invite {
    cseq: u32,
    branch: Token,
    way: Way,
    transaction: InviteClient,
    /// While it may have to be sent again.
    bytes: Bytes,
    cancelled: bool,
    /// Its connection was lost after it was sent: nobody knows whether it arrived.
    doubtful: bool,
    /// Timer B has fired, or a CANCEL found no such INVITE: nobody had it yet.
    given_up: bool,
    /// RFC 3261 §22.1: the ACK repeats it.
    authorization: Vec<Authorization>,
}

/// A request other than INVITE.
#[derive(Debug)]
struct Request {
    cseq: u32,
    branch: Token,
    way: Way,
    transaction: Client,
    bytes: Bytes,
    kind: RequestKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    Cancel,
    /// `challenges`: how many of the peer's challenges this BYE answers already.
    Bye {
        dialog: Which,
        cause: Cause,
        challenges: u8,
    },
    Prack {
        early: usize,
        rack: RAck,
        challenges: u8,
    },
    /// Without a description: a refresh of the session.
    Update {
        challenges: u8,
    },
}

/// Which of a leg's dialogs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Main,
    Stray(usize),
    Early(usize),
}

impl Leg {
    pub fn new(facts: Facts) -> Self {
        Self {
            facts,
            phase: Phase::Prepared,
            owned: None,
            nonces: Nonces::default(),
            cseq: 0,
            invites: SmallVec::new(),
            said: Bytes::new(),
            early: Vec::new(),
            dialog: None,
            strays: vec![],
            requests: vec![],
            reinvite: None,
            timer: None,
            min_se: None,
            inbound: vec![],
            peer_offer: None,
            unacknowledged: None,
            gone: false,
            patience: None,
            silent_until: None,
        }
    }

    /// Another trunk could be asked if this one says nothing.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// The patience with its silent peer is at an end.
    pub fn is_impatient(&self, now: Timestamp) -> bool {
        self.silent_until.is_some_and(|until| until <= now)
    }

    /// No other trunk could be asked after all: it waits as long as its transaction does.
    pub fn bear_silence(&mut self) {
        self.silent_until = None;
    }

    /// No response above 100 but the last has come, so nobody rings because of it.
    pub fn reached_nobody(&self) -> bool {
        self.early.is_empty() && self.dialog.is_none()
    }

    /// How many unwanted dialogs it has.
    pub fn strays(&self) -> u32 {
        u32::try_from(self.strays.len()).unwrap_or(u32::MAX)
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// A CANCEL or a BYE is sent again until the peer has answered.
    pub fn has_pending_end(&self) -> bool {
        self.requests.iter().any(|r| r.kind.ends_leg() && r.transaction.is_pending())
    }

    pub fn command(&mut self, command: LegCommand, cx: &mut Context<'_>) {
        match command {
            LegCommand::Invite { permit, offer } => self.invite(&permit, &offer, cx),
            LegCommand::Ack => self.acknowledge(cx),
            LegCommand::Answer(description) => self.answer_offer(&description, cx),
            LegCommand::RefuseOffer => self.refuse_offer(cx),
            LegCommand::End(cause) => self.end(cause, cx),
            LegCommand::TakeDown { known } => self.take_down(known, cx),
        }
    }

    pub fn timeout(&mut self, cx: &mut Context<'_>) {
        self.give_up_in_silence(cx);
        self.client_timeouts(cx);
        self.server_timeouts(cx);
        self.offer_timeouts(cx);
        self.session_timeouts(cx);
        if let Phase::Ending { give_up, .. } = self.phase
            && cx.now >= give_up
        {
            self.finish(cx);
        }
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        let give_up = match self.phase {
            Phase::Ending { give_up, .. } => Some(give_up),
            Phase::Prepared | Phase::Calling | Phase::Answered | Phase::Confirmed | Phase::Over => None,
        };
        let invites = self.invites.iter().filter_map(|i| i.transaction.next_timeout());
        let requests = self.requests.iter().filter_map(|r| r.transaction.next_timeout());
        let inbound = self.inbound.iter().filter_map(Inbound::next_timeout);
        let offers = [
            self.silent_until,
            self.peer_offer.as_ref().and_then(|offer| offer.next_timeout()),
            self.unacknowledged.as_ref().map(Unacknowledged::next_timeout),
            self.session_timeout(),
        ];
        invites.chain(requests).chain(inbound).chain(offers.into_iter().flatten()).chain(give_up).min()
    }

    /// What the peers of its dialogs have named, and the other leg must not say.
    fn peers(&self) -> impl Iterator<Item = Peer<'_>> {
        self.dialog.iter().chain(&self.strays).map(Dialog::peer).chain(self.early.iter().filter_map(Early::peer))
    }

    fn end(&mut self, cause: Cause, cx: &mut Context<'_>) {
        let give_up = cx.now + LINGER;
        match self.phase {
            Phase::Prepared | Phase::Over => self.finish(cx),
            Phase::Calling => {
                self.phase = Phase::Ending { give_up, cause };
                self.cancel_invites(cx);
                self.settle(cx);
            }
            Phase::Answered => {
                self.phase = Phase::Ending { give_up, cause };
                self.send_ack(Which::Main, cx);
                self.send_bye(Which::Main, cause, cx);
            }
            Phase::Confirmed => {
                self.close_offers(cx);
                self.phase = Phase::Ending { give_up, cause };
                self.send_bye(Which::Main, cause, cx);
            }
            Phase::Ending { .. } => {}
        }
    }

    /// After [`LegCommand::End`]: the leg is gone as soon as nothing of it waits for an answer.
    fn settle(&mut self, cx: &mut Context<'_>) {
        let waiting = self.invites.iter().any(|i| i.transaction.is_pending()) || self.has_pending_end();
        match self.phase {
            Phase::Ending { .. } if !waiting => self.finish(cx),
            Phase::Ending { .. }
            | Phase::Prepared
            | Phase::Calling
            | Phase::Answered
            | Phase::Confirmed
            | Phase::Over => {}
        }
    }

    /// The end that was asked for is reached.
    fn finish(&mut self, cx: &mut Context<'_>) {
        self.over();
        if !self.gone {
            self.gone = true;
            self.tell(LegEvent::Gone, cx);
        }
    }

    /// The end that nobody asked for.
    fn lose(&mut self, loss: Loss, cx: &mut Context<'_>) {
        self.over();
        self.tell(LegEvent::Lost(loss), cx);
    }

    fn over(&mut self) {
        self.phase = Phase::Over;
        self.silent_until = None;
        self.said = Bytes::new();
        self.timer = None;
        self.close_early_dialogs();
        for invite in &mut self.invites {
            if invite.transaction.is_pending() {
                invite.transaction.terminate();
            }
        }
    }

    fn tell(&self, event: LegEvent, cx: &mut Context<'_>) {
        cx.out.push(EndpointAction::Leg(self.facts.id, event));
    }

    fn next_cseq(&mut self) -> u32 {
        self.cseq = self.cseq.saturating_add(1);
        self.cseq
    }

    fn dialog(&self, which: Which) -> Option<&Dialog> {
        match which {
            Which::Main => self.dialog.as_ref(),
            Which::Stray(index) => self.strays.get(index),
            Which::Early(index) => self.early.get(index).and_then(Early::dialog),
        }
    }

    fn dialog_mut(&mut self, which: Which) -> Option<&mut Dialog> {
        match which {
            Which::Main => self.dialog.as_mut(),
            Which::Stray(index) => self.strays.get_mut(index),
            Which::Early(index) => self.early.get_mut(index).and_then(Early::dialog_mut),
        }
    }

    /// The dialog of a 2xx that the peer calls by this tag.
    fn dialog_tagged(&self, remote_tag: &str) -> Option<Which> {
        let is = |dialog: &Dialog| dialog.remote_tag.eq_ignore_ascii_case(remote_tag);
        if self.dialog.as_ref().is_some_and(is) {
            return Some(Which::Main);
        }
        self.strays.iter().position(is).map(Which::Stray)
    }

    fn send_request(&self, bytes: Bytes, way: Way, method: &'static str, cx: &mut Context<'_>) {
        self.signal(true, Arc::from(method), cx);
        let flow = self.facts.flow(way);
        cx.out.push(EndpointAction::Transmit { leg: Some(self.facts.id), flow, bytes, request: true });
    }

    fn signal(&self, sent: bool, summary: Arc<str>, cx: &mut Context<'_>) {
        let LegId { call, side } = self.facts.id;
        cx.out.push(EndpointAction::Notice(Notice::Signal { call, side, sent, summary }));
    }
}

/// A response in a ladder, in our words.
fn summary(status: u16) -> Arc<str> {
    Arc::from(format!("{status} {}", status::reason(status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A live leg is this and, on the heap, one dialog's strings: far below 4 kB.
    #[test]
    fn a_leg_is_small() {
        assert!(size_of::<Leg>() <= 1_024, "{} bytes", size_of::<Leg>());
    }
}
