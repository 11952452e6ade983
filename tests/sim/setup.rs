//! The configuration of the simulated server, its organizations and its numbers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use revbridge::config::{CallConfig, Credentials, Listener, MediaConfig, Name, Transport, Trunk};
use revbridge::guardrails::{Allowlist, LegPrice, Limits, PriceTable, Rules};
use revbridge::model::{CallId, E164, Money, Opener, OrganizationId, Side, Token, TokenDigest, TokenSeed, UserId};
use revbridge::sip::{EndpointConfig, Flow, Target};
use revbridge::store::Answer;
use revbridge::switch::{Dial, IdempotencyKey, SwitchConfig, TokenOrder, UserLeg};

use crate::browser::GRACE;
use crate::phone::{Home, PASSWORD, USERNAME};
use crate::scenario::{CallPlan, Doors, Numbers, OrganizationPlan, Scenario};

/// Few enough to run out of them.
pub const PORT_PAIRS: usize = 16;
pub const REST: Duration = Duration::from_secs(5);

/// Where a node listens; the first is node 0.
pub fn server(node: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 9, 0, 1 + node).into(), 5060)
}

pub fn home(side: Side) -> Home {
    match side {
        Side::User => Home {
            side,
            mark: "kanarya",
            transport: "UDP",
            via: "192.0.2.10:5060",
            media: "172.16.1.1",
            realm: "a.invalid",
        },
        Side::Destination => Home {
            side,
            mark: "kanaryb",
            transport: "UDP",
            via: "198.51.100.20:5060",
            media: "172.16.2.1",
            realm: "b.invalid",
        },
    }
}

pub fn flow(side: Side, node: u8, transport: Transport) -> Flow {
    let ip = match side {
        Side::User => Ipv4Addr::new(192, 0, 2, 10),
        Side::Destination => Ipv4Addr::new(198, 51, 100, 20),
    };
    Flow { transport, local: server(node), remote: SocketAddr::new(ip.into(), 5060) }
}

/// The trunk that is asked first, where there are two.
pub fn gateway(side: Side, node: u8) -> Flow {
    let usual = flow(side, node, Transport::Udp);
    let IpAddr::V4(ip) = usual.remote.ip() else { unreachable!("the simulated network is IPv4") };
    let [a, b, c, d] = ip.octets();
    Flow { remote: SocketAddr::new(Ipv4Addr::new(a, b, c, d + 100).into(), 5060), ..usual }
}

/// The other address of a trunk that has a name.
pub fn back_door(side: Side, node: u8) -> Flow {
    let usual = flow(side, node, Transport::Udp);
    let IpAddr::V4(ip) = usual.remote.ip() else { unreachable!("the simulated network is IPv4") };
    let [a, b, c, d] = ip.octets();
    Flow { remote: SocketAddr::new(Ipv4Addr::new(a, b, c, d + 50).into(), 5060), ..usual }
}

pub fn trunk_name(side: Side) -> &'static str {
    match side {
        Side::User => "a",
        Side::Destination => "b",
    }
}

/// What the DNS says, in its order.
pub fn targets(side: Side, doors: Doors) -> Vec<Target> {
    let target = |(priority, back): (usize, &bool)| {
        let flow = if *back { back_door(side, 0) } else { flow(side, 0, Transport::Udp) };
        Target { transport: flow.transport, address: flow.remote, priority: priority as u32, weight: 1 }
    };
    doors.order().iter().enumerate().map(target).collect()
}

/// A connection that the side's trunk has made.
pub fn made_by_trunk(side: Side, node: u8, transport: Transport) -> Flow {
    let usual = flow(side, node, transport);
    Flow { remote: SocketAddr::new(usual.remote.ip(), 39_999), ..usual }
}

/// Somebody off the path.
pub fn stranger(node: u8) -> Flow {
    let remote = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 66).into(), 5060);
    Flow { remote, ..flow(Side::User, node, Transport::Udp) }
}

fn trunk(side: Side, ping: Option<Duration>, transport: Transport) -> Arc<Trunk> {
    let name = trunk_name(side);
    let prefixes = match side {
        Side::User => vec!["+1".to_owned()],
        Side::Destination => vec!["+44".to_owned(), "+49".to_owned()],
    };
    let target = flow(side, 0, transport).remote;
    Arc::new(Trunk {
        credentials: Some(Credentials {
            username: USERNAME.into(),
            password: PASSWORD.into(),
            realm: home(side).realm.into(),
        }),
        trusted: side == Side::Destination,
        prefixes,
        ping,
        ..Trunk::at(name, transport, target)
    })
}

fn trunks(side: Side, scenario: &Scenario) -> Vec<Arc<Trunk>> {
    let mut usual = trunk(side, scenario.ping, scenario.transport(side));
    if scenario.names[side as usize].is_some() {
        let host: Arc<str> = format!("{}.phones.invalid", usual.name).into();
        let name_to_resolve = Some(Name { host: host.clone(), port: None, transport: None });
        usual = Arc::new(Trunk { host, name_to_resolve, port: None, ..Trunk::clone(&usual) });
    }
    let first = |_| {
        let target = gateway(side, 0).remote;
        let host = target.ip().to_string().into();
        let name = format!("{}-first", usual.name).into();
        let (transport, ping) = (Transport::Udp, None);
        Arc::new(Trunk { name, host, target, transport, ping, priority: 1, ..Trunk::clone(&usual) })
    };
    scenario.gateway(side).map(first).into_iter().chain([usual.clone()]).collect()
}

pub fn config(scenario: &Scenario, node: u8) -> SwitchConfig {
    let server = server(node);
    SwitchConfig {
        endpoint: EndpointConfig {
            listeners: Transport::ALL
                .map(|transport| Listener { transport, local: server, advertised: server })
                .to_vec(),
            trunks: Side::BOTH.into_iter().flat_map(|side| trunks(side, scenario)).collect(),
            failover: Duration::from_secs(4),
            product: "revbridge".into(),
            signer: None,
        },
        media: MediaConfig {
            address: server.ip(),
            advertised: server.ip(),
            ports: (20_000, 19_999 + 2 * PORT_PAIRS as u16),
            rest: REST,
            timeout: Duration::from_secs(20),
            threads: 1,
            failure_wav: None,
            fast_path: false,
        },
        grace: GRACE,
        calls: CallConfig {
            max_calls: 30,
            default_ring_timeout: Duration::from_secs(20),
            failure_tone: Duration::from_secs(4),
            confirm_timeout: Duration::from_secs(15),
            drain_deadline: Duration::from_secs(10),
            currency: "USD".to_owned(),
        },
    }
}

pub fn organization(index: usize) -> OrganizationId {
    OrganizationId(["acme", "globex"][index].into())
}

pub fn limits(plan: &OrganizationPlan, index: usize) -> Limits {
    Limits {
        max_concurrent_legs: plan.max_concurrent_legs,
        max_calls_per_minute: plan.max_calls_per_minute,
        daily_spend_limit: Money::from_micros(plan.daily_spend_micros),
        timezone: ["UTC", "America/New_York"][index].to_owned(),
        ..Limits::default()
    }
}

/// What a leg to each side costs.
pub fn prices() -> [LegPrice; 2] {
    [
        LegPrice { per_minute: Money::from_micros(10_000), connect: Money::ZERO, first_seconds: 30, step_seconds: 6 },
        LegPrice {
            per_minute: Money::from_micros(20_000),
            connect: Money::from_micros(5_000),
            first_seconds: 10,
            step_seconds: 1,
        },
    ]
}

pub fn rules(plans: &[OrganizationPlan]) -> BTreeMap<OrganizationId, Rules> {
    let [a, b] = prices();
    let table = Arc::new(PriceTable::new([("+1", a), ("+44", b)]).expect("two prefixes"));
    let declare = |(index, plan): (usize, &OrganizationPlan)| {
        let allowlist = Allowlist::parse(["+1", "+44", "+49"]).expect("prefixes");
        let numbers = vec![number(&owned(index))];
        let rules = Rules::new(limits(plan, index), allowlist, numbers, table.clone()).expect("a timezone");
        (organization(index), rules)
    };
    plans.iter().enumerate().map(declare).collect()
}

fn owned(organization: usize) -> String {
    format!("+1202555010{organization}")
}

fn number(text: &str) -> E164 {
    E164::parse(text).expect("a number")
}

/// The number of a call's phone; the last four digits are the call's index.
pub fn phone_number(side: Side, index: usize) -> String {
    match side {
        Side::User => format!("+1415777{index:04}"),
        Side::Destination => format!("+4420794{index:05}"),
    }
}

/// The call whose phone has this number.
pub fn index_of(number: &str) -> Option<usize> {
    number.get(number.len().checked_sub(4)?..)?.parse().ok()
}

pub fn dial(index: usize, plan: &CallPlan) -> Dial {
    let own = number(&owned(plan.organization));
    let (from, to) = match plan.numbers {
        Numbers::Good => (own, phone_number(Side::Destination, index)),
        Numbers::FromNotOwned => (number("+12125550199"), phone_number(Side::Destination, index)),
        Numbers::ToNotListed => (own, format!("+336123{index:05}")),
        Numbers::ToPremium => (own, format!("+1900555{index:04}")),
        Numbers::ToUnpriced => (own, format!("+493012{index:05}")),
        Numbers::Loop => (own, owned(plan.organization)),
    };
    Dial {
        organization: organization(plan.organization),
        user: UserId("alice".into()),
        from,
        to: number(&to),
        connect: match &plan.browser {
            None => UserLeg::Phone(number(&phone_number(Side::User, index))),
            Some(browser) => UserLeg::Browser(TokenOrder {
                path: browser.path,
                valid: browser.ttl,
                opener: opener(index),
                seed: None,
            }),
        },
        confirm: plan.confirm,
        ring_timeout: plan.ring_timeout,
        max_duration: plan.max_duration,
        client_name: Some("kanarya's client".into()),
        client_label: Some("kanaryb's label".into()),
        answer,
        idempotency: plan.keyed.then(|| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
            IdempotencyKey { key, body: [1; 32], request_id: "request".into() }
        }),
    }
}

/// The call, and for a browser the seed of its token.
fn answer(call: CallId, dial: &Dial) -> Answer {
    let seed = match &dial.connect {
        UserLeg::Phone(_) => None,
        UserLeg::Browser(order) => order.seed.map(|seed| hex::encode(seed.0)),
    };
    Answer { status: 202, location: None, body: format!("{call} {}", seed.unwrap_or_default()) }
}

/// The call of an answer.
pub fn call_of(answer: &Answer) -> Option<CallId> {
    answer.body.split(' ').next()?.parse().ok()
}

/// The token of an answer, for the client that asked.
pub fn token(index: usize, answer: &Answer) -> Option<TokenDigest> {
    let mut seed = [0; 32];
    hex::decode_to_slice(answer.body.split(' ').nth(1)?, &mut seed).ok()?;
    Some(Token::of_seed(&TokenSeed(seed), &opener(index)).digest())
}

fn opener(index: usize) -> Opener {
    Opener::new(b"key", &index.to_le_bytes())
}
