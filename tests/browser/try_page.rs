//! `/try` as a person meets it who has a keyboard and no mouse, in each of its phases.
//!
//! Each phase is checked for accessibility by axe-core and leaves a picture in `target/screenshots/`.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::page::{Options, Page, root};
use super::scene::{BROWSER_TONE, ONE_LEG, SOON, Scene, Ticket, Way};
use super::support::wire::{digits, recording};
use super::support::{Habit, Handset, Sipp, net, poll, say, tone};

#[test]
fn a_person_with_a_keyboard_calls_from_the_page() {
    let mut scene = Scene::new(Options::default());
    let phone = scene.network.on("b", || Handset::new(net::DESTINATION, Habit::answers_after(4000)));
    let address = format!("http://{}/try", scene.server.settings.api());
    scene.page.goto(&address);
    phase(&mut scene.page, "idle");

    let ticket = scene.ticket(Way::Browser);
    enter_token(&mut scene.page, &ticket);
    phase(&mut scene.page, "ringing");
    scene.page.wait_for("document.body.dataset.phase === 'talking'", SOON);
    press_and_mute(&mut scene);
    // Long enough for two words on the quality of the line.
    scene.page.wait_for("document.getElementById('mos').textContent.includes('of')", SOON);
    std::thread::sleep(Duration::from_secs(6));
    let level = |page: &mut Page, id| page.eval(&format!("return Number({id}.getAttribute('aria-valuenow'))"));
    for id in ["near", "far"] {
        let level = level(&mut scene.page, id).as_u64();
        assert!(level.is_some_and(|level| (30..=100).contains(&level)), "the meter of {id} shows {level:?}");
    }
    phase(&mut scene.page, "talking");

    scene.page.ask(&json!({"do": "reload"}));
    scene.page.wait_for("document.body.dataset.phase === 'talking'", SOON);
    check_heard_again(&scene);
    tab_to(&mut scene.page, "hangup");
    press(&mut scene.page, "Enter");
    phase(&mut scene.page, "ended");
    scene.ended(Way::Browser, &ticket.call, ("completed", "hangup", "user"), ONE_LEG);
    drop(phone);
    fail(&mut scene);
    check_nothing_leaked(&mut scene, &ticket);
    super::support::count("browser_calls", 2);
}

/// The person is told of a call that the network does not put through.
fn fail(scene: &mut Scene) {
    let folder = scene.folder.path().to_owned();
    let phone = scene
        .network
        .on("b", || Sipp::start("challenge_foreign_realm", net::DESTINATION, &folder, Duration::from_secs(30)));
    let ticket = scene.ticket(Way::Browser);
    tab_to(&mut scene.page, "again");
    press(&mut scene.page, "Enter");
    enter_token(&mut scene.page, &ticket);
    phase(&mut scene.page, "failed");
    scene.ended(Way::Browser, &ticket.call, ("failed", "destination_failed", "failure"), "0.000000");
    drop(phone);
}

/// Types the token and sends the form.
fn enter_token(page: &mut Page, ticket: &Ticket) {
    tab_to(page, "token");
    page.ask(&json!({"do": "type", "text": ticket.token}));
    press(page, "Enter");
}

/// Opens the keypad, presses 5 and then 7, and mutes for a moment: the phone notices all three.
fn press_and_mute(scene: &mut Scene) {
    let events = |scene: &Scene| digits(&scene.phone_wire.rtp_from(net::SERVER));
    tab_to(&mut scene.page, "keys");
    press(&mut scene.page, "Enter");
    press(&mut scene.page, "5");
    press(&mut scene.page, "7");
    let arrived = poll(SOON, || (events(scene) == "57").then_some(()));
    assert!(arrived.is_some(), "57 arrived as {:?}", events(scene));
    tab_to(&mut scene.page, "mute");
    press(&mut scene.page, "Space");
    std::thread::sleep(Duration::from_millis(400));
    let from = scene.phone_wire.rtp_from(net::SERVER).len();
    std::thread::sleep(Duration::from_millis(600));
    let muted = recording(&scene.phone_wire.rtp_from(net::SERVER)[from..]);
    assert!(muted.iter().all(|sample| sample.unsigned_abs() < 100), "silence while muted");
    assert_eq!(scene.page.eval("return document.getElementById('mute').getAttribute('aria-pressed')"), "true");
    press(&mut scene.page, "Space");
    check_heard_again(scene);
}

fn check_heard_again(scene: &Scene) {
    let from = scene.phone_wire.rtp_from(net::SERVER).len();
    let loud = || {
        let heard = recording(&scene.phone_wire.rtp_from(net::SERVER)[from..]);
        heard.chunks_exact(800).any(|part| tone::is_loud(part, BROWSER_TONE)).then_some(())
    };
    assert!(poll(SOON, loud).is_some(), "the phone hears the browser again");
}

/// The page is in this phase: nothing about it is inaccessible, and it leaves a picture.
#[track_caller]
fn phase(page: &mut Page, name: &str) {
    page.wait_for(&format!("document.body.dataset.phase === '{name}'"), SOON);
    let faults = page.ask(&json!({"do": "axe"}));
    assert_eq!(faults, json!([]), "`{name}` is not accessible to everybody");
    let folder = root().join("target/screenshots");
    fs::create_dir_all(&folder).expect("a folder for the pictures");
    page.ask(&json!({"do": "screenshot", "path": folder.join(format!("try-{name}.png"))}));
    say(&format!(
        "browser: /try `{name}`: axe-core finds nothing; {}",
        page.ask(&json!({"do": "text", "selector": "h1"}))
    ));
}

#[track_caller]
fn press(page: &mut Page, key: &str) {
    page.ask(&json!({"do": "press", "key": key}));
}

/// Presses Tab until the focus is there, and checks that a person sees where it is.
#[track_caller]
fn tab_to(page: &mut Page, id: &str) {
    for _ in 0..40 {
        let focus = page.eval("return document.activeElement?.id");
        if focus == id {
            let ring = "const s = getComputedStyle(document.activeElement);
                return s.outlineStyle !== 'none' || s.boxShadow !== 'none'";
            assert_eq!(page.eval(ring), true, "the focus on {id} is not to be seen");
            return;
        }
        press(page, "Tab");
    }
    panic!("no way to {id} by Tab");
}

/// The token was in no address; nothing came from elsewhere; the page's own policy stopped nothing.
fn check_nothing_leaked(scene: &mut Scene, ticket: &Ticket) {
    let origin = format!("http://{}/", scene.server.settings.api());
    let requests = scene.page.ask(&json!({"do": "requests"}));
    let requests: Vec<&str> = requests.as_array().expect("a list").iter().filter_map(|r| r.as_str()).collect();
    assert!(requests.len() > 6, "{requests:?}");
    for request in requests {
        let address = request.split(' ').nth(1).expect("an address");
        assert!(address.starts_with(&origin) || address.starts_with("http://127.0.0.1:"), "{request}");
        assert!(!request.contains(&ticket.token), "a token in an address");
    }
    let spoken = scene.page.ask(&json!({"do": "spoken"})).to_string();
    assert!(!spoken.contains("Content Security Policy"), "{spoken}");
}
