//! API clients: what they asked, what they were told, and what they do when the server dies on them.

use std::collections::{BTreeMap, BTreeSet};

use revbridge::model::{CallId, RequestId};
use revbridge::store::Answer;
use revbridge::switch::{BrowserReply, Reply};

use crate::checks::{Check, Checks};
use crate::setup;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Dial(usize),
    Hangup(usize),
    Connect(usize),
    Reconnect(usize),
    BrowserDial(usize),
    BrowserHangup(usize),
    Watch(usize),
    Drain,
}

#[derive(Debug, Default)]
pub struct Clients {
    last: u64,
    pending: BTreeMap<RequestId, Request>,
    /// The first 202 of each dial.
    pub answers: BTreeMap<usize, Answer>,
    pub calls: BTreeMap<usize, CallId>,
    /// Whose dial was answered with a new call.
    dialed: BTreeSet<usize>,
}

impl Clients {
    pub fn ask(&mut self, request: Request) -> RequestId {
        self.last += 1;
        self.pending.insert(RequestId(self.last), request);
        RequestId(self.last)
    }

    /// Was this asked before and not answered yet?
    pub fn is_waiting(&self, request: Request) -> bool {
        self.pending.values().any(|pending| *pending == request)
    }

    /// The connections break; what was asked on them.
    pub fn crash(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.pending).into_values().collect()
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    pub fn hear(&mut self, id: RequestId, reply: &Reply, checks: &mut Checks) -> Option<Request> {
        let Some(request) = self.pending.remove(&id) else {
            checks.fail(Check::Reply, format!("a second answer to {id:?}"));
            return None;
        };
        let fits = match (request, reply) {
            (Request::Dial(index), Reply::Dialed { call, answer }) => self.dialed(index, *call, answer),
            (Request::Dial(index), Reply::Replayed(answer)) => self.replayed(index, answer),
            (Request::Dial(_), Reply::Refused(_) | Reply::Unavailable(_)) => true,
            (Request::Hangup(_), Reply::Hangup { .. } | Reply::NotLive) => true,
            (Request::BrowserHangup(_), Reply::Hangup { .. }) => true,
            (_, Reply::Browser(reply)) => fits(request, reply),
            (Request::Drain, Reply::Draining) => true,
            _ => false,
        };
        checks.unless(fits, Check::Reply, || format!("{request:?} is answered {reply:?}"));
        Some(request)
    }

    fn dialed(&mut self, index: usize, call: CallId, answer: &Answer) -> bool {
        // A repetition may have heard of the call before.
        let same = self.calls.insert(index, call).is_none_or(|known| known == call);
        self.answers.insert(index, answer.clone());
        self.dialed.insert(index) && same
    }

    /// The first answer may have been lost in a crash; what is replayed must be one and the same.
    fn replayed(&mut self, index: usize, answer: &Answer) -> bool {
        if let Some(call) = setup::call_of(answer) {
            self.calls.insert(index, call);
        }
        self.answers.entry(index).or_insert_with(|| answer.clone()) == answer
    }
}

/// What a browser may hear. One whose call ended with the process, or long ago, is unknown.
fn fits(request: Request, reply: &BrowserReply) -> bool {
    use BrowserReply::{Answer, Busy, Connected, Dialing, Events, Over, Refused, Spent, StoreDown, Unknown, WrongPath};
    match request {
        Request::Connect(_) => {
            matches!(reply, Connected { .. } | Refused(_) | Spent | Over | Busy | StoreDown | Unknown)
        }
        Request::Reconnect(_) => matches!(reply, Answer(_) | Refused(_) | Over | Busy | Unknown),
        Request::BrowserDial(_) => matches!(reply, Dialing { .. } | WrongPath | Unknown),
        Request::BrowserHangup(_) => matches!(reply, Unknown),
        Request::Watch(_) => matches!(reply, Events(_) | Unknown),
        Request::Dial(_) | Request::Hangup(_) | Request::Drain => false,
    }
}
