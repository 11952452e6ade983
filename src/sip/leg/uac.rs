//! What a leg asks of its peer: INVITE, ACK, CANCEL, BYE, and the answers to them (RFC 3261 §9, §13.2,
//! §15). PRACK is in [`super::early`], and what refreshes the session in [`super::refresh`].

use bytes::Bytes;

use super::compose::{Branch, SDP, Words};
use super::dialog::Dialog;
use super::way::Way;
use super::{Context, Invite, Leg, MAX_FORKS, Phase, Request, RequestKind, Which};
use crate::events::{NoiseKind, Notice};
use crate::guardrails::Permit;
use crate::leg::{Cause, LINGER, LegEvent, Loss};
use crate::sdp::Description;
use crate::sip::EndpointAction;
use crate::sip::digest::Subject;
use crate::sip::identity::Identity;
use crate::sip::session_timer::SessionTimer;
use crate::sip::transaction::{Class, Client, ClientInput, ClientStep, InviteClient};
use crate::sip::wire::{HeaderName, Message, Method};

impl Leg {
    pub(super) fn invite(&mut self, permit: &Permit, offer: &Description, cx: &mut Context<'_>) {
        if self.phase != Phase::Prepared {
            return;
        }
        let facts = &self.facts;
        if (permit.leg(), permit.to(), permit.shown().number()) != (facts.id, facts.to, facts.shown) {
            // The permit is for another INVITE than the one that was prepared: nothing may leave.
            return self.lose(Loss::MaskingGuard, cx);
        }
        self.said = Bytes::from(offer.to_string());
        self.owned = Some(permit.shown());
        self.phase = Phase::Calling;
        self.silent_until = self.patience.map(|patience| cx.now + patience);
        self.send_invite(cx);
    }

    /// [`crate::leg::LegCommand::Ack`].
    pub(super) fn acknowledge(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Answered => {
                self.phase = Phase::Confirmed;
                self.send_ack(Which::Main, cx);
            }
            Phase::Prepared | Phase::Calling | Phase::Confirmed | Phase::Ending { .. } | Phase::Over => {}
        }
    }

    /// A response on this leg's Call-ID, from the trunk's own address, to our own From tag.
    pub fn response(&mut self, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        // RFC 3261 §17.1.3: the branch of the top Via, and the method of CSeq.
        let branch = response.via.branch.and_then(Branch::parse);
        let invite = |i: &Invite| Some(i.branch) == branch && i.cseq == response.cseq.number;
        let request = |r: &Request| Some(r.branch) == branch && r.cseq == response.cseq.number;
        match response.cseq.method {
            Method::Invite => match self.invites.iter().position(invite) {
                Some(index) => self.invite_response(index, response, status, cx),
                None if self.is_reinvite(branch, response.cseq.number) => self.reinvite_response(response, status, cx),
                None => cx.noise(NoiseKind::UnknownTransaction),
            },
            method => match self.requests.iter().position(|r| r.kind.method() == method && request(r)) {
                Some(index) => self.request_response(index, response, status, cx),
                None => cx.noise(NoiseKind::UnknownTransaction),
            },
        }
    }

    fn invite_response(&mut self, index: usize, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        self.signal(false, super::summary(status), cx);
        self.silent_until = None;
        let invite = &mut self.invites[index];
        let step = invite.transaction.handle(cx.now, ClientInput::Response(Class::of(status)));
        if invite.given_up && Class::of(status) == Class::Provisional {
            // Too late for the transaction, but it says that a phone rings which nobody waits for.
            return self.cancel(index, cx);
        }
        if !invite.transaction.is_calling() {
            invite.bytes = Bytes::new();
        }
        match step {
            ClientStep::Nothing | ClientStep::Retransmit | ClientStep::Expired => {}
            ClientStep::Ack => self.send_ack_failure(index, response.to.tag(), cx),
            ClientStep::AckAndTell => {
                self.send_ack_failure(index, response.to.tag(), cx);
                self.invite_answered(status, cx);
                self.invite_failed(response, status, cx);
            }
            ClientStep::Tell => match Class::of(status) {
                Class::Provisional => self.invite_progress(index, response, status, cx),
                Class::Success | Class::Failure => self.invite_succeeded(response, status, cx),
            },
        }
    }

    fn invite_answered(&self, status: u16, cx: &mut Context<'_>) {
        let trunk = self.facts.trunk.name.clone();
        cx.out.push(EndpointAction::Notice(Notice::InviteAnswered { trunk, status }));
    }

    fn invite_progress(&mut self, index: usize, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Calling if status > 100 => {
                let Some(early) = self.early_dialog(response) else { return };
                if self.is_in_order(early, response, cx) {
                    let sdp = self.first_answer(Some(early), response);
                    self.tell(LegEvent::Progress { status, early: early as u32, sdp }, cx);
                }
            }
            // RFC 3261 §9.1: a CANCEL had to wait for this.
            Phase::Ending { .. } => self.cancel(index, cx),
            Phase::Calling | Phase::Prepared | Phase::Answered | Phase::Confirmed | Phase::Over => {}
        }
    }

    fn invite_failed(&mut self, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Calling => {
                if let Some(outcome) = self.authorize(response, status, self.challenges()) {
                    match outcome {
                        Ok(()) => return self.send_invite(cx),
                        Err(loss) => return self.lose(loss, cx),
                    }
                }
                if status == 422 && self.takes_longer(response) {
                    return self.send_invite(cx);
                }
                let q850 = cause(response).map(|cause| cause.q850);
                self.over();
                self.tell(LegEvent::Refused { status, q850 }, cx);
            }
            Phase::Ending { .. } => self.settle(cx),
            Phase::Prepared | Phase::Answered | Phase::Confirmed | Phase::Over => {}
        }
    }

    /// A 2xx, first, again, or of another fork (RFC 3261 §13.2.2.4).
    fn invite_succeeded(&mut self, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        if let Some(which) = self.dialog_tagged(response.to.tag().unwrap_or_default()) {
            return self.succeeded_again(which, cx);
        }
        self.invite_answered(status, cx);
        let early = self.early_of(response);
        let mut dialog = Dialog::of_response(response, self.facts.is_secure());
        dialog.remote_cseq = early.and_then(|early| self.early[early].remote_cseq());
        match self.phase {
            Phase::Calling => {
                let sdp = self.first_answer(early, response);
                self.close_early_dialogs();
                self.dialog = Some(dialog);
                self.phase = Phase::Answered;
                self.timer = SessionTimer::agreed(cx.now, response);
                self.tell(LegEvent::Answered { early: early.map(|early| early as u32), sdp }, cx);
            }
            Phase::Ending { .. } | Phase::Prepared | Phase::Answered | Phase::Confirmed | Phase::Over => {
                self.stray(dialog, cx);
            }
        }
    }

    fn succeeded_again(&mut self, which: Which, cx: &mut Context<'_>) {
        match (which, self.dialog(which).is_some_and(|d| d.acknowledged)) {
            (Which::Main | Which::Stray(_) | Which::Early(_), true) => self.send_ack(which, cx),
            // The ACK waits for the call's word.
            (Which::Main, false) => {}
            (Which::Stray(_) | Which::Early(_), false) => self.tell_strays(cx),
        }
    }

    /// A dialog that nobody wants.
    fn stray(&mut self, dialog: Dialog, cx: &mut Context<'_>) {
        // Beyond the bound it is not acknowledged, and the peer gives up by itself (RFC 3261 §13.3.1.4).
        if self.strays.len() < MAX_FORKS {
            self.strays.push(dialog);
            self.tell_strays(cx);
        }
    }

    fn tell_strays(&self, cx: &mut Context<'_>) {
        self.tell(LegEvent::Stray { known: u32::try_from(self.strays.len()).unwrap_or(u32::MAX) }, cx);
    }

    /// [`crate::leg::LegCommand::TakeDown`].
    pub(super) fn take_down(&mut self, known: u32, cx: &mut Context<'_>) {
        for index in 0..self.strays.len().min(usize::try_from(known).unwrap_or(usize::MAX)) {
            if !self.strays[index].acknowledged {
                self.send_ack(Which::Stray(index), cx);
                self.send_bye(Which::Stray(index), Cause::NORMAL_CLEARING, cx);
            }
        }
    }

    fn request_response(&mut self, index: usize, response: &Message<'_>, status: u16, cx: &mut Context<'_>) {
        self.signal(false, super::summary(status), cx);
        let request = &mut self.requests[index];
        let step = request.transaction.handle(cx.now, ClientInput::Response(Class::of(status)));
        let kind = request.kind;
        match step {
            ClientStep::Tell if Class::of(status) != Class::Provisional => {
                self.requests[index].bytes = Bytes::new();
                if let RequestKind::Bye { dialog, cause, challenges } = kind
                    && let Some(Ok(())) = self.authorize(response, status, challenges)
                {
                    return self.send_bye_again(dialog, cause, challenges + 1, cx);
                }
                if let RequestKind::Prack { early, rack, challenges } = kind {
                    return self.prack_answered((early, rack, challenges), response, status, cx);
                }
                if let RequestKind::Update { challenges } = kind {
                    return self.refresh_answered(challenges, response, status, cx);
                }
                if kind == RequestKind::Cancel && status == 481 {
                    // There is no such INVITE at the peer, or it has its final response already.
                    self.forget_invite(response.cseq.number);
                }
                // 481 and 408 too: what the peer does not have is ended (RFC 3261 §15.1.1).
                self.settle(cx);
            }
            ClientStep::Tell
            | ClientStep::Nothing
            | ClientStep::Retransmit
            | ClientStep::AckAndTell
            | ClientStep::Ack
            | ClientStep::Expired => {}
        }
    }

    fn forget_invite(&mut self, cseq: u32) {
        if let Some(invite) = self.invites.iter_mut().find(|i| i.cseq == cseq && i.transaction.is_pending()) {
            invite.transaction.terminate();
            // It may still be on its way; a phone that it reaches is to be cancelled again.
            invite.given_up = true;
            invite.cancelled = false;
        }
    }

    pub(super) fn client_timeouts(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.invites.len() {
            let invite = &mut self.invites[index];
            match invite.transaction.handle(cx.now, ClientInput::Timeout) {
                ClientStep::Retransmit => {
                    let (bytes, way) = (invite.bytes.clone(), invite.way);
                    self.send_request(bytes, way, "INVITE", cx);
                }
                ClientStep::Expired => {
                    invite.given_up = true;
                    self.invite_expired(cx);
                }
                ClientStep::Nothing | ClientStep::Tell | ClientStep::AckAndTell | ClientStep::Ack => {}
            }
        }
        let (mut expired, mut refresh_expired) = (false, false);
        for index in 0..self.requests.len() {
            let request = &mut self.requests[index];
            match request.transaction.handle(cx.now, ClientInput::Timeout) {
                ClientStep::Retransmit => {
                    let (bytes, way, name) = (request.bytes.clone(), request.way, request.kind.name());
                    self.send_request(bytes, way, name, cx);
                }
                ClientStep::Expired => {
                    expired = true;
                    refresh_expired |= matches!(request.kind, RequestKind::Update { .. });
                }
                ClientStep::Nothing | ClientStep::Tell | ClientStep::AckAndTell | ClientStep::Ack => {}
            }
        }
        self.requests.retain(|r| !r.transaction.is_terminated());
        if refresh_expired {
            self.session_lost(Loss::Timeout, cx);
        }
        if expired {
            self.settle(cx);
        }
    }

    /// RFC 3263 §4.3 leaves the time to us: not even a 100 has come.
    pub(super) fn give_up_in_silence(&mut self, cx: &mut Context<'_>) {
        if self.silent_until.take_if(|until| *until <= cx.now).is_none() || self.phase != Phase::Calling {
            return;
        }
        for invite in &mut self.invites {
            // It may have arrived all the same: whoever then says that he rings is cancelled.
            invite.transaction.terminate();
            invite.bytes = Bytes::new();
            invite.given_up = true;
        }
        self.lose(Loss::Timeout, cx);
    }

    fn invite_expired(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Calling => self.lose(Loss::Timeout, cx),
            Phase::Ending { .. } => self.settle(cx),
            Phase::Prepared | Phase::Answered | Phase::Confirmed | Phase::Over => {}
        }
    }

    /// How many challenges the last INVITE answers.
    fn challenges(&self) -> u8 {
        self.invites.iter().filter(|i| !i.authorization.is_empty()).count() as u8
    }

    /// Signed anew for each INVITE, also one that answers a challenge: a statement is good for a minute.
    pub(super) fn identity(&self, cx: &Context<'_>) -> Option<Identity> {
        let (owned, signer) = (self.owned?, cx.signer.filter(|_| self.facts.trunk.sign)?);
        Some(signer.sign(owned, self.facts.to, self.facts.secret, cx.now))
    }

    fn send_invite(&mut self, cx: &mut Context<'_>) {
        let cseq = self.next_cseq();
        let (uri, offer) = (self.facts.request_uri(None), self.said.clone());
        let authorization = self.credentials(Subject { method: "INVITE", uri: &uri, body: &offer });
        let identity = self.identity(cx);
        let words = Words {
            authorization: &authorization,
            identity: identity.as_ref(),
            product: cx.product,
            offer: &offer,
            min_se: self.min_se,
        };
        let Some((way, bytes)) = self.facts.invite(cseq, words) else {
            return self.lose(Loss::Transport, cx);
        };
        self.invites.push(Invite {
            cseq,
            branch: self.facts.branch(cseq),
            way,
            transaction: InviteClient::start(cx.now, self.facts.flow(way).transport.is_reliable()),
            bytes: bytes.clone(),
            cancelled: false,
            doubtful: false,
            given_up: false,
            authorization,
        });
        self.send_request(bytes, way, "INVITE", cx);
    }

    /// Cancels what may be cancelled now; the rest waits for its provisional response.
    pub(super) fn cancel_invites(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.invites.len() {
            let transaction = &self.invites[index].transaction;
            if transaction.is_pending() && !transaction.is_calling() {
                self.cancel(index, cx);
            }
        }
    }

    fn cancel(&mut self, index: usize, cx: &mut Context<'_>) {
        let invite = &mut self.invites[index];
        if std::mem::replace(&mut invite.cancelled, true) {
            return;
        }
        let (cseq, way) = (invite.cseq, invite.way);
        if let Some(bytes) = self.facts.cancel(way, cseq) {
            self.start_request(cseq, way, bytes, RequestKind::Cancel, cx);
            // It may have had to wait for long. From here on the peer has its 64·T1 (RFC 3261 §9.1).
            if let Phase::Ending { give_up, .. } = &mut self.phase {
                *give_up = cx.now + LINGER;
            }
        }
    }

    fn send_ack_failure(&mut self, index: usize, to_tag: Option<&str>, cx: &mut Context<'_>) {
        let invite = &self.invites[index];
        let way = invite.way;
        if let Some(bytes) = self.facts.ack_failure(way, invite.cseq, None, to_tag, &invite.authorization) {
            self.send_request(bytes, way, "ACK", cx);
        }
    }

    pub(super) fn send_ack(&mut self, which: Which, cx: &mut Context<'_>) {
        let Some(dialog) = self.dialog_mut(which) else { return };
        dialog.acknowledged = true;
        let Some(dialog) = self.dialog(which) else { return };
        let invite = self.invites.iter().find(|i| i.cseq == dialog.invite_cseq);
        let authorization = invite.map_or(&[][..], |i| &i.authorization);
        if let Some(bytes) = self.facts.ack(dialog, dialog.invite_cseq, authorization) {
            self.send_request(bytes, Way::Usual, "ACK", cx);
        }
    }

    pub(super) fn send_bye(&mut self, which: Which, cause: Cause, cx: &mut Context<'_>) {
        self.send_bye_again(which, cause, 0, cx);
    }

    fn send_bye_again(&mut self, which: Which, cause: Cause, challenges: u8, cx: &mut Context<'_>) {
        let cseq = self.next_cseq();
        let uri = self.facts.request_uri(self.dialog(which));
        let authorization = self.credentials(Subject { method: "BYE", uri: &uri, body: b"" });
        let Some(dialog) = self.dialog(which) else { return };
        if let Some(bytes) = self.facts.bye(dialog, cseq, cause, &authorization) {
            self.start_request(cseq, Way::Usual, bytes, RequestKind::Bye { dialog: which, cause, challenges }, cx);
        }
    }

    pub(super) fn start_request(&mut self, cseq: u32, way: Way, bytes: Bytes, kind: RequestKind, cx: &mut Context<'_>) {
        let branch = self.facts.branch(cseq);
        let transaction = Client::start(cx.now, self.facts.flow(way).transport.is_reliable());
        self.requests.push(Request { cseq, branch, way, transaction, bytes: bytes.clone(), kind });
        self.send_request(bytes, way, kind.name(), cx);
    }
}

impl RequestKind {
    /// The leg is not over before its answer.
    pub(super) fn ends_leg(self) -> bool {
        match self {
            RequestKind::Cancel | RequestKind::Bye { .. } => true,
            RequestKind::Prack { .. } | RequestKind::Update { .. } => false,
        }
    }

    fn method(self) -> Method {
        match self {
            RequestKind::Cancel => Method::Cancel,
            RequestKind::Bye { .. } => Method::Bye,
            RequestKind::Prack { .. } => Method::Prack,
            RequestKind::Update { .. } => Method::Update,
        }
    }

    fn name(self) -> &'static str {
        match self {
            RequestKind::Cancel => "CANCEL",
            RequestKind::Bye { .. } => "BYE",
            RequestKind::Prack { .. } => "PRACK",
            RequestKind::Update { .. } => "UPDATE",
        }
    }
}

/// The session description of a message, if that is what its body is.
pub fn session(message: &Message<'_>) -> Option<Description> {
    message.has_body(SDP).then(|| Description::parse(message.body).ok()).flatten()
}

/// The Q.850 cause of a Reason header (RFC 3326 §2), 1–127.
pub fn cause(message: &Message<'_>) -> Option<Cause> {
    message.list(HeaderName::Reason).find_map(|reason| {
        let (protocol, params) = reason.split_once(';')?;
        let value = params.split(';').find_map(|p| {
            let (name, value) = p.split_once('=')?;
            name.trim().eq_ignore_ascii_case("cause").then(|| value.trim())
        })?;
        let q850 = value.parse().ok().filter(|cause| (1..=127).contains(cause))?;
        protocol.trim().eq_ignore_ascii_case("Q.850").then_some(Cause { q850 })
    })
}
