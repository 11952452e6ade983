//! The process: it starts, takes up what the disk holds, and dies between any two of its outputs.

use std::time::Duration;

use revbridge::events::Notice;
use revbridge::model::{CommitId, E164, IdSource, Side};
use revbridge::store::{Committed, Step};
use revbridge::switch::{Input, Output, Switch};

use super::{Event, World};
use crate::browser::Browser;
use crate::checks::Check;
use crate::checks::wire::Granted;
use crate::clients::Request;
use crate::disk::Written;
use crate::mutant::Mutant;
use crate::scenario::{Crash, CrashPoint};
use crate::setup;

impl World {
    pub(super) fn input(&mut self, input: Input<'_>) {
        let Some(switch) = &mut self.switch else { return };
        let mut outputs = Vec::new();
        switch.handle(self.now, input, &mut outputs);
        self.perform(outputs);
    }

    pub(super) fn start(&mut self) {
        if self.switch.is_some() {
            return;
        }
        self.life += 1;
        self.outputs = 0;
        let config = setup::config(&self.scenario, self.node);
        let mut switch = Switch::new(config, IdSource::new(self.rng.bytes()), self.now);
        let mut outputs = Vec::new();
        let recovered = self.disk.recover();
        let node = self.node;
        self.trace.say(self.now, || format!("START    node {node}, {} calls to take up", recovered.calls.len()));
        if self.took_over {
            switch.handle(self.now, Input::TakeOver(recovered), &mut outputs);
        } else {
            switch.restore(self.now, recovered, &mut outputs);
        }
        self.switch = Some(switch);
        self.announce_audits();
        self.perform(outputs);
        Side::BOTH.into_iter().for_each(|side| self.resolve(side));
    }

    /// Tells the switch where a trunk is that has a name.
    pub(super) fn resolve(&mut self, side: Side) {
        let age = self.now.since(self.scenario.start);
        let Some(answers) = &self.scenario.names[side as usize] else { return };
        let Some((_, doors)) = answers.iter().rev().find(|(at, _)| *at <= age) else { return };
        let targets = setup::targets(side, *doors);
        self.trace.say(self.now, || format!("DNS      {} {doors:?}", side.letter()));
        self.input(Input::Targets(setup::trunk_name(side), &targets));
    }

    pub(super) fn crash(&mut self, &Crash { down, elsewhere, .. }: &Crash) {
        if self.healthy() || self.switch.take().is_none() {
            return;
        }
        self.trace.say(self.now, || format!("CRASH    down for {down:?}, back elsewhere: {elsewhere}"));
        self.took_over = elsewhere;
        self.node += u8::from(elsewhere);
        self.tally.take_overs += u64::from(elsewhere);
        self.tally.crashes += 1;
        self.life += 1;
        for written in self.disk.crash(self.now) {
            self.durable(&written);
        }
        self.shell.crash(self.now);
        for side in Side::BOTH {
            self.network.noticed(side);
            self.checks.wire.connection_lost(side);
        }
        if elsewhere {
            self.shell.elsewhere();
        }
        self.browsers.values_mut().for_each(Browser::crash);
        for request in self.clients.crash() {
            let again = match request {
                Request::Dial(index) => self.scenario.calls[index].keyed,
                Request::Hangup(_) | Request::Drain => true,
                // A token may be tried again; whoever was in has lost its call.
                Request::Connect(_) => true,
                Request::Reconnect(_) | Request::BrowserDial(_) | Request::BrowserHangup(_) | Request::Watch(_) => {
                    false
                }
            };
            if again {
                self.after(down + Duration::from_millis(100), Event::Ask(request));
            }
        }
        self.after(down, Event::Start);
    }

    /// Does what the switch wants, one by one; the process may die between any two.
    pub(super) fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.outputs += 1;
            let dies = |c: &Crash| matches!(c.when, CrashPoint::Output(n) if n <= self.outputs);
            if let Some(at) = self.crashes.iter().position(dies).filter(|_| !self.healthy()) {
                let crash = self.crashes.remove(at);
                return self.crash(&crash);
            }
            self.execute(output);
        }
    }

    pub(super) fn execute(&mut self, output: Output) {
        match output {
            Output::Transmit(flow, bytes) => self.transmit(flow, &bytes),
            Output::Commit(id, commit) => {
                self.trace.say(self.now, || format!("commit   {id:?} {} {}", commit.call, step_name(&commit.step)));
                if self.mutant == Some(Mutant::KeepsEarly) && commit.step == Step::Keep {
                    // The true answer comes too, and finds nobody waiting.
                    let early = Event::Committed { life: self.life, id, committed: Committed::Done };
                    self.after(Duration::ZERO, early);
                }
                self.disk.commit(id, commit);
                self.write();
            }
            Output::Forget(_) if self.mutant == Some(Mutant::LosesForget) => {}
            Output::Forget(calls) => {
                self.trace.say(self.now, || format!("forget   {calls:?}"));
                self.disk.forget(calls);
                self.write();
            }
            Output::Reply(id, reply) => self.reply(id, &reply),
            Output::Media(leg, command) => self.media(leg, command),
            Output::Notice(notice) => self.notice(&notice),
            Output::Trace(_) => {}
        }
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::CallPoisoned { call, what } => self.checks.fail(Check::Poisoned, format!("{call}: {what}")),
            Notice::MaskingBlocked { call, side, method, .. } => {
                self.checks.fail(Check::Masking, format!("{call}: the guard stopped a {method} to {side:?}"));
            }
            Notice::Signal { .. } => {}
            other => self.trace.say(self.now, || format!("notice   {other:?}")),
        }
    }

    pub(super) fn write(&mut self) {
        if self.mutant == Some(Mutant::AnswersEarly) {
            // The answer does not wait for the data, which needs two seconds more.
            if self.disk.begin(true).is_some() {
                let early = self.disk.answers_early();
                for (id, committed) in early {
                    self.after(Duration::ZERO, Event::Committed { life: self.life, id, committed });
                }
                self.after(Duration::from_secs(2), Event::Written);
            }
            return;
        }
        let healthy = self.healthy();
        if let Some(wait) = self.disk.begin(healthy) {
            self.after(wait, Event::Written);
        }
    }

    pub(super) fn written(&mut self) {
        // Answers leave in the order of the commits.
        let wait = self.rng.micros(0, 300);
        for written in self.disk.end(self.now) {
            self.durable(&written);
            let event = Event::Committed { life: self.life, id: written.id, committed: written.committed };
            if self.mutant != Some(Mutant::AnswersEarly) {
                self.after(wait, event);
            }
        }
        self.write();
    }

    pub(super) fn durable(&mut self, written: &Written) {
        let commit = &written.commit;
        self.trace.say(self.now, || {
            format!("durable  {:?} {} {}", written.id, commit.call, committed_name(&written.committed))
        });
        self.checks.on_durable(written);
        let permit = match &written.committed {
            Committed::Admitted { permit, .. } => permit.as_ref(),
            Committed::Permitted(permit) => Some(permit),
            _ => None,
        };
        let Some(permit) = permit else { return };
        let digits = |number: E164| number.text().digits().to_owned();
        let (to, shown) = (digits(permit.to()), digits(permit.shown().number()));
        self.checks.wire.grant(Granted { leg: permit.leg(), to, shown });
    }

    pub(super) fn committed(&mut self, id: CommitId, committed: Committed) {
        self.input(Input::Committed(id, committed));
    }
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Admit(_) => "admit",
        Step::PermitLeg(_) => "permit leg",
        Step::Extend { .. } => "extend",
        Step::Settle { .. } => "settle",
        Step::Connect { .. } => "connect",
        Step::Keep => "keep",
    }
}

fn committed_name(committed: &Committed) -> String {
    match committed {
        Committed::Done => "done".into(),
        Committed::Tripped(reason) => format!("tripped {reason:?}"),
        Committed::Admitted { .. } => "admitted".into(),
        Committed::Permitted(_) => "permitted".into(),
        Committed::Extended => "extended".into(),
        Committed::Refused(refusal) => format!("refused {refusal:?}"),
        Committed::Replayed(_) => "replayed".into(),
        Committed::Conflict { .. } => "conflict".into(),
        Committed::Spent => "spent".into(),
        Committed::Unavailable => "unavailable".into(),
    }
}
