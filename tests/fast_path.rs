//! The kernel's part of relaying, in the kernel: over the loopback and over wires between namespaces. It
//! needs root.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "sockets and namespaces are what is tested")]

mod support;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use revbridge::media::Passage;
use revbridge::server::media::fast_path::{Counts, Exit, FastPath, Flow};
use sha2::{Digest, Sha256};
use support::net::{self, Network};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/media/fast_path");
/// The party's SSRC, and ours.
const SSRC: (u32, u32) = (7, 99);
/// What a receiver waits for a packet that must not come.
const A_WHILE: Duration = Duration::from_millis(200);

/// Sequence numbers go up by 1,000, timestamps by 5.
fn passage(from: &UdpSocket, to: &UdpSocket) -> Passage {
    Passage {
        from: v4(from),
        to: v4(to),
        ssrc: SSRC,
        payload_type: (0, 8),
        sequence_offset: 1_000,
        timestamp_offset: 5,
        highest: 1 << 16,
        floor: 1 << 16,
        jitter: 0,
        transit: 0,
    }
}

/// A party's packet.
fn packet(ssrc: u32, sequence: u16, payload_type: u8) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x55; 160]);
    packet
}

/// Ours.
fn relayed(sequence: u16) -> Vec<u8> {
    let mut packet = packet(SSRC.1, sequence.wrapping_add(1_000), 8);
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160 + 5).to_be_bytes());
    packet
}

fn v4(socket: &UdpSocket) -> SocketAddrV4 {
    match socket.local_addr().expect("bound") {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("bound to IPv4"),
    }
}

fn bind(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a free port");
    socket.set_read_timeout(Some(A_WHILE)).expect("a socket");
    socket
}

fn received(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 2_048];
    socket.recv_from(&mut buffer).ok().map(|(length, from)| (buffer[..length].to_vec(), from))
}

#[test]
fn the_object_belongs_to_its_source() {
    let sums = std::fs::read_to_string(format!("{FOLDER}/relay.sha256")).expect("the sums");
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").expect("a sum and a name");
        let bytes = std::fs::read(format!("{FOLDER}/{name}")).expect("a file");
        assert_eq!(hex::encode(Sha256::digest(bytes)), sum, "{name} has changed: run `make bpf`");
    }
    assert_eq!(sums.lines().count(), 2);
}

/// One party, the relay with the flow installed from that party, the other party.
#[test]
fn on_the_loopback_only_the_known_stream_is_relayed() {
    let network = Network::new();
    network.enter_gateway();
    let mut kernel = FastPath::load().expect("the kernel takes the program");
    kernel.attach("lo").expect("the loopback");
    let [party, listener, stranger, ours, out] = [(); 5].map(|()| bind("127.0.0.1:0"));
    let exit = Exit { interface: 1, is_loopback: true };
    let passage = passage(&party, &listener);
    let flow = Flow::new(&passage, v4(&ours), v4(&out), exit);
    let place = kernel.install(&flow, &Counts::begin(&passage, 0)).expect("room");
    let say = |socket: &UdpSocket, packet: &[u8]| _ = socket.send_to(packet, v4(&ours)).expect("sent");

    for sequence in [1, 2, 4, 3] {
        say(&party, &packet(SSRC.0, sequence, 0));
        assert_eq!(received(&listener), Some((relayed(sequence), v4(&out).into())));
    }
    let mut padded = packet(SSRC.0, 5, 0);
    padded[0] |= 0x20;
    let mut extended = packet(SSRC.0, 5, 0);
    extended[0] |= 0x10;
    let for_userspace = [
        (&stranger, packet(SSRC.0, 5, 0), "the right stream from elsewhere"),
        (&party, packet(SSRC.0 + 1, 5, 0), "another SSRC"),
        (&party, packet(SSRC.0, 5, 101), "a telephone event"),
        (&party, packet(SSRC.0, 5 + 3_000, 0), "far ahead"),
        (&party, packet(SSRC.0, 65_535, 0), "from before the beginning"),
        (&party, padded, "padding"),
        (&party, extended, "an extension"),
        (&party, packet(SSRC.0, 5, 0)[..12].to_vec(), "no payload"),
    ];
    for (from, packet, what) in for_userspace {
        say(from, &packet);
        assert_eq!(received(&ours), Some((packet, v4(from).into())), "{what}");
        assert_eq!(received(&listener), None, "{what}");
    }

    let came = kernel.take_back(place).expect("it was there");
    assert_eq!((came.packets, came.octets, came.highest), (4, 4 * 160, (1 << 16) + 4));
    say(&party, &packet(SSRC.0, 5, 0));
    assert!(received(&ours).is_some(), "what was taken back goes to the socket");
    assert_eq!(received(&listener), None);
}

/// From one wire to the other; the sums are made before the wire, so a wrong one does not arrive.
#[test]
fn from_wire_to_wire_through_the_kernel_alone() {
    let network = Network::new();
    network.enter("a");
    let party = bind(&format!("{}:4000", net::USER));
    leave_no_sum_to_the_device(&party, &network.interface("a", false));
    network.enter("b");
    let listener = bind(&format!("{}:4002", net::DESTINATION));
    network.enter_gateway();
    let ours = bind(&format!("{}:20000", net::SERVER));
    let out = SocketAddrV4::new(net::SERVER, 20_002);
    let mut kernel = FastPath::load().expect("the kernel takes the program");
    kernel.attach(&network.interface("a", true)).expect("a wire");
    let exit = Exit { interface: index(&network.interface("b", true)), is_loopback: false };
    let passage = passage(&party, &listener);
    let flow = Flow::new(&passage, v4(&ours), out, exit);
    let place = kernel.install(&flow, &Counts::begin(&passage, 0)).expect("room");

    for sequence in 1..=50 {
        party.send_to(&packet(SSRC.0, sequence, 0), v4(&ours)).expect("sent");
        assert_eq!(received(&listener), Some((relayed(sequence), out.into())));
    }
    assert_eq!(received(&ours), None, "userspace has seen none of them");
    assert_eq!(kernel.take_back(place).expect("it was there").packets, 50);
}

fn index(interface: &str) -> u32 {
    let name = std::ffi::CString::new(interface).expect("a name");
    // SAFETY: the name ends in zero and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "{interface}");
    index
}

/// What `ethtool -K INTERFACE tx off` does.
fn leave_no_sum_to_the_device(any: &UdpSocket, interface: &str) {
    const ETHTOOL_STXCSUM: u32 = 0x17;
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    let mut off = [ETHTOOL_STXCSUM, 0];
    // SAFETY: zero is an empty request; it points at the two words, which outlive the call.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = off.as_mut_ptr().cast();
        libc::ioctl(any.as_raw_fd(), SIOCETHTOOL, &raw mut request)
    };
    assert_eq!(done, 0, "{interface}: {}", std::io::Error::last_os_error());
}
