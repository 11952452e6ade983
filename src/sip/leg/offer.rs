//! Offers of the peer within the dialog: re-INVITE and UPDATE (RFC 3261 §14.2, RFC 3311, RFC 3264 §8).
//!
//! ```text
//! re-INVITE, UPDATE ─▶ PeerOffer ─┬ Answer ──────▶ 200 (to a re-INVITE: Unacknowledged, sent again until
//!                        100      │                     the ACK; without one in 64·T1: BYE)
//!                      after 200ms└ RefuseOffer ─▶ 488, the session as it was
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::compose::{ALLOW, SDP, SUPPORTED};
use super::inbound::Packet;
use super::uac::session;
use super::{Context, Leg, Which};
use crate::leg::{Cause, LegEvent, Loss, T2};
use crate::model::Timestamp;
use crate::sdp::Description;
use crate::sip::Flow;
use crate::sip::ident::Token;
use crate::sip::transaction::{Due, Retransmission};
use crate::sip::wire::{HeaderName, Message, Method, Writer};

/// RFC 3261 §17.2.1: how long a re-INVITE may be without any answer.
const TRYING: Duration = Duration::from_millis(200);

/// Waits for the call's word.
#[derive(Debug)]
pub struct PeerOffer {
    key: Token,
    method: Method,
    /// The request itself; its response repeats some of it.
    request: Bytes,
    flow: Flow,
    /// The peer asks us to offer.
    offerless: bool,
    /// Of a dialog that was answered: such a change refreshes the session.
    early: bool,
    /// When 100 is due; `None` for UPDATE and after it was sent.
    trying: Option<Timestamp>,
}

/// A 2xx to a re-INVITE.
#[derive(Debug)]
pub struct Unacknowledged {
    key: Token,
    cseq: u32,
    sending: Retransmission,
    /// Our 2xx carried an offer, so the ACK carries the answer (RFC 3261 §13.2.1).
    offered: bool,
}

impl PeerOffer {
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.trying
    }
}

impl Unacknowledged {
    pub fn next_timeout(&self) -> Timestamp {
        self.sending.next_timeout()
    }
}

impl Leg {
    /// An offer is being judged, our answer to the last one is not acknowledged, or our own is not answered.
    pub(super) fn offer_is_open(&self) -> bool {
        self.peer_offer.is_some() || self.unacknowledged.is_some() || self.reinvite_is_open()
    }

    pub(super) fn hold_offer(
        &mut self,
        key: Token,
        which: Which,
        packet: Packet<'_, '_>,
        offer: Option<Description>,
        cx: &mut Context<'_>,
    ) {
        let trying = (packet.method == Method::Invite).then(|| cx.now + TRYING);
        let request = Bytes::copy_from_slice(packet.bytes);
        let (method, flow, offerless) = (packet.method, packet.flow, offer.is_none());
        let early = match which {
            Which::Early(index) => Some(index as u32),
            Which::Main | Which::Stray(_) => None,
        };
        let held = PeerOffer { key, method, request, flow, offerless, early: early.is_some(), trying };
        self.peer_offer = Some(Box::new(held));
        self.tell(LegEvent::Offer { early, sdp: offer }, cx);
    }

    pub(super) fn answer_offer(&mut self, description: &Description, cx: &mut Context<'_>) {
        let Some(offer) = self.peer_offer.take() else { return };
        let Ok(message) = Message::parse(&offer.request) else { return };
        let body = description.to_string();
        let granted = if offer.early { None } else { self.grant(&message, cx) };
        if !offer.early {
            self.said = Bytes::copy_from_slice(body.as_bytes());
        }
        let (facts, product) = (self.facts.clone(), cx.product);
        let more = |writer: &mut Writer<'_>| {
            facts.contact(writer);
            writer.header(HeaderName::Allow, ALLOW).header(HeaderName::Server, product);
            writer.header(HeaderName::Supported, SUPPORTED);
            granted.into_iter().for_each(|granted| granted.write(writer));
        };
        self.respond_with(offer.key, offer.packet(&message), 200, more, Some((SDP, body.as_bytes())), cx);
        if offer.method == Method::Invite {
            let sending = Retransmission::start(cx.now);
            let (key, cseq, offered) = (offer.key, message.cseq.number, offer.offerless);
            self.unacknowledged = Some(Unacknowledged { key, cseq, sending, offered });
        }
    }

    pub(super) fn refuse_offer(&mut self, cx: &mut Context<'_>) {
        self.close_offer(488, cx);
    }

    /// Answers an open re-INVITE or UPDATE with a final response other than 2xx.
    pub(super) fn close_offer(&mut self, status: u16, cx: &mut Context<'_>) {
        let Some(offer) = self.peer_offer.take() else { return };
        if let Ok(message) = Message::parse(&offer.request) {
            self.respond(offer.key, offer.packet(&message), status, cx);
        }
    }

    /// The dialog ends: RFC 3261 §15.1.2 has pending requests answered with 487.
    pub(super) fn close_offers(&mut self, cx: &mut Context<'_>) {
        self.close_offer(487, cx);
        self.unacknowledged = None;
    }

    pub(super) fn is_offer(&self, key: Token) -> bool {
        self.peer_offer.as_ref().is_some_and(|offer| offer.key == key)
    }

    /// The ACK of our 2xx; its branch is its own, so it is known by its CSeq number.
    pub(super) fn offer_acknowledged(&mut self, ack: &Message<'_>, cx: &mut Context<'_>) {
        let Some(unacknowledged) = self.unacknowledged.take_if(|u| u.cseq == ack.cseq.number) else { return };
        if unacknowledged.offered
            && let Some(answer) = session(ack)
        {
            self.tell(LegEvent::LateAnswer(answer), cx);
        }
    }

    pub(super) fn offer_timeouts(&mut self, cx: &mut Context<'_>) {
        self.send_trying(cx);
        let Some(unacknowledged) = &mut self.unacknowledged else { return };
        let key = unacknowledged.key;
        match unacknowledged.sending.poll(cx.now, T2) {
            Due::NotYet => {}
            Due::Again => self.send_again(key, cx),
            Due::End => {
                // RFC 3261 §14.2: "the UAS SHOULD generate a BYE to terminate the dialog".
                self.unacknowledged = None;
                self.lose(Loss::NoAck, cx);
                self.send_bye(Which::Main, Cause::RECOVERY_ON_TIMER_EXPIRY, cx);
            }
        }
    }

    fn send_trying(&mut self, cx: &mut Context<'_>) {
        let Some(mut offer) = self.peer_offer.take_if(|o| o.trying.is_some_and(|at| at <= cx.now)) else { return };
        offer.trying = None;
        if let Ok(message) = Message::parse(&offer.request) {
            self.respond(offer.key, offer.packet(&message), 100, cx);
        }
        self.peer_offer = Some(offer);
    }
}

impl PeerOffer {
    fn packet<'a, 'b>(&'a self, message: &'a Message<'b>) -> Packet<'a, 'b> {
        Packet { message, method: self.method, bytes: &self.request, flow: self.flow }
    }
}
