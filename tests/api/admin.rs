//! `/v1/admin` over real sockets, beside the API whose keys it makes and takes.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use revbridge::api::{Admin, AdminApi, AdminKeys, NotReloaded, Reloaded, ServeLimits, admin_router, serve};
use revbridge::config::{AdminKey, Config};
use revbridge::store::Tenancy as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::backend::{Door, now};
use crate::client::{Response, exchange, request};
use crate::world::{ALICE, FROM, READ_TIMEOUT, TO, World, good};

const ADMIN: &str = "key-of-an-admin";
const BOB: &str = "key-of-another-admin";

/// What the next reload comes to.
type Next = Arc<Mutex<Option<Result<Reloaded, NotReloaded>>>>;

struct Desk {
    world: World,
    address: SocketAddr,
    next: Next,
    keys: AdminKeys,
    _runtime: Runtime,
}

impl Desk {
    fn new() -> Self {
        let world = World::new();
        let key = |name: &str, key: &str| AdminKey { name: name.into(), sha256: Sha256::digest(key).into() };
        let keys = AdminKeys::new(&[key("ada", ADMIN), key("bob", BOB)]);
        let next: Next = Arc::default();
        let reloads = Arc::clone(&next);
        let api = AdminApi {
            store: Arc::clone(&world.backend) as Arc<dyn revbridge::store::Store>,
            clock: Box::new(now),
            keys: keys.clone(),
            switch: Box::new(Door(Arc::clone(&world.backend))),
            reload: Box::new(move || reloads.lock().unwrap().take().expect("a reload that was asked for")),
            read_timeout: READ_TIMEOUT,
            traces: None,
            whole_numbers: false,
        };
        let admin = Admin { metrics: Arc::new(String::new), ready: Arc::new(|| Ok(())) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ServeLimits { max_connections: 400, read_timeout: READ_TIMEOUT };
        runtime.spawn(serve(listener, admin_router(admin, api), limits, std::future::pending()));
        Self { world, address, next, keys, _runtime: runtime }
    }

    fn ask(&self, key: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let bearer = format!("Bearer {key}");
        let mut all = vec![("Authorization", bearer.as_str())];
        if !body.is_empty() {
            all.push(("Content-Type", "application/json"));
        }
        all.extend_from_slice(headers);
        exchange(self.address, &request(method, &format!("/v1/admin{path}"), &all, body.as_bytes()))
    }

    fn get(&self, path: &str) -> Response {
        self.ask(ADMIN, "GET", path, &[], "")
    }

    /// A request that is refused, with its status and code.
    fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let response = self.ask(ADMIN, method, path, &[], &body.to_string());
        (response.status, response.code())
    }

    /// One that succeeds, with its data.
    fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.ask(ADMIN, method, path, &[], &body);
        assert!(response.status < 300, "{method} {path}: {response:?}");
        response.data()
    }

    fn issue(&self) -> (String, String) {
        let key = self.done("POST", "/organizations/acme/keys", json!({"user_id": "alice", "scopes": ["calls:read"]}));
        (key["id"].as_str().unwrap().to_owned(), key["secret"].as_str().unwrap().to_owned())
    }

    fn status_with(&self, key: &str) -> u16 {
        self.world.call("GET", "/v1/calls", key, &[], b"").status
    }
}

#[test]
fn without_an_admin_key_there_is_nothing() {
    let desk = Desk::new();
    let paths =
        ["/organizations", "/organizations/acme", "/prices", "/changes", "/keys/key_01ARZ3NDEKTSV4RRFFQ69G5FAV"];
    for path in paths {
        for key in ["", "wrong", ALICE] {
            let answer = desk.ask(key, "GET", path, &[], "");
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path} {key}");
            assert!(answer.header("www-authenticate").is_some() && answer.header("x-request-id").is_some());
        }
        assert_ne!(desk.get(path).status, 401, "{path}");
    }
    // An admin key is none for calls.
    assert_eq!(desk.status_with(ADMIN), 401);
    // A reload that takes the last admin key away closes the paths.
    desk.keys.replace(&[]);
    let unknown = desk.get("/no-such-path");
    for path in paths {
        let answer = desk.get(path);
        assert_eq!((answer.status, &answer.body), (404, &unknown.body), "{path}");
    }
}

/// Each request of the page is one that there is, and that asks for a key; a path or a method that is made up is not.
#[test]
fn the_page_about_it_names_what_there_is() {
    let desk = Desk::new();
    let page = include_str!("../../docs/admin-api.md");
    let requests: Vec<(&str, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`')?.0.split_once(" /v1/admin"))
        .map(|(method, path)| (method, path.replace(['{', '}'], "")))
        .collect();
    assert_eq!(requests.len(), 26);
    for (method, path) in &requests {
        let answer = desk.ask("wrong", method, path, &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{method} {path}");
    }
    for (method, path, status) in [("GET", "/reloads", 404), ("GET", "/reload", 405), ("PUT", "/prices", 405)] {
        assert_eq!(desk.ask("wrong", method, path, &[], "").status, status, "{method} {path}");
    }
    for (name, _) in desk.get("/organizations/acme").data().as_object().unwrap() {
        let told = ["id", "status", "created_at", "closed_at"].contains(&name.as_str());
        assert!(told || page.contains(&format!("| `{name}` |")), "the page does not speak of {name}");
    }
}

#[test]
fn a_tenant_is_made_and_dials_at_once() {
    let desk = Desk::new();
    let created = desk.ask(
        ADMIN,
        "POST",
        "/organizations",
        &[],
        &json!({"id": "zoo", "allowed_destinations": ["+1"], "daily_spend_limit": "5", "timezone": "Europe/Berlin"})
            .to_string(),
    );
    assert_eq!((created.status, created.header("location")), (201, Some("/v1/admin/organizations/zoo")));
    assert_eq!(created.data(), desk.get("/organizations/zoo").data());
    let user = desk.done("POST", "/organizations/zoo/users", json!({"id": "eve", "phone": "+14155550111"}));
    assert_eq!(user, desk.get("/organizations/zoo/users/eve").data());
    desk.done("POST", "/organizations/zoo/numbers", json!({"number": "+12025550111"}));
    let body = json!({"user_id": "eve", "scopes": ["calls:write"], "name": "laptop"});
    let key = desk.ask(ADMIN, "POST", "/organizations/zoo/keys", &[], &body.to_string());
    assert_eq!((key.status, key.header("cache-control")), (201, Some("no-store")));
    let (key, secret) = (key.data(), key.data()["secret"].as_str().unwrap().to_owned());
    assert_eq!(key["status"], "active");
    let shown = desk.get(&format!("/keys/{}", key["id"].as_str().unwrap())).data();
    assert_eq!((&shown["name"], &shown["secret"]), (&json!("laptop"), &Value::Null));

    let dial = json!({"to_number": TO, "from_number": "+12025550111"}).to_string();
    let call = |body: &str| desk.world.call("POST", "/v1/calls/dial", &secret, &[], body.as_bytes());
    assert_eq!(call(&dial).status, 202);
    // Each change holds for the next dial.
    let code = || (call(&dial).status, call(&dial).code());
    desk.done("PATCH", "/organizations/zoo", json!({"max_concurrent_legs": 2}));
    assert_eq!(code(), (429, "concurrency_limit".to_owned()));
    desk.done("PATCH", "/organizations/zoo", json!({"max_concurrent_legs": 4, "allowed_destinations": ["+44"]}));
    assert_eq!(code(), (403, "destination_not_allowed".to_owned()));
    desk.done("PATCH", "/organizations/zoo", json!({"allowed_destinations": ["+1"]}));
    desk.done("DELETE", "/prices/+1", Value::Null);
    assert_eq!(code(), (403, "destination_not_allowed".to_owned()));
    desk.done("PUT", "/prices/%2B1", json!({"per_minute": "5.01"}));
    assert_eq!(code(), (403, "spend_limit_exceeded".to_owned()));
    desk.done("PUT", "/prices/+1", json!({"per_minute": "0.06", "connect": "0.01", "first_seconds": 30}));
    desk.done("DELETE", "/organizations/zoo/numbers/+12025550111", Value::Null);
    assert_eq!(code(), (403, "caller_id_not_verified".to_owned()));
    desk.done("DELETE", "/organizations/zoo", Value::Null);
    assert_eq!(code(), (401, "unauthorized".to_owned()));
    assert_eq!(desk.world.dial(&good()).status, 202, "the neighbour is unhurt");
}

#[test]
fn every_bad_field_is_named_at_once_and_nothing_is_changed() {
    let desk = Desk::new();
    let newest = || desk.get("/changes").json()["data"][0]["sequence"].as_i64().unwrap();
    let before = newest();
    let fields = |method: &str, path: &str, body: Value| {
        let response = desk.ask(ADMIN, method, path, &[], &body.to_string());
        assert_eq!((response.status, response.code().as_str()), (400, "invalid_request"), "{body}: {response:?}");
        let named = response.json()["error"]["fields"].as_object().cloned().unwrap_or_default();
        named.keys().cloned().collect::<Vec<_>>()
    };
    let bad = json!({
        "id": "a b", "allowed_destinations": ["+1", 7], "daily_spend_limit": "-1", "max_concurrent_legs": 1,
        "max_calls_per_minute": "30", "timezone": "Mars/Olympus", "confirm": "maybe", "max_duration_seconds": 1e9,
        "color": "red",
    });
    let mut expected: Vec<_> = bad.as_object().unwrap().keys().cloned().collect();
    expected.sort();
    assert_eq!(fields("POST", "/organizations", bad), expected);
    assert_eq!(fields("POST", "/organizations", json!({})), ["allowed_destinations", "daily_spend_limit", "id"]);
    assert_eq!(fields("PATCH", "/organizations/acme", json!({"closed": true, "id": "x"})), ["closed", "id"]);
    assert_eq!(fields("PATCH", "/organizations/acme", json!({"timezone": null})), ["timezone"]);
    assert_eq!(fields("POST", "/organizations/acme/users", json!({"id": "x\r\ny", "phone": "1"})), ["id", "phone"]);
    assert_eq!(fields("POST", "/organizations/acme/users", json!({"id": "x", "phone": FROM})), ["phone"]);
    assert_eq!(fields("PATCH", "/organizations/acme/users/alice", json!({})), ["phone"]);
    assert_eq!(fields("POST", "/organizations/acme/numbers", json!({"number": "+1 202"})), ["number"]);
    let key = json!({"user_id": "alice", "scopes": ["calls:everything"], "expires_at": "2001-01-01T00:00:00Z"});
    assert_eq!(fields("POST", "/organizations/acme/keys", key), ["expires_at", "scopes"]);
    let key = json!({"user_id": "nobody", "scopes": [], "expires_at": null});
    assert_eq!(fields("POST", "/organizations/acme/keys", key), ["user_id"]);
    let key = json!({"scopes": "calls:read", "expires_at": "soon", "name": "x".repeat(121)});
    assert_eq!(fields("POST", "/organizations/acme/keys", key), ["expires_at", "name", "scopes", "user_id"]);
    let price = json!({"per_minute": 1, "connect": "x", "first_seconds": 0, "step_seconds": 3601});
    assert_eq!(fields("PUT", "/prices/1", price), ["connect", "first_seconds", "per_minute", "prefix", "step_seconds"]);
    let (id, _) = desk.issue();
    let rotate = json!({"overlap_seconds": 2_592_001, "expires_at": 7});
    assert_eq!(fields("POST", &format!("/keys/{id}/rotate"), rotate), ["expires_at", "overlap_seconds"]);
    assert_eq!(fields("DELETE", &format!("/keys/{id}"), json!({"really": true})), ["really"]);
    for query in ["?limit=0", "?limit=101", "?cursor=zz", "?cursor=00", "?color=red", "?limit=1&limit=2"] {
        assert_eq!(desk.get(&format!("/organizations/acme/keys{query}")).status, 400, "{query}");
    }
    assert_eq!(newest(), before + 1, "the key that was issued, and nothing else");
}

#[test]
fn strings_that_mean_something_elsewhere_are_refused_or_inert() {
    let desk = Desk::new();
    for text in ["a\r\nX-Injected: 1", "a\0b", "a\u{2028}b", "\u{1b}[31m"] {
        for (path, body) in [
            ("/organizations", json!({"id": text, "allowed_destinations": [], "daily_spend_limit": "1"})),
            ("/organizations", json!({"id": "x", "allowed_destinations": [text], "daily_spend_limit": "1"})),
            (
                "/organizations",
                json!({"id": "x", "allowed_destinations": [], "daily_spend_limit": "1", "timezone": text}),
            ),
            ("/organizations/acme/users", json!({"id": text})),
            ("/organizations/acme/keys", json!({"user_id": "alice", "scopes": [], "name": text})),
            ("/organizations/acme/keys", json!({"user_id": text, "scopes": []})),
            ("/organizations/acme/keys", json!({"user_id": "alice", "scopes": [text]})),
        ] {
            assert_eq!(desk.refused("POST", path, body.clone()), (400, "invalid_request".to_owned()), "{body}");
        }
    }
    // Quotes and brackets in a name are just letters.
    let name = r#"o'hara "<b>" '); DROP TABLE tenant; --"#;
    let body = json!({"user_id": "alice", "scopes": [], "name": name});
    let key = desk.done("POST", "/organizations/acme/keys", body);
    assert_eq!(desk.get(&format!("/keys/{}", key["id"].as_str().unwrap())).data()["name"], name);
    for path in [
        "/organizations/a%0D%0Ab",
        "/organizations/%00",
        "/organizations/acme%2Fusers",
        "/keys/%27%20OR%201=1",
        "/prices/%0A",
    ] {
        assert_eq!((desk.get(path).status, desk.get(path).code().as_str()), (404, "not_found"), "{path}");
    }
    for body in ["[]", "{", "{\"id\":1,\"id\":2}", "\u{feff}{}", &"[".repeat(60_000)] {
        assert_eq!(desk.ask(ADMIN, "POST", "/organizations", &[], body).status, 400);
    }
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(desk.ask(ADMIN, "POST", "/organizations", &[], &large).status, 413);
    let typed = [("Content-Type", "text/plain")];
    let bearer = format!("Bearer {ADMIN}");
    let head = [("Authorization", bearer.as_str()), typed[0]];
    assert_eq!(exchange(desk.address, &request("POST", "/v1/admin/organizations", &head, b"{}")).status, 415);
    assert_eq!(desk.ask(ADMIN, "PUT", "/organizations", &[], "{}").status, 405);
}

#[test]
fn what_is_there_and_what_is_not_there_is_told_apart() {
    let desk = Desk::new();
    let limits = json!({"allowed_destinations": [], "daily_spend_limit": "1"});
    let with_id = |id: &str| {
        let mut body = limits.clone();
        body["id"] = id.into();
        body
    };
    let conflict = |code: &str| (409, code.to_owned());
    assert_eq!(desk.refused("POST", "/organizations", with_id("acme")), conflict("already_exists"));
    assert_eq!(desk.refused("POST", "/organizations/acme/users", json!({"id": "alice"})), conflict("already_exists"));
    assert_eq!(
        desk.refused("POST", "/organizations/acme/numbers", json!({"number": FROM})),
        conflict("already_exists")
    );
    assert_eq!(desk.refused("POST", "/organizations/other/numbers", json!({"number": FROM})), conflict("taken"));
    let missing = (404, "not_found".to_owned());
    for (method, path, body) in [
        ("PATCH", "/organizations/nowhere", json!({})),
        ("POST", "/organizations/nowhere/users", json!({"id": "x"})),
        ("POST", "/organizations/nowhere/numbers", json!({"number": "+12025550123"})),
        ("POST", "/organizations/nowhere/keys", json!({"user_id": "alice", "scopes": []})),
        ("PATCH", "/organizations/acme/users/nobody", json!({"phone": null})),
        ("DELETE", "/organizations/acme/users/nobody", json!({})),
        ("DELETE", "/organizations/acme/numbers/+19995550100", json!({})),
        ("DELETE", "/organizations/other/numbers/+12025550100", json!({})),
        ("DELETE", "/keys/key_01ARZ3NDEKTSV4RRFFQ69G5FAV", json!({})),
        ("POST", "/keys/nonsense/rotate", json!({})),
        ("DELETE", "/prices/+2", json!({})),
    ] {
        assert_eq!(desk.refused(method, path, body), missing, "{method} {path}");
    }
    let (id, _) = desk.issue();
    let rotated = desk.done("POST", &format!("/keys/{id}/rotate"), Value::Null);
    assert_eq!(desk.refused("POST", &format!("/keys/{id}/rotate"), json!({})), conflict("already_rotated"));
    let successor = rotated["id"].as_str().unwrap();
    desk.done("DELETE", &format!("/keys/{successor}"), Value::Null);
    assert_eq!(desk.refused("POST", &format!("/keys/{successor}/rotate"), json!({})), conflict("key_not_active"));
    desk.done("DELETE", "/organizations/acme", Value::Null);
    assert_eq!(desk.refused("POST", "/organizations/acme/users", json!({"id": "x"})), conflict("organization_closed"));
    assert_eq!(desk.refused("PATCH", "/organizations/acme", limits), conflict("organization_closed"));
    assert_eq!(desk.done("PATCH", "/organizations/acme", json!({"closed": false}))["status"], "active");
}

#[test]
fn a_key_that_is_revoked_expired_or_rotated_away_is_one_that_never_was() {
    let desk = Desk::new();
    let with = |key: &str| desk.world.call("GET", "/v1/calls", key, &[("X-Request-Id", "same")], b"");
    let never = with("rvk_never");
    let (id, secret) = desk.issue();
    assert_eq!(desk.status_with(&secret), 200);
    let revoked = desk.done("DELETE", &format!("/keys/{id}"), Value::Null);
    assert_eq!((with(&secret), &revoked["status"]), (never.clone(), &json!("revoked")));
    assert_eq!(desk.done("DELETE", &format!("/keys/{id}"), Value::Null)["revoked_at"], revoked["revoked_at"]);

    let (id, secret) = desk.issue();
    let began = Instant::now();
    let successor = desk.done("POST", &format!("/keys/{id}/rotate"), json!({"overlap_seconds": 1}));
    let (new, open) = (successor["secret"].as_str().unwrap(), desk.status_with(&secret));
    assert!(open == 200 || began.elapsed() > Duration::from_secs(1), "both open");
    assert_eq!(desk.status_with(new), 200);
    while desk.status_with(&secret) == 200 {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
    assert_eq!(with(&secret), never);
    assert_eq!(desk.status_with(new), 200);
    let old = desk.get(&format!("/keys/{id}")).data();
    assert_eq!((&old["status"], &old["rotated_to"]), (&json!("expired"), &successor["id"]));
}

#[test]
fn a_request_that_is_repeated_happens_once_and_shows_no_secret_again() {
    let desk = Desk::new();
    let body = json!({"user_id": "alice", "scopes": ["calls:read"]}).to_string();
    let path = "/organizations/acme/keys";
    let once = |key: &str, body: &str| desk.ask(key, "POST", path, &[("Idempotency-Key", "k1")], body);
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| once(ADMIN, &body))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    let (first, repeated): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.header("idempotency-replay").is_none());
    assert_eq!((first.len(), repeated.len()), (1, 19));
    let secret = first[0].data()["secret"].as_str().unwrap().to_owned();
    assert_eq!(desk.status_with(&secret), 200);
    for answer in repeated {
        assert_eq!((&answer.data()["id"], &answer.data()["secret"]), (&first[0].data()["id"], &Value::Null));
        assert!(answer.data()["note"].as_str().unwrap().contains("cannot be shown again"));
        assert_eq!(answer.header("location"), first[0].header("location"));
    }
    let other = once(ADMIN, &json!({"user_id": "alice", "scopes": []}).to_string());
    assert_eq!((other.status, other.code().as_str()), (409, "idempotency_conflict"));
    // Another administrator's key is another request.
    assert_eq!(once(BOB, &body).header("idempotency-replay"), None);
    assert_eq!(desk.ask(ADMIN, "POST", path, &[("Idempotency-Key", "a b")], &body).status, 400);
    // A refusal can be tried again.
    let number = || {
        let body = json!({"number": FROM}).to_string();
        desk.ask(ADMIN, "POST", "/organizations/other/numbers", &[("Idempotency-Key", "k2")], &body)
    };
    assert_eq!(number().status, 409);
    desk.done("DELETE", &format!("/organizations/acme/numbers/{FROM}"), Value::Null);
    assert_eq!((number().status, number().header("idempotency-replay")), (201, Some("true")));
}

#[test]
fn pages_see_each_once_while_others_come_and_go() {
    let desk = Desk::new();
    for n in 0..25 {
        desk.done("POST", "/organizations/acme/users", json!({"id": format!("user-{n:02}")}));
    }
    let mut seen = Vec::new();
    let mut path = "/organizations/acme/users?limit=10".to_owned();
    loop {
        let page = desk.get(&path).json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["meta"]["cursor"].as_str() else { break };
        path = format!("/organizations/acme/users?limit=10&cursor={cursor}");
        // The last one that was seen goes, and one before it comes.
        desk.done("DELETE", &format!("/organizations/acme/users/{}", seen.last().unwrap()), Value::Null);
        desk.done("POST", "/organizations/acme/users", json!({"id": format!("aaa-{}", seen.len())}));
    }
    let expected: Vec<_> =
        ["alice", "homeless"].map(str::to_owned).into_iter().chain((0..25).map(|n| format!("user-{n:02}"))).collect();
    assert_eq!(seen, expected);

    let mut sequences = Vec::new();
    let mut path = "/changes?limit=10&organization=acme".to_owned();
    loop {
        let page = desk.get(&path).json();
        let entries = page["data"].as_array().unwrap().clone();
        assert!(entries.iter().all(|entry| entry["organization_id"] == "acme"));
        sequences.extend(entries.iter().map(|entry| entry["sequence"].as_i64().unwrap()));
        let Some(cursor) = page["meta"]["cursor"].as_str() else { break };
        path = format!("/changes?limit=10&organization=acme&cursor={cursor}");
        desk.done("PATCH", "/organizations/acme", json!({"max_concurrent_legs": 100 + sequences.len()}));
    }
    assert!(sequences.is_sorted_by(|a, b| a > b) && sequences.len() > 30, "{sequences:?}");
}

#[test]
fn the_log_says_who_and_no_secret_is_anywhere() {
    let desk = Desk::new();
    let body = json!({"user_id": "alice", "scopes": ["calls:read"]}).to_string();
    let head = [("X-Request-Id", "req-7"), ("Idempotency-Key", "k")];
    let issued = desk.ask(BOB, "POST", "/organizations/acme/keys", &head, &body);
    let secret = issued.data()["secret"].as_str().unwrap().to_owned();
    desk.done("PATCH", "/organizations/acme/users/alice", json!({"phone": "+14155550177"}));
    let log = desk.get("/changes").json();
    let entry = |n: usize| log["data"][n].clone();
    assert_eq!((entry(0)["by"].as_str(), entry(0)["action"].as_str()), (Some("ada"), Some("user.update")));
    assert_eq!((&entry(0)["before"]["phone"], &entry(0)["after"]["phone"]), (&json!("+…00"), &json!("+…77")));
    let told = ["by", "action", "name", "request_id", "organization_id"].map(|field| entry(1)[field].clone());
    assert_eq!(told, [json!("bob"), json!("key.create"), issued.data()["id"].clone(), json!("req-7"), json!("acme")]);
    assert_eq!((&entry(1)["before"], &entry(1)["after"]["scopes"]), (&Value::Null, &json!(["calls:read"])));
    assert!(log["data"].as_array().unwrap().iter().any(|entry| entry["by"] == "file"), "what the world began with");

    let log = log.to_string();
    let digest = hex::encode(Sha256::digest(&secret));
    assert!(!log.contains(&secret) && !log.contains(&digest) && !log.contains("+14155550177"));
    let kept = desk.world.backend.bytes();
    let holds = |text: &str| kept.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds(&digest) && !holds(&secret) && !holds(secret.trim_start_matches("rvk_")));
}

#[test]
fn a_reload_says_what_came_of_it() {
    let desk = Desk::new();
    let reload = |next| {
        *desk.next.lock().unwrap() = Some(next);
        desk.ask(ADMIN, "POST", "/reload", &[], "")
    };
    assert_eq!(reload(Ok(vec![])).data(), json!({"skipped": []}));
    let errors = Config::parse("[api]\nlisten = 7\n", "c").unwrap_err();
    let refused = reload(Err(NotReloaded::File(errors)));
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_configuration"));
    assert!(refused.field("2:10").contains("api.listen"));
    let refused = reload(Err(NotReloaded::Tls("cannot use key.pem ([tls] key_file)".to_owned())));
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_configuration"));
    assert_eq!(refused.field("tls"), "cannot use key.pem ([tls] key_file)");
    assert_eq!(reload(Err(NotReloaded::Store(revbridge::store::StoreDown))).status, 503);
}

#[test]
fn while_the_store_is_out_nothing_changes_and_what_is_known_is_shown() {
    let desk = Desk::new();
    desk.world.backend.down.store(true, Ordering::SeqCst);
    let answer = desk.ask(ADMIN, "DELETE", "/organizations/acme", &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(desk.get("/changes").status, 503);
    assert_eq!(desk.get("/organizations/acme").data()["status"], "active");
    desk.world.backend.down.store(false, Ordering::SeqCst);
    assert!(desk.world.backend.tenants().organizations().all(|organization| organization.is_open()));
    assert_eq!(desk.world.dial(&good()).status, 202);
}
