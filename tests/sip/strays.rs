//! Requests and responses that belong to no leg.

use revbridge::events::NoiseKind;
use revbridge::sip::Flow;

use crate::peer::*;

fn stray(method: &str, to: &str) -> String {
    format!(
        "{method} sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66:5066;branch=z9hG4bKscan;rport\r\n\
         Via: SIP/2.0/UDP 10.0.0.1\r\nMax-Forwards: 70\r\nFrom: <sip:scan@192.0.2.66>;tag=s\r\nTo: {to}\r\n\
         Call-ID: scan-1\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn world() -> (World, Flow) {
    let w = World::new();
    let flow = Flow { remote: "192.0.2.7:9999".parse().unwrap(), ..w.flow };
    (w, flow)
}

#[test]
fn each_kind_gets_one_answer_that_says_nothing() {
    let (mut w, flow) = world();
    let cases = [
        ("INVITE", 403),
        ("OPTIONS", 200),
        ("REGISTER", 405),
        ("SUBSCRIBE", 405),
        ("MESSAGE", 405),
        ("JUMP", 501),
        ("CANCEL", 481),
        ("BYE", 481),
    ];
    for (method, status) in cases {
        let request = stray(method, "<sip:100@192.0.2.1>");
        w.receive_from(flow, &request);
        let answer = w.sent(&format!("SIP/2.0 {status} "));
        assert!(answer.contains(";branch=z9hG4bKscan;rport=9999;received=192.0.2.7\r\nVia: SIP/2.0/UDP 10.0.0.1\r\n"));
        assert!(answer.len() <= request.len() + 150, "{} after {}", answer.len(), request.len());
        w.receive_from(flow, &request);
        assert_eq!(w.sent("SIP/2.0"), answer, "the same To tag");
        assert_eq!(w.noise(), [NoiseKind::OutOfDialog; 2]);
        w.pass(SECOND);
    }
    w.receive_from(flow, &stray("ACK", "<sip:100@192.0.2.1>;tag=x"));
    w.silent();
    w.receive_from(flow, &stray("INVITE", "<sip:100@192.0.2.1>;tag=x"));
    w.sent("SIP/2.0 481 ");
    assert_eq!(w.noise(), [NoiseKind::UnknownDialog; 2]);
    assert_eq!(w.endpoint.next_timeout(), None, "nothing is remembered");
}

#[test]
fn a_broken_request_gets_400_and_garbage_nothing() {
    let (mut w, flow) = world();
    w.receive_from(flow, &stray("OPTIONS", "<sip:100@192.0.2.1>").replace("CSeq: 1 ", "CSeq: 4294967296 "));
    assert!(header(&w.sent("SIP/2.0 400 "), "To").contains(";tag="));
    assert_eq!(w.noise(), [NoiseKind::Malformed]);
    w.receive_from(flow, "GET / HTTP/1.1\r\n\r\n");
    w.receive_from(flow, "SIP/2.0 200 OK\r\n\r\n");
    assert_eq!(w.noise(), [NoiseKind::Malformed; 2]);
    w.receive_from(flow, "\r\n\r\n");
    w.receive_from(flow, "");
    assert_eq!(w.noise(), []);
    w.silent();
}

#[test]
fn whoever_asks_without_end_gets_no_more_answers_and_a_trunk_always_does() {
    let (mut w, flow) = world();
    let scan = Flow { remote: "198.51.100.66:5060".parse().unwrap(), ..flow };
    let (request, broken) = (stray("OPTIONS", "<sip:100@192.0.2.1>"), "OPTIONS sip:a SIP/2.0\r\n");
    let broken = request.replacen(request.lines().next().unwrap(), broken.trim_end(), 1).replace("CSeq: 1", "CSeq: x");
    for _ in 0..100 {
        w.hear(scan, &request);
        w.hear(scan, &broken);
    }
    let noise = w.noise();
    let of = |kind| noise.iter().filter(|n| **n == kind).count();
    assert_eq!((w.wire.len(), of(NoiseKind::Flood)), (10, 190));
    w.overlook();
    for _ in 0..100 {
        w.receive(&request);
    }
    assert_eq!(w.wire.len(), 100, "the trunk's own address");
}
