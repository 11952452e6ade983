//! What the browser and the carrier must not learn of each other, searched for on both wires and in all that
//! the browser decrypts.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::page::Options;
use super::scene::{ONE_LEG, SOON, Scene, Ticket, Way};
use super::second::Second;
use super::support::braggart::Braggart;
use super::support::canary::{Capture, Secret, planted_is_found};
use super::support::wire::{before_the_audio, told};
use super::support::{DESTINATION, Message, Phone, USER, net, poll, say};

const PHONE_VOICE: u8 = 0x62;

/// A phone on leg B's machine that cannot stop talking about itself.
fn braggart<P>(scene: &Scene<P>) -> Braggart {
    let phone = scene.network.on("b", || Phone::new(net::DESTINATION));
    Braggart::new(phone, "quixotry", DESTINATION, PHONE_VOICE)
}

/// Answers, says all it can in every message and packet there is.
fn brag(phone: &mut Braggart, invite: &Message) {
    phone.speak(invite);
    phone.ask_everything(invite);
    phone.speak(invite);
}

/// What identifies a browser, or the end of the server that speaks with it, in a description.
fn of_description(sdp: &str) -> Vec<Secret> {
    let mut secrets = Vec::new();
    let word = |text: &str| Secret::Word(text.to_owned());
    for line in sdp.lines() {
        let (name, value) = line.trim_end().split_once([':', '=']).unwrap_or((line, ""));
        let (name, value) = if name == "a" { value.split_once(':').unwrap_or((value, "")) } else { (name, value) };
        match name {
            "ice-ufrag" | "ice-pwd" => secrets.push(word(value)),
            "fingerprint" => {
                let digits = value.split(' ').nth(1).unwrap_or_default();
                secrets.push(word(digits));
                secrets.extend(hex::decode(digits.replace(':', "")).map(Secret::Bytes));
            }
            "ssrc" => {
                let (source, rest) = value.split_once(' ').unwrap_or((value, ""));
                secrets.push(word(source));
                secrets.extend(source.parse().map(|source: u32| Secret::Bytes(source.to_be_bytes().to_vec())));
                secrets.extend(rest.strip_prefix("cname:").map(word));
            }
            // `o=- 3676321200833709294 2 IN …`
            "o" => secrets.extend(value.split(' ').nth(1).filter(|id| id.len() > 5).map(word)),
            _ => {}
        }
    }
    assert!(secrets.len() >= 5, "a description with things to hide:\n{sdp}");
    secrets
}

/// Nothing of `secrets` is in what was told, and the search would have found the first of them.
fn check(who: &str, told: &[u8], secrets: &[Secret]) {
    let capture = Capture::new(told);
    for secret in secrets {
        let forms = capture.find(secret);
        assert!(forms.is_empty(), "{who} was told {secret:?} in {forms:?}");
    }
    for secret in secrets.iter().take(4) {
        planted_is_found(told, secret);
    }
}

/// What reached an address, after the sanity check that it is what we think: it holds `known`.
fn wire(file: &std::path::Path, address: Ipv4Addr, known: &str) -> Vec<u8> {
    let bytes = told(&fs::read(file).expect("the capture is readable"), address);
    assert!(memchr::memmem::find(&bytes, known.as_bytes()).is_some(), "{known:?} is on the wire to {address}");
    bytes
}

/// The user's and the browser's secrets that stand in no description.
fn of_user(ticket: &Ticket) -> Vec<Secret> {
    let mut secrets = vec![Secret::Address(net::USER), Secret::Word(USER[1..].to_owned())];
    secrets.extend([&ticket.token, &ticket.call].map(|text| Secret::Word(text.clone())));
    secrets.extend(["alice", "acme", "chrome", "webrtc"].map(|text| Secret::Word(text.to_owned())));
    secrets
}

/// The carrier's, but its number, which the user has dialled.
fn of_phone(phone: &Braggart) -> Vec<Secret> {
    phone.secrets().into_iter().filter(|secret| !matches!(secret, Secret::Number(_))).collect()
}

#[test]
fn nothing_of_chromium_reaches_the_carrier_nor_the_other_way_round() {
    let mut scene = Scene::new(Options::default());
    let mut phone = braggart(&scene);
    let ticket = scene.ticket(Way::Browser);
    scene.connect(&ticket);
    scene.dial(&ticket);
    let invite = phone.pick_up();
    scene.told("answered");
    brag(&mut phone, &invite);
    let mut browser = of_user(&ticket);
    let sources = "[...(await client.connection.getStats()).values()].filter((s) => s.type === 'outbound-rtp')";
    let source = scene.page.eval(&format!("return ({sources})[0].ssrc")).as_u64().expect("an SSRC") as u32;
    browser.push(Secret::Bytes(source.to_be_bytes().to_vec()));
    let mut answers = String::new();
    for restart in [false, true] {
        if restart {
            scene.page.eval("await client.restart()");
        }
        let description = scene.page.eval("return [client.offered, client.answer, client.secret]");
        let [offered, answer, secret] = [0, 1, 2].map(|at| description[at].as_str().expect("a text"));
        browser.extend(of_description(offered));
        browser.extend(of_description(answer));
        browser.push(Secret::Word(secret.to_owned()));
        answers += answer;
    }
    std::thread::sleep(Duration::from_secs(1));
    phone.hang_up(&invite);
    scene.told("ended");
    scene.ended(Way::Browser, &ticket.call, ("completed", "hangup", "destination"), ONE_LEG);
    phone.listen();

    let on_leg_b = wire(&scene.phone_wire.file, net::DESTINATION, "INVITE sip:");
    check("the carrier", &on_leg_b, &browser);
    let events = scene.page.eval("return client.events").to_string();
    let on_leg_a = [&wire(&scene.browser_wire.file, net::USER, "event: state"), events.as_bytes(), answers.as_bytes()];
    check("the browser", &on_leg_a.concat(), &of_phone(&phone));
    check_audio(&scene, &phone);
    let log = scene.server.log();
    for secret in [&ticket.token, &DESTINATION[1..].to_owned()] {
        assert!(!log.contains(secret), "the log names a token or a number");
    }
    say(&format!("masking: {} bytes on leg B hold none of {} secrets of a Chromium", on_leg_b.len(), browser.len()));
}

/// Leg B's audio is there, from one source per direction, and bare.
fn check_audio<P>(scene: &Scene<P>, phone: &Braggart) {
    let packets = scene.phone_wire.rtp_from(net::SERVER);
    assert!(packets.len() > 50, "{} packets of the browser's audio", packets.len());
    let first = packets[0].ssrc;
    assert!(packets.iter().all(|packet| packet.bare && packet.ssrc == first), "bare headers from one source");
    assert!(poll(SOON, || (!phone.rtcp.packets().is_empty()).then_some(())).is_some(), "RTCP of our making");
}

#[test]
fn nothing_of_the_carrier_is_in_what_a_browser_decrypts() {
    let scene = Scene::without_page();
    let mut phone = braggart(&scene);
    let ticket = scene.ticket(Way::Join);
    let api = format!("http://{}", scene.server.settings.api());
    let mut second = Second::start(&scene.network, &ticket, &api, "PCMU", scene.folder.path());
    let invite = phone.pick_up();
    second.told("answered");
    brag(&mut phone, &invite);
    // Long enough for a report of the server's.
    std::thread::sleep(Duration::from_secs(6));
    phone.hang_up(&invite);
    second.told("ended");
    second.until("done", |said| said["said"] == "done");
    let answer = second.until("the answer", |said| said["said"] == "answer");
    let mut browser = of_user(&ticket);
    browser.extend(of_description(answer["offer"].as_str().expect("a text")));
    browser.extend(of_description(answer["sdp"].as_str().expect("a text")));

    let packets = second.packets();
    let audio = packets.iter().filter(|packet| packet.ends_with(&[PHONE_VOICE; 160])).count();
    let reports = packets.iter().filter(|packet| (200..=207).contains(&packet[1])).count();
    // What the phone sends twice with the same sequence numbers passes once.
    assert!(audio > 20 && reports > 0, "{audio} packets of the phone's audio and {reports} of RTCP were decrypted");
    let mut heard: Vec<u8> = packets.iter().flat_map(|packet| before_the_audio(packet)).copied().collect();
    heard.extend(wire(&scene.browser_wire.file, net::USER, "event: state"));
    check("the browser", &heard, &of_phone(&phone));
    check("the carrier", &wire(&scene.phone_wire.file, net::DESTINATION, "INVITE sip:"), &browser);
    say(&format!("masking: {} decrypted packets, {reports} of RTCP, hold nothing of the carrier", packets.len()));
}
