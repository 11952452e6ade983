//! No bytes make the SDP reader panic; what it read is answered section by section, and what we write
//! we can read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revbridge::sdp::{Codec, Description, Local, SdpError, accept_answer, answer_offer, offer};

const CODECS: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent];

fuzz_target!(|bytes: &[u8]| {
    let Ok(theirs) = Description::parse(bytes) else { return };
    let local = Local { session_id: 1, version: 1, rtp: ([192, 0, 2, 1], 20000).into() };
    let _ = accept_answer(&offer(local, &CODECS), &theirs);
    if let Ok((answer, agreed)) = answer_offer(&theirs, local, &CODECS) {
        assert_eq!(answer.media.len(), theirs.media.len());
        assert!(!agreed.audio.is_empty());
        let text = answer.to_string();
        let again = Description::parse(text.as_bytes()).expect("our own description");
        assert_eq!(again.to_string(), text);
    }
    // A rewritten description can be longer than what it was read from, but not worse.
    if let Err(error) = Description::parse(theirs.to_string().as_bytes()) {
        assert!(matches!(error, SdpError::TooManyAttributes | SdpError::TooLong), "{error}");
    }
});
