//! No text makes the reader of a browser's offer panic; what it accepts has all that a peer needs, within
//! its bounds, and a peer answers it in as many sections.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use revbridge::media::BrowserOffer;
use revbridge::model::{Secret, Timestamp};
use revbridge::sdp::Codec;
use revbridge::webrtc::{Peer, Site, Timeline};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
static SITE: LazyLock<Arc<Site>> = LazyLock::new(|| {
    let at = ([192, 0, 2, 1], 7000).into();
    Arc::new(Site::new(at, Some(at), Timeline::new(Instant::now(), NOW)))
});

fuzz_target!(|text: &str| {
    let Ok(offer) = BrowserOffer::parse(text) else { return };
    assert!(offer.audio().iter().all(|format| matches!(format.codec, Codec::Pcmu | Codec::Pcma)));
    assert!(!offer.audio().is_empty() && offer.audio().len() <= 2);
    assert!(offer.ice().ufrag.len() <= 256 && offer.ice().pwd.len() <= 256);
    assert_eq!(offer.sections().iter().filter(|section| section.is_used).count(), 1);
    let (_, answer) = Peer::connect(NOW, &SITE, &offer, Secret([1; 16])).expect("what was read is answered");
    assert_eq!(answer.matches("\r\nm=").count(), offer.sections().len());
    assert!(answer.lines().all(|line| line.as_bytes().get(1) == Some(&b'=')));
});
