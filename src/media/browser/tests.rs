//! Offers of browsers, whole and bent.

use super::*;

/// What a browser of today offers, in short.
pub(in crate::media) const CHROMIUM: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2113937151 6f0c5a3e-1f1e-4c36-9e05-0a4a7b1f4ad8.local 51000 typ host\r\n\
    a=ice-ufrag:Hx4T\r\na=ice-pwd:fC0bEJpR7yqjEsRMkGpP3uoS\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    a=setup:actpass\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\n\
    a=msid:stream track\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n\
    a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\n\
    a=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
    a=ssrc:2231627014 cname:4TOk42mSjXCkVIa6\r\na=ssrc:2231627014 msid:stream track\r\n";

fn refused(text: &str) -> OfferError {
    BrowserOffer::parse(text).unwrap_err()
}

fn without(line: &str) -> String {
    let whole = CHROMIUM.split_inclusive("\r\n").find(|l| l.starts_with(line)).expect("the line is there");
    CHROMIUM.replace(whole, "")
}

#[test]
fn a_browsers_offer_is_read() {
    let offer = BrowserOffer::parse(CHROMIUM).unwrap();
    assert_eq!(&*offer.ice().ufrag, "Hx4T");
    assert_eq!(offer.fingerprint().0, std::array::from_fn(|n| n as u8));
    assert_eq!(offer.codecs()[..], [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent]);
    assert_eq!(offer.telephone_event(), Some(126));
    assert!(offer.bundle() && offer.direction() == Direction::SendRecv);
    assert_eq!(offer.sections()[0].mid.as_deref(), Some("0"));
    assert_eq!(BrowserOffer::parse(&CHROMIUM.replace("\r\n", "\n")), Ok(offer));
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?}", BrowserOffer::parse(CHROMIUM).unwrap());
    for secret in ["Hx4T", "fC0bEJpR7yqjEsRMkGpP3uoS", "0A", "10, 11", "4TOk42mSjXCkVIa6"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(refused("hello"), OfferError::NotSdp);
    assert_eq!(refused("v=0\r\n"), OfferError::NoAudio);
    assert_eq!(refused(&without("a=ice-ufrag")), OfferError::NoIce);
    assert_eq!(refused(&without("a=ice-pwd")), OfferError::NoIce);
    assert_eq!(refused(&without("a=fingerprint")), OfferError::NoFingerprint);
    assert_eq!(refused(&without("a=rtcp-mux")), OfferError::NoRtcpMux);
    assert_eq!(refused(&CHROMIUM.replace("sha-256", "sha-1")), OfferError::NoFingerprint);
    assert_eq!(refused(&CHROMIUM.replace("0A:0B", "0A0B")), OfferError::NoFingerprint);
    assert_eq!(refused(&CHROMIUM.replace("ufrag:Hx4T", "ufrag:H\"4T")), OfferError::NoIce);
    assert_eq!(refused(&CHROMIUM.replace("setup:actpass", "setup:passive")), OfferError::Setup);
    assert_eq!(refused(&CHROMIUM.replace("m=audio 9", "a=ice-lite\r\nm=audio 9")), OfferError::IceLite);
    assert_eq!(refused(&CHROMIUM.replace("m=audio 9 UDP/TLS/", "m=audio 9 ")), OfferError::NoAudio);
    assert_eq!(refused(&CHROMIUM.replace("m=audio 9", "m=audio 0")), OfferError::NoAudio);
    assert_eq!(refused(&CHROMIUM.replace("m=audio 9", "m=au/dio 9")), OfferError::Section);
    assert_eq!(refused(&CHROMIUM.replace("a=mid:0", "a=mid:0 1")), OfferError::Section);
}

#[test]
fn without_g711_there_is_no_common_codec() {
    let opus = CHROMIUM.replace("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 111 63 9 126");
    assert_eq!(refused(&opus), OfferError::NoCommonCodec);
    let mapped_away = CHROMIUM.replace("PCMU/8000", "L16/8000").replace("PCMA/8000", "PCMA/16000");
    assert_eq!(refused(&mapped_away), OfferError::NoCommonCodec);
    let only = BrowserOffer::parse(&CHROMIUM.replace("111 63 9 0 8 13 110 126", "8 111")).unwrap();
    assert_eq!((&only.codecs()[..], only.telephone_event()), (&[Codec::Pcma][..], None));
}

#[test]
fn bounds_are_kept() {
    let candidates = |n: usize| CHROMIUM.to_owned() + &"a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(n);
    assert!(BrowserOffer::parse(&candidates(999)).is_ok());
    assert_eq!(refused(&candidates(1_000)), OfferError::TooManyCandidates);
    assert_eq!(refused(&candidates(10_000)), OfferError::TooLong);
    let sections = CHROMIUM.to_owned() + &"m=video 0 UDP/TLS/RTP/SAVPF 96\r\n".repeat(32);
    assert_eq!(refused(&sections), OfferError::TooManySections);
    assert_eq!(refused(&format!("{CHROMIUM}a={}", "x".repeat(limits::BYTES))), OfferError::TooLong);
}

#[test]
fn other_sections_keep_their_place() {
    let (session, audio) = CHROMIUM.split_at(CHROMIUM.find("m=audio").unwrap());
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:v\r\na=ice-ufrag:else\r\na=sendonly\r\n";
    let offer = BrowserOffer::parse(&[session, video, audio].concat()).unwrap();
    let sections: Vec<_> = offer.sections().iter().map(|s| (&*s.kind, &*s.format, s.is_used)).collect();
    assert_eq!(sections, [("video", "96", false), ("audio", "111", true)]);
    assert_eq!((&*offer.ice().ufrag, offer.direction()), ("Hx4T", Direction::SendRecv));
}
