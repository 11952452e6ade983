//! Browsers at the switch: which call a secret opens, who waits for an answer, and what there is to tell.
//!
//! ```text
//! token, or the secret to come back with ─▶ digest ─▶ call ─▶ CallEvent::Browser ─▶ Offered ─▶ Reply
//!                                                       └─ BrowserEvent ─▶ log ─▶ whoever watches
//! ```
//!
//! Of any number that come with one token at once, the first is let in to try; the others wait and are told
//! what became of it. A watcher asks for all events after the last that it knows and waits if there is none:
//! so nothing is pushed at a slow reader, and a reader that comes back misses nothing.
//!
//! Deliberately absent: secrets themselves (only digests are kept), and calls that are over and forgotten,
//! of which the store knows.

use std::collections::VecDeque;

use super::{BrowserCommand, BrowserReply, BrowserRequest, Output, Reply, Switch};
use crate::call::{BrowserWish, CallEvent, Offered};
use crate::events::{BrowserEvent, BrowserState};
use crate::media::BrowserOffer;
use crate::model::{CallId, E164, Path, RequestId, Timestamp, Token, TokenDigest, TokenKind};

/// Streams of events of one browser: a page, the page that replaces it, and two that are not known to be
/// gone yet. One more takes the place of the oldest.
const WATCHERS: usize = 4;

/// What the switch holds for the browser of a call.
#[derive(Debug)]
pub(super) struct Desk {
    path: Path,
    token: TokenDigest,
    /// Of the secret to come back with; `None` before a browser has come.
    returning: Option<TokenDigest>,
    /// Whose offer is being answered.
    offering: Option<Offerer>,
    /// Came with the same token meanwhile.
    contenders: Vec<RequestId>,
    watchers: VecDeque<RequestId>,
    /// States, and the last of each other kind: a closed list, so it stays short.
    log: VecDeque<(u64, BrowserEvent)>,
    last: u64,
}

#[derive(Debug)]
struct Offerer {
    request: RequestId,
    /// For a first offer: the secret to come back with, told with the answer.
    returning: Option<Token>,
}

impl Desk {
    pub fn new(path: Path, token: TokenDigest) -> Self {
        let (contenders, watchers, log) = Default::default();
        Self { path, token, returning: None, offering: None, contenders, watchers, log, last: 0 }
    }

    pub fn digests(&self) -> impl Iterator<Item = TokenDigest> {
        [Some(self.token), self.returning].into_iter().flatten()
    }

    fn note(&mut self, event: BrowserEvent) {
        self.log.retain(|(_, old)| match (old, &event) {
            (BrowserEvent::Peer { .. }, BrowserEvent::Peer { .. })
            | (BrowserEvent::Quality(_), BrowserEvent::Quality(_)) => false,
            (BrowserEvent::State { .. } | BrowserEvent::Peer { .. } | BrowserEvent::Quality(_), _) => true,
        });
        self.last += 1;
        self.log.push_back((self.last, event));
    }

    fn since(&self, after: u64) -> Vec<(u64, BrowserEvent)> {
        self.log.iter().filter(|(id, _)| *id > after).copied().collect()
    }

    fn is_over(&self) -> bool {
        let over = |event: &BrowserEvent| matches!(event, BrowserEvent::State { state: BrowserState::Ended, .. });
        self.log.iter().any(|(_, event)| over(event))
    }

    /// Everybody who waits for something, when nothing will come any more.
    pub fn dismiss(&mut self, out: &mut Vec<Output>) {
        let offering = self.offering.take().map(|offerer| offerer.request);
        let askers = offering.into_iter().chain(self.contenders.drain(..));
        out.extend(askers.map(|request| reply(request, BrowserReply::Over)));
        out.extend(self.watchers.drain(..).map(|request| reply(request, BrowserReply::Events(Vec::new()))));
    }
}

fn reply(request: RequestId, reply: BrowserReply) -> Output {
    Output::Reply(request, Reply::Browser(reply))
}

impl Switch {
    pub(super) fn browser(
        &mut self,
        now: Timestamp,
        request: RequestId,
        BrowserRequest { secret, command }: BrowserRequest,
        out: &mut Vec<Output>,
    ) {
        let Some(id) = self.tokens.get(&secret).copied() else {
            return out.push(reply(request, BrowserReply::Unknown));
        };
        let Some(desk) = self.calls.get(&id).and_then(|entry| entry.browser.as_ref()) else {
            return out.push(reply(request, BrowserReply::Unknown));
        };
        // A token opens, the other secret does everything else; each is unknown in the place of the other.
        let opens = desk.token == secret;
        match command {
            BrowserCommand::Connect { path, room, offer } if opens => {
                let fits = path == desk.path && room.is_none_or(|room| room.0 == id);
                if !fits {
                    return out.push(reply(request, BrowserReply::WrongPath));
                }
                self.connect(id, request, offer, out);
            }
            BrowserCommand::Reconnect { connection, offer } if !opens && connection.0 == id => {
                self.reconnect(id, request, offer, out);
            }
            BrowserCommand::Dial { connection, to } if !opens && connection.0 == id => {
                self.browser_dials(now, id, request, to, out);
            }
            BrowserCommand::Hangup { connection } if !opens && connection.0 == id => {
                self.browser_hangs_up(id, request, out);
            }
            BrowserCommand::Watch { connection, after } if !opens && connection.0 == id => {
                self.watch(id, request, after, out);
            }
            BrowserCommand::Connect { .. } => out.push(reply(request, BrowserReply::Unknown)),
            BrowserCommand::Reconnect { .. }
            | BrowserCommand::Dial { .. }
            | BrowserCommand::Hangup { .. }
            | BrowserCommand::Watch { .. } => {
                let what = if opens { BrowserReply::Unknown } else { BrowserReply::NotFound };
                out.push(reply(request, what));
            }
        }
    }

    fn connect(&mut self, id: CallId, request: RequestId, offer: Box<BrowserOffer>, out: &mut Vec<Output>) {
        let returning = self.ids.token(TokenKind::Return);
        let Some(desk) = self.calls.get_mut(&id).and_then(|entry| entry.browser.as_mut()) else { return };
        if desk.returning.is_some() {
            return out.push(reply(request, BrowserReply::Spent));
        }
        if desk.offering.is_some() {
            return desk.contenders.push(request);
        }
        desk.offering = Some(Offerer { request, returning: Some(returning) });
        let wish = BrowserWish::Connect { offer, returning: returning.digest() };
        self.work.push_back((id, CallEvent::Browser(wish)));
    }

    fn reconnect(&mut self, id: CallId, request: RequestId, offer: Box<BrowserOffer>, out: &mut Vec<Output>) {
        let Some(desk) = self.calls.get_mut(&id).and_then(|entry| entry.browser.as_mut()) else { return };
        if desk.offering.is_some() {
            return out.push(reply(request, BrowserReply::Busy));
        }
        desk.offering = Some(Offerer { request, returning: None });
        self.work.push_back((id, CallEvent::Browser(BrowserWish::Reconnect { offer })));
    }

    fn browser_dials(
        &mut self,
        now: Timestamp,
        id: CallId,
        request: RequestId,
        to: Option<E164>,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.calls.get(&id) else { return };
        let plan = entry.call.plan();
        if plan.connect.path() != Path::Browser {
            return out.push(reply(request, BrowserReply::WrongPath));
        }
        // The destination is locked: naming it only shows that both mean the same.
        if to.is_some_and(|to| to != plan.to) {
            return out.push(reply(request, BrowserReply::OtherDestination));
        }
        self.work.push_back((id, CallEvent::Browser(BrowserWish::Dial)));
        self.run(now, out);
        if let Some(entry) = self.calls.get(&id) {
            let status = entry.call.record().status;
            out.push(reply(request, BrowserReply::Dialing { call: id, status }));
        }
    }

    fn browser_hangs_up(&mut self, id: CallId, request: RequestId, out: &mut Vec<Output>) {
        let Some(entry) = self.calls.get_mut(&id) else { return };
        if entry.live {
            entry.hanging_up.push(request);
            self.work.push_back((id, CallEvent::Browser(BrowserWish::Hangup)));
        } else {
            let status = entry.call.record().status;
            out.push(Output::Reply(request, Reply::Hangup { call: id, status }));
        }
    }

    fn watch(&mut self, id: CallId, request: RequestId, after: u64, out: &mut Vec<Output>) {
        let Some(desk) = self.calls.get_mut(&id).and_then(|entry| entry.browser.as_mut()) else { return };
        let events = desk.since(after);
        if !events.is_empty() || desk.is_over() {
            return out.push(reply(request, BrowserReply::Events(events)));
        }
        desk.watchers.push_back(request);
        if desk.watchers.len() > WATCHERS {
            let oldest = desk.watchers.pop_front();
            out.extend(oldest.map(|oldest| reply(oldest, BrowserReply::Events(Vec::new()))));
        }
    }

    /// The call has decided on the offer that was made last.
    pub(super) fn offered(&mut self, id: CallId, offered: Offered, out: &mut Vec<Output>) {
        let Some(desk) = self.calls.get_mut(&id).and_then(|entry| entry.browser.as_mut()) else { return };
        let Some(Offerer { request, returning }) = desk.offering.take() else { return };
        let (first, others) = match offered {
            Offered::Answer(answer) => match returning {
                Some(returning) => {
                    desk.returning = Some(returning.digest());
                    self.tokens.insert(returning.digest(), id);
                    (BrowserReply::Connected { call: id, answer, returning }, BrowserReply::Spent)
                }
                None => (BrowserReply::Answer(answer), BrowserReply::Spent),
            },
            // The token is as good as before: those who waited may try.
            Offered::Refused(error) => (BrowserReply::Refused(error), BrowserReply::Busy),
            Offered::Unavailable => (BrowserReply::StoreDown, BrowserReply::StoreDown),
            Offered::Busy => (BrowserReply::Busy, BrowserReply::Busy),
            Offered::Spent => (BrowserReply::Spent, BrowserReply::Spent),
            Offered::Over => (BrowserReply::Over, BrowserReply::Over),
        };
        out.push(reply(request, first));
        out.extend(desk.contenders.drain(..).map(|request| reply(request, others.clone())));
    }

    pub(super) fn tell_browser(&mut self, id: CallId, event: BrowserEvent, out: &mut Vec<Output>) {
        let Some(desk) = self.calls.get_mut(&id).and_then(|entry| entry.browser.as_mut()) else { return };
        desk.note(event);
        // Whoever waits knows all that came before.
        let news = vec![(desk.last, event)];
        out.extend(desk.watchers.drain(..).map(|request| reply(request, BrowserReply::Events(news.clone()))));
    }
}
