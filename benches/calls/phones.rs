//! Two banks of phones, one thread each: they ring, answer, and the destinations hang up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[path = "wire.rs"]
pub mod wire;

use wire::Wire;

const RING: Duration = Duration::from_millis(20);
const T1: Duration = Duration::from_millis(500);

/// What the phones saw, by the number of the call; microseconds since the bank's start.
pub struct Marks {
    pub answered: Vec<AtomicU64>,
    pub invited: Vec<AtomicU64>,
    /// The port to which the server wants each call's audio.
    pub relay: Vec<AtomicU64>,
    pub ended: AtomicU64,
    pub acknowledged: AtomicU64,
    /// Messages that came, or had to be sent, more than once.
    pub repeated: AtomicU64,
}

/// How the phones of a bank behave.
#[derive(Clone, Copy)]
pub struct Manners {
    /// So long after the ACK; `None` never.
    pub hang_up: Option<Duration>,
    /// Calls with a number below this one are never hung up.
    pub stay: usize,
    /// Where all of them take their audio.
    pub rtp: u16,
}

pub struct Bank {
    pub marks: Arc<Marks>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bank {
    /// Phones at `address`; `hang_up` after the ACK, or never.
    pub fn start(address: &str, calls: usize, epoch: Instant, hang_up: Option<Duration>) -> Self {
        // Discard (RFC 863): nobody speaks.
        Self::start_with(address, calls, epoch, Manners { hang_up, stay: 0, rtp: 9 })
    }

    pub fn start_with(address: &str, calls: usize, epoch: Instant, manners: Manners) -> Self {
        Self::start_on(Wire::udp(address.parse().expect("an address")), address, calls, epoch, manners)
    }

    pub fn start_on(wire: Wire, address: &str, calls: usize, epoch: Instant, manners: Manners) -> Self {
        let marks = Arc::new(Marks {
            answered: (0..calls).map(|_| AtomicU64::new(0)).collect(),
            invited: (0..calls).map(|_| AtomicU64::new(0)).collect(),
            relay: (0..calls).map(|_| AtomicU64::new(0)).collect(),
            ended: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut phones = Phones {
            wire,
            address: address.to_owned(),
            epoch,
            manners,
            marks: marks.clone(),
            legs: HashMap::new(),
            due: BinaryHeap::new(),
        };
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                phones.turn();
            }
        });
        Self { marks, stop, thread: Some(thread) }
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Phones {
    wire: Wire,
    address: String,
    epoch: Instant,
    manners: Manners,
    marks: Arc<Marks>,
    /// By Call-ID.
    legs: HashMap<String, Leg>,
    due: BinaryHeap<Reverse<(Instant, String)>>,
}

struct Leg {
    call: usize,
    peer: SocketAddr,
    /// Via, From, To with our tag, Call-ID; one text, ready to be repeated.
    head: String,
    cseq: String,
    from: String,
    to: String,
    contact: String,
    state: State,
    sent: u32,
}

#[derive(PartialEq)]
enum State {
    Ringing,
    Answered,
    Up,
    HangingUp,
    Over,
}

impl Phones {
    fn turn(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, _))) = self.due.peek() {
            if *at > now {
                break;
            }
            if let Some(Reverse((_, id))) = self.due.pop() {
                self.on_time(&id);
            }
        }
        let wait =
            self.due.peek().map_or(Duration::from_millis(20), |Reverse((at, _))| at.saturating_duration_since(now));
        let wait = wait.clamp(Duration::from_micros(100), Duration::from_millis(20));
        if let Some((text, peer)) = self.wire.receive(wait) {
            self.hear(&text, peer);
        }
    }

    fn hear(&mut self, text: &str, peer: SocketAddr) {
        let Some(id) = header(text, "Call-ID") else { return };
        match text.split(' ').next().unwrap_or_default() {
            "INVITE" => self.invited(text, id, peer),
            "ACK" => self.acknowledged(id),
            "BYE" => self.hung_up(text, id, peer),
            "SIP/2.0" => self.answered(id),
            _ => {}
        }
    }

    fn micros(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    fn wake(&mut self, id: &str, after: Duration) {
        self.due.push(Reverse((Instant::now() + after, id.to_owned())));
    }

    fn invited(&mut self, text: &str, id: &str, peer: SocketAddr) {
        if self.legs.contains_key(id) {
            self.marks.repeated.fetch_add(1, Relaxed);
            return;
        }
        let user = text.split("sip:").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or_default();
        let call = user.get(user.len().saturating_sub(7)..).and_then(|tail| tail.parse::<usize>().ok()).unwrap_or(0);
        let call = call % self.marks.invited.len();
        self.marks.invited[call].store(self.micros(), Relaxed);
        let port = text.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        self.marks.relay[call].store(port.unwrap_or(0), Relaxed);
        let (from, to) = (header(text, "From").unwrap_or_default(), header(text, "To").unwrap_or_default());
        let to = format!("{to};tag=phone{call}");
        let head = format!(
            "Via: {}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: {}\r\nContact: <sip:{}>\r\n",
            header(text, "Via").unwrap_or_default(),
            header(text, "CSeq").unwrap_or_default(),
            self.address
        );
        let contact = header(text, "Contact").unwrap_or_default();
        let contact = contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        let leg = Leg {
            call,
            peer,
            head,
            cseq: String::new(),
            from: from.to_owned(),
            to,
            contact,
            state: State::Ringing,
            sent: 0,
        };
        self.wire.send(&format!("SIP/2.0 180 Ringing\r\n{}Content-Length: 0\r\n\r\n", leg.head), peer);
        self.legs.insert(id.to_owned(), leg);
        self.wake(id, RING);
    }

    fn on_time(&mut self, id: &str) {
        let micros = self.micros();
        let Some(leg) = self.legs.get_mut(id) else { return };
        let message = match leg.state {
            State::Ringing | State::Answered => {
                leg.state = State::Answered;
                if leg.sent == 0 {
                    self.marks.answered[leg.call].store(micros, Relaxed);
                }
                let rtp = self.manners.rtp;
                let sdp = format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio {rtp} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
                );
                format!(
                    "SIP/2.0 200 OK\r\n{}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                    leg.head,
                    sdp.len()
                )
            }
            State::Up | State::HangingUp => {
                leg.state = State::HangingUp;
                leg.cseq = "1 BYE".to_owned();
                format!(
                    "BYE {} SIP/2.0\r\nVia: SIP/2.0/{} {};branch=z9hG4bKb{}{}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
                     Call-ID: {id}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
                    leg.contact,
                    self.wire.transport(),
                    self.address,
                    leg.call,
                    self.address.len(),
                    leg.to,
                    leg.from,
                    leg.cseq
                )
            }
            State::Over => return,
        };
        leg.sent += 1;
        if leg.sent > 1 {
            self.marks.repeated.fetch_add(1, Relaxed);
        }
        self.wire.send(&message, leg.peer);
        if leg.sent < 7 {
            self.wake(id, T1);
        }
    }

    fn acknowledged(&mut self, id: &str) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        if leg.state != State::Answered {
            return;
        }
        leg.state = State::Up;
        leg.sent = 0;
        self.marks.acknowledged.fetch_add(1, Relaxed);
        // The waking that would have repeated the 200 must not hang up: it is taken out by state, as the
        // hang-up has a time of its own.
        self.due.retain(|Reverse((_, due))| due != id);
        if let Some(after) = self.manners.hang_up.filter(|_| leg.call >= self.manners.stay) {
            self.wake(id, after);
        }
    }

    fn hung_up(&mut self, text: &str, id: &str, peer: SocketAddr) {
        let via = header(text, "Via").unwrap_or_default();
        let answer = format!(
            "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {id}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
            header(text, "From").unwrap_or_default(),
            header(text, "To").unwrap_or_default(),
            header(text, "CSeq").unwrap_or_default(),
        );
        self.wire.send(&answer, peer);
        self.over(id);
    }

    /// A response: it can only be to our BYE.
    fn answered(&mut self, id: &str) {
        self.over(id);
    }

    fn over(&mut self, id: &str) {
        match self.legs.get_mut(id) {
            Some(leg) if leg.state != State::Over => {
                leg.state = State::Over;
                self.marks.ended.fetch_add(1, Relaxed);
            }
            Some(_) | None => {
                self.marks.repeated.fetch_add(1, Relaxed);
            }
        }
    }
}

pub fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
