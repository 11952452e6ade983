//! What must not work.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use revbridge::media::OfferError;
use revbridge::sdp::Codec;
use str0m::ice::{StunMessage, TransId};

use crate::browser::Browser;
use crate::page::{PCMA, PCMU};
use crate::scene::Scene;

const OPUS: u8 = 111;

fn stranger() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.7:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    socket
}

/// The first flight of a DTLS handshake, or near enough.
fn hello() -> Vec<u8> {
    [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 48, 254, 253][..], &[7; 46]]
        .concat()
}

fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there")
}

#[test]
fn wrong_integrity_and_a_forged_hello_before_the_real_one_change_nothing() {
    let scene = Scene::new();
    let mut phone = scene.call(Codec::Pcmu);
    let mut browser = Browser::new(&[PCMU]);
    let offer = browser.page.offer();
    let answer = scene.offered(&phone, &offer).expect("an answer");
    let stranger = stranger();
    let username = format!("{}:{}", value(&answer, "a=ice-ufrag:"), value(&offer, "a=ice-ufrag:"));
    let mut buffer = [0; 512];
    for password in ["", "guess", value(&offer, "a=ice-pwd:")] {
        let message = StunMessage::binding_request(&username, TransId::new(), true, 1, 7, true);
        let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
        let length = message
            .to_bytes(Some(password.as_bytes()), &mut buffer, |key, parts| hmac.sha1_hmac(key, parts))
            .expect("a message");
        stranger.send_to(&buffer[..length], scene.server).expect("sent");
        stranger.send_to(&hello(), scene.server).expect("sent");
    }
    assert!(stranger.recv(&mut buffer).is_err(), "a stranger gets no answer");
    scene.answered(&phone, &mut browser, &answer);
    stranger.send_to(&hello(), scene.server).expect("sent");
    scene.talk(&mut phone, &mut browser, 20);
    assert_eq!((phone.heard_of(0x11), browser.page.heard.len()), (20, 20));
    assert!(scene.strangers() >= 7, "{}", scene.strangers());
    assert!(stranger.recv(&mut buffer).is_err());
}

#[test]
fn what_is_sent_again_is_not_heard_again() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    scene.talk(&mut phone, &mut browser, 50);
    let before = phone.heard_of(0x11);
    browser.replay(scene.server);
    browser.run(200);
    phone.listen();
    assert_eq!(phone.heard_of(0x11), before);
    scene.talk(&mut phone, &mut browser, 10);
    assert_eq!(phone.heard_of(0x11), before + 10);
}

#[test]
fn offers_that_cannot_be_taken_are_refused_and_the_browser_before_lives_on() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    let good = Browser::new(&[PCMU]).page.offer();
    let refused = |text: &str| scene.offered(&phone, text).expect_err("refused");
    assert_eq!(refused(&Browser::new(&[OPUS]).page.offer()), OfferError::NoCommonCodec);
    let candidate = |n: u32| format!("a=candidate:{n} 1 udp {n} 192.0.2.1 9 typ host\r\n");
    let many = good.clone() + &(0..1_001).map(candidate).collect::<String>();
    assert_eq!(refused(&many), OfferError::TooManyCandidates);
    assert_eq!(refused(&(good.clone() + &(0..10_000).map(candidate).collect::<String>())), OfferError::TooLong);
    assert_eq!(refused(&good.replace("v=0", "v=1")), OfferError::NotSdp);
    for line in good.lines() {
        // Without any one line, an offer is refused or still a whole one.
        if let Err(error) = scene.offered(&scene.call(Codec::Pcmu), &good.replace(&format!("{line}\r\n"), "")) {
            assert_ne!(error, OfferError::Unavailable, "without {line}");
        }
    }
    let before = browser.page.heard.len();
    scene.talk(&mut phone, &mut browser, 10);
    assert_eq!(browser.page.heard.len(), before + 10);
}

#[test]
fn a_browser_that_hides_its_address_is_found() {
    let scene = Scene::new();
    let phone = scene.call(Codec::Pcmu);
    let mut browser = Browser::new(&[PCMU, PCMA]);
    let hidden: String = browser
        .page
        .offer()
        .lines()
        .map(|line| line.replace("127.0.0.9", "6f0c5a3e-1f1e-4c36-9e05-0a4a7b1f4ad8.local") + "\r\n")
        .collect();
    assert!(hidden.contains(".local"));
    let answer = scene.offered(&phone, &hidden).expect("an answer");
    scene.answered(&phone, &mut browser, &answer);
}

#[test]
fn garbage_at_the_port_disturbs_nobody() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    let before = (phone.heard_of(0x11), browser.page.heard.len());
    let stranger = stranger();
    let checks: Vec<_> = browser.wire.iter().filter(|bytes| bytes[0] <= 3).take(4).cloned().collect();
    let mut seed = 1u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize
    };
    for _ in 0..40 {
        for _ in 0..50 {
            let mut bytes = checks[random() % checks.len()].clone();
            let at = random() % bytes.len();
            bytes[at] ^= 1 << (random() % 8);
            bytes.truncate(if random() % 2 == 0 { bytes.len() } else { random() % bytes.len() });
            stranger.send_to(&bytes, scene.server).expect("sent");
            let first = [0, 1, 20, 22, 63, 128, 191, 255][random() % 8];
            stranger.send_to(&vec![first; 1 + random() % 1_400], scene.server).expect("sent");
        }
        scene.talk(&mut phone, &mut browser, 1);
    }
    assert_eq!((phone.heard_of(0x11) - before.0, browser.page.heard.len() - before.1), (40, 40));
}

#[test]
fn connections_that_say_nothing_or_nonsense_are_closed() {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    let scene = Scene::new();
    let silent = TcpStream::connect(scene.server).expect("accepted");
    let mut nonsense = TcpStream::connect(scene.server).expect("accepted");
    nonsense.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    assert!(matches!(nonsense.read(&mut [0]), Ok(0) | Err(_)));
    let began = Instant::now();
    silent.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
    assert!(matches!((&silent).read(&mut [0]), Ok(0)), "closed");
    assert!((3..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // Many strangers leave room for a browser.
    let crowd: Vec<_> = (0..300).filter_map(|_| TcpStream::connect(scene.server).ok()).collect();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::by_tcp(&[PCMU], scene.server));
    scene.talk(&mut phone, &mut browser, 10);
    assert_eq!(browser.page.heard.len(), 20);
    drop(crowd);
}
