//! Forgetting a number, asked of a running server: what it may forget, and what it is told when it may not.

use std::time::Duration;

use serde_json::json;

use crate::support::engine::only_sqlite;
use crate::support::{DESTINATION, Habit, Handset, Lab, OWNED, Server, USER, http};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_number_is_forgotten_on_request_unless_it_is_in_use_declared_or_owned() {
    let lab = Lab::new();
    let mut server = Server::start(lab.settings());
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let _destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let erase = |server: &Server, number: &str| {
        let answer = server.admin("POST", "/erasures", Some(&json!({"number": number})));
        (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned(), answer)
    };
    let (status, _, nobody) = erase(&server, "+13105559876");
    let nothing = json!({"records": 0, "events": 0, "answers": 0, "changes": 0});
    assert_eq!((status, nobody.data()), (200, nothing));

    let call = server.place(json!({"client_name": "Jane"}));
    server.reaches(&call, "in_progress", SOON);
    let (status, code, answer) = erase(&server, DESTINATION);
    assert_eq!((status, code.as_str()), (409, "number_in_use"), "the call lives");
    assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{answer:?}");
    server.hang_up(&call);
    let record = server.ended(&call, SOON).expect("an end");
    assert_eq!(erase(&server, DESTINATION).1, "number_in_use", "its phone may still be told of the end");
    assert_eq!(record["to_number"], DESTINATION);
    assert_eq!(erase(&server, USER).1, "number_declared");
    assert_eq!(erase(&server, OWNED).1, "number_owned");

    for (body, field) in
        [(json!({}), "number"), (json!({"number": "0310"}), "number"), (json!({"numbers": []}), "numbers")]
    {
        let answer = server.admin("POST", "/erasures", Some(&body));
        assert_eq!((answer.status, answer.json()["error"]["fields"][field].is_string()), (400, true), "{answer:?}");
    }
    let body = json!({"number": "+13105559876"});
    let stranger = http::request(server.settings.admin(), "POST", "/v1/admin/erasures", &[], Some(&body));
    assert_eq!(stranger.expect("an answer").status, 401);

    if only_sqlite("without a server there is no node to ask") {
        return;
    }
    let beside = server.run(&["erase", "+13105559876"]);
    let said = String::from_utf8_lossy(&beside.stderr).into_owned();
    assert!(!beside.status.success() && said.contains("/v1/admin/erasures"), "{said}");
    server.terminate();
    assert!(server.exited(SOON).is_some());
    let stopped = server.run(&["erase", "+13105559876"]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    let wrong = server.run(&["erase", "0310"]);
    assert!(!wrong.status.success());
    assert_eq!(server.audit()["differences"], 0);
}
