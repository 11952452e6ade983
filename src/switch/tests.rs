//! Two nodes on one account: what one leaves, the other takes over. And INVITEs without a lease.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Credentials, Listener, Transport, Trunk};
use crate::guardrails::{Account, Allowlist, LegPrice, Limits, PriceTable, Rules};
use crate::model::{CallRecord, Confirm, E164, EndReason, Money, Status, UserId};
use crate::sdp::Codec;
use crate::sip::Flow;
use crate::store::{Applied, Step, Unfinished, apply};
use crate::trace::Passed;

mod guard;

const NODE_A: &str = "192.0.2.1:5060";
const NODE_B: &str = "192.0.2.2:5060";
const PHONE: &str = "198.51.100.10:5060";
const CARRIER: &str = "198.51.100.20:5060";
const LEASE: Duration = Duration::from_secs(10);

/// What both nodes share.
struct Store {
    account: Account,
    /// The last record and the last snapshot of the call.
    call: Option<Unfinished>,
    charges: usize,
}

/// A node whose commits are durable at once.
struct Node {
    switch: Switch,
    now: Timestamp,
    /// What it sent, oldest first.
    wire: Vec<(Flow, String)>,
    notices: Vec<Notice>,
    traced: Vec<Passed>,
}

fn number(text: &str) -> E164 {
    E164::parse(text).unwrap()
}

fn trunk(name: &str, prefix: &str, target: &str) -> Arc<Trunk> {
    let trunk = Trunk::at(name, Transport::Udp, target.parse().unwrap());
    let [username, password, realm] = ["2025559944", "secret", "realm-5558844"].map(Arc::from);
    let credentials = Some(Credentials { username, password, realm });
    Arc::new(Trunk { credentials, prefixes: vec![prefix.into()], codecs: vec![Codec::Pcmu], ..trunk })
}

fn dial() -> Dial {
    Dial {
        organization: OrganizationId("acme".into()),
        user: UserId("alice".into()),
        from: number("+12025550100"),
        to: number("+12125550123"),
        connect: UserLeg::Phone(number("+14155550100")),
        confirm: Confirm::None,
        ring_timeout: Duration::from_secs(30),
        max_duration: Duration::from_secs(600),
        client_name: None,
        client_label: None,
        answer: |call, _| Answer { status: 202, location: None, body: call.to_string() },
        idempotency: None,
    }
}

impl Store {
    fn new() -> Self {
        let price = LegPrice {
            per_minute: Money::from_micros(10_000),
            connect: Money::ZERO,
            first_seconds: 60,
            step_seconds: 6,
        };
        let limits = Limits {
            max_concurrent_legs: 4,
            max_calls_per_minute: 10,
            daily_spend_limit: Money::from_micros(1_000_000),
            timezone: "UTC".into(),
            ..Limits::default()
        };
        let prices = Arc::new(PriceTable::new([("+1", price)]).unwrap());
        let (allowed, owned) = (Allowlist::parse(["+1"]).unwrap(), vec![number("+12025550100")]);
        let rules = Rules::new(limits, allowed, owned, prices).unwrap();
        Self { account: Account::new(rules), call: None, charges: 0 }
    }

    fn commit(&mut self, commit: &crate::store::Commit) -> crate::store::Committed {
        let Applied { committed, write } = apply(&mut self.account, commit);
        if let Some(write) = write {
            self.charges += usize::from(matches!(commit.step, Step::Settle { .. }));
            let before = self.call.take().map(|call| call.snapshot);
            self.call = Some(Unfinished {
                call: commit.call,
                organization: commit.organization.clone(),
                record: write.record,
                snapshot: commit.snapshot.clone().or(before).unwrap(),
                last_alive: None,
            });
        }
        committed
    }

    fn record(&self) -> &CallRecord {
        &self.call.as_ref().unwrap().record
    }

    /// What a take-over finds.
    fn recovered(&self, last_alive: Timestamp) -> Recovered {
        let calls = self.call.iter().cloned().map(|call| Unfinished { last_alive: Some(last_alive), ..call });
        Recovered { calls: calls.collect(), last_alive: Some(last_alive) }
    }
}

impl Node {
    fn new(address: &str, now: Timestamp) -> Self {
        Self::with(address, now, [trunk("phones", "+1415", PHONE), trunk("carrier", "+1212", CARRIER)])
    }

    fn with(address: &str, now: Timestamp, trunks: [Arc<Trunk>; 2]) -> Self {
        let local: SocketAddr = address.parse().unwrap();
        let config = SwitchConfig {
            endpoint: EndpointConfig {
                listeners: vec![Listener { transport: Transport::Udp, local, advertised: local }],
                trunks: trunks.into(),
                failover: Duration::from_secs(4),
                product: "revbridge".into(),
                signer: None,
            },
            media: MediaConfig {
                address: local.ip(),
                advertised: local.ip(),
                ports: (20_000, 20_007),
                rest: Duration::from_secs(33),
                timeout: Duration::from_secs(60),
                threads: 1,
                failure_wav: None,
                fast_path: false,
            },
            calls: CallConfig {
                max_calls: 10,
                default_ring_timeout: Duration::from_secs(30),
                failure_tone: Duration::ZERO,
                confirm_timeout: Duration::from_secs(10),
                drain_deadline: Duration::from_secs(10),
                currency: "USD".into(),
            },
            grace: Duration::ZERO,
        };
        let seed = [address.len() as u8 + address.as_bytes()[8]; 32];
        let switch = Switch::new(config, IdSource::new(seed), now);
        Self { switch, now, wire: Vec::new(), notices: Vec::new(), traced: Vec::new() }
    }

    /// One input, and the commits that follow from it.
    fn handle(&mut self, store: &mut Store, input: Input<'_>) {
        let mut outputs = Vec::new();
        self.switch.handle(self.now, input, &mut outputs);
        let mut outputs = VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Transmit(flow, bytes) => self.wire.push((flow, String::from_utf8(bytes.to_vec()).unwrap())),
                Output::Commit(id, commit) => {
                    let mut more = Vec::new();
                    self.switch.handle(self.now, Input::Committed(id, store.commit(&commit)), &mut more);
                    outputs.extend(more);
                }
                Output::Notice(notice) => self.notices.push(notice),
                Output::Trace(passed) => self.traced.push(*passed),
                Output::Reply(..) | Output::Forget(_) | Output::Media(..) => {}
            }
        }
    }

    /// Moves time on, stopping at every deadline.
    fn pass(&mut self, store: &mut Store, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.switch.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.handle(store, Input::Timeout);
        }
        self.now = until;
    }

    /// Takes the oldest message that begins so, which left on this flow.
    fn sent(&mut self, start: &str) -> (Flow, String) {
        let at = self.wire.iter().position(|(_, text)| text.starts_with(start));
        self.wire.remove(at.unwrap_or_else(|| panic!("no {start} among {:#?}", self.wire)))
    }

    fn answer(&mut self, store: &mut Store, flow: Flow, request: &str, status: u16) {
        self.answer_with(store, flow, request, status, "Contact: <sip:bob@198.51.100.9>\r\n");
    }

    /// With these headers of the peer's.
    fn answer_with(&mut self, store: &mut Store, flow: Flow, request: &str, status: u16, more: &str) {
        let header = |name: &str| request.lines().find(|line| line.starts_with(name)).unwrap();
        let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
                   m=audio 30000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
        let (to, tag) = (header("To: "), if request.contains(";tag=peer") { "" } else { ";tag=peer" });
        let text = format!(
            "SIP/2.0 {status} Whatever\r\n{}\r\n{}\r\n{to}{tag}\r\n{}\r\n{}\r\n{more}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            header("Via: "),
            header("From: "),
            header("Call-ID: "),
            header("CSeq: "),
            sdp.len()
        );
        self.handle(store, Input::Packet(flow, text.as_bytes()));
    }
}

fn start() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

fn via(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("Via: SIP/2.0/UDP ")).unwrap()
}

#[test]
fn a_dead_nodes_call_is_ended_by_another_from_its_own_sockets() {
    let (mut store, mut a) = (Store::new(), Node::new(NODE_A, start()));
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    let (flow, invite) = a.sent("INVITE sip:+14155550100@");
    a.answer(&mut store, flow, &invite, 200);
    a.sent("ACK ");
    let (_, second) = a.sent("INVITE sip:+12125550123@");
    let last_alive = a.now;
    drop(a);

    let mut b = Node::new(NODE_B, start() + LEASE);
    let recovered = store.recovered(last_alive);
    b.handle(&mut store, Input::TakeOver(recovered));
    let local: SocketAddr = NODE_B.parse().unwrap();
    let (flow, bye) = b.sent("BYE ");
    assert_eq!((flow.local, flow.remote), (local, PHONE.parse().unwrap()), "it leaves from a socket that is there");
    assert!(via(&bye).starts_with("192.0.2.2:5060;"), "and its answer comes back there: {bye}");
    let (flow, cancel) = b.sent("CANCEL ");
    assert_eq!((flow.local, flow.remote), (local, CARRIER.parse().unwrap()));
    // RFC 3261 §9.1, §17.2.3: or the phone would ring on.
    assert_eq!(via(&cancel), via(&second));

    b.pass(&mut store, Duration::from_millis(300));
    let record = store.record();
    assert_eq!((record.status, record.end_reason), (Status::Failed, Some(EndReason::ServerRestart)));
    assert_eq!(record.ended_at, Some(last_alive), "settled as of the last moment at which the node lived");
    assert_eq!((store.charges, store.account.legs_in_use()), (1, 0));

    b.answer(&mut store, flow, &cancel, 200);
    b.answer(&mut store, Flow { remote: PHONE.parse().unwrap(), ..flow }, &bye, 200);
    b.pass(&mut store, Duration::from_secs(120));
    assert_eq!(b.switch.gauges(b.now).calls, 0, "and then it is forgotten");
    assert_eq!(store.charges, 1);
}

#[test]
fn ports_of_a_dead_node_are_not_ours_to_rest() {
    let (mut store, mut a) = (Store::new(), Node::new(NODE_A, start()));
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    let mut b = Node::new(NODE_B, start());
    let before = b.switch.gauges(b.now).ports_left;
    let recovered = store.recovered(a.now);
    b.handle(&mut store, Input::TakeOver(recovered));
    assert_eq!(b.switch.gauges(b.now).ports_left, before);
    let mut again = Node::new(NODE_A, start());
    again.switch.restore(again.now, store.recovered(a.now), &mut Vec::new());
    assert_eq!(again.switch.gauges(again.now).ports_left, before - 2, "its own of before rest");
}

#[test]
fn taking_a_call_over_twice_is_taking_it_over_once() {
    let (mut store, mut a) = (Store::new(), Node::new(NODE_A, start()));
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    let recovered = store.recovered(a.now);
    let mut b = Node::new(NODE_B, start());
    b.handle(&mut store, Input::TakeOver(recovered.clone()));
    b.handle(&mut store, Input::TakeOver(recovered));
    assert_eq!((store.charges, b.switch.gauges(b.now).calls), (1, 1));
}

#[test]
fn no_invite_leaves_without_a_lease_and_the_next_one_does() {
    let (mut store, mut a) = (Store::new(), Node::new(NODE_A, start()));
    a.handle(&mut store, Input::Lease(a.now + LEASE));
    // The process stood still: what it hears first is what it asked for before.
    a.now = a.now + LEASE;
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    assert_eq!(a.wire, [], "nobody is rung");
    assert!(a.notices.iter().any(|n| matches!(n, Notice::InviteWithheld { side: Side::User, .. })));
    a.pass(&mut store, Duration::from_millis(600));
    assert_eq!(a.wire, [], "nor by a repetition");
    a.handle(&mut store, Input::Lease(a.now + LEASE));
    a.pass(&mut store, Duration::from_millis(1_000));
    a.sent("INVITE sip:+14155550100@");
}

#[test]
fn without_a_lease_a_call_still_ends() {
    let (mut store, mut a) = (Store::new(), Node::new(NODE_A, start()));
    a.handle(&mut store, Input::Lease(a.now + LEASE));
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    let (flow, invite) = a.sent("INVITE ");
    a.answer(&mut store, flow, &invite, 200);
    a.now = a.now + LEASE;
    let call = store.record().id;
    a.handle(
        &mut store,
        Input::Api(RequestId(2), Command::Hangup { organization: OrganizationId("acme".into()), call }),
    );
    a.sent("BYE ");
}

#[test]
fn every_message_of_a_leg_is_told_and_one_that_is_withheld_is_told_so() {
    let (mut store, mut a) = (Store::new(), Node::new(NODE_A, start()));
    a.switch.trace();
    a.handle(&mut store, Input::Lease(a.now + LEASE));
    a.now = a.now + LEASE;
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    a.handle(&mut store, Input::Lease(a.now + LEASE));
    a.pass(&mut store, Duration::from_millis(600));
    let (flow, invite) = a.sent("INVITE ");
    // A stranger's is nobody's message.
    let stranger = Flow { remote: "203.0.113.9:5060".parse().unwrap(), ..flow };
    a.answer(&mut store, stranger, &invite, 180);
    a.answer(&mut store, flow, &invite, 180);
    let told: Vec<_> = a.traced.iter().map(|passed| (passed.leg.side, passed.way, passed.remote)).collect();
    let line = |way| (Side::User, way, flow.remote);
    assert_eq!(told, [line(Way::Withheld), line(Way::Sent), line(Way::Received)]);
    assert_eq!(a.traced[1].bytes, invite);
    assert_eq!(a.traced[2].numbers.connect, Some(number("+14155550100")));

    let mut silent = Node::new(NODE_B, start());
    silent.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    silent.sent("INVITE ");
    assert!(silent.traced.is_empty(), "nobody has asked");
}

#[test]
fn a_call_is_remembered_until_its_cancel_is_answered() {
    let (mut store, mut a) = (Store::new(), Node::new(NODE_A, start()));
    a.handle(&mut store, Input::Lease(a.now + Duration::from_secs(600)));
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    let (flow, invite) = a.sent("INVITE ");
    let call = store.record().id;
    let hangup = Command::Hangup { organization: OrganizationId("acme".into()), call };
    a.handle(&mut store, Input::Api(RequestId(2), hangup));
    // Settled after a moment, and so forgotten as soon after 64·T1.
    a.pass(&mut store, Duration::from_millis(31_900));
    assert_eq!(a.switch.gauges(a.now).live_calls, 0);
    a.wire.clear();
    a.answer(&mut store, flow, &invite, 180);
    let (_, cancel) = a.sent("CANCEL ");
    // It was lost, and so are those after it.
    a.pass(&mut store, Duration::from_millis(1_600));
    assert_eq!(a.wire.len(), 2, "{:?}", a.wire);
    assert!(a.wire.iter().all(|(_, again)| *again == cancel));
    a.answer(&mut store, flow, &cancel, 200);
    a.answer(&mut store, flow, &invite, 487);
    a.sent("ACK ");
    a.pass(&mut store, Duration::from_secs(1));
    assert_eq!(a.switch.gauges(a.now).calls, 0);
}
