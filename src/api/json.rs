//! JSON read strictly: no key twice, no deep nesting, no number that does not fit, and one meaning
//! for each text.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use crate::config::bounds::API_BODY_DEPTH;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Flag(bool),
    /// Also `60.0` and `6e1`: JSON knows no difference.
    Whole(i64),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads exactly one value. The error says what is wrong and where, and repeats nothing of the text.
    pub fn parse(bytes: &[u8]) -> Result<Json, String> {
        let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Seed { depth_left: API_BODY_DEPTH }.deserialize(&mut reader).map_err(|e| e.to_string())?;
        reader.end().map_err(|e| e.to_string())?;
        Ok(value)
    }

    /// SHA-256 over the value: the same for every text that means the same.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.feed(&mut hash);
        hash.finalize().into()
    }

    /// Each value as a tag, a length where it has one, and its bytes, so that no two values feed the same.
    fn feed(&self, hash: &mut Sha256) {
        match self {
            Json::Null => hash.update(b"z"),
            Json::Flag(true) => hash.update(b"t"),
            Json::Flag(false) => hash.update(b"f"),
            Json::Whole(n) => {
                hash.update(b"w");
                hash.update(n.to_be_bytes());
            }
            Json::Number(n) => {
                hash.update(b"n");
                hash.update(n.to_be_bytes());
            }
            Json::Text(text) => {
                hash.update(b"s");
                feed_text(text, hash);
            }
            Json::List(list) => {
                hash.update(b"l");
                hash.update(list.len().to_be_bytes());
                list.iter().for_each(|v| v.feed(hash));
            }
            Json::Object(object) => {
                hash.update(b"o");
                hash.update(object.len().to_be_bytes());
                for (key, value) in object {
                    feed_text(key, hash);
                    value.feed(hash);
                }
            }
        }
    }

    /// What it is, for "found …".
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Flag(_) => "a boolean",
            Json::Whole(_) | Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::List(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

fn feed_text(text: &str, hash: &mut Sha256) {
    hash.update(text.len().to_be_bytes());
    hash.update(text.as_bytes());
}

/// Reads a value that may nest this deep.
#[derive(Clone, Copy)]
struct Seed {
    depth_left: usize,
}

impl Seed {
    fn inside<E: serde::de::Error>(self) -> Result<Seed, E> {
        let depth_left = self.depth_left.checked_sub(1);
        let too_deep = || E::custom(format_args!("nested deeper than {API_BODY_DEPTH}"));
        depth_left.map(|depth_left| Seed { depth_left }).ok_or_else(too_deep)
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Json, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Flag(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Whole(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(i64::try_from(v).map_or(Json::Number(v as f64), Json::Whole))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        // Beyond 2^53 neighbours fall together, and "whole" says nothing.
        let whole = v.fract() == 0.0 && v.abs() <= 9_007_199_254_740_992.0;
        Ok(if whole { Json::Whole(v as i64) } else { Json::Number(v) })
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Json, E> {
        Ok(Json::Text(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let seed = self.inside()?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(seed)? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let seed = self.inside()?;
        let mut object = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(seed)?;
            // RFC 8259 §4 leaves open which of two would count, so neither does.
            if object.insert(key, value).is_some() {
                return Err(serde::de::Error::custom("the same key twice in one object"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_has_one_digest() {
        let digest = |text: &str| Json::parse(text.as_bytes()).unwrap().digest();
        assert_eq!(digest(r#"{"a":60,"b":"\u0041"}"#), digest(" {\"b\":\"A\",\n\"a\":6.0e1}"));
        let different = [r#"{"a":"bc"}"#, r#"{"ab":"c"}"#, "[]", "[[]]", "{}", "null", r#""""#, "0", "false", "1.5"];
        for (i, a) in different.iter().enumerate() {
            assert!(different[..i].iter().all(|b| digest(a) != digest(b)), "{a}");
        }
    }

    #[test]
    fn what_is_not_strict_json_is_refused() {
        let deep = "[".repeat(100_000);
        let closed = format!("{}1{}", "[".repeat(17), "]".repeat(17));
        for bad in [
            "",
            "{",
            "{}{}",
            "NaN",
            "1e400",
            "Infinity",
            "01",
            "\u{feff}{}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#""\ud800""#,
            r#"{"x":{"a":1,"a":2}}"#,
            "\"a\nb\"",
            "// {}",
            "{'a':1}",
            "[1,]",
            &deep,
            &closed,
        ] {
            assert!(Json::parse(bad.as_bytes()).is_err(), "{bad:.40}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
        assert!(Json::parse(format!("{}1{}", "[".repeat(16), "]".repeat(16)).as_bytes()).is_ok());
    }
}
