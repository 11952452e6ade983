//! No body makes the reader of requests panic; what it takes for JSON other readers take for the same
//! JSON; and what becomes a dial was spelled as it is dialled.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use revbridge::api::{Caller, Json, dial_of};
use revbridge::config::Config;
use serde_json::Value;

static CALLER: LazyLock<Caller> = LazyLock::new(|| {
    let config = Config::parse(include_str!("../../config.example.toml"), "example").expect("the example runs");
    let organization = Arc::new(config.organizations[0].clone());
    let (key, user) = (&organization.keys[0], &organization.users[0]);
    Caller {
        key: key.sha256,
        user: user.id.clone(),
        phone: user.phone,
        scopes: key.scopes.clone().into(),
        organization: Arc::clone(&organization),
    }
});

/// A fraction may come back as its neighbour: serde_json reads fast, not to the last bit.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(n) => n.is_f64(),
        Value::Array(list) => list.iter().any(has_fraction),
        Value::Object(object) => object.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(json) = Json::parse(bytes) else { return };
    let theirs: Value = serde_json::from_slice(bytes).expect("they read what we read");
    let again = serde_json::to_vec(&theirs).expect("a value has a text");
    if let Ok(again) = Json::parse(&again)
        && !has_fraction(&theirs)
    {
        assert_eq!(again.digest(), json.digest(), "one meaning, one digest");
    }
    let Json::Object(object) = json else { return };
    if let Ok(dial) = dial_of(object, &CALLER, Duration::from_secs(45)) {
        assert_eq!(theirs["to_number"], *dial.to.text());
        assert_eq!(theirs["from_number"], *dial.from.text());
        assert!(dial.max_duration <= CALLER.organization.max_duration);
    }
});
