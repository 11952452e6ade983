use serde::{Deserialize, Serialize};

/// What kind of number it is, whatever the allowlist says of its country.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberClass {
    Ordinary,
    Premium,
    Satellite,
    Emergency,
    ShortCode,
}
