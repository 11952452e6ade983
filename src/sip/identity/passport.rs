//! The statement itself: two JSON objects in the one spelling that both ends agree on (RFC 8225 §9): keys in
//! order, no space, numbers without a plus (RFC 8224 §8.3).

use std::fmt::{self, Display};

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::sip::ident::Token;

pub struct Passport<'a> {
    /// Digits.
    pub orig: &'a str,
    pub dest: &'a str,
    /// Seconds since 1970.
    pub issued: u64,
    /// Names the leg to us, and to nobody else.
    pub origin: Token,
    pub certificate_url: &'a str,
}

impl Passport<'_> {
    /// What is signed (RFC 7515 §5.1).
    pub fn signing_input(&self) -> String {
        format!("{}.{}", base64url(self.header().as_bytes()), base64url(self.claims().as_bytes()))
    }

    fn header(&self) -> String {
        // The URL was read as one, and none has a quote or a backslash in it.
        format!("{{\"alg\":\"ES256\",\"ppt\":\"shaken\",\"typ\":\"passport\",\"x5u\":\"{}\"}}", self.certificate_url)
    }

    fn claims(&self) -> String {
        let Self { orig, dest, issued, origin, .. } = self;
        let origin = Uuid(*origin);
        format!(
            "{{\"attest\":\"A\",\"dest\":{{\"tn\":[\"{dest}\"]}},\"iat\":{issued},\"orig\":{{\"tn\":\"{orig}\"}},\
             \"origid\":\"{origin}\"}}"
        )
    }
}

pub fn base64url(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// RFC 9562 §5.8: a version whose bits are whoever's makes it.
struct Uuid(Token);

impl Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.0.to_string();
        write!(f, "{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn one_spelling() {
        let passport = Passport {
            orig: "12025550100",
            dest: "14155550123",
            issued: 1_800_000_000,
            origin: Token::derive(Secret([7; 16]), "origid", &[]),
            certificate_url: "https://certificates.example/a.pem",
        };
        assert_eq!(
            passport.header(),
            r#"{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://certificates.example/a.pem"}"#
        );
        let claims = passport.claims();
        let (fixed, origin) = claims.split_once(",\"origid\":").unwrap();
        assert_eq!(
            fixed,
            r#"{"attest":"A","dest":{"tn":["14155550123"]},"iat":1800000000,"orig":{"tn":"12025550100"}"#
        );
        let groups: Vec<usize> = origin.trim_matches(['"', '}']).split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
    }
}
