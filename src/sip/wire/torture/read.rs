//! The messages of RFC 4475 that are read, and what is read in each.

use super::*;

fn read(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap_or_else(|e| panic!("{e:?}"))
}

/// The method and the Request-URI.
fn asks<'a>(message: &Message<'a>) -> (&'a str, Uri<'a>) {
    match message.start {
        StartLine::Request { method_text, uri, .. } => (method_text, Uri::parse(uri).unwrap()),
        StartLine::Response { .. } => panic!("a response"),
    }
}

#[test]
fn wsinv() {
    let message = read(message!("wsinv"));
    assert_eq!(asks(&message).1.param("unknownparam"), Some(""));
    assert_eq!(message.to.tag(), Some("1918181833n"));
    assert_eq!(message.from.display, Some(r#"J Rosenberg \\\""#));
    assert_eq!(message.from.tag(), Some("98asjd8"));
    assert_eq!(message.max_forwards, Some(68));
    assert_eq!((message.cseq.number, message.cseq.method), (9, Method::Invite));
    let hops: Vec<_> = message.vias().map(|via| (via.transport, via.host.to_string(), via.branch.unwrap())).collect();
    assert_eq!(
        hops,
        [
            ("UDP", "192.0.2.2".to_owned(), "390skdjuw"),
            ("TCP", "spindle.example.com".to_owned(), "z9hG4bK9ikj8"),
            ("UDP", "192.168.255.111".to_owned(), "z9hG4bK30239")
        ]
    );
    let contact = message.contact.unwrap();
    assert_eq!(contact.display, Some(r#"Quoted string \"\""#));
    assert_eq!(
        contact.params.iter().collect::<Vec<_>>(),
        [("newparam", Some("newvalue")), ("secondparam", None), ("q", Some("0.33"))]
    );
    assert_eq!(message.header(HeaderName::Subject), Some(""));
    let route = message.addresses(HeaderName::Route).next().unwrap().unwrap();
    assert_eq!((route.uri.param("lr"), route.uri.param("unknownwith")), (Some(""), Some("value")));
    let unknown: Vec<_> = message.all_headers().filter(|h| h.name == HeaderName::Other).collect();
    assert_eq!(unfold(unknown[0].value), "newfangled value continued newfangled value");
    assert_eq!(unknown[1].value, ";;,,;;,;");
    assert_eq!(message.body.len(), 150);
}

#[test]
fn esc01() {
    let message = read(message!("esc01"));
    let (_, uri) = asks(&message);
    assert_eq!((uri.scheme, uri.user), (Scheme::Sip, Some("sips%3Auser%40example.com")));
    assert_eq!(uri.host, Some(Host::Name("example.net")));
    assert_eq!(message.to.uri.user, Some("%75se%72"));
    assert_eq!(message.from.uri.user, Some("I%20have%20spaces"));
    let contact = message.contact.unwrap().uri;
    // A name is what is written; nobody here asks for one of these.
    assert_eq!(contact.params().collect::<Vec<_>>(), [("%6C%72", None), ("n%61me", Some("v%61lue%25%34%31"))]);
    assert!(message.has_body("application/sdp"));
}

#[test]
fn escnull() {
    let message = read(message!("escnull"));
    assert_eq!((message.to.uri.user, message.to.uri.host), (Some("null-%00-null"), Some(Host::Name("example.com"))));
    let users: Vec<_> = message.addresses(HeaderName::Contact).map(|c| c.unwrap().uri.user.unwrap()).collect();
    assert_eq!(users, ["%00", "%00%00"]);
}

#[test]
fn esc02() {
    let message = read(message!("esc02"));
    assert_eq!((message.method(), asks(&message).0), (Some(Method::Other), "RE%47IST%45R"));
    assert_eq!(message.to.display, Some("%Z%45"));
    assert_eq!(message.via.branch, Some("z9hG4bK209%fzsnel234"));
    let users: Vec<_> = message.addresses(HeaderName::Contact).map(|c| c.unwrap().uri.user.unwrap()).collect();
    assert_eq!(users, ["alias1", "alias3"]);
}

#[test]
fn lwsdisp() {
    let message = read(message!("lwsdisp"));
    assert_eq!((message.from.display, message.from.tag()), (Some("caller"), Some("323")));
}

#[test]
fn longreq() {
    let message = read(message!("longreq"));
    assert_eq!(message.vias().count(), 34);
    assert_eq!(message.via.host, Host::Name("sip33.example.com"));
    let last = message.vias().last().unwrap();
    assert_eq!((last.received, last.branch.unwrap().len()), ("192.0.2.5".parse().ok(), 215));
    assert_eq!(message.to.display.unwrap().len(), 103);
    assert_eq!(message.to.uri.port, Some(6000));
    assert_eq!((message.from.tag().unwrap().len(), message.from.params.iter().count()), (155, 3));
    assert_eq!(message.call_id.len(), 141);
    assert_eq!(message.body.len(), 150);
}

#[test]
fn dblreq() {
    let bytes = message!("dblreq");
    let message = read(bytes);
    assert_eq!((message.method(), message.body), (Some(Method::Register), &b""[..]));
    assert_eq!(message.call_id, "dblreq.0ha0isndaksdj99sdfafnl3lk233412");
    // On a stream the rest is the next message, after an empty line.
    let mut framer = Framer::default();
    framer.push(bytes);
    for call_id in ["dblreq.0ha0isndaksdj99sdfafnl3lk233412", "dblreq.0ha0isnda977644900765@192.0.2.15"] {
        let Ok(Some(Frame::Message(frame))) = framer.next_frame() else { panic!("{call_id}") };
        assert_eq!(read(&frame).call_id, call_id);
    }
}

#[test]
fn semiuri() {
    let message = read(message!("semiuri"));
    let (_, uri) = asks(&message);
    assert_eq!((uri.user, uri.params().count()), (Some("user;par=u%40example.net"), 0));
    assert_eq!(uri.host, Some(Host::Name("example.com")));
    assert_eq!(message.list(HeaderName::Accept).count(), 6);
}

#[test]
fn transports() {
    let message = read(message!("transports"));
    let transports: Vec<_> = message.vias().map(|via| via.transport).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
}

#[test]
fn mpart01() {
    let message = read(message!("mpart01"));
    assert_eq!(message.method(), Some(Method::Message));
    assert_eq!((message.body.len(), message.body.iter().filter(|byte| **byte == 0).count() > 1), (553, true));
    assert!(message.body.ends_with(b"\r\n--7a9cbec02ceef655--\r\n"));
    assert!(message.has_body("multipart/mixed"));
    assert_eq!(message.via.rport, Some(None));
}

#[test]
fn unreason() {
    let message = read(message!("unreason"));
    let reason = "= 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{43d}\u{43e}\u{441}\
                  \u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{442}\u{44c} - \u{43f}\u{440}\u{43e}\u{441}\u{442}\
                  \u{43e}\u{435}";
    assert_eq!(message.start, StartLine::Response { status: 200, reason });
    assert!(message.has_body("application/sdp"));
}

#[test]
fn noreason() {
    let bytes = message!("noreason");
    assert_eq!(read(bytes).start, StartLine::Response { status: 100, reason: "" });
    // Without the space that should be there too.
    let bytes = [b"SIP/2.0 100", &bytes["SIP/2.0 100 ".len()..]].concat();
    assert_eq!(read(&bytes).start, StartLine::Response { status: 100, reason: "" });
}

#[test]
fn baddate() {
    let message = read(message!("baddate"));
    assert!(message.all_headers().any(|h| h.value == "Fri, 01 Jan 2010 16:00:00 EST"));
}

#[test]
fn badbranch() {
    assert_eq!(read(message!("badbranch")).via.branch, Some("z9hG4bK"));
}

#[test]
fn unkscm() {
    let message = read(message!("unkscm"));
    let (_, uri) = asks(&message);
    assert_eq!((uri.scheme, uri.text), (Scheme::Other, "nobodyKnowsThisScheme:totallyopaquecontent"));
}

#[test]
fn novelsc() {
    let message = read(message!("novelsc"));
    let (_, uri) = asks(&message);
    assert_eq!((uri.scheme, uri.host), (Scheme::Other, None));
}

#[test]
fn unksm2() {
    let message = read(message!("unksm2"));
    assert_eq!((message.to.uri.scheme, message.to.uri.text), (Scheme::Other, "isbn:2983792873"));
    assert_eq!((message.from.uri.scheme, message.from.tag()), (Scheme::Other, Some("3234233")));
    assert_eq!(message.contact.unwrap().uri.text, "name:John_Smith");
}

#[test]
fn bext01() {
    let message = read(message!("bext01"));
    let options: Vec<_> = message.list(HeaderName::Require).collect();
    assert_eq!(options, ["nothingSupportsThis", "nothingSupportsThisEither"]);
    assert!(message.has_option(HeaderName::Require, "NOTHINGsupportsthis"));
}

#[test]
fn invut() {
    let message = read(message!("invut"));
    assert!(message.has_body("application/unknownformat") && !message.has_body("application/sdp"));
}

#[test]
fn regaut01() {
    let message = read(message!("regaut01"));
    let value = message.header(HeaderName::Authorization);
    assert_eq!(value, Some("NoOneKnowsThisScheme opaque-data=here"));
}

#[test]
fn bcast() {
    let hosts: Vec<_> = read(message!("bcast")).vias().map(|via| via.host.to_string()).collect();
    assert_eq!(hosts, ["192.0.2.198", "255.255.255.255"]);
}

#[test]
fn zeromf() {
    assert_eq!(read(message!("zeromf")).max_forwards, Some(0));
}

#[test]
fn cparam01() {
    let contact = read(message!("cparam01")).contact.unwrap();
    assert_eq!((contact.params.get("unknownparam"), contact.uri.param("unknownparam")), (Some(""), None));
}

#[test]
fn cparam02() {
    let contact = read(message!("cparam02")).contact.unwrap();
    assert_eq!((contact.params.get("unknownparam"), contact.uri.param("unknownparam")), (None, Some("")));
}

#[test]
fn regescrt() {
    let message = read(message!("regescrt"));
    assert_eq!(message.contact.unwrap().uri.headers, Some("Route=%3Csip:sip.example.com%3E"));
    assert_eq!(message.header(HeaderName::Route), None);
}

#[test]
fn sdp01() {
    let message = read(message!("sdp01"));
    assert_eq!(message.list(HeaderName::Accept).collect::<Vec<_>>(), ["text/nobodyKnowsThis"]);
    assert!(message.has_body("application/sdp"));
}

#[test]
fn inv2543() {
    let message = read(message!("inv2543"));
    assert_eq!((message.via.branch, message.from.tag(), message.max_forwards), (None, None, None));
    // Of a bare URI what follows is the header's.
    assert_eq!((message.to.uri.param("user"), message.to.params.get("user")), (None, Some("phone")));
    assert_eq!(message.body.len(), 105, "to the end of the datagram");
}
