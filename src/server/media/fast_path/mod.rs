//! The kernel's part of relaying: the program of `relay.c` before the interfaces, and its tables.
//!
//! ```text
//!   packet's addresses ─▶ SLOTS ─▶ FLOWS[slot]: what to write over it (ours)
//!                            └───▶ COUNTED[slot]: what came of it (the program's), under the flow's lock
//! ```
//!
//! A direction is taken back by closing its flow under the lock under which the program counts; then the
//! counts are read. A packet that was counted is relayed, any later one finds the flow closed and goes up
//! to the socket: each is in one place and none is in both. Nobody waits for anybody.
//!
//! Deliberately absent: any choice of what goes into the kernel, and IPv6, which stays in userspace. The
//! program leaves with the last handle to it, which is [`FastPath`]'s.

mod interfaces;

use std::net::{IpAddr, SocketAddrV4};

use anyhow::Context;
use aya::maps::{Array, HashMap, MapData};
use aya::programs::SchedClassifier;
use aya::programs::tc::{TcAttachOptions, TcAttachType};
use aya::{Ebpf, Pod, include_bytes_aligned};

use crate::media::Passage;

pub use interfaces::exit;

static OBJECT: &[u8] = include_bytes_aligned!("relay.o");

/// `BPF_F_LOCK`: not while the program counts.
const LOCKED: u64 = 4;
/// `BPF_NOEXIST`.
const NEW: u64 = 1;

/// Where a packet comes from and goes to, in the order and byte order of the headers.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuple {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

/// How one direction of a call is relayed, as `struct flow` of the program lays it out. All zero, it is closed.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    lock: u32,
    ssrc_in: [u8; 4],
    ssrc_out: [u8; 4],
    timestamp_offset: u32,
    from: Tuple,
    out: Tuple,
    interface: u32,
    payload_type_in: u8,
    payload_type_out: u8,
    is_loopback: u8,
    reserved: u8,
    sequence_offset: u64,
    floor: u64,
}

/// What came of a flow, as `struct counts` of the program lays it out.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// The highest sequence number heard, without wraps.
    pub highest: u64,
    pub packets: u64,
    /// Payload bytes.
    pub octets: u64,
    /// When the last packet came, by the monotonic clock.
    pub last_ns: u64,
    /// When the one with the highest sequence number came.
    pub highest_ns: u64,
    /// RFC 3550 §A.8: the estimate, times sixteen.
    pub jitter: u32,
    /// By the monotonic clock.
    pub transit: u32,
    pub highest_timestamp: u32,
    reserved: u32,
}

// SAFETY: `#[repr(C)]` of integers and bytes, without padding (the assertion below), any bits are a value.
unsafe impl Pod for Tuple {}
// SAFETY: as above.
unsafe impl Pod for Flow {}
// SAFETY: as above.
unsafe impl Pod for Counts {}

const _: () = assert!(size_of::<Tuple>() == 12 && size_of::<Flow>() == 64 && size_of::<Counts>() == 56);

/// The interface that a packet leaves by; on the loopback it goes straight on to its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub interface: u32,
    pub is_loopback: bool,
}

impl Tuple {
    pub fn new(source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            source: source.ip().octets(),
            destination: destination.ip().octets(),
            source_port: source.port().to_be_bytes(),
            destination_port: destination.port().to_be_bytes(),
        }
    }
}

impl Flow {
    /// From the party at `passage.from` to our port `by`, and on from our port `out`.
    pub fn new(passage: &Passage, by: SocketAddrV4, out: SocketAddrV4, exit: Exit) -> Self {
        Self {
            ssrc_in: passage.ssrc.0.to_be_bytes(),
            ssrc_out: passage.ssrc.1.to_be_bytes(),
            timestamp_offset: passage.timestamp_offset,
            from: Tuple::new(passage.from, by),
            out: Tuple::new(out, passage.to),
            interface: exit.interface,
            payload_type_in: passage.payload_type.0,
            payload_type_out: passage.payload_type.1,
            is_loopback: u8::from(exit.is_loopback),
            sequence_offset: passage.sequence_offset,
            floor: passage.floor,
            ..Self::default()
        }
    }
}

impl Counts {
    /// Nothing yet. `transit` is by the monotonic clock.
    pub fn begin(passage: &Passage, transit: u32) -> Self {
        Self { highest: passage.highest, jitter: passage.jitter, transit, ..Self::default() }
    }
}

/// A direction that is in the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    slot: u32,
    from: Tuple,
}

/// The program with its tables. Dropped, it is gone from the kernel.
pub struct FastPath {
    program: Ebpf,
    slots: HashMap<MapData, Tuple, u32>,
    flows: Array<MapData, Flow>,
    counted: Array<MapData, Counts>,
    /// Slots that were used and are free, and the first that never was.
    vacant: Vec<u32>,
    unused: u32,
}

impl FastPath {
    /// Before all interfaces by which audio for `address` may come. It needs CAP_BPF and CAP_NET_ADMIN.
    pub fn start(address: IpAddr) -> anyhow::Result<Self> {
        anyhow::ensure!(address.is_ipv4() && !address.is_unspecified(), "media.address is no single address of IPv4");
        let mut kernel = Self::load()?;
        for interface in interfaces::with_ipv4()? {
            kernel.attach(&interface).with_context(|| format!("interface {interface}"))?;
        }
        Ok(kernel)
    }

    /// Asks the kernel to take the program.
    pub fn load() -> anyhow::Result<Self> {
        let mut program = Ebpf::load(OBJECT)?;
        let missing = |name| anyhow::anyhow!("the kernel program has no {name}");
        let mut table = |name| program.take_map(name).ok_or_else(|| missing(name));
        let slots = HashMap::try_from(table("slots")?)?;
        let flows = Array::try_from(table("flows")?)?;
        let counted = Array::try_from(table("counted")?)?;
        let classifier: &mut SchedClassifier =
            program.program_mut("relay").ok_or_else(|| missing("relay"))?.try_into()?;
        classifier.load()?;
        Ok(Self { program, slots, flows, counted, vacant: Vec::new(), unused: 0 })
    }

    /// Puts the program before what comes in by an interface.
    pub fn attach(&mut self, interface: &str) -> anyhow::Result<()> {
        let relay = self.program.program_mut("relay").context("the kernel program is gone")?;
        let classifier: &mut SchedClassifier = relay.try_into()?;
        let order = TcAttachOptions::TcxOrder(Default::default());
        classifier.attach_with_options(interface, TcAttachType::Ingress, order)?;
        Ok(())
    }

    /// From now on packets are relayed as `flow` says.
    pub fn install(&mut self, flow: &Flow, counts: &Counts) -> anyhow::Result<Place> {
        let slot = match self.vacant.pop() {
            Some(slot) => slot,
            None => {
                anyhow::ensure!(self.unused < self.flows.len(), "the kernel's table is full");
                self.unused += 1;
                self.unused - 1
            }
        };
        let place = Place { slot, from: flow.from };
        let installed = self
            .counted
            .set(slot, counts, 0)
            .and_then(|()| self.flows.set(slot, flow, LOCKED))
            .and_then(|()| self.slots.insert(place.from, slot, NEW));
        if installed.is_err() {
            self.flows.set(slot, Flow::default(), LOCKED)?;
            self.vacant.push(slot);
        }
        Ok(installed.map(|()| place)?)
    }

    /// What has been counted so far; one packet more or less may be on its way.
    pub fn read(&self, place: Place) -> anyhow::Result<Counts> {
        Ok(self.counted.get(&place.slot, 0)?)
    }

    /// Ends the relaying, and says exactly what it came to.
    pub fn take_back(&mut self, place: Place) -> anyhow::Result<Counts> {
        self.flows.set(place.slot, Flow::default(), LOCKED)?;
        self.slots.remove(&place.from)?;
        self.vacant.push(place.slot);
        self.read(place)
    }
}
