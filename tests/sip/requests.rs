//! What else a peer may ask within the dialog (RFC 3261 §8.2, §12.2.2).

use revbridge::leg::LegEvent;

use crate::peer::*;

fn body(content_type: &str, body: &str) -> String {
    format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn digits_come_by_info() {
    let mut w = World::new();
    let invite = w.confirmed();
    let info = ask(&invite, "INFO", 1, "peer", &body("application/dtmf-relay", "Signal= 5\r\nDuration= 160\r\n"));
    w.receive(&info);
    w.sent("SIP/2.0 200 ");
    assert_eq!(w.event(), LegEvent::Digit('5'));
    w.receive(&info);
    w.sent("SIP/2.0 200 ");
    w.no_event();
    w.receive(&ask(&invite, "INFO", 2, "peer", &body("application/dtmf", "#")));
    w.sent("SIP/2.0 200 ");
    assert_eq!(w.event(), LegEvent::Digit('#'));
    w.receive(&ask(&invite, "INFO", 3, "peer", &body("application/dtmf", "12")));
    w.sent("SIP/2.0 400 ");
    w.receive(&ask(&invite, "INFO", 4, "peer", &body("application/media_control+xml", "<x/>")));
    assert!(has(&w.sent("SIP/2.0 415 "), "Accept"));
    w.receive(&ask(&invite, "INFO", 5, "peer", ""));
    w.sent("SIP/2.0 200 ");
    w.no_event();
}

#[test]
fn options_says_what_we_do() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "OPTIONS", 1, "peer", ""));
    let ok = w.sent("SIP/2.0 200 ");
    assert!(has(&ok, "Allow") && has(&ok, "Accept"));
}

#[test]
fn what_is_not_ours_is_refused_and_never_told() {
    let mut w = World::new();
    let invite = w.confirmed();
    let methods = ["REFER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "PUBLISH", "REGISTER"];
    for (cseq, method) in (1..).zip(methods) {
        w.receive(&ask(&invite, method, cseq, "peer", "Refer-To: <sip:+19005550100@198.51.100.9>\r\n"));
        assert!(has(&w.sent("SIP/2.0 405 "), "Allow"), "{method}");
    }
    // RFC 3262 §3: nothing reliable was sent.
    w.receive(&ask(&invite, "PRACK", 19, "peer", "RAck: 1 1 INVITE\r\n"));
    w.sent("SIP/2.0 481 ");
    w.receive(&ask(&invite, "JUMP", 20, "peer", ""));
    w.sent("SIP/2.0 501 ");
    w.receive(&ask(&invite, "OPTIONS", 21, "peer", "Require: 100rel, foo\r\n"));
    assert_eq!(header(&w.sent("SIP/2.0 420 "), "Unsupported"), "foo", "what we can do is not named");
    w.receive(&ask(&invite, "INVITE", 22, "peer", &body("application/isup", "x")));
    assert_eq!(header(&w.sent("SIP/2.0 415 "), "Accept"), "application/sdp");
    w.receive(&ask(&invite, "INVITE", 23, "peer", &body("application/sdp", "v=0\r\nnonsense")));
    w.sent("SIP/2.0 400 ");
    w.receive(&ask(&invite, "INVITE", 24, "peer", &with_sdp("")).replace("Max-Forwards: 70", "Max-Forwards: 0"));
    w.sent("SIP/2.0 483 ");
    w.no_event();
}

#[test]
fn requests_come_in_order_or_get_500() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "OPTIONS", 2_147_483_646, "peer", ""));
    w.sent("SIP/2.0 200 ");
    w.receive(&ask(&invite, "INFO", 5, "peer", ""));
    w.sent("SIP/2.0 500 ");
    w.receive(&ask(&invite, "INFO", 2_147_483_646, "peer", ""));
    w.sent("SIP/2.0 500 ");
    w.receive(&ask(&invite, "BYE", 2_147_483_647, "peer", ""));
    w.sent("SIP/2.0 200 ");
    assert!(matches!(w.event(), LegEvent::Hangup(_)));
}

#[test]
fn a_peer_that_asks_without_end_is_told_to_wait_and_may_still_hang_up() {
    let mut w = World::new();
    let invite = w.confirmed();
    for cseq in 1..=16 {
        w.receive(&ask(&invite, "OPTIONS", cseq, "peer", ""));
        w.sent("SIP/2.0 200 ");
    }
    w.receive(&ask(&invite, "OPTIONS", 17, "peer", ""));
    w.sent("SIP/2.0 503 ");
    w.receive(&ask(&invite, "BYE", 18, "peer", ""));
    w.sent("SIP/2.0 200 ");
    assert!(matches!(w.event(), LegEvent::Hangup(_)));
}

#[test]
fn routes_are_loose_strict_or_too_many() {
    let cases = [
        ("<sip:p1;lr>,<sip:p2;lr>", "sip:bob@198.51.100.9", vec!["<sip:p2;lr>", "<sip:p1;lr>"]),
        ("<sip:p1;lr>, <sip:p2>", "sip:p2", vec!["<sip:p1;lr>", "<sip:bob@198.51.100.9>"]),
    ];
    for (record_route, uri, routes) in cases {
        let mut w = World::new();
        let invite = w.invite();
        let headers = format!("Record-Route: {record_route}\r\nContact: <sip:bob@198.51.100.9>\r\n");
        w.receive(&answer(&invite, 200, "peer", &with_sdp(&headers)));
        w.end();
        for message in [w.sent("ACK "), w.sent("BYE ")] {
            assert_eq!(request_uri(&message), uri);
            let sent: Vec<_> = message.lines().filter_map(|l| l.strip_prefix("Route: ")).collect();
            assert_eq!(sent, routes);
        }
    }
    let mut w = World::new();
    let invite = w.invite();
    let headers = "Record-Route: <sip:p;lr>\r\n".repeat(17);
    w.receive(&answer(&invite, 200, "peer", &with_sdp(&headers)));
    w.end();
    assert!(!has(&w.sent("ACK "), "Route"));
}
