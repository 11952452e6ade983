//! The production switch on a thread of its own: with the production store, a phone that answers, and
//! audio threads that say what the test wants.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::backend::store_config;
use revbridge::api::{Ask, Busy};
use revbridge::config::Config;
use revbridge::media::{LegStats, MediaCommand, MediaEvent, OfferError, Source};
use revbridge::model::{CallId, CommitId, IdSource, LegId, RequestId, Side, Timestamp};
use revbridge::sip::{EndpointConfig, Flow};
use revbridge::store::open;
use revbridge::store::tenants::Declaration;
use revbridge::store::{Committed, Store};
use revbridge::switch::{Command, Input, Output, Reply, Switch, SwitchConfig};
use tokio::sync::oneshot;

use super::phone::{Habit, Phone};

/// What comes to the switch.
enum Said {
    Command(Command, oneshot::Sender<Reply>),
    Committed(Vec<(CommitId, Committed)>),
    Media(LegId, MediaEvent),
    Packet(Flow, Vec<u8>),
    /// The clock was set forward.
    Late,
    Stop,
}

/// What a test sees of it, and sets.
#[derive(Default)]
pub struct Stage {
    pub habit: Habit,
    /// What the audio does with offers; answered by default.
    pub refuse: Option<OfferError>,
    /// Calls whose browser has an answer.
    pub offered: Vec<CallId>,
    /// What each user hears.
    pub heard: Vec<Source>,
    pub invites: Vec<String>,
    /// All that went in or out, as a log would show it.
    pub transcript: String,
    pub live: usize,
}

#[derive(Clone)]
pub struct Switchboard {
    said: Sender<Said>,
    pub stage: Arc<Mutex<Stage>>,
    clock: Clock,
}

/// The time, and how much later it is meant to be.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(since.as_micros() as u64 + self.0.load(Ordering::SeqCst))
    }
}

pub struct Running {
    pub board: Switchboard,
    pub store: Arc<dyn Store>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(config: &Config, path: &Path, clock: Clock) -> Self {
        let (said, hears) = channel();
        let answers = Mutex::new(said.clone());
        let answer = move |all| drop(answers.lock().unwrap().send(Said::Committed(all)));
        let (store, recovered) = open::open(&store_config(path), "solo", answer).unwrap();
        assert_eq!(store.declare(Declaration::from(config), clock.now()), Ok(vec![]));
        let board = Switchboard { said, stage: Arc::default(), clock };
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(&board.clock.now().as_micros().to_le_bytes().repeat(2));
        let mut switch = Switch::new(switch_config(config), IdSource::new(seed), board.clock.now());
        let mut restored = Vec::new();
        switch.restore(board.clock.now(), recovered, &mut restored);
        let desk = Desk {
            switch,
            board: board.clone(),
            store: Arc::clone(&store),
            phone: Phone::default(),
            replies: HashMap::new(),
            next: 0,
        };
        let thread = std::thread::spawn(move || desk.run(&hears, restored));
        Self { board, store, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.board.said.send(Said::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic there has failed its test already.
            let _ = thread.join();
        }
    }
}

impl Switchboard {
    pub fn media(&self, call: CallId, event: MediaEvent) {
        self.said.send(Said::Media(LegId { call, side: Side::User }, event)).unwrap();
    }

    /// It is that much later.
    pub fn later(&self, by: Duration) {
        self.clock.0.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
        self.said.send(Said::Late).unwrap();
    }

    pub fn stage<T>(&self, look: impl FnOnce(&mut Stage) -> T) -> T {
        look(&mut self.stage.lock().unwrap())
    }

    pub fn wait(&self, what: &str, until: impl Fn(&mut Stage) -> bool) {
        let start = Instant::now();
        while !self.stage(&until) {
            assert!(start.elapsed() < Duration::from_secs(20), "waited for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Ask for Switchboard {
    fn ask(&self, command: Command, reply: oneshot::Sender<Reply>) -> Result<(), Busy> {
        self.said.send(Said::Command(command, reply)).map_err(|_| Busy)
    }
}

struct Desk {
    switch: Switch,
    board: Switchboard,
    store: Arc<dyn Store>,
    phone: Phone,
    replies: HashMap<RequestId, oneshot::Sender<Reply>>,
    next: u64,
}

impl Desk {
    fn run(mut self, hears: &Receiver<Said>, restored: Vec<Output>) {
        self.carry_out(restored);
        loop {
            let now = self.board.clock.now();
            let wait = self.switch.next_timeout().map_or(Duration::from_secs(1), |at| at.since(now));
            match hears.recv_timeout(wait.min(Duration::from_secs(1))) {
                Ok(Said::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Said::Command(command, reply)) => {
                    self.next += 1;
                    self.replies.insert(RequestId(self.next), reply);
                    self.handle(Input::Api(RequestId(self.next), command));
                }
                Ok(Said::Committed(all)) => {
                    all.into_iter().for_each(|(id, committed)| self.handle(Input::Committed(id, committed)));
                }
                Ok(Said::Media(leg, event)) => self.handle(Input::Media(leg, event)),
                Ok(Said::Packet(flow, bytes)) => self.handle(Input::Packet(flow, &bytes)),
                Ok(Said::Late) | Err(RecvTimeoutError::Timeout) => {}
            }
            if self.switch.next_timeout().is_some_and(|at| at <= self.board.clock.now()) {
                self.handle(Input::Timeout);
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.note(&input);
        let (mut out, now) = (Vec::new(), self.board.clock.now());
        self.switch.handle(now, input, &mut out);
        let live = self.switch.gauges(now).live_calls;
        self.board.stage(|stage| stage.live = live);
        self.carry_out(out);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.note(&output);
            match output {
                Output::Reply(request, reply) => {
                    let _ = self.replies.remove(&request).expect("one answer each").send(reply);
                }
                Output::Transmit(flow, bytes) => self.transmit(flow, &bytes),
                Output::Commit(id, commit) => self.store.submit(id, commit),
                Output::Forget(calls) => self.store.forget(calls),
                Output::Media(leg, command) => self.media(leg, command),
                Output::Notice(_) | Output::Trace(_) => {}
            }
        }
    }

    fn note(&self, what: &dyn std::fmt::Debug) {
        self.board.stage(|stage| {
            // Writing to a String cannot fail.
            let _ = writeln!(stage.transcript, "{what:?}");
        });
    }

    fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let habit = self.board.stage(|stage| {
            stage.invites.extend(text.starts_with("INVITE ").then(|| text.clone()));
            stage.habit
        });
        for answer in self.phone.hear(&text, habit) {
            self.board.said.send(Said::Packet(flow, answer.into_bytes())).unwrap();
        }
    }

    fn media(&mut self, leg: LegId, command: MediaCommand) {
        let event = match command {
            MediaCommand::Connect { .. } => Some(match self.board.stage(|stage| stage.refuse) {
                Some(error) => MediaEvent::BrowserRefused(error),
                None => {
                    self.board.stage(|stage| stage.offered.push(leg.call));
                    MediaEvent::BrowserAnswer("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n".into())
                }
            }),
            MediaCommand::Close => Some(MediaEvent::Closed(LegStats::default())),
            MediaCommand::Play(source) if leg.side == Side::User => {
                self.board.stage(|stage| stage.heard.push(source));
                None
            }
            MediaCommand::Play(_) | MediaCommand::Open { .. } | MediaCommand::Remote(_) => None,
        };
        event.into_iter().for_each(|event| self.board.said.send(Said::Media(leg, event)).unwrap());
    }
}

fn switch_config(config: &Config) -> SwitchConfig {
    SwitchConfig {
        endpoint: EndpointConfig {
            listeners: config.sip.listeners.clone(),
            trunks: config.trunks.clone(),
            failover: Duration::from_secs(4),
            product: "revbridge".into(),
            signer: None,
        },
        media: config.media.clone(),
        calls: config.calls.clone(),
        grace: config.webrtc.as_ref().unwrap().grace,
    }
}
