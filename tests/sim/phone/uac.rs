//! The phone as a UAC inside its dialogs (RFC 3261 §12.2.1, §15.1.1, §17.1).

use std::time::Duration;

use revbridge::model::Timestamp;
use rsip::prelude::*;
use rsip::{Header, Method};

use super::message::{Incoming, Outgoing};
use super::plan::Act;
use super::{Effects, PATIENCE, Phone, T1, T2, Timer};

/// A request of the phone that waits for its answer, and afterwards what the answer gets.
#[derive(Debug)]
pub(super) struct Client {
    fork: usize,
    act: Act,
    method: Method,
    cseq: u32,
    text: String,
    /// Provisional or final: no more retransmissions.
    answered: bool,
    /// The final answer came.
    done: bool,
    ack: Option<String>,
}

impl Client {
    pub fn is_open_invite(&self) -> bool {
        self.method == Method::Invite && !self.done
    }
}

impl Phone {
    pub(super) fn act(&mut self, now: Timestamp, fork: usize, next: usize, fx: &mut Effects) {
        let Some(&(_, act)) = self.plan.acts.get(next) else { return };
        if self.dialogs[fork].over.is_some() {
            return;
        }
        // RFC 3261 §14.1: no new INVITE while one is in progress. The others may.
        let busy = self.clients.values().any(|c| !c.done && c.method == Method::Invite);
        if busy && act != Act::Hangup {
            return fx.after(T1, Timer::Act { fork, next });
        }
        // No CSeq is old as long as the server has heard of none.
        let inside = |c: &&Client| !matches!(c.act, Act::StrayBye | Act::Replaces | Act::UnknownMethod | Act::OldCseq);
        let heard = self.clients.values().filter(inside).any(|c| c.done && c.fork == fork);
        let act = if act == Act::OldCseq && !heard { Act::Options } else { act };
        self.perform(now, fork, act, fx);
        if let Some((wait, _)) = self.plan.acts.get(next + 1) {
            fx.after(*wait, Timer::Act { fork, next: next + 1 });
        }
    }

    fn perform(&mut self, now: Timestamp, fork: usize, act: Act, fx: &mut Effects) {
        let mut extra = self.confessions();
        let mut body = None;
        let method = match act {
            Act::Hangup => return self.hang_up(now, fork, fx),
            Act::Garbage => {
                let garbage = super::nonsense::garbage(&self.home, &mut self.rng);
                return fx.sends.push(garbage);
            }
            Act::Hold | Act::HoldOldStyle | Act::Resume | Act::Update => {
                self.dialogs[fork].sdp_version += 1;
                let direction = match act {
                    Act::Hold => "sendonly",
                    Act::HoldOldStyle => "hold",
                    _ => "sendrecv",
                };
                body = Some(self.describe(fork, direction));
                if act == Act::Update { Method::Update } else { Method::Invite }
            }
            Act::OfferlessReinvite => Method::Invite,
            Act::Replaces => {
                extra.push(Header::Other("Replaces".into(), format!("{};to-tag=x;from-tag=y", self.call_id)));
                Method::Invite
            }
            Act::Options | Act::OldCseq | Act::UnknownMethod => Method::Options,
            Act::InfoDigit => {
                return self.info_digit(fork, fx);
            }
            Act::Refer => {
                extra.push(Header::Other("Refer-To".into(), "<sip:+19005550000@premium.invalid>".into()));
                Method::Refer
            }
            Act::StrayBye => Method::Bye,
            Act::EarlyUpdate | Act::Refresh => Method::Update,
        };
        self.request(fork, act, method, extra, body.as_deref(), fx);
    }

    fn info_digit(&mut self, fork: usize, fx: &mut Effects) {
        let extra = vec![Header::Contact(self.contact().into())];
        let text = self.write(fork, Act::InfoDigit, Method::Info, extra, None);
        let body = "Signal=1\r\nDuration=160\r\n";
        let text = text.replace(
            "Content-Length: 0\r\n\r\n",
            &format!("Content-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        );
        self.start(fork, Act::InfoDigit, Method::Info, text, fx);
    }

    pub(super) fn hang_up(&mut self, now: Timestamp, fork: usize, fx: &mut Effects) {
        self.dialogs[fork].end(now, true);
        let extra = self.confessions();
        self.request(fork, Act::Hangup, Method::Bye, extra, None, fx);
    }

    pub(super) fn request(
        &mut self,
        fork: usize,
        act: Act,
        method: Method,
        extra: Vec<Header>,
        body: Option<&str>,
        fx: &mut Effects,
    ) {
        let text = self.write(fork, act, method, extra, body);
        self.start(fork, act, method, text, fx);
    }

    fn write(&mut self, fork: usize, act: Act, method: Method, extra: Vec<Header>, sdp: Option<&str>) -> String {
        self.branches += 1;
        let dialog = &mut self.dialogs[fork];
        dialog.cseq += 1;
        let cseq = if act == Act::OldCseq { 1 } else { dialog.cseq };
        let server = self.server_uri();
        let number = &self.number;
        let nobody = format!("{}-nobody", self.mark);
        let tag = if act == Act::StrayBye { &nobody } else { &self.dialogs[fork].tag };
        let outside = act == Act::Replaces;
        let call_id = if outside { format!("{}-replaces", self.mark) } else { self.call_id.clone() };
        let to_tag = if outside { String::new() } else { format!(";tag={}", self.server_tag) };
        let text = Outgoing {
            method,
            uri: &server,
            transport: self.home.transport,
            via: self.home.via,
            branch: &self.branch_name(),
            from: &format!("\"{}\" <sip:{number}@{}>;tag={tag}", self.mark, self.home.via),
            to: &format!("<{server}>{to_tag}"),
            call_id: &call_id,
            cseq,
            extra,
            sdp,
        }
        .write();
        if act == Act::UnknownMethod { text.replace("OPTIONS", "FROBNICATE") } else { text }
    }

    fn branch_name(&self) -> String {
        format!("z9hG4bK-{}-{}", self.mark, self.branches)
    }

    /// The server's Contact, as its INVITE gave it.
    fn server_uri(&self) -> String {
        let contact = self.invite.contact_header().map(|c| c.value().to_owned()).unwrap_or_default();
        let uri = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(uri, _)| uri.to_owned());
        uri.unwrap_or(contact)
    }

    fn start(&mut self, fork: usize, act: Act, method: Method, text: String, fx: &mut Effects) {
        let branch = self.branch_name();
        let cseq = self.dialogs[fork].cseq;
        let client = Client { fork, act, method, cseq, text: text.clone(), answered: false, done: false, ack: None };
        self.clients.insert(branch.clone(), client);
        fx.send(text);
        fx.after(T1, Timer::ResendRequest { branch, waited: T1, wait: T1 });
    }

    pub(super) fn resend_request(
        &mut self,
        now: Timestamp,
        branch: &str,
        waited: Duration,
        wait: Duration,
        fx: &mut Effects,
    ) {
        let Some(client) = self.clients.get_mut(branch) else { return };
        if client.done {
            return;
        }
        if waited >= PATIENCE {
            client.done = true;
            let (fork, act) = (client.fork, client.act);
            // RFC 3261 §12.2.1.2: no answer to a request inside a dialog ends the dialog.
            if self.dialogs[fork].is_up() && !matches!(act, Act::Replaces | Act::StrayBye | Act::UnknownMethod) {
                self.hang_up(now, fork, fx);
            }
            return;
        }
        if !client.answered {
            fx.send(client.text.clone());
        }
        let wait = if client.method == Method::Invite { wait * 2 } else { (wait * 2).min(T2) };
        let wait = wait.min(PATIENCE.saturating_sub(waited)).max(Duration::from_millis(1));
        fx.after(wait, Timer::ResendRequest { branch: branch.to_owned(), waited: waited + wait, wait });
    }

    pub(super) fn on_response(&mut self, now: Timestamp, message: &Incoming, fx: &mut Effects) {
        let status = message.status().unwrap_or_default();
        let Some(client) = self.clients.get_mut(&message.branch) else {
            return fx.fault(format!("an answer {status} to nothing that this phone asked"));
        };
        client.answered = true;
        if status < 200 {
            return;
        }
        if let Some(ack) = &client.ack {
            return fx.send(ack.clone());
        }
        if client.done {
            return;
        }
        client.done = true;
        let (fork, act, method, cseq) = (client.fork, client.act, client.method, client.cseq);
        // A dialog that is taken down after a restart has forgotten the CSeq numbers that it heard.
        let forgotten = act == Act::OldCseq && fx.server_forgot;
        if let Some(fault) = unexpected(act, status).filter(|_| !forgotten) {
            fx.fault(fault);
        }
        if method == Method::Invite {
            self.acknowledge(fork, cseq, status, message, fx);
        }
        // RFC 3261 §12.2.1.2.
        if matches!(status, 408 | 481)
            && !matches!(act, Act::StrayBye | Act::Replaces | Act::UnknownMethod | Act::OldCseq | Act::EarlyUpdate)
        {
            self.dialogs[fork].end(now, false);
        }
    }

    fn acknowledge(&mut self, fork: usize, cseq: u32, status: u16, message: &Incoming, fx: &mut Effects) {
        let server = self.server_uri();
        let to = message.message.to_header().map(|t| t.value().to_owned()).unwrap_or_default();
        let from = message.message.from_header().map(|f| f.value().to_owned()).unwrap_or_default();
        let branch = if status < 300 { format!("{}-ack", message.branch) } else { message.branch.clone() };
        let offered =
            status < 300 && self.clients.get(&message.branch).is_some_and(|c| c.act == Act::OfferlessReinvite);
        let body = offered.then(|| self.describe(fork, "sendrecv"));
        let ack = Outgoing {
            method: Method::Ack,
            uri: &server,
            transport: self.home.transport,
            via: self.home.via,
            branch: &branch,
            from: &from,
            to: &to,
            call_id: &message.call_id,
            cseq,
            extra: Vec::new(),
            sdp: body.as_deref(),
        }
        .write();
        fx.send(ack.clone());
        if let Some(client) = self.clients.get_mut(&message.branch) {
            client.ack = Some(ack);
        }
    }
}

/// What no server of ours may answer.
fn unexpected(act: Act, status: u16) -> Option<String> {
    let wrong = match act {
        Act::Refer | Act::Replaces | Act::StrayBye | Act::OldCseq | Act::UnknownMethod => status < 300,
        // Our answer was acknowledged, so its turn has come.
        Act::EarlyUpdate => matches!(status, 405 | 491 | 501),
        Act::Refresh => matches!(status, 405 | 422 | 501),
        Act::Hangup
        | Act::Hold
        | Act::HoldOldStyle
        | Act::Resume
        | Act::Update
        | Act::OfferlessReinvite
        | Act::Options
        | Act::InfoDigit
        | Act::Garbage => false,
    };
    wrong.then(|| format!("the server answered {status} to {act:?}"))
}
