//! Thousands of phones behind one socket: each behaves by its number and remembers what it was promised.
//!
//! ```text
//! INVITE ─▶ 180 ─┬─ 200 (again until ACK) ─▶ talking ─┬─ BYE of ours (again until answered)
//!                ├─ 486, 603 (again until ACK)        └─ BYE of theirs
//!                └─ rings until CANCEL
//! ```
//!
//! One thread, no audio: for tests that count calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Message, poll, sip};

/// A phone repeats what was not answered as often as RFC 3261 has it, in half a minute.
const T1: Duration = Duration::from_millis(500);
const REPEATS: u32 = 10;
/// RFC 3261 §13.3.1.4: who has answered waits 64·T1 for the ACK, which may have to wait for a store that is away.
const REPEATS_OF_AN_ANSWER: u32 = 64;

/// What a phone does when it is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Picks up after the first time; hangs up so long after the ACK, or never.
    Answers(Duration, Option<Duration>),
    Busy,
    Declines,
    Rings,
}

/// One INVITE and what became of it, as the phone saw it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The final answer that was sent.
    pub status: Option<u16>,
    /// A 200 was acknowledged: this phone believes that it talks, or has.
    pub talked: bool,
    /// From the ACK to the end.
    pub talk: Duration,
    /// Nothing is left of it.
    pub over: bool,
}

/// The phones. Dropping them takes them off the network.
pub struct Crowd {
    legs: Arc<Mutex<BTreeMap<String, Leg>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Leg {
    number: String,
    manner: Manner,
    invite: Message,
    stage: Stage,
    seen: Seen,
    acknowledged: Option<Instant>,
    /// Times the message that waits for an answer was sent.
    sent: u32,
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ringing,
    /// With this status line, which waits for its ACK (RFC 3261 §17.2.1, timer G).
    Refused(&'static str),
    Answered,
    Talking,
    HangingUp,
    Over,
}

impl Crowd {
    /// Phones at port 5060 of the address; `manner` is asked with a phone's number.
    pub fn new(address: Ipv4Addr, manner: impl Fn(&str) -> Manner + Send + 'static) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
        let _ = socket.set_recv_buffer_size(8 << 20);
        socket.bind(&SocketAddr::from((address, 5060)).into()).expect("the phones' port is free");
        let legs = Arc::new(Mutex::new(BTreeMap::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let me = SocketAddr::from((address, 5060));
        let mut minds =
            Minds { socket: socket.into(), me, manner: Box::new(manner), legs: legs.clone(), due: BinaryHeap::new() };
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                minds.turn();
            }
        });
        Self { legs, stop, thread: Some(thread) }
    }

    /// What the phone of this number saw of each INVITE.
    pub fn seen(&self, number: &str) -> Vec<Seen> {
        self.lock().values().filter(|leg| leg.number == number).map(|leg| leg.seen.clone()).collect()
    }

    /// What every phone saw, by number.
    pub fn all(&self) -> BTreeMap<String, Vec<Seen>> {
        let mut all: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
        for leg in self.lock().values() {
            all.entry(leg.number.clone()).or_default().push(leg.seen.clone());
        }
        all
    }

    /// Numbers that ring now, and that talk now.
    pub fn up(&self) -> (Vec<String>, Vec<String>) {
        let legs = self.lock();
        let at = |stage| legs.values().filter(move |leg| leg.stage == stage).map(|leg| leg.number.clone()).collect();
        (at(Stage::Ringing), at(Stage::Talking))
    }

    /// Waits until nothing is left of any INVITE; the numbers of those that are up after all that time.
    pub fn quiet(&self, within: Duration) -> Vec<String> {
        let left = || -> Vec<String> {
            self.lock().values().filter(|leg| leg.stage != Stage::Over).map(|leg| leg.number.clone()).collect()
        };
        poll(within, || left().is_empty().then(Vec::new)).unwrap_or_else(left)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Leg>> {
        self.legs.lock().expect("the phones are well")
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What runs in the thread.
struct Minds {
    socket: UdpSocket,
    me: SocketAddr,
    manner: Box<dyn Fn(&str) -> Manner + Send>,
    /// By Call-ID.
    legs: Arc<Mutex<BTreeMap<String, Leg>>>,
    due: BinaryHeap<Reverse<(Instant, String)>>,
}

impl Minds {
    fn turn(&mut self) {
        let legs = self.legs.clone();
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self.due.peek().cloned()
            && at <= now
        {
            self.due.pop();
            // One that has another time by now has another entry.
            if let Some(leg) = legs.lock().expect("the test is well").get_mut(&id)
                && leg.due == Some(at)
            {
                self.act(&id, leg);
            }
        }
        let next = self.due.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        let wait = next.unwrap_or(T1).clamp(Duration::from_micros(200), Duration::from_millis(20));
        let _ = self.socket.set_read_timeout(Some(wait));
        let mut buffer = [0; 8192];
        if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let message = Message::new(&buffer[..length], from);
            self.receive(&message, &mut legs.lock().expect("the test is well"));
        }
    }

    fn receive(&mut self, message: &Message, legs: &mut BTreeMap<String, Leg>) {
        let id = message.call_id().to_owned();
        match (message.method(), legs.get_mut(&id)) {
            ("INVITE", None) => {
                let number = message.uri().trim_start_matches("sip:").split('@').next().unwrap_or_default().to_owned();
                let manner = (self.manner)(&number);
                let mut leg = Leg {
                    number,
                    manner,
                    invite: message.clone(),
                    stage: Stage::Ringing,
                    seen: Seen::default(),
                    acknowledged: None,
                    sent: 0,
                    due: None,
                };
                self.reply(message, "180 Ringing", "");
                let after = match manner {
                    Manner::Answers(after, _) => Some(after),
                    Manner::Busy | Manner::Declines => Some(Duration::from_millis(5)),
                    Manner::Rings => None,
                };
                if let Some(after) = after {
                    self.wake(&id, &mut leg, after);
                }
                legs.insert(id, leg);
            }
            ("INVITE", Some(leg)) if leg.stage == Stage::Ringing => self.reply(message, "180 Ringing", ""),
            ("INVITE", Some(_)) => {}
            ("ACK", Some(leg)) if leg.stage == Stage::Answered => {
                leg.stage = Stage::Talking;
                leg.seen.talked = true;
                leg.acknowledged = Some(Instant::now());
                leg.sent = 0;
                leg.due = None;
                if let Manner::Answers(_, Some(after)) = leg.manner {
                    self.wake(&id, leg, after);
                }
            }
            ("ACK", Some(leg)) if matches!(leg.stage, Stage::Refused(_)) => leg.end(),
            ("ACK", _) => {}
            ("CANCEL", Some(leg)) => {
                self.reply(message, "200 OK", "");
                if leg.stage == Stage::Ringing {
                    self.refuse(&id, leg, 487, "487 Request Terminated");
                }
            }
            ("BYE", Some(leg)) => {
                self.reply(message, "200 OK", "");
                leg.end();
            }
            ("", Some(leg)) if message.cseq_method() == "BYE" && message.status() >= Some(200) => leg.end(),
            ("", _) => {}
            (_, Some(_)) => self.reply(message, "200 OK", ""),
            (_, None) => self.reply(message, "481 Call/Transaction Does Not Exist", ""),
        }
    }

    /// What is due: the answer, its repetition, the hang-up.
    fn act(&mut self, id: &str, leg: &mut Leg) {
        match (leg.stage, leg.manner) {
            (Stage::Ringing, Manner::Busy) => self.refuse(id, leg, 486, "486 Busy Here"),
            (Stage::Ringing, Manner::Declines) => self.refuse(id, leg, 603, "603 Decline"),
            (Stage::Refused(line), _) => {
                self.reply(&leg.invite, line, "");
                self.again(id, leg);
            }
            (Stage::Ringing | Stage::Answered, Manner::Answers(..)) => {
                leg.stage = Stage::Answered;
                leg.seen.status = Some(200);
                self.reply(&leg.invite, "200 OK", &sip::description(SocketAddr::new(self.me.ip(), 40_000)));
                self.again(id, leg);
            }
            (Stage::Talking | Stage::HangingUp, _) => {
                leg.stage = Stage::HangingUp;
                let bye = sip::request_in_dialog(&leg.invite, "crowd", "BYE", 1, self.me, &[], "");
                let _ = self.socket.send_to(bye.as_bytes(), leg.invite.from);
                self.again(id, leg);
            }
            (Stage::Ringing | Stage::Answered, _) | (Stage::Over, _) => {}
        }
    }

    /// Once more later, until nobody can be there any more.
    fn again(&mut self, id: &str, leg: &mut Leg) {
        leg.sent += 1;
        let most = if leg.stage == Stage::Answered { REPEATS_OF_AN_ANSWER } else { REPEATS };
        if leg.sent < most { self.wake(id, leg, T1) } else { leg.end() }
    }

    fn wake(&mut self, id: &str, leg: &mut Leg, after: Duration) {
        let at = Instant::now() + after;
        leg.due = Some(at);
        self.due.push(Reverse((at, id.to_owned())));
    }

    fn refuse(&mut self, id: &str, leg: &mut Leg, status: u16, line: &'static str) {
        self.reply(&leg.invite, line, "");
        leg.seen.status = Some(status);
        leg.stage = Stage::Refused(line);
        leg.sent = 0;
        self.again(id, leg);
    }

    fn reply(&self, request: &Message, status: &str, body: &str) {
        let mut more = vec![format!("Contact: <sip:phone@{}>", self.me)];
        if !body.is_empty() {
            more.push("Content-Type: application/sdp".into());
        }
        let text = sip::answer(request, status, "crowd", &more, body);
        let _ = self.socket.send_to(text.as_bytes(), request.from);
    }
}

impl Leg {
    fn end(&mut self) {
        if self.stage != Stage::Over {
            self.seen.talk = self.acknowledged.map_or(Duration::ZERO, |at| at.elapsed());
        }
        self.stage = Stage::Over;
        self.seen.over = true;
        self.due = None;
    }
}
