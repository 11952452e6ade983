//! The messages of RFC 5118: addresses of IPv6 wherever one may stand.

use std::net::IpAddr;

use super::*;

fn read(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap_or_else(|e| panic!("{e:?}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Host and port of the Request-URI.
fn target<'a>(message: &Message<'a>) -> (Host<'a>, Option<u16>) {
    match message.start {
        StartLine::Request { uri, .. } => {
            let uri = Uri::parse(uri).unwrap();
            (uri.host.unwrap(), uri.port)
        }
        StartLine::Response { .. } => panic!("a response"),
    }
}

#[test]
fn ipv6_good() {
    let message = read(message!("ipv6-good"));
    assert_eq!(target(&message), (Host::Ip(ip("2001:db8::10")), None));
    assert_eq!((message.via.host, message.via.port), (Host::Ip(ip("2001:db8::9:1")), None));
    assert_eq!(message.contact.unwrap().uri.host, Some(Host::Ip(ip("2001:db8::1"))));
}

/// What stands after the first colon is no port. In a Via it is the same.
#[test]
fn ipv6_bad() {
    assert_eq!(fault(message!("ipv6-bad")), (Fault::Port, true));
    let via = [("Via", "SIP/2.0/UDP 2001:db8::9:1;branch=z9hG4bKas3")];
    assert_eq!(fault(&request(OPTIONS, &via)), (Fault::Port, false));
}

#[test]
fn port_ambiguous() {
    assert_eq!(target(&read(message!("port-ambiguous"))), (Host::Ip(ip("2001:db8::10:5070")), None));
}

#[test]
fn port_unambiguous() {
    assert_eq!(target(&read(message!("port-unambiguous"))), (Host::Ip(ip("2001:db8::10")), Some(5070)));
}

#[test]
fn via_received_param_with_delim() {
    let message = read(message!("via-received-param-with-delim"));
    assert_eq!(message.via.received, Some(ip("2001:db8::9:255")));
    assert_eq!(message.via.branch, Some("z9hG4bKas3-111"));
}

#[test]
fn via_received_param_no_delim() {
    let message = read(message!("via-received-param-no-delim"));
    assert_eq!(message.via.received, Some(ip("2001:db8::9:255")));
    assert_eq!(message.via.branch, Some("z9hG4bKas3"));
}

/// With the length that the RFC prints the body would be too short for it.
#[test]
fn ipv6_in_sdp() {
    let bytes = message!("ipv6-in-sdp");
    let message = read(bytes);
    assert_eq!(message.to.uri.host, Some(Host::Ip(ip("2001:db8::10"))));
    let sdp = crate::sdp::Description::parse(message.body).unwrap();
    assert!(format!("{sdp:?}").contains("2001:db8::20"));
    let printed = str::from_utf8(bytes).unwrap().replace("Content-Length: 251", "Content-Length: 268");
    assert_eq!(fault(printed.as_bytes()), (Fault::ShortBody, true));
}

#[test]
fn mult_ip_in_header() {
    let message = read(message!("mult-ip-in-header"));
    let hops: Vec<_> = message.vias().map(|via| (via.host, via.port, via.received)).collect();
    assert_eq!(
        hops,
        [
            (Host::Ip(ip("2001:db8::9:1")), Some(6050), None),
            (Host::Ip(ip("192.0.2.1")), None, None),
            (Host::Ip(ip("2001:db8::9:255")), None, Some(ip("192.0.2.200")))
        ]
    );
}

#[test]
fn mult_ip_in_sdp() {
    let message = read(message!("mult-ip-in-sdp"));
    let sdp = format!("{:?}", crate::sdp::Description::parse(message.body).unwrap());
    assert!(sdp.contains("192.0.2.1"));
}

#[test]
fn ipv4_mapped_ipv6() {
    let message = read(message!("ipv4-mapped-ipv6"));
    let hops: Vec<_> = message.vias().map(|via| (via.host, via.port)).collect();
    let mapped = |text| Host::Ip(ip(text));
    assert_eq!(hops, [(mapped("::ffff:192.0.2.10"), Some(19823)), (mapped("::ffff:192.0.2.2"), None)]);
    assert_eq!(message.contact.unwrap().uri.host, Some(mapped("::ffff:192.0.2.2")));
}

#[test]
fn ipv6_bug_abnf_3_colons() {
    let message = read(message!("ipv6-bug-abnf-3-colons"));
    assert_eq!(target(&message), target(&read(message!("ipv6-correct-abnf-2-colons"))));
    assert_eq!(message.to.uri.text, "sip:user@[2001:db8:::192.0.2.1]", "kept as it came");
}

#[test]
fn ipv6_correct_abnf_2_colons() {
    let message = read(message!("ipv6-correct-abnf-2-colons"));
    assert_eq!(target(&message), (Host::Ip(ip("2001:db8::192.0.2.1")), None));
}
