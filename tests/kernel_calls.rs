//! Calls whose audio the kernel relays, commanded as the switch commands them: over the loopback of a
//! namespace of its own. It needs root.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "sockets and namespaces are what is tested")]

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use revbridge::config::MediaConfig;
use revbridge::media::{LegStats, MediaCommand, MediaEvent, PortPair, Source, ToneRegion};
use revbridge::model::{IdSource, LegId, Side, Timestamp};
use revbridge::sdp::{Agreed, Codec, Direction, Format};
use revbridge::server::clock::Clock;
use revbridge::server::media::MediaThreads;
use support::net::Network;

const PATIENCE: Duration = Duration::from_secs(20);
/// What a receiver waits for a packet that must not come.
const A_WHILE: Duration = Duration::from_millis(500);

struct Call {
    threads: MediaThreads,
    events: Receiver<(LegId, MediaEvent)>,
    leg: LegId,
    phones: [UdpSocket; 2],
    /// The next number of each party, and how many of its packets the other one has received.
    next: [u16; 2],
    arrived: [u64; 2],
    _network: Network,
}

fn port(side: Side) -> u16 {
    20_000 + 2 * side as u16
}

fn rtp(n: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(n.to_be_bytes());
    packet.extend((u32::from(n) * 160).to_be_bytes());
    packet.extend([9, 9, 9, 9]);
    packet.extend([n as u8; 160]);
    packet
}

/// One of the packets of the key 5.
fn key(n: u16, began: u16) -> Vec<u8> {
    let mut packet = rtp(n);
    packet[1] = 101;
    packet[4..8].copy_from_slice(&(u32::from(began) * 160).to_be_bytes());
    packet.truncate(12);
    packet.extend([5, 0x0a, 3, 0x20]);
    packet
}

impl Call {
    /// Both parties have been heard and what they say goes by the kernel.
    fn in_the_kernel() -> Self {
        Self::in_the_kernel_silent_after(PATIENCE)
    }

    /// The same, with another media timeout.
    fn in_the_kernel_silent_after(timeout: Duration) -> Self {
        let network = Network::new();
        network.enter_gateway();
        let address = Ipv4Addr::LOCALHOST.into();
        let config = MediaConfig {
            address,
            advertised: address,
            ports: (20_000, 29_999),
            rest: Duration::ZERO,
            timeout,
            threads: 1,
            failure_wav: None,
            fast_path: true,
        };
        let (sender, events) = channel();
        let report = move |leg, event| _ = sender.send((leg, event));
        let threads = MediaThreads::start(&config, None, Clock::start(None), report).expect("threads");
        let phones = [(); 2].map(|()| {
            let phone = UdpSocket::bind("127.0.0.1:0").expect("a port");
            phone.set_read_timeout(Some(A_WHILE)).expect("a socket");
            phone
        });
        let mut ids = IdSource::new([3; 32]);
        let leg = LegId { call: ids.call(Timestamp::from_millis(1)), side: Side::User };
        let mut call = Self { threads, events, leg, phones, next: [0, 0], arrived: [0, 0], _network: network };
        for side in Side::BOTH {
            call.command(side, MediaCommand::Open { port: PortPair(port(side)), secret: ids.secret() });
            call.signal(side);
            call.command(side, MediaCommand::Play(Source::Peer));
        }
        call.until_in_the_kernel();
        call
    }

    fn command(&mut self, side: Side, command: MediaCommand) {
        self.threads.command(LegId { side, ..self.leg }, command);
    }

    fn signal(&mut self, side: Side) {
        let remote = self.phones[side as usize].local_addr().ok();
        self.command(
            side,
            MediaCommand::Remote(Agreed {
                remote,
                remote_rtcp: None,
                audio: [Format { payload_type: 0, codec: Codec::Pcmu }].into_iter().collect(),
                telephone_event: Some(101),
                peer_direction: Direction::SendRecv,
            }),
        );
    }

    fn send(&self, side: Side, packet: &[u8]) {
        self.phones[side as usize].send_to(packet, ("127.0.0.1", port(side))).expect("sent");
    }

    /// The party's next packet; whether the other one received it.
    fn says(&mut self, side: Side) -> bool {
        let n = self.next[side as usize];
        self.next[side as usize] += 1;
        self.send(side, &rtp(n));
        // On a machine that is busy elsewhere an earlier one may be on its way still.
        while let Some(packet) = self.hears(side.other()) {
            self.arrived[side as usize] += 1;
            if packet[12..] == [n as u8; 160] {
                return true;
            }
        }
        false
    }

    fn hears(&mut self, side: Side) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_048];
        let length = self.phones[side as usize].recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    fn until_in_the_kernel(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.stays_in_the_kernel() {
            assert!(Instant::now() < end, "it stays in userspace: {:?}", self.threads.counts());
            for side in Side::BOTH {
                self.says(side);
            }
            // A party speaks every 20 ms. Without a pause, once the other way is in the kernel, the next
            // packet waits at the socket each time before this way is handed over, and takes it back.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A packet that waited at the socket while the stream was handed over takes it back a moment later.
    fn stays_in_the_kernel(&self) -> bool {
        let is_there = || self.threads.counts().streams.kernel == 2;
        is_there() && {
            std::thread::sleep(A_WHILE);
            is_there()
        }
    }

    fn event(&self, wanted: impl Fn(&MediaEvent) -> bool) -> MediaEvent {
        std::iter::repeat_with(|| self.events.recv_timeout(PATIENCE).expect("the event never came").1)
            .find(|event| wanted(event))
            .expect("endless")
    }

    fn close(&mut self, side: Side) -> LegStats {
        self.command(side, MediaCommand::Close);
        match self.event(|event| matches!(event, MediaEvent::Closed(_))) {
            MediaEvent::Closed(stats) => stats,
            other => panic!("{other:?}"),
        }
    }
}

/// How many datagrams the sockets of this namespace have been given.
fn delivered() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("counters");
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let at = names.split(' ').position(|name| name == "InDatagrams").expect("a counter");
    numbers.split(' ').nth(at).and_then(|number| number.parse().ok()).expect("a number")
}

/// Sequence and timestamp of a packet.
fn stamp(packet: &[u8]) -> (u16, u32) {
    let number = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    (number(0) as u16, number(4))
}

#[test]
fn audio_passes_by_the_kernel_alone_and_the_counts_are_those_of_userspace() {
    let mut call = Call::in_the_kernel();
    let before = delivered();
    for _ in 0..100 {
        for side in Side::BOTH {
            assert!(call.says(side));
        }
    }
    assert_eq!(delivered() - before, 200, "each packet has come to one socket: the other phone's");
    // Lost on the way to us.
    call.next[0] += 7;
    for side in Side::BOTH {
        assert!(call.says(side));
    }
    let [user, destination] = call.arrived;
    let (at_user, at_destination) = (call.close(Side::User), call.close(Side::Destination));
    // The first few may have come before the signalling, and between two commands.
    assert_eq!(at_user.packets_received - at_user.dropped.nowhere, user);
    assert_eq!(at_destination.packets_received - at_destination.dropped.nowhere, destination);
    assert_eq!((at_user.packets_sent, at_destination.packets_sent), (destination, user));
    assert_eq!((at_user.lost, at_destination.lost), (7, 0));
    assert_eq!(call.threads.counts().relayed, user + destination);
    assert_eq!(call.threads.counts().streams.kernel, 0);
}

#[test]
fn counts_that_are_read_on_the_way_count_once_and_say_that_a_party_is_not_silent() {
    let silence = Duration::from_millis(400);
    let mut call = Call::in_the_kernel_silent_after(silence);
    call.events.try_iter().for_each(drop);
    // Each deadline of silence asks the kernel.
    let end = Instant::now() + silence * 4;
    while Instant::now() < end {
        for side in Side::BOTH {
            assert!(call.says(side));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(call.events.try_iter().next(), None, "nobody was silent");
    let [user, destination] = call.arrived;
    let (at_user, at_destination) = (call.close(Side::User), call.close(Side::Destination));
    assert_eq!(at_user.packets_received - at_user.dropped.nowhere, user);
    assert_eq!(at_destination.packets_received - at_destination.dropped.nowhere, destination);
    assert_eq!(call.threads.counts().relayed, user + destination);
}

#[test]
fn a_key_is_one_digit_and_the_stream_goes_on_without_a_seam() {
    let mut call = Call::in_the_kernel();
    let mut stamps = Vec::new();
    let began = call.next[0];
    for n in 0..60 {
        let at = call.next[0];
        call.next[0] += 1;
        call.send(Side::User, &if (20..26).contains(&n) { key(at, began + 20) } else { rtp(at) });
        let packet = call.hears(Side::Destination).expect("relayed");
        assert_eq!(packet[1] & 0x7f, if (20..26).contains(&n) { 101 } else { 0 });
        stamps.push(stamp(&packet));
    }
    for (n, &(sequence, timestamp)) in (0..).zip(&stamps) {
        assert_eq!(sequence, stamps[0].0.wrapping_add(n));
        let steps = if (20..26).contains(&n) { 20 } else { n };
        assert_eq!(timestamp, stamps[0].1.wrapping_add(160 * u32::from(steps)));
    }
    assert_eq!(call.event(|event| matches!(event, MediaEvent::Digit(_))), MediaEvent::Digit('5'));
    call.until_in_the_kernel();
    call.close(Side::User);
    let digits = call.events.try_iter().filter(|(_, event)| matches!(event, MediaEvent::Digit(_))).count();
    assert_eq!(digits, 0, "one press is one digit");
}

#[test]
fn hold_and_ringback_take_the_party_out_of_the_kernel() {
    let mut call = Call::in_the_kernel();
    call.send(Side::User, &rtp(call.next[0]));
    call.next[0] += 1;
    let last = stamp(&call.hears(Side::Destination).expect("relayed")).0;
    call.command(Side::Destination, MediaCommand::Play(Source::Ringback(ToneRegion::Europe)));
    let tone: Vec<_> = (0..5).map(|_| call.hears(Side::Destination).expect("ringback")).collect();
    for (n, packet) in (1..).zip(&tone) {
        assert_eq!(stamp(packet).0, last.wrapping_add(n), "our stream goes on");
    }
    call.command(Side::Destination, MediaCommand::Play(Source::Nothing));
    while call.hears(Side::Destination).is_some() {}
    for _ in 0..3 {
        assert!(!call.says(Side::User), "nobody listens");
    }
    assert!(call.says(Side::Destination), "the other way is as it was");
    call.command(Side::Destination, MediaCommand::Play(Source::Peer));
    call.until_in_the_kernel();
    assert!(call.says(Side::User));
}

#[test]
fn a_stranger_is_heard_by_nobody() {
    let mut call = Call::in_the_kernel();
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let before = call.threads.counts().dropped.stranger;
    for _ in 0..10 {
        // It would be followed if the party were silent.
        assert!(call.says(Side::User));
        stranger.send_to(&rtp(call.next[0]), ("127.0.0.1", port(Side::User))).expect("sent");
    }
    assert_eq!(call.hears(Side::Destination), None);
    call.until_in_the_kernel();
    assert_eq!(call.threads.counts().dropped.stranger - before, 10);
    let user = call.arrived[0];
    assert_eq!(call.close(Side::Destination).packets_sent, user);
}
