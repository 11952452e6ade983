//! Clients at the API, the media threads, and the reckoning at the end.

use std::time::Duration;

use revbridge::media::{MediaCommand, MediaEvent};
use revbridge::model::{LegId, Money, RequestId, Side};
use revbridge::switch::{Command, Input, Reply};

use super::{Event, ORPHAN, World};
use crate::checks::Check;
use crate::checks::calls::Story;
use crate::clients::Request;
use crate::mutant::Mutant;
use crate::phone::T2;
use crate::scenario::LAST_DIAL;
use crate::setup;

impl World {
    pub(super) fn media(&mut self, leg: LegId, mut command: MediaCommand) {
        self.trace.say(self.now, || format!("media    {leg:?} ◀ {}", media_name(&command)));
        if let (Some(Mutant::SharesPorts), MediaCommand::Open { port, .. }) = (self.mutant, &mut command) {
            port.0 = 20_000;
        }
        if self.mutant == Some(Mutant::LosesClose) && command == MediaCommand::Close {
            self.after(
                Duration::ZERO,
                Event::Media { life: self.life, leg, event: MediaEvent::Closed(Default::default()) },
            );
            return;
        }
        self.browser_offers(leg, &command);
        let presses = leg.side == Side::User && self.presses(leg);
        let healthy = self.healthy();
        for (wait, leg, event) in self.shell.command(self.now, leg, command, presses, healthy, &mut self.checks) {
            self.after(wait, Event::Media { life: self.life, leg, event });
        }
    }

    pub(super) fn presses(&self, leg: LegId) -> bool {
        let row = self.disk.tables.calls.get(&leg.call);
        let index = row.and_then(|row| setup::index_of(&row.record.to_number?.text()));
        index.is_some_and(|index| self.scenario.calls[index].presses)
    }

    pub(super) fn ask(&mut self, request: Request) {
        if self.switch.is_none() {
            return self.after(Duration::from_millis(500), Event::Ask(request));
        }
        if self.now >= self.scenario.start + LAST_DIAL && matches!(request, Request::Dial(_)) {
            return;
        }
        let command = match request {
            Request::Dial(index) => Command::Dial(Box::new(setup::dial(index, &self.scenario.calls[index]))),
            Request::Hangup(index) => {
                let Some(call) = self.clients.calls.get(&index) else { return };
                self.hung_up.insert(index);
                let organization = setup::organization(self.scenario.calls[index].organization);
                Command::Hangup { organization, call: *call }
            }
            Request::Drain => Command::Drain { deadline: Duration::from_secs(10) },
            Request::Connect(_)
            | Request::Reconnect(_)
            | Request::BrowserDial(_)
            | Request::BrowserHangup(_)
            | Request::Watch(_) => match self.browser_command(request) {
                Some(command) => command,
                None => return,
            },
        };
        self.trace.say(self.now, || format!("ask      {request:?}"));
        let waiting = self.clients.is_waiting(request);
        let id = self.clients.ask(request);
        let before = self.ports_left();
        self.input(Input::Api(id, command));
        if let (true, Request::Dial(_), Some(_)) = (waiting, request, &self.switch) {
            let taken = before - self.ports_left();
            self.checks.unless(taken == 0, Check::Ports, || format!("{taken} pairs for a repetition of {request:?}"));
        }
    }

    fn ports_left(&self) -> usize {
        self.switch.as_ref().map_or(0, |switch| switch.gauges(self.now).ports_left)
    }

    pub(super) fn reply(&mut self, id: RequestId, reply: &Reply) {
        self.trace.say(self.now, || format!("reply    {id:?} {reply:?}"));
        if self.mutant == Some(Mutant::LosesReplies) && id.0.is_multiple_of(3) {
            return;
        }
        match reply {
            Reply::Dialed { call, .. } => {
                let durable = self.disk.tables.calls.contains_key(call);
                self.checks.unless(durable, Check::Barrier, || format!("{call} is accepted before it is durable"));
            }
            Reply::Hangup { call, status } => {
                let row = self.disk.tables.calls.get(call);
                let durable = row.is_some_and(|row| row.settled && row.record.status == *status);
                let decided = durable || self.checks.books.settling_failed(*call);
                self.checks.unless(decided, Check::Barrier, || format!("{call} is hung up before it is durable"));
            }
            _ => {}
        }
        let Some(request) = self.clients.hear(id, reply, &mut self.checks) else { return };
        match (request, reply) {
            (Request::Dial(index), Reply::Dialed { answer, .. } | Reply::Replayed(answer)) => {
                self.token_issued(index, answer);
            }
            (Request::Connect(index) | Request::Watch(index) | Request::Reconnect(index), Reply::Browser(reply)) => {
                self.browser_replied(index, reply)
            }
            _ => {}
        }
    }

    pub(super) fn lower(&mut self, index: usize) {
        let plan = &self.scenario.organizations[index];
        let Some((_, legs, micros)) = plan.lowered else { return };
        let mut limits = setup::limits(plan, index);
        limits.max_concurrent_legs = legs;
        limits.daily_spend_limit = Money::from_micros(micros);
        self.trace.say(self.now, || format!("limits   {legs} legs, {micros} micro-units"));
        self.disk.declare(&setup::organization(index), limits);
    }

    pub(super) fn hang_up_all(&mut self) {
        let live: Vec<_> = self.clients.calls.keys().copied().collect();
        for index in live {
            self.ask(Request::Hangup(index));
        }
    }

    /// After a restart each phone that rings or talks must be told. At once when the snapshots know of it;
    /// an answer that they do not know has to be repeated first.
    pub(super) fn announce_audits(&mut self) {
        let sound = self.scenario.is_lossless() && self.scenario.disk.slow == 0 && self.scenario.disk.fails == 0;
        if self.life == 1 || !sound {
            return;
        }
        let round_trip = self.network.longest() * 2;
        for (key, phone) in &self.phones {
            let call = self.checks.wire.legs.get(phone.call_id()).map(|leg| leg.call);
            let known = |tag: &str| call.is_some_and(|call| self.disk.tables.knows(call, tag));
            let ringing = phone.waits_for_cancel().then_some((ORPHAN, None));
            let talking = phone.up().map(|(fork, dialog)| {
                let wait = if known(&dialog.tag) { ORPHAN } else { ORPHAN + T2 };
                (wait, Some(fork))
            });
            // An answer is repeated to the node that sent the INVITE. When that is dead, its phone gives up by itself.
            let asked_by = self.sources.get(&(key.0, phone.invite_branch().to_owned(), "INVITE".to_owned()));
            let is_heard = asked_by == Some(&self.node);
            let told = ringing.into_iter().chain(talking).filter(|(wait, _)| is_heard || *wait == ORPHAN);
            for (wait, fork) in told {
                let audit = Event::Audit { life: self.life, phone: key.clone(), fork };
                self.sequence += 1;
                self.queue.insert((self.now + wait + round_trip, self.sequence), audit);
            }
        }
    }

    /// `fork`: the dialog that was up, or `None` for a phone that rang.
    pub(super) fn audit(&mut self, phone: &(Side, String), fork: Option<usize>) {
        let Some(phone) = self.phones.get(phone) else { return };
        let told = match fork {
            Some(fork) => !phone.up().any(|(up, _)| up == fork),
            None => !phone.waits_for_cancel(),
        };
        self.checks.unless(told, Check::Orphan, || format!("{} hears nothing after the restart", phone.name()));
    }

    pub(super) fn finish(&mut self) {
        if let Some(switch) = &self.switch {
            self.checks.on_quiet(switch.gauges(self.now), &self.shell, self.phones.values());
        }
        let pending = self.clients.pending();
        self.checks.unless(pending == 0, Check::Reply, || format!("{pending} requests have no answer"));
        self.checks.on_tables(&self.disk.tables);
        self.browsers_finish();
        for row in self.disk.tables.calls.values() {
            let dialled = row.record.to_number.and_then(|to| setup::index_of(&to.text()));
            let Some(index) = dialled else { continue };
            let phone = |side| {
                let attempt = self.checks.wire.last_attempt(LegId { call: row.record.id, side })?;
                self.phones.get(&(side, attempt.to_owned()))
            };
            let story = Story {
                scenario: &self.scenario,
                plan: &self.scenario.calls[index],
                record: &row.record,
                a: phone(Side::User),
                b: phone(Side::Destination),
                crashed: self.tally.crashes > 0,
                hung_up: self.hung_up.contains(&index),
                browser: self.browsers.get(&index),
                prices: setup::prices(),
                now: self.now,
            };
            self.tally.answered += u64::from(row.record.answered_at.is_some());
            self.checks.on_story(&story);
        }
    }
}

fn media_name(command: &MediaCommand) -> String {
    match command {
        MediaCommand::Open { port, .. } => format!("open {}", port.0),
        MediaCommand::Connect { .. } => "connect".into(),
        MediaCommand::Remote(_) => "remote".into(),
        MediaCommand::Play(source) => format!("play {source:?}"),
        MediaCommand::Close => "close".into(),
    }
}
