//! Which trunk takes a call: of those that are in service and have room, one that has not just failed, then the longest
//! prefix, then the priority, then the weight.
//!
//! ```text
//! in service? ─▶ room? ─▶ not tried for this leg? ─▶ (failed lately, prefix, priority) ─▶ weight
//! ```
//!
//! A trunk that has failed is avoided for a while and not shut out: where every one has failed, they are tried.

mod room;

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Flow;
use super::ident::Token;
use crate::config::{Listener, Transport, Trunk};
use crate::model::{E164, Secret, Timestamp};
use room::Room;

/// How long a trunk is avoided that did not answer, could not be reached, or said 503 without a time.
pub const AVOIDED: Duration = Duration::from_secs(30);
/// A trunk's `Retry-After` is believed up to this: it must not take itself out for a day by mistake.
pub const LONGEST_AVOIDED: Duration = Duration::from_secs(300);

/// The trunks of the configuration with what is known of them.
#[derive(Debug)]
pub struct Trunks {
    entries: Vec<Entry>,
    secret: Secret,
    /// Makes each weighted choice a new one.
    choices: u32,
}

#[derive(Debug)]
struct Entry {
    trunk: Arc<Trunk>,
    in_service: bool,
    avoided_until: Option<Timestamp>,
    room: Room,
}

/// What the choice between trunks goes by, for one number and one trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub trunk: Arc<Trunk>,
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
}

impl Trunks {
    /// A trunk that no listener can reach is never in service.
    pub fn new(trunks: &[Arc<Trunk>], listeners: &[Listener], secret: Secret) -> Self {
        let entry = |trunk: &Arc<Trunk>| Entry {
            trunk: Arc::clone(trunk),
            in_service: listener_for(listeners, trunk.transport, trunk.target).is_some(),
            avoided_until: None,
            room: Room::new(trunk.max_calls, trunk.max_calls_per_second),
        };
        Self { entries: trunks.iter().map(entry).collect(), secret, choices: 0 }
    }

    pub fn in_service(&self) -> usize {
        self.entries.iter().filter(|e| e.in_service).count()
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Trunk>> {
        self.entries.iter().map(|e| &e.trunk).find(|t| *t.name == *name)
    }

    pub fn has_address(&self, address: IpAddr) -> bool {
        self.entries.iter().any(|e| e.trunk.target.ip() == address)
    }

    /// Notes what a ping found; `true` when it is news.
    pub fn set_in_service(&mut self, index: usize, in_service: bool) -> bool {
        match self.entries.get_mut(index) {
            Some(entry) if entry.in_service != in_service => {
                entry.in_service = in_service;
                true
            }
            Some(_) | None => false,
        }
    }

    /// All trunks that take this number, the first choice first; equals by the configuration's order.
    pub fn candidates(&self, now: Timestamp, number: E164) -> Vec<Candidate> {
        let number = number.text();
        let mut candidates: Vec<_> = self.entries.iter().filter_map(|entry| entry.candidate(now, &number)).collect();
        candidates.sort_by_key(|candidate| (!candidate.is_usable(), candidate.rank()));
        candidates
    }

    /// Whether any trunk takes this number now, but for those of these names.
    pub fn has_route(&self, now: Timestamp, number: E164, tried: &[&str]) -> bool {
        let number = number.text();
        self.usable(now, &number, tried).next().is_some()
    }

    /// Chooses, and takes the trunk's room for a leg until [`Trunks::ended`].
    pub fn choose(&mut self, now: Timestamp, number: E164, tried: &[&str]) -> Option<Arc<Trunk>> {
        let number = number.text();
        let best = self.usable(now, &number, tried).map(|candidate| candidate.rank()).min()?;
        let equals = || self.usable(now, &number, tried).filter(|candidate| candidate.rank() == best);

        let total: u64 = equals().map(|candidate| weight(&candidate.trunk)).sum();
        let mut point = Token::numbered(self.secret, "route", self.choices.wrapping_add(1)).low() % total.max(1);
        let mut chosen = None;
        for candidate in equals() {
            match point.checked_sub(weight(&candidate.trunk)) {
                Some(rest) => point = rest,
                None => {
                    chosen = Some(candidate.trunk);
                    break;
                }
            }
        }
        self.choices = self.choices.wrapping_add(1);
        let chosen = chosen?;
        if let Some(entry) = self.entry(&chosen.name) {
            entry.room.begin(now);
        }
        Some(chosen)
    }

    /// A leg that a restart has found is on this trunk.
    pub fn resumed(&mut self, name: &str) {
        if let Some(entry) = self.entry(name) {
            entry.room.resume();
        }
    }

    /// A leg on this trunk is over.
    pub fn ended(&mut self, name: &str) {
        if let Some(entry) = self.entry(name) {
            entry.room.end();
        }
    }

    /// A leg came to nothing because of the trunk.
    pub fn failed(&mut self, now: Timestamp, name: &str, retry_after: Option<Duration>) {
        if let Some(entry) = self.entry(name) {
            entry.avoided_until = Some(now + retry_after.unwrap_or(AVOIDED).min(LONGEST_AVOIDED));
        }
    }

    fn usable(&self, now: Timestamp, number: &str, tried: &[&str]) -> impl Iterator<Item = Candidate> {
        let untried = self.entries.iter().filter(|entry| !tried.contains(&&*entry.trunk.name));
        untried.filter_map(move |entry| entry.candidate(now, number)).filter(Candidate::is_usable)
    }

    fn entry(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| *entry.trunk.name == *name)
    }
}

impl Entry {
    /// `None` for a number that the trunk does not take.
    fn candidate(&self, now: Timestamp, number: &str) -> Option<Candidate> {
        Some(Candidate {
            prefix_length: longest_prefix(&self.trunk, number)?,
            trunk: Arc::clone(&self.trunk),
            in_service: self.in_service,
            avoided_for: self.avoided_until.filter(|until| *until > now).map(|until| until.since(now)),
            calls: self.room.on(),
            calls_in_second: self.room.in_second(now),
            has_room: self.room.is_left(now),
        })
    }
}

/// Weight 0 is a last resort that still gets a share, as in RFC 2782.
fn weight(trunk: &Trunk) -> u64 {
    u64::from(trunk.weight).max(1)
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

    fn chosen_after(trunks: &mut Trunks, number: &str, now: Timestamp, tried: &[&str]) -> Option<String> {
        trunks.choose(now, E164::parse(number).unwrap(), tried).map(|t| t.name.to_string())
    }

    #[test]
    fn what_has_failed_comes_last_for_as_long_as_it_says_within_bounds() {
        let mut trunks = trunks(&[trunk("first", &["+1"], 1, 1), trunk("second", &[], 2, 1)]);
        let number = "+12125550100";
        let at = |seconds| NOW + Duration::from_secs(seconds);
        trunks.failed(NOW, "first", Some(Duration::from_secs(60)));
        for (seconds, expected) in [(0, "second"), (59, "second"), (60, "first")] {
            assert_eq!(chosen_after(&mut trunks, number, at(seconds), &[]).as_deref(), Some(expected));
        }
        trunks.failed(NOW, "first", Some(Duration::from_secs(86_400)));
        assert_eq!(chosen_after(&mut trunks, number, at(299), &[]).as_deref(), Some("second"));
        assert_eq!(chosen_after(&mut trunks, number, at(300), &[]).as_deref(), Some("first"));
        trunks.failed(NOW, "first", None);
        trunks.failed(NOW, "second", None);
        assert_eq!(chosen(&mut trunks, number).as_deref(), Some("first"), "rather one that failed than none");
        assert_eq!(chosen_after(&mut trunks, number, NOW, &["first"]).as_deref(), Some("second"));
        assert_eq!(chosen_after(&mut trunks, number, NOW, &["first", "second"]), None);
        assert!(!trunks.has_route(NOW, E164::parse(number).unwrap(), &["first", "second"]));
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
        trunks.set_in_service(2, false);
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("us"));
    }

    #[test]
    fn the_lower_priority_comes_first_and_nothing_in_service_is_no_trunk() {
        let mut trunks = trunks(&[trunk("second", &[], 2, 100), trunk("first", &[], 1, 1)]);
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("first"));
        assert!(trunks.set_in_service(1, false));
        assert!(!trunks.set_in_service(1, false));
        assert_eq!(chosen(&mut trunks, "+12125550100").as_deref(), Some("second"));
        trunks.set_in_service(0, false);
        assert_eq!((chosen(&mut trunks, "+12125550100"), trunks.in_service()), (None, 0));
    }

    #[test]
    fn equals_share_by_weight() {
        let mut trunks = trunks(&[trunk("light", &[], 0, 1), trunk("heavy", &[], 0, 3)]);
        let light = (0..4_000).filter(|_| chosen(&mut trunks, "+12125550100").as_deref() == Some("light")).count();
        assert!((850..1_150).contains(&light), "{light} of 4000");
    }
}
