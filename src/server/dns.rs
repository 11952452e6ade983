//! Where trunks with names are: asked of the DNS at the start, and again when an answer has run out (RFC 3263 §4).
//!
//! ```text
//!             port given ──────────────────────────────────────────────▶ A, AAAA
//! name ─▶ transport given ──▶ SRV of that transport ── none? ──────────▶ A, AAAA
//!         neither ─▶ NAPTR ─▶ SRV that each names ── no NAPTR? ─▶ SRV of each transport ── none? ─▶ A, AAAA
//! ```
//!
//! A thread of its own, with a task for each name. What it finds goes to the switch, which chooses by priority and weight for
//! each call; a call never waits for the DNS. When the DNS does not answer, the last answer stands.
//!
//! Deliberately absent: the choice (`sip::route`), DNSSEC, and any name that a peer has said.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::sync::watch;
use tracing::{info, warn};

use super::inbox::{Inbox, Message};
use crate::config::{Listener, Name, SipConfig, Transport, Trunk};
use crate::sip::Target;

/// However short an answer is good for, nobody is asked more often.
const LEAST: Duration = Duration::from_secs(5);
/// However long it is good for, a carrier that moves is found within it.
const MOST: Duration = Duration::from_secs(3_600);
/// After no answer: doubled up to the longest.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// For each server, twice.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Of one name: more are not needed by anybody, and not believed.
const MAX_TARGETS: usize = 64;
/// NAPTR's order and preference come before SRV's priority.
const SRV_PRIORITIES: u32 = 1 << 16;

/// The thread. Dropping it ends it.
pub struct Dns {
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    /// `None` where no trunk has a name.
    pub fn start(config: &SipConfig, trunks: &[Arc<Trunk>], inbox: &Inbox) -> anyhow::Result<Option<Self>> {
        let named = trunks.iter().filter_map(|trunk| Some((Arc::clone(trunk), trunk.name_to_resolve.clone()?)));
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let resolver = runtime.block_on(async { resolver(&config.dns_servers) })?;
        let (stop, stopped) = watch::channel(());
        let (listeners, inbox) = (config.listeners.clone(), inbox.clone());
        let thread = std::thread::Builder::new().name("dns".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (trunk, name) in named {
                    let asker = Asker { resolver: resolver.clone(), listeners: listeners.clone(), trunk, name };
                    tokio::spawn(asker.keep_asking(inbox.clone()));
                }
                let mut stopped = stopped;
                let _ = stopped.changed().await;
            });
        })?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn resolver(servers: &[SocketAddr]) -> anyhow::Result<TokioResolver> {
    let patient = |mut builder: ResolverBuilder<TokioRuntimeProvider>| {
        builder.options_mut().timeout = PATIENCE;
        builder.options_mut().attempts = ATTEMPTS;
        builder.build()
    };
    if servers.is_empty() {
        let machine =
            TokioResolver::builder_tokio().context("cannot read this machine's DNS servers; set [sip] dns_servers")?;
        return Ok(patient(machine)?);
    }
    let server = |server: &SocketAddr| {
        let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = server.port());
        NameServerConfig::new(server.ip(), true, connections.into())
    };
    let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
    Ok(patient(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))?)
}

/// Of one trunk's name.
struct Asker {
    resolver: TokioResolver,
    listeners: Vec<Listener>,
    trunk: Arc<Trunk>,
    name: Name,
}

/// What was found, and until when it is good.
struct Found {
    targets: Vec<Target>,
    until: Instant,
    /// A question of several that was not answered: it hides nothing that the others have found, and is asked again soon.
    failed: Option<NetError>,
}

impl Found {
    fn nothing() -> Self {
        Self { targets: Vec::new(), until: Instant::now() + MOST, failed: None }
    }

    fn good_until(until: Instant) -> Self {
        Self { until, ..Self::nothing() }
    }

    fn add(&mut self, other: Result<Found, NetError>, raise: u32) {
        match other {
            Ok(other) => {
                let raised = |t: Target| Target { priority: t.priority.saturating_add(raise), ..t };
                self.targets.extend(other.targets.into_iter().map(raised));
                self.until = self.until.min(other.until);
                self.failed = self.failed.take().or(other.failed);
            }
            Err(error) => self.failed = Some(error),
        }
        if self.failed.is_some() {
            self.until = self.until.min(Instant::now() + AGAIN_AT_MOST);
        }
    }

    /// What there is, or why there is nothing.
    fn or_error(self) -> Result<Self, NetError> {
        match self.failed {
            Some(error) if self.targets.is_empty() => Err(error),
            failed => Ok(Self { failed, ..self }),
        }
    }
}

impl Asker {
    async fn keep_asking(self, inbox: Inbox) {
        let (mut last, mut again): (Option<Vec<Target>>, _) = (None, AGAIN);
        loop {
            let wait = match self.ask().await {
                Ok(found) if !found.targets.is_empty() => {
                    again = AGAIN;
                    let mut targets = found.targets;
                    // Servers rotate their answers; ours has one order, and loses its last ones if it is too long.
                    targets.sort_by_key(|t| (t.priority, Reverse(t.weight), t.transport, t.address));
                    targets.truncate(MAX_TARGETS);
                    if last.as_ref() != Some(&targets) {
                        info!(trunk = &*self.trunk.name, host = &*self.name.host, targets = %shown(&targets), "trunk found");
                        inbox.post([Message::Targets(Arc::clone(&self.trunk), targets.clone())]);
                        last = Some(targets);
                    }
                    found.until.saturating_duration_since(Instant::now()).clamp(LEAST, MOST)
                }
                Ok(_) => self.found_nothing("it has no address", &mut again),
                Err(error) => self.found_nothing(&error.to_string(), &mut again),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// The last answer stands.
    fn found_nothing(&self, error: &str, again: &mut Duration) -> Duration {
        warn!(trunk = &*self.trunk.name, host = &*self.name.host, error, "the trunk's name cannot be resolved");
        std::mem::replace(again, (*again * 2).min(AGAIN_AT_MOST))
    }

    async fn ask(&self) -> Result<Found, NetError> {
        let Name { host, port, transport } = &self.name;
        match (port, transport) {
            (Some(port), transport) => {
                let transport = transport.unwrap_or(Transport::Udp);
                self.addresses(host, transport, *port, 0, 1).await
            }
            (None, Some(transport)) => {
                let found = self.srv(&srv_name(host, *transport), *transport).await?;
                self.or_addresses(found, *transport).await
            }
            (None, None) => self.by_naptr().await,
        }
    }

    /// RFC 3263 §4.1. Services that we have no listener for are left out.
    async fn by_naptr(&self) -> Result<Found, NetError> {
        let host = &self.name.host;
        let Some(answer) = self.lookup(host, RecordType::NAPTR).await? else { return self.by_srv().await };
        let mut services: Vec<_> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::NAPTR(naptr) if naptr.flags.eq_ignore_ascii_case(b"s") => {
                    let transport = service(&naptr.services).filter(|transport| self.listens(*transport))?;
                    Some((naptr.order, naptr.preference, transport, naptr.replacement.to_string()))
                }
                _ => None,
            })
            .collect();
        services.sort();
        let mut found = Found::good_until(answer.valid_until());
        for (rank, (_, _, transport, name)) in (0..).zip(services) {
            found.add(self.srv(&name, transport).await, rank * SRV_PRIORITIES);
        }
        let found = found.or_error()?;
        if found.targets.is_empty() { self.by_srv().await } else { Ok(found) }
    }

    /// Without NAPTR each transport's SRV is asked for, UDP's first.
    async fn by_srv(&self) -> Result<Found, NetError> {
        let mut found = Found::nothing();
        for (rank, transport) in (0..).zip(Transport::ALL).filter(|(_, transport)| self.listens(*transport)) {
            found.add(self.srv(&srv_name(&self.name.host, transport), transport).await, rank * SRV_PRIORITIES);
        }
        let found = found.or_error()?;
        let transport = Transport::ALL.into_iter().find(|t| self.listens(*t)).unwrap_or(Transport::Udp);
        self.or_addresses(found, transport).await
    }

    /// RFC 3263 §4.2: where there is no SRV, the name itself has addresses.
    async fn or_addresses(&self, found: Found, transport: Transport) -> Result<Found, NetError> {
        if found.targets.is_empty() {
            return self.addresses(&self.name.host, transport, transport.default_port(), 0, 1).await;
        }
        Ok(found)
    }

    async fn srv(&self, name: &str, transport: Transport) -> Result<Found, NetError> {
        let Some(answer) = self.lookup(name, RecordType::SRV).await? else { return Ok(Found::nothing()) };
        let mut found = Found::good_until(answer.valid_until());
        for record in answer.answers() {
            let RData::SRV(srv) = &record.data else { continue };
            // RFC 2782: a single dot says that the service is not there.
            if srv.target.is_root() {
                continue;
            }
            let target = srv.target.to_string();
            let hosts = self.addresses(&target, transport, srv.port, srv.priority.into(), srv.weight).await;
            found.add(hosts, 0);
        }
        found.or_error()
    }

    async fn addresses(
        &self,
        host: &str,
        transport: Transport,
        port: u16,
        priority: u32,
        weight: u16,
    ) -> Result<Found, NetError> {
        let mut found = Found::nothing();
        for (kind, v4) in [(RecordType::A, true), (RecordType::AAAA, false)] {
            if !self.listeners.iter().any(|l| l.transport == transport && l.local.is_ipv4() == v4) {
                continue;
            }
            let answer = match self.lookup(host, kind).await {
                Ok(Some(answer)) => answer,
                Ok(None) => continue,
                Err(error) => {
                    found.add(Err(error), 0);
                    continue;
                }
            };
            let address = |data: &RData| match data {
                RData::A(a) => Some(IpAddr::from(a.0)),
                RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
                _ => None,
            };
            let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
            let addresses = answer.answers().iter().filter_map(|record| address(&record.data)).filter(usable);
            let target = |ip| Target { transport, address: SocketAddr::new(ip, port), priority, weight };
            found.targets.extend(addresses.map(target));
            found.until = found.until.min(answer.valid_until());
        }
        // RFC 2782: the weight is the host's, however many addresses it has.
        let addresses = u16::try_from(found.targets.len()).unwrap_or(u16::MAX).max(1);
        found.targets.iter_mut().for_each(|target| target.weight /= addresses);
        found.or_error()
    }

    /// `None` when the DNS says that there is no such record.
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Option<Lookup>, NetError> {
        // Absolute: no search domain of this machine is tried.
        let name = if name.ends_with('.') { name.to_owned() } else { format!("{name}.") };
        match self.resolver.lookup(name, kind).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_no_records_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn listens(&self, transport: Transport) -> bool {
        self.listeners.iter().any(|listener| listener.transport == transport)
    }
}

/// RFC 3263 §4.1, RFC 3261 §19.1.1.
fn service(services: &[u8]) -> Option<Transport> {
    match services.to_ascii_uppercase().as_slice() {
        b"SIP+D2U" => Some(Transport::Udp),
        b"SIP+D2T" => Some(Transport::Tcp),
        b"SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    }
}

fn srv_name(host: &str, transport: Transport) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{host}")
}

fn shown(targets: &[Target]) -> String {
    let one = |t: &Target| format!("{}:{}", t.transport.as_str(), t.address);
    targets.iter().map(one).collect::<Vec<_>>().join(" ")
}
