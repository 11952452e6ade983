//! Where our scanner and rsip both read a message, they read the same.
//!
//! Compared is what decides where a message goes and to what it belongs: method or status, Call-ID,
//! CSeq, tags. A header twice, or one that only we know by its compact name, is outside of rsip's grammar.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revbridge::sip::wire::{HeaderName, Message, StartLine};
use rsip::prelude::*;

fuzz_target!(|bytes: &[u8]| {
    let (Ok(ours), Ok(theirs)) = (Message::parse(bytes), rsip::SipMessage::try_from(bytes)) else { return };
    // rsip keeps folds and unusual white space in its values; there is nothing to compare then.
    if ours.all_headers().any(|h| h.value.contains(['\r', '\t']) || !h.value.is_ascii()) {
        return;
    }
    match (ours.start, &theirs) {
        (StartLine::Request { method_text, .. }, rsip::SipMessage::Request(request)) => {
            assert!(request.method.to_string().eq_ignore_ascii_case(method_text));
        }
        (StartLine::Response { status, .. }, rsip::SipMessage::Response(response)) => {
            assert_eq!(u16::from(response.status_code.clone()), status);
        }
        (ours, _) => panic!("a request for one, a response for the other: {ours:?}"),
    }
    if let Ok(id) = theirs.call_id_header() {
        assert_eq!(id.value().trim(), ours.call_id);
    }
    if let Some(cseq) = theirs.cseq_header().ok().and_then(|c| c.typed().ok()) {
        assert_eq!(cseq.seq, ours.cseq.number);
    }
    // rsip forgets every parameter after one whose value is no token (RFC 3261 §25.1); we read on.
    let plain = |name| ours.header(name).is_some_and(|v| !v.contains('"') && params(v).bytes().all(is_token_or_mark));
    if plain(HeaderName::From)
        && let Some(from) = theirs.from_header().ok().and_then(|f| f.typed().ok())
    {
        assert_eq!(from.tag().map(|t| t.value().trim()), ours.from.tag());
    }
});

/// What stands behind the address.
fn params(address: &str) -> &str {
    address.rsplit('>').next().and_then(|rest| rest.split_once(';')).map_or("", |(_, params)| params)
}

fn is_token_or_mark(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~;= ".contains(&byte)
}
