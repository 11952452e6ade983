//! Any bytes as a session description. What is read is written, and reads back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revbridge::sdp::Description;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(description) = Description::parse(bytes) {
        let written = description.to_string();
        let again = Description::parse(written.as_bytes()).expect("what we write we can read");
        assert_eq!(again, description, "{written}");
    }
});
