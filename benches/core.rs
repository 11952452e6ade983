//! What one bridged call costs in the pure core: the real `Switch`, without a socket, a disk or a thread.
//!
//! ```text
//! dial ─▶ Switch ─▶ INVITE, ACK, BYE ─▶ phones (texts written here) ─▶ 100, 180, 200, BYE ─▶ Switch
//!             └───▶ Commit ─▶ store::apply on one account ─▶ Committed ───────────────────────┘
//! ```
//!
//! Calls go step by step in groups, as they would side by side, 1,000 a second of virtual time, and at
//! the end the clock goes on until the last one is forgotten. Only what happens inside of
//! `Switch::handle` is measured; the phones and the store are not.
//!
//! `cargo bench --bench core` prints the figures. `-- 2000` runs that many calls once, for
//! `valgrind --tool=callgrind --toggle-collect='revbridge::switch::Switch::handle'`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Measures time and counts allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use revbridge::config::{CallConfig, Listener, MediaConfig, Transport, Trunk};
use revbridge::guardrails::{Account, Allowlist, LegPrice, Limits, PriceTable, Rules};
use revbridge::media::{LegStats, MediaCommand, MediaEvent, Source};
use revbridge::model::{
    CallId, CommitId, Confirm, E164, IdSource, LegId, Money, OrganizationId, RequestId, Status, Timestamp, UserId,
};
use revbridge::sip::{EndpointConfig, Flow};
use revbridge::store::{Answer, Commit, Committed, apply};
use revbridge::switch::{Command, Dial, Input, Output, Switch, SwitchConfig, UserLeg};

/// Counts while [`COUNTING`], and what is in use always.
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static IN_USE: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as u64, Relaxed);
        if COUNTING.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
            ALLOCATED.fetch_add(layout.size() as u64, Relaxed);
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: `alloc` above got the pointer from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls that are at the same step together.
const GROUP: usize = 100;
const LOCAL: &str = "192.0.2.1:5060";
const TRUNKS: [(&str, &str, &str); 2] = [("a", "192.0.2.10:5060", "+1"), ("b", "198.51.100.20:5060", "+44")];

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let (calls, rounds) = arguments.first().map_or((20_000, 5), |calls| (*calls, 1));
    let mut runs: Vec<Figures> = (0..rounds).map(|_| run(calls)).collect();
    runs.sort_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
    let figures = &runs[rounds / 2];
    println!("figure | measured | target | ok/short");
    println!("core: one bridged call, µs of one processor | {:.1} | - | -", figures.microseconds);
    println!("core: one bridged call, allocations | {:.1} | - | -", figures.allocations);
    println!("core: one bridged call, bytes allocated | {:.0} | - | -", figures.allocated);
    println!("core: one bridged call, bytes of snapshots | {:.0} | - | -", figures.snapshots);
    let verdict = if figures.lingering <= 6_144.0 { "ok" } else { "short" };
    println!("core: bytes that an ended call keeps for 32 s | {:.0} | <= 6144 | {verdict}", figures.lingering);
}

/// Per call.
struct Figures {
    microseconds: f64,
    allocations: f64,
    allocated: f64,
    snapshots: f64,
    lingering: f64,
}

fn run(calls: usize) -> Figures {
    let mut world = World::new(calls);
    let counts = || (ALLOCATIONS.load(Relaxed), ALLOCATED.load(Relaxed));
    // What the first calls leave for all that follow: tables, buffers.
    world.calls(GROUP);
    let (before, in_use) = (counts(), IN_USE.load(Relaxed));
    (world.inside, world.snapshots) = (Duration::ZERO, 0);
    world.calls(calls);
    let lingering = IN_USE.load(Relaxed) - in_use;
    world.wait();
    let after = counts();
    let per_call = |sum: u64| sum as f64 / calls as f64;
    Figures {
        microseconds: world.inside.as_secs_f64() * 1e6 / calls as f64,
        allocations: per_call(after.0 - before.0),
        allocated: per_call(after.1 - before.1),
        snapshots: per_call(world.snapshots),
        lingering: per_call(lingering),
    }
}

struct World {
    switch: Switch,
    now: Timestamp,
    account: Account,
    /// What the phones and the store say, in order.
    inputs: VecDeque<Saying>,
    outputs: Vec<Output>,
    /// Of each call of the group, leg A and leg B.
    phones: Vec<[Option<Phone>; 2]>,
    next_call: usize,
    completed: usize,
    inside: Duration,
    snapshots: u64,
}

enum Saying {
    Packet(Flow, String),
    Committed(CommitId, Committed),
    Media(LegId, MediaEvent),
}

/// One phone's dialog: what its messages repeat.
struct Phone {
    flow: Flow,
    via: String,
    from: String,
    to: String,
    call_id: String,
    contact: String,
}

impl World {
    fn new(calls: usize) -> Self {
        let now = Timestamp::from_millis(1_750_000_000_000);
        Self {
            switch: Switch::new(config(), IdSource::new([7; 32]), now),
            now,
            account: Account::new(rules()),
            inputs: VecDeque::with_capacity(8 * GROUP),
            outputs: Vec::with_capacity(64),
            phones: Vec::with_capacity(calls + GROUP),
            next_call: 0,
            completed: 0,
            inside: Duration::ZERO,
            snapshots: 0,
        }
    }

    /// So many calls, from the dial to the terminal record.
    fn calls(&mut self, calls: usize) {
        for _ in 0..calls.div_ceil(GROUP) {
            self.group();
        }
    }

    fn group(&mut self) {
        let first = self.next_call;
        self.next_call += GROUP;
        let completed = self.completed;
        self.phones.clear();
        for call in first..self.next_call {
            self.phones.push([None, None]);
            let dial = Command::Dial(Box::new(dial(call % 100_000)));
            self.input(Input::Api(RequestId(call as u64), dial));
        }
        for side in [0, 1] {
            self.settle();
            self.each(side, |phone| phone.responses());
            self.settle();
        }
        self.each(0, |phone| vec![phone.bye()]);
        self.settle();
        assert_eq!(self.completed, completed + GROUP, "every call comes to its end");
    }

    /// One phone of each call speaks.
    fn each(&mut self, side: usize, speak: impl Fn(&Phone) -> Vec<String>) {
        for call in &self.phones {
            let phone = call[side].as_ref().expect("an INVITE has come");
            self.inputs.extend(speak(phone).into_iter().map(|text| Saying::Packet(phone.flow, text)));
        }
    }

    /// Lets everybody speak until nobody has anything to say; time passes meanwhile.
    fn settle(&mut self) {
        self.pass(Duration::from_millis(GROUP as u64 / 5));
        while let Some(saying) = self.inputs.pop_front() {
            match saying {
                Saying::Packet(flow, text) => self.input(Input::Packet(flow, text.as_bytes())),
                Saying::Committed(id, committed) => self.input(Input::Committed(id, committed)),
                Saying::Media(leg, event) => self.input(Input::Media(leg, event)),
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.switch.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = until;
    }

    /// Until every call is forgotten.
    fn wait(&mut self) {
        self.pass(Duration::from_secs(60));
        assert_eq!(self.switch.gauges(self.now).calls, 0);
    }

    fn input(&mut self, input: Input<'_>) {
        COUNTING.store(true, Relaxed);
        let began = Instant::now();
        self.switch.handle(self.now, input, &mut self.outputs);
        self.inside += began.elapsed();
        COUNTING.store(false, Relaxed);
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            self.output(output);
        }
        self.outputs = outputs;
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Transmit(flow, bytes) => self.transmit(flow, std::str::from_utf8(&bytes).expect("text")),
            Output::Commit(id, commit) => {
                let committed = self.commit(&commit);
                self.inputs.push_back(Saying::Committed(id, committed));
            }
            Output::Media(leg, MediaCommand::Play(Source::Peer)) => {
                self.inputs.push_back(Saying::Media(leg, MediaEvent::Flowing));
            }
            Output::Media(leg, MediaCommand::Close) => {
                self.inputs.push_back(Saying::Media(leg, MediaEvent::Closed(LegStats::default())));
            }
            Output::Media(..) | Output::Forget(_) | Output::Reply(..) | Output::Notice(_) | Output::Trace(_) => {}
        }
    }

    fn commit(&mut self, commit: &Commit) -> Committed {
        self.snapshots += commit.snapshot.as_ref().map_or(0, |snapshot| snapshot.len() as u64);
        self.completed += usize::from(commit.record.status == Status::Completed);
        apply(&mut self.account, commit).committed
    }

    fn transmit(&mut self, flow: Flow, text: &str) {
        if text.starts_with("INVITE ") {
            let side = usize::from(flow.remote == address(TRUNKS[1].1));
            let called = text.split(['+', '@']).nth(1).expect("a number");
            let call: usize = called[called.len() - 5..].parse().expect("digits");
            let phone = Phone::new(call, flow, text);
            let index = call % GROUP;
            self.phones[index][side] = Some(phone);
        } else if text.starts_with("BYE ") {
            self.inputs.push_back(Saying::Packet(flow, ok(text)));
        }
    }
}

impl Phone {
    fn new(call: usize, flow: Flow, invite: &str) -> Self {
        let field = |name| header(invite, name).to_owned();
        Self {
            flow,
            via: field("Via"),
            from: field("From"),
            to: format!("{};tag=as{:08x}phone", field("To"), call * 7_919 + 1),
            call_id: field("Call-ID"),
            contact: field("Contact"),
        }
    }

    /// 100, 180 and 200, each as a switch of a carrier writes it.
    fn responses(&self) -> Vec<String> {
        let remote = self.flow.remote;
        let ip = remote.ip();
        let sdp = format!(
            "v=0\r\no=- 1722 1722 IN IP4 {ip}\r\ns=carrier\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        let write = |status: &str, to: &str, body: &str| {
            let mut text = format!("SIP/2.0 {status}\r\nVia: {};received=192.0.2.1\r\n", self.via);
            let _ = write!(text, "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: 1 INVITE\r\n", self.from, self.call_id);
            if !status.starts_with("100") {
                let _ = write!(text, "Contact: <sip:{remote}>\r\nServer: Carrier SBC 4.2\r\n");
                text.push_str(
                    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, INFO\r\nSupported: timer, replaces\r\n",
                );
            }
            if !body.is_empty() {
                text.push_str("Content-Type: application/sdp\r\n");
            }
            let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
            text
        };
        let untagged = self.to.split(";tag=").next().unwrap_or_default();
        vec![write("100 Trying", untagged, ""), write("180 Ringing", &self.to, ""), write("200 OK", &self.to, &sdp)]
    }

    fn bye(&self) -> String {
        let target = self.contact.trim_matches(['<', '>']);
        let (from, to, remote, id) = (&self.to, &self.from, self.flow.remote, &self.call_id);
        format!(
            "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {remote};branch=z9hG4bK{}bye;rport\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: 102 BYE\r\nUser-Agent: Carrier SBC 4.2\r\n\
             Reason: Q.850;cause=16\r\nContent-Length: 0\r\n\r\n",
            &id[..16]
        )
    }
}

fn ok(request: &str) -> String {
    let mut text = "SIP/2.0 200 OK\r\n".to_owned();
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let _ = write!(text, "{name}: {}\r\n", header(request, name));
    }
    text + "Content-Length: 0\r\n\r\n"
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let line = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    text.lines().find_map(line).expect("a header that every request has")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn number(text: &str) -> E164 {
    E164::parse(text).expect("a number")
}

/// `call` is the last five digits of both numbers.
fn dial(call: usize) -> Dial {
    Dial {
        organization: OrganizationId("acme".into()),
        user: UserId("alice".into()),
        from: number("+12025550100"),
        to: number(&format!("+4420794{call:05}")),
        connect: UserLeg::Phone(number(&format!("+141577{call:05}"))),
        confirm: Confirm::None,
        ring_timeout: Duration::from_secs(30),
        max_duration: Duration::from_secs(3_600),
        client_name: None,
        client_label: None,
        answer,
        idempotency: None,
    }
}

fn answer(call: CallId, _: &Dial) -> Answer {
    Answer { status: 202, location: None, body: call.to_string() }
}

fn trunk((name, target, prefix): (&str, &str, &str)) -> Arc<Trunk> {
    let trunk = Trunk::at(name, Transport::Udp, address(target));
    Arc::new(Trunk { trusted: true, prefixes: vec![prefix.to_owned()], ..trunk })
}

fn config() -> SwitchConfig {
    let local = address(LOCAL);
    SwitchConfig {
        endpoint: EndpointConfig {
            listeners: vec![Listener { transport: Transport::Udp, local, advertised: local }],
            trunks: TRUNKS.map(trunk).to_vec(),
            failover: Duration::from_secs(4),
            product: "revbridge".into(),
            signer: None,
        },
        media: MediaConfig {
            address: local.ip(),
            advertised: local.ip(),
            ports: (2_000, 65_535),
            rest: Duration::from_millis(100),
            timeout: Duration::from_secs(60),
            threads: 1,
            failure_wav: None,
            fast_path: false,
        },
        grace: Duration::from_secs(30),
        calls: CallConfig {
            max_calls: 1_000_000,
            default_ring_timeout: Duration::from_secs(30),
            failure_tone: Duration::from_secs(4),
            confirm_timeout: Duration::from_secs(15),
            drain_deadline: Duration::from_secs(10),
            currency: "USD".to_owned(),
        },
    }
}

fn rules() -> Rules {
    let limits = Limits {
        max_concurrent_legs: 1_000_000,
        max_calls_per_minute: 10_000_000,
        daily_spend_limit: Money::MAX,
        timezone: "UTC".to_owned(),
        ..Limits::default()
    };
    let price =
        LegPrice { per_minute: Money::from_micros(10_000), connect: Money::ZERO, first_seconds: 60, step_seconds: 6 };
    let prices = Arc::new(PriceTable::new([("+1", price), ("+44", price)]).expect("two prefixes"));
    let allowlist = Allowlist::parse(["+1", "+44"]).expect("prefixes");
    Rules::new(limits, allowlist, vec![number("+12025550100")], prices).expect("a timezone")
}
