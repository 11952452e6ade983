//! Reading, writing and agreeing, with what phones really send.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const G711: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent];

fn local() -> Local {
    Local { session_id: 7, version: 1, rtp: "192.0.2.1:20000".parse().unwrap() }
}

fn parse(lines: &[&str]) -> Result<Description, SdpError> {
    let head = ["v=0", "o=alice 2890844526 2890844527 IN IP4 198.51.100.1", "s=call"];
    Description::parse((head.iter().chain(lines).map(|l| format!("{l}\r\n")).collect::<String>()).as_bytes())
}

fn sdp(lines: &[&str]) -> Description {
    parse(lines).unwrap()
}

fn answer(lines: &[&str]) -> Result<(Description, Agreed), NegotiationError> {
    answer_offer(&sdp(lines), local(), &G711)
}

#[test]
fn a_format_that_is_named_again_is_one_format() {
    let formats = "0 8 ".repeat(60) + "101 101";
    let theirs = sdp(&["c=IN IP4 192.0.2.9", "t=0 0", &format!("m=audio 4000 RTP/AVP {formats}")]);
    assert_eq!(theirs.media[0].formats.iter().map(|f| f.payload_type).collect::<Vec<_>>(), [0, 8, 101]);
    let (answer, agreed) = answer_offer(&theirs, local(), &G711).unwrap();
    assert_eq!((answer.media[0].formats.len(), agreed.audio.len()), (2, 2));
}

#[test]
fn our_offer_to_the_byte() {
    let text = offer(local(), &G711).to_string();
    let lines = [
        "v=0",
        "o=- 7 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ];
    assert_eq!(text, lines.join("\r\n"));
    assert_eq!(Description::parse(text.as_bytes()).unwrap(), offer(local(), &G711));
}

#[test]
fn only_what_is_asked_for_is_offered() {
    let formats =
        |codecs: &[Codec]| offer(local(), codecs).media[0].formats.iter().map(|f| f.payload_type).collect::<Vec<_>>();
    assert_eq!(formats(&[Codec::Pcma, Codec::Other]), [8]);
    assert_eq!(formats(&[Codec::Pcma, Codec::Pcmu, Codec::TelephoneEvent]), [8, 0, 101]);
}

#[test]
fn a_second_parser_reads_what_we_write() {
    let mut description = offer(Local { rtp: "[2001:db8::1]:20000".parse().unwrap(), ..local() }, &G711);
    description.media[0].address = Some("2001:db8::2".parse().unwrap());
    let text = description.to_string();
    let session = sdp_types::Session::parse(text.as_bytes()).unwrap();
    assert_eq!(session.origin.unicast_address, "2001:db8::1");
    assert_eq!(session.medias[0].port, 20000);
    assert_eq!(session.medias[0].fmt, "0 8 101");
    assert_eq!(session.medias[0].connections[0].connection_address, "2001:db8::2");
    assert_eq!(Description::parse(text.as_bytes()).unwrap(), description);
}

#[test]
fn an_answer_in_the_answerers_order_and_payload_types() {
    let ours = offer(local(), &G711);
    let theirs =
        sdp(&["c=IN IP4 203.0.113.5", "t=0 0", "m=audio 4000 RTP/AVP 8 0 96", "a=rtpmap:96 telephone-event/8000"]);
    let agreed = accept_answer(&ours, &theirs).unwrap();
    assert_eq!(agreed.remote, Some("203.0.113.5:4000".parse().unwrap()));
    assert_eq!(agreed.remote_rtcp, Some("203.0.113.5:4001".parse().unwrap()));
    assert_eq!(agreed.codecs()[..], [Codec::Pcma, Codec::Pcmu, Codec::TelephoneEvent]);
    assert_eq!(agreed.telephone_event, Some(96));
    assert_eq!(agreed.peer_direction, Direction::SendRecv);
}

#[test]
fn answers_that_come_to_nothing() {
    let ours = offer(local(), &[Codec::Pcmu]);
    let with = |lines: &[&str]| accept_answer(&ours, &sdp(lines)).unwrap_err();
    let connection = "c=IN IP4 203.0.113.5";
    assert_eq!(with(&[connection, "m=audio 0 RTP/AVP 0"]), NegotiationError::Refused);
    assert_eq!(with(&[connection, "m=audio 4000 RTP/AVP 8"]), NegotiationError::NoCommonCodec);
    assert_eq!(with(&[connection, "m=audio 4000 RTP/AVP 9 101"]), NegotiationError::NoCommonCodec);
    assert_eq!(with(&[connection]), NegotiationError::MediaMismatch);
    assert_eq!(with(&[connection, "m=video 4000 RTP/AVP 0"]), NegotiationError::MediaMismatch);
    assert_eq!(with(&["m=audio 1 RTP/AVP 0", "m=audio 1 RTP/AVP 0"]), NegotiationError::MediaMismatch);
}

#[test]
fn section_by_section_in_its_place() {
    let (answer, agreed) = answer(&[
        "c=IN IP4 203.0.113.5",
        "m=video 4002 RTP/AVP 31",
        "m=audio 4000 RTP/AVP 9 8 0 18 97",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:97 telephone-event/8000",
        "m=image 4004 udptl t38",
        "m=audio 4006 RTP/AVP 0",
    ])
    .unwrap();
    let ports: Vec<u16> = answer.media.iter().map(|m| m.port).collect();
    assert_eq!(ports, [0, 20000, 0, 0]);
    assert_eq!(agreed.codecs()[..], [Codec::Pcma, Codec::Pcmu, Codec::TelephoneEvent]);
    let text = answer.to_string();
    assert!(text.contains("m=video 0 RTP/AVP 31\r\nm=audio 20000 RTP/AVP 8 0 97\r\n"), "{text}");
    assert!(text.contains("a=rtpmap:97 telephone-event/8000\r\na=fmtp:97 0-15\r\n"), "{text}");
    assert!(text.contains("m=image 0 udptl 0\r\nm=audio 0 RTP/AVP 0\r\n"), "{text}");
}

#[test]
fn hold_is_mirrored() {
    for (attribute, connection, peer, ours) in [
        ("a=sendonly", "203.0.113.5", Direction::SendOnly, Direction::RecvOnly),
        ("a=recvonly", "203.0.113.5", Direction::RecvOnly, Direction::SendOnly),
        ("a=inactive", "203.0.113.5", Direction::Inactive, Direction::Inactive),
        ("a=sendrecv", "0.0.0.0", Direction::SendOnly, Direction::RecvOnly),
        ("a=inactive", "0.0.0.0", Direction::Inactive, Direction::Inactive),
    ] {
        let connection = format!("c=IN IP4 {connection}");
        let (answer, agreed) = answer(&[&connection, "m=audio 4000 RTP/AVP 0", attribute]).unwrap();
        assert_eq!((agreed.peer_direction, answer.media[0].direction), (peer, ours), "{attribute} {connection}");
        assert_eq!(agreed.remote.is_none(), connection.contains("0.0.0.0"));
        assert_eq!(answer.media[0].port, 20000);
    }
}

#[test]
fn a_session_attribute_is_the_sections_default() {
    let lines = ["c=IN IP4 203.0.113.5", "a=sendonly", "m=audio 1 RTP/AVP 0", "m=audio 2 RTP/AVP 0", "a=sendrecv"];
    let media = sdp(&lines).media;
    assert_eq!((media[0].direction, media[1].direction), (Direction::SendOnly, Direction::SendRecv));
}

#[test]
fn addresses_of_session_and_section() {
    let address = |lines: &[&str]| sdp(lines).media[0].address;
    let ip = |text: &str| text.parse::<IpAddr>().ok();
    assert_eq!(address(&["c=IN IP4 203.0.113.5", "m=audio 1 RTP/AVP 0"]), ip("203.0.113.5"));
    assert_eq!(address(&["c=IN IP4 203.0.113.5", "m=audio 1 RTP/AVP 0", "c=IN IP4 203.0.113.6"]), ip("203.0.113.6"));
    assert_eq!(address(&["m=audio 1 RTP/AVP 0", "c=IN IP6 2001:db8::6"]), ip("2001:db8::6"));
    assert_eq!(address(&["c=IN IP4 phone.example.com", "m=audio 1 RTP/AVP 0"]), None);
    assert_eq!(address(&["c=IN IP4 224.2.36.42/127", "m=audio 1 RTP/AVP 0"]), None);
    assert_eq!(address(&["c=IN IP6 ff15::101/3", "m=audio 1 RTP/AVP 0"]), None);
    assert_eq!(address(&["c=IN IP6 203.0.113.5", "m=audio 1 RTP/AVP 0"]), None);
    assert_eq!(address(&["m=audio 1 RTP/AVP 0"]), None);
    let (_, agreed) = answer(&["c=IN IP4 phone.example.com", "m=audio 4000 RTP/AVP 0"]).unwrap();
    assert_eq!((agreed.remote, agreed.remote_rtcp), (None, None));
}

#[test]
fn rtcp_where_the_peer_wants_it() {
    let rtcp = |line: &str| answer(&["c=IN IP4 203.0.113.5", "m=audio 4000 RTP/AVP 0", line]).unwrap().1.remote_rtcp;
    assert_eq!(rtcp("a=rtcp:53020"), Some("203.0.113.5:53020".parse().unwrap()));
    assert_eq!(rtcp("a=rtcp:53020 IN IP6 2001:db8::1"), Some("[2001:db8::1]:53020".parse().unwrap()));
    assert_eq!(rtcp("a=rtcp:0"), Some("203.0.113.5:4001".parse().unwrap()));
    assert_eq!(rtcp("a=rtcp:5 IN IP4 0.0.0.0"), None);
    let last = answer(&["c=IN IP4 203.0.113.5", "m=audio 65535 RTP/AVP 0"]).unwrap().1;
    assert_eq!(last.remote_rtcp, None);
}

#[test]
fn payload_types_and_what_they_stand_for() {
    let codecs = |lines: &[&str]| sdp(lines).media[0].formats.iter().map(|f| f.codec).collect::<Vec<_>>();
    assert_eq!(codecs(&["m=audio 1 RTP/AVP 0 8 18"]), [Codec::Pcmu, Codec::Pcma, Codec::Other]);
    assert_eq!(
        codecs(&["m=audio 1 RTP/AVP 96 97", "a=rtpmap:96 pcma/8000/1", "a=rtpmap:97 PCMU/16000"]),
        [Codec::Pcma, Codec::Other]
    );
    assert_eq!(codecs(&["m=audio 1 RTP/AVP 0", "a=rtpmap:0 OPUS/48000/2"]), [Codec::Other]);
    assert_eq!(codecs(&["m=audio 1 RTP/AVP 101 300 x", "a=rtpmap:101 telephone-event/8000"]), [Codec::TelephoneEvent]);
    assert_eq!(
        answer(&["m=audio 1 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"]),
        Err(NegotiationError::NoCommonCodec)
    );
}

/// A peer that offers SRTP as it may be declined: keys beside plain RTP (RFC 4568), or two sections for one stream.
#[test]
fn encryption_is_declined_where_it_is_optional() {
    let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let (ours, agreed) = answer(&["c=IN IP4 203.0.113.5", "m=audio 4000 RTP/AVP 0", crypto]).unwrap();
    assert_eq!((agreed.audio.len(), ours.to_string().contains("crypto")), (1, false));
    let (ours, agreed) =
        answer(&["c=IN IP4 203.0.113.5", "m=audio 4000 RTP/SAVP 0", crypto, "m=audio 4000 RTP/AVP 0"]).unwrap();
    assert_eq!(ours.media.iter().map(|section| section.port == 0).collect::<Vec<_>>(), [true, false]);
    assert_eq!(agreed.audio.len(), 1);
}

#[test]
fn offers_that_come_to_nothing() {
    assert_eq!(answer(&["m=audio 0 RTP/AVP 0"]), Err(NegotiationError::Refused));
    assert_eq!(answer(&["m=audio 1 RTP/SAVP 0"]), Err(NegotiationError::NoAudio));
    assert_eq!(answer(&["m=video 1 RTP/AVP 31"]), Err(NegotiationError::NoAudio));
    assert_eq!(answer(&[]), Err(NegotiationError::NoAudio));
    assert_eq!(answer(&["m=audio 1 RTP/AVP"]), Err(NegotiationError::NoCommonCodec));
}

#[test]
fn nonsense_is_refused() {
    for bytes in ["", "v=1\r\n", "v=0", "v=0\r\ns=-\r\n", "o=- 1 1 IN IP4 1.2.3.4\r\nv=0\r\n", "<html>"] {
        assert_eq!(Description::parse(bytes.as_bytes()), Err(SdpError::NotSdp), "{bytes}");
    }
    for line in [
        "m=",
        "m=audio",
        "m=audio 1",
        "m=audio 70000 RTP/AVP 0",
        "m=audio -1 RTP/AVP 0",
        "m=au(dio 1 RTP/AVP 0",
        "m=audio 1 RTP//AVP 0",
        "m=averyveryveryveryveryverylongmediakind 1 RTP/AVP 0",
    ] {
        assert_eq!(parse(&[line]), Err(SdpError::MediaLine), "{line}");
    }
    assert_eq!(parse(&["c=IN"]), Err(SdpError::Connection));
    assert_eq!(parse(&["c=ATM NSAP 47"]), Err(SdpError::Connection));
}

#[test]
fn too_much_is_refused_before_it_is_read() {
    assert_eq!(parse(&vec!["a=x"; 257]), Err(SdpError::TooManyAttributes));
    assert_eq!(parse(&vec!["m=audio 1 RTP/AVP 0"; 33]), Err(SdpError::TooManyMedia));
    assert_eq!(parse(&vec!["b=AS:64"; 600]), Err(SdpError::TooLong));
    // 10⁵ lines are refused by their length alone.
    assert_eq!(parse(&vec!["a=x"; 100_000]), Err(SdpError::TooLong));
    let formats: String = (0..1000).map(|n| format!(" {}", n % 128)).collect();
    assert_eq!(sdp(&[&format!("m=audio 1 RTP/AVP{formats}")]).media[0].formats.len(), limits::FORMATS);
}

#[test]
fn line_ends_and_odd_numbers_are_forgiven() {
    let text = "v=0\no=- 99999999999999999999 -1 IN IP4 host\ns=\u{e9}\nc=IN IP4 203.0.113.5 \nm=audio 4000/2 RTP/AVP 0\na=ptime:30\n";
    let latin: Vec<u8> = text.chars().map(|c| c as u32 as u8).collect();
    let description = Description::parse(&latin).unwrap();
    assert_eq!((description.origin.session_id, description.origin.version), (0, 0));
    assert_eq!((description.media[0].port, description.media[0].ptime), (4000, Some(30)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Description::parse(&bytes);
        let _ = Description::parse(&[b"v=0\r\n", &bytes[..]].concat());
    }

    #[test]
    fn arbitrary_lines_give_whole_answers(lines in proptest::collection::vec("[mcaot]=[ -~]{0,40}|m=(audio|video) [0-9]{1,5} RTP/AVP( [0-9]{1,3}){0,5}|a=rtpmap:[0-9]{1,3} (PCMU|PCMA|telephone-event)/8000|c=IN IP4 [0-9]{1,3}\\.0\\.0\\.1", 0..12)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        if let Ok(offer) = parse(&lines)
            && let Ok((answer, agreed)) = answer_offer(&offer, local(), &G711)
        {
            prop_assert_eq!(answer.media.len(), offer.media.len());
            prop_assert_eq!(answer.media.iter().filter(|m| m.port != 0).count(), 1);
            prop_assert!(!agreed.audio.is_empty());
            let again = Description::parse(answer.to_string().as_bytes()).unwrap();
            prop_assert_eq!(again.media.len(), offer.media.len());
        }
    }
}
