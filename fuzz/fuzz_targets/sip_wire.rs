//! No bytes make the scanner or the framer panic, whatever is asked of a message that was read; and how
//! a stream is cut into segments does not change what comes out of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revbridge::sip::wire::{Frame, Framer, HeaderName, Message, unfold};

fuzz_target!(|bytes: &[u8]| {
    match Message::parse(bytes) {
        Ok(message) => visit(&message),
        Err(error) => {
            if let Some(answerable) = error.answerable {
                assert!(answerable.echo().any(|(name, _)| name == HeaderName::Via));
            }
        }
    }
    let whole = frames(bytes.chunks(bytes.len().max(1)));
    assert_eq!(whole, frames(bytes.chunks(1)));
});

fn visit(message: &Message<'_>) {
    assert_eq!(message.vias().next(), Some(message.via));
    for header in message.all_headers() {
        assert!(!unfold(header.value).contains(['\r', '\n', '\0']));
    }
    for name in HeaderName::ALL {
        let _ = (message.number(*name), message.addresses(*name).count());
    }
    let _ = message.to.uri.params().count();
    let challenges = message.headers(HeaderName::WwwAuthenticate);
    let _ = revbridge::sip::digest::choose(challenges, "example.com");
}

fn frames<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<Frame> {
    let mut framer = Framer::default();
    let mut frames = Vec::new();
    for segment in segments {
        framer.push(segment);
        while let Ok(Some(frame)) = framer.next_frame() {
            frames.push(frame);
        }
    }
    frames
}
