//! The threads with real sockets on loopback.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use smallvec::smallvec;

use super::MediaThreads;
use crate::config::MediaConfig;
use crate::media::{LegStats, MediaCommand, MediaEvent, PortPair, Source, ToneRegion};
use crate::model::{IdSource, LegId, Secret, Side, Timestamp};
use crate::sdp::{Agreed, Codec, Direction, Format};
use crate::server::clock::Clock;

const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for a packet that must not come.
const A_WHILE: Duration = Duration::from_millis(100);

struct Scene {
    threads: RefCell<MediaThreads>,
    events: Receiver<(LegId, MediaEvent)>,
    user: LegId,
    ports: [PortPair; 2],
    phones: [UdpSocket; 2],
}

/// A phone on a port of the system's choice.
fn phone() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// An even port of which the next is free too.
fn free_pair() -> PortPair {
    std::iter::repeat_with(|| phone().local_addr().unwrap().port())
        .find(|port| port.is_multiple_of(2) && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok())
        .map(PortPair)
        .unwrap()
}

fn rtp(sequence: u16, fill: u8) -> Vec<u8> {
    let [s0, s1] = sequence.to_be_bytes();
    let [t0, t1, t2, t3] = (u32::from(sequence) * 160).to_be_bytes();
    [&[0x80, 0, s0, s1, t0, t1, t2, t3, 9, 9, 9, 9][..], &[fill; 160]].concat()
}

impl Scene {
    /// A call with both legs open and their phones signalled.
    fn new(fast_path: bool) -> Self {
        let config = MediaConfig {
            address: "127.0.0.1".parse().unwrap(),
            advertised: "127.0.0.1".parse().unwrap(),
            // The phones and the legs are where the system puts them; no port is known to be ours.
            ports: (1, 1),
            rest: Duration::ZERO,
            timeout: Duration::from_secs(1),
            threads: 2,
            failure_wav: None,
            fast_path,
        };
        let (sender, events) = channel();
        let report = move |leg, event| _ = sender.send((leg, event));
        let threads = MediaThreads::start(&config, None, Clock::start(None), report).unwrap().into();
        let call = IdSource::new([3; 32]).call(Timestamp::from_millis(1));
        let user = LegId { call, side: Side::User };
        let scene = Self { threads, events, user, ports: [free_pair(), free_pair()], phones: [phone(), phone()] };
        for side in Side::BOTH {
            let open = MediaCommand::Open { port: scene.pair(side), secret: Secret([side.letter() as u8; 16]) };
            scene.command(side, open);
            scene.signal(side, scene.phone(side).local_addr().unwrap());
        }
        scene
    }

    fn joined() -> Self {
        Self::joined_by(false)
    }

    fn joined_by(fast_path: bool) -> Self {
        let scene = Self::new(fast_path);
        for side in Side::BOTH {
            scene.command(side, MediaCommand::Play(Source::Peer));
        }
        scene
    }

    fn pair(&self, side: Side) -> PortPair {
        self.ports[side as usize]
    }

    fn phone(&self, side: Side) -> &UdpSocket {
        &self.phones[side as usize]
    }

    fn command(&self, side: Side, command: MediaCommand) {
        self.threads.borrow_mut().command(LegId { side, ..self.user }, command);
    }

    fn signal(&self, side: Side, at: SocketAddr) {
        self.command(
            side,
            MediaCommand::Remote(Agreed {
                remote: Some(at),
                remote_rtcp: None,
                audio: smallvec![Format { payload_type: 0, codec: Codec::Pcmu }],
                telephone_event: Some(101),
                peer_direction: Direction::SendRecv,
            }),
        );
    }

    fn send(&self, from: &UdpSocket, side: Side, packet: &[u8]) {
        from.send_to(packet, ("127.0.0.1", self.pair(side).0)).unwrap();
    }

    /// Sends until the first packet has come through, so that the commands have been carried out.
    fn warm_up(&self) {
        for side in Side::BOTH {
            let other = self.phone(side.other());
            other.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let arrived = (0..250).any(|n| {
                self.send(self.phone(side), side, &rtp(n, 0));
                hears(other).is_some()
            });
            assert!(arrived, "nothing from {side:?}");
            while hears(other).is_some() {}
            other.set_read_timeout(Some(PATIENCE)).unwrap();
        }
    }

    fn event(&self, wanted: impl Fn(&MediaEvent) -> bool) -> (Side, MediaEvent) {
        // Few events can come before the wanted one: a digit, a flow, a silence per second.
        let came = (0..10).map(|_| self.events.recv_timeout(PATIENCE).expect("the event never came"));
        came.map(|(leg, event)| (leg.side, event)).find(|(_, event)| wanted(event)).expect("only other events came")
    }

    /// Whether the kernel knows a socket from our port to the phone's.
    fn is_connected(&self, side: Side) -> bool {
        let phone = self.phone(side).local_addr().unwrap().port();
        let addresses = format!("0100007F:{:04X} 0100007F:{phone:04X} ", self.pair(side).0);
        std::fs::read_to_string("/proc/net/udp").unwrap().contains(&addresses)
    }

    fn close(&self, side: Side) -> LegStats {
        self.command(side, MediaCommand::Close);
        match self.event(|event| matches!(event, MediaEvent::Closed(_))) {
            (at, MediaEvent::Closed(stats)) if at == side => stats,
            other => panic!("{other:?}"),
        }
    }
}

fn hears(phone: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2_048];
    let length = phone.recv(&mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

#[test]
fn both_parties_hear_each_other_and_the_counts_say_so() {
    let scene = Scene::joined();
    scene.warm_up();
    for n in 300..350 {
        for side in Side::BOTH {
            scene.send(scene.phone(side), side, &rtp(n, n as u8));
            let heard = hears(scene.phone(side.other())).expect("relayed");
            assert_eq!(&heard[12..], [n as u8; 160]);
            assert_ne!(&heard[8..12], [9; 4], "the SSRC is ours");
        }
    }
    assert!(Side::BOTH.into_iter().all(|side| scene.is_connected(side)), "each party has its own socket");
    let relayed = scene.threads.borrow().counts().relayed;
    assert!(relayed >= 99, "{relayed}");
    for side in Side::BOTH {
        let stats = scene.close(side);
        assert!(stats.packets_received >= 51 && stats.packets_sent >= 50, "{stats:?}");
        assert_eq!(stats.codec, Some(Codec::Pcmu));
    }
}

#[test]
fn a_stranger_is_heard_by_nobody_and_gets_no_answer() {
    let scene = Scene::joined();
    scene.warm_up();
    // The phone itself was a stranger until the signalling was carried out.
    let before = scene.threads.borrow().counts().dropped.stranger;
    let stranger = phone();
    stranger.set_read_timeout(Some(A_WHILE)).unwrap();
    scene.phone(Side::Destination).set_read_timeout(Some(A_WHILE)).unwrap();
    for n in 0..20 {
        scene.send(&stranger, Side::User, &rtp(400 + n, 0xee));
    }
    assert_eq!(hears(scene.phone(Side::Destination)), None);
    assert_eq!(hears(&stranger), None);
    stranger.connect(("127.0.0.1", scene.pair(Side::User).0)).unwrap();
    stranger.send(&rtp(500, 0xee)).unwrap();
    assert_eq!(stranger.recv(&mut [0; 64]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "not even ICMP");
    assert_eq!(scene.close(Side::User).dropped.stranger - before, 21);
}

#[test]
fn a_party_that_moves_is_followed_by_its_connected_socket() {
    let scene = Scene::joined();
    scene.warm_up();
    let moved = phone();
    scene.signal(Side::User, moved.local_addr().unwrap());
    scene.phone(Side::Destination).set_read_timeout(Some(A_WHILE)).unwrap();
    let arrived = (600..650).any(|n| {
        scene.send(&moved, Side::User, &rtp(n, 0xaa));
        hears(scene.phone(Side::Destination)).is_some_and(|packet| packet[12] == 0xaa)
    });
    assert!(arrived);
    while hears(scene.phone(Side::Destination)).is_some() {}
    scene.send(scene.phone(Side::User), Side::User, &rtp(700, 0xbb));
    assert_eq!(hears(scene.phone(Side::Destination)), None, "the address that was left is a stranger's");
    scene.send(scene.phone(Side::Destination), Side::Destination, &rtp(900, 0xcc));
    assert_eq!(hears(&moved).expect("sent to where it is")[12], 0xcc);
}

#[test]
fn ringback_is_heard_at_fifty_packets_per_second() {
    let scene = Scene::new(false);
    scene.command(Side::User, MediaCommand::Play(Source::Ringback(ToneRegion::Europe)));
    let packets: Vec<_> = (0..20).map(|_| hears(scene.phone(Side::User)).expect("ringback")).collect();
    for pair in packets.windows(2) {
        let sequence = |packet: &[u8]| u16::from_be_bytes([packet[2], packet[3]]);
        assert_eq!(sequence(&pair[1]), sequence(&pair[0]).wrapping_add(1));
        assert_eq!(pair[1].len(), 172);
    }
    assert!(packets[10][12..].iter().any(|&byte| byte != 0xff), "it sounds");
    assert!(scene.close(Side::User).packets_sent >= 20);
}

#[test]
fn silence_digits_and_a_taken_port_are_reported() {
    let scene = Scene::joined();
    scene.warm_up();
    let mut press = rtp(900, 0);
    press[1] = 101;
    press.splice(12.., [5, 0x8a, 3, 0x20]);
    scene.send(scene.phone(Side::User), Side::User, &press);
    scene.send(scene.phone(Side::User), Side::User, &press);
    assert_eq!(scene.event(|e| matches!(e, MediaEvent::Digit(_))), (Side::User, MediaEvent::Digit('5')));
    let (_, silent) = scene.event(|e| matches!(e, MediaEvent::Digit(_) | MediaEvent::Silent));
    assert_eq!(silent, MediaEvent::Silent);

    let other = IdSource::new([4; 32]).call(Timestamp::from_millis(2));
    let leg = LegId { call: other, side: Side::User };
    scene
        .threads
        .borrow_mut()
        .command(leg, MediaCommand::Open { port: scene.pair(Side::User), secret: Secret([0; 16]) });
    scene.event(|event| *event == MediaEvent::Failed);
    scene.threads.borrow_mut().command(leg, MediaCommand::Close);
    assert_eq!(scene.event(|e| matches!(e, MediaEvent::Closed(_))).1, MediaEvent::Closed(LegStats::default()));
}

#[test]
fn closed_ports_are_free_again() {
    let scene = Scene::joined();
    scene.warm_up();
    for side in Side::BOTH {
        scene.close(side);
    }
    for side in Side::BOTH {
        let PortPair(port) = scene.pair(side);
        assert!(UdpSocket::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok());
    }
}
