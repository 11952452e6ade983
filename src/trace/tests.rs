use bytes::Bytes;

use super::*;

fn number(text: &str) -> E164 {
    E164::parse(text).unwrap()
}

fn numbers() -> Numbers {
    Numbers { connect: Some(number("+14155550111")), from: number("+12125550122"), to: Some(number("+442079460133")) }
}

const INVITE: &str = "INVITE sip:+442079460133@192.0.2.9;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc\r\n\
    From: \"(415) 555-0111\" <sip:+12125550122@192.0.2.1>;tag=a\r\n\
    To: Bob 020 7946 0133 <sip:00442079460133@192.0.2.9>\r\n\
    Contact: <sip:4155550111@192.0.2.1:5060>\r\n\
    Diversion: <tel:+33123456789>\r\n\
    Proxy-Authorization: Digest username=\"trunkuser\", realm=\"carrier\",\r\n\
    \u{20}response=\"deadbeefsecret\"\r\n\
    Identity: eyJsignednumber\r\n\
    Call-ID: 12345678901234@x\r\n\
    CSeq: 1 INVITE\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 61\r\n\r\n\
    v=0\r\ns=442079460133\r\na=crypto:1 AES inline:SECRETKEY\r\na=sendrecv\r\n";

fn passed(call: u8, side: Side, way: Way, text: &str, remote: &str) -> Passed {
    Passed {
        leg: LegId { call: CallId::from_bytes([call; 16]), side },
        at: Timestamp::from_millis(1_700_000_000_000 + u64::from(call)),
        way,
        transport: Transport::Udp,
        local: if remote.starts_with('[') { "[2001:db8::1]:5060" } else { "192.0.2.1:5060" }.parse().unwrap(),
        remote: remote.parse().unwrap(),
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        numbers: numbers(),
    }
}

impl Book {
    fn add_passed(&mut self, passed: &Passed) {
        self.add(passed.leg.call, Line::of(passed));
    }
}

#[test]
fn what_is_kept_has_no_number_of_the_call_and_no_secret() {
    let sealed = seal(INVITE.as_bytes(), numbers());
    for secret in
        ["4155550111", "2125550122", "2079460133", "555-0111", "7946", "trunkuser", "deadbeef", "eyJ", "SECRETKEY"]
    {
        assert!(!sealed.contains(secret), "{secret} in {sealed}");
    }
    assert!(sealed.contains("Proxy-Authorization: Digest realm=\"carrier\"\r\n"), "{sealed}");
    assert!(sealed.contains("<tel:+xxxxxxxxx89>"), "{sealed}");
    assert!(sealed.contains("Call-ID: 12345678901234@x"), "{sealed}");
}

#[test]
fn each_reader_sees_what_is_for_him() {
    let sealed = seal(INVITE.as_bytes(), numbers());
    let own = Reader::Organization(numbers()).unseal(&sealed);
    for line in [
        "INVITE sip:+442079460133@192.0.2.9;user=phone SIP/2.0\r\n",
        "From: \"(xxx) xxx-xxxx\" <sip:+12125550122@192.0.2.1>;tag=a\r\n",
        "To: Bob xxx xxxx xxxx <sip:00442079460133@192.0.2.9>\r\n",
        "Contact: <sip:4155550111@192.0.2.1:5060>\r\n",
        "s=442079460133\r\n",
    ] {
        assert!(own.contains(line), "{line} in {own}");
    }
    let operator = Reader::Operator(numbers()).unseal(&sealed);
    assert!(operator.contains("INVITE sip:+xxxxxxxxxx33@192.0.2.9"), "{operator}");
    assert!(operator.contains("Contact: <sip:xxxxxxxx11@192.0.2.1:5060>"), "{operator}");
    let erased = Reader::Organization(Numbers { to: None, ..numbers() }).unseal(&sealed);
    assert!(erased.contains("INVITE sip:+xxxxxxxxxxxx@192.0.2.9"), "{erased}");
    assert!(!erased.contains("2079460133"), "{erased}");
    // Only the lines with credentials have another length.
    let body = |text: &str| text.split_once("\r\n\r\n").unwrap().1.len();
    assert_eq!((body(&own), body(&operator), body(&erased)), (body(INVITE), body(INVITE), body(INVITE)));
}

#[test]
fn a_body_that_is_no_sdp_is_covered() {
    let info = "INFO sip:a@b SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=1\r\n";
    assert!(seal(info.as_bytes(), numbers()).ends_with("\r\n\r\nxxxxxxxx\r\n"));
}

#[test]
fn bytes_of_any_kind_can_be_sealed_and_make_no_marks() {
    let mut seed = 1_u64;
    for _ in 0..2_000 {
        let mut message = INVITE.as_bytes().to_vec();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % message.len();
            message[at] = (seed >> 24) as u8;
        }
        let sealed = seal(&message, numbers());
        let shown = Reader::Operator(numbers()).unseal(&sealed);
        assert!(!shown.contains(seal::MARK));
    }
    assert_eq!(seal(b"OPTIONS \x01U; SIP/2.0\r\n\r\n", numbers()), "OPTIONS ?U; SIP/2.0\r\n\r\n");
}

#[test]
fn a_call_keeps_its_first_messages_and_counts_the_rest() {
    let mut book = Book::default();
    for _ in 0..MAX_CALL_LINES + 3 {
        book.add_passed(&passed(1, Side::User, Way::Sent, INVITE, "192.0.2.9:5060"));
    }
    let trace = book.get(CallId::from_bytes([1; 16])).unwrap();
    assert_eq!((trace.lines.len(), trace.left_out, trace.complete), (MAX_CALL_LINES, 3, false));
    assert_eq!(Trace::from_bytes(&trace.to_bytes()), Some(trace));
    book.take(CallId::from_bytes([1; 16]));
    assert_eq!(book.bytes(), 0);
}

#[test]
fn without_room_the_oldest_calls_go() {
    let mut book = Book::default();
    let big = INVITE.to_owned() + &"a=x\r\n".repeat(1_500);
    for call in 0..=255 {
        for _ in 0..40 {
            book.add_passed(&passed(call, Side::User, Way::Sent, &big, "192.0.2.9:5060"));
        }
        assert!(book.bytes() <= MAX_BYTES);
    }
    assert!(book.pushed_out() > 0);
    let oldest = book.get(CallId::from_bytes([0; 16])).unwrap();
    assert!(oldest.lines.is_empty() && oldest.left_out > 0 && !oldest.complete);
    assert!(!book.get(CallId::from_bytes([255; 16])).unwrap().lines.is_empty());
}

#[test]
fn a_call_of_an_earlier_process_says_that_its_beginning_is_missing() {
    let mut book = Book::default();
    book.add_passed(&passed(1, Side::User, Way::Received, "BYE sip:a@b SIP/2.0\r\n\r\n", "192.0.2.9:5060"));
    assert!(!book.get(CallId::from_bytes([1; 16])).unwrap().complete);
}

fn example() -> Trace {
    let mut book = Book::default();
    let ok = "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n";
    for (side, way, text, remote) in [
        (Side::User, Way::Sent, INVITE, "192.0.2.9:5060"),
        (Side::User, Way::Received, ok, "192.0.2.9:5060"),
        (Side::Destination, Way::Sent, INVITE, "[2001:db8::9]:5070"),
        (Side::Destination, Way::Withheld, INVITE, "[2001:db8::9]:5070"),
    ] {
        book.add_passed(&passed(1, side, way, text, remote));
    }
    book.take(CallId::from_bytes([1; 16])).unwrap().shown_to(Reader::Operator(numbers()))
}

#[test]
fn the_ladder_has_a_row_for_each_message() {
    let text = ladder(&example());
    let rows: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(rows.len(), 4, "{text}");
    let row = |row: &str, user: &str, destination: &str| {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(columns[1..3], [user, destination], "{text}");
    };
    row(rows[0], "<--------INVITE (SDP)---------", "");
    row(rows[1], "-----------200 OK------------>", "");
    row(rows[2], "", "--------INVITE (SDP)--------->");
    row(rows[3], "", "-----------INVITE------------X");
}

#[test]
fn a_capture_has_right_lengths_and_checksums() {
    let trace = example();
    let file = pcap(&trace);
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 101));
    let mut at = 24;
    let mut packets = 0;
    while at < file.len() {
        let length = word(at + 8);
        let packet = &file[at + 16..at + 16 + length];
        let (header, addresses) = if packet[0] == 0x45 { (20, 12..20) } else { (40, 8..40) };
        if header == 20 {
            assert_eq!(pcap::checksum(&[&packet[..20]]), 0);
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), length);
        }
        let udp = &packet[header..];
        let mut pseudo = packet[addresses].to_vec();
        pseudo.extend([0, 17]);
        pseudo.extend((udp.len() as u16).to_be_bytes());
        assert_eq!(pcap::checksum(&[&pseudo, udp]), 0);
        assert_eq!(&udp[8..], trace.lines[packets].text.as_bytes());
        at += 16 + length;
        packets += 1;
    }
    assert_eq!(packets, 3, "what was withheld was on no wire");
}

#[test]
fn no_format_shows_what_is_not_for_its_reader() {
    let trace = example();
    let written = trace.to_bytes();
    let drawn = ladder(&trace);
    let file = pcap(&trace);
    let secrets =
        ["4155550111", "12125550122", "2079460133", "trunkuser", "deadbeefsecret", "SECRETKEY", "eyJsignednumber"];
    for bytes in [&written[..], drawn.as_bytes(), &file] {
        for secret in secrets {
            let forms = [secret.to_owned(), hex::encode(secret), hex::encode_upper(secret)];
            for form in forms.iter().map(String::as_bytes).chain(base64s(secret).iter().map(Vec::as_slice)) {
                assert!(memchr::memmem::find(bytes, form).is_none(), "{secret} as {:?}", String::from_utf8_lossy(form));
            }
        }
    }
    // And would be found.
    let planted = base64(&[b"x", b"4155550111".as_slice()].concat());
    assert!(base64s("4155550111").iter().any(|form| memchr::memmem::find(&planted, form).is_some()));
}

/// What of a base64 text is the same wherever the secret stands in it, for each of three places.
fn base64s(secret: &str) -> Vec<Vec<u8>> {
    let at = |before: usize| {
        let whole = base64(&[&vec![0; before], secret.as_bytes()].concat());
        let bits = (before + secret.len()) * 8;
        whole[(before * 8).div_ceil(6)..bits / 6].to_vec()
    };
    (0..3).map(at).collect()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let letter = |at: usize| (0..6).fold(0, |sum, n| sum << 1 | usize::from(bit(at * 6 + n)));
    (0..(bytes.len() * 8).div_ceil(6)).map(|at| LETTERS[letter(at)]).collect()
}

#[test]
fn a_collector_is_told_all_of_a_message() {
    let mut line = Line::of(&passed(1, Side::User, Way::Received, INVITE, "192.0.2.9:5070"));
    let call = CallId::from_bytes([1; 16]);
    let agent = Agent { id: 2_001, password: Some("tell") };
    let packet = hep(&line, call, agent).unwrap();
    assert_eq!(
        (&packet[..4], usize::from(u16::from_be_bytes([packet[4], packet[5]]))),
        (b"HEP3".as_slice(), packet.len())
    );
    let mut chunks = std::collections::BTreeMap::new();
    let mut rest = &packet[6..];
    while !rest.is_empty() {
        assert_eq!(rest[..2], [0, 0], "no vendor's");
        let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
        assert!(chunks.insert(rest[3], rest[6..length].to_vec()).is_none());
        rest = &rest[length..];
    }
    let word = |kind: u8| u32::from_be_bytes(chunks[&kind][..].try_into().unwrap());
    assert_eq!((&chunks[&1], &chunks[&2], &chunks[&11]), (&vec![2], &vec![17], &vec![1]));
    assert_eq!((&chunks[&3], &chunks[&4]), (&vec![192, 0, 2, 9], &vec![192, 0, 2, 1]));
    assert_eq!((&chunks[&7], &chunks[&8]), (&5_070_u16.to_be_bytes().to_vec(), &5_060_u16.to_be_bytes().to_vec()));
    assert_eq!((word(9), word(10), word(12)), (1_700_000_000, 1_000, 2_001));
    assert_eq!((&chunks[&14][..], &chunks[&15][..]), (b"tell".as_slice(), line.text.as_bytes()));
    assert_eq!(chunks[&17], call.to_string().into_bytes());
    assert!(!chunks.contains_key(&5));
    line.transport = Transport::Tls;
    line.remote = "[2001:db8::9]:5061".parse().unwrap();
    let packet = hep(&line, call, Agent { id: 1, password: None }).unwrap();
    assert_eq!((&packet[6..13], &packet[13..19]), ([0, 0, 0, 1, 0, 7, 10].as_slice(), [0, 0, 0, 5, 0, 22].as_slice()));
    line.way = Way::Withheld;
    assert_eq!(hep(&line, call, agent), None);
}
