//! A call's audio, packet by packet: the rows of the hostile list that a relay can meet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use smallvec::smallvec;

use super::wire::Header;
use super::{
    Bridge, Channel, DropCause, MediaEvent, PACKET, Recording, Remote, Rules, Source, ToneRegion, Transmit, Verdict,
    recording,
};
use crate::model::{Secret, Side, Timestamp};
use crate::sdp::{Agreed, Codec, Direction, Format};

pub(super) const PCMU: Format = Format { payload_type: 0, codec: Codec::Pcmu };
pub(super) const PCMA: Format = Format { payload_type: 8, codec: Codec::Pcma };

/// A call with both phones on other hosts.
pub(super) struct Call {
    pub bridge: Bridge,
    pub now: Timestamp,
    events: Vec<(Side, MediaEvent)>,
}

pub(super) fn phone(side: Side) -> SocketAddr {
    match side {
        Side::User => "198.51.100.1:4000",
        Side::Destination => "203.0.113.2:5000",
    }
    .parse()
    .unwrap()
}

fn stranger() -> SocketAddr {
    "192.0.2.66:6666".parse().unwrap()
}

pub(super) fn agreed(side: Side, audio: &[Format], event: u8) -> Agreed {
    Agreed {
        remote: Some(phone(side)),
        remote_rtcp: None,
        audio: audio.into(),
        telephone_event: Some(event),
        peer_direction: Direction::SendRecv,
    }
}

/// A packet of 20 ms; sequence and timestamp go with `n`.
pub(super) fn rtp(ssrc: u32, payload_type: u8, n: u32) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type,
        sequence: n as u16,
        timestamp: n.wrapping_mul(160),
        ssrc,
        payload: 12..172,
    };
    [&header.bytes()[..], &[0x55; 160]].concat()
}

fn key(payload_type: u8, sequence: u16, timestamp: u32, event: u8, end: bool, duration: u16) -> Vec<u8> {
    let header = Header { marker: false, payload_type, sequence, timestamp, ssrc: 7, payload: 12..16 };
    let [d0, d1] = duration.to_be_bytes();
    [&header.bytes()[..], &[event, if end { 0x8a } else { 0x0a }, d0, d1]].concat()
}

impl Call {
    fn opened() -> Self {
        Self::ruled(Rules::default())
    }

    fn ruled(rules: Rules) -> Self {
        let rules =
            Rules { address: "192.0.2.10".parse().unwrap(), advertised: "192.0.2.10".parse().unwrap(), ..rules };
        let mut bridge = Bridge::new(Arc::new(rules));
        let now = Timestamp::from_millis(1_700_000_000_000);
        bridge.open(now, Side::User, Secret([1; 16]));
        bridge.open(now, Side::Destination, Secret([2; 16]));
        Self { bridge, now, events: Vec::new() }
    }

    pub(super) fn joined() -> Self {
        Self::joined_with(&[PCMU], &[PCMU], 101, 101)
    }

    pub(super) fn joined_with(user: &[Format], destination: &[Format], user_event: u8, destination_event: u8) -> Self {
        let mut call = Self::opened();
        call.bridge.remote(call.now, Side::User, &agreed(Side::User, user, user_event));
        call.bridge.remote(call.now, Side::Destination, &agreed(Side::Destination, destination, destination_event));
        for side in Side::BOTH {
            call.bridge.play(call.now, side, Source::Peer);
        }
        call
    }

    /// The audio that the user hears in 100 ms of a source, by one whose operator has recorded something.
    fn heard_by_user(source: Source) -> Vec<u8> {
        let failure = Recording::read(&recording::tests::telephone(400, 8_000)).unwrap();
        let mut call = Self::ruled(Rules { failure: Some(Arc::new(failure)), ..Rules::default() });
        call.bridge.remote(call.now, Side::User, &agreed(Side::User, &[PCMU], 101));
        call.bridge.play(call.now, Side::User, source);
        let sent = call.run(99);
        sent.iter().filter(|(t, _)| t.channel == Channel::Rtp).flat_map(|(_, packet)| packet[12..].to_vec()).collect()
    }

    pub(super) fn wait(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
    }

    pub(super) fn packet(&mut self, side: Side, from: SocketAddr, mut packet: Vec<u8>) -> Verdict {
        self.bridge.rtp(self.now, side, Remote::Phone(from), &mut packet, &mut self.events)
    }

    /// A packet of the party itself, and what the other party receives.
    pub(super) fn says(&mut self, side: Side, mut packet: Vec<u8>) -> Option<(Header, Vec<u8>)> {
        self.wait(20);
        match self.bridge.rtp(self.now, side, Remote::Phone(phone(side)), &mut packet, &mut self.events) {
            Verdict::Forward { to, remote, range } => {
                assert_eq!((to, remote), (side.other(), Remote::Phone(phone(side.other()))));
                let sent = &packet[range];
                let header = Header::read(sent).unwrap();
                let payload = sent[header.payload.clone()].to_vec();
                Some((header, payload))
            }
            Verdict::Consumed | Verdict::Dropped(_) => None,
        }
    }

    /// All that is due within this time.
    fn run(&mut self, milliseconds: u64) -> Vec<(Transmit, Vec<u8>)> {
        let end = self.now + Duration::from_millis(milliseconds);
        let mut sent = Vec::new();
        let mut buffer = [0; PACKET];
        while let Some(at) = self.bridge.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            while let Some(transmit) = self.bridge.poll(self.now, &mut buffer, &mut self.events) {
                sent.push((transmit, buffer[..transmit.length].to_vec()));
            }
        }
        self.now = end;
        sent
    }

    fn close(&mut self, side: Side) -> super::LegStats {
        self.bridge.close(self.now, side, &mut [0; PACKET]).unwrap().0
    }
}

#[test]
fn a_packet_of_one_party_becomes_ours_for_the_other() {
    let mut call = Call::joined();
    let mut packet = rtp(0xaaaa_aaaa, 0, 77);
    // A header extension, as conferencing clients send audio levels.
    packet[0] |= 0x10;
    packet.splice(12..12, [0xbe, 0xde, 0, 1, 0x10, 0xcc, 0, 0]);
    let (header, payload) = call.says(Side::User, packet).unwrap();
    assert_ne!(header.ssrc, 0xaaaa_aaaa);
    assert_ne!((header.sequence, header.timestamp), (77, 77 * 160));
    assert!(header.marker);
    assert_eq!(payload, [0x55; 160]);
    let (next, _) = call.says(Side::User, rtp(0xaaaa_aaaa, 0, 78)).unwrap();
    assert_eq!((next.ssrc, next.sequence), (header.ssrc, header.sequence.wrapping_add(1)));
    assert_eq!(call.events, [(Side::User, MediaEvent::Flowing)]);
}

#[test]
fn each_leg_has_numbers_of_its_own() {
    let mut call = Call::joined();
    let to_destination = call.says(Side::User, rtp(7, 0, 1)).unwrap().0;
    let to_user = call.says(Side::Destination, rtp(7, 0, 1)).unwrap().0;
    assert_ne!(to_destination.ssrc, to_user.ssrc);
    assert_ne!(to_destination.sequence, to_user.sequence);
}

#[test]
fn a_stranger_is_dropped_and_counted_at_every_stage() {
    let mut call = Call::opened();
    let rejected = Verdict::Dropped(DropCause::Stranger);
    assert_eq!(call.packet(Side::User, stranger(), rtp(666, 0, 1)), rejected, "before the answer");
    call = Call::joined();
    for n in 0..50 {
        assert_eq!(call.packet(Side::User, stranger(), rtp(666, 0, n)), rejected, "before the party spoke");
    }
    assert!(call.says(Side::User, rtp(7, 0, 1)).is_some());
    assert_eq!(call.packet(Side::User, stranger(), rtp(7, 0, 2)), rejected, "with the right SSRC");
    let hold = Agreed { peer_direction: Direction::Inactive, ..agreed(Side::User, &[PCMU], 101) };
    call.bridge.remote(call.now, Side::User, &hold);
    for n in 2..50 {
        call.wait(20);
        assert_eq!(call.packet(Side::User, stranger(), rtp(7, 0, n)), rejected, "on hold");
    }
    assert_eq!(call.close(Side::User).dropped.stranger, 50 + 1 + 48);
    assert_eq!(call.packet(Side::User, phone(Side::User), rtp(7, 0, 60)), rejected, "after the end");
}

#[test]
fn an_injected_packet_does_not_disturb_the_stream() {
    let mut call = Call::joined();
    let mut last = call.says(Side::User, rtp(7, 0, 100)).unwrap().0;
    for n in 101..200 {
        assert_eq!(call.packet(Side::User, stranger(), rtp(7, 0, n + 500)), Verdict::Dropped(DropCause::Stranger));
        let (header, _) = call.says(Side::User, rtp(7, 0, n)).unwrap();
        assert_eq!(header.sequence, last.sequence.wrapping_add(1));
        assert_eq!(header.timestamp, last.timestamp.wrapping_add(160));
        last = header;
    }
    let stats = call.close(Side::User);
    assert_eq!((stats.packets_received, stats.lost, stats.dropped.stranger), (100, 0, 99));
}

#[test]
fn nothing_is_sent_to_ourselves_or_to_the_other_party_as_itself() {
    for loops in ["192.0.2.10:20002", "127.0.0.1:4000", "239.1.1.1:4000", "198.51.100.1:4000"] {
        let mut call = Call::joined();
        let elsewhere = Agreed { remote: Some(loops.parse().unwrap()), ..agreed(Side::Destination, &[PCMU], 101) };
        call.bridge.remote(call.now, Side::Destination, &elsewhere);
        let verdict = call.packet(Side::User, phone(Side::User), rtp(7, 0, 1));
        assert_eq!(verdict, Verdict::Dropped(DropCause::Nowhere), "{loops}");
    }
}

#[test]
fn what_is_not_rtp_is_dropped_and_counted() {
    let mut call = Call::joined();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[9; 12]].concat();
    let dtls = [&[22, 254, 253][..], &[0; 60]].concat();
    for packet in [stun, dtls, vec![], vec![0x80; 5]] {
        let verdict = call.packet(Side::User, phone(Side::User), packet.clone());
        assert_eq!(verdict, Verdict::Dropped(DropCause::Malformed));
        let verdict = call.bridge.rtcp(call.now, Side::User, phone(Side::User), &packet);
        assert!(matches!(verdict, Verdict::Dropped(_)));
    }
    assert!(call.says(Side::User, rtp(7, 0, 1)).is_some());
    assert_eq!(call.says(Side::User, rtp(7, 18, 2)), None, "G.729 was not agreed");
    let (third, _) = call.says(Side::User, rtp(7, 0, 3)).unwrap();
    assert!(!third.marker);
    let dropped = call.close(Side::User).dropped;
    assert_eq!((dropped.malformed, dropped.payload_type), (8, 1));
}

#[test]
fn comfort_noise_is_held_back_without_a_gap() {
    let mut call = Call::joined();
    let (before, _) = call.says(Side::User, rtp(7, 0, 1)).unwrap();
    assert_eq!(call.says(Side::User, rtp(7, 13, 2)), None);
    let (after, _) = call.says(Side::User, rtp(7, 0, 3)).unwrap();
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(320));
}

#[test]
fn loss_disorder_and_wraps_are_carried_faithfully() {
    let mut call = Call::joined();
    let (first, _) = call.says(Side::User, rtp(7, 0, 65_530)).unwrap();
    // 65534 and 65537 are lost, 65539 comes before 65538, the wrap lies between.
    for n in [65_531, 65_532, 65_533, 65_535, 65_536, 65_539, 65_538, 65_540] {
        let (header, _) = call.says(Side::User, rtp(7, 0, n)).unwrap();
        assert_eq!(header.sequence.wrapping_sub(first.sequence), (n - 65_530) as u16);
        assert_eq!(header.timestamp.wrapping_sub(first.timestamp), (n - 65_530) * 160);
    }
    let stats = call.close(Side::User);
    assert_eq!((stats.packets_received, stats.lost), (9, 2));
}

#[test]
fn a_party_that_changes_its_stream_is_one_stream_to_the_other() {
    let mut call = Call::joined();
    let mut last = call.says(Side::User, rtp(1, 0, 40_000)).unwrap().0;
    for ssrc in 2..1_000 {
        let (header, _) = call.says(Side::User, rtp(ssrc, 0, ssrc.wrapping_mul(7_919))).unwrap();
        assert_eq!((header.ssrc, header.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
        assert_eq!(header.timestamp, last.timestamp.wrapping_add(160));
        assert!(header.marker);
        last = header;
    }
    assert_eq!(call.close(Side::User).lost, 0);
}

#[test]
fn laws_are_transposed_when_the_legs_differ() {
    let mut call = Call::joined_with(&[PCMU], &[PCMA], 101, 101);
    let (header, payload) = call.says(Side::User, rtp(7, 0, 1)).unwrap();
    assert_eq!(header.payload_type, 8);
    let (header, back) = {
        let mut packet = rtp(9, 8, 1);
        packet[12..].copy_from_slice(&payload);
        call.says(Side::Destination, packet).unwrap()
    };
    assert_eq!((header.payload_type, back.len()), (0, 160));
    assert!(back[0].abs_diff(0x55) <= 1);
    assert_eq!(call.close(Side::User).codec, Some(Codec::Pcmu));

    let mut both = Call::joined_with(&[PCMU, PCMA], &[PCMU, PCMA], 101, 101);
    assert_eq!(both.says(Side::User, rtp(7, 8, 1)).unwrap().0.payload_type, 8, "no need to transpose");
}

#[test]
fn keys_cross_with_the_payload_type_of_the_other_leg() {
    let mut call = Call::joined_with(&[PCMU], &[PCMU], 96, 110);
    call.says(Side::User, rtp(7, 0, 1));
    for (n, end) in [(2, false), (3, false), (4, true), (5, true), (6, true)] {
        let (header, payload) = call.says(Side::User, key(96, n, 1_000, 9, end, n * 160)).unwrap();
        assert_eq!((header.payload_type, payload[0]), (110, 9));
    }
    // The next press, of which only an end survives.
    call.says(Side::User, key(96, 12, 9_000, 11, true, 800)).unwrap();
    assert_eq!(call.says(Side::User, key(96, 13, 20_000, 16, false, 160)), None, "a flash is no key");
    let digits: Vec<_> = call.events.iter().filter(|(_, e)| matches!(e, MediaEvent::Digit(_))).collect();
    assert_eq!(digits, [&(Side::User, MediaEvent::Digit('9')), &(Side::User, MediaEvent::Digit('#'))]);
}

#[test]
fn the_answer_to_the_prompt_is_not_heard_by_the_destination() {
    let mut call = Call::joined();
    call.bridge.play(call.now, Side::Destination, Source::Nothing);
    assert_eq!(call.says(Side::User, key(101, 1, 1_000, 1, false, 160)), None);
    assert_eq!(call.events, [(Side::User, MediaEvent::Digit('1'))]);
    call.bridge.play(call.now, Side::Destination, Source::Peer);
    assert_eq!(call.says(Side::User, key(101, 2, 1_000, 1, true, 320)), None, "the rest of the same press");
    assert!(call.says(Side::User, key(101, 3, 5_000, 2, false, 160)).is_some());
}

#[test]
fn ringback_is_a_steady_stream_and_the_peer_goes_on_in_it() {
    let mut call = Call::joined();
    call.bridge.play(call.now, Side::User, Source::Ringback(ToneRegion::NorthAmerica));
    let sent: Vec<_> = call.run(999).into_iter().filter(|(t, _)| t.channel == Channel::Rtp).collect();
    assert_eq!(sent.len(), 50);
    let headers: Vec<_> = sent.iter().map(|(_, packet)| Header::read(packet).unwrap()).collect();
    assert!(headers[0].marker && !headers[1].marker);
    for pair in headers.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
    }
    assert!(sent.iter().all(|(t, packet)| t.remote == Remote::Phone(phone(Side::User)) && packet.len() == 172));
    assert!(sent[5].1[12..].iter().any(|&byte| byte != 0xff), "it sounds");

    call.bridge.play(call.now, Side::User, Source::Peer);
    let (voice, _) = call.says(Side::Destination, rtp(9, 0, 5)).unwrap();
    let last = &headers[49];
    assert_eq!((voice.ssrc, voice.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
    assert!(voice.marker);
    assert!(voice.timestamp.wrapping_sub(last.timestamp) >= 160);
}

#[test]
fn a_recording_takes_the_place_of_the_tones_of_a_failed_call_and_of_no_other() {
    let region = ToneRegion::Europe;
    for failed in [Source::Busy(region), Source::Reorder(region)] {
        let heard = Call::heard_by_user(failed);
        let (words, rest) = heard.split_at(400);
        assert!(words.iter().all(|byte| *byte == words[0] && *byte != 0xff), "the recording, whole");
        assert_eq!(rest, [0xff; 400], "then silence");
    }
    let ringing = Call::heard_by_user(Source::Ringback(region));
    assert!(ringing[..400].iter().any(|byte| *byte != ringing[1]));
}

#[test]
fn the_warning_gives_way_to_the_peer() {
    let mut call = Call::joined();
    call.says(Side::Destination, rtp(9, 0, 1));
    call.bridge.play(call.now, Side::User, Source::Warning);
    assert_eq!(call.says(Side::Destination, rtp(9, 0, 2)), None);
    assert!(call.run(1_000).len() > 20);
    assert!(call.says(Side::Destination, rtp(9, 0, 53)).is_some());
}

#[test]
fn a_party_on_hold_is_not_sent_anything() {
    let mut call = Call::joined();
    for hold in [
        Agreed { peer_direction: Direction::SendOnly, ..agreed(Side::User, &[PCMU], 101) },
        Agreed { remote: None, ..agreed(Side::User, &[PCMU], 101) },
    ] {
        call.bridge.remote(call.now, Side::User, &hold);
        assert_eq!(call.says(Side::Destination, rtp(9, 0, 1)), None);
    }
    call.bridge.remote(call.now, Side::User, &agreed(Side::User, &[PCMU], 101));
    assert!(call.says(Side::Destination, rtp(9, 0, 2)).is_some());
}

#[test]
fn silence_is_reported_unless_the_party_is_on_hold() {
    let mut call = Call::joined();
    for n in 0..100 {
        call.says(Side::User, rtp(7, 0, n));
    }
    call.run(29_000);
    assert!(call.events.contains(&(Side::Destination, MediaEvent::Silent)));
    assert!(!call.events.contains(&(Side::User, MediaEvent::Silent)));
    call.run(2_000);
    assert!(call.events.contains(&(Side::User, MediaEvent::Silent)));

    let mut held = Call::joined();
    for side in Side::BOTH {
        let hold = Agreed { peer_direction: Direction::Inactive, ..agreed(side, &[PCMU], 101) };
        held.bridge.remote(held.now, side, &hold);
    }
    held.run(300_000);
    assert_eq!(held.events, []);
}

#[test]
fn reports_are_ours_and_go_to_the_next_port() {
    let mut call = Call::joined();
    for n in 0..10 {
        call.says(Side::User, rtp(7, 0, n));
    }
    let reports: Vec<_> = call.run(20_000).into_iter().filter(|(t, _)| t.channel == Channel::Rtcp).collect();
    let to_destination = reports.iter().find(|(t, _)| t.side == Side::Destination).unwrap();
    assert_eq!(to_destination.0.remote, Remote::Phone("203.0.113.2:5001".parse().unwrap()));
    assert_eq!(to_destination.1[1], 200, "who hears us gets a sender report");
    let to_user = reports.iter().find(|(t, _)| t.side == Side::User).unwrap();
    assert_eq!(to_user.1[1], 201, "who only speaks gets a receiver report");
    // Neither names the other's stream: SSRC 7 is reported to the user alone.
    let names = |packet: &[u8], ssrc: u32| packet.windows(4).any(|w| w == ssrc.to_be_bytes());
    assert!(names(&to_user.1, 7) && !names(&to_destination.1, 7));

    let report = to_user.1.clone();
    assert_eq!(
        call.bridge.rtcp(call.now, Side::User, "198.51.100.1:4001".parse().unwrap(), &report),
        Verdict::Consumed
    );
    let verdict = call.bridge.rtcp(call.now, Side::User, stranger(), &report);
    assert_eq!(verdict, Verdict::Dropped(DropCause::Stranger));
    let (_, bye) = call.bridge.close(call.now, Side::Destination, &mut [0; PACKET]).unwrap();
    assert_eq!(bye.unwrap().channel, Channel::Rtcp);
}

#[test]
fn a_restarted_server_goes_on_under_the_same_ssrc() {
    let ssrc = |mut call: Call| call.says(Side::User, rtp(7, 0, 1)).unwrap().0.ssrc;
    assert_eq!(ssrc(Call::joined()), ssrc(Call::joined()));
}

#[test]
fn a_leg_takes_little_memory() {
    assert!(size_of::<Bridge>() <= 1_024, "{}", size_of::<Bridge>());
}

#[test]
fn formats_that_are_not_g711_leave_the_leg_mute() {
    let mut call = Call::opened();
    let other = Format { payload_type: 18, codec: Codec::Other };
    let nothing = Agreed { audio: smallvec![other], ..agreed(Side::User, &[], 101) };
    call.bridge.remote(call.now, Side::User, &nothing);
    assert_eq!(call.packet(Side::User, phone(Side::User), rtp(7, 18, 1)), Verdict::Dropped(DropCause::Stranger));
}

proptest! {
    /// Whatever arrives: nothing panics, and what leaves is ours in every field and goes to the party.
    #[test]
    fn nothing_but_our_own_shape_leaves(
        packets in vec((any::<bool>(), any::<bool>(), any::<[u8; 3]>(), vec(any::<u8>(), 0..60)), 0..60)
    ) {
        let mut call = Call::joined_with(&[PCMU], &[PCMA], 96, 101);
        for (is_user, is_stranger, [first, second, rtcp], tail) in packets {
            let side = if is_user { Side::User } else { Side::Destination };
            let from = if is_stranger { stranger() } else { phone(side) };
            call.wait(u64::from(rtcp) * 4);
            // Often enough of the right version and type to get further.
            let packet = [&[first & 0x3f | 0x80, [second, 0, 8, 96, 101][usize::from(second % 5)]][..], &tail].concat();
            let mut relayed = packet.clone();
            let verdict = call.bridge.rtp(call.now, side, Remote::Phone(from), &mut relayed, &mut call.events);
            if let Verdict::Forward { to, remote, range } = verdict {
                prop_assert!(!is_stranger);
                prop_assert_eq!((to, remote), (side.other(), Remote::Phone(phone(to))));
                let sent = &relayed[range];
                prop_assert_eq!(sent[0], 0x80);
                let allowed = if to == Side::User { [0, 96] } else { [8, 101] };
                prop_assert!(allowed.contains(&(sent[1] & 0x7f)));
            }
            call.bridge.rtcp(call.now, side, from, &packet);
            call.run(0);
        }
    }
}
