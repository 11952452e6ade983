//! What the door must not stop: what a request has to say, though it looks like something of the other party.

use std::collections::BTreeSet;

use super::*;
use crate::config::Privacy;

/// What a request has to say is no leak, however much it reads like the end of the other party's number.
#[test]
fn a_user_whose_number_reads_like_an_address_is_called_as_any_other() {
    for user in [
        // The carrier's 198.51.100.20, our own 203.0.113.77, our account there, and what the carrier wants to be reached
        // by: a proxy at 192.0.2.117, which marks its dialogs, and a phone at 198.51.100.9.
        "+14155110020",
        "+14153011377",
        "+14155559944",
        "+14155558844",
        "+14159202117",
        "+14155557731",
        "+14158511009",
        // The count of a nonce is 00000001.
        "+14150000001",
    ] {
        let (mut store, mut a) = (Store::new(), Node::new("203.0.113.77:5060", start()));
        let dial = Dial { connect: UserLeg::Phone(number(user)), ..dial() };
        a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial))));
        let (flow, invite) = a.sent("INVITE ");
        a.answer(&mut store, flow, &invite, 200);
        a.sent("ACK ");
        let (flow, invite) = a.sent("INVITE sip:+12125550123@198.51.100.20");
        let challenge = "WWW-Authenticate: Digest realm=\"realm-5558844\", nonce=\"abc\", qop=\"auth\"\r\n";
        a.answer_with(&mut store, flow, &invite, 401, challenge);
        let (flow, invite) = a.sent("INVITE sip:+12125550123@198.51.100.20");
        assert!(invite.contains("Digest username=\"2025559944\""), "{invite}");
        let reached = "Record-Route: <sip:192.0.2.117;lr;did=5557731>\r\nContact: <sip:bob@198.51.100.9>\r\n";
        a.answer_with(&mut store, flow, &invite, 200, reached);
        let (_, ack) = a.sent("ACK sip:bob@198.51.100.9 ");
        assert!(ack.contains("\r\nRoute: <sip:192.0.2.117;lr;did=5557731>\r\n"), "{ack}");
        assert_eq!(store.record().status, Status::InProgress, "{user}");
    }
}

/// A call to a user whose phone is reached by this, at a trunk that is asked for all that there is; what went to the
/// destination, its BYE last.
fn said_to_the_destination(contact: &str) -> Vec<String> {
    let carrier = Trunk::clone(&trunk("carrier", "+1212", CARRIER));
    let carrier = Trunk { trusted: true, privacy: Privacy::Id, session_expires: Some(1_800), ..carrier };
    let carrier = Trunk { reliable_provisionals: true, codecs: vec![Codec::Pcmu, Codec::TelephoneEvent], ..carrier };
    let trunks = [trunk("phones", "+1415", PHONE), Arc::new(carrier)];
    let (mut store, mut a) = (Store::new(), Node::with(NODE_A, start(), trunks));
    a.handle(&mut store, Input::Api(RequestId(1), Command::Dial(Box::new(dial()))));
    let (flow, invite) = a.sent("INVITE ");
    a.answer_with(&mut store, flow, &invite, 200, &format!("Contact: <sip:{contact}>\r\n"));
    a.sent("ACK ");
    let mut said = Vec::new();
    let mut hear = |a: &mut Node, start: &str| {
        let at =
            a.wire.iter().position(|(flow, text)| flow.remote == CARRIER.parse().unwrap() && text.starts_with(start));
        let (flow, text) = a.wire.remove(at.unwrap_or_else(|| panic!("{contact}: no {start}: {:?}", a.notices)));
        said.push(text.clone());
        (flow, text)
    };
    let (flow, invite) = hear(&mut a, "INVITE ");
    let challenge = "WWW-Authenticate: Digest realm=\"realm-5558844\", nonce=\"abc\", opaque=\"def\", qop=\"auth\"\r\n";
    a.answer_with(&mut store, flow, &invite, 401, challenge);
    hear(&mut a, "ACK ");
    let (flow, invite) = hear(&mut a, "INVITE ");
    let reliable = "Require: 100rel\r\nRSeq: 7\r\nContact: <sip:bob@198.51.100.9>\r\n";
    a.answer_with(&mut store, flow, &invite, 183, reliable);
    let (_, prack) = hear(&mut a, "PRACK ");
    a.answer_with(&mut store, flow, &prack, 200, "");
    let session = "Allow: UPDATE\r\nSupported: timer\r\nRequire: timer\r\nSession-Expires: 1800;refresher=uac\r\n\
                   Contact: <sip:bob@198.51.100.9>\r\n";
    a.answer_with(&mut store, flow, &invite, 200, session);
    hear(&mut a, "ACK ");
    let (organization, call) = (OrganizationId("acme".into()), store.record().id);
    a.handle(&mut store, Input::Api(RequestId(2), Command::Hangup { organization, call }));
    hear(&mut a, "BYE ");
    said
}

/// Each word of each request, in turn, is what the user's phone is reached by.
#[test]
fn the_words_of_the_protocol_are_no_leak() {
    let said = said_to_the_destination("somebody@198.51.100.10").concat();
    let words = said.split(|c: char| !c.is_ascii_alphabetic() && !"-._".contains(c));
    let words: BTreeSet<_> = words.filter(|word| word.len() >= 7).collect();
    assert!(words.contains("P-Asserted-Identity") && words.contains("response"), "{words:?}");
    for word in words {
        said_to_the_destination(&format!("{word}@198.51.100.10"));
        said_to_the_destination(word);
    }
}
