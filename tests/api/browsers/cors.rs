//! Which pages may speak to the browser paths.

use super::world::{World, offer, text};
use crate::client::{Response, exchange, request};

const PAGE: &str = "https://app.example.com";

fn preflight(world: &World, path: &str, origin: &str) -> Response {
    let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
    exchange(world.address, &request("OPTIONS", path, &headers, b""))
}

#[test]
fn an_allowed_page_may_ask_and_read_the_answer() {
    let world = World::with(&format!("allowed_origins = [\"{PAGE}\", \"http://localhost:3000\"]"));
    for path in ["/v1/webrtc/connections", "/v1/rooms/room_x", "/v1/webrtc/connections/conn_x/events"] {
        let allowed = preflight(&world, path, PAGE);
        assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some(PAGE)));
        assert_eq!(allowed.header("access-control-allow-headers"), Some("Authorization, Content-Type, Last-Event-ID"));
        assert_eq!(allowed.header("access-control-allow-methods"), Some("GET, POST, PATCH, DELETE"));
        for origin in
            ["https://evil.example", "https://app.example.com.evil.example", "null", "https://APP.example.com"]
        {
            let refused = preflight(&world, path, origin);
            assert_eq!(refused.header("access-control-allow-origin"), None, "{origin}");
            assert_eq!(refused.header("vary"), Some("Origin"));
        }
    }
    let token = text(&world.webrtc_token(), "token");
    let answer = world.ask("POST", "/v1/webrtc/connections", &token, &[("Origin", PAGE)], &offer("AA"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (201, Some(PAGE)));
    let exposed = "Location, Link, Revbridge-Reconnect, Retry-After, X-Request-Id";
    assert_eq!(answer.header("access-control-expose-headers"), Some(exposed));
    // Also what goes wrong, or the page could not say why.
    let refused = world.ask("POST", "/v1/webrtc/connections", &token, &[("Origin", PAGE)], &offer("AA"));
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (409, Some(PAGE)));
    let method = world.ask("PUT", "/v1/webrtc/connections", &token, &[("Origin", PAGE)], "");
    assert_eq!((method.status, method.header("access-control-allow-origin")), (405, Some(PAGE)));
}

#[test]
fn paths_with_api_keys_are_for_no_page() {
    let world = World::with("allowed_origins = [\"*\"]");
    for path in ["/v1/webrtc-token", "/v1/room-token", "/v1/calls", "/v1/calls/dial"] {
        let response = preflight(&world, path, PAGE);
        assert_eq!((response.status, response.header("access-control-allow-origin")), (405, None), "{path}");
    }
    assert_eq!(preflight(&world, "/v1/webrtc/connections", PAGE).header("access-control-allow-origin"), Some("*"));
}

#[test]
fn nobody_is_allowed_unless_the_configuration_says_so() {
    let world = World::new();
    assert_eq!(preflight(&world, "/v1/webrtc/connections", PAGE).header("access-control-allow-origin"), None);
}
