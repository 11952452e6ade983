//! Secrets are in answers to those whom they belong to, and nowhere else.

use revbridge::media::MediaEvent;

use super::world::{KEY, World, numbers, text};

/// In whatever spelling: as text, and as its bytes.
fn holds(bytes: &[u8], secret: &str) -> bool {
    let digits = &secret[4..];
    let raw = hex::decode(digits).unwrap();
    [digits.as_bytes(), digits.to_uppercase().as_bytes(), &raw]
        .iter()
        .any(|what| memchr::memmem::find(bytes, what).is_some())
}

#[test]
fn no_secret_is_in_a_log_a_url_or_the_store() {
    let world = World::new();
    let key = [("Idempotency-Key", "kept")];
    let token = world.ask("POST", "/v1/webrtc-token", KEY, &key, &numbers("+12125550123"));
    let secret = text(&token, "token");
    let answer = world.connect(&secret);
    let browser = super::world::browser(&answer, &token);
    world.media(&browser, MediaEvent::BrowserUp);
    world.on(&browser, "POST", "/dial", "{}");
    world.events(&browser, None).until("answered");
    world.on(&browser, "DELETE", "", "");
    world.running.board.wait("the end", |stage| stage.live == 0);

    for secret in [&secret, &browser.secret] {
        assert!(holds(secret.as_bytes(), secret));
        let transcript = world.running.board.stage(|stage| stage.transcript.clone());
        assert!(transcript.contains("Connected") && !holds(transcript.as_bytes(), secret), "a log would show it");
        assert!(!holds(browser.location.as_bytes(), secret));
        for entry in std::fs::read_dir(world.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            assert!(!holds(&std::fs::read(&path).unwrap(), secret), "{}", path.display());
        }
    }
    // In a URL a secret opens nothing, and an answer does not repeat it.
    for query in ["token", "access_token", "authorization"] {
        let fresh = text(&world.webrtc_token(), "token");
        let path = format!("/v1/webrtc/connections?{query}={fresh}");
        let refused = world.ask("POST", &path, "", &[], &super::world::offer("AA"));
        assert_eq!((refused.status, refused.code().as_str()), (401, "token_invalid"));
        assert!(!holds(refused.body.as_bytes(), &fresh));
    }
}
