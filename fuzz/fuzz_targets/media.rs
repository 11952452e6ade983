//! Any packets on both ports of both legs of a joined call: no panic, and nothing goes to a stranger.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use revbridge::media::{Bridge, PACKET, Rules, Source, Verdict};
use revbridge::model::{Secret, Side, Timestamp};
use revbridge::sdp::{Agreed, Codec, Description, Local, accept_answer, offer};

const PARTIES: [&str; 2] = ["127.0.0.1:6000", "127.0.0.1:7000"];

fn agreed(port: u16) -> Agreed {
    let local = Local { session_id: 1, version: 1, rtp: "127.0.0.1:20000".parse().expect("an address") };
    let answer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\n"
    );
    let answer = Description::parse(answer.as_bytes()).expect("a description");
    accept_answer(&offer(local, &[Codec::Pcmu, Codec::TelephoneEvent]), &answer).expect("a common codec")
}

fuzz_target!(|bytes: &[u8]| {
    let mut now = Timestamp::from_millis(1_800_000_000_000);
    let mut bridge = Bridge::new(Arc::new(Rules::default()));
    for (side, port) in [(Side::User, 6_000), (Side::Destination, 7_000)] {
        bridge.open(now, side, Secret([7; 16]));
        bridge.remote(now, side, &agreed(port));
        bridge.play(now, side, Source::Peer);
    }
    let (mut events, mut buffer) = (Vec::new(), [0; PACKET]);
    for packet in bytes.chunks(64) {
        let Some((first, rest)) = packet.split_first() else { continue };
        let side = Side::BOTH[usize::from(first & 1)];
        let from: SocketAddr = if first & 6 == 6 { "127.0.0.9:9" } else { PARTIES[usize::from(first & 1)] }
            .parse()
            .expect("an address");
        if first & 8 == 0 {
            let verdict = bridge.rtp(now, side, from, &mut rest.to_vec(), &mut events);
            if let Verdict::Forward { remote, .. } = verdict {
                assert!(PARTIES.contains(&remote.to_string().as_str()), "sent to {remote}");
            }
        } else {
            bridge.rtcp(now, side, from, rest);
        }
        now = now + Duration::from_millis(u64::from(*first));
        while bridge.poll(now, &mut buffer, &mut events).is_some() {}
    }
});
