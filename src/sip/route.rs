//! Which trunk takes a call: the longest prefix, then the priority, then the weight, among those that
//! are in service.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Flow;
use super::ident::Token;
use crate::config::{Listener, Transport, Trunk};
use crate::model::{E164, Secret};

/// The trunks of the configuration with what is known of their health.
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
}

impl Trunks {
    /// A trunk that no listener can reach is never in service.
    pub fn new(trunks: &[Arc<Trunk>], listeners: &[Listener], secret: Secret) -> Self {
        let entry = |trunk: &Arc<Trunk>| Entry {
            trunk: Arc::clone(trunk),
            in_service: listener_for(listeners, trunk.transport, trunk.target).is_some(),
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

    pub fn route(&mut self, number: E164) -> Option<Arc<Trunk>> {
        let number = number.text();
        let rank = |trunk: &Trunk| Some((std::cmp::Reverse(longest_prefix(trunk, &number)?), trunk.priority));
        let usable = || self.entries.iter().filter(|e| e.in_service);
        let best = usable().filter_map(|e| rank(&e.trunk)).min()?;
        let equals = || usable().filter(|e| rank(&e.trunk) == Some(best));

        let total: u64 = equals().map(|e| weight(&e.trunk)).sum();
        self.choices = self.choices.wrapping_add(1);
        let mut point = Token::numbered(self.secret, "route", self.choices).low() % total.max(1);
        for entry in equals() {
            match point.checked_sub(weight(&entry.trunk)) {
                Some(rest) => point = rest,
                None => return Some(Arc::clone(&entry.trunk)),
            }
        }
        None
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

    fn chosen(trunks: &mut Trunks, number: &str) -> Option<String> {
        trunks.route(E164::parse(number).unwrap()).map(|t| t.name.to_string())
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
