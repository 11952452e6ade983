//! A world of one endpoint and one peer: what each says is text, and time moves only when told.

use std::sync::Arc;
use std::time::Duration;

use revbridge::config::{Credentials, Listener, Transport, Trunk};
use revbridge::events::{NoiseKind, Notice};
use revbridge::guardrails::{Account, Allowlist, Attempt, Limits, Permit, PriceTable, Rules, decide_admission};
use revbridge::leg::{Cause, LegCommand, LegEvent};
use revbridge::model::{E164, IdSource, LegId, Money, OrganizationId, Secret, Side, Timestamp, UserId};
use revbridge::sdp::{Codec, Description, Local, offer};
use revbridge::sip::guard::{self, Forbidden};
use revbridge::sip::{Down, Endpoint, EndpointAction, EndpointConfig, Flow, LegSnapshot};

pub const TO: &str = "+14155550123";
pub const SHOWN: &str = "+12025550100";
pub const SECOND: Duration = Duration::from_secs(1);
pub const MS: Duration = Duration::from_millis(1);

pub struct World {
    pub now: Timestamp,
    pub endpoint: Endpoint,
    pub leg: LegId,
    pub flow: Flow,
    config: EndpointConfig,
    /// What the endpoint sent and nobody has looked at yet.
    pub wire: Vec<String>,
    /// What each of them was sent on.
    flows: Vec<Flow>,
    /// What the message that [`World::sent`] took last was sent on.
    pub on: Flow,
    pub events: Vec<LegEvent>,
    pub notices: Vec<Notice>,
}

pub fn trunk(target: &str) -> Trunk {
    Trunk { codecs: vec![Codec::Pcmu], ..Trunk::at("carrier", Transport::Udp, target.parse().unwrap()) }
}

/// With a key that `openssl genpkey` made for nobody.
fn signer() -> revbridge::sip::identity::Signer {
    let pem = include_str!("key.pem");
    revbridge::sip::identity::Signer::new(pem, "https://certificates.example/a.pem".into()).unwrap()
}

pub fn credentials() -> Credentials {
    Credentials { username: "bridge".into(), password: "secret".into(), realm: "carrier.example".into() }
}

impl World {
    pub fn new() -> Self {
        Self::with(trunk("192.0.2.7:5070"))
    }

    pub fn with(trunk: Trunk) -> Self {
        Self::seeded(trunk, Secret([5; 16]))
    }

    pub fn seeded(trunk: Trunk, secret: Secret) -> Self {
        Self::among(vec![trunk], secret)
    }

    /// At a trunk that takes no calls yet, so without a leg.
    pub fn registering(trunk: Trunk) -> Self {
        Self::idle(vec![trunk])
    }

    /// The first trunk is the one that is asked first.
    pub fn among(trunks: Vec<Trunk>, secret: Secret) -> Self {
        let mut w = Self::idle(trunks);
        assert!(w.prepare_again(secret));
        w
    }

    fn idle(trunks: Vec<Trunk>) -> Self {
        let trunk = &trunks[0];
        let ip: std::net::IpAddr = if trunk.target.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap();
        let listeners = Transport::ALL.map(|transport| {
            let local = (ip, transport.default_port()).into();
            Listener { transport, local, advertised: local }
        });
        let local = (ip, trunk.transport.default_port()).into();
        let flow = Flow { transport: trunk.transport, local, remote: trunk.target };
        let config = EndpointConfig {
            listeners: listeners.into(),
            trunks: trunks.into_iter().map(Arc::new).collect(),
            failover: 4 * SECOND,
            product: "revbridge".into(),
            signer: Some(Arc::new(signer())),
        };
        let now = Timestamp::from_millis(1_800_000_000_000);
        let leg = LegId { call: IdSource::new([3; 32]).call(now), side: Side::User };
        let endpoint = Endpoint::new(config.clone(), Secret([9; 16]), now);
        Self {
            now,
            endpoint,
            leg,
            flow,
            config,
            wire: vec![],
            flows: vec![],
            on: flow,
            events: vec![],
            notices: vec![],
        }
    }

    fn note(&mut self, out: Vec<EndpointAction>) {
        for action in out {
            match action {
                EndpointAction::Transmit { leg, flow, bytes, request } => {
                    assert_eq!(request, !bytes.starts_with(b"SIP/2.0 "));
                    if request {
                        let shown = leg.map(|_| E164::parse(SHOWN).unwrap());
                        let checked = guard::check(&bytes, shown, &Forbidden::default());
                        assert_eq!(checked, Ok(()), "{}", String::from_utf8_lossy(&bytes));
                    }
                    let ours = self.config.trunks.iter().any(|trunk| trunk.target.ip() == flow.remote.ip());
                    assert!(ours, "sent to a stranger");
                    self.wire.push(String::from_utf8(bytes.to_vec()).unwrap());
                    self.flows.push(flow);
                }
                EndpointAction::Leg(leg, event) => {
                    assert_eq!(leg, self.leg);
                    match event {
                        // As the call does it, with a disk that takes no time.
                        LegEvent::Stray { known } => self.command(LegCommand::TakeDown { known }),
                        event => self.events.push(event),
                    }
                }
                EndpointAction::Notice(notice) => self.notices.push(notice),
                EndpointAction::Heard(..) => panic!("nobody has asked for traces"),
            }
        }
    }

    pub fn command(&mut self, command: LegCommand) {
        let mut out = vec![];
        self.endpoint.command(self.now, self.leg, command, &mut out);
        self.note(out);
    }

    pub fn invite(&mut self) -> String {
        let permit = permit(self.leg, self.now);
        self.command(LegCommand::Invite { permit, offer: session(1) });
        self.sent("INVITE ")
    }

    /// By another trunk: `false` when there is none.
    pub fn prepare_again(&mut self, secret: Secret) -> bool {
        let (to, shown) = (E164::parse(TO).unwrap(), E164::parse(SHOWN).unwrap());
        self.endpoint.prepare(self.now, self.leg, secret, to, shown)
    }

    pub fn end(&mut self) {
        self.command(LegCommand::End(Cause::NORMAL_CLEARING));
    }

    pub fn receive(&mut self, text: &str) {
        self.receive_from(self.flow, text);
    }

    pub fn receive_from(&mut self, flow: Flow, text: &str) {
        let mut out = vec![];
        self.endpoint.packet(self.now, flow, text.as_bytes(), &mut out);
        self.note(out);
    }

    /// A connection is lost, or could not be made.
    pub fn down(&mut self, flow: Flow, why: Down) {
        let mut out = vec![];
        self.endpoint.flow_down(self.now, flow, why, &mut out);
        self.note(out);
    }

    /// As [`World::receive_from`], whoever is answered.
    pub fn hear(&mut self, flow: Flow, text: &str) {
        let mut out = vec![];
        self.endpoint.packet(self.now, flow, text.as_bytes(), &mut out);
        for action in out {
            match action {
                EndpointAction::Transmit { flow: to, bytes, .. } => {
                    assert_eq!(to, flow);
                    self.wire.push(String::from_utf8(bytes.to_vec()).unwrap());
                    self.flows.push(to);
                }
                EndpointAction::Notice(notice) => self.notices.push(notice),
                EndpointAction::Leg(..) | EndpointAction::Heard(..) => panic!("a leg has heard a stranger"),
            }
        }
    }

    /// Moves time on, stopping at every deadline.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.endpoint.next_timeout().filter(|at| *at <= until) {
            assert!(at >= self.now, "a deadline in the past");
            self.now = at;
            let mut out = vec![];
            self.endpoint.timeout(at, &mut out);
            self.note(out);
            assert!(self.endpoint.next_timeout() != Some(at), "a deadline that does not go away");
        }
        self.now = until;
    }

    /// Takes the oldest unseen message, which must begin so.
    pub fn sent(&mut self, start: &str) -> String {
        assert!(!self.wire.is_empty(), "nothing sent, expected {start}");
        let message = self.wire.remove(0);
        self.on = self.flows.remove(0);
        assert!(message.starts_with(start), "expected {start}, sent {message}");
        message
    }

    /// Whatever was sent until now.
    pub fn overlook(&mut self) {
        self.wire.clear();
        self.flows.clear();
    }

    pub fn silent(&mut self) {
        assert!(self.wire.is_empty(), "unexpected: {:#?}", self.wire);
    }

    pub fn event(&mut self) -> LegEvent {
        assert!(!self.events.is_empty(), "no event");
        self.events.remove(0)
    }

    pub fn no_event(&mut self) {
        assert!(self.events.is_empty(), "unexpected: {:?}", self.events);
    }

    pub fn noise(&mut self) -> Vec<NoiseKind> {
        let noise = |n: Notice| match n {
            Notice::Noise { kind } => Some(kind),
            _ => None,
        };
        self.notices.drain(..).filter_map(noise).collect()
    }

    /// Kills the process and starts another from the snapshot that `keep` took, through its JSON.
    pub fn restart(&mut self, snapshot: LegSnapshot) {
        let json = serde_json::to_string(&snapshot).unwrap();
        self.endpoint = Endpoint::new(self.config.clone(), Secret([10; 16]), self.now);
        self.endpoint.restore(self.now, self.leg, serde_json::from_str(&json).unwrap());
        self.overlook();
        self.events.clear();
    }

    pub fn snapshot(&self) -> LegSnapshot {
        self.endpoint.snapshot(self.leg).unwrap()
    }

    /// INVITE, 200, ACK. Returns the INVITE.
    pub fn confirmed(&mut self) -> String {
        let invite = self.invite();
        self.receive(&answer(&invite, 200, "peer", &with_sdp("Contact: <sip:bob@198.51.100.9:5090>\r\n")));
        assert!(matches!(self.event(), LegEvent::Answered { .. }));
        self.silent();
        self.command(LegCommand::Ack);
        self.sent("ACK ");
        invite
    }
}

pub fn permit(leg: LegId, now: Timestamp) -> Permit {
    let limits = Limits {
        max_concurrent_legs: 10,
        max_calls_per_minute: 10,
        daily_spend_limit: Money::from_micros(1_000_000_000),
        timezone: "UTC".into(),
        ..Limits::default()
    };
    let price = revbridge::guardrails::LegPrice {
        per_minute: Money::ZERO,
        connect: Money::ZERO,
        first_seconds: 60,
        step_seconds: 60,
    };
    let shown = E164::parse(SHOWN).unwrap();
    let prices = Arc::new(PriceTable::new([("+1", price)]).unwrap());
    let rules = Rules::new(limits, Allowlist::parse(["+1"]).unwrap(), vec![shown], prices).unwrap();
    let attempt = Attempt {
        call: leg.call,
        organization: OrganizationId("acme".into()),
        user: UserId("alice".into()),
        from: shown,
        to: E164::parse("+14155550199").unwrap(),
        connect: Some(E164::parse(TO).unwrap()),
    };
    decide_admission(&Account::new(rules), &attempt, now).unwrap().1.unwrap()
}

pub fn session(version: u64) -> Description {
    offer(Local { session_id: 7, version, rtp: "192.0.2.1:20000".parse().unwrap() }, &[Codec::Pcmu])
}

/// The value of the first header line of that name.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    message.lines().find_map(|l| l.strip_prefix(prefix.as_str())).unwrap_or_else(|| panic!("no {name} in {message}"))
}

pub fn has(message: &str, name: &str) -> bool {
    let prefix = format!("{name}: ");
    message.split("\r\n\r\n").next().unwrap().lines().any(|l| l.starts_with(&prefix))
}

pub fn request_uri(message: &str) -> &str {
    message.split(' ').nth(1).unwrap()
}

pub fn branch(message: &str) -> &str {
    header(message, "Via").split("branch=").nth(1).unwrap().split(';').next().unwrap()
}

/// Further headers and a session description.
pub fn with_sdp(headers: &str) -> String {
    let body = "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
                m=audio 30000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
    format!("{headers}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The peer's response. `rest` is further headers, and a body after an empty line.
pub fn answer(request: &str, status: u16, tag: &str, rest: &str) -> String {
    let (via, from, to) = (header(request, "Via"), header(request, "From"), header(request, "To"));
    let (call_id, cseq) = (header(request, "Call-ID"), header(request, "CSeq"));
    let to = if to.contains(";tag=") || tag.is_empty() { to.to_owned() } else { format!("{to};tag={tag}") };
    let rest = if rest.contains("\r\n\r\n") { rest.to_owned() } else { format!("{rest}Content-Length: 0\r\n\r\n") };
    format!(
        "SIP/2.0 {status} Whatever\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq}\r\n{rest}"
    )
}

/// A request of the peer in the dialog that `invite` made.
pub fn ask(invite: &str, method: &str, cseq: u32, tag: &str, rest: &str) -> String {
    let rest = if rest.contains("\r\n\r\n") { rest.to_owned() } else { format!("{rest}Content-Length: 0\r\n\r\n") };
    format!(
        "{method} sip:bridge@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKpeer{cseq}{method}\r\n\
         Max-Forwards: 70\r\nFrom: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{rest}",
        header(invite, "To"),
        header(invite, "From"),
        header(invite, "Call-ID")
    )
}
