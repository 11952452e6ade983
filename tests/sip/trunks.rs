//! Trunks: pings, IPv6, what a trusted one is told.

use revbridge::config::Trunk;
use revbridge::events::Notice;
use revbridge::leg::LegEvent;
use revbridge::model::E164;

use crate::peer::*;

fn health(w: &mut World) -> Vec<bool> {
    let health = |n: Notice| match n {
        Notice::TrunkHealth { in_service, .. } => Some(in_service),
        _ => None,
    };
    w.notices.drain(..).filter_map(health).collect()
}

#[test]
fn a_trunk_that_does_not_answer_takes_no_calls_until_it_does() {
    let mut w = World::with(Trunk { ping: Some(30 * SECOND), ..trunk("192.0.2.7:5070") });
    let number = E164::parse(TO).unwrap();
    w.pass(MS);
    let ping = w.sent("OPTIONS sip:192.0.2.7:5070 ");
    w.receive(&answer(&ping, 404, "x", ""));
    assert!(health(&mut w).is_empty());
    w.pass(30 * SECOND);
    let ping = w.sent("OPTIONS ");
    w.receive(&answer(&ping, 503, "x", ""));
    assert_eq!(health(&mut w), [false]);
    assert!(!w.endpoint.has_route(w.now, number));
    assert_eq!(w.endpoint.trunks_in_service(), 0);
    w.pass(30 * SECOND);
    let ping = w.sent("OPTIONS ");
    // A stranger's word, or one about another ping, counts for nothing.
    w.receive(&answer(&ping, 200, "x", "").replace(branch(&ping), "z9hG4bKx"));
    w.receive_from(
        revbridge::sip::Flow { remote: "192.0.2.7:1".parse().unwrap(), ..w.flow },
        &answer(&ping, 200, "x", ""),
    );
    assert!(health(&mut w).is_empty());
    w.receive(&answer(&ping, 200, "x", ""));
    assert_eq!(health(&mut w), [true]);
    assert!(w.endpoint.has_route(w.now, number));
    w.pass(62 * SECOND);
    assert_eq!(health(&mut w), [false]);
}

#[test]
fn ipv6_addresses_stand_in_brackets() {
    let mut w = World::with(trunk("[2001:db8::7]:5060"));
    let invite = w.invite();
    assert_eq!(request_uri(&invite), "sip:+14155550123@[2001:db8::7];user=phone");
    assert!(header(&invite, "Via").starts_with("SIP/2.0/UDP [2001:db8::1]:5060;branch="));
    assert_eq!(header(&invite, "Contact"), "<sip:+12025550100@[2001:db8::1]:5060>");
    assert!(header(&invite, "From").starts_with("<sip:+12025550100@[2001:db8::1]>;tag="));
    w.receive(&answer(&invite, 200, "peer", &with_sdp("Contact: <sip:bob@[2001:db8::9]:5062>\r\n")));
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
    w.end();
    w.sent("ACK sip:bob@[2001:db8::9]:5062 ");
}

#[test]
fn only_a_trusted_trunk_is_told_the_asserted_identity() {
    let mut w = World::with(Trunk { trusted: true, ..trunk("192.0.2.7:5070") });
    assert_eq!(header(&w.invite(), "P-Asserted-Identity"), "<sip:+12025550100@192.0.2.1>");
}
