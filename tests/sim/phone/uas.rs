//! The phone as a UAS (RFC 3261 §8.2, §13.3, §15.1.2, §17.2).

use std::time::Duration;

use revbridge::model::Timestamp;
use rsip::prelude::*;
use rsip::{Header, Method, Request};

use super::message::{Incoming, response};
use super::plan::{Challenge, Outcome};
use super::{Effects, PATIENCE, Phone, Stage, T1, T2, Timer, digest};

/// What the trunk's configuration of the simulated server says.
pub const USERNAME: &str = "revbridge";
pub const PASSWORD: &str = "correct horse";

impl Phone {
    pub(super) fn on_request(&mut self, now: Timestamp, message: &Incoming, request: &Request, fx: &mut Effects) {
        let in_dialog = message.to_tag.is_some();
        match request.method {
            Method::Invite if !in_dialog => self.on_invite(message, request, fx),
            Method::Ack => self.on_ack(message, fx),
            Method::Cancel => self.on_cancel(message, request, fx),
            Method::Bye => self.on_bye(now, message, request, fx),
            Method::Invite | Method::Options | Method::Info | Method::Update => self.on_in_dialog(message, request, fx),
            Method::PRack => self.on_prack(message, request, fx),
            Method::Message
            | Method::Notify
            | Method::Publish
            | Method::Refer
            | Method::Register
            | Method::Subscribe => fx.fault(format!("the server sent {}", request.method)),
        }
    }

    /// Takes the first INVITE up. Called once, right after [`Phone::new`].
    pub fn begin(&mut self, fx: &mut Effects) {
        if self.is_silent() {
            self.stage = Stage::Silent;
            return;
        }
        if self.plan.wants_longer && !self.asked_longer && self.supports("timer") {
            self.asked_longer = true;
            self.stage = Stage::TooShort;
            let header = Header::Other("Min-SE".into(), super::session::LONGER.to_string());
            self.refuse_with(422, vec![header], fx);
            return;
        }
        if let Some(challenge) = self.plan.challenge.filter(|c| self.challenges == 0 || c.never_content) {
            self.challenges += 1;
            self.stage = Stage::Challenged;
            let header = self.challenge(challenge);
            self.refuse_with(challenge.status, vec![header], fx);
            return;
        }
        self.stage = Stage::Ringing;
        if self.plan.trying {
            let text = response(&self.invite, 100, None, &[], None);
            self.last_response = Some(text.clone());
            fx.send(text);
        }
        for (wait, timer) in [(self.plan.ringing, Timer::Ring), (self.plan.early, Timer::Early)] {
            if let Some(wait) = wait {
                fx.after(wait, timer);
            }
        }
        match self.plan.outcome {
            Outcome::Answer(wait) | Outcome::Refuse(_, wait) => fx.after(wait, Timer::Final),
            Outcome::RingForever | Outcome::Silent => {}
        }
    }

    fn on_invite(&mut self, message: &Incoming, request: &Request, fx: &mut Effects) {
        if message.branch == self.branch {
            // RFC 3261 §17.2.1: a retransmission gets the last answer again.
            if let Some(text) = &self.last_response {
                fx.send(text.clone());
            }
        } else if message.cseq > self.cseq && matches!(self.stage, Stage::Challenged | Stage::TooShort) {
            if self.stage == Stage::Challenged {
                self.check_credentials(request, fx);
            }
            if self.asked_longer && !Self::is_long_enough(request) {
                fx.fault("an INVITE whose session is as short as the one that was refused");
            }
            self.invite = request.clone();
            self.branch = message.branch.clone();
            self.sent_by = message.sent_by.clone();
            self.cseq = message.cseq;
            self.last_response = None;
            self.begin(fx);
        } else if message.cseq >= self.cseq {
            fx.fault("a second INVITE of the same Call-ID that no challenge asked for");
        }
    }

    fn challenge(&self, challenge: Challenge) -> Header {
        let realm = if challenge.foreign { "somewhere.else.invalid" } else { self.home.realm };
        let algorithm = if challenge.sha256 { "SHA-256" } else { "MD5" };
        let nonce = format!("{}n{}", self.mark, self.challenges);
        let text = format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"");
        if challenge.status == 401 {
            Header::WwwAuthenticate(text.into())
        } else {
            Header::ProxyAuthenticate(text.into())
        }
    }

    fn check_credentials(&self, request: &Request, fx: &mut Effects) {
        let Some(challenge) = self.plan.challenge else { return };
        if challenge.foreign {
            fx.fault("credentials for a realm that is not the trunk's");
        }
        let value = request.headers.iter().find_map(|h| match h {
            Header::Authorization(a) => Some(a.value().to_owned()),
            Header::ProxyAuthorization(a) => Some(a.value().to_owned()),
            _ => None,
        });
        let Some(value) = value else { return fx.fault("an INVITE after a challenge brings no credentials") };
        if !digest::is_right(&value, USERNAME, PASSWORD, "INVITE", challenge.sha256) {
            fx.fault("a wrong digest response");
        }
    }

    pub(super) fn ring(&mut self, fx: &mut Effects) {
        if !self.is_ringing() {
            return;
        }
        for fork in 0..self.dialogs.len() {
            self.say_provisional(180, fork, None, None, fx);
        }
    }

    pub(super) fn early_media(&mut self, fx: &mut Effects) {
        if !self.is_ringing() {
            return;
        }
        let fork = self.dialogs.len() - 1;
        let body = self.session_body(fork);
        self.say_provisional(183, fork, body.as_deref(), Some(Timer::Early), fx);
    }

    /// Nobody has acknowledged what it said.
    pub(super) fn give_up(&mut self, fx: &mut Effects) {
        self.stage = Stage::Refused(503);
        let extra = self.confessions();
        self.refuse_with(503, extra, fx);
    }

    pub(super) fn respond(&mut self, text: String, fx: &mut Effects) {
        self.last_response = Some(text.clone());
        let nonsense = super::nonsense::about(&text, self.plan.nonsense, &self.home, &mut self.rng);
        fx.sends.extend(nonsense);
        fx.send(text);
    }

    pub(super) fn finish(&mut self, now: Timestamp, fx: &mut Effects) {
        if !self.is_ringing() {
            return;
        }
        match self.plan.outcome {
            Outcome::Answer(_) if self.dialogs.iter().any(|dialog| dialog.reliable.holds_back()) => {
                fx.after(T1, Timer::Final);
            }
            Outcome::Answer(_) => {
                self.answer(now, 0, fx);
                if let Some(wait) = self.plan.second.filter(|_| self.dialogs.len() > 1) {
                    fx.after(wait, Timer::Second);
                }
            }
            Outcome::Refuse(status, _) => {
                self.stage = Stage::Refused(status);
                let mut extra = self.confessions();
                if status == 302 {
                    extra.retain(|h| !matches!(h, Header::Contact(_)));
                    extra.push(Header::Contact("<sip:+19005550000@premium.invalid>".into()));
                }
                self.refuse_with(status, extra, fx);
            }
            Outcome::RingForever | Outcome::Silent => {}
        }
    }

    fn refuse_with(&mut self, status: u16, extra: Vec<Header>, fx: &mut Effects) {
        self.refusal_acked = false;
        let tag = self.dialogs[0].tag.clone();
        self.respond(response(&self.invite, status, Some(&tag), &extra, None), fx);
        fx.after(T1, Timer::ResendRefusal { cseq: self.cseq, waited: T1, wait: T1 });
    }

    pub(super) fn resend_refusal(&mut self, cseq: u32, waited: Duration, wait: Duration, fx: &mut Effects) {
        let stopped = self.refusal_acked || cseq != self.cseq || waited >= PATIENCE;
        if let (false, Some(text)) = (stopped, &self.last_response) {
            fx.send(text.clone());
            let wait = (wait * 2).min(T2);
            fx.after(wait, Timer::ResendRefusal { cseq, waited: waited + wait, wait });
        }
    }

    pub(super) fn answer(&mut self, now: Timestamp, fork: usize, fx: &mut Effects) {
        if self.dialogs[fork].up.is_some() || matches!(self.stage, Stage::Refused(_)) {
            return;
        }
        let (mut extra, tag, mut body) = (self.confessions(), self.dialogs[fork].tag.clone(), self.session_body(fork));
        extra.extend(self.session_headers());
        if self.plan.answers_once && self.dialogs[fork].reliable.answered {
            body = None;
        }
        let text = response(&self.invite, 200, Some(&tag), &extra, body.as_deref());
        self.stage = Stage::Answered;
        self.dialogs[fork].up = Some(now);
        self.dialogs[fork].answer.clone_from(&text);
        self.respond(text, fx);
        self.begin_session(fork, fx);
        if self.plan.hasty {
            fx.after(Duration::from_millis(10), Timer::HangUp { fork });
        }
        fx.after(T1, Timer::ResendAnswer { fork, waited: T1, wait: T1 });
    }

    pub(super) fn resend_answer(
        &mut self,
        now: Timestamp,
        fork: usize,
        waited: Duration,
        wait: Duration,
        fx: &mut Effects,
    ) {
        let dialog = &self.dialogs[fork];
        if dialog.acked || dialog.over.is_some() {
            return;
        }
        if waited >= PATIENCE {
            // RFC 3261 §13.3.1.4: no ACK within 64·T1, so the session is ended by a BYE.
            return self.hang_up(now, fork, fx);
        }
        fx.send(dialog.answer.clone());
        let wait = (wait * 2).min(T2);
        fx.after(wait, Timer::ResendAnswer { fork, waited: waited + wait, wait });
    }

    fn on_ack(&mut self, message: &Incoming, fx: &mut Effects) {
        if message.branch == self.branch {
            if matches!(self.stage, Stage::Refused(_) | Stage::Challenged | Stage::TooShort) {
                self.refusal_acked = true;
            }
            return;
        }
        let Some(fork) = self.fork_of(message) else {
            // The ACK of a challenge that came after the next INVITE.
            if message.cseq >= self.cseq {
                fx.fault("an ACK for a dialog that this phone does not have");
            }
            return;
        };
        let dialog = &mut self.dialogs[fork];
        if message.cseq != self.cseq || dialog.acked {
            return;
        }
        if dialog.up.is_none() {
            return fx.fault("an ACK for an answer that was not given");
        }
        dialog.acked = true;
        if let (None, Some((wait, _))) = (dialog.over, self.plan.acts.first()) {
            fx.after(*wait, Timer::Act { fork, next: 0 });
        }
    }

    fn on_cancel(&mut self, message: &Incoming, request: &Request, fx: &mut Effects) {
        if self.is_silent() {
            return;
        }
        // RFC 3261 §17.2.3.
        if (&message.branch, &message.sent_by) != (&self.branch, &self.sent_by) {
            return fx.send(response(request, 481, None, &[], None));
        }
        let tag = self.dialogs[0].tag.clone();
        fx.send(response(request, 200, Some(&tag), &[], None));
        self.unwanted = true;
        if !self.is_ringing() {
            return;
        }
        self.canceled = true;
        if let Some(wait) = self.plan.crossing {
            fx.after(wait, Timer::AnswerAfterCancel);
        } else {
            self.stage = Stage::Refused(487);
            let extra = self.confessions();
            self.refuse_with(487, extra, fx);
        }
    }

    fn on_bye(&mut self, now: Timestamp, message: &Incoming, request: &Request, fx: &mut Effects) {
        let Some(fork) = self.fork_of(message) else {
            fx.fault("a BYE for a dialog that this phone does not have");
            return fx.send(response(request, 481, None, &[], None));
        };
        let status = if self.dialogs[fork].ended_by_phone { 481 } else { 200 };
        self.dialogs[fork].end(now, false);
        let extra = self.confessions();
        fx.send(response(request, status, None, &extra, None));
    }

    pub(super) fn fork_of(&self, message: &Incoming) -> Option<usize> {
        self.dialogs.iter().position(|d| Some(d.tag.as_str()) == message.to_tag.as_deref())
    }
}
