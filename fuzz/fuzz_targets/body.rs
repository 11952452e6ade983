//! Any bytes as a request body: read or refused, and digested alike when read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revbridge::api::Json;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = Json::parse(bytes) {
        assert_eq!(Json::parse(bytes).map(|again| again.digest()), Ok(body.digest()));
    }
});
