//! Refreshing the session (RFC 4028 §7.4, §10): UPDATE where the peer takes it, else a re-INVITE that changes nothing.
//!
//! ```text
//! 2xx             the time begins anew
//! 401, 407        once more, with credentials          422        once, for as long as the peer wants
//! 405, 501        the peer takes no UPDATE: re-INVITE  491        after 2.1 to 4 s (RFC 3261 §14.1)
//! 408, 481, none  the dialog is gone: BYE              any other  again after half of what is left
//! ```
//!
//! Deliberately absent: any change of the session. Two legs never need one to be joined, and a peer's own changes are
//! answered, not asked for.

use std::time::Duration;

use bytes::Bytes;

use super::compose::Words;
use super::uac::session;
use super::{Context, Leg, Phase, RequestKind, Way, Which};
use crate::leg::{Cause, LegEvent, Loss};
use crate::model::Timestamp;
use crate::sip::digest::Subject;
use crate::sip::ident::Token;
use crate::sip::nonces::Authorization;
use crate::sip::reply;
use crate::sip::session_timer::{Granted, OPTION, SessionTimer, TooSmall, min_se};
use crate::sip::transaction::{Class, ClientInput, ClientStep, InviteClient};
use crate::sip::wire::{HeaderName, Message};

/// While the peer is changing the session itself: its own request refreshes it too.
const BUSY: Duration = Duration::from_secs(2);

/// A re-INVITE of our own.
#[derive(Debug)]
pub struct Reinvite {
    cseq: u32,
    branch: Token,
    pub transaction: InviteClient,
    bytes: Bytes,
    authorization: Vec<Authorization>,
    /// How many of the peer's challenges it answers.
    challenges: u8,
    /// Its 2xx has come: the same again is acknowledged, and no more.
    heard: bool,
}

impl Leg {
    /// When [`Leg::session_timeouts`] has something to do.
    pub(super) fn session_timeout(&self) -> Option<Timestamp> {
        let timer = self.timer.filter(|_| self.phase == Phase::Confirmed).map(|timer| timer.next_timeout());
        let reinvite = self.reinvite.as_ref().and_then(|reinvite| reinvite.transaction.next_timeout());
        timer.into_iter().chain(reinvite).min()
    }

    pub(super) fn session_timeouts(&mut self, cx: &mut Context<'_>) {
        self.reinvite_timeouts(cx);
        let busy = self.offer_is_open() || self.is_refreshing();
        let Some(timer) = self.timer.as_mut().filter(|_| self.phase == Phase::Confirmed) else { return };
        if timer.is_over(cx.now) {
            self.session_lost(Loss::Expired, cx);
        } else if timer.take_due(cx.now) {
            if busy {
                timer.retry_at(cx.now + BUSY);
            } else {
                self.refresh(0, cx);
            }
        }
    }

    /// Our re-INVITE has no final response yet.
    pub(super) fn reinvite_is_open(&self) -> bool {
        self.reinvite.as_ref().is_some_and(|reinvite| reinvite.transaction.is_pending())
    }

    fn is_refreshing(&self) -> bool {
        self.requests.iter().any(|r| matches!(r.kind, RequestKind::Update { .. }) && r.transaction.is_pending())
    }

    /// What our 2xx to a request of the peer's that refreshes the session says of the time.
    pub(super) fn grant(&mut self, request: &Message<'_>, cx: &Context<'_>) -> Option<Granted> {
        let granted = self.granted(request).ok().flatten();
        self.timer = granted.map(|granted| SessionTimer::granted(cx.now, granted));
        granted
    }

    /// Whether the request asks for a session that expires too fast.
    pub(super) fn expires_too_fast(&self, request: &Message<'_>) -> bool {
        self.granted(request).is_err()
    }

    fn granted(&self, request: &Message<'_>) -> Result<Option<Granted>, TooSmall> {
        let knows = self.timer.is_some() || request.has_option(HeaderName::Supported, OPTION);
        let wanted = self.facts.trunk.session_expires.filter(|_| knows);
        Granted::to(request, wanted, self.timer.is_some_and(|timer| timer.is_ours()))
    }

    /// Whether a 422 is answered by asking for a longer session: once, and where that is what the peer wants.
    pub(super) fn takes_longer(&mut self, response: &Message<'_>) -> bool {
        let asked = self.timer.map(|timer| timer.seconds).or(self.facts.trunk.session_expires);
        let least = min_se(response);
        let longer = self.min_se.is_none() && asked.is_some_and(|asked| asked < least);
        if longer {
            self.min_se = Some(least);
        }
        longer
    }

    /// The session is over, and nobody has said so.
    pub(super) fn session_lost(&mut self, loss: Loss, cx: &mut Context<'_>) {
        if self.phase == Phase::Confirmed {
            self.close_offers(cx);
            self.lose(loss, cx);
            self.send_bye(Which::Main, Cause::RECOVERY_ON_TIMER_EXPIRY, cx);
        }
    }

    fn refresh(&mut self, challenges: u8, cx: &mut Context<'_>) {
        let (Some(timer), Some(dialog)) = (self.timer, &self.dialog) else { return };
        let update = dialog.takes_update || self.said.is_empty();
        let uri = self.facts.request_uri(Some(dialog));
        let cseq = self.next_cseq();
        let (method, offer) = if update { ("UPDATE", Bytes::new()) } else { ("INVITE", self.said.clone()) };
        let authorization = self.credentials(Subject { method, uri: &uri, body: &offer });
        let words = Words {
            authorization: &authorization,
            identity: None,
            product: cx.product,
            offer: &offer,
            min_se: self.min_se,
        };
        let Some(dialog) = &self.dialog else { return };
        let Some(bytes) = self.facts.refresh(dialog, cseq, timer.seconds, words) else { return };
        if update {
            return self.start_request(cseq, Way::Usual, bytes, RequestKind::Update { challenges }, cx);
        }
        let (branch, reliable) = (self.facts.branch(cseq), self.facts.flow.transport.is_reliable());
        let transaction = InviteClient::start(cx.now, reliable);
        let reinvite =
            Reinvite { cseq, branch, transaction, bytes: bytes.clone(), authorization, challenges, heard: false };
        self.reinvite = Some(Box::new(reinvite));
        self.send_request(bytes, Way::Usual, "INVITE", cx);
    }

    pub(super) fn is_reinvite(&self, branch: Option<Token>, cseq: u32) -> bool {
        self.reinvite.as_ref().is_some_and(|reinvite| Some(reinvite.branch) == branch && reinvite.cseq == cseq)
    }

    pub(super) fn reinvite_response(&mut self, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        self.signal(false, super::summary(status), cx);
        let Some(reinvite) = &mut self.reinvite else { return };
        let step = reinvite.transaction.handle(cx.now, ClientInput::Response(Class::of(status)));
        if !reinvite.transaction.is_calling() {
            reinvite.bytes = Bytes::new();
        }
        let challenges = reinvite.challenges;
        match step {
            ClientStep::Nothing | ClientStep::Retransmit | ClientStep::Expired => {}
            ClientStep::Ack => self.acknowledge_refusal(response, cx),
            ClientStep::AckAndTell => {
                self.acknowledge_refusal(response, cx);
                self.refresh_answered(challenges, response, status, cx);
            }
            ClientStep::Tell if Class::of(status) == Class::Provisional => {}
            ClientStep::Tell => self.reinvite_succeeded(challenges, response, status, cx),
        }
    }

    fn reinvite_succeeded(&mut self, challenges: u8, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        let Some(reinvite) = &mut self.reinvite else { return };
        let first = !std::mem::replace(&mut reinvite.heard, true);
        if first {
            self.refresh_answered(challenges, response, status, cx);
        }
        let (Some(reinvite), Some(dialog)) = (&self.reinvite, &self.dialog) else { return };
        if let Some(bytes) = self.facts.ack(dialog, reinvite.cseq, &reinvite.authorization) {
            self.send_request(bytes, Way::Usual, "ACK", cx);
        }
        if first
            && self.phase == Phase::Confirmed
            && let Some(answer) = session(response)
        {
            self.tell(LegEvent::LateAnswer(answer), cx);
        }
    }

    fn acknowledge_refusal(&self, response: &Message<'_>, cx: &mut Context<'_>) {
        let Some(reinvite) = &self.reinvite else { return };
        let (cseq, dialog, to_tag) = (reinvite.cseq, self.dialog.as_ref(), response.to.tag());
        let bytes = self.facts.ack_failure(Way::Usual, cseq, dialog, to_tag, &reinvite.authorization);
        if let Some(bytes) = bytes {
            self.send_request(bytes, Way::Usual, "ACK", cx);
        }
    }

    fn reinvite_timeouts(&mut self, cx: &mut Context<'_>) {
        let Some(reinvite) = &mut self.reinvite else { return };
        match reinvite.transaction.handle(cx.now, ClientInput::Timeout) {
            ClientStep::Retransmit => {
                let bytes = reinvite.bytes.clone();
                self.send_request(bytes, Way::Usual, "INVITE", cx);
            }
            ClientStep::Expired => self.session_lost(Loss::Timeout, cx),
            ClientStep::Nothing | ClientStep::Tell | ClientStep::AckAndTell | ClientStep::Ack => {}
        }
    }

    /// The final response to an UPDATE or re-INVITE of ours.
    pub(super) fn refresh_answered(
        &mut self,
        challenges: u8,
        response: &Message<'_>,
        status: u16,
        cx: &mut Context<'_>,
    ) {
        if self.phase != Phase::Confirmed {
            return;
        }
        match status {
            ..300 => {
                let secure = self.facts.is_secure();
                self.dialog.iter_mut().for_each(|dialog| dialog.refresh_target(response, secure));
                self.timer = SessionTimer::agreed(cx.now, response);
            }
            401 | 407 if matches!(self.authorize(response, status, challenges), Some(Ok(()))) => {
                self.refresh(challenges + 1, cx);
            }
            408 | 481 => self.session_lost(Loss::Dialog, cx),
            422 if self.takes_longer(response) => self.refresh(challenges, cx),
            405 | 501 if self.takes_no_update() => self.refresh(challenges, cx),
            _ => self.refresh_later(response, status, cx),
        }
    }

    /// The peer did not mean its Allow; `false` where there is no other way.
    fn takes_no_update(&mut self) -> bool {
        let Some(dialog) = self.dialog.as_mut().filter(|_| !self.said.is_empty()) else { return false };
        std::mem::replace(&mut dialog.takes_update, false)
    }

    fn refresh_later(&mut self, response: &Message<'_>, status: u16, cx: &Context<'_>) {
        let glare = self.glare_wait();
        let Some(timer) = &mut self.timer else { return };
        match reply::retry_after(response) {
            _ if status == 491 => timer.retry_at(cx.now + glare),
            Some(wait) => timer.retry_at(cx.now + wait.max(BUSY)),
            None => timer.retry_later(cx.now),
        }
    }

    /// RFC 3261 §14.1: 2.1 to 4 s in steps of 10 ms, since the Call-ID is ours.
    fn glare_wait(&self) -> Duration {
        let steps = Token::numbered(self.facts.secret, "glare", self.cseq).low() % 191;
        Duration::from_millis(2_100 + 10 * steps)
    }
}
