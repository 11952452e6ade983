//! Who a request says that calls.
//!
//! From, Contact and P-Asserted-Identity name the shown number, or From and Contact nobody: then an INVITE says so in
//! Privacy, and P-Asserted-Identity has the number. A signed statement (RFC 8224) is opened: its numbers are the shown
//! one and that of To, and what it hides in base64 is searched as the bytes are.

use base64ct::{Base64UrlUnpadded, Encoding};
use rsip::Method;
use serde::Deserialize;

use super::{Forbidden, Leak, reader};

/// What the headers have said until now.
#[derive(Default)]
pub struct Identities<'a> {
    from: usize,
    anonymous: bool,
    asserted: usize,
    private: bool,
    statements: usize,
    statement: Option<&'a str>,
    callee: Option<String>,
}

impl<'a> Identities<'a> {
    pub fn see(&mut self, name: &str, value: &'a str, number: &str) -> Result<(), Leak> {
        match name {
            "From" => {
                self.from += 1;
                self.anonymous = value.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=");
                if !self.anonymous && !is_number(value, number) {
                    return Err(Leak::Identity("From"));
                }
            }
            "Contact" if !is_number(value, number) && user(value).as_deref() != Some("anonymous") => {
                return Err(Leak::Identity("Contact"));
            }
            "P-Asserted-Identity" => {
                self.asserted += 1;
                if !is_number(value, number) {
                    return Err(Leak::Identity("P-Asserted-Identity"));
                }
            }
            "Privacy" => self.private = value == "id",
            "To" => self.callee = user(value),
            "Identity" => {
                self.statements += 1;
                self.statement = Some(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// Once all headers are seen.
    pub fn agree(&self, method: Method, shown: &str, forbidden: &Forbidden) -> Result<(), Leak> {
        let hidden = !self.anonymous || method != Method::Invite || (self.private && self.asserted == 1);
        if self.from != 1 || self.asserted > 1 || !hidden {
            return Err(Leak::Identity("From"));
        }
        match (self.statement, self.statements) {
            (None, _) => Ok(()),
            (Some(value), 1) => self.statement(value, shown, forbidden),
            (Some(_), _) => Err(Leak::Statement),
        }
    }

    fn statement(&self, value: &str, shown: &str, forbidden: &Forbidden) -> Result<(), Leak> {
        let (token, parameters) = value.split_once(';').ok_or(Leak::Statement)?;
        let mut parts = token.split('.');
        let (Some(head), Some(claims), Some(_signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Leak::Statement);
        };
        let open = |part: &str| Base64UrlUnpadded::decode_vec(part).map_err(|_| Leak::Statement);
        let (head, claims) = (open(head)?, open(claims)?);
        if [&head, &claims].into_iter().any(|part| forbidden.occurs_in(part, shown.as_bytes())) {
            return Err(Leak::OtherParty);
        }
        let head: Head<'_> = serde_json::from_slice(&head).map_err(|_| Leak::Statement)?;
        let claims: Claims<'_> = serde_json::from_slice(&claims).map_err(|_| Leak::Statement)?;
        let callee = self.callee.as_deref().and_then(|user| user.strip_prefix('+'));
        let signed = (head.alg, head.ppt, head.typ, claims.attest) == ("ES256", "shaken", "passport", "A");
        let whole = claims.iat > 0 && claims.origid.len() == UUID_CHARS;
        let told = parameters == format!("info=<{}>;alg=ES256;ppt=shaken", head.x5u);
        let agreed = claims.orig.tn == shown && callee == Some(claims.dest.tn.0);
        if signed && whole && told && agreed { Ok(()) } else { Err(Leak::Statement) }
    }
}

const UUID_CHARS: usize = 36;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    alg: &'a str,
    ppt: &'a str,
    typ: &'a str,
    x5u: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims<'a> {
    attest: &'a str,
    #[serde(borrow)]
    dest: Dest<'a>,
    iat: u64,
    #[serde(borrow)]
    orig: Orig<'a>,
    origid: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dest<'a> {
    /// Exactly one.
    #[serde(borrow)]
    tn: (&'a str,),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Orig<'a> {
    tn: &'a str,
}

/// The user is the number, and there is no other name.
fn is_number(value: &str, number: &str) -> bool {
    let Some(address) = reader::address(value) else { return false };
    let display = address.display_name.as_deref().map(|d| d.trim().trim_matches('"'));
    address.uri.user() == Some(number) && display.is_none_or(|d| d.is_empty() || d == number)
}

fn user(value: &str) -> Option<String> {
    reader::address(value)?.uri.user().map(str::to_owned)
}
