//! Which browser a datagram belongs to, when all of them share a port.
//!
//! ```text
//!   STUN request ── our ufrag in its USERNAME ──▶ a peer ── its integrity holds ──▶ the source is the peer's
//!   anything else ── from a source that is a peer's ──▶ that peer
//!                 └─ from elsewhere ──▶ nobody
//! ```
//!
//! A source is learned in no other way, so what a stranger sends, a DTLS hello or garbage, touches no peer.
//! Deliberately absent: other STUN. We send no requests, so nobody has to answer us.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;
use str0m::ice::StunMessage;

use crate::model::Timestamp;

/// How a browser's packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    Udp,
    Tcp,
}

/// Where they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    pub via: Via,
    pub address: SocketAddr,
}

/// Sources of one peer at a time: a host's interfaces, its addresses at NATs, its relays. The oldest goes.
const MAX_SOURCES: usize = 16;
/// Sources of one peer in all: str0m keeps a candidate for each. A peer that has moved this often connects
/// anew.
const MAX_EVER: u16 = 256;
/// A source that its peer has used so recently is not another's, whoever knows a password of ours.
const OWNED: Duration = Duration::from_secs(5);
/// RFC 8489 §5: the shortest message.
const STUN_HEADER: usize = 20;

/// Who is who on one port; `K` names a peer.
#[derive(Debug)]
pub struct Demux<K> {
    by_ufrag: HashMap<Box<str>, K>,
    by_source: HashMap<Source, Owner<K>>,
    peers: HashMap<K, Known>,
}

#[derive(Debug)]
struct Owner<K> {
    peer: K,
    heard: Timestamp,
}

#[derive(Debug)]
struct Known {
    ufrag: Box<str>,
    sources: SmallVec<[Source; 2]>,
    ever: u16,
}

impl<K> Default for Demux<K> {
    fn default() -> Self {
        Self { by_ufrag: HashMap::new(), by_source: HashMap::new(), peers: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Demux<K> {
    /// A peer that has just been made. It has no source yet; one of the same name is forgotten.
    pub fn insert(&mut self, peer: K, ufrag: &str) {
        self.remove(peer);
        self.by_ufrag.insert(ufrag.into(), peer);
        self.peers.insert(peer, Known { ufrag: ufrag.into(), sources: SmallVec::new(), ever: 0 });
    }

    /// The peer has been told other credentials. Its sources are still its own, so no packet is lost.
    pub fn rename(&mut self, peer: K, ufrag: &str) {
        if let Some(known) = self.peers.get_mut(&peer) {
            self.by_ufrag.remove(&known.ufrag);
            known.ufrag = ufrag.into();
            self.by_ufrag.insert(ufrag.into(), peer);
        }
    }

    pub fn remove(&mut self, peer: K) {
        if let Some(known) = self.peers.remove(&peer) {
            self.by_ufrag.remove(&known.ufrag);
            for source in known.sources {
                self.by_source.remove(&source);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The peer that this datagram is for. `verify` says whether a STUN request's integrity is that of the
    /// peer's password.
    pub fn route(
        &mut self,
        now: Timestamp,
        source: Source,
        datagram: &[u8],
        verify: impl FnOnce(K, &StunMessage<'_>) -> bool,
    ) -> Option<K> {
        // RFC 7983 §7.
        if *datagram.first()? > 3 {
            let owner = self.by_source.get_mut(&source)?;
            owner.heard = now;
            return Some(owner.peer);
        }
        if datagram.len() < STUN_HEADER {
            return None;
        }
        let message = StunMessage::parse(datagram).ok().filter(StunMessage::is_binding_request)?;
        let (ufrag, _) = message.split_username()?;
        let peer = *self.by_ufrag.get(ufrag)?;
        (verify(peer, &message) && self.learn(now, source, peer)).then_some(peer)
    }

    /// Whether the source is the peer's, from now on at the latest.
    fn learn(&mut self, now: Timestamp, source: Source, peer: K) -> bool {
        if let Some(owner) = self.by_source.get_mut(&source) {
            if owner.peer == peer {
                owner.heard = now;
                return true;
            }
            if now.since(owner.heard) < OWNED {
                return false;
            }
            let former = owner.peer;
            if let Some(known) = self.peers.get_mut(&former) {
                known.sources.retain(|other| *other != source);
            }
        }
        let Some(known) = self.peers.get_mut(&peer).filter(|known| known.ever < MAX_EVER) else { return false };
        if known.sources.len() == MAX_SOURCES {
            let oldest = known.sources.remove(0);
            self.by_source.remove(&oldest);
        }
        known.ever += 1;
        known.sources.push(source);
        self.by_source.insert(source, Owner { peer, heard: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "alphaalpha:browser";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn source(port: u16) -> Source {
        Source { via: Via::Udp, address: ([192, 0, 2, 1], port).into() }
    }

    /// A request of this user name. Its integrity is not looked at here.
    fn check(username: &str) -> Vec<u8> {
        let message = StunMessage::binding_request(username, str0m::ice::TransId::new(), true, 1, 7, false);
        let mut bytes = vec![0; 300];
        let length = message.to_bytes(Some(b"password"), &mut bytes, |_, _| [0; 20]).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn demux() -> Demux<u8> {
        let mut demux = Demux::default();
        demux.insert(1, "alphaalpha");
        demux.insert(2, "betabeta");
        demux
    }

    fn media(demux: &mut Demux<u8>, now: Timestamp, port: u16) -> Option<u8> {
        demux.route(now, source(port), &[0x80; 40], |_, _| unreachable!("no STUN"))
    }

    #[test]
    fn a_source_is_learned_from_a_request_whose_integrity_holds() {
        let mut demux = demux();
        assert_eq!(media(&mut demux, at(0), 9), None);
        assert_eq!(demux.route(at(0), source(9), &check(A), |_, _| false), None);
        assert_eq!(media(&mut demux, at(0), 9), None);
        assert_eq!(demux.route(at(0), source(9), &check(A), |peer, _| peer == 1), Some(1));
        assert_eq!(media(&mut demux, at(0), 9), Some(1));
        assert_eq!(demux.route(at(0), source(9), &[22; 60], |_, _| false), Some(1), "a DTLS record");
        let tcp = Source { via: Via::Tcp, ..source(9) };
        assert_eq!(demux.route(at(0), tcp, &[22; 60], |_, _| true), None, "another way is another source");
        assert_eq!(demux.route(at(0), source(9), &check("nobody:x"), |_, _| true), None);
    }

    #[test]
    fn what_is_no_request_is_nobodys() {
        let mut demux = demux();
        let whole = check(A);
        for length in 0..whole.len() {
            assert_eq!(demux.route(at(0), source(9), &whole[..length], |_, _| true), None, "{length} bytes");
        }
        for at_byte in 0..20 {
            let mut bent = whole.clone();
            bent[at_byte] ^= 0x20;
            let _ = demux.route(at(0), source(9), &bent, |_, _| false);
        }
        let mut answer = whole;
        answer[0] = 1;
        assert_eq!(demux.route(at(0), source(9), &answer, |_, _| true), None);
        assert_eq!(demux.route(at(0), source(9), &[], |_, _| true), None);
    }

    #[test]
    fn nobody_takes_a_source_that_is_in_use() {
        let mut demux = demux();
        demux.route(at(0), source(9), &check(A), |_, _| true);
        assert_eq!(demux.route(at(4), source(9), &check("betabeta:x"), |_, _| true), None);
        assert_eq!(media(&mut demux, at(4), 9), Some(1));
        assert_eq!(demux.route(at(9), source(9), &check("betabeta:x"), |_, _| true), Some(2));
        assert_eq!(media(&mut demux, at(9), 9), Some(2));
        demux.remove(1);
        assert_eq!(media(&mut demux, at(9), 9), Some(2), "what was the first one's is no longer");
    }

    #[test]
    fn a_restart_keeps_the_sources_and_an_end_forgets_them() {
        let mut demux = demux();
        demux.route(at(0), source(9), &check(A), |_, _| true);
        demux.rename(1, "gammagamma");
        assert_eq!(media(&mut demux, at(1), 9), Some(1));
        assert_eq!(demux.route(at(1), source(9), &check(A), |_, _| true), None);
        assert_eq!(demux.route(at(1), source(10), &check("gammagamma:x"), |_, _| true), Some(1));
        demux.remove(1);
        assert_eq!((media(&mut demux, at(1), 9), media(&mut demux, at(1), 10)), (None, None));
        demux.remove(2);
        assert!(demux.is_empty() && demux.by_source.is_empty() && demux.by_ufrag.is_empty());
    }

    #[test]
    fn a_peer_has_so_many_sources_and_no_more() {
        let mut demux = demux();
        for port in 1..=2 * MAX_EVER {
            let learned = demux.route(at(0), source(port), &check(A), |_, _| true);
            assert_eq!(learned.is_some(), port <= MAX_EVER, "port {port}");
            assert!(demux.by_source.len() <= MAX_SOURCES);
        }
        assert_eq!((media(&mut demux, at(0), 1), media(&mut demux, at(0), MAX_EVER)), (None, Some(1)));
    }
}
