//! Leg A is a browser: it comes with a token, its audio path stands, it dials or only joins, it may come back.
//!
//! ```text
//!  Committing(AwaitBrowser) ─▶ AwaitingBrowser ─ offer ─▶ media answers ─▶ Committing(Connect) ─▶ Arriving
//!                                    │     ▲                                     │               │
//!                      token_expired ▼     └────── the token could not be used ──┘               │
//!                                  Ending                      audio path stands (and `dial`) ───┘
//!                                    ▲                                           ▼
//!                                    └─ browser_gone ── grace ◀─ lost ── Committing(RingDestination) ─▶ …
//! ```
//!
//! - An offer is answered by the media first and uses the token up afterwards, so that an offer with which
//!   nothing can be done costs nothing. The answer leaves once the use is durable.
//! - From then on the browser has `grace` to be there: at first, and after each time it was lost.
//!
//! Deliberately absent: what an offer says besides its codecs and its certificate, and who asks (`switch`).

use std::time::Duration;

use smallvec::SmallVec;

use super::party::Phase;
use super::state::{Arriving, AwaitingBrowser, End, Next, State};
use super::{Call, CallAction, Connect};
use crate::events::{BrowserEnd, BrowserEvent, BrowserState, Notice, TokenNews};
use crate::media::{BrowserOffer, Fingerprint, MediaCommand, OfferError, Quality};
use crate::model::{EndReason, EndedBy, Path, Side, Status, Timestamp, TokenDigest};
use crate::sdp::Codec;
use crate::store::{Committed, Step};

/// How a browser comes to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrowserPlan {
    /// [`Path::Browser`] dials, [`Path::Join`] only joins.
    pub path: Path,
    pub token: TokenDigest,
    /// Until when the token can be used, and on [`Path::Browser`] the destination be dialled.
    pub expires_at: Timestamp,
    /// How long the browser may be away.
    pub grace: Duration,
}

/// What a browser wants. One offer at a time.
#[derive(Debug)]
pub enum BrowserWish {
    /// The first offer, with the token. `returning` is the digest of the secret with which it may come back.
    Connect {
        offer: Box<BrowserOffer>,
        returning: TokenDigest,
    },
    /// Another offer of the browser that is connected: after a change of network or a reload.
    Reconnect {
        offer: Box<BrowserOffer>,
    },
    /// Ring the destination.
    Dial,
    Hangup,
}

/// What became of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// As SDP.
    Answer(Box<str>),
    Refused(OfferError),
    /// The token was used before.
    Spent,
    /// The use of the token could not be made durable.
    Unavailable,
    /// Another offer is being answered or undone.
    Busy,
    /// The call is over.
    Over,
}

/// The browser, as its call sees it.
#[derive(Debug)]
pub(super) struct Browser {
    plan: BrowserPlan,
    offering: Option<Offering>,
    /// Of the last offer that was answered.
    codecs: SmallVec<[Codec; 3]>,
    fingerprint: Option<Fingerprint>,
    /// The audio path stands.
    up: bool,
    joined: bool,
    dialed: bool,
    /// Lost, or not there yet: when it is given up.
    back_by: Option<Timestamp>,
    told: Option<BrowserState>,
}

/// An offer that has no answer yet.
#[derive(Debug)]
struct Offering {
    /// The token is to be used up by it.
    returning: Option<TokenDigest>,
    codecs: SmallVec<[Codec; 3]>,
    fingerprint: Fingerprint,
    /// Waits for the use of the token to be durable.
    answer: Option<Box<str>>,
}

impl Browser {
    pub fn new(plan: BrowserPlan) -> Self {
        Self {
            plan,
            offering: None,
            codecs: SmallVec::new(),
            fingerprint: None,
            up: false,
            joined: false,
            dialed: false,
            back_by: None,
            told: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.up
    }

    /// All that the destination is offered.
    pub fn codecs(&self) -> &[Codec] {
        &self.codecs
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.back_by
    }
}

impl Call {
    /// The browser whose call it is; none when leg A is a phone.
    fn browser(&self) -> Option<&Browser> {
        self.browser.as_deref()
    }

    pub(super) fn is_browser(&self, side: Side) -> bool {
        side == Side::User && matches!(self.plan.connect, Connect::Browser(_))
    }

    pub(super) fn browser_wants(&mut self, now: Timestamp, wish: BrowserWish, out: &mut Vec<CallAction>) {
        match wish {
            BrowserWish::Connect { offer, returning } => self.browser_connects(now, offer, returning, out),
            BrowserWish::Reconnect { offer } => self.browser_reconnects(offer, out),
            BrowserWish::Dial => {
                if let Some(browser) = &mut self.browser {
                    browser.dialed = true;
                }
                self.ring_when_arrived(now, out);
            }
            BrowserWish::Hangup => self.end(now, End::hung_up(Side::User, self.joined), out),
        }
    }

    /// The admission is durable: the token can be used.
    pub(super) fn await_browser(&mut self, out: &mut Vec<CallAction>) {
        let Some(BrowserPlan { path, expires_at, .. }) = self.browser().map(|b| b.plan) else { return };
        out.push(CallAction::Notice(Notice::Token { call: self.plan.id, path, news: TokenNews::Issued }));
        self.state = State::AwaitingBrowser(AwaitingBrowser { until: expires_at });
    }

    fn browser_connects(
        &mut self,
        now: Timestamp,
        offer: Box<BrowserOffer>,
        returning: TokenDigest,
        out: &mut Vec<CallAction>,
    ) {
        let refused = match &self.state {
            State::AwaitingBrowser(awaiting) if awaiting.until <= now => Some(Offered::Over),
            // An attempt that came to nothing is still being undone.
            State::AwaitingBrowser(_) if self.user.media_open => Some(Offered::Busy),
            State::AwaitingBrowser(_) => None,
            State::Ending(_) => Some(Offered::Over),
            State::Committing(_)
            | State::CallingUser(_)
            | State::Confirming(_)
            | State::Arriving(_)
            | State::CallingDestination(_)
            | State::Bridged(_)
            | State::Failing(_) => Some(Offered::Spent),
        };
        match refused {
            Some(refused) => out.push(CallAction::Offered(refused)),
            None => {
                self.user.media_open = true;
                self.hand_over(offer, Some(returning), out);
            }
        }
    }

    fn browser_reconnects(&mut self, offer: Box<BrowserOffer>, out: &mut Vec<CallAction>) {
        if let State::Ending(_) = self.state {
            return out.push(CallAction::Offered(Offered::Over));
        }
        let Some(browser) = self.browser().filter(|browser| browser.offering.is_none()) else {
            return out.push(CallAction::Offered(Offered::Busy));
        };
        // Nothing is transcoded: what the destination took, or may still take, the browser must speak.
        let settled = match (&self.destination.agreed, &self.destination.offered) {
            (Some(_), _) => self.destination.codecs(),
            (None, Some(_)) => browser.codecs.clone(),
            (None, None) => SmallVec::new(),
        };
        let speaks = |codec: &Codec| *codec == Codec::TelephoneEvent || offer.codecs().contains(codec);
        if !settled.iter().all(speaks) {
            return out.push(CallAction::Offered(Offered::Refused(OfferError::NoCommonCodec)));
        }
        self.hand_over(offer, None, out);
    }

    fn hand_over(&mut self, offer: Box<BrowserOffer>, returning: Option<TokenDigest>, out: &mut Vec<CallAction>) {
        let secret = self.user.secret;
        if let Some(browser) = &mut self.browser {
            let (codecs, fingerprint) = (offer.codecs(), offer.fingerprint());
            browser.offering = Some(Offering { returning, codecs, fingerprint, answer: None });
            out.push(CallAction::Media(Side::User, MediaCommand::Connect { offer, secret }));
        }
    }

    /// The media has taken the latest offer.
    pub(super) fn browser_answered(&mut self, now: Timestamp, answer: Box<str>, out: &mut Vec<CallAction>) {
        let Some(browser) = &mut self.browser else { return };
        let Some(mut offering) = browser.offering.take() else { return };
        match (offering.returning, &self.state) {
            (None, _) => {
                let replaced = browser.fingerprint.is_some_and(|known| known != offering.fingerprint);
                browser.codecs = offering.codecs;
                browser.fingerprint = Some(offering.fingerprint);
                if replaced {
                    self.browser_lost(now, out);
                } else if !browser.up {
                    browser.back_by = Some(now + browser.plan.grace);
                }
                out.push(CallAction::Offered(Offered::Answer(answer)));
            }
            (Some(returning), State::AwaitingBrowser(_)) => {
                offering.answer = Some(answer);
                browser.offering = Some(offering);
                let token = browser.plan.token;
                self.record.status = Status::CallingUser;
                self.wait_for(Next::Connect, Step::Connect { token, returning }, Vec::new(), out);
            }
            // Its call has ended meanwhile, and it was told.
            (Some(_), _) => {}
        }
    }

    /// The media could do nothing with the latest offer. The token is as good as before.
    pub(super) fn browser_refused(&mut self, error: OfferError, out: &mut Vec<CallAction>) {
        let Some(offering) = self.browser.as_mut().and_then(|browser| browser.offering.take()) else { return };
        if offering.returning.is_some() {
            self.user.media_open = false;
        }
        out.push(CallAction::Offered(Offered::Refused(error)));
    }

    /// The token is used, durably: this browser is leg A.
    pub(super) fn browser_connected(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let Some(browser) = &mut self.browser else { return };
        let Some(Offering { codecs, fingerprint, answer, .. }) = browser.offering.take() else { return };
        let BrowserPlan { path, expires_at, grace, .. } = browser.plan;
        browser.codecs = codecs;
        browser.fingerprint = Some(fingerprint);
        browser.back_by = (!browser.up).then(|| now + grace);
        self.user.phase = Phase::Up;
        out.push(CallAction::Offered(answer.map_or(Offered::Unavailable, Offered::Answer)));
        out.push(CallAction::Notice(Notice::Token { call: self.plan.id, path, news: TokenNews::Used }));
        self.set_status(Status::CallingUser, out);
        // Who only joins has used all of the token's time by that.
        let until = (path == Path::Browser).then_some(expires_at);
        self.state = State::Arriving(Arriving { until });
        self.tell_state(now, BrowserState::Connecting, out);
        self.ring_when_arrived(now, out);
    }

    /// The token could not be used: the media of the attempt is undone, and the token waits for another.
    pub(super) fn browser_not_connected(&mut self, committed: &Committed, out: &mut Vec<CallAction>) {
        let Some(browser) = &mut self.browser else { return };
        browser.offering = None;
        browser.up = false;
        let until = browser.plan.expires_at;
        let spent = *committed == Committed::Spent;
        out.push(CallAction::Offered(if spent { Offered::Spent } else { Offered::Unavailable }));
        out.push(CallAction::Media(Side::User, MediaCommand::Close));
        self.record.status = Status::Queued;
        self.state = State::AwaitingBrowser(AwaitingBrowser { until });
    }

    pub(super) fn browser_up(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let call = self.plan.id;
        let (Some(browser), false) = (&mut self.browser, matches!(self.state, State::Ending(_))) else { return };
        browser.back_by = None;
        if std::mem::replace(&mut browser.up, true) {
            return;
        }
        let (first, path) = (!std::mem::replace(&mut browser.joined, true), browser.plan.path);
        out.push(CallAction::Tell(BrowserEvent::Peer { connected: true }));
        if first {
            out.push(CallAction::Notice(Notice::BrowserJoined { call, path }));
            self.tell_state(now, BrowserState::Ready, out);
        }
        self.ring_when_arrived(now, out);
    }

    pub(super) fn browser_down(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let alive = !matches!(self.state, State::Ending(_));
        if alive && self.browser().is_some_and(Browser::is_up) {
            self.browser_lost(now, out);
        }
    }

    /// From now on it has `grace` to come back; the destination hears nothing meanwhile.
    fn browser_lost(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let Some(browser) = &mut self.browser else { return };
        browser.back_by = Some(now + browser.plan.grace);
        if std::mem::replace(&mut browser.up, false) {
            out.push(CallAction::Tell(BrowserEvent::Peer { connected: false }));
        }
    }

    /// The destination is rung when the browser hears us and, where it dials, has said so.
    fn ring_when_arrived(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let Some(browser) = self.browser() else { return };
        let ready = browser.up && (browser.dialed || browser.plan.path == Path::Join);
        if let (State::Arriving(_), true) = (&self.state, ready) {
            self.stage_began = now;
            // The INVITE leaves the instant its permit is durable, so this is what the record says.
            self.record.started_at = Some(now);
            self.permit_destination(out);
        }
    }

    pub(super) fn token_expired(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        if let Some(browser) = self.browser() {
            let path = browser.plan.path;
            out.push(CallAction::Notice(Notice::Token { call: self.plan.id, path, news: TokenNews::Expired }));
        }
        self.end(now, End::token_expired(), out);
    }

    /// The browser was away for too long.
    pub(super) fn browser_timeout(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let away = self.browser().is_some_and(|browser| browser.back_by.is_some_and(|by| by <= now));
        if away && !matches!(self.state, State::Ending(_)) {
            self.end(now, End::new(EndReason::BrowserGone, EndedBy::Timeout), out);
        }
    }

    /// Whoever waits for an answer to an offer gets none any more.
    pub(super) fn dismiss_browser(&mut self, out: &mut Vec<CallAction>) {
        let Some(browser) = &mut self.browser else { return };
        browser.back_by = None;
        if browser.offering.take().is_some() {
            out.push(CallAction::Offered(Offered::Over));
        }
    }

    /// Tells the browser where its call stands; each state once, and none that lies behind.
    pub(super) fn tell_state(&mut self, at: Timestamp, state: BrowserState, out: &mut Vec<CallAction>) {
        let Some(browser) = &mut self.browser else { return };
        if browser.told.is_none_or(|told| told < state) {
            browser.told = Some(state);
            out.push(CallAction::Tell(BrowserEvent::State { state, at, end: None }));
        }
    }

    /// The end is durable.
    pub(super) fn tell_ended(&mut self, at: Timestamp, out: &mut Vec<CallAction>) {
        let Some(browser) = &mut self.browser else { return };
        if let (Some(reason), Some(by)) = (self.record.end_reason, self.record.ended_by) {
            browser.told = Some(BrowserState::Ended);
            let end = Some(BrowserEnd { reason, by, status: self.record.status });
            out.push(CallAction::Tell(BrowserEvent::State { state: BrowserState::Ended, at, end }));
        }
    }

    /// Before both are joined there is nothing to tell of.
    pub(super) fn browser_quality(&self, quality: Quality, out: &mut Vec<CallAction>) {
        if let (State::Bridged(_), Some(_)) = (&self.state, self.browser()) {
            out.push(CallAction::Tell(BrowserEvent::Quality(quality)));
        }
    }
}

impl End {
    pub(super) fn token_expired() -> Self {
        Self::new(EndReason::TokenExpired, EndedBy::Timeout)
    }
}
