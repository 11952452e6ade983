//! What holds for every call of this server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Recording;

/// Our own addresses, the media timeout, and the operator's recording.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bound.
    pub address: IpAddr,
    /// Told to peers.
    pub advertised: IpAddr,
    /// Our RTP and RTCP ports, both ends included.
    pub ports: (u16, u16),
    /// How long a party that should send may be silent.
    pub timeout: Duration,
    /// Heard in place of the busy and reorder tones.
    pub failure: Option<Arc<Recording>>,
}

impl Rules {
    /// The signalled address as one that RTP may be sent to; `None` for our own ports (a loop), for
    /// addresses that are nobody's or everybody's, and for this host unless we live on its loopback.
    pub(super) fn admit(&self, signalled: SocketAddr) -> Option<SocketAddr> {
        let (ip, port) = (signalled.ip().to_canonical(), signalled.port());
        let is_host = match ip {
            // RFC 1122 §3.2.1.3: 0/8 is this network; RFC 1112 §4: from 224/4 on groups and reserved.
            IpAddr::V4(v4) => (1..224).contains(&v4.octets()[0]),
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
        };
        let is_within_reach = ip.is_ipv4() == self.address.is_ipv4() && (!ip.is_loopback() || self.lives_on_loopback());
        let is_ours = self.is_our_address(ip) && (self.ports.0..=self.ports.1).contains(&port);
        (is_host && is_within_reach && !is_ours && port != 0).then_some(SocketAddr::new(ip, port))
    }

    fn lives_on_loopback(&self) -> bool {
        self.address.is_loopback() || self.advertised.is_loopback()
    }

    fn is_our_address(&self, ip: IpAddr) -> bool {
        ip == self.address || ip == self.advertised || ip.is_loopback()
    }
}

impl Default for Rules {
    /// The example configuration's.
    fn default() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            address: loopback,
            advertised: loopback,
            ports: (20_000, 29_999),
            timeout: Duration::from_secs(30),
            failure: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_goes_to_hosts_only_and_never_to_ourselves() {
        let ours = Rules {
            address: "192.0.2.10".parse().unwrap(),
            advertised: "198.51.100.10".parse().unwrap(),
            ..Rules::default()
        };
        let admits = |rules: &Rules, text: &str| rules.admit(text.parse().unwrap()).is_some();
        for good in ["203.0.113.5:4000", "10.0.0.5:4000", "192.0.2.10:4000", "[::ffff:203.0.113.5]:4000"] {
            assert!(admits(&ours, good), "{good}");
        }
        for bad in [
            "192.0.2.10:20000",
            "198.51.100.10:29999",
            "127.0.0.1:4000",
            "0.0.0.0:4000",
            "224.0.0.1:4000",
            "255.255.255.255:4000",
            "203.0.113.5:0",
            "[2001:db8::1]:4000",
        ] {
            assert!(!admits(&ours, bad), "{bad}");
        }
        assert!(admits(&Rules::default(), "127.0.0.1:4000"));
        assert!(!admits(&Rules::default(), "127.0.0.1:20000"));
        assert!(!admits(&Rules::default(), "127.0.0.2:20000"));
    }
}
