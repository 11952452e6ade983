//! Session timers as a phone keeps them (RFC 4028), and what it answers to a request of the server's in a dialog.

use std::time::Duration;

use rsip::{Header, Method, Request};

use super::message::{Incoming, response};
use super::plan::{Act, Reply};
use super::{Effects, Phone, Timer, sdp};

/// What the phone wants at least where it finds a session too short.
pub const LONGER: u32 = 2_400;

impl Phone {
    /// What the phone's 2xx says of the session.
    pub(super) fn session_headers(&self) -> Vec<Header> {
        let Some(timer) = self.plan.timer.filter(|_| self.supports("timer")) else { return Vec::new() };
        let role = if timer.refreshes.is_some() { "uas" } else { "uac" };
        vec![Header::Require("timer".into()), expires(timer.seconds, role)]
    }

    /// The phone's own refreshes, from its answer on.
    pub(super) fn begin_session(&self, fork: usize, fx: &mut Effects) {
        if let Some(timer) = self.plan.timer
            && timer.refreshes == Some(true)
        {
            fx.after(Duration::from_secs(u64::from(timer.seconds) / 2), Timer::Refresh { fork });
        }
    }

    pub(super) fn refresh(&mut self, fork: usize, fx: &mut Effects) {
        let Some(timer) = self.plan.timer.filter(|_| self.dialogs[fork].is_up()) else { return };
        let mut extra = self.confessions();
        extra.push(Header::Supported("timer".into()));
        extra.push(expires(timer.seconds, "uac"));
        self.request(fork, Act::Refresh, Method::Update, extra, None, fx);
        self.begin_session(fork, fx);
    }

    /// The server wants the session refreshed; or asks whether the dialog is there.
    pub(super) fn on_in_dialog(&mut self, message: &Incoming, request: &Request, fx: &mut Effects) {
        let Some(fork) = self.fork_of(message).filter(|fork| self.dialogs[*fork].is_up()) else {
            return fx.send(response(request, 481, None, &[], None));
        };
        if let Some(again) = self.replies.get(&message.branch) {
            return fx.send(again.clone());
        }
        let timer = self.plan.timer;
        let asked = request.headers.iter().find_map(|h| other(h, "Session-Expires")).and_then(seconds);
        if !matches!(request.method, Method::Invite | Method::Update) || timer.is_none() || asked.is_none() {
            fx.fault(format!("{} in the dialog, which nobody has asked for", request.method));
        }
        let reply = timer.map(|timer| timer.reply).filter(|_| !self.replied_badly);
        let heard = sdp::read(&request.body);
        let pending = self.clients.values().any(|c| c.is_open_invite());
        let (mut extra, mut body) = (self.confessions(), None);
        let status = match reply {
            _ if request.method == Method::Invite && pending => 491,
            Some(Reply::Glare) if request.method == Method::Invite => 491,
            Some(Reply::NoUpdate) if request.method == Method::Update => 405,
            Some(Reply::TooShort) if asked.is_some_and(|asked| asked < LONGER) => {
                extra.push(Header::Other("Min-SE".into(), LONGER.to_string()));
                422
            }
            Some(Reply::Gone) => 481,
            Some(Reply::Busy) => 500,
            Some(Reply::Forgets) => 200,
            _ => {
                extra.push(expires(asked.unwrap_or(90), "uac"));
                200
            }
        };
        if status == 200 {
            body = heard.and_then(|_| self.session_body(fork));
        } else {
            self.replied_badly = true;
        }
        let text = response(request, status, None, &extra, body.as_deref());
        self.replies.insert(message.branch.clone(), text.clone());
        fx.send(text);
    }

    /// Whether an INVITE asks for a session that is as long as this phone wants it.
    pub(super) fn is_long_enough(invite: &Request) -> bool {
        let named = |name| invite.headers.iter().find_map(|h| other(h, name)).and_then(seconds);
        named("Session-Expires").is_some_and(|asked| asked >= LONGER) && named("Min-SE") == Some(LONGER)
    }
}

fn expires(seconds: u32, refresher: &str) -> Header {
    Header::Other("Session-Expires".into(), format!("{seconds};refresher={refresher}"))
}

fn other<'a>(header: &'a Header, name: &str) -> Option<&'a str> {
    match header {
        Header::Other(known, value) if known.eq_ignore_ascii_case(name) => Some(value),
        _ => None,
    }
}

fn seconds(value: &str) -> Option<u32> {
    value.split(';').next()?.trim().parse().ok()
}
