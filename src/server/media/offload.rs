//! Handing directions of calls to the kernel, and taking them back.
//!
//! ```text
//!   in userspace ── a packet was relayed, and nothing was said for SETTLED ──▶ in the kernel
//!        ▲                                                                        │
//!        └─ a command for the call, or any packet at a socket of that direction ──┘
//! ```
//!
//! The counts are brought up to date before anything is decided by them: when a direction is taken back,
//! and before the deadlines of its call, which are silence and reports. So the kernel is asked a few times
//! a minute, and whoever reads the bridge never sees that a packet went another way.
//!
//! Handed over just after its socket was read, a direction seldom has a packet waiting there. If it has,
//! that packet takes the direction back and is relayed as the late one that it is.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::fast_path::{Counts, FastPath, Flow, Place, exit};
use crate::media::{Bridge, Passed};
use crate::model::{Side, Timestamp};
use crate::server::clock::Clock;

/// How long a direction is left alone after something was said about it or a packet needed a look: longer
/// than a key is held.
const SETTLED: Duration = Duration::from_secs(1);

/// The program, for all threads; taken for a few short system calls at a time, never for a packet.
#[derive(Clone, Default)]
pub struct Kernel(Option<Arc<Mutex<FastPath>>>);

/// One thread's directions in the kernel.
pub struct Offload {
    kernel: Kernel,
    /// Our clock minus the monotonic one, which is the kernel's.
    skew_us: u64,
    /// How many directions are there now.
    pub streams: u64,
}

/// One direction of a call.
#[derive(Debug, Default)]
pub struct Lane {
    installed: Option<Installed>,
    /// In userspace until then.
    until: Timestamp,
}

#[derive(Debug)]
struct Installed {
    place: Place,
    to: SocketAddrV4,
    /// What the bridge knows already.
    counted: Counts,
}

impl Kernel {
    /// Without the right or the means, everything stays in userspace, and the log says why.
    pub fn start(wanted: bool, address: IpAddr) -> Self {
        if !wanted {
            info!("audio is relayed in userspace, as configured");
            return Self(None);
        }
        match FastPath::start(address) {
            Ok(kernel) => {
                info!("known audio is relayed in the kernel");
                Self(Some(Arc::new(Mutex::new(kernel))))
            }
            Err(error) => {
                info!(reason = format!("{error:#}"), "audio is relayed in userspace");
                Self(None)
            }
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, FastPath>> {
        self.0.as_ref().map(|kernel| kernel.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Offload {
    pub fn new(kernel: Kernel, clock: Clock) -> Self {
        let skew_us = clock.now().as_micros().wrapping_sub(monotonic_us());
        Self { kernel, skew_us, streams: 0 }
    }

    /// A packet of `side` has just been relayed from the port `by` of its leg to the port `out` of the
    /// other one: if that can go on without us, it does.
    pub fn offer(&mut self, now: Timestamp, bridge: &Bridge, side: Side, ours: [SocketAddr; 2], lane: &mut Lane) {
        if self.kernel.0.is_none() || lane.installed.is_some() || now < lane.until {
            return;
        }
        lane.until = now + SETTLED;
        let Some(passage) = bridge.passage(side) else { return };
        let [SocketAddr::V4(by), SocketAddr::V4(out)] = ours else { return };
        // No way there, or none that the kernel can go.
        let Ok(Some(exit)) = exit(*passage.from.ip(), *out.ip(), *passage.to.ip()) else { return };
        let counted = Counts::begin(&passage, passage.transit.wrapping_sub(self.skew_units()));
        let flow = Flow::new(&passage, by, out, exit);
        let Some(mut kernel) = self.kernel.lock() else { return };
        match kernel.install(&flow, &counted) {
            Ok(place) => {
                self.streams += 1;
                lane.installed = Some(Installed { place, to: passage.to, counted });
            }
            Err(error) => warn!(%error, "a stream stays in userspace"),
        }
    }

    /// Brings the bridge up to date; how many packets that were.
    pub fn refresh(&self, bridge: &mut Bridge, side: Side, lane: &mut Lane) -> u64 {
        let Some(installed) = &mut lane.installed else { return 0 };
        match self.kernel.lock().map(|kernel| kernel.read(installed.place)) {
            Some(Ok(counts)) => self.absorb(bridge, side, installed, counts),
            Some(Err(_)) | None => 0,
        }
    }

    /// Userspace goes on from where the kernel was; how many packets had not been counted yet.
    pub fn take_back(&mut self, now: Timestamp, bridge: &mut Bridge, side: Side, lane: &mut Lane) -> u64 {
        lane.until = now + SETTLED;
        let Some(mut installed) = lane.installed.take() else { return 0 };
        self.streams -= 1;
        match self.kernel.lock().map(|mut kernel| kernel.take_back(installed.place)) {
            Some(Ok(counts)) => self.absorb(bridge, side, &mut installed, counts),
            Some(Err(error)) => {
                warn!(%error, "the counts of a stream stay in the kernel");
                0
            }
            None => 0,
        }
    }

    fn absorb(&self, bridge: &mut Bridge, side: Side, installed: &mut Installed, counts: Counts) -> u64 {
        let at = |ns: u64| Timestamp::from_micros((ns / 1_000).wrapping_add(self.skew_us));
        let before = std::mem::replace(&mut installed.counted, counts);
        let passed = Passed {
            packets: counts.packets - before.packets,
            octets: counts.octets - before.octets,
            last_at: at(counts.last_ns),
            highest: counts.highest,
            highest_timestamp: counts.highest_timestamp,
            highest_at: at(counts.highest_ns),
            jitter: counts.jitter,
            transit: counts.transit.wrapping_add(self.skew_units()),
        };
        bridge.passed(side, &passed);
        passed.packets
    }

    /// The same difference in the units of a transit.
    fn skew_units(&self) -> u32 {
        (u128::from(self.skew_us) * 8 / 1_000) as u32
    }
}

impl Lane {
    pub fn is_in_kernel(&self) -> bool {
        self.installed.is_some()
    }

    /// Whether the other party has been found elsewhere since.
    pub fn misses(&self, target: Option<SocketAddr>) -> bool {
        self.installed.as_ref().is_some_and(|installed| target != Some(SocketAddr::V4(installed.to)))
    }
}

fn monotonic_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time, and this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
