//! Browser legs on real sockets: media threads as the server starts them, a phone by plain UDP on one side,
//! and on the other a page of an independent make (str0m as a full ICE agent).
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "sockets and clocks are what is tested")]

mod browser;
mod hostile;
mod masking;
#[path = "../support/page.rs"]
mod page;
mod scene;

use std::time::{Duration, Instant};

use browser::Browser;
use page::{PCMA, PCMU};
use revbridge::media::MediaEvent;
use revbridge::model::Side;
use revbridge::sdp::Codec;
use scene::{Scene, longest_gap};
use str0m::net::Protocol;

#[test]
fn audio_passes_both_ways() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU, PCMA]));
    let before = (phone.heard_of(0x11), browser.page.heard.len());
    scene.talk(&mut phone, &mut browser, 100);
    assert_eq!((phone.heard_of(0x11) - before.0, browser.page.heard.len() - before.1), (100, 100));
    assert!(browser.page.heard.iter().all(|heard| heard.payload == [0x22; 160]));
    assert!(scene.has(&phone, &MediaEvent::Flowing));
    let stats = scene.close(&phone, Side::User);
    assert!(stats.packets_received >= 100 && stats.packets_sent >= 100 && stats.lost == 0, "{stats:?}");
    browser.run(200);
    assert!(browser.page.is_closed, "the page is told");
}

#[test]
fn each_is_spoken_to_in_the_law_it_knows() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcma, Browser::new(&[PCMU]));
    scene.talk(&mut phone, &mut browser, 20);
    assert!(phone.heard.iter().all(|packet| packet[1] & 0x7f == 8), "A-law for the phone");
    assert!(browser.page.heard.iter().all(|heard| heard.payload_type == PCMU));
    let (mut phone, mut browser) = scene.talking(Codec::Pcma, Browser::new(&[PCMU, PCMA]));
    let before = phone.heard.len();
    scene.talk_by(&mut phone, &mut browser, PCMA, 20);
    assert!(phone.heard[before..].iter().all(|packet| packet[1..2] == [8] && packet[12..] == [0x11; 160]), "untouched");
}

#[test]
fn keys_pass_both_ways() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    let began = browser.page.timestamp.wrapping_add(160);
    for n in 1..=5 {
        browser.page.press(Instant::now(), 7, began, n == 5, n * 160);
        phone.press(9, 500_000, n == 5);
        browser.run(20);
        phone.listen();
    }
    browser.run(50);
    phone.listen();
    let pressed: Vec<_> = phone.heard.iter().filter(|packet| packet[1] & 0x7f == scene::EVENT).collect();
    assert_eq!(pressed.len(), 5);
    assert!(pressed.iter().all(|packet| packet[12] == 7 && packet.len() == 16));
    let keys: Vec<_> = browser.page.heard.iter().filter(|heard| heard.payload_type == page::EVENT).collect();
    assert_eq!(keys.iter().map(|key| key.payload[0]).collect::<Vec<_>>(), [9; 5]);
    assert!(scene.has(&phone, &MediaEvent::Digit('7')) && scene.has(&phone, &MediaEvent::Digit('9')));
    assert!(!scene.has(&phone, &MediaEvent::Digit('7')), "once");
}

#[test]
fn a_restart_leaves_no_gap() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    let before = (phone.heard.len(), browser.page.heard.len());
    for _ in 0..3 {
        let offer = browser.page.restart(true);
        scene.restart(&phone, &mut browser, &offer);
        scene.talk(&mut phone, &mut browser, 50);
    }
    assert_eq!((phone.heard.len() - before.0, browser.page.heard.len() - before.1), (150, 150));
    assert!(!scene.has(&phone, &MediaEvent::BrowserDown));
}

#[test]
fn a_browser_on_another_network_is_followed() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    let moved = browser.move_away();
    let offer = browser.page.restart(false);
    scene.restart(&phone, &mut browser, &offer);
    browser.page.add_address(Protocol::Udp, moved);
    scene.talk(&mut phone, &mut browser, 150);
    assert!(longest_gap(&phone.arrivals) < Duration::from_secs(2), "{:?}", longest_gap(&phone.arrivals));
    assert!(longest_gap(&browser.arrivals) < Duration::from_secs(2), "{:?}", longest_gap(&browser.arrivals));
    let before = (phone.heard.len(), browser.page.heard.len());
    scene.talk(&mut phone, &mut browser, 50);
    assert_eq!((phone.heard.len() - before.0, browser.page.heard.len() - before.1), (50, 50));
}

#[test]
fn the_page_after_a_reload_takes_the_leg() {
    let scene = Scene::new();
    let (mut phone, mut former) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    let ssrcs = phone.ssrcs();
    let mut browser = Browser::new(&[PCMU]);
    scene.connect(&phone, &mut browser);
    assert!(scene.has(&phone, &MediaEvent::BrowserDown), "the former one is gone");
    let before = phone.heard_of(0x11);
    scene.talk(&mut phone, &mut browser, 50);
    assert_eq!((phone.heard_of(0x11) - before, browser.page.heard.len()), (50, 50));
    assert_eq!(phone.ssrcs(), ssrcs, "the phone notices nothing");
    former.run(100);
    assert!(former.page.is_closed);
}

#[test]
fn a_page_that_closes_is_down_at_once() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    browser.page.rtc.close().expect("closed");
    browser.run(100);
    scene.event(&phone, |event| *event == MediaEvent::BrowserDown);
    let mut next = Browser::new(&[PCMU]);
    scene.connect(&phone, &mut next);
    scene.talk(&mut phone, &mut next, 20);
    assert_eq!(next.page.heard.len(), 20);
}

#[test]
fn where_no_udp_passes_tcp_does() {
    let scene = Scene::new();
    let by_tcp = Browser::by_tcp(&[PCMU], scene.server);
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, by_tcp);
    let before = (phone.heard_of(0x11), browser.page.heard.len());
    scene.talk(&mut phone, &mut browser, 100);
    assert_eq!((phone.heard_of(0x11) - before.0, browser.page.heard.len() - before.1), (100, 100));
}

#[test]
fn six_browsers_share_one_port() {
    let scene = Scene::new();
    let mut calls: Vec<_> = (0..6).map(|_| scene.talking(Codec::Pcmu, Browser::new(&[PCMU]))).collect();
    for round in 0..50 {
        for (n, (phone, browser)) in calls.iter_mut().enumerate() {
            browser.page.say(Instant::now(), PCMU, 0x40 + n as u8);
            phone.say(0x60 + n as u8);
        }
        for (_, browser) in &mut calls {
            browser.run(if round == 49 { 30 } else { 3 });
        }
        calls.iter_mut().for_each(|(phone, _)| phone.listen());
    }
    for (n, (phone, browser)) in calls.iter_mut().enumerate() {
        browser.run(10);
        let fills = |mine: u8| browser.page.heard.iter().filter(|heard| heard.payload[0] == mine).count();
        assert_eq!((phone.heard_of(0x40 + n as u8), fills(0x60 + n as u8)), (50, 50), "browser {n}");
        let others = (0..6).filter(|other| *other != n);
        assert_eq!(others.map(|o| phone.heard_of(0x40 + o as u8) + fills(0x60 + o as u8)).sum::<usize>(), 0);
    }
}

#[test]
fn how_the_audio_fares_is_told_every_five_seconds() {
    let scene = Scene::new();
    let (mut phone, mut browser) = scene.talking(Codec::Pcmu, Browser::new(&[PCMU]));
    scene.talk(&mut phone, &mut browser, 800);
    let tell = || match scene.event(&phone, |event| matches!(event, MediaEvent::Quality(_))) {
        MediaEvent::Quality(quality) => quality,
        other => panic!("{other:?}"),
    };
    let (first, second, third) = (tell(), tell(), tell());
    assert!((200..300).contains(&first.received.packets) && (200..300).contains(&first.sent.packets), "{first:?}");
    assert!((450..550).contains(&second.sent.packets), "{second:?}");
    // Over the loopback there may be nothing left to measure.
    assert!(third.rtt_ms.is_none_or(|ms| ms < 100) && third.mos_hundredths > 400, "{third:?}");
    assert_eq!((third.received.lost, third.sent.lost), (0, 0));
}
