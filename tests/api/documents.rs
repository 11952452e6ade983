//! The OpenAPI document and what is served: one thing, held together from both ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::browsers::world as browsers;
use crate::client::{Response, request};
use crate::world::{ALICE, World, good};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn document() -> Value {
    serde_json::from_str(&revbridge::api::document()).unwrap()
}

/// Path, method and operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let item = item.as_object().unwrap().clone();
        let path = path.clone();
        item.into_iter().map(move |(method, operation)| (path.clone(), method, operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn the_golden_copy_is_what_is_served() {
    let now = revbridge::api::document() + "\n";
    if std::env::var_os("REVBRIDGE_GOLDEN").is_some_and(|wish| wish == "write") {
        fs::write(GOLDEN, &now).unwrap();
    }
    let golden = fs::read_to_string(GOLDEN).unwrap_or_default();
    let differs = golden.lines().zip(now.lines()).position(|(a, b)| a != b);
    assert!(
        golden == now,
        "docs/openapi.json differs from what is served at line {:?}; if that is meant: \
         REVBRIDGE_GOLDEN=write cargo test --test api documents",
        differs.map(|line| line + 1)
    );
    assert!(now.contains("\"openapi\": \"3.1.0\""));
}

#[test]
fn what_is_served_is_the_document_of_the_paths_that_are_there() {
    let world = browsers::World::new();
    let served = world.ask("GET", "/openapi.json", "", &[], "");
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.json(), document());
    // Without browsers their paths are neither there nor in it.
    let paths = World::new().get("/openapi.json").json()["paths"].clone();
    assert!(paths["/v1/calls/dial"].is_object() && paths["/v1/webrtc-token"].is_null(), "{paths}");
}

/// Every reference leads somewhere, every operation has a name of its own, every request is closed, and every answer
/// says what all answers have.
#[test]
fn the_document_keeps_its_own_promises() {
    let document = document();
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{place}");
        assert!(operation["summary"].as_str().is_some_and(|s| s.ends_with('.') && s.len() < 110), "{place}: summary");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(!response["description"].as_str().unwrap().is_empty(), "{place} {status}");
            assert!(response["headers"]["X-Request-Id"].is_object(), "{place} {status}");
            let wait = ["429", "503"].contains(&status.as_str());
            assert_eq!(response["headers"]["Retry-After"].is_object(), wait, "{place} {status}");
        }
        let repeatable = method != "get" && operation["security"].to_string().contains("\"key\"");
        let key = operation["parameters"].to_string().contains("Idempotency-Key");
        assert_eq!(key, repeatable, "{place}");
        if let Some(schema) = body_schema(&document, &operation) {
            assert_eq!(schema["additionalProperties"], false, "{place}: its body is open");
        }
    }
    assert!(names.len() >= 16, "{names:?}");
}

/// The schema of a JSON body.
fn body_schema(document: &Value, operation: &Value) -> Option<Value> {
    let schema = operation.pointer("/requestBody/content/application~1json/schema")?;
    let schema =
        schema["oneOf"].as_array().and_then(|all| all.iter().find(|s| s["$ref"].is_string())).unwrap_or(schema);
    Some(resolved(document, schema))
}

fn resolved(document: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolved(document, document.pointer(&reference[1..]).unwrap()),
        None => schema.clone(),
    }
}

/// Values that a schema allows, its edges among them.
fn allowed(document: &Value, schema: &Value) -> Vec<Value> {
    let schema = resolved(document, schema);
    let list = |name: &str| schema[name].as_array().cloned().unwrap_or_default();
    let of_one = schema["oneOf"].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"));
    if let Some(inner) = of_one {
        return allowed(document, inner);
    }
    let named = [list("enum"), list("examples")].concat();
    if !named.is_empty() {
        return named;
    }
    match schema["type"].as_str().unwrap_or_else(|| panic!("{schema}")) {
        "integer" => vec![schema["minimum"].clone(), schema["maximum"].clone()],
        "boolean" => vec![json!(true), json!(false)],
        "array" => vec![json!(allowed(document, &schema["items"]))],
        "string" => vec![json!("x".repeat(schema["maxLength"].as_u64().unwrap() as usize)), json!("")],
        other => panic!("a field of type {other}"),
    }
}

/// Values just outside.
fn refused(document: &Value, schema: &Value) -> Vec<Value> {
    let schema = resolved(document, schema);
    let no_list = if schema["type"] == "array" { json!(["x"]) } else { json!([]) };
    let mut values = vec![json!(null), no_list, json!({})];
    if let Some(n) = schema["minimum"].as_i64() {
        values.extend([json!(n - 1), json!(schema["maximum"].as_i64().unwrap() + 1), json!("60"), json!(60.5)]);
    }
    if let Some(n) = schema["maxLength"].as_u64() {
        values.extend([json!("x".repeat(n as usize + 1)), json!("a\nb"), json!(1)]);
    }
    if schema["pattern"].is_string() && schema["maxLength"].is_null() {
        values.extend([json!(""), json!("12"), json!("+0123"), json!(1)]);
    }
    values
}

/// The schema that is published and the reader that decides say the same, property by property.
#[test]
fn each_body_is_read_as_it_is_described() {
    let document = document();
    let mut bodies = 0;
    for (path, method, operation) in operations(&document) {
        let Some(schema) = body_schema(&document, &operation) else { continue };
        let Some(ask) = asker(&path) else { continue };
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let required: Vec<String> = serde_json::from_value(schema["required"].clone()).unwrap_or_default();
        // Numbers that differ from each other.
        let good = |name: &str| {
            json!(match name {
                "from_number" => "+12025550100",
                "webhook_url" => "https://example.com/hooks",
                "event_type" => "new_call",
                _ => "+12125550123",
            })
        };
        let least: Map<String, Value> = required.iter().map(|name| (name.clone(), good(name))).collect();
        let send = |change: &[(&str, Value)]| {
            let mut body = least.clone();
            body.extend(change.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            ask(&method.to_uppercase(), &Value::Object(body).to_string())
        };
        let is_named = |response: &Response, name: &str| {
            let fields = &response.json()["error"]["fields"];
            response.status == 400 && fields[name].is_string() && fields.as_object().unwrap().len() == 1
        };
        assert!(send(&[]).status < 300, "{path}: {:?}", send(&[]));
        for (name, property) in &properties {
            for value in allowed(&document, property) {
                let value = if name.ends_with("_number") && required.contains(name) { good(name) } else { value };
                let value = if name == "connect_number" { json!("+14155550100") } else { value };
                let response = send(&[(name, value.clone())]);
                assert!(response.status < 300, "{path} with {name} {value}: {response:?}");
            }
            for value in refused(&document, property) {
                let response = send(&[(name, value.clone())]);
                assert!(is_named(&response, name), "{path} with {name} {value}: {response:?}");
            }
        }
        assert!(is_named(&send(&[("surprise", json!(1))]), "surprise"), "{path} takes a field that nobody knows");
        for name in &required {
            let mut body = least.clone();
            body.remove(name);
            let response = ask(&method.to_uppercase(), &Value::Object(body).to_string());
            assert!(is_named(&response, name), "{path} without {name}: {response:?}");
        }
        bodies += 1;
    }
    assert!(bodies >= 7, "{bodies}");
}

type Asker = Box<dyn Fn(&str, &str) -> Response>;

/// How a path is asked in a world of its own. `None` for the browser's own, which a token must open first.
fn asker(path: &str) -> Option<Asker> {
    if path.starts_with("/v1/webrtc/") {
        return None;
    }
    if path.ends_with("-token") {
        let (world, path) = (browsers::World::new(), path.to_owned());
        return Some(Box::new(move |method, body| world.ask(method, &path, browsers::KEY, &[], body)));
    }
    let world = World::new();
    if path.starts_with("/v1/webhook_subscriptions") {
        let (all, path) = ("/v1/webhook_subscriptions", path.to_owned());
        // A subscription for each: what ends one is asked more than once.
        return Some(Box::new(move |method, body| {
            let new = br#"{"webhook_url": "https://example.com/hooks", "event_type": "new_call"}"#;
            let id = world.call("POST", all, ALICE, &[], new).data()["id"].as_str().unwrap().to_owned();
            let answer = world.call(method, &path.replace("{id}", &id), ALICE, &[], body.as_bytes());
            world.call("DELETE", &format!("{all}/{id}"), ALICE, &[], b"");
            if let (true, Some(made)) = (path == all, answer.json()["data"]["id"].as_str()) {
                world.call("DELETE", &format!("{all}/{made}"), ALICE, &[], b"");
            }
            answer
        }));
    }
    let call = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let path = path.replace("{id}", &call);
    Some(Box::new(move |method, body| world.call(method, &path, ALICE, &[], body.as_bytes())))
}

/// What is described is there, asks for a key where it says so, and for the methods that it names.
#[test]
fn each_operation_is_served_as_it_is_described() {
    let document = document();
    let world = browsers::World::new();
    let id = "01KFBJ8Y6T3W8QZ5M4N7R2C9XD";
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let kind = if path.contains("webhook") { "whk" } else { "call" };
        let real = path.replace("{id}", &format!("{kind}_{id}")).replace("{connection}", &format!("conn_{id}"));
        let real = real.replace("{room}", &format!("room_{id}"));
        let ask = |method: &str| world_ask(&world, &method.to_uppercase(), &real);
        let response = ask(&method);
        let expected = if operation["security"].is_array() { 401 } else { 200 };
        assert_eq!(response.status, expected, "{place}: {response:?}");
        let described = &operation["responses"][expected.to_string()];
        assert!(described.is_object(), "{place} does not describe {expected}");
        for name in described["headers"].as_object().unwrap().keys() {
            assert!(response.header(&name.to_ascii_lowercase()).is_some(), "{place} lacks {name}");
        }
        let known: Vec<&str> = METHODS.into_iter().filter(|m| document["paths"][&path][m].is_object()).collect();
        for other in METHODS.into_iter().filter(|m| !known.contains(m)) {
            let response = ask(other);
            assert_eq!((response.status, response.code().as_str()), (405, "method_not_allowed"), "{other} {path}");
            let allow = response.header("allow").unwrap().to_ascii_lowercase();
            assert!(known.iter().all(|method| allow.contains(method)), "{other} {path}: {allow}");
        }
    }
}

fn world_ask(world: &browsers::World, method: &str, path: &str) -> Response {
    crate::client::exchange(world.address, &request(method, path, &[], b""))
}

#[test]
fn every_code_is_explained_and_every_explanation_is_of_a_code() {
    let document = document();
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap().clone();
    let mut sources = String::new();
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut sources);
    for code in codes {
        let code = code.as_str().unwrap();
        assert!(sources.contains(&format!("\"{code}\"")), "nothing answers with {code}");
        assert!(document["components"]["schemas"]["ErrorCode"]["x-meanings"][code].is_string(), "{code}");
    }
    let world = World::new();
    let refused = world.get("/nowhere").json()["error"].clone();
    assert_eq!(refused["doc_url"], "/docs#error-not_found");
    assert_eq!(world.raw(&request("GET", "/docs", &[], b"")).status, 200);
}

/// All sources of the edge but the list itself.
fn read_all(folder: &Path, into: &mut String) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("openapi.rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// A handler is served by being listed with its description: nothing else puts a path into the router.
#[test]
fn no_path_is_served_without_being_described() {
    let mut sources = String::new();
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut sources);
    let by_hand: Vec<&str> = sources
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|path| !path.starts_with("/docs") && !path.starts_with("/try"))
        .collect();
    // The operators' listener is described in docs/operations.md.
    let of_operators = |path: &&str| ["/metrics", "/health", "/ready"].contains(path) || path.starts_with("/v1/admin");
    let strays: Vec<_> = by_hand.into_iter().filter(|path| !of_operators(path)).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let world = World::new();
    let get = |path: &str| world.raw(&request("GET", path, &[], b""));
    let kinds = [("/docs", "text/html"), ("/docs/style.css", "text/css"), ("/docs/docs.js", "text/javascript")];
    for (path, kind) in kinds {
        let response = get(path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("content-type"), Some(format!("{kind}; charset=utf-8").as_str()));
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"));
        assert!(!response.body.contains("://") && !response.body.contains("innerHTML"), "{path} names another place");
    }
}
