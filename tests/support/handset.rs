//! A phone with a mind of its own: it answers by habit, in a thread, and remembers its dialogs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::phone::rtp_packet;
use super::{Message, poll, sip, tone};

/// What the phone does when it rings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habit {
    /// How long it rings before it picks up; `None` rings until it is cancelled.
    pub picks_up_after: Option<Duration>,
    /// How long it talks before it hangs up; `None` talks until the other side does.
    pub hangs_up_after: Option<Duration>,
    /// Sends audio while it talks.
    pub speaks: bool,
}

impl Habit {
    pub const RINGS: Habit = Habit { picks_up_after: None, hangs_up_after: None, speaks: true };
    pub const ANSWERS: Habit = Habit { picks_up_after: Some(Duration::ZERO), ..Habit::RINGS };

    pub fn answers_after(ms: u64) -> Habit {
        Habit { picks_up_after: Some(Duration::from_millis(ms)), ..Habit::RINGS }
    }
}

/// How far one INVITE has come, as the phone sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Ringing,
    /// Its 200 is sent, the ACK has not come.
    Answered,
    /// The ACK has come.
    Talking,
    /// It has sent BYE.
    HangingUp,
    Over,
}

/// One INVITE and what became of it.
#[derive(Debug, Clone)]
pub struct Dialog {
    pub invite: Message,
    pub stage: Stage,
    pub since: Instant,
    /// When its INVITE came.
    pub received: Instant,
    pub byes_received: u32,
    pub cancels_received: u32,
    last_sent: Instant,
    sequence: u16,
}

type Dialogs = Arc<Mutex<BTreeMap<String, Dialog>>>;

/// The phone. Dropping it takes it off the network.
pub struct Handset {
    dialogs: Dialogs,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Handset {
    pub fn new(address: Ipv4Addr, habit: Habit) -> Self {
        let dialogs = Dialogs::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut mind = Mind::new(address, habit, dialogs.clone());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                mind.step();
            }
        });
        Self { dialogs, stop, thread: Some(thread) }
    }

    pub fn dialogs(&self) -> Vec<Dialog> {
        self.dialogs.lock().expect("the phone is well").values().cloned().collect()
    }

    /// Waits until some dialog stands at this stage or beyond.
    pub fn reaches(&self, stage: Stage, within: Duration) {
        let reached = poll(within, || self.dialogs().iter().any(|d| d.stage >= stage).then_some(()));
        assert!(reached.is_some(), "the phone never reached {stage:?}: {:?}", self.dialogs());
    }

    /// How long it takes until no dialog is left up; `None` when one outlives `within`.
    pub fn quiet(&self, within: Duration) -> Option<Duration> {
        let start = Instant::now();
        poll(within, || self.dialogs().iter().all(|d| d.stage == Stage::Over).then(|| start.elapsed()))
    }
}

impl Drop for Handset {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What runs in the thread.
struct Mind {
    sip: UdpSocket,
    rtp: UdpSocket,
    habit: Habit,
    /// 20 ms of 1,100 Hz: 22 whole turns, so that each packet goes on where the last one ended.
    voice: Vec<u8>,
    dialogs: Dialogs,
}

impl Mind {
    fn new(address: Ipv4Addr, habit: Habit, dialogs: Dialogs) -> Self {
        let sip = UdpSocket::bind((address, 5060)).expect("the phone's port is free");
        sip.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout can be set");
        let rtp = UdpSocket::bind((address, 40000)).expect("the phone's port is free");
        let voice = tone::sine(1100.0, 0.02).into_iter().map(tone::mu_law).collect();
        Self { sip, rtp, habit, voice, dialogs }
    }

    /// One message, if one comes within 10 ms, then whatever is due.
    fn step(&mut self) {
        let mut buffer = [0; 65536];
        let received = self.sip.recv_from(&mut buffer);
        let dialogs = self.dialogs.clone();
        let mut dialogs = dialogs.lock().expect("the test is well");
        if let Ok((length, from)) = received {
            self.receive(&Message::new(&buffer[..length], from), &mut dialogs);
        }
        for dialog in dialogs.values_mut() {
            self.act(dialog);
        }
    }

    fn receive(&self, message: &Message, dialogs: &mut BTreeMap<String, Dialog>) {
        let dialog = dialogs.get_mut(message.call_id());
        match (message.method(), dialog) {
            ("INVITE", None) => {
                let dialog = Dialog::new(message.clone());
                self.reply(message, "180 Ringing", "");
                dialogs.insert(message.call_id().to_owned(), dialog);
            }
            ("INVITE", Some(dialog)) if dialog.stage == Stage::Ringing => self.reply(message, "180 Ringing", ""),
            ("INVITE", Some(_)) => {}
            ("ACK", Some(dialog)) if dialog.stage == Stage::Answered => dialog.enter(Stage::Talking),
            ("ACK", _) => {}
            ("CANCEL", Some(dialog)) => {
                dialog.cancels_received += 1;
                self.reply(message, "200 OK", "");
                if dialog.stage == Stage::Ringing {
                    self.reply(&dialog.invite, "487 Request Terminated", "");
                    dialog.enter(Stage::Over);
                }
            }
            ("BYE", Some(dialog)) => {
                dialog.byes_received += 1;
                self.reply(message, "200 OK", "");
                dialog.enter(Stage::Over);
            }
            ("", Some(dialog)) if message.cseq_method() == "BYE" => dialog.enter(Stage::Over),
            ("", _) => {}
            (_, Some(_)) => self.reply(message, "200 OK", ""),
            (_, None) => self.reply(message, "481 Call/Transaction Does Not Exist", ""),
        }
    }

    /// Picks up, repeats the 200, speaks, hangs up: whatever the dialog's age asks for.
    fn act(&self, dialog: &mut Dialog) {
        let due = |after: Option<Duration>| after.is_some_and(|after| dialog.since.elapsed() >= after);
        match dialog.stage {
            Stage::Ringing if due(self.habit.picks_up_after) => {
                self.reply(&dialog.invite, "200 OK", &self.description());
                dialog.enter(Stage::Answered);
            }
            Stage::Answered if dialog.last_sent.elapsed() >= Duration::from_millis(500) => {
                self.reply(&dialog.invite, "200 OK", &self.description());
                dialog.last_sent = Instant::now();
            }
            Stage::Talking if due(self.habit.hangs_up_after) => {
                self.hang_up(dialog);
                dialog.enter(Stage::HangingUp);
            }
            Stage::HangingUp if dialog.last_sent.elapsed() >= Duration::from_millis(500) => {
                self.hang_up(dialog);
                dialog.last_sent = Instant::now();
            }
            Stage::Talking if self.habit.speaks => self.speak(dialog),
            Stage::Ringing | Stage::Answered | Stage::Talking | Stage::HangingUp | Stage::Over => {}
        }
    }

    fn speak(&self, dialog: &mut Dialog) {
        if dialog.last_sent.elapsed() < Duration::from_millis(20) {
            return;
        }
        dialog.last_sent = Instant::now();
        dialog.sequence = dialog.sequence.wrapping_add(1);
        if let Some(to) = dialog.invite.rtp() {
            let _ = self.rtp.send_to(&rtp_packet(u32::from(to.port()), dialog.sequence, &self.voice), to);
        }
    }

    fn hang_up(&self, dialog: &Dialog) {
        let bye = sip::request_in_dialog(&dialog.invite, "handset", "BYE", 1, self.address(), &[], "");
        let _ = self.sip.send_to(bye.as_bytes(), dialog.invite.from);
    }

    fn reply(&self, request: &Message, status: &str, body: &str) {
        let mut more = vec![format!("Contact: <sip:phone@{}>", self.address())];
        if !body.is_empty() {
            more.push("Content-Type: application/sdp".into());
        }
        let text = sip::answer(request, status, "handset", &more, body);
        let _ = self.sip.send_to(text.as_bytes(), request.from);
    }

    fn address(&self) -> SocketAddr {
        self.sip.local_addr().expect("a bound socket")
    }

    fn description(&self) -> String {
        sip::description(self.rtp.local_addr().expect("a bound socket"))
    }
}

impl Dialog {
    fn new(invite: Message) -> Self {
        let now = Instant::now();
        Self {
            invite,
            stage: Stage::Ringing,
            since: now,
            received: now,
            byes_received: 0,
            cancels_received: 0,
            last_sent: now,
            sequence: 0,
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = Instant::now();
        self.last_sent = self.since;
    }
}
