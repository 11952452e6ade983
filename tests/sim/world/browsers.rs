//! What browsers do: they come with a token, are heard, dial, are lost, come back, and watch all the while.

use std::time::Duration;

use revbridge::media::{MediaCommand, MediaEvent};
use revbridge::model::{CallId, LegId, Path, Side, TokenDigest};
use revbridge::store::Answer;
use revbridge::switch::{BrowserCommand, BrowserReply, BrowserRequest, Command};

use super::{Event, World};
use crate::browser::{BrowserPlan, offer};
use crate::checks::Check;
use crate::clients::Request;
use crate::mutant::Mutant;
use crate::setup;

impl World {
    fn browser_plan(&self, index: usize) -> Option<BrowserPlan> {
        self.scenario.calls[index].browser.clone()
    }

    /// The call's index, when its leg A is a browser.
    pub(super) fn browser_of(&self, call: CallId) -> Option<usize> {
        self.browsers.keys().copied().find(|index| self.clients.calls.get(index) == Some(&call))
    }

    /// Its token has been issued.
    pub(super) fn token_issued(&mut self, index: usize, answer: &Answer) {
        let (Some(plan), Some(token)) = (self.browser_plan(index), setup::token(index, answer)) else { return };
        let browser = self.browsers.entry(index).or_default();
        if browser.token.replace(token).is_some() {
            return;
        }
        if let Some(at) = plan.connects {
            self.after(at, Event::Ask(Request::Connect(index)));
            for rival in plan.rivals {
                self.after(at + rival, Event::Ask(Request::Connect(index)));
            }
        }
    }

    /// What a browser's request is to the switch; `None` when it cannot be made yet.
    pub(super) fn browser_command(&mut self, request: Request) -> Option<Command> {
        let (Request::Connect(index)
        | Request::Reconnect(index)
        | Request::BrowserDial(index)
        | Request::BrowserHangup(index)
        | Request::Watch(index)) = request
        else {
            return None;
        };
        let plan = self.browser_plan(index)?;
        let call = *self.clients.calls.get(&index)?;
        let browser = self.browsers.get_mut(&index)?;
        let connection = revbridge::model::ConnectionId(call);
        let offered = |page| offer(page, plan.pcma_only);
        let (secret, command): (TokenDigest, _) = match request {
            Request::Connect(_) => {
                let path = plan.path;
                let room = (path == Path::Join).then_some(revbridge::model::RoomName(call));
                (browser.token?, BrowserCommand::Connect { path, room, offer: offered(0) })
            }
            Request::Reconnect(_) => {
                let reload = plan.outages.get(browser.outages.checked_sub(1)?).is_some_and(|outage| outage.reload);
                let page = if reload { browser.outages } else { 0 };
                (browser.secret?, BrowserCommand::Reconnect { connection, offer: offered(page) })
            }
            Request::BrowserDial(_) => {
                browser.dialed = true;
                (browser.secret?, BrowserCommand::Dial { connection, to: None })
            }
            Request::BrowserHangup(_) => {
                browser.hung_up = true;
                (browser.secret?, BrowserCommand::Hangup { connection })
            }
            _ => (browser.secret?, BrowserCommand::Watch { connection, after: browser.seen }),
        };
        Some(Command::Browser(Box::new(BrowserRequest { secret, command })))
    }

    pub(super) fn browser_replied(&mut self, index: usize, reply: &BrowserReply) {
        match reply {
            BrowserReply::Connected { call, returning, .. } => {
                let used = self.disk.tables.tokens.values().any(|token| token.call == *call && token.used);
                self.checks.unless(used, Check::Barrier, || format!("{call} lets a browser in before it is durable"));
                self.browser_is_in(index, returning.digest());
            }
            BrowserReply::Events(events) => {
                let Some(browser) = self.browsers.get_mut(&index) else { return };
                for (id, event) in events {
                    if let Some(what) = browser.hear(*id, event) {
                        self.checks.fail(Check::Told, format!("the browser of {index} is told of {what}"));
                    }
                }
                let over = events.is_empty() || browser.end.is_some();
                if !over {
                    self.after(Duration::from_millis(1), Event::Ask(Request::Watch(index)));
                }
            }
            _ => {}
        }
    }

    fn browser_is_in(&mut self, index: usize, secret: TokenDigest) {
        let Some(plan) = self.browser_plan(index) else { return };
        let Some(browser) = self.browsers.get_mut(&index) else { return };
        let first = browser.secret.replace(secret).is_none();
        self.checks.unless(first, Check::Token, || format!("the token of {index} lets a second browser in"));
        self.after(Duration::ZERO, Event::Ask(Request::Watch(index)));
        let acts = [(plan.dials, Request::BrowserDial(index)), (plan.hangs_up, Request::BrowserHangup(index))];
        for (wait, request) in acts {
            if let Some(wait) = wait {
                self.after(wait, Event::Ask(request));
            }
        }
    }

    /// The audio threads have an offer, and say what they do with it.
    pub(super) fn browser_offers(&mut self, leg: LegId, command: &MediaCommand) {
        let MediaCommand::Connect { .. } = command else { return };
        let Some(index) = self.browser_of(leg.call) else { return };
        let Some(plan) = self.browser_plan(index) else { return };
        let Some(browser) = self.browsers.get_mut(&index) else { return };
        let up = match browser.outages.checked_sub(1) {
            None => plan.up,
            Some(last) => plan.outages.get(last).and_then(|outage| outage.up),
        };
        browser.offers += 1;
        if self.mutant == Some(Mutant::FalseUp) {
            let early = Event::FalseUp { life: self.life, leg };
            self.after(Duration::from_millis(60), early);
        }
        if let Some(wait) = up {
            // After the answer, which takes at most ten milliseconds.
            self.after(wait + Duration::from_millis(10), self.media_event(leg, MediaEvent::BrowserUp));
        }
    }

    fn media_event(&self, leg: LegId, event: MediaEvent) -> Event {
        Event::Media { life: self.life, leg, event }
    }

    /// The switch hears of the audio of a browser.
    pub(super) fn browser_is_heard(&mut self, leg: LegId, event: &MediaEvent) {
        if leg.side != Side::User || *event != MediaEvent::BrowserUp {
            return;
        }
        let Some(index) = self.browser_of(leg.call) else { return };
        let Some(plan) = self.browser_plan(index) else { return };
        let Some(browser) = self.browsers.get_mut(&index) else { return };
        browser.was_up = true;
        let Some(outage) = plan.outages.get(browser.outages) else { return };
        browser.outages += 1;
        if outage.heard {
            self.after(outage.at, self.media_event(leg, MediaEvent::BrowserDown));
        }
        if let Some(back) = outage.back {
            self.after(outage.at + back, Event::Ask(Request::Reconnect(index)));
        }
    }

    /// An INVITE leaves for the destination of this call.
    pub(super) fn browser_first(&mut self, call: CallId) {
        let Some(index) = self.browser_of(call) else { return };
        let (Some(plan), Some(browser)) = (self.browser_plan(index), self.browsers.get(&index)) else { return };
        let (was_up, dialed) = (browser.was_up, browser.dialed);
        self.checks.unless(was_up, Check::Order, || format!("{call} rings the destination, and hears no browser"));
        let said = dialed || plan.path == Path::Join;
        self.checks.unless(said, Check::Order, || format!("{call} rings the destination, and nobody dialled"));
    }

    /// Who watched to the end was told the end that the record has.
    pub(super) fn browsers_finish(&mut self) {
        for (index, browser) in &self.browsers {
            let row = self.clients.calls.get(index).and_then(|call| self.disk.tables.calls.get(call));
            let Some(record) = row.map(|row| &row.record) else { continue };
            if let Some(end) = browser.end {
                let told = (Some(end.reason), Some(end.by), end.status);
                let known = (record.end_reason, record.ended_by, record.status);
                self.checks.unless(told == known, Check::Told, || {
                    format!("{} ended for {known:?}, its browser was told {told:?}", record.id)
                });
            }
            let lost = self.tally.crashes > 0;
            self.checks.unless(browser.secret.is_none() || browser.end.is_some() || lost, Check::Told, || {
                format!("the browser of {} never heard that it is over", record.id)
            });
        }
    }
}
