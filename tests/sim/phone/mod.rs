//! A phone that shares no code with the server: a UAS for the call that rings it, a UAC for what it
//! wants itself, in virtual time.
//!
//! ```text
//! INVITE ─▶ Challenged? ─▶ Ringing ─▶ Answered (one dialog per fork) ─▶ acts ─▶ BYE from either side
//!                             ├─────▶ Refused
//!                             └─ CANCEL ─▶ Refused(487), or answers all the same
//! ```
//!
//! A phone also judges: what a correct server never sends it becomes a fault.

pub mod dialog;
mod digest;
pub mod message;
pub mod nonsense;
pub mod plan;
pub mod reliable;
pub mod sdp;
mod session;
mod uac;
mod uas;

pub use uas::{PASSWORD, USERNAME};

use std::collections::BTreeMap;
use std::time::Duration;

use revbridge::model::{Side, Timestamp};
use rsip::{Header, Request};

use crate::rng::Rng;
use dialog::Dialog;
use message::Incoming;
use plan::{Outcome, PhonePlan, Session};
use sdp::{Heard, Words};
use uac::Client;

pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
/// 64·T1.
pub const PATIENCE: Duration = Duration::from_secs(32);

/// Where the phones of one side live.
#[derive(Debug, Clone, Copy)]
pub struct Home {
    pub side: Side,
    /// Occurs in every field that a phone may fill; must never be seen on the other side's wire.
    pub mark: &'static str,
    /// As a Via names it.
    pub transport: &'static str,
    /// The trunk's address: Via of what the phones send.
    pub via: &'static str,
    pub media: &'static str,
    pub realm: &'static str,
}

/// What a phone wants done.
#[derive(Debug, Default)]
pub struct Effects {
    pub sends: Vec<Vec<u8>>,
    pub timers: Vec<(Duration, Timer)>,
    /// What a correct server would not have sent.
    pub faults: Vec<String>,
    /// Said by the world: the server was restarted.
    pub server_forgot: bool,
    /// Likewise: nothing is lost in this world, and nobody dies.
    pub clean: bool,
}

impl Effects {
    pub fn send(&mut self, text: impl Into<String>) {
        self.sends.push(text.into().into_bytes());
    }

    pub fn after(&mut self, wait: Duration, timer: Timer) {
        self.timers.push((wait, timer));
    }

    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    Ring,
    Early,
    Final,
    /// Another fork answers.
    Second,
    AnswerAfterCancel,
    /// A 2xx is sent again until its ACK comes (RFC 3261 §13.3.1.4).
    ResendAnswer {
        fork: usize,
        waited: Duration,
        wait: Duration,
    },
    /// Timer G: a refusal is sent again until its ACK comes.
    ResendRefusal {
        cseq: u32,
        waited: Duration,
        wait: Duration,
    },
    HangUp {
        fork: usize,
    },
    Act {
        fork: usize,
        next: usize,
    },
    /// A reliable response is sent again until its PRACK comes.
    ResendReliable {
        fork: usize,
        rseq: u32,
        waited: Duration,
        wait: Duration,
    },
    Refresh {
        fork: usize,
    },
    ResendRequest {
        branch: String,
        waited: Duration,
        wait: Duration,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// A challenge was sent; the next INVITE should bring credentials.
    Challenged,
    /// A longer session was asked for; so should the next INVITE.
    TooShort,
    Ringing,
    Refused(u16),
    Answered,
    Silent,
}

/// What became of the INVITE, as the phone sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Challenged,
    /// Not picked up (yet).
    Unanswered,
    Canceled,
    Refused(u16),
    Answered(Timestamp),
}

#[derive(Debug)]
pub struct Phone {
    pub home: Home,
    pub number: String,
    pub plan: PhonePlan,
    mark: String,
    call_id: String,
    invite: Request,
    branch: String,
    sent_by: String,
    cseq: u32,
    server_tag: String,
    stage: Stage,
    refusal_acked: bool,
    last_response: Option<String>,
    challenges: u32,
    /// Has said that the INVITE's session is too short.
    asked_longer: bool,
    /// Has not granted a refresh.
    replied_badly: bool,
    /// What the server's requests in its dialogs got, by their branch.
    replies: BTreeMap<String, String>,
    canceled: bool,
    /// A CANCEL came, in time or not.
    unwanted: bool,
    pub dialogs: Vec<Dialog>,
    clients: BTreeMap<String, Client>,
    branches: u32,
    /// What the INVITE offered.
    pub offered: Option<Heard>,
    rng: Rng,
}

impl Phone {
    /// A phone that this INVITE, the first of its Call-ID, rings.
    pub fn new(home: Home, index: usize, plan: PhonePlan, invite: &Incoming, request: &Request, rng: Rng) -> Self {
        let mark = format!("{}{index}", home.mark);
        // One number may be asked for twice, by two trunks: two phones, with tags of their own.
        let attempt = invite.call_id.get(..4).unwrap_or_default();
        let tag = |fork| format!("{mark}-{attempt}-tag{fork}");
        let dialogs = (0..plan.forks.max(1)).map(|fork| Dialog::new(tag(fork))).collect();
        Self {
            home,
            number: message::user(&request.uri),
            plan,
            mark,
            call_id: invite.call_id.clone(),
            invite: request.clone(),
            branch: invite.branch.clone(),
            sent_by: invite.sent_by.clone(),
            cseq: invite.cseq,
            server_tag: invite.from_tag.clone(),
            stage: Stage::Ringing,
            refusal_acked: false,
            last_response: None,
            challenges: 0,
            asked_longer: false,
            replied_badly: false,
            replies: BTreeMap::new(),
            canceled: false,
            unwanted: false,
            dialogs,
            clients: BTreeMap::new(),
            branches: 0,
            offered: sdp::read(invite.body()),
            rng,
        }
    }

    pub fn receive(&mut self, now: Timestamp, message: &Incoming, fx: &mut Effects) {
        if self.is_deaf() {
            return;
        }
        match message.request() {
            Some(request) => self.on_request(now, message, request, fx),
            None => self.on_response(now, message, fx),
        }
    }

    pub fn timer(&mut self, now: Timestamp, timer: Timer, fx: &mut Effects) {
        match timer {
            Timer::Ring => self.ring(fx),
            Timer::Early => self.early_media(fx),
            Timer::Final => self.finish(now, fx),
            Timer::Second => self.answer(now, 1, fx),
            Timer::AnswerAfterCancel => self.answer(now, 0, fx),
            Timer::ResendAnswer { fork, waited, wait } => self.resend_answer(now, fork, waited, wait, fx),
            Timer::ResendRefusal { cseq, waited, wait } => self.resend_refusal(cseq, waited, wait, fx),
            Timer::ResendReliable { fork, rseq, waited, wait } => self.resend_reliable(fork, rseq, waited, wait, fx),
            Timer::Refresh { fork } => self.refresh(fork, fx),
            Timer::HangUp { fork } if self.dialogs[fork].is_up() => self.hang_up(now, fork, fx),
            Timer::HangUp { .. } => {}
            Timer::Act { fork, next } => self.act(now, fork, next, fx),
            Timer::ResendRequest { branch, waited, wait } => self.resend_request(now, &branch, waited, wait, fx),
        }
    }

    pub fn fate(&self) -> Fate {
        let answered = self.dialogs.iter().filter_map(|d| d.up).min();
        match (&self.stage, answered) {
            (_, Some(at)) => Fate::Answered(at),
            (Stage::Refused(487), None) if self.canceled => Fate::Canceled,
            (Stage::Refused(status), None) => Fate::Refused(*status),
            (Stage::Challenged | Stage::TooShort, None) => Fate::Challenged,
            (Stage::Ringing | Stage::Silent | Stage::Answered, None) => {
                if self.canceled {
                    Fate::Canceled
                } else {
                    Fate::Unanswered
                }
            }
        }
    }

    /// Off the hook, and able to hear that it should hang up.
    pub fn is_up(&self) -> bool {
        self.up().next().is_some()
    }

    /// The dialogs in which it talks, by their forks.
    pub fn up(&self) -> impl Iterator<Item = (usize, &Dialog)> {
        self.dialogs.iter().enumerate().filter(|(_, dialog)| !self.is_deaf() && dialog.is_up())
    }

    fn is_ringing(&self) -> bool {
        matches!(self.stage, Stage::Ringing) && !self.canceled
    }

    /// Rings, has said so, and must be told when nobody wants it any more (RFC 3261 §9.1: a CANCEL has
    /// to wait for a provisional answer).
    pub fn waits_for_cancel(&self) -> bool {
        self.is_ringing() && self.last_response.is_some()
    }

    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Of the INVITE that counts.
    pub fn invite_branch(&self) -> &str {
        &self.branch
    }

    /// Did this phone send a request with this branch?
    pub fn asked(&self, branch: &str) -> bool {
        self.clients.contains_key(branch)
    }

    pub fn was_unwanted(&self) -> bool {
        self.unwanted
    }

    pub fn name(&self) -> String {
        format!("{:?}'s phone {}", self.home.side, self.mark)
    }

    /// Hears nothing any more.
    fn is_deaf(&self) -> bool {
        self.plan.deaf && self.stage == Stage::Answered
    }

    fn is_silent(&self) -> bool {
        self.plan.outcome == Outcome::Silent
    }

    fn contact(&self) -> String {
        format!("<sip:{0}@{0}.invalid:5062>", self.mark)
    }

    /// The fields in which real phones give themselves away, all filled.
    fn confessions(&self) -> Vec<Header> {
        let mark = &self.mark;
        let identity = format!("\"{mark}\" <sip:{}@{mark}.invalid>", self.number);
        let mut headers = vec![
            Header::Contact(self.contact().into()),
            Header::UserAgent(format!("{mark}/1.0").into()),
            Header::Server(format!("{mark}/1.0").into()),
            Header::Organization(mark.as_str().into()),
            Header::Allow(self.methods().into()),
            Header::Other("P-Asserted-Identity".into(), identity.clone()),
            Header::Other("Remote-Party-ID".into(), format!("{identity};party=called")),
            Header::Other("History-Info".into(), format!("<sip:{}@{mark}.invalid>;index=1", self.number)),
            Header::Other("Diversion".into(), identity),
            Header::Other("Reason".into(), format!("SIP;cause=200;text=\"{mark}\"")),
            Header::Other("X-Canary".into(), mark.clone()),
        ];
        if self.plan.record_route {
            headers.push(Header::RecordRoute(format!("<sip:{};lr;x={mark}>", self.home.via).into()));
        }
        headers
    }

    fn methods(&self) -> &'static str {
        match self.plan.timer {
            Some(timer) if !timer.update => "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO",
            Some(_) | None => "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE",
        }
    }

    fn describe(&self, fork: usize, direction: &str) -> String {
        let address = if direction == "hold" { "0.0.0.0" } else { self.home.media };
        let direction = if direction == "hold" { "sendrecv" } else { direction };
        let version = self.dialogs[fork].sdp_version;
        let session = self.plan.session;
        Words { mark: &self.mark, address, port: 30_000 + 2 * fork as u16, version, session, direction }.write()
    }

    fn session_body(&self, fork: usize) -> Option<String> {
        (self.plan.session != Session::NoDescription).then(|| self.describe(fork, "sendrecv"))
    }
}
