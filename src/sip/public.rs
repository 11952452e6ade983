//! What says nothing of a party: our own hosts and those of the trunks, and what requests say of us besides.

use std::net::IpAddr;
use std::sync::Arc;

use super::EndpointConfig;
use super::guard::Party;
use super::wire::Host;

/// Grows while the DNS moves trunks: where one was, live legs go on.
#[derive(Debug)]
pub struct Public {
    hosts: Vec<String>,
    /// Our product, and where our certificate is.
    words: Vec<String>,
    party: Arc<Party>,
}

impl Public {
    pub fn new(config: &EndpointConfig) -> Self {
        let listeners = config.listeners.iter().flat_map(|l| [l.local.ip(), l.advertised.ip()]);
        let targets = config.trunks.iter().map(|t| t.target.ip());
        let names = config.trunks.iter().map(|t| t.host.to_string());
        let hosts = listeners.chain(targets).map(|ip| Host::Ip(ip).to_string()).chain(names).collect();
        let certificate_url = config.signer.as_ref().map(|signer| signer.certificate_url().to_owned());
        let words = certificate_url.into_iter().chain([config.product.to_string()]).collect();
        let mut public = Self { hosts, words, party: Arc::default() };
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
        self.party = Arc::new(Party::with_told([], self.hosts.iter().chain(&self.words).map(String::as_str)));
    }

    /// As messages have them.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// They and all else that requests say of us: what the outgoing guard holds against nobody.
    pub fn party(&self) -> Arc<Party> {
        Arc::clone(&self.party)
    }
}
