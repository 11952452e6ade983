//! Which trunk takes a call: of those that are in service and have room, one that has not just failed, then the longest
//! prefix, then the priority, then the weight.
//!
//! ```text
//! in service? ─▶ room? ─▶ not tried for this leg? ─▶ (failed lately, prefix, priority) ─▶ weight
//! ```
//!
//! A trunk that has failed is avoided for a while and not shut out: where every one has failed, they are tried.

mod room;
mod targets;

pub use targets::Target;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Flow;
use super::ident::Token;
use crate::config::{Listener, Transport, Trunk};
use crate::model::{E164, Secret, Timestamp};
use room::Room;
use targets::{Entry, renewed};

/// How long a trunk is avoided that did not answer, could not be reached, or said 503 without a time.
pub const AVOIDED: Duration = Duration::from_secs(30);
/// A trunk's `Retry-After` is believed up to this: it must not take itself out for a day by mistake.
pub const LONGEST_AVOIDED: Duration = Duration::from_secs(300);

/// The trunks of the configuration with what is known of them.
#[derive(Debug)]
pub struct Trunks {
    /// As configured.
    trunks: Vec<Arc<Trunk>>,
    listeners: Vec<Listener>,
    /// In the configuration's order.
    entries: Vec<Entry>,
    /// By the trunk's name, for all its addresses.
    rooms: BTreeMap<Arc<str>, Room>,
    /// Those that do not know us, and take no calls before they do.
    unregistered: BTreeSet<Arc<str>>,
    secret: Secret,
    /// Makes each weighted choice a new one.
    choices: u32,
}

/// An address of a trunk that a leg was offered to.
pub type Tried<'a> = (&'a str, Transport, SocketAddr);

/// What the choice between trunks goes by, for one number and one trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// At one of its addresses.
    pub trunk: Arc<Trunk>,
    /// Of the address among the trunk's, by NAPTR and SRV.
    pub target_priority: u32,
    pub target_weight: u16,
    /// Characters of the number that its best prefix covers; 0 without prefixes.
    pub prefix_length: usize,
    pub in_service: bool,
    /// It has failed lately, and is avoided for so long.
    pub avoided_for: Option<Duration>,
    /// Legs on it now, and those that began within the last second.
    pub calls: u32,
    pub calls_in_second: u32,
    pub has_room: bool,
}

impl Candidate {
    fn is_usable(&self) -> bool {
        self.in_service && self.has_room
    }

    /// Lower first.
    fn rank(&self) -> (bool, Reverse<usize>, u16) {
        (self.avoided_for.is_some(), Reverse(self.prefix_length), self.trunk.priority)
    }

    /// Among the addresses of one trunk.
    fn target_rank(&self) -> u32 {
        self.target_priority
    }
}

impl Trunks {
    pub fn new(trunks: &[Arc<Trunk>], listeners: &[Listener], secret: Secret) -> Self {
        let with_address = trunks.iter().filter(|trunk| trunk.name_to_resolve.is_none());
        let entry = |trunk: &Arc<Trunk>| {
            let target = Target { transport: trunk.transport, address: trunk.target, priority: 0, weight: 1 };
            Entry::new(Arc::clone(trunk), target, listeners)
        };
        let room = |trunk: &Arc<Trunk>| (trunk.name.clone(), Room::new(trunk.max_calls, trunk.max_calls_per_second));
        Self {
            entries: with_address.map(entry).collect(),
            rooms: trunks.iter().map(room).collect(),
            unregistered: trunks.iter().filter(|t| t.register.is_some()).map(|t| t.name.clone()).collect(),
            trunks: trunks.to_vec(),
            listeners: listeners.to_vec(),
            secret,
            choices: 0,
        }
    }

    /// Trunks with an address that is in service.
    pub fn in_service(&self) -> usize {
        self.trunks.iter().filter(|trunk| self.is_up(&trunk.name)).count()
    }

    pub fn is_up(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| *entry.trunk.name == *name && self.serves(entry))
    }

    fn serves(&self, entry: &Entry) -> bool {
        entry.in_service && !self.unregistered.contains(&entry.trunk.name)
    }

    /// Whether a trunk that asks for it knows us; `true` when it is news of the trunk.
    pub fn set_registered(&mut self, name: &str, registered: bool) -> bool {
        let before = self.is_up(name);
        match self.named(name).map(|trunk| trunk.name.clone()) {
            Some(_) if registered => _ = self.unregistered.remove(name),
            Some(name) => _ = self.unregistered.insert(name),
            None => {}
        }
        before != self.is_up(name)
    }

    /// As configured.
    pub fn named(&self, name: &str) -> Option<&Arc<Trunk>> {
        self.trunks.iter().find(|trunk| *trunk.name == *name)
    }

    /// The trunks at each of their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Arc<Trunk>> {
        self.entries.iter().map(|entry| &entry.trunk)
    }

    pub fn has_address(&self, address: IpAddr) -> bool {
        self.entries.iter().any(|e| e.trunk.target.ip() == address)
    }

    /// The DNS has said where a trunk is.
    pub fn set_targets(&mut self, name: &str, targets: &[Target]) {
        let Some(trunk) = self.named(name).cloned() else { return };
        let (old, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| *entry.trunk.name == *name);
        let mut entries = others;
        entries.extend(renewed(old, &trunk, targets, &self.listeners));
        let place = |entry: &Entry| self.trunks.iter().position(|trunk| trunk.name == entry.trunk.name);
        entries.sort_by_key(|entry| (place(entry), entry.priority));
        self.entries = entries;
    }

    /// Notes what a ping found of an address; `true` when it is news of the trunk.
    pub fn set_in_service(&mut self, (name, transport, address): Tried<'_>, in_service: bool) -> bool {
        let before = self.is_up(name);
        let target = Target { transport, address, priority: 0, weight: 0 };
        let at = |entry: &&mut Entry| *entry.trunk.name == *name && entry.is_at(target);
        if let Some(entry) = self.entries.iter_mut().find(at) {
            entry.in_service = in_service;
        }
        before != self.is_up(name)
    }

    /// All addresses of trunks that take this number, the first choice first; equals by the configuration's order.
    pub fn candidates(&self, now: Timestamp, number: E164) -> Vec<Candidate> {
        let number = number.text();
        let mut candidates: Vec<_> =
            self.entries.iter().filter_map(|entry| self.candidate(entry, now, &number)).collect();
        candidates.sort_by_key(|candidate| (!candidate.is_usable(), candidate.rank(), candidate.target_rank()));
        candidates
    }

    /// Whether any trunk takes this number now, but for what was tried.
    pub fn has_route(&self, now: Timestamp, number: E164, tried: &[Tried<'_>]) -> bool {
        let number = number.text();
        self.usable(now, &number, tried).next().is_some()
    }

    /// Chooses, and takes the trunk's room for a leg until [`Trunks::ended`]: among the best trunks by their weight, among
    /// the addresses of one by theirs (RFC 2782).
    pub fn choose(&mut self, now: Timestamp, number: E164, tried: &[Tried<'_>]) -> Option<Arc<Trunk>> {
        let number = number.text();
        let best = self.usable(now, &number, tried).map(|candidate| candidate.rank()).min()?;
        let equals: Vec<_> = self.usable(now, &number, tried).filter(|candidate| candidate.rank() == best).collect();
        let mut names: Vec<(&str, u16)> = Vec::new();
        for candidate in &equals {
            if !names.iter().any(|(name, _)| *name == &*candidate.trunk.name) {
                names.push((&candidate.trunk.name, candidate.trunk.weight));
            }
        }
        self.choices = self.choices.wrapping_add(1);
        let drawn = |purpose| Token::numbered(self.secret, purpose, self.choices).low();
        let name = weighted(drawn("route"), names.into_iter())?;
        let targets = || equals.iter().filter(|candidate| &*candidate.trunk.name == name);
        let first = targets().map(Candidate::target_rank).min()?;
        let targets = targets().filter(|candidate| candidate.target_rank() == first);
        let chosen = weighted(drawn("target"), targets.map(|candidate| (candidate, candidate.target_weight)))?;
        let chosen = Arc::clone(&chosen.trunk);
        if let Some(room) = self.rooms.get_mut(&chosen.name) {
            room.begin(now);
        }
        Some(chosen)
    }

    /// A leg that a restart has found is on this trunk.
    pub fn resumed(&mut self, name: &str) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.resume();
        }
    }

    /// A leg on this trunk is over.
    pub fn ended(&mut self, name: &str) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.end();
        }
    }

    /// A leg came to nothing because of the trunk at this address.
    pub fn failed(&mut self, now: Timestamp, (name, transport, address): Tried<'_>, retry_after: Option<Duration>) {
        let target = Target { transport, address, priority: 0, weight: 0 };
        let at = |entry: &&mut Entry| *entry.trunk.name == *name && entry.is_at(target);
        if let Some(entry) = self.entries.iter_mut().find(at) {
            entry.avoided_until = Some(now + retry_after.unwrap_or(AVOIDED).min(LONGEST_AVOIDED));
        }
    }

    fn usable(&self, now: Timestamp, number: &str, tried: &[Tried<'_>]) -> impl Iterator<Item = Candidate> {
        let untried = self.entries.iter().filter(|entry| !tried.contains(&tried_of(&entry.trunk)));
        untried.filter_map(move |entry| self.candidate(entry, now, number)).filter(Candidate::is_usable)
    }

    /// `None` for a number that the trunk does not take.
    fn candidate(&self, entry: &Entry, now: Timestamp, number: &str) -> Option<Candidate> {
        let room = self.rooms.get(&entry.trunk.name)?;
        Some(Candidate {
            prefix_length: longest_prefix(&entry.trunk, number)?,
            trunk: Arc::clone(&entry.trunk),
            target_priority: entry.priority,
            target_weight: entry.weight,
            in_service: self.serves(entry),
            avoided_for: entry.avoided_until.filter(|until| *until > now).map(|until| until.since(now)),
            calls: room.on(),
            calls_in_second: room.in_second(now),
            has_room: room.is_left(now),
        })
    }
}

/// A trunk at its address.
pub fn tried_of(trunk: &Trunk) -> Tried<'_> {
    (&trunk.name, trunk.transport, trunk.target)
}

/// One of these, as often as its weight has it.
fn weighted<T: Copy>(drawn: u64, of: impl Iterator<Item = (T, u16)> + Clone) -> Option<T> {
    let total: u64 = of.clone().map(|(_, weight)| share(weight)).sum();
    let mut point = drawn % total.max(1);
    for (one, weight) in of {
        match point.checked_sub(share(weight)) {
            Some(rest) => point = rest,
            None => return Some(one),
        }
    }
    None
}

/// Weight 0 is a last resort that still gets a share, as in RFC 2782.
fn share(weight: u16) -> u64 {
    u64::from(weight).max(1)
}

/// How many characters of `number` the trunk's best prefix covers; none at all is a prefix of length 0.
fn longest_prefix(trunk: &Trunk, number: &str) -> Option<usize> {
    if trunk.prefixes.is_empty() {
        return Some(0);
    }
    trunk.prefixes.iter().filter(|p| number.starts_with(p.as_str())).map(String::len).max()
}

/// Our end of a way to `target`: the same transport and the same family of addresses.
pub fn listener_for(listeners: &[Listener], transport: Transport, target: SocketAddr) -> Option<Listener> {
    listeners.iter().find(|l| l.transport == transport && l.local.is_ipv4() == target.is_ipv4()).copied()
}

/// Our end of the way that a leg took: its own listener or, where that is none of ours, any that reaches
/// the same peer.
pub fn listener_of(listeners: &[Listener], flow: Flow) -> Option<Listener> {
    let own = listeners.iter().find(|l| l.transport == flow.transport && l.local == flow.local).copied();
    own.or_else(|| listener_for(listeners, flow.transport, flow.remote))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trunk(name: &str, prefixes: &[&str], priority: u16, weight: u16) -> Arc<Trunk> {
        let prefixes = prefixes.iter().map(|p| p.to_string()).collect();
        let trunk = Trunk::at(name, Transport::Udp, "127.0.0.1:5070".parse().unwrap());
        Arc::new(Trunk { prefixes, priority, weight, ..trunk })
    }

    fn trunks(list: &[Arc<Trunk>]) -> Trunks {
        let local = "127.0.0.1:5060".parse().unwrap();
        Trunks::new(list, &[Listener { transport: Transport::Udp, local, advertised: local }], Secret([1; 16]))
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn chosen(trunks: &mut Trunks, number: &str) -> Option<String> {
        chosen_after(trunks, number, NOW, &[])
    }

    fn at(name: &str) -> Tried<'_> {
        (name, Transport::Udp, "127.0.0.1:5070".parse().unwrap())
    }

    fn down(trunks: &mut Trunks, name: &str) -> bool {
        trunks.set_in_service(at(name), false)
    }

    fn chosen_after(trunks: &mut Trunks, number: &str, now: Timestamp, tried: &[&str]) -> Option<String> {
        let tried: Vec<_> = tried.iter().map(|name| at(name)).collect();
        trunks.choose(now, E164::parse(number).unwrap(), &tried).map(|t| t.name.to_string())
    }

    #[test]
    fn what_has_failed_comes_last_for_as_long_as_it_says_within_bounds() {
        let mut trunks = trunks(&[trunk("first", &["+1"], 1, 1), trunk("second", &[], 2, 1)]);
        let number = "+12125550100";
        let after = |seconds| NOW + Duration::from_secs(seconds);
        trunks.failed(NOW, at("first"), Some(Duration::from_secs(60)));
        for (seconds, expected) in [(0, "second"), (59, "second"), (60, "first")] {
            assert_eq!(chosen_after(&mut trunks, number, after(seconds), &[]).as_deref(), Some(expected));
        }
        trunks.failed(NOW, at("first"), Some(Duration::from_secs(86_400)));
        assert_eq!(chosen_after(&mut trunks, number, after(299), &[]).as_deref(), Some("second"));
        assert_eq!(chosen_after(&mut trunks, number, after(300), &[]).as_deref(), Some("first"));
        trunks.failed(NOW, at("first"), None);
        trunks.failed(NOW, at("second"), None);
        assert_eq!(chosen(&mut trunks, number).as_deref(), Some("first"), "rather one that failed than none");
        assert_eq!(chosen_after(&mut trunks, number, NOW, &["first"]).as_deref(), Some("second"));
        assert_eq!(chosen_after(&mut trunks, number, NOW, &["first", "second"]), None);
        assert!(!trunks.has_route(NOW, E164::parse(number).unwrap(), &[at("first"), at("second")]));
    }

    #[test]
    fn a_full_trunk_is_passed_over_until_a_leg_is_over() {
        let full = Trunk { max_calls: Some(1), ..Trunk::clone(&trunk("small", &["+1"], 1, 1)) };
        let mut trunks = trunks(&[Arc::new(full), trunk("big", &[], 9, 1)]);
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("small"));
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("big"));
        let shown: Vec<_> = trunks.candidates(NOW, E164::parse("+12125550100").unwrap());
        let shown: Vec<_> = shown.iter().map(|c| (&*c.trunk.name, c.calls, c.has_room)).collect();
        assert_eq!(shown, [("big", 1, true), ("small", 1, false)]);
        trunks.ended("small");
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("small"));
        trunks.ended("small");
        trunks.resumed("small");
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("big"));
    }

    #[test]
    fn longest_prefix_wins_over_priority() {
        let mut trunks = trunks(&[trunk("any", &[], 0, 1), trunk("us", &["+1"], 5, 1), trunk("ny", &["+1212"], 9, 1)]);
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("ny"));
        assert_eq!(chosen(&mut trunks, "+14155550100").as_deref(), Some("us"));
        assert_eq!(chosen(&mut trunks, "+442079460000").as_deref(), Some("any"));
        down(&mut trunks, "ny");
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("us"));
    }

    #[test]
    fn the_lower_priority_comes_first_and_nothing_in_service_is_no_trunk() {
        let mut trunks = trunks(&[trunk("second", &[], 2, 100), trunk("first", &[], 1, 1)]);
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("first"));
        assert!(down(&mut trunks, "first"));
        assert!(!down(&mut trunks, "first"));
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("second"));
        down(&mut trunks, "second");
        assert_eq!((chosen(&mut trunks, "+12125550100"), trunks.in_service()), (None, 0));
    }

    #[test]
    fn equals_share_by_weight() {
        let mut trunks = trunks(&[trunk("light", &[], 0, 1), trunk("heavy", &[], 0, 3)]);
        let light = (0..4_000).filter(|_| chosen(&mut trunks, "+12125550100").as_deref() == Some("light")).count();
        assert!((850..1_150).contains(&light), "{light} of 4000");
    }

    fn named(name: &str) -> Arc<Trunk> {
        let name_to_resolve = Some(crate::config::Name { host: "sip.example".into(), port: None, transport: None });
        Arc::new(Trunk { name_to_resolve, ..Trunk::clone(&trunk(name, &[], 1, 1)) })
    }

    fn target(address: &str, priority: u32, weight: u16) -> Target {
        Target { transport: Transport::Udp, address: address.parse().unwrap(), priority, weight }
    }

    fn addresses(trunks: &mut Trunks, times: usize) -> BTreeMap<SocketAddr, usize> {
        let mut seen = BTreeMap::new();
        for _ in 0..times {
            let chosen = trunks.choose(NOW, E164::parse("+12125550100").unwrap(), &[]).unwrap();
            *seen.entry(chosen.target).or_default() += 1;
        }
        seen
    }

    #[test]
    fn a_name_is_where_the_dns_says_by_priority_and_weight_and_what_is_known_of_an_address_stays() {
        let mut trunks = trunks(&[named("carrier")]);
        assert_eq!((chosen(&mut trunks, "+12125550100"), trunks.in_service()), (None, 0), "not asked yet");
        let (a, b, c) =
            (target("127.0.0.2:5060", 1, 30), target("127.0.0.3:5060", 1, 10), target("127.0.0.4:5060", 2, 0));
        trunks.set_targets("carrier", &[c, a, b]);
        assert_eq!(trunks.in_service(), 1);
        let seen = addresses(&mut trunks, 4_000);
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [a.address, b.address], "the lower priority alone");
        assert!((850..1_150).contains(&seen[&b.address]), "{seen:?}");
        // Each is tried once.
        let tried = |list: &[Target]| -> Vec<_> { list.iter().map(|t| ("carrier", t.transport, t.address)).collect() };
        let number = E164::parse("+12125550100").unwrap();
        assert_eq!(trunks.choose(NOW, number, &tried(&[a, b])).unwrap().target, c.address);
        assert!(!trunks.has_route(NOW, number, &tried(&[a, b, c])));
        trunks.failed(NOW, ("carrier", a.transport, a.address), None);
        assert!(!trunks.set_in_service(("carrier", b.transport, b.address), false), "the trunk is up");
        let moved = target("127.0.0.9:5060", 1, 1);
        trunks.set_targets("carrier", &[a, b, moved]);
        assert_eq!(addresses(&mut trunks, 50).into_keys().collect::<Vec<_>>(), [moved.address]);
        assert!(!trunks.has_address(c.address.ip()));
    }
}
