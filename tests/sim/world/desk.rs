//! Clients at the API, the media threads, and the reckoning at the end.

use std::time::Duration;

use revbridge::media::{MediaCommand, MediaEvent};
use revbridge::model::{LegId, Money, RequestId, Side};
use revbridge::switch::{Command, Input, Reply};

use super::{Event, World};
use crate::checks::Check;
use crate::checks::calls::Story;
use crate::clients::Request;
use crate::mutant::Mutant;
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
        let presses = leg.side == Side::User && self.presses(leg);
        let healthy = self.healthy();
        for (wait, leg, event) in self.shell.command(self.now, leg, command, presses, healthy, &mut self.checks) {
            self.after(wait, Event::Media { life: self.life, leg, event });
        }
    }

    pub(super) fn presses(&self, leg: LegId) -> bool {
        let row = self.disk.tables.calls.get(&leg.call);
        let index = row.and_then(|row| setup::index_of(&row.record.connect_number.text()));
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
        };
        self.trace.say(self.now, || format!("ask      {request:?}"));
        let id = self.clients.ask(request);
        self.input(Input::Api(id, command));
    }

    pub(super) fn reply(&mut self, id: RequestId, reply: &Reply) {
        self.trace.say(self.now, || format!("reply    {id:?} {reply:?}"));
        if self.mutant == Some(Mutant::LosesReplies) && id.0.is_multiple_of(3) {
            return;
        }
        if let Reply::Dialed { call, .. } = reply {
            let durable = self.disk.tables.calls.contains_key(call);
            self.checks.unless(durable, Check::Barrier, || format!("{call} is accepted before it is durable"));
        }
        self.clients.hear(id, reply, &mut self.checks);
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

    pub(super) fn audit(&mut self, phones: &[(Side, String)]) {
        for key in phones {
            let Some(phone) = self.phones.get(key) else { continue };
            self.checks.unless(!phone.is_owned(), Check::Orphan, || {
                format!("{} hears nothing after the restart", phone.name())
            });
        }
    }

    pub(super) fn finish(&mut self) {
        let may_gap = self.tally.crashes > 0 && !self.scenario.is_lossless();
        if let Some(switch) = &self.switch {
            self.checks.on_quiet(switch.gauges(self.now), &self.shell, self.phones.values(), may_gap);
        }
        let pending = self.clients.pending();
        self.checks.unless(pending == 0, Check::Reply, || format!("{pending} requests have no answer"));
        self.checks.on_tables(&self.disk.tables);
        for row in self.disk.tables.calls.values() {
            let Some(index) = setup::index_of(&row.record.connect_number.text()) else { continue };
            let phone = |side| {
                let number = setup::phone_number(side, index);
                self.phones.values().find(|p| p.home.side == side && number.ends_with(p.number.trim_start_matches('+')))
            };
            let story = Story {
                scenario: &self.scenario,
                plan: &self.scenario.calls[index],
                record: &row.record,
                a: phone(Side::User),
                b: phone(Side::Destination),
                crashed: self.tally.crashes > 0,
                hung_up: self.hung_up.contains(&index),
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
        MediaCommand::Remote(_) => "remote".into(),
        MediaCommand::Play(source) => format!("play {source:?}"),
        MediaCommand::Close => "close".into(),
    }
}
