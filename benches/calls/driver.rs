//! Asks for calls at a rate, whatever the server answers, and gathers what became of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::phones::wire::Wire;
use super::phones::{Bank, Manners};
use super::server::{API, PHONES_A, PHONES_B, Server};

const HOLD: Duration = Duration::from_secs(1);
/// HTTP connections, each with a thread of its own.
const CONNECTIONS: u64 = 16;

#[derive(Debug)]
pub struct Load {
    pub asked: u64,
    pub completed: u64,
    pub repeated: u64,
    pub cpu_per_call_us: f64,
    /// p50 and p99.
    pub dial_ms: (f64, f64),
    pub answer_to_invite_ms: (f64, f64),
}

impl Load {
    /// Every call completed, and no message had to be sent twice.
    pub fn is_clean(&self) -> bool {
        self.completed == self.asked && self.repeated == 0
    }
}

/// Pages in code, opens files, fills pools.
pub fn warm_up(server: &Server) {
    run(server, 100, Duration::from_secs(1));
}

pub fn run(server: &Server, rate: u64, duration: Duration) -> Load {
    run_on(server, rate, duration, Wire::udp)
}

/// With phones that are reached by these wires.
pub fn run_on(server: &Server, rate: u64, duration: Duration, wire: impl Fn(SocketAddr) -> Wire) -> Load {
    let calls = (rate as f64 * duration.as_secs_f64()) as u64;
    let epoch = Instant::now();
    let bank = |address: &str, hang_up| {
        let manners = Manners { hang_up, stay: 0, rtp: 9 };
        Bank::start_on(wire(address.parse().expect("an address")), address, calls as usize, epoch, manners)
    };
    let (a, b) = (bank(PHONES_A, None), bank(PHONES_B, Some(HOLD)));
    let before = server.cpu();
    let (accepted, mut dial_us) = dial(calls, Duration::from_secs(1) / rate as u32);
    // Half of what is over was hung up by the server's own BYE; give the last ones their time.
    let until = Instant::now() + HOLD + Duration::from_secs(3);
    while Instant::now() < until && a.marks.ended.load(Relaxed).min(b.marks.ended.load(Relaxed)) < accepted {
        std::thread::sleep(Duration::from_millis(20));
    }
    let cpu = server.cpu() - before;
    let completed = a.marks.ended.load(Relaxed).min(b.marks.ended.load(Relaxed));
    let mut gaps: Vec<u64> = a
        .marks
        .answered
        .iter()
        .zip(&b.marks.invited)
        .map(|(answered, invited)| (answered.load(Relaxed), invited.load(Relaxed)))
        .filter(|(answered, invited)| *answered > 0 && invited >= answered)
        .map(|(answered, invited)| invited - answered)
        .collect();
    Load {
        asked: calls,
        completed,
        repeated: a.marks.repeated.load(Relaxed) + b.marks.repeated.load(Relaxed),
        cpu_per_call_us: cpu.as_micros() as f64 / completed.max(1) as f64,
        dial_ms: percentiles(&mut dial_us),
        answer_to_invite_ms: percentiles(&mut gaps),
    }
}

/// Joins `calls` calls that nobody hangs up; they end with what is returned.
pub fn hold(_server: &Server, calls: u64) -> [Bank; 2] {
    let epoch = Instant::now();
    let banks = [PHONES_A, PHONES_B].map(|address| Bank::start(address, calls as usize, epoch, None));
    dial(calls, Duration::from_millis(5));
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until && banks[1].marks.acknowledged.load(Relaxed) < calls {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(banks[1].marks.acknowledged.load(Relaxed), calls, "every call must be joined to be measured");
    std::thread::sleep(Duration::from_millis(500));
    banks
}

/// Dials call `i` at `i * every`; returns how many were accepted and how long each answer took.
fn dial(calls: u64, every: Duration) -> (u64, Vec<u64>) {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let next = next.clone();
            std::thread::spawn(move || {
                let mut connection = Connection::open();
                let (mut accepted, mut took) = (0, Vec::new());
                loop {
                    let call = next.fetch_add(1, Relaxed);
                    if call >= calls {
                        return (accepted, took);
                    }
                    let due = began + every * call as u32;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    accepted += u64::from(connection.dial(call) == 202);
                    // From the moment at which it was due: a server that is late is late.
                    took.push(due.elapsed().as_micros() as u64);
                }
            })
        })
        .collect();
    let mut all = (0, Vec::new());
    for thread in threads {
        let (accepted, took) = thread.join().expect("a driver thread");
        all.0 += accepted;
        all.1.extend(took);
    }
    all
}

struct Connection(TcpStream);

impl Connection {
    fn open() -> Self {
        let stream = TcpStream::connect(API).expect("the API");
        stream.set_nodelay(true).expect("no delay");
        Self(stream)
    }

    /// The status of the answer.
    fn dial(&mut self, call: u64) -> u16 {
        let body = format!(
            r#"{{"from_number":"+18885550100","to_number":"+1212{call:07}","connect_number":"+1415{call:07}"}}"#
        );
        let request = format!(
            "POST /v1/calls/dial HTTP/1.1\r\nHost: {API}\r\nAuthorization: Bearer load\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).expect("the request leaves");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = self.0.read(&mut buffer).expect("an answer");
            answer.extend_from_slice(&buffer[..length]);
            if length == 0 || is_whole(&answer) {
                break;
            }
        }
        std::str::from_utf8(answer.get(9..12).unwrap_or_default()).ok().and_then(|s| s.parse().ok()).unwrap_or(0)
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_none_or(|length| body.len() >= length)
}

fn percentiles(micros: &mut [u64]) -> (f64, f64) {
    micros.sort_unstable();
    let at = |share: f64| micros.get(((micros.len() as f64 * share) as usize).min(micros.len().saturating_sub(1)));
    let ms = |value: Option<&u64>| value.map_or(f64::NAN, |us| *us as f64 / 1_000.0);
    (ms(at(0.5)), ms(at(0.99)))
}
