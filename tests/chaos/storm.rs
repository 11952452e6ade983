//! The rounds of the storm.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::dice::Dice;
use crate::ledger::{Promised, call_of, destination, user};
use crate::support::{Crowd, Lab, Manner, Response, Server, Settings, count, say};

/// Clients that dial, each after the other.
const CLIENTS: usize = 4;
/// A call that nobody asked for again for so long will never be answered.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so many ends in a row a process lives long enough to forget its calls (64·T1). One that is killed every few
/// seconds for minutes says BYE for thousands of them at each start, and what is lost then in the phones' full sockets
/// says nothing of the server.
const ROUNDS_OF_A_BURST: usize = 8;
const FORGETTING: Duration = Duration::from_secs(34);

pub struct Options {
    pub length: Duration,
    pub seed: u64,
    /// Instead of a file of its own.
    pub store: Option<String>,
    /// For a shell, before each round.
    pub each_round: Option<String>,
}

/// How a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
}

pub struct Storm {
    options: Options,
    lab: Lab,
    server: Server,
    users: Crowd,
    destinations: Crowd,
    dice: Dice,
    promised: Mutex<Promised>,
    next: AtomicUsize,
    answers: AtomicUsize,
    hang_ups: AtomicUsize,
    faults: Vec<String>,
    kills: usize,
    drains: usize,
}

impl Storm {
    pub fn new(options: Options) -> Self {
        let lab = Lab::new();
        let mut settings = Settings {
            max_concurrent_legs: 1_000_000,
            max_calls_per_minute: 1_000_000,
            daily_spend_limit: "1000000",
            media_ports: "20000-29999",
            drain_deadline_seconds: 1,
            organization: "breaker_short_answers = 0\nbreaker_answer_percent = 0".into(),
            ..lab.settings()
        };
        if let Some(url) = &options.store {
            settings.store = format!("url = \"{url}\"");
        }
        let server = Server::start(settings);
        let empty = server.records().is_empty();
        assert!(empty, "the store has calls of another storm, which would all be differences: give an empty one");
        let users = Crowd::new(lab.user(), user_manner);
        let destinations = Crowd::new(lab.destination(), destination_manner);
        let dice = Dice::new(options.seed);
        Self {
            options,
            lab,
            server,
            users,
            destinations,
            dice,
            promised: Mutex::default(),
            next: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            hang_ups: AtomicUsize::new(0),
            faults: Vec::new(),
            kills: 0,
            drains: 0,
        }
    }

    /// Everything that was found.
    pub fn run(mut self) -> Vec<String> {
        let until = Instant::now() + self.options.length;
        let mut rounds = 0;
        while Instant::now() < until {
            self.round();
            rounds += 1;
            if rounds % ROUNDS_OF_A_BURST == 0 && Instant::now() + FORGETTING < until {
                std::thread::sleep(FORGETTING);
            }
        }
        self.settle();
        let promised = self.promised.lock().expect("the clients are well");
        let mut faults = std::mem::take(&mut self.faults);
        faults.extend(promised.compare(&self.server, &self.users, &self.destinations));
        say(&format!(
            "storm: {rounds} rounds, {} kills, {} drains, {} calls, {} answers to dials, {} hang-ups in {}",
            self.kills,
            self.drains,
            promised.ids.len(),
            self.answers.load(Ordering::Relaxed),
            self.hang_ups.load(Ordering::Relaxed),
            self.lab.folder().display()
        ));
        count("storm-calls", promised.ids.len());
        count("storm-kills", self.kills);
        // A storm in which nothing happened has shown nothing.
        if self.kills == 0 || promised.ids.is_empty() {
            faults.push("the storm was too short for a kill and a call".to_owned());
        }
        faults
    }

    /// Load, and the end of a process in the middle of it; then the next process, and the proof of the books.
    fn round(&mut self) {
        if let Some(command) = &self.options.each_round {
            let done = Command::new("sh").args(["-c", command]).status();
            if !done.is_ok_and(|status| status.success()) {
                self.faults.push(format!("`{command}` failed"));
            }
        }
        let length = self.dice.between(150, 1_600);
        let end = if self.dice.below(4) == 0 { End::Terminate } else { End::Kill };
        let stop = AtomicBool::new(false);
        let seeds: Vec<u64> = (0..=CLIENTS).map(|_| self.dice.below(u64::MAX)).collect();
        let (storm, dead) = (&*self, &stop);
        std::thread::scope(|scope| {
            for seed in &seeds[1..] {
                scope.spawn(move || storm.dial_on(Dice::new(*seed), dead));
            }
            scope.spawn(|| storm.hang_up_on(Dice::new(seeds[0]), dead));
            std::thread::sleep(length);
            if end == End::Terminate {
                // Draining goes on under load.
                storm.server.terminate();
                std::thread::sleep(Duration::from_millis(300));
            }
            dead.store(true, Ordering::Relaxed);
            // The clients are in the middle of something when it dies.
            if end == End::Kill {
                storm.server.signal("KILL");
            }
        });
        match end {
            End::Kill => self.kills += 1,
            End::Terminate => self.drains += 1,
        }
        if self.server.exited(Duration::from_secs(20)).is_none() {
            self.faults.push(format!("the server outlives {end:?}"));
            self.server.kill();
        }
        self.audit("after the end of a process");
        self.server.restart();
        if self.dice.below(5) == 0 {
            // Also in the middle of a start.
            std::thread::sleep(self.dice.between(0, 120));
            self.server.kill();
            self.kills += 1;
            self.audit("after the end of a start");
            self.server.restart();
        }
        self.server.wait_until_ready();
        self.ask_again();
    }

    fn audit(&mut self, when: &str) {
        let report = self.server.audit();
        for found in report["found"].as_array().into_iter().flatten() {
            self.faults.push(format!("audit {when}: {found}"));
        }
    }

    /// Dials until told to stop: a request at a time, up to three times at once.
    fn dial_on(&self, mut dice: Dice, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let call = self.next.fetch_add(1, Ordering::Relaxed);
            let times = 1 + dice.below(3);
            let accepted = std::thread::scope(|scope| {
                let dials: Vec<_> = (0..times).map(|_| scope.spawn(|| self.dial(call))).collect();
                dials.into_iter().all(|dial| dial.join().is_ok_and(|accepted| accepted))
            });
            if !accepted {
                // As a client would that is told to come again.
                std::thread::sleep(Duration::from_millis(40));
            }
        }
    }

    /// Whether it was accepted.
    fn dial(&self, call: usize) -> bool {
        let key = format!("storm-{call}");
        let body =
            crate::support::server::dial_body(json!({"connect_number": user(call), "to_number": destination(call)}));
        let answer = self.server.try_request("POST", "/v1/calls/dial", &[("Idempotency-Key", &key)], Some(&body));
        let Ok(answer) = answer else { return false };
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.took(call, &answer)
    }

    fn took(&self, call: usize, answer: &Response) -> bool {
        let mut promised = self.promised.lock().expect("the clients are well");
        match (answer.status, answer.data()["call_id"].as_str()) {
            (202, Some(id)) => promised.take(call, id.to_owned()),
            // It drains, or dies with the request in hand.
            (503, _) => return false,
            (_, _) => promised.broken.push(format!("request {call} was answered {}: {}", answer.status, answer.body)),
        }
        answer.status == 202
    }

    /// Every request without an answer is made again until it has one, so that none is in doubt.
    fn ask_again(&mut self) {
        let asked = self.next.load(Ordering::Relaxed);
        let known = |storm: &Self, call| storm.promised.lock().expect("well").ids.contains_key(&call);
        let open: Vec<usize> = (0..asked).filter(|call| !known(self, *call)).collect();
        let storm = &*self;
        std::thread::scope(|scope| {
            for part in open.chunks(open.len().div_ceil(16).max(1)) {
                scope.spawn(move || part.iter().for_each(|call| storm.insist(*call)));
            }
        });
        let never = open.iter().filter(|call| !known(storm, **call));
        let faults: Vec<String> = never.map(|call| format!("request {call} is never accepted")).collect();
        self.faults.extend(faults);
    }

    fn insist(&self, call: usize) {
        let until = Instant::now() + PATIENCE;
        while !self.dial(call) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Hangs up calls at random moments, many of them while they are being answered.
    fn hang_up_on(&self, mut dice: Dice, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(dice.between(5, 40));
            let newest = self.promised.lock().expect("well").ids.iter().next_back().map(|(_, id)| id.clone());
            let Some(id) = newest else { continue };
            let hung_up = self.server.try_request("POST", &format!("/v1/calls/{id}/hangup"), &[], None);
            self.hang_ups.fetch_add(usize::from(hung_up.is_ok()), Ordering::Relaxed);
        }
    }

    /// Ends what lives, and waits until no phone believes in anything.
    fn settle(&mut self) {
        self.ask_again();
        let until = Instant::now() + Duration::from_secs(15);
        while self.server.legs_in_use() > 0 && Instant::now() < until {
            self.hang_up_whoever_is_up();
            std::thread::sleep(Duration::from_millis(50));
        }
        for (name, crowd) in [("user", &self.users), ("destination", &self.destinations)] {
            for number in crowd.quiet(Duration::from_secs(10)) {
                self.faults.push(format!("the {name}'s phone of request {} is still up", call_of(&number)));
            }
        }
        self.audit("at the end");
    }
}

impl Storm {
    fn hang_up_whoever_is_up(&self) {
        let [(ringing, talking), (called, joined)] = [self.users.up(), self.destinations.up()];
        let up = [ringing, talking, called, joined].concat();
        let calls: BTreeSet<usize> = up.iter().map(|number| call_of(number)).collect();
        let ids: Vec<String> = {
            let promised = self.promised.lock().expect("well");
            calls.iter().filter_map(|call| promised.ids.get(call).cloned()).collect()
        };
        self.server.hang_up_all(&ids);
    }
}

fn user_manner(number: &str) -> Manner {
    match call_of(number) % 7 {
        5 => Manner::Busy,
        6 => Manner::Answers(Duration::from_millis(30), Some(Duration::from_millis(250))),
        n => Manner::Answers(Duration::from_millis(8 * n as u64), None),
    }
}

fn destination_manner(number: &str) -> Manner {
    match call_of(number) % 5 {
        0 => Manner::Rings,
        1 => Manner::Declines,
        n => Manner::Answers(Duration::from_millis(20 * n as u64), Some(Duration::from_millis(300 * n as u64))),
    }
}
