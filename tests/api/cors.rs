//! Which pages may use a key: none, unless the configuration names them.

use crate::client::{Response, request};
use crate::world::{ALICE, GENEROUS, World};

const APP: &str = "https://app.example.com";

fn preflight(world: &World, origin: &str) -> Response {
    let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
    world.raw(&request("OPTIONS", "/v1/calls/dial", &headers, b""))
}

#[test]
fn no_page_may_unless_it_is_named() {
    let world = World::new();
    let response = preflight(&world, APP);
    assert_eq!((response.status, response.header("allow")), (405, Some("POST")));
    let response = world.call("GET", "/v1/calls", ALICE, &[("Origin", APP)], b"");
    assert!(response.headers.iter().all(|(name, _)| !name.starts_with("access-control") && name != "vary"));
}

#[test]
fn a_page_that_is_named_may_ask_and_read() {
    let world = World::on(&format!("allowed_origins = [\"{APP}\"]\n"), GENEROUS);
    let response = preflight(&world, APP);
    assert_eq!((response.status, response.header("access-control-allow-origin")), (204, Some(APP)));
    assert!(response.header("access-control-allow-headers").unwrap().contains("Idempotency-Key"));
    for status in [200, 401, 404] {
        let (path, key) = match status {
            200 => ("/v1/calls", ALICE),
            401 => ("/v1/calls", "wrong"),
            _ => ("/nowhere", ALICE),
        };
        let response = world.call("GET", path, key, &[("Origin", APP)], b"");
        assert_eq!((response.status, response.header("access-control-allow-origin")), (status, Some(APP)));
        assert!(response.header("access-control-expose-headers").unwrap().contains("RateLimit"));
        assert_eq!(response.header("vary"), Some("Origin"));
    }
    for other in ["https://app.example.com.evil.example", "http://app.example.com", "null"] {
        assert_eq!(preflight(&world, other).header("access-control-allow-origin"), None, "{other}");
        let response = world.call("GET", "/v1/calls", ALICE, &[("Origin", other)], b"");
        assert_eq!(response.header("access-control-allow-origin"), None, "{other}");
    }
}
