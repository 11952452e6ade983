//! What says nothing of a party: our own hosts and those of the trunks.

use std::net::IpAddr;
use std::sync::Arc;

use super::EndpointConfig;
use super::guard::Party;
use super::wire::Host;

/// Grows while the DNS moves trunks: where one was, live legs go on.
#[derive(Debug)]
pub struct Public {
    hosts: Vec<String>,
    certificate_url: Option<Box<str>>,
    party: Arc<Party>,
}

impl Public {
    pub fn new(config: &EndpointConfig) -> Self {
        let listeners = config.listeners.iter().flat_map(|l| [l.local.ip(), l.advertised.ip()]);
        let targets = config.trunks.iter().map(|t| t.target.ip());
        let names = config.trunks.iter().map(|t| t.host.to_string());
        let hosts = listeners.chain(targets).map(|ip| Host::Ip(ip).to_string()).chain(names).collect();
        let certificate_url = config.signer.as_ref().map(|signer| signer.certificate_url().into());
        let mut public = Self { hosts, certificate_url, party: Arc::default() };
        public.prepare();
        public
    }

    pub fn add(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        let before = self.hosts.len();
        for host in addresses.map(|ip| Host::Ip(ip).to_string()) {
            if !self.hosts.contains(&host) {
                self.hosts.push(host);
            }
        }
        if self.hosts.len() > before {
            self.prepare();
        }
    }

    fn prepare(&mut self) {
        let told = self.hosts.iter().map(String::as_str).chain(self.certificate_url.as_deref());
        self.party = Arc::new(Party::with_told([], told));
    }

    /// As messages have them.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// They, and where our certificate is: what the outgoing guard holds against nobody.
    pub fn party(&self) -> Arc<Party> {
        Arc::clone(&self.party)
    }
}
