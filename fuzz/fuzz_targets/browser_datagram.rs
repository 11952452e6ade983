//! No datagram makes the demultiplexer, a peer or the framer panic, whether it is a stranger's or comes
//! from where the browser is; none of them becomes audio.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use revbridge::media::BrowserOffer;
use revbridge::model::{Secret, Timestamp};
use revbridge::webrtc::{Demux, Framer, Output, Peer, Site, Source, Timeline, Via};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const OFFER: &str = include_str!("../seeds/browser_offer/chromium");

fuzz_target!(|stream: &[u8]| {
    let at = ([192, 0, 2, 1], 7000).into();
    let site = Arc::new(Site::new(at, Some(at), Timeline::new(Instant::now(), NOW)));
    let offer = BrowserOffer::parse(OFFER).expect("the seed");
    let (mut peer, _) = Peer::connect(NOW, &site, &offer, Secret([1; 16])).expect("a peer");
    let mut demux = Demux::default();
    demux.insert(1, peer.ufrag());
    let source = Source { via: Via::Udp, address: ([203, 0, 113, 5], 9).into() };
    let mut framer = Framer::default();
    framer.push(stream);
    while let Ok(Some(datagram)) = framer.next_frame() {
        assert_eq!(demux.route(NOW, source, datagram, |_, message| peer.verify(source, message)), None);
        peer.receive(NOW, source, datagram);
        while let Some(output) = peer.poll(NOW) {
            assert!(!matches!(output, Output::Rtp(_) | Output::Up), "{output:?}");
        }
    }
});
