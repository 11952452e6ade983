//! The kernel's part of relaying: the program of `relay.c` before an interface, and its two tables.
//!
//! ```text
//!   packet's addresses ─▶ SLOTS ─▶ FLOWS[slot]: what to write over it, and what has been counted
//! ```
//!
//! A direction is taken back in three steps: its addresses leave SLOTS, so that no further packet finds
//! the flow; a grace period passes, after which no processor is still working on one that did; only then
//! are the counts read. So every packet is either in them or goes up to the socket, and none is in both.
//!
//! Deliberately absent: any choice of what goes into the kernel, and IPv6, which stays in userspace. The
//! program leaves with the last handle to it, which is [`FastPath`]'s.

use std::net::SocketAddrV4;

use aya::maps::{Array, HashMap, MapData};
use aya::programs::SchedClassifier;
use aya::programs::tc::{TcAttachOptions, TcAttachType};
use aya::{Ebpf, Pod, include_bytes_aligned};

static OBJECT: &[u8] = include_bytes_aligned!("relay.o");

/// Where a packet comes from and goes to, in the order and byte order of the headers.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuple {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

/// One direction of a call, as `struct flow` of the program lays it out.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    lock: u32,
    ssrc_in: [u8; 4],
    ssrc_out: [u8; 4],
    timestamp_offset: u32,
    out: Tuple,
    interface: u32,
    payload_type_in: u8,
    payload_type_out: u8,
    is_loopback: u8,
    reserved: u8,
    /// RFC 3550 §A.8: the estimate, times sixteen.
    pub jitter: u32,
    pub transit: u32,
    pub highest_timestamp: u32,
    sequence_offset: u64,
    floor: u64,
    /// The highest sequence number heard, without wraps.
    pub highest: u64,
    pub packets: u64,
    /// Payload bytes.
    pub octets: u64,
    /// When the last packet came, by the monotonic clock.
    pub last_ns: u64,
    /// When the one with the highest sequence number came.
    pub highest_ns: u64,
}

// SAFETY: `#[repr(C)]` of integers and bytes, without padding (the assertion below), any bits are a value.
unsafe impl Pod for Tuple {}
// SAFETY: as above.
unsafe impl Pod for Flow {}

const _: () = assert!(size_of::<Tuple>() == 12 && size_of::<Flow>() == 12 * 4 + 7 * 8);

/// How one party's stream becomes ours.
#[derive(Debug, Clone, Copy)]
pub struct Mapping {
    /// SSRC and payload type, the party's and ours.
    pub ssrc: (u32, u32),
    pub payload_type: (u8, u8),
    /// Added to the party's numbers.
    pub sequence_offset: u64,
    pub timestamp_offset: u32,
    /// The highest sequence number so far without wraps, and the first that may pass.
    pub highest: u64,
    pub floor: u64,
}

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
    pub fn new(out: Tuple, exit: Exit, mapping: &Mapping) -> Self {
        Self {
            ssrc_in: mapping.ssrc.0.to_be_bytes(),
            ssrc_out: mapping.ssrc.1.to_be_bytes(),
            timestamp_offset: mapping.timestamp_offset,
            out,
            interface: exit.interface,
            payload_type_in: mapping.payload_type.0,
            payload_type_out: mapping.payload_type.1,
            is_loopback: u8::from(exit.is_loopback),
            sequence_offset: mapping.sequence_offset,
            floor: mapping.floor,
            highest: mapping.highest,
            ..Self::default()
        }
    }
}

/// The program with its tables. Dropped, it is gone from the kernel.
pub struct FastPath {
    program: Ebpf,
    slots: HashMap<MapData, Tuple, u32>,
    flows: Array<MapData, Flow>,
}

impl FastPath {
    /// Asks the kernel to take the program. It needs CAP_BPF and CAP_NET_ADMIN.
    pub fn load() -> anyhow::Result<Self> {
        let mut program = Ebpf::load(OBJECT)?;
        let missing = |name| anyhow::anyhow!("the kernel program has no {name}");
        let slots = HashMap::try_from(program.take_map("slots").ok_or_else(|| missing("slots"))?)?;
        let flows = Array::try_from(program.take_map("flows").ok_or_else(|| missing("flows"))?)?;
        let classifier: &mut SchedClassifier =
            program.program_mut("relay").ok_or_else(|| missing("relay"))?.try_into()?;
        classifier.load()?;
        Ok(Self { program, slots, flows })
    }

    /// Puts the program before what comes in by an interface.
    pub fn attach(&mut self, interface: &str) -> anyhow::Result<()> {
        let relay = self.program.program_mut("relay").ok_or_else(|| anyhow::anyhow!("the kernel program is gone"))?;
        let classifier: &mut SchedClassifier = relay.try_into()?;
        let order = TcAttachOptions::TcxOrder(Default::default());
        classifier.attach_with_options(interface, TcAttachType::Ingress, order)?;
        Ok(())
    }

    /// From now on packets of `from` are relayed as `flow` says. The slot is free: never used, or taken back.
    pub fn install(&mut self, from: Tuple, slot: u32, flow: &Flow) -> anyhow::Result<()> {
        self.flows.set(slot, flow, 0)?;
        Ok(self.slots.insert(from, slot, 0)?)
    }

    /// What has been counted so far; one packet more or less may be on its way.
    pub fn read(&self, slot: u32) -> anyhow::Result<Flow> {
        /// `BPF_F_LOCK`: not while the program writes.
        const LOCKED: u64 = 4;
        Ok(self.flows.get(&slot, LOCKED)?)
    }

    /// Ends the relaying of `from`, and says exactly what it came to.
    pub fn take_back(&mut self, from: Tuple, slot: u32) -> anyhow::Result<Flow> {
        self.slots.remove(&from)?;
        grace_period()?;
        self.read(slot)
    }
}

/// Returns when every processor has left whatever program it was running.
fn grace_period() -> std::io::Result<()> {
    // SAFETY: membarrier takes no pointer. The global command is one grace period of RCU.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
