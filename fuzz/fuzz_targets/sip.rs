//! Any bytes as a SIP message, and as a stream of them: no panic, no disagreement between the two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revbridge::sip::wire::{Framer, HeaderName, Message};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::parse(bytes) {
        let _ = (message.method(), message.status(), message.vias().count());
        for name in [HeaderName::From, HeaderName::To, HeaderName::Contact, HeaderName::RecordRoute] {
            let _ = message.addresses(name).count();
        }
        let _ = (message.number(HeaderName::MaxForwards), message.has_body("application/sdp"));
    }
    let mut framer = Framer::default();
    for part in bytes.chunks(7) {
        framer.push(part);
        while let Ok(Some(_)) = framer.next_frame() {}
    }
});
