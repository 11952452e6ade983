//! No packets on the RTP and RTCP ports of a joined call make it panic; what leaves is ours in every
//! field and goes to a party.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use revbridge::media::{Bridge, PACKET, Rules, Source, Verdict};
use revbridge::model::{Secret, Side, Timestamp};
use revbridge::sdp::{Agreed, Codec, Direction, Format};

fn agreed(phone: SocketAddr, codec: Codec, payload_type: u8, event: u8) -> Agreed {
    Agreed {
        remote: Some(phone),
        remote_rtcp: None,
        audio: [Format { payload_type, codec }].into_iter().collect(),
        telephone_event: Some(event),
        peer_direction: Direction::SendRecv,
    }
}

fuzz_target!(|packets: Vec<(u8, Vec<u8>)>| {
    let phones: [SocketAddr; 3] = [1, 2, 3].map(|host| ([127, 0, 0, 1], 4_000 + host).into());
    let mut now = Timestamp::from_millis(1_700_000_000_000);
    let mut bridge = Bridge::new(Arc::new(Rules::default()));
    let mut ssrcs = [None; 2];
    for (side, agreed) in
        Side::BOTH.into_iter().zip([agreed(phones[0], Codec::Pcmu, 0, 96), agreed(phones[1], Codec::Pcma, 8, 101)])
    {
        bridge.open(now, side, Secret([side as u8; 16]));
        bridge.remote(now, side, &agreed);
        bridge.play(now, side, Source::Peer);
    }
    let (mut events, mut buffer) = (Vec::new(), [0; PACKET]);
    for (how, mut packet) in packets {
        now = now + Duration::from_millis(u64::from(how >> 4) * 40);
        let side = if how & 1 == 0 { Side::User } else { Side::Destination };
        let from = if how & 2 == 0 { phones[side as usize] } else { phones[2] };
        let verdict = if how & 4 == 0 {
            bridge.rtp(now, side, from, &mut packet, &mut events)
        } else {
            bridge.rtcp(now, side, from, &packet)
        };
        if let Verdict::Forward { to, remote, range } = verdict {
            assert_eq!((to, remote), (side.other(), phones[to as usize]));
            let sent = &packet[range];
            assert_eq!(sent[0], 0x80, "no padding, extension or contributors");
            assert!([[0, 96], [8, 101]][to as usize].contains(&(sent[1] & 0x7f)));
            let ssrc = <[u8; 4]>::try_from(&sent[8..12]).expect("a header");
            assert_eq!(*ssrcs[to as usize].get_or_insert(ssrc), ssrc);
        }
        while let Some(transmit) = bridge.poll(now, &mut buffer, &mut events) {
            assert!(transmit.length <= PACKET && phones[..2].iter().any(|phone| phone.ip() == transmit.remote.ip()));
        }
        events.clear();
    }
});
