//! RFC 4475 (torture) and RFC 5118 (IPv6): what is valid is read, what is not is refused, and a request
//! that can be answered says so. Each message of theirs is a test that is named after it: in [`read`] what is
//! taken, in [`refused`] what is not, in [`ipv6`] those of RFC 5118. Here is what they do not send.
//!
//! Messages about what a *transaction* or an application has to judge (RFC 4475 §3.2 to §3.4) are read here as
//! the well-formed messages that they are; what becomes of each is in `tests/sip/torture.rs`.

use proptest::prelude::*;

use super::*;

/// A message of the RFCs, byte for byte.
macro_rules! message {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/", $name, ".dat"))
    };
}

mod ipv6;
mod read;
mod refused;

/// Names and values.
type Lines<'a> = &'a [(&'a str, &'a str)];

/// A small request with these lines in place of, or after, the usual ones.
fn request(start: &str, lines: Lines<'_>) -> Vec<u8> {
    let method = start.split(' ').next().unwrap();
    let cseq = format!("1 {method}");
    let mut head = vec![
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw"),
        ("From", "<sip:caller@example.net>;tag=323"),
        ("To", "<sip:user@example.com>"),
        ("Call-ID", "torture.0ha0isnda977644900765@192.0.2.1"),
        ("CSeq", cseq.as_str()),
        ("Max-Forwards", "70"),
    ];
    head.retain(|(name, _)| !lines.iter().any(|(n, _)| n == name));
    head.extend(lines);
    let head: String = head.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    format!("{start}\r\n{head}\r\n").into_bytes()
}

const OPTIONS: &str = "OPTIONS sip:user@example.com SIP/2.0";

/// The fault of a message, and whether its sender can be told.
fn fault(bytes: &[u8]) -> (Fault, bool) {
    let error = Message::parse(bytes).expect_err(&String::from_utf8_lossy(bytes));
    (error.fault, error.answerable.is_some())
}

#[test]
fn invalid_requests_are_answered_400() {
    use Fault::*;
    use HeaderName as H;
    let invalid: &[(&str, Lines, Fault)] = &[
        // What else is wrong with messages that are refused for their first fault.
        (OPTIONS, &[("Via", "SIP/2.0/UDP 192.0.2.1;branch=x"), ("v", "SIP/2.0/UDP 192.0.2.15;;,;,,")], Parameter),
        (OPTIONS, &[("Contact", "\"Joe\" <sip:joe@example.org>;;;;")], Value(H::Contact)),
        (OPTIONS, &[("Max-Forwards", "300")], Value(H::MaxForwards)),
        (OPTIONS, &[("f", "<sip:other@example.net>;tag=3")], Doubled(H::From)),
        (OPTIONS, &[("i", "another")], Doubled(H::CallId)),
        // Two that say the same are two.
        (OPTIONS, &[("Content-Length", "0"), ("l", "0")], Doubled(H::ContentLength)),
        // The first number that is too large (RFC 3261 §8.1.1.5).
        (OPTIONS, &[("CSeq", "2147483648 OPTIONS")], Value(H::CSeq)),
        (OPTIONS, &[("Via", "SIP/7.0/UDP 192.0.2.1")], Value(H::Via)),
        // And what hostile.md adds.
        (OPTIONS, &[("Call-ID", "two words")], Value(H::CallId)),
        (OPTIONS, &[("Via", "SIP/2.0/UDP 192.0.2.1"), ("no colon", "")], HeaderLine),
        (OPTIONS, &[("Subject", "nul\0")], Text),
        (OPTIONS, &[("Subject", "a\rb")], Text),
        (OPTIONS, &[("Subject", "a\nb: c")], Text),
    ];
    for (start, lines, expected) in invalid {
        let bytes = request(start, lines);
        assert_eq!(fault(&bytes), (*expected, true), "{start} {lines:?}");
    }
}

#[test]
fn what_nobody_waits_for_is_dropped() {
    let garbage: [&[u8]; 5] =
        [b"", b"\r\n\r\n", b"\0\0\0\0", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS sip:a@h SIP/2.0\r\n\r\n"];
    for bytes in garbage {
        assert!(!fault(bytes).1, "{bytes:?}");
    }
    // An ACK is never answered, and neither is a response.
    assert!(!fault(&request("ACK sip:a@h SIP/2.0", &[("To", "x")])).1);
    assert!(!fault(&request("SIP/2.0 200 OK", &[("CSeq", "1 OPTIONS"), ("To", "x")])).1);
    let overlong = [&request(OPTIONS, &[])[..40], b"\xc0\xaf\r\n\r\n"].concat();
    assert_eq!(fault(&overlong).0, Fault::Text);
}

#[test]
fn too_much_is_refused_before_it_is_read() {
    let fold = format!("x{}", "\r\n y".repeat(250_000));
    assert_eq!(fault(&request(OPTIONS, &[("Subject", &fold)])), (Fault::HeadTooLong, false));
    let vias = vec!["SIP/2.0/UDP a"; 10_000];
    assert_eq!(fault(&request(OPTIONS, &[("v", &vias.join(","))])), (Fault::HeadTooLong, false));
    assert_eq!(fault(&request(OPTIONS, &[("v", &vias[..100].join(","))])), (Fault::TooManyVias, true));
    assert_eq!(fault(&request(OPTIONS, &vec![("X", "y"); 200])), (Fault::TooManyHeaders, true));
    assert_eq!(Fault::TooManyVias.status().0, 513);
    let long = "x".repeat(limits::IDENTIFIER_BYTES + 1);
    assert!(fault(&request(OPTIONS, &[("Call-ID", &long)])).1);
    assert!(fault(&request(OPTIONS, &[("From", &format!("<sip:a@h>;tag={long}"))])).1);
}

/// Text that a careless caller might hand to the writer.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![4 => proptest::char::range(' ', '~'), 1 => any::<char>(), 1 => Just('"'), 1 => Just('\\')],
        0..30,
    )
    .prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Message::parse(&bytes);
        let _ = Message::parse(&[b"OPTIONS sip:a@h SIP/2.0\r\nVia: ", &bytes[..], b"\r\n\r\n"].concat());
        let mut framer = Framer::default();
        framer.push(&bytes);
        while let Ok(Some(_)) = framer.next_frame() {}
    }

    #[test]
    fn a_broken_message_never_panics(at in 0usize..320, byte in any::<u8>(), cut in 0usize..320) {
        let mut bytes = request(OPTIONS, &[("Contact", "\"A \\\" B\" <sip:a@[::1]:5060;lr>;q=0.5, <sip:b@h>")]);
        let len = bytes.len();
        bytes[at % len] = byte;
        let _ = Message::parse(&bytes);
        let _ = Message::parse(&bytes[..cut % len]);
    }

    #[test]
    fn what_is_written_is_read_back(
        display in text(),
        reason in text(),
        user in "[a-z0-9+]{1,12}",
        tag in "[a-zA-Z0-9.!~-]{1,20}",
        number in 0u32..1 << 31,
        body in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut buffer = bytes::BytesMut::new();
        buffer.extend_from_slice(b"before");
        let mut writer = Writer::request(&mut buffer, Method::Bye, format_args!("sip:{user}@[::1]:5070"));
        writer.via("UDP", HostPort::from("192.0.2.1:5060".parse::<std::net::SocketAddr>().unwrap()), "z9hG4bKx");
        writer.header(HeaderName::From, Address { display: Some(&display), uri: format_args!("sip:{user}@h"), tag: Some(&tag) });
        writer.header(HeaderName::To, Address { display: None, uri: "sip:b@h", tag: None });
        writer.header(HeaderName::CallId, "c").cseq(number, Method::Bye);
        writer.header(HeaderName::Reason, &reason);
        let written = writer.finish_with("application/x", &body);
        let hostile = |t: &str| t.bytes().any(|b| b < b' ' || b == 0x7f);
        if hostile(&display) || hostile(&reason) {
            prop_assert_eq!(written, Err(Injection));
            prop_assert_eq!(&buffer[..], b"before");
            return Ok(());
        }
        let bytes = &buffer[6..];
        prop_assert_eq!(written, Ok(bytes.len()));
        let message = Message::parse(bytes).unwrap();
        prop_assert_eq!(message.all_headers().count(), 8);
        prop_assert_eq!(message.from.uri.user, Some(user.as_str()));
        prop_assert_eq!(message.from.tag(), Some(tag.as_str()));
        prop_assert_eq!(message.from.display.unwrap(), display.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(message.header(HeaderName::Reason), Some(reason.trim_matches(' ')));
        prop_assert_eq!(message.cseq.number, number);
        prop_assert_eq!(message.body, &body[..]);
    }
}

#[test]
fn no_value_becomes_a_header() {
    for evil in ["x\r\nEvil: 1", "x\nEvil: 1", "x\rEvil: 1", "x\0"] {
        let mut buffer = bytes::BytesMut::new();
        let mut writer = Writer::request(&mut buffer, Method::Options, "sip:a@h");
        writer.header(HeaderName::Subject, evil);
        assert_eq!(writer.finish(), Err(Injection));
        assert_eq!(Writer::request(&mut buffer, Method::Options, evil).finish(), Err(Injection));
        assert_eq!(Writer::response(&mut buffer, 200, evil).finish(), Err(Injection));
        assert_eq!(Writer::request(&mut buffer, Method::Options, "sip:a@h").finish_with(evil, b""), Err(Injection));
        assert!(buffer.is_empty());
    }
    let mut buffer = bytes::BytesMut::new();
    assert_eq!(Writer::request(&mut buffer, Method::Options, "sip:a@h SIP/2.0 x").finish(), Err(Injection));
    assert_eq!(Writer::request(&mut buffer, Method::Other, "sip:a@h").finish(), Err(Injection));
    for evil in ["x\nEvil: 1", "x\rEvil: 1", "x\0"] {
        let mut writer = Writer::response(&mut buffer, 400, "Bad Request");
        writer.echo(HeaderName::To, evil);
        assert_eq!(writer.finish(), Err(Injection));
    }
    let mut writer = Writer::response(&mut buffer, 400, "Bad Request");
    writer.echo(HeaderName::Via, "SIP/2.0/UDP\r\n\t h;branch=\r\n x");
    assert!(writer.finish().is_ok());
    assert!(
        buffer.starts_with(b"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP   h;branch=  x\r\nContent-Length: 0\r\n\r\n")
    );
}
