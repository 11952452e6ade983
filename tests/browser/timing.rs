//! How long it takes from asking for a token until the destination rings. Printed, not judged: `make bench` judges.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::page::Options;
use super::scene::{SOON, Scene, Way};
use super::support::{Habit, Handset, Stage, net, say};

const CALLS: usize = 15;

#[test]
fn from_token_to_ringing() {
    for way in [Way::Browser, Way::Join] {
        let mut scene = Scene::new(Options::default());
        let phone = scene.network.on("b", || Handset::new(net::DESTINATION, Habit::ANSWERS));
        let mut steps: Vec<[f64; 5]> = (0..=CALLS).map(|call| one_call(&mut scene, &phone, way, call)).collect();
        // The first one opens the microphone.
        steps.remove(0);
        let [whole, token, answer, path, invite] = [0, 1, 2, 3, 4].map(|step| median(&steps, |s| s[step]));
        say(&format!(
            "browser: `{}`: token to the destination's INVITE p50 {whole:.0} ms, of which ours are {ours:.0}: the token \
             {token:.1}, the answer {answer:.1}, the INVITE once the audio path stands {invite:.1}; the path {path:.1}",
            way.name(),
            ours = token + answer + invite
        ));
    }
}

/// The whole time in milliseconds, then: the token, the answer to the offer, from there to the audio path, from
/// there to the INVITE.
fn one_call(scene: &mut Scene, phone: &Handset, way: Way, calls_before: usize) -> [f64; 5] {
    let api = format!("http://{}", scene.server.settings.api());
    let (start, start_wall) = (Instant::now(), SystemTime::now());
    let ticket = scene.ticket(way);
    let token = start.elapsed();
    let about = json!({"api": api, "path": ticket.path, "token": ticket.token});
    let dial = if way == Way::Browser { "await client.dial();" } else { "" };
    let times = scene
        .page
        .eval(&format!("globalThis.client = new Client({about}); await client.connect(); {dial} return client.times"));
    phone.reaches(Stage::Ringing, SOON);
    let rang = super::support::poll(SOON, || {
        phone.dialogs().iter().map(|d| d.received).max().filter(|_| phone.dialogs().len() > calls_before)
    });
    let invite = ms(rang.expect("an INVITE").duration_since(start));
    let start_ms = ms(start_wall.duration_since(UNIX_EPOCH).expect("a clock past 1970"));
    let at = |name: &str| times[name].as_f64().unwrap_or_else(|| panic!("no {name} in {times}")) - start_ms;
    scene.page.eval("await client.hangup(); client.connection.close()");
    scene.server.ended(&ticket.call, SOON).expect("an end");
    [invite, ms(token), at("answered") - at("offered"), at("connected") - at("answered"), invite - at("connected")]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(steps: &[[f64; 5]], of: impl Fn(&[f64; 5]) -> f64) -> f64 {
    let mut values: Vec<f64> = steps.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
