//! Limits that change take effect on the next INVITE, also of calls under way; and the caps of a user and of a
//! destination.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::dial_body;
use crate::support::{Habit, Handset, Lab, Message, Phone, Response, Server, Settings, Stage, poll};

const SOON: Duration = Duration::from_secs(10);

/// One call whose user's phone rings.
struct Ringing {
    server: Server,
    user: Phone,
    invite: Message,
    destination: Handset,
    call: String,
    _lab: Lab,
}

impl Ringing {
    fn new() -> Self {
        let lab = Lab::new();
        let organization = "max_legs_per_user = 4\nmax_legs_per_destination = 2".into();
        let server = Server::start(Settings { organization, ..lab.settings() });
        let mut user = Phone::new(lab.user());
        let destination = Handset::new(lab.destination(), Habit::RINGS);
        let call = server.place(json!({}));
        let invite = user.expect("INVITE");
        user.answer(&invite, "180 Ringing", &[], "");
        Self { server, user, invite, destination, call, _lab: lab }
    }

    /// Places another call, to the same destination, which rings at the same user.
    fn another(&mut self) -> (String, Message) {
        let call = self.server.place(json!({}));
        let first = self.invite.call_id().to_owned();
        let invite = self.user.find("the other INVITE", |m| m.method() == "INVITE" && m.call_id() != first);
        self.user.answer(&invite, "180 Ringing", &[], "");
        (call, invite)
    }

    /// Reloads the file after this change, and waits until the API shows it.
    fn change(&self, key: &str, value: &str) {
        let before = self.server.get("/v1/guardrails").data();
        self.server.reload_with(|file| {
            assert!(file.contains(key), "{key}");
            file.replace(key, value)
        });
        let changed = poll(SOON, || (self.server.get("/v1/guardrails").data() != before).then_some(()));
        assert!(changed.is_some(), "{value} is never seen");
    }
}

/// What is refused, how, and by which policy.
fn refusal(answer: &Response) -> (u16, String, String) {
    let policy = answer.header("ratelimit-policy").unwrap_or_default().to_owned();
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned(), policy)
}

fn concurrency(server: &Server) -> Value {
    server.get("/v1/guardrails").data()["concurrency"].clone()
}

#[test]
fn a_limit_that_is_lowered_while_a_rings_keeps_b_from_ringing() {
    for (key, lowered, end_reason) in [
        ("max_concurrent_legs = 20", "max_concurrent_legs = 2", "concurrency_limit"),
        ("max_legs_per_user = 4", "max_legs_per_user = 2", "concurrency_limit"),
        ("max_legs_per_destination = 2", "max_legs_per_destination = 1", "concurrency_limit"),
        ("daily_spend_limit = \"50.00\"", "daily_spend_limit = \"0.03\"", "spend_limit_exceeded"),
        ("[\"+1\"]", "[\"+1\", \"!+1212\"]", "destination_not_allowed"),
    ] {
        let mut ringing = Ringing::new();
        let (other, other_invite) = ringing.another();
        ringing.change(key, lowered);
        let Ringing { server, user, invite, destination, call, .. } = &mut ringing;
        // What is under way goes on until its next INVITE.
        assert_eq!(server.record(call)["status"], "calling_user", "{lowered}");
        user.answer(invite, "200 OK", &[], &user.description());
        let bye = user.expect("BYE");
        user.answer(&bye, "200 OK", &[], "");
        let record = server.ended(call, SOON).expect("an end");
        assert_eq!(
            (&record["end_reason"], &record["ended_by"]),
            (&json!(end_reason), &json!("guardrail")),
            "{lowered}"
        );
        user.answer(&other_invite, "486 Busy Here", &[], "");
        assert!(server.ended(&other, SOON).is_some());
        assert_eq!(destination.dialogs().len(), 0, "leg B was never rung: {lowered}");
        assert_eq!(server.legs_in_use(), 0);
    }
}

#[test]
fn a_call_that_is_within_the_lowered_limit_goes_on() {
    let mut ringing = Ringing::new();
    let (other, other_invite) = ringing.another();
    ringing.change("max_concurrent_legs = 20", "max_concurrent_legs = 2");
    let Ringing { server, user, invite, destination, call, .. } = &mut ringing;
    user.answer(&other_invite, "486 Busy Here", &[], "");
    assert!(server.ended(&other, SOON).is_some(), "{}", server.record(&other));
    user.answer(invite, "200 OK", &[], &user.description());
    destination.reaches(Stage::Ringing, SOON);
    let refused = server.dial(json!({}), &[]);
    assert_eq!(refusal(&refused), (429, "concurrency_limit".into(), "\"legs\";q=2".into()), "{}", refused.body);
    server.hang_up(call);
    assert!(server.ended(call, SOON).is_some());
}

#[test]
fn caps_of_a_user_and_a_destination_say_so_and_are_shown() {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.organization = "max_legs_per_user = 4\nmax_legs_per_destination = 1".into();
    let server = Server::start(settings);
    let _user = Handset::new(lab.user(), Habit::RINGS);
    let first = server.place(json!({}));
    let again = server.dial(json!({}), &[]);
    let policy = "\"legs-per-destination\";q=1".to_owned();
    assert_eq!(refusal(&again), (429, "concurrency_limit".into(), policy), "{}", again.body);
    assert!(
        again.json()["error"]["message"].as_str().unwrap_or_default().contains("max_legs_per_destination"),
        "{}",
        again.body
    );
    let second = server.place(json!({"to_number": "+12125550199"}));
    let third = server.dial(json!({"to_number": "+12125550188"}), &[]);
    assert_eq!(refusal(&third), (429, "concurrency_limit".into(), "\"legs-per-user\";q=4".into()), "{}", third.body);
    let shown = concurrency(&server);
    let counted =
        |limit: u64, used: u64| json!({"unit": "legs", "limit": limit, "used": used, "remaining": limit - used});
    assert_eq!((&shown["per_user"], &shown["per_destination"]), (&counted(4, 4), &counted(1, 1)), "{shown}");
    let dry = server.request(
        "POST",
        "/v1/calls/dial?dry_run=true",
        &[],
        Some(&dial_body(json!({"to_number": "+12125550188"}))),
    );
    let checks = dry.data()["checks"].as_array().cloned().unwrap_or_default();
    let caps: Vec<_> = checks.iter().filter(|check| check["guardrail"] == "concurrency").collect();
    let check = |allowed: bool, limit: u64, used: u64| json!({"guardrail": "concurrency", "allowed": allowed, "limit": limit, "used": used, "remaining": limit - used});
    let per = |mut check: Value, per: &str| {
        check["per"] = per.into();
        check
    };
    let expected = [check(true, 20, 4), per(check(false, 4, 4), "user"), per(check(true, 1, 0), "destination")];
    assert_eq!(caps, expected.iter().collect::<Vec<_>>());
    assert_eq!(dry.data()["allowed"], false);
    for call in [first, second] {
        server.hang_up(&call);
        assert!(server.ended(&call, SOON).is_some());
    }
    let shown = concurrency(&server);
    assert_eq!((&shown["per_user"], &shown["per_destination"]), (&counted(4, 0), &counted(1, 0)), "{shown}");
}
