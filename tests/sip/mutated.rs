//! A whole call whose two peers say broken things without end: mutated copies of all that a peer can say.
//!
//! ```text
//! what A says ─▶ mutate ─▶ switch ─▶ what B is sent: nothing of A's words, read once more by the guard
//! ```
//!
//! After each message nothing has panicked, nothing of one peer is on the other's wire, no peer is sent more
//! than a bounded number of messages, and what the switch holds does not grow. `REVBRIDGE_MUTATED` says how many
//! messages (100,000; `make mutated` sends a million).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use revbridge::config::{CallConfig, Listener, MediaConfig, Transport};
use revbridge::guardrails::{Account, Allowlist, LegPrice, Limits, PriceTable, Rules};
use revbridge::model::{Confirm, E164, IdSource, Money, OrganizationId, RequestId, Side, Timestamp, UserId};
use revbridge::sip::guard::{self, Forbidden};
use revbridge::sip::{EndpointConfig, Flow};
use revbridge::store::{Answer, apply};
use revbridge::switch::{Command, Dial, Input, Output, Switch, SwitchConfig, UserLeg};

use crate::peer::{header, trunk};

const USER: &str = "198.51.100.10:5060";
const CARRIER: &str = "203.0.113.20:5060";
const OWNED: &str = "+12025550100";
/// In every message of a side, in each of its fields that can carry words. None of it is a number or a name
/// that anybody else would have.
const CANARIES: [&str; 2] = ["canaryofalice", "kanariofbob"];
/// Of a call, and then another begins.
const MESSAGES: usize = 400;

fn number(text: &str) -> E164 {
    E164::parse(text).unwrap()
}

/// A small generator: the same messages for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

struct World {
    switch: Switch,
    account: Account,
    now: Timestamp,
    local: SocketAddr,
    /// The last INVITE that each side was sent.
    invites: [Option<String>; 2],
    sent: usize,
    /// INVITEs to the destination: calls whose A has answered.
    rung: usize,
}

fn at(side: Side) -> SocketAddr {
    match side {
        Side::User => USER,
        Side::Destination => CARRIER,
    }
    .parse()
    .unwrap()
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Destination)
}

impl World {
    fn new(seed: u64) -> Self {
        let local: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let trunks = [(USER, "+1415"), (CARRIER, "+1212")].map(|(target, prefix)| {
            let mut trunk = trunk(target);
            trunk.name = prefix.trim_start_matches('+').into();
            trunk.prefixes = vec![prefix.into()];
            Arc::new(trunk)
        });
        let config = SwitchConfig {
            endpoint: EndpointConfig {
                listeners: vec![Listener { transport: Transport::Udp, local, advertised: local }],
                trunks: trunks.to_vec(),
                failover: Duration::from_secs(4),
                product: "revbridge".into(),
                signer: None,
            },
            media: MediaConfig {
                address: local.ip(),
                advertised: local.ip(),
                ports: (20_000, 20_399),
                rest: Duration::ZERO,
                timeout: Duration::from_secs(3_600),
                threads: 1,
                failure_wav: None,
                fast_path: false,
            },
            calls: CallConfig {
                max_calls: 1_000,
                default_ring_timeout: Duration::from_secs(30),
                failure_tone: Duration::ZERO,
                confirm_timeout: Duration::from_secs(10),
                drain_deadline: Duration::from_secs(10),
                currency: "USD".into(),
            },
            grace: Duration::ZERO,
        };
        let price = LegPrice { per_minute: Money::ZERO, connect: Money::ZERO, first_seconds: 60, step_seconds: 60 };
        let limits = Limits {
            max_concurrent_legs: 1_000,
            max_calls_per_minute: 1_000_000,
            daily_spend_limit: Money::from_micros(1_000_000_000),
            timezone: "UTC".into(),
            ..Limits::default()
        };
        let prices = Arc::new(PriceTable::new([("+1", price)]).unwrap());
        let rules = Rules::new(limits, Allowlist::parse(["+1"]).unwrap(), vec![number(OWNED)], prices).unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let mut key = [7; 32];
        key[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            switch: Switch::new(config, IdSource::new(key), now),
            account: Account::new(rules),
            now,
            local,
            invites: [None, None],
            sent: 0,
            rung: 0,
        }
    }

    fn dial(&mut self) {
        let dial = Dial {
            organization: OrganizationId("acme".into()),
            user: UserId("alice".into()),
            from: number(OWNED),
            to: number("+12125550123"),
            connect: UserLeg::Phone(number("+14155550177")),
            confirm: Confirm::None,
            ring_timeout: Duration::from_secs(3_000),
            max_duration: Duration::from_secs(14_400),
            client_name: None,
            client_label: None,
            answer: |call, _| Answer { status: 202, location: None, body: call.to_string() },
            idempotency: None,
        };
        self.invites = [None, None];
        self.handle(Input::Api(RequestId(1), Command::Dial(Box::new(dial))));
        assert!(self.invites[0].is_some(), "A rings");
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.switch.handle(self.now, input, &mut out);
        let mut queue = VecDeque::from(out);
        let mut steps = 0;
        while let Some(output) = queue.pop_front() {
            steps += 1;
            assert!(steps < 500, "one input has no end of consequences");
            match output {
                Output::Transmit(flow, bytes) => self.transmit(flow, &bytes),
                Output::Commit(id, commit) => {
                    let committed = apply(&mut self.account, &commit).committed;
                    let mut more = Vec::new();
                    self.switch.handle(self.now, Input::Committed(id, committed), &mut more);
                    queue.extend(more);
                }
                Output::Reply(..) | Output::Forget(_) | Output::Media(..) | Output::Notice(_) | Output::Trace(_) => {}
            }
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let side = if flow.remote.ip() == at(Side::User).ip() { Side::User } else { Side::Destination };
        // A response goes to the port that its Via names (RFC 3261 §18.2.2), a request to the trunk's.
        assert_eq!(flow.remote.ip(), at(side).ip(), "sent to nobody we know: {text}");
        let lower = text.to_ascii_lowercase();
        assert!(!lower.contains(CANARIES[1 - index(side)]), "the other party's words: {text}");
        if !text.starts_with("SIP/2.0") {
            assert_eq!(flow.remote, at(side), "sent to nobody we know: {text}");
            assert_eq!(guard::check(bytes, Some(number(OWNED)), &Forbidden::default()), Ok(()), "{text}");
        }
        if text.starts_with("INVITE ") {
            self.rung += index(side);
            self.invites[index(side)] = Some(text.into_owned());
        }
        self.sent += 1;
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut rounds = 0;
        while let Some(due) = self.switch.next_timeout().filter(|due| *due <= until) {
            rounds += 1;
            assert!(rounds < 100_000, "time stands still");
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
        }
        self.now = until;
    }

    fn hear(&mut self, side: Side, bytes: &[u8]) {
        let flow = Flow { transport: Transport::Udp, local: self.local, remote: at(side) };
        self.handle(Input::Packet(flow, bytes));
    }

    /// Something that the peer of this side may say, whole.
    fn whole(&self, side: Side, dice: &mut Dice) -> Option<String> {
        let invite = self.invites[index(side)].as_deref()?;
        let canary = CANARIES[index(side)];
        let ip = at(side).ip();
        let sdp = format!(
            "v=0\r\no={canary} 1 {} IN IP4 {ip}\r\ns={canary}\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=note:{canary}\r\n",
            dice.roll(9)
        );
        let body = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
        let none = "Content-Length: 0\r\n\r\n".to_owned();
        let words = format!(
            "Contact: \"{canary}\" <sip:{canary}@{ip}:5060>\r\nUser-Agent: {canary}\r\nSubject: {canary}\r\n\
             P-Asserted-Identity: <sip:{canary}@{ip}>\r\nRemote-Party-ID: <sip:{canary}@{ip}>\r\n"
        );
        let (from, to) = (header(invite, "From"), header(invite, "To"));
        let call_id = header(invite, "Call-ID");
        if dice.roll(2) == 0 {
            let status =
                dice.pick(&["100", "180", "181", "183", "199", "200", "200", "200", "302", "404", "486", "503", "603"]);
            let rest = if dice.roll(2) == 0 { &body } else { &none };
            return Some(format!(
                "SIP/2.0 {status} {canary}\r\nVia: {}\r\nFrom: {from}\r\nTo: {to};tag={canary}{}\r\nCall-ID: {call_id}\r\n\
                 CSeq: {}\r\n{words}Reason: Q.850;cause=17;text=\"{canary}\"\r\n{rest}",
                header(invite, "Via"),
                dice.roll(3),
                header(invite, "CSeq"),
            ));
        }
        let methods = [
            "BYE",
            "INVITE",
            "UPDATE",
            "INFO",
            "OPTIONS",
            "ACK",
            "CANCEL",
            "REFER",
            "MESSAGE",
            "NOTIFY",
            "SUBSCRIBE",
            "PUBLISH",
            "PRACK",
            "REGISTER",
            "JUMP",
        ];
        let method = dice.pick(&methods);
        let rest = if dice.roll(2) == 0 { &body } else { &none };
        Some(format!(
            "{method} sip:{canary}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:5060;branch=z9hG4bK{canary}{}\r\n\
             Max-Forwards: 70\r\nFrom: {to};tag={canary}{}\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: {} {method}\r\n\
             Refer-To: <sip:{canary}@{ip}>\r\nReplaces: {canary}\r\nDiversion: <sip:{canary}@{ip}>\r\n{words}{rest}",
            dice.roll(1 << 20),
            dice.roll(3),
            dice.roll(1 << 16),
        ))
    }
}

/// One of the many ways to break a message. One in four is left as it is.
fn mutate(text: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..dice.roll(4) {
        let spot = dice.roll(bytes.len());
        match dice.roll(8) {
            0 => bytes[spot] = dice.roll(256) as u8,
            1 => bytes.truncate(spot.max(1)),
            2 => {
                let end = (spot + dice.roll(40)).min(bytes.len());
                bytes.drain(spot..end);
            }
            3 => {
                let end = (spot + dice.roll(80)).min(bytes.len());
                let copy = bytes[spot..end].to_vec();
                bytes.splice(spot..spot, copy);
            }
            4 => {
                let evil: &[&[u8]] = &[
                    b"\r\n",
                    b"\0",
                    b"\r\n ",
                    b",",
                    b";",
                    b"\"",
                    b"<",
                    b">",
                    b"%00",
                    b"\xc0\xaf",
                    b"\xe2\x80\xa8",
                    b"4294967296",
                    b"-1",
                    b"99999999999999999999",
                    b"Content-Length: 9999\r\n",
                    b"l: 0\r\n",
                    b"Via: x\r\n",
                    b"Require: 100rel, timer, x\r\n",
                    b"RSeq: 4294967295\r\n",
                    b"Session-Expires: 1\r\n",
                    b"Record-Route: <sip:203.0.113.99;lr>\r\n",
                    b"Content-Encoding: gzip\r\n",
                ];
                let word = dice.pick(evil).to_vec();
                bytes.splice(spot..spot, word);
            }
            5 => {
                let lines: Vec<&[u8]> = text.as_bytes().split_inclusive(|b| *b == b'\n').collect();
                let line = lines[dice.roll(lines.len())].to_vec();
                bytes.splice(spot..spot, line);
            }
            6 => {
                // Another line's place: the order of headers, or one left out.
                let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                let (from, to) = (dice.roll(lines.len()), dice.roll(lines.len()));
                lines.swap(from, to);
                bytes = lines.concat();
            }
            _ => bytes[spot] ^= 1 << dice.roll(8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[allow(clippy::disallowed_methods, reason = "whoever runs the test says how many")]
#[test]
fn no_mutated_message_panics_leaks_or_leaves_anything() {
    let messages: usize = std::env::var("REVBRIDGE_MUTATED").map_or(100_000, |n| n.parse().expect("a number"));
    let (mut world, mut dice) = (World::new(1), Dice(0x5eed));
    let mut calls = 0;
    for n in 0..messages {
        if n % MESSAGES == 0 {
            // Whatever is left of the one before ends by its own deadlines.
            world.pass(Duration::from_secs(6 * 3_600));
            let gauges = world.switch.gauges(world.now);
            assert_eq!(gauges.live_calls, 0, "after {n} messages");
            assert_eq!(world.switch.next_timeout(), None, "nothing is remembered after {n} messages");
            world.dial();
            calls += 1;
        }
        let side = if dice.roll(2) == 0 { Side::User } else { Side::Destination };
        let Some(whole) = world.whole(side, &mut dice) else { continue };
        // After the end of a call there is less to look for: most often it is said broken.
        let is_end =
            ["BYE", "SIP/2.0 3", "SIP/2.0 4", "SIP/2.0 5", "SIP/2.0 6"].iter().any(|end| whole.starts_with(end));
        let mut bytes = mutate(&whole, &mut dice);
        if is_end && bytes == whole.as_bytes() && dice.roll(8) > 0 {
            bytes[0] ^= 1;
        }
        let before = world.sent;
        world.hear(side, &bytes);
        assert!(world.sent - before < 100, "amplified: {}", String::from_utf8_lossy(&bytes));
        if dice.roll(10) == 0 {
            world.pass(Duration::from_millis(1 + dice.roll(2_000) as u64));
        }
    }
    println!("revbridge-test: mutated={messages}");
    let World { sent, rung, .. } = world;
    assert!(sent > messages / 4 && rung > calls / 2, "{sent} messages sent, {rung} of {calls} calls reached B");
}
