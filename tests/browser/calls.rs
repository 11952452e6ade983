//! A whole call on each path: who hears whom, digits, a pause, a reload, and every way to end.

use std::time::Duration;

use serde_json::json;

use super::page::Options;
use super::scene::{BROWSER_TONE, GRACE, ONE_LEG, PHONE_TONE, SOON, Scene, Way, check_heard};
use super::support::baresip::{Baresip, Keys};
use super::support::wire::{self, recording};
use super::support::{DESTINATION, Sipp, net, poll, say, tone};

/// What the person on the phone may miss while the browser changes its network or its page.
const TOLERATED_SILENCE: Duration = Duration::from_secs(2);

/// How long the server takes to notice that a browser does not speak any more.
const NOTICED: Duration = Duration::from_secs(10);

/// A phone that answers at once, and its keys.
fn baresip(scene: &Scene) -> (Baresip, Keys) {
    let folder = scene.folder.path();
    let phone = Baresip::start(&scene.network, "b", net::DESTINATION, DESTINATION, PHONE_TONE, folder);
    let keys = phone.keys(&scene.network, "b");
    (phone, keys)
}

const BY_SDK: Options = Options { trusted: Vec::new(), relay: false, sdk: true };
const BY_CONTRACT: Options = Options { trusted: Vec::new(), relay: false, sdk: false };

#[test]
fn the_browser_dials_talks_and_hangs_up() {
    whole_call(BY_CONTRACT, Way::Browser, Ender::Browser);
}

#[test]
fn the_browser_joins_talks_and_the_phone_hangs_up() {
    whole_call(BY_CONTRACT, Way::Join, Ender::Phone);
}

#[test]
fn the_sdk_dials_talks_and_the_phone_hangs_up() {
    whole_call(BY_SDK, Way::Browser, Ender::Phone);
}

#[test]
fn the_sdk_joins_talks_and_hangs_up() {
    whole_call(BY_SDK, Way::Join, Ender::Browser);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ender {
    Browser,
    Phone,
}

fn whole_call(options: Options, way: Way, ender: Ender) {
    let by = if options.sdk { "the SDK" } else { "a client by the contract" };
    let mut scene = Scene::new(options);
    let (phone, mut keys) = baresip(&scene);
    let call = scene.call(way);
    talk(&mut scene, &mut keys, &format!("{by}, `{}`", way.name()));
    let ended_by = match ender {
        Ender::Browser => {
            let answer = scene.page.eval("return await client.hangup()");
            assert_eq!(answer["status"], 200, "{answer}");
            "user"
        }
        Ender::Phone => {
            keys.hang_up();
            "destination"
        }
    };
    scene.told("ended");
    scene.ended(way, &call, ("completed", "hangup", ended_by), ONE_LEG);
    check_end(&mut scene, ended_by);
    check_heard("the phone, all in all,", &phone.finish(), BROWSER_TONE, PHONE_TONE);
    super::support::count("browser_calls", 1);
}

/// All that happens in a call: both hear each other, digits both ways, the ICE restart, the reload, the pause.
fn talk(scene: &mut Scene, keys: &mut Keys, who: &str) {
    scene.told("answered");
    check_both_ways(scene, "at first");
    check_digits(scene, keys);
    let restarted = scene.phone_wire.rtp_from(net::SERVER).len();
    scene.page.eval("await client.restart()");
    check_both_ways(scene, "after the ICE restart");
    let reloaded = scene.phone_wire.rtp_from(net::SERVER).len();
    scene.page.ask(&json!({"do": "reload"}));
    scene.page.wait_for("globalThis.ready", SOON);
    scene.page.eval("globalThis.client = await Client.resume()");
    check_both_ways(scene, "after the reload");
    let packets = scene.phone_wire.rtp_from(net::SERVER);
    let silences =
        [&packets[restarted..reloaded], &packets[reloaded..]].map(|p| wire::longest_silence(p, BROWSER_TONE));
    for (what, silence) in ["ICE restart", "reload"].into_iter().zip(silences) {
        assert!(silence <= TOLERATED_SILENCE, "{what}: the phone heard nothing for {silence:?}");
    }
    say(&format!(
        "browser ({who}): {} ms of silence on the phone in an ICE restart, {} ms in a reload",
        silences[0].as_millis(),
        silences[1].as_millis()
    ));
    check_mute(scene);
}

/// A second and a half in which each hears the other's tone and not its own.
#[track_caller]
fn check_both_ways(scene: &mut Scene, when: &str) {
    std::thread::sleep(Duration::from_millis(500));
    let from = scene.phone_wire.rtp_from(net::SERVER).len();
    let browser = scene.page.listen(Duration::from_millis(1500));
    let phone = recording(&scene.phone_wire.rtp_from(net::SERVER)[from..]);
    check_heard(&format!("the browser {when}"), &browser, PHONE_TONE, BROWSER_TONE);
    check_heard(&format!("the phone {when}"), &phone, BROWSER_TONE, PHONE_TONE);
}

/// The browser's keypad reaches the phone as events; the phone's digit is heard in the browser as its two tones.
fn check_digits(scene: &mut Scene, keys: &mut Keys) {
    scene.page.eval("client.sendDigits('159#')");
    let arrived = poll(SOON, || (keys.digits() == "159#").then_some(()));
    assert!(arrived.is_some(), "the phone received {:?} of 159#", keys.digits());
    let from = scene.page.heard_samples();
    keys.press('7');
    std::thread::sleep(Duration::from_millis(1200));
    let heard = scene.page.heard(from);
    let both = |part: &[i16]| tone::share(part, 852.0).min(tone::share(part, 1209.0));
    let best = heard.chunks_exact(400).map(both).fold(0.0, f64::max);
    assert!(best > 0.25, "the tones of the phone's 7 have a share of {best:.2} at best");
}

/// A muted microphone sends silence, which is not the end of anything, and then the tone again.
fn check_mute(scene: &mut Scene) {
    scene.page.eval("client.mute(true)");
    std::thread::sleep(Duration::from_millis(500));
    let from = scene.phone_wire.rtp_from(net::SERVER).len();
    std::thread::sleep(Duration::from_millis(1000));
    let muted = scene.phone_wire.rtp_from(net::SERVER);
    let loudest = recording(&muted[from..]).iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    assert!(loudest < 100, "a muted browser is heard with {loudest}");
    scene.page.eval("client.mute(false)");
    check_both_ways(scene, "after the pause");
}

/// The end was told with who ended it and why, and before it the quality of the line.
fn check_end(scene: &mut Scene, ended_by: &str) {
    let events = scene.page.eval("return client.events");
    let events = events.as_array().expect("a list");
    let end = events.iter().rfind(|event| event["data"]["state"] == "ended" || event["event"] == "disconnect");
    let end = &end.expect("an end")["data"];
    // The SDK speaks the page's language.
    let by = end.get("ended_by").unwrap_or(&end["endedBy"]);
    assert_eq!((&end["reason"], by), (&json!("hangup"), &json!(ended_by)), "{end}");
    let quality = events.iter().rfind(|event| event["event"] == "quality").expect("some word on the quality");
    assert!(quality["data"]["mos"].as_f64().is_some_and(|mos| mos > 3.5), "a good line: {quality}");
}

#[test]
fn ringback_and_early_media_are_heard() {
    for way in [Way::Browser, Way::Join] {
        let mut scene = Scene::new(Options::default());
        let folder = scene.folder.path().to_owned();
        let phone = scene
            .network
            .on("b", || Sipp::start("ringing_then_early_media", net::DESTINATION, &folder, Duration::from_secs(40)));
        let call = scene.call(way);
        scene.told("ringing");
        // The ringing tone of the number's country, 440 and 480 Hz, two seconds on.
        let ringback = scene.page.listen(Duration::from_millis(1200));
        let both = |part: &[i16]| tone::share(part, 440.0) + tone::share(part, 480.0);
        let best = ringback.chunks_exact(800).map(both).fold(0.0, f64::max);
        assert!(best > 0.7, "ringback has a share of {best:.2} at best");
        scene.told("early_media");
        let early = scene.page.listen(Duration::from_millis(1200));
        // SIPp's voice is 440 Hz and nothing else.
        let best = early.chunks_exact(2000).map(|part| tone::share(part, 440.0)).fold(0.0, f64::max);
        assert!(best > 0.9, "the announcement has a share of {best:.2} at best");
        assert!(!scene.page.eval("return client.states").to_string().contains("answered"), "not answered yet");
        scene.told("answered");
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(scene.server.hang_up(&call).status, 200);
        scene.told("ended");
        scene.ended(way, &call, ("completed", "api_hangup", "api"), ONE_LEG);
        let outcome = phone.finish();
        assert_eq!(outcome.code, 0, "{outcome:?}");
    }
}

#[test]
fn a_closed_tab_ends_the_call_after_the_grace_time() {
    for way in [Way::Browser, Way::Join] {
        let mut scene = Scene::new(Options::default());
        let (_phone, _keys) = baresip(&scene);
        let call = scene.call(way);
        scene.told("answered");
        check_both_ways(&mut scene, "before the tab is closed");
        scene.page.ask(&json!({"do": "close"}));
        let closed = std::time::Instant::now();
        std::thread::sleep(GRACE / 2);
        assert_eq!(scene.server.record(&call)["status"], "in_progress", "the phone stays up in the grace time");
        scene.server.ended(&call, SOON).expect("an end");
        let after = closed.elapsed();
        assert!(after < NOTICED + GRACE + Duration::from_secs(2), "ended {after:?} after the tab");
        scene.ended(way, &call, ("completed", "browser_gone", "timeout"), ONE_LEG);
        say(&format!("browser: a closed tab ended its call after {} ms", after.as_millis()));
    }
}
