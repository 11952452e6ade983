//! TCP and TLS: what a connection changes, and what becomes of a leg that loses one (RFC 3261 §17, §18).

use revbridge::config::{Transport, Trunk};
use revbridge::events::{NoiseKind, Notice};
use revbridge::leg::{LegCommand, LegEvent, Loss};
use revbridge::sip::{Down, Flow};

use crate::peer::*;

fn on(transport: Transport) -> World {
    World::with(Trunk::at("carrier", transport, "192.0.2.7:5070".parse().unwrap()))
}

/// A connection that the peer has made.
fn made_by_peer(w: &World, port: u16) -> Flow {
    Flow { remote: (w.flow.remote.ip(), port).into(), ..w.flow }
}

#[test]
fn every_message_names_its_transport_and_nothing_is_sent_twice() {
    for (transport, via, parameter, port) in [
        (Transport::Tcp, "SIP/2.0/TCP", ";transport=tcp", 5060),
        (Transport::Tls, "SIP/2.0/TLS", ";transport=tls", 5061),
    ] {
        let mut w = on(transport);
        let invite = w.invite();
        assert_eq!(request_uri(&invite), format!("sip:+14155550123@192.0.2.7:5070;user=phone{parameter}"));
        assert!(header(&invite, "Via").starts_with(&format!("{via} 192.0.2.1:{port};branch=")), "{invite}");
        assert_eq!(header(&invite, "Contact"), format!("<sip:+12025550100@192.0.2.1:{port}{parameter}>"));
        // RFC 3261 §19.1.1: no transport in a To.
        assert_eq!(header(&invite, "To"), "<sip:+14155550123@192.0.2.7:5070;user=phone>");
        w.pass(31 * SECOND);
        w.silent();
        w.pass(SECOND);
        assert_eq!(w.event(), LegEvent::Lost(Loss::Timeout));
        w.silent();
    }
}

#[test]
fn the_usual_port_is_not_written() {
    for (transport, port, shown) in [(Transport::Tls, 5061, "192.0.2.7;"), (Transport::Tcp, 5061, "192.0.2.7:5061;")] {
        let mut w = World::with(Trunk::at("carrier", transport, format!("192.0.2.7:{port}").parse().unwrap()));
        let invite = w.invite();
        assert!(request_uri(&invite).starts_with(&format!("sip:+14155550123@{shown}")), "{invite}");
    }
}

#[test]
fn a_refusal_is_acknowledged_and_again_when_the_peer_repeats_it_on_another_connection() {
    let mut w = on(Transport::Tcp);
    let invite = w.invite();
    w.receive(&answer(&invite, 486, "peer", ""));
    assert!(header(&w.sent("ACK "), "Via").starts_with("SIP/2.0/TCP "));
    assert!(matches!(w.event(), LegEvent::Refused { status: 486, .. }));
    w.receive_from(made_by_peer(&w, 40_000), &answer(&invite, 486, "peer", ""));
    w.sent("ACK ");
    w.pass(40 * SECOND);
    w.silent();
    w.no_event();
}

#[test]
fn an_invite_whose_connection_is_lost_is_sent_again_with_its_branch() {
    let mut w = on(Transport::Tcp);
    let invite = w.invite();
    w.down(w.flow, Down::Closed);
    w.silent();
    w.pass(500 * MS);
    assert_eq!(w.sent("INVITE "), invite);
    w.receive(&answer(&invite, 180, "peer", ""));
    assert!(matches!(w.event(), LegEvent::Progress { status: 180, .. }));
    // It rings: the answer comes on whatever connection the peer makes.
    w.down(w.flow, Down::Closed);
    w.pass(20 * SECOND);
    w.silent();
    w.receive_from(
        made_by_peer(&w, 40_001),
        &answer(&invite, 200, "peer", &with_sdp("Contact: <sip:b@192.0.2.7>\r\n")),
    );
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
    w.command(LegCommand::Ack);
    w.sent("ACK ");
    assert_eq!(w.on, w.flow, "a request goes to the trunk's own address");
}

#[test]
fn an_invite_that_may_have_arrived_is_not_given_up_because_the_peer_cannot_be_reached_now() {
    let mut w = on(Transport::Tcp);
    let invite = w.invite();
    w.down(w.flow, Down::Closed);
    w.pass(500 * MS);
    w.sent("INVITE ");
    w.down(w.flow, Down::Unreachable);
    w.no_event();
    w.pass(SECOND);
    assert_eq!(w.sent("INVITE "), invite);
    w.end();
    w.silent();
    // It rang all the while.
    w.receive_from(made_by_peer(&w, 40_001), &answer(&invite, 180, "peer", ""));
    w.sent("CANCEL ");
}

#[test]
fn a_trunk_that_cannot_be_connected_to_is_lost_at_once_and_so_is_one_that_is_not_believed() {
    for (why, loss) in [(Down::Unreachable, Loss::Transport), (Down::Certificate, Loss::Certificate)] {
        let mut w = on(Transport::Tls);
        w.invite();
        w.down(made_by_peer(&w, 40_002), why);
        w.no_event();
        w.down(w.flow, why);
        assert_eq!(w.event(), LegEvent::Lost(loss));
        w.pass(40 * SECOND);
        w.silent();
        w.no_event();
    }
}

#[test]
fn a_bye_leaves_though_the_connection_of_its_call_is_dead() {
    let mut w = on(Transport::Tls);
    w.confirmed();
    w.down(w.flow, Down::Closed);
    w.pass(SECOND);
    w.silent();
    w.end();
    let bye = w.sent("BYE ");
    // Sent into what was not yet known to be dead, then into what refuses, until somebody answers.
    w.down(w.flow, Down::Closed);
    w.pass(500 * MS);
    assert_eq!(w.sent("BYE "), bye);
    w.down(w.flow, Down::Unreachable);
    w.pass(SECOND);
    assert_eq!(w.sent("BYE "), bye);
    w.no_event();
    w.receive(&answer(&bye, 200, "peer", ""));
    assert_eq!(w.event(), LegEvent::Gone);
    w.pass(40 * SECOND);
    w.silent();
}

#[test]
fn a_bye_that_reaches_nobody_ends_with_timer_f() {
    let mut w = on(Transport::Tcp);
    w.confirmed();
    w.end();
    w.sent("BYE ");
    w.down(w.flow, Down::Unreachable);
    w.pass(32 * SECOND);
    assert_eq!(w.event(), LegEvent::Gone);
    assert!(w.wire.len() >= 8, "it was tried {} times", w.wire.len());
}

#[test]
fn a_request_is_answered_on_its_connection_and_after_its_loss_where_the_peer_listens() {
    let mut w = on(Transport::Tcp);
    let invite = w.confirmed();
    let theirs = made_by_peer(&w, 40_003);
    let reinvite = ask(&invite, "INVITE", 7, "peer", &with_sdp("")).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    w.receive_from(theirs, &reinvite);
    assert!(matches!(w.event(), LegEvent::Offer { early: None, sdp: Some(_) }));
    w.command(LegCommand::Answer(session(2)));
    let ok = w.sent("SIP/2.0 200 ");
    assert_eq!(w.on, theirs);
    w.down(theirs, Down::Closed);
    w.overlook();
    // RFC 3261 §13.3.1.4: a 2xx is repeated on any transport, and §18.2.2 says where.
    w.pass(500 * MS);
    assert_eq!(w.sent("SIP/2.0 200 "), ok);
    assert_eq!(w.on, made_by_peer(&w, 5070), "the port of its Via");
}

#[test]
fn a_refused_reinvite_whose_connection_is_lost_is_refused_again_elsewhere() {
    let mut w = on(Transport::Tcp);
    let invite = w.confirmed();
    let theirs = made_by_peer(&w, 40_004);
    w.receive_from(theirs, &ask(&invite, "INVITE", 7, "peer", &with_sdp("")));
    w.event();
    w.command(LegCommand::RefuseOffer);
    let refusal = w.sent("SIP/2.0 488 ");
    w.pass(5 * SECOND);
    w.silent();
    w.down(theirs, Down::Closed);
    w.pass(500 * MS);
    assert_eq!(w.sent("SIP/2.0 488 "), refusal);
    assert_eq!(w.on, made_by_peer(&w, 5070));
}

#[test]
fn a_leg_on_tls_hears_nothing_weaker_and_one_on_tcp_no_other_host() {
    let mut w = on(Transport::Tls);
    let invite = w.confirmed();
    w.notices.clear();
    let bye = ask(&invite, "BYE", 7, "peer", "");
    for transport in [Transport::Tcp, Transport::Udp] {
        w.receive_from(Flow { transport, ..w.flow }, &bye);
    }
    assert_eq!(w.noise(), [NoiseKind::Stranger; 2]);
    let mut w = on(Transport::Tcp);
    let invite = w.confirmed();
    w.notices.clear();
    let elsewhere = Flow { remote: "192.0.2.8:5070".parse().unwrap(), ..w.flow };
    w.receive_from(elsewhere, &ask(&invite, "BYE", 7, "peer", ""));
    w.receive_from(Flow { transport: Transport::Udp, ..w.flow }, &ask(&invite, "BYE", 7, "peer", ""));
    assert_eq!(w.noise(), [NoiseKind::Stranger; 2]);
    w.silent();
    w.no_event();
}

#[test]
fn a_peer_on_tls_may_name_itself_by_sips() {
    let mut w = on(Transport::Tls);
    let invite = w.invite();
    w.receive(&answer(&invite, 200, "peer", &with_sdp("Contact: <sips:bob@192.0.2.9:5061>\r\n")));
    w.command(LegCommand::Ack);
    assert_eq!(request_uri(&w.sent("ACK ")), "sips:bob@192.0.2.9:5061");
    let mut w = on(Transport::Tcp);
    let invite = w.invite();
    w.receive(&answer(&invite, 200, "peer", &with_sdp("Contact: <sips:bob@192.0.2.9:5061>\r\n")));
    w.command(LegCommand::Ack);
    assert_eq!(request_uri(&w.sent("ACK ")), "sip:+14155550123@192.0.2.7:5070;user=phone;transport=tcp");
}

/// An INVITE whose answer to this challenge is longer than UDP carries.
fn challenged(w: &mut World, invite: &str) -> String {
    let nonce = "n".repeat(900);
    let challenge = format!("WWW-Authenticate: Digest realm=\"carrier.example\", nonce=\"{nonce}\", qop=\"auth\"\r\n");
    w.receive(&answer(invite, 401, "x", &challenge));
    w.sent("ACK ");
    w.sent("INVITE ")
}

fn with_credentials() -> World {
    World::with(Trunk { credentials: Some(credentials()), ..trunk("192.0.2.7:5070") })
}

#[test]
fn a_request_that_is_too_long_for_udp_goes_by_tcp() {
    let mut w = with_credentials();
    let invite = w.invite();
    assert_eq!(w.on.transport, Transport::Udp);
    let long = challenged(&mut w, &invite);
    let tcp = Flow { transport: Transport::Tcp, ..w.flow };
    assert!(long.len() > 1_300);
    assert_eq!(w.on, tcp);
    assert!(header(&long, "Via").starts_with("SIP/2.0/TCP 192.0.2.1:5060;"), "{long}");
    w.pass(10 * SECOND);
    w.silent();
    w.receive_from(tcp, &answer(&long, 180, "peer", ""));
    assert!(matches!(w.event(), LegEvent::Progress { .. }));
    // RFC 3261 §9.1: where the INVITE went.
    w.end();
    let cancel = w.sent("CANCEL ");
    assert_eq!((w.on, branch(&cancel)), (tcp, branch(&long)));
    w.receive_from(tcp, &answer(&cancel, 200, "peer", ""));
    w.receive_from(tcp, &answer(&long, 487, "peer", ""));
    w.sent("ACK ");
    assert_eq!(w.on, tcp);
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn a_peer_without_tcp_gets_the_long_request_by_udp_after_all() {
    let mut w = with_credentials();
    let invite = w.invite();
    let long = challenged(&mut w, &invite);
    let tcp = w.on;
    w.down(tcp, Down::Unreachable);
    let again = w.sent("INVITE ");
    assert_eq!(w.on, w.flow);
    assert_eq!(again, long.replace("SIP/2.0/TCP", "SIP/2.0/UDP"));
    w.pass(500 * MS);
    assert_eq!(w.sent("INVITE "), again, "timer A is UDP's");
    w.receive(&answer(&again, 200, "peer", &with_sdp("Contact: <sip:b@192.0.2.7>\r\n")));
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
}

#[test]
fn after_a_restart_the_way_of_a_long_invite_is_known() {
    let mut w = with_credentials();
    let invite = w.invite();
    let long = challenged(&mut w, &invite);
    let tcp = w.on;
    w.receive_from(tcp, &answer(&long, 180, "peer", ""));
    w.restart(w.snapshot());
    w.end();
    let cancels: Vec<_> = std::iter::from_fn(|| (!w.wire.is_empty()).then(|| (w.sent("CANCEL "), w.on))).collect();
    assert!(cancels.iter().any(|(cancel, on)| *on == tcp && branch(cancel) == branch(&long)), "{cancels:#?}");
}

#[test]
fn a_trunk_that_cannot_be_connected_to_is_out_of_service_at_once() {
    let ping = Some(30 * SECOND);
    let mut w = World::with(Trunk { ping, ..Trunk::at("carrier", Transport::Tls, "192.0.2.7:5061".parse().unwrap()) });
    w.pass(MS);
    let options = w.sent("OPTIONS sip:192.0.2.7;transport=tls ");
    assert!(header(&options, "Via").starts_with("SIP/2.0/TLS "));
    w.down(w.flow, Down::Certificate);
    assert!(w.notices.iter().any(|n| matches!(n, Notice::TrunkHealth { in_service: false, .. })));
    w.pass(30 * SECOND);
    let options = w.sent("OPTIONS ");
    w.receive_from(made_by_peer(&w, 40_005), &answer(&options, 200, "x", ""));
    assert_eq!(w.endpoint.trunks_in_service(), 1);
}
