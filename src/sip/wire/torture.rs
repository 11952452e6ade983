//! RFC 4475 (torture) and RFC 5118 (IPv6): what is valid is read, what is not is refused, and a request
//! that can be answered says so. Messages about what a *transaction* has to judge (RFC 4475 §3.2, §3.4)
//! are read here as the well-formed messages that they are.

use proptest::prelude::*;

use super::*;

/// `head` without its CRLFs' CRs, then a body.
fn wire(head: &str, body: &str) -> Vec<u8> {
    format!("{}\r\n\r\n{body}", head.trim().replace('\n', "\r\n")).into_bytes()
}

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

#[test]
fn section_3_1_1_1_short_tortuous_invite() {
    let bytes = wire(
        r#"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 3
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33"#,
        "v=0",
    );
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.to.tag(), Some("1918181833n"));
    assert_eq!(message.from.display, Some(r#"J Rosenberg \\\""#));
    assert_eq!(message.from.tag(), Some("98asjd8"));
    assert_eq!(message.max_forwards, Some(68));
    assert_eq!((message.cseq.number, message.cseq.method), (9, Method::Invite));
    let branches: Vec<_> = message.vias().filter_map(|v| v.branch).collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    assert_eq!(message.contact.unwrap().params.get("q"), Some("0.33"));
    assert_eq!(message.header(HeaderName::Subject), Some(""));
    assert_eq!(message.addresses(HeaderName::Route).next().unwrap().unwrap().uri.param("lr"), Some(""));
    let folded = message.all_headers().find(|h| h.name == HeaderName::Other).unwrap();
    assert_eq!(unfold(folded.value), "newfangled value continued newfangled value");
}

#[test]
fn section_3_1_1_2_wide_range_of_characters() {
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let start = format!(
        "{method} sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0"
    );
    let bytes = request(
        &start,
        &[
            (
                "To",
                "\"BEL:\\\u{7} NUL:\\ DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>",
            ),
            (
                "From",
                "token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\u{431}\";tag=_token~1'+`*%!-.",
            ),
            ("Call-ID", "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
            ("extensionHeader-!.%*+_`'~", "\u{fffd}\u{5927}\u{505c}"),
        ],
    );
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.cseq.method_text, method);
    assert_eq!(message.method(), Some(Method::Other));
    assert_eq!(message.from.display, Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(message.from.tag(), Some("_token~1'+`*%!-."));
}

#[test]
fn valid_messages_are_read() {
    let long = "x".repeat(4000);
    let long_name = format!("\"I have a user name of {long}\" <sip:user@example.com>");
    let many_vias = vec!["SIP/2.0/UDP sip33.example.com"; 34].join(", ");
    let valid: [(&str, Lines); 14] = [
        // §3.1.1.3 escapes, §3.1.1.4 escaped nulls, §3.1.1.5 a percent sign that escapes nothing
        ("INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", &[("To", "sip:%75se%72@example.com")]),
        (
            "REGISTER sip:example.com SIP/2.0",
            &[
                ("To", "sip:null-%00-null@example.com"),
                ("Contact", "<sip:%00@host5.example.com>, <sip:%00%00@host5.example.com>"),
            ],
        ),
        ("RE%47IST%45R sip:registrar.example.com SIP/2.0", &[("To", "\"%Z%45\" <sip:resource@example.com>")]),
        // §3.1.1.6 no white space between name and <
        (OPTIONS, &[("From", "caller<sip:caller@example.com>;tag=323")]),
        // §3.1.1.7 long values
        (OPTIONS, &[("To", &long_name), ("v", &many_vias)]),
        // §3.1.1.9 a semicolon in the user
        ("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", &[]),
        // §3.1.1.10 unusual transports
        (OPTIONS, &[("v", "SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw, SIP/2.0/TLS-SCTP t2, SIP/2.0/UNKNOWN t3")]),
        // §3.2.1 a branch that is nothing but the cookie
        (OPTIONS, &[("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK")]),
        // §3.3.2 unknown schemes, §3.3.4 in other headers
        ("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", &[]),
        ("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", &[]),
        (OPTIONS, &[("To", "isbn:2983792873"), ("From", "<http://www.example.com>;tag=3234233")]),
        // §3.3.6 what we require and do not know, §3.3.13 no body
        (OPTIONS, &[("Require", "nothingSupportsThis, nothingSupportsThisEither")]),
        ("INVITE sip:t.watson@example.org SIP/2.0", &[("Content-Length", "0"), ("Accept", "text/nobodyKnowsThis")]),
        // §3.4.1 as RFC 2543 had it: no branch, no Max-Forwards
        (
            "INVITE sip:UserB@example.com SIP/2.0",
            &[
                ("Via", "SIP/2.0/UDP iftgw.example.com"),
                ("Record-Route", "<sip:UserB@example.com;maddr=ss1.example.com>"),
            ],
        ),
    ];
    for (start, lines) in valid {
        let bytes = request(start, lines);
        assert!(Message::parse(&bytes).is_ok(), "{start} {lines:?} {:?}", Message::parse(&bytes));
    }
}

#[test]
fn valid_responses_are_read() {
    // §3.1.1.12 unusual reason, §3.1.1.13 none
    for (line, status, reason) in [
        ("SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}", 200, "= 2**3 * 5**2 \u{43d}\u{43e}"),
        ("SIP/2.0 100 ", 100, ""),
        ("SIP/2.0 100", 100, ""),
    ] {
        let bytes = request(line, &[("CSeq", "1 INVITE")]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.start, StartLine::Response { status, reason });
    }
}

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
        // §3.1.2.1 separators without parameters
        (OPTIONS, &[("Via", "SIP/2.0/UDP 192.0.2.1;branch=x"), ("v", "SIP/2.0/UDP 192.0.2.15;;,;,,")], Parameter),
        (OPTIONS, &[("Contact", "\"Joe\" <sip:joe@example.org>;;;;")], Value(H::Contact)),
        // §3.1.2.2 Content-Length larger than the message, §3.1.2.3 negative
        (OPTIONS, &[("Content-Length", "9999")], ShortBody),
        (OPTIONS, &[("Content-Length", "-999")], Value(H::ContentLength)),
        // §3.1.2.4 overlarge numbers
        (OPTIONS, &[("CSeq", "36893488147419103232 OPTIONS")], Value(H::CSeq)),
        (OPTIONS, &[("CSeq", "2147483648 OPTIONS")], Value(H::CSeq)),
        (OPTIONS, &[("Max-Forwards", "300")], Value(H::MaxForwards)),
        // §3.1.2.6 an unbalanced quote
        (OPTIONS, &[("To", "\"Mr. J. User <sip:j.user@example.com>")], Value(H::To)),
        // §3.1.2.7 a Request-URI in brackets, §3.1.2.8 with white space, §3.1.2.9 and §3.1.2.10 around it
        ("INVITE <sip:user@example.com> SIP/2.0", &[], Uri),
        ("INVITE sip:user@example.com; lr SIP/2.0", &[], StartLine),
        ("INVITE  sip:user@example.com  SIP/2.0", &[], StartLine),
        ("OPTIONS sip:remote-target@example.com SIP/2.0  ", &[], StartLine),
        // §3.1.2.11 headers in the Request-URI
        ("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", &[], Uri),
        // §3.1.2.13 a bare URI with what needs brackets
        (OPTIONS, &[("Contact", "sip:user@example.com?Route=%3Csip:sip.example.com%3E")], Value(H::Contact)),
        // §3.1.2.14 spaces within brackets, §3.1.2.15 a name that needs quotes
        (OPTIONS, &[("To", "\"Watson, Thomas\" < sip:t.watson@example.org >")], Value(H::To)),
        (OPTIONS, &[("From", "Bell, Alexander <sip:a.g.bell@example.com>;tag=43")], Value(H::From)),
        // §3.1.2.16 another version
        ("OPTIONS sip:t.watson@example.org SIP/7.0", &[], Version),
        // §3.1.2.17 and §3.1.2.18 methods that differ
        (OPTIONS, &[("CSeq", "8 INVITE")], MethodMismatch),
        ("NEWMETHOD sip:user@example.com SIP/2.0", &[("CSeq", "8 INVITE")], MethodMismatch),
        // §3.3.8 headers twice, §3.3.9 Content-Length twice
        (OPTIONS, &[("f", "<sip:other@example.net>;tag=3")], Doubled(H::From)),
        (OPTIONS, &[("i", "another")], Doubled(H::CallId)),
        (OPTIONS, &[("Content-Length", "0"), ("l", "0")], Doubled(H::ContentLength)),
        // and what hostile.md adds
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
fn section_3_3_1_missing_headers() {
    let bytes = wire(
        "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj",
        "",
    );
    let error = Message::parse(&bytes).unwrap_err();
    let answerable = error.answerable.unwrap();
    assert_eq!(error.fault.status(), (400, "Bad Request"));
    assert_eq!(answerable.via.branch, Some("z9hG4bKkdj"));
    assert_eq!(answerable.echo().map(|(name, _)| name).collect::<Vec<_>>(), [HeaderName::CSeq, HeaderName::Via]);
}

#[test]
fn what_nobody_waits_for_is_dropped() {
    let garbage: [&[u8]; 5] =
        [b"", b"\r\n\r\n", b"\0\0\0\0", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS sip:a@h SIP/2.0\r\n\r\n"];
    for bytes in garbage {
        assert!(!fault(bytes).1, "{bytes:?}");
    }
    // An ACK is never answered, and neither is a response (§3.1.2.5, §3.1.2.19).
    assert!(!fault(&request("ACK sip:a@h SIP/2.0", &[("To", "x")])).1);
    assert!(!fault(&request("SIP/2.0 200 OK", &[("CSeq", "9292394834772304023312 OPTIONS")])).1);
    assert!(!fault(&request("SIP/2.0 4294967301 better not break the receiver", &[("CSeq", "1 INVITE")])).1);
    assert!(!fault(&request(OPTIONS, &[("Via", "SIP/2.0/UDP 192.0.2.15;;,;,,")])).1);
    let overlong = [&request(OPTIONS, &[])[..40], b"\xc0\xaf\r\n\r\n"].concat();
    assert_eq!(fault(&overlong).0, Fault::Text);
}

#[test]
fn section_3_1_1_8_bytes_after_the_body_are_ignored() {
    let mut bytes = request(OPTIONS, &[("Content-Length", "2")]);
    bytes.extend_from_slice(b"abINVITE sip:joe@example.com SIP/2.0\r\n");
    assert_eq!(Message::parse(&bytes).unwrap().body, b"ab");
}

#[test]
fn rfc5118_ipv6() {
    let read = |lines: &[(&str, &str)]| {
        let bytes = request("OPTIONS sip:[2001:db8::10]:5070 SIP/2.0", lines);
        Message::parse(&bytes).map(|m| m.vias().last().and_then(|v| v.received)).map_err(|e| e.fault)
    };
    let v6 = "2001:db8::9:1".parse().ok();
    assert_eq!(read(&[("Via", "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:1];branch=z9hG4bKas3")]), Ok(v6));
    assert_eq!(read(&[("Via", "SIP/2.0/UDP [2001:db8::9:1]:5060;received=2001:db8::9:1;branch=z9hG4bKas3")]), Ok(v6));
    assert_eq!(read(&[("Via", "SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKas3")]), Ok(None));
    assert_eq!(read(&[("Contact", "<sip:user@[::ffff:192.0.2.10]:5060;maddr=[2001:db8::1]>")]), Ok(None));
    assert_eq!(read(&[("Via", "SIP/2.0/UDP 2001:db8::9:1;branch=z9hG4bKas3")]), Err(Fault::Port));
    // §4.2: without brackets the Request-URI cannot be read.
    assert_eq!(fault(&request("REGISTER sip:2001:db8::10 SIP/2.0", &[])), (Fault::Port, true));
    let bytes = request("REGISTER sip:[2001:db8::10:5070] SIP/2.0", &[]);
    assert!(Message::parse(&bytes).is_ok(), "§4.3: the port is taken for part of the address");
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
    let mut writer = Writer::response(&mut buffer, 400, "Bad Request");
    writer.echo(HeaderName::Via, "SIP/2.0/UDP\r\n\t h;branch=\r\n x");
    assert!(writer.finish().is_ok());
    assert!(
        buffer.starts_with(b"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP   h;branch=  x\r\nContent-Length: 0\r\n\r\n")
    );
}
