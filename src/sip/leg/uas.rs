//! What the peer asks of a leg within its dialog (RFC 3261 §8.2, §12.2.2, §15.1.2).
//!
//! Every request is answered here; none crosses to the other leg. What an offer means is the call's
//! to judge ([`super::offer`]), the rest is settled at once.
//!
//! Deliberately absent: REFER, SUBSCRIBE, NOTIFY, MESSAGE, PUBLISH. They are not in Allow, and 405 says so.

use super::compose::{ALLOW, SDP, SUPPORTED};
use super::inbound::{self, Packet};
use super::uac::{cause, session};
use super::{Context, Leg, Phase, Which};
use crate::events::NoiseKind;
use crate::leg::{Cause, LegEvent};
use crate::sip::ident::Token;
use crate::sip::session_timer;
use crate::sip::wire::{HeaderName, Message, Method};

/// RFC 3261 §14.2: seconds, 0 to 10. We judge an offer at once, so the least.
const RETRY_AFTER: u32 = 1;

impl Leg {
    /// A request on this leg's Call-ID from the trunk's own address.
    pub fn request(&mut self, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        let message = packet.message;
        self.signal(false, method_summary(packet.method), cx);
        let ours = message.to.tag().and_then(|tag| Token::parse(tag.as_bytes())) == Some(self.facts.local_tag);
        let tag = message.from.tag().unwrap_or_default();
        let early = || self.early_tagged(tag).map(Which::Early);
        let which = self.dialog_tagged(tag).or_else(early).filter(|_| ours);
        let key = inbound::key(&self.facts, message, packet.method);
        match packet.method {
            Method::Ack => self.ack(key, which, message, cx),
            Method::Cancel => self.cancel_request(key, packet, cx),
            _ if self.absorb(key, cx) => {}
            _ => match which {
                Some(which) => self.in_dialog(key, which, packet, cx),
                None => {
                    cx.noise(NoiseKind::UnknownDialog);
                    self.respond_stateless(packet, 481, cx);
                }
            },
        }
    }

    fn ack(&mut self, key: Token, which: Option<Which>, message: &Message<'_>, cx: &mut Context<'_>) {
        self.server_ack(key, cx);
        match which {
            Some(Which::Main) => self.offer_acknowledged(message, cx),
            Some(Which::Stray(_) | Which::Early(_)) | None => {}
        }
    }

    /// RFC 3261 §9.2: found by the branch of the re-INVITE that it cancels.
    fn cancel_request(&mut self, invite: Token, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        if !self.has_inbound_invite(invite) {
            cx.noise(NoiseKind::UnknownTransaction);
            return self.respond_stateless(packet, 481, cx);
        }
        self.respond_stateless(packet, 200, cx);
        if self.is_offer(invite) {
            self.close_offer(487, cx);
        }
    }

    fn in_dialog(&mut self, key: Token, which: Which, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        if !self.admit(key, packet, cx) {
            return;
        }
        let number = packet.message.cseq.number;
        let Some(dialog) = self.dialog_mut(which) else { return };
        // RFC 3261 §12.2.2: "If the remote sequence number is lower … respond with a 500".
        if dialog.remote_cseq.is_some_and(|last| number <= last) {
            return self.refuse(key, packet, 500, cx);
        }
        dialog.remote_cseq = Some(number);
        match self.screen(packet) {
            Some(status) => self.refuse(key, packet, status, cx),
            None => self.serve_method(key, which, packet, cx),
        }
    }

    /// What is wrong with a request whatever the state of its dialog (RFC 3261 §8.2).
    fn screen(&self, packet: Packet<'_, '_>) -> Option<u16> {
        let message = packet.message;
        match packet.method {
            // The end of a dialog is never refused.
            Method::Bye => return None,
            Method::Invite | Method::Update | Method::Info | Method::Options | Method::Prack => {}
            Method::Ack | Method::Cancel => return None,
            Method::Register
            | Method::Subscribe
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Publish => return Some(405),
            Method::Other => return Some(501),
        }
        if unsupported(message).next().is_some() {
            return Some(420);
        }
        // We are where the request was going; all the same, it has gone round (RFC 3261 §16.3).
        if message.max_forwards == Some(0) && packet.method != Method::Options {
            return Some(483);
        }
        match packet.method {
            Method::Invite | Method::Update if !message.body.is_empty() => {
                let encoded = message.header(HeaderName::ContentEncoding).is_some_and(|v| v != "identity");
                (encoded || !message.has_body(SDP)).then_some(415)
            }
            _ => None,
        }
    }

    fn serve_method(&mut self, key: Token, which: Which, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        match packet.method {
            Method::Bye => self.bye(key, which, packet, cx),
            Method::Options => self.options(key, packet, cx),
            Method::Invite | Method::Update | Method::Info => match (which, self.phase) {
                (Which::Main, Phase::Answered | Phase::Confirmed) | (Which::Early(_), Phase::Calling) => {
                    match packet.method {
                        Method::Info => self.info(key, packet, cx),
                        _ => self.peer_session(key, which, packet, cx),
                    }
                }
                // Our BYE is out, or this dialog was never wanted.
                (Which::Stray(_), _)
                | (Which::Early(_), _)
                | (Which::Main, Phase::Prepared | Phase::Calling | Phase::Ending { .. } | Phase::Over) => {
                    self.respond(key, packet, 481, cx);
                }
            },
            // RFC 3262 §3: we have sent nothing that it could acknowledge.
            Method::Prack => self.respond(key, packet, 481, cx),
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Subscribe
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Publish
            | Method::Other => self.refuse(key, packet, 405, cx),
        }
    }

    fn bye(&mut self, key: Token, which: Which, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        self.respond(key, packet, 200, cx);
        match (which, self.phase) {
            (Which::Main, Phase::Answered | Phase::Confirmed) => {
                self.close_offers(cx);
                self.over();
                self.tell(LegEvent::Hangup(cause(packet.message).unwrap_or(Cause::NORMAL_CLEARING)), cx);
            }
            // Both hung up at once: the peer agrees, whatever becomes of our own BYE.
            (Which::Main, Phase::Ending { .. }) => self.finish(cx),
            (Which::Main, Phase::Prepared | Phase::Calling | Phase::Over) | (Which::Stray(_) | Which::Early(_), _) => {}
        }
    }

    /// re-INVITE and UPDATE.
    fn peer_session(&mut self, key: Token, which: Which, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        let message = packet.message;
        let bare_update = packet.method == Method::Update && message.body.is_empty();
        if self.peer_offer.is_some() && !bare_update {
            // RFC 3261 §14.2 and RFC 3311 §5.2: the last one has no final response yet.
            return self.refuse(key, packet, 500, cx);
        }
        let own_is_open = match which {
            // RFC 3311 §5.2: our offer has no answer before a reliable response brings it.
            Which::Early(index) => packet.method == Method::Invite || !self.early[index].answered,
            Which::Main | Which::Stray(_) => self.invite_is_open(packet.method) || self.offer_is_open(),
        };
        if !bare_update && own_is_open {
            // RFC 3261 §14.2: our own INVITE, or the answer to the last one, is still under way.
            return self.respond(key, packet, 491, cx);
        }
        if self.expires_too_fast(message) {
            return self.refuse(key, packet, 422, cx);
        }
        let offer = match message.body {
            [] => None,
            _ => match session(message) {
                Some(offer) => Some(offer),
                None => return self.refuse(key, packet, 400, cx),
            },
        };
        // RFC 3261 §12.2.2: both are target refresh requests.
        let secure = self.facts.is_secure();
        if let Some(dialog) = self.dialog_mut(which) {
            dialog.refresh_target(message, secure);
        }
        if bare_update {
            let granted = if which == Which::Main { self.grant(message, cx) } else { None };
            let facts = self.facts.clone();
            let more = |writer: &mut crate::sip::wire::Writer<'_>| {
                facts.contact(writer);
                granted.into_iter().for_each(|granted| granted.write(writer));
            };
            return self.respond_with(key, packet, 200, more, None, cx);
        }
        self.hold_offer(key, which, packet, offer, cx);
    }

    /// Our INVITE is not acknowledged yet; to an UPDATE that matters as long as our offer has no answer.
    fn invite_is_open(&self, method: Method) -> bool {
        self.phase == Phase::Answered && (method == Method::Invite || !self.was_answered_early())
    }

    fn options(&mut self, key: Token, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        let more = |writer: &mut crate::sip::wire::Writer<'_>| {
            writer.header(HeaderName::Allow, ALLOW).header(HeaderName::Accept, SDP);
            writer.header(HeaderName::Supported, SUPPORTED);
        };
        self.respond_with(key, packet, 200, more, None, cx);
    }

    /// RFC 6086 §3: legacy INFO. A digit is told; an empty INFO is a sign of life.
    fn info(&mut self, key: Token, packet: Packet<'_, '_>, cx: &mut Context<'_>) {
        let message = packet.message;
        if message.body.is_empty() {
            return self.respond(key, packet, 200, cx);
        }
        let relay = message.has_body("application/dtmf-relay");
        if !relay && !message.has_body("application/dtmf") {
            return self.refuse(key, packet, 415, cx);
        }
        match digit(message.body, relay) {
            Some(digit) => {
                self.respond(key, packet, 200, cx);
                self.tell(LegEvent::Digit(digit), cx);
            }
            None => self.refuse(key, packet, 400, cx),
        }
    }

    /// A refusal with the headers that its status asks for.
    fn refuse(&mut self, key: Token, packet: Packet<'_, '_>, status: u16, cx: &mut Context<'_>) {
        let message = packet.message;
        let accept = match packet.method {
            Method::Info => "application/dtmf-relay, application/dtmf",
            _ => SDP,
        };
        let more = |writer: &mut crate::sip::wire::Writer<'_>| match status {
            405 | 501 => {
                writer.header(HeaderName::Allow, ALLOW);
            }
            415 => {
                writer.header(HeaderName::Accept, accept);
            }
            420 => {
                unsupported(message).for_each(|option| {
                    writer.echo(HeaderName::Unsupported, option);
                });
            }
            422 => {
                writer.header(HeaderName::MinSe, session_timer::LEAST_SECONDS);
            }
            500 => {
                writer.header(HeaderName::RetryAfter, RETRY_AFTER);
            }
            _ => {}
        };
        self.respond_with(key, packet, status, more, None, cx);
    }
}

/// What the peer requires and we do not know (RFC 3261 §8.2.2.3).
pub fn unsupported<'a>(message: &Message<'a>) -> impl Iterator<Item = &'a str> {
    let known = |option: &str| SUPPORTED.split(", ").any(|known| known.eq_ignore_ascii_case(option));
    message.list(HeaderName::Require).filter(move |option| !known(option))
}

/// `Signal=5` (dtmf-relay) or `5` (dtmf).
fn digit(body: &[u8], relay: bool) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = match relay {
        true => text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?,
        false => text.trim(),
    };
    let mut chars = signal.chars();
    match (chars.next()?.to_ascii_uppercase(), chars.next()) {
        (digit @ ('0'..='9' | '*' | '#' | 'A'..='D'), None) => Some(digit),
        _ => None,
    }
}

fn method_summary(method: Method) -> std::sync::Arc<str> {
    method.as_str().unwrap_or("unknown method").into()
}
