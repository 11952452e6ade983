//! The page to try a call.

use super::world::World;

#[test]
fn it_is_there_only_when_it_was_asked_for() {
    let (off, on) = (World::new(), World::with("try_page = true"));
    for path in ["/try", "/try/style.css", "/try/try.js", "/try/revdesk-webrtc.js"] {
        assert_eq!(off.ask("GET", path, "", &[], "").status, 404, "{path}");
        let page = on.ask("GET", path, "", &[], "");
        assert_eq!((page.status, page.header("x-content-type-options")), (200, Some("nosniff")), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"));
        let elsewhere = ["src=\"http", "href=\"http", "@import", "url(http", "from \"http"];
        assert!(!elsewhere.iter().any(|what| page.body.contains(what)), "{path} loads something from elsewhere");
        assert!(!page.body.contains("<script>") && !page.body.contains(" style=\""), "{path} needs a wider policy");
    }
    assert_eq!(on.ask("POST", "/try", "", &[], "").status, 405);
}
