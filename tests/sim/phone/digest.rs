//! Digest credentials (RFC 7616 §3.4) as a registrar checks them. By hand, since rsip does not read
//! `SHA-256`.

use md5::Md5;
use sha2::{Digest, Sha256};

/// Is this `Authorization` value the right answer to a challenge with `qop=auth`?
pub fn is_right(value: &str, username: &str, password: &str, method: &str, sha256: bool) -> bool {
    let field = |name: &str| parameter(value, name).unwrap_or_default();
    let hash = |text: String| if sha256 { hex::encode(Sha256::digest(text)) } else { hex::encode(Md5::digest(text)) };
    let ha1 = hash(format!("{username}:{}:{password}", field("realm")));
    let ha2 = hash(format!("{method}:{}", field("uri")));
    let (nonce, nc, cnonce, qop) = (field("nonce"), field("nc"), field("cnonce"), field("qop"));
    let expected = hash(format!("{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}"));
    field("username") == username && field("response") == expected && qop == "auth"
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let fields = value.strip_prefix("Digest ")?.split(',');
    fields.filter_map(|f| f.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v.trim_matches('"'))
}
