//! The stream of events.

use std::time::Duration;

use revbridge::media::{Flow, MediaEvent, Quality};

use super::world::World;

#[test]
fn it_tells_each_state_once_and_ends_with_the_call() {
    let world = World::new();
    let browser = world.joiner();
    let mut stream = world.events(&browser, None);
    stream.until("connecting");
    world.media(&browser, MediaEvent::BrowserUp);
    stream.until("answered");
    let way = |packets| Flow { packets, lost: 1, jitter_ms: 3 };
    let quality = Quality { received: way(250), sent: way(240), mos_hundredths: 420, rtt_ms: Some(12) };
    world.media(&browser, MediaEvent::Quality(quality));
    stream.until("quality").until("rtt_ms");
    world.on(&browser, "DELETE", "", "");
    stream.until("ended");
    assert_eq!(stream.states(), ["connecting", "ready", "ringing", "answered", "ended"]);
    let text = stream.all();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("content-type: text/event-stream"), "{text}");
    assert!(text.contains("event: peer\ndata: {\"connected\":true}\n\n"), "{text}");
    let told = r#"data: {"received":{"packets":250,"lost":1,"jitter_ms":3},"sent":{"packets":240,"lost":1,"jitter_ms":3},"mos":4.2,"rtt_ms":12}"#;
    assert!(text.contains(told), "{text}");
    let call = browser.call;
    assert!(text.contains(&format!("data: {{\"state\":\"connecting\",\"call_id\":\"{call}\",\"at\":\"20")), "{text}");
}

#[test]
fn who_comes_back_hears_what_was_missed_and_nothing_twice() {
    let world = World::new();
    let browser = world.joiner();
    world.events(&browser, None).until("connecting");
    world.media(&browser, MediaEvent::BrowserUp);
    let mut first = world.events(&browser, None);
    first.until("answered");
    let last: u64 = first.text.rsplit("id: ").next().unwrap().lines().next().unwrap().parse().unwrap();
    drop(first);
    let mut second = world.events(&browser, Some(last - 1));
    second.until("answered");
    assert_eq!(second.states(), ["answered"]);
    let third = world.events(&browser, Some(last));
    world.on(&browser, "DELETE", "", "");
    let text = third.all();
    assert!(!text.contains("answered") && text.contains("ended"), "{text}");
    // After the end there is nothing more to wait for.
    assert!(world.events(&browser, None).all().contains("ended"));
    assert!(!world.events(&browser, Some(last + 10)).all().contains("event: state"));
}

#[test]
fn an_id_that_is_none_is_named() {
    let world = World::new();
    let browser = world.browser();
    let path = format!("{}/events", browser.location);
    let refused = world.ask("GET", &path, &browser.secret, &[("Last-Event-ID", "x")], "");
    assert_eq!(refused.status, 400);
    refused.field("Last-Event-ID");
}

#[test]
fn a_fifth_stream_takes_the_place_of_the_first() {
    let world = World::new();
    let browser = world.browser();
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = world.events(&browser, None);
        stream.until("connecting");
        // It waits for more only after it has written what there was.
        std::thread::sleep(Duration::from_millis(50));
        streams.push(stream);
    }
    let first = streams.remove(0).all();
    assert!(!first.contains("ended"), "{first}");
    world.on(&browser, "DELETE", "", "");
    streams.into_iter().for_each(|stream| assert!(stream.all().contains("ended")));
}
