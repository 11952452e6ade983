//! What an INVITE says of its caller (RFC 3323, 3325, 8224), and that the guard lets nothing else leave.

use revbridge::config::{Privacy, Trunk};
use revbridge::model::E164;
use revbridge::sip::guard::{self, Forbidden, Leak};

use crate::peer::*;

fn check(text: &str) -> Result<(), Leak> {
    guard::check(text.as_bytes(), E164::parse(SHOWN).ok(), &Forbidden::default())
}

fn signing() -> World {
    World::with(Trunk { sign: true, ..trunk("192.0.2.7:5070") })
}

/// The statement with something changed in what base64 hides.
fn forged(invite: &str, from: &str, to: &str) -> String {
    let value = header(invite, "Identity");
    let parts: Vec<&str> = value.split('.').collect();
    let claims = String::from_utf8(from_base64url(parts[1])).unwrap();
    assert!(claims.contains(from), "{claims}");
    let changed = base64url(claims.replacen(from, to, 1).as_bytes());
    invite.replacen(parts[1], &changed, 1)
}

fn base64url(bytes: &[u8]) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    Base64UrlUnpadded::encode_string(bytes)
}

fn from_base64url(text: &str) -> Vec<u8> {
    use base64ct::{Base64UrlUnpadded, Encoding};
    Base64UrlUnpadded::decode_vec(text).unwrap()
}

#[test]
fn the_guard_opens_a_statement() {
    let mut w = signing();
    let invite = w.invite();
    assert_eq!(check(&invite), Ok(()));
    let (shown, to) = (&SHOWN[1..], &TO[1..]);
    for (from, to) in [
        (format!("\"orig\":{{\"tn\":\"{shown}"), "\"orig\":{\"tn\":\"12025550199".to_owned()),
        (format!("\"dest\":{{\"tn\":[\"{to}"), "\"dest\":{\"tn\":[\"14155550199".to_owned()),
        (format!("[\"{to}\"]"), format!("[\"{to}\",\"14155550199\"]")),
        ("\"attest\":\"A\"".to_owned(), "\"attest\":\"B\"".to_owned()),
        ("{\"attest\"".to_owned(), "{\"mky\":1,\"attest\"".to_owned()),
    ] {
        assert_eq!(check(&forged(&invite, &from, &to)), Err(Leak::Statement), "{to}");
    }
    // What base64 hides of the other party.
    let other = Forbidden::new(["+14155557731"], [SHOWN]);
    let hidden = forged(&invite, "\"origid\":\"", "\"origid\":\"14155557731-");
    assert_eq!(guard::check(hidden.as_bytes(), E164::parse(SHOWN).ok(), &other), Err(Leak::OtherParty));
    let twice = invite.replacen("Identity:", &format!("Identity: {}\r\nIdentity:", header(&invite, "Identity")), 1);
    assert_eq!(check(&twice), Err(Leak::Statement));
    assert_eq!(check(&invite.replacen("info=<", "info=<https://x.example/", 1)), Err(Leak::Statement));
}

#[test]
fn a_statement_is_one_second_old_at_most_when_a_challenge_is_answered() {
    let mut w = World::with(Trunk { sign: true, credentials: Some(credentials()), ..trunk("192.0.2.7:5070") });
    let first = w.invite();
    w.pass(3 * SECOND);
    let repeated = w.wire.first().cloned().unwrap();
    assert_eq!(header(&repeated, "Identity"), header(&first, "Identity"), "a repetition is the same bytes");
    w.overlook();
    let challenge = "WWW-Authenticate: Digest realm=\"carrier.example\", nonce=\"n\"\r\n";
    w.receive(&answer(&first, 401, "c", challenge));
    w.sent("ACK ");
    let second = w.sent("INVITE ");
    assert_ne!(header(&second, "Identity"), header(&first, "Identity"));
    assert_ne!(header(&second, "Date"), header(&first, "Date"));
}

#[test]
fn nobody_is_named_only_where_a_trusted_trunk_keeps_the_number() {
    let private = Trunk { trusted: true, privacy: Privacy::Id, ..trunk("192.0.2.7:5070") };
    let mut w = World::with(private.clone());
    let invite = w.confirmed();
    assert!(header(&invite, "From").starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
    assert_eq!(header(&invite, "Privacy"), "id");
    assert!(header(&invite, "P-Asserted-Identity").contains(SHOWN));
    assert!(!header(&invite, "Contact").contains(SHOWN));
    for name in ["Privacy: ", "P-Asserted-Identity: "] {
        let at = invite.find(name).unwrap();
        let end = at + invite[at..].find("\r\n").unwrap() + 2;
        let without = format!("{}{}", &invite[..at], &invite[end..]);
        assert_eq!(check(&without), Err(Leak::Identity("From")), "{name}");
    }
    w.end();
    assert_eq!(header(&w.sent("BYE "), "From"), header(&invite, "From"));

    let mut w = World::with(Trunk { trusted: false, ..private });
    let invite = w.invite();
    assert!(
        header(&invite, "From").contains(SHOWN) && !has(&invite, "Privacy") && !has(&invite, "P-Asserted-Identity")
    );
}
