//! Nothing of one party crosses to the other.

use revbridge::sdp::Codec;

use crate::browser::{Browser, HOME};
use crate::page::PCMU;
use crate::scene::{CARRIER, Scene};

fn contains(packet: &[u8], secret: &[u8]) -> bool {
    packet.windows(secret.len()).any(|window| window == secret)
}

/// A value of a description, and its bytes if it is written as hexadecimal digits.
fn lines<'a>(sdp: &'a str, name: &str) -> Vec<&'a str> {
    sdp.lines().filter_map(|line| line.strip_prefix(name)).collect()
}

#[test]
fn no_byte_of_either_is_on_the_others_side() {
    let scene = Scene::new();
    let mut phone = scene.call(Codec::Pcmu);
    let mut browser = Browser::new(&[PCMU]);
    let offer = browser.page.offer();
    let answer = scene.offered(&phone, &offer).expect("an answer");
    scene.answered(&phone, &mut browser, &answer);
    for _ in 0..3 {
        phone.report("sip.carrier.example");
        scene.talk(&mut phone, &mut browser, 130);
    }
    scene.close(&phone, revbridge::model::Side::User);
    scene.close(&phone, revbridge::model::Side::Destination);
    browser.run(100);
    phone.listen();
    assert!(phone.heard.len() > 300 && !phone.reports.is_empty() && !browser.page.reports.is_empty());

    let fingerprint = lines(&offer, "a=fingerprint:sha-256 ")[0];
    let digest: Vec<u8> = fingerprint.split(':').map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
    let mut secrets: Vec<Vec<u8>> = vec![digest, HOME.octets().to_vec(), HOME.to_string().into()];
    for name in ["a=ice-ufrag:", "a=ice-pwd:", "a=msid:"] {
        secrets.extend(lines(&offer, name).iter().map(|value| value.as_bytes().to_vec()));
    }
    for line in lines(&offer, "a=ssrc:") {
        let (ssrc, rest) = line.split_once(' ').expect("an attribute");
        secrets.push(ssrc.parse::<u32>().expect("a number").to_be_bytes().to_vec());
        secrets.extend(rest.strip_prefix("cname:").map(|cname| cname.as_bytes().to_vec()));
    }
    // The browser's answer is of its own leg: our names there are none of the phone's leg.
    for name in ["a=ice-ufrag:", "a=ice-pwd:", "a=msid:"] {
        secrets.extend(lines(&answer, name).iter().map(|value| value.as_bytes().to_vec()));
    }
    let ours = lines(&answer, "a=ssrc:")[0];
    secrets.push(ours.split(' ').next().expect("a number").parse::<u32>().expect("a number").to_be_bytes().to_vec());
    secrets.push(ours.split_once("cname:").expect("a name").1.as_bytes().to_vec());
    assert!(secrets.len() >= 10, "{}", secrets.len());
    for secret in &secrets {
        let leaks = phone.heard.iter().chain(&phone.reports).filter(|packet| contains(packet, secret)).count();
        assert_eq!(leaks, 0, "{secret:02x?} reached the phone");
    }
    assert!(phone.heard.iter().all(|packet| packet[0] == 0x80), "no extension, no contributors");

    let clear = browser.page.reports.join("\n");
    let said = [answer.as_str(), clear.as_str()].concat();
    let phones = phone.ssrcs();
    for word in ["sip.carrier.example", &CARRIER.to_string(), &phone.ssrc.to_string(), &phones[0].to_string()] {
        assert!(!said.contains(word), "{word} reached the browser");
    }
    assert!(browser.page.heard.iter().all(|heard| heard.ssrc != phone.ssrc && !phones.contains(&heard.ssrc)));
    assert!(!browser.received.iter().any(|packet| contains(packet, &CARRIER.octets())));
    // What is searched for is found where it is.
    assert!(contains(offer.as_bytes(), &secrets[3]) && clear.contains("Descriptions"), "{clear}");
}
