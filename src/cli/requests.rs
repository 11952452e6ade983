//! What each command asks of the server.

use serde_json::{Map, Value, json};

use super::arguments::{ChangesArguments, KeyCommand, NumberCommand, OrgCommand, PriceCommand, Settings, UserCommand};

/// One request, and what its answer looks like.
#[derive(Debug, PartialEq)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Option<Value>,
    pub shape: Shape,
}

/// What a person is shown of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Every field, one a line.
    One,
    /// These fields, as columns; of so many rows.
    List { columns: &'static [&'static str], most: usize },
}

/// The column that says what of an object is other than before.
pub const DIFFERENCE: &str = "difference";

impl Request {
    fn one(method: &'static str, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, shape: Shape::One }
    }

    fn list(path: String, columns: &'static [&'static str]) -> Self {
        Self { method: "GET", path, body: None, shape: Shape::List { columns, most: usize::MAX } }
    }

    pub fn route(number: &str) -> Self {
        let columns = &[
            "verdict",
            "trunk",
            "target",
            "prefix_length",
            "priority",
            "weight",
            "target_priority",
            "target_weight",
            "avoided_seconds",
            "calls",
            "max_calls",
            "calls_in_second",
            "max_calls_per_second",
        ];
        Self::list(format!("/v1/admin/route?number={}", number.replace('+', "%2B")), columns)
    }

    pub fn reload() -> Self {
        Self::one("POST", "/v1/admin/reload".to_owned(), None)
    }
}

impl From<OrgCommand> for Request {
    fn from(command: OrgCommand) -> Self {
        let columns = &[
            "id",
            "status",
            "allowed_destinations",
            "max_concurrent_legs",
            "max_calls_per_minute",
            "daily_spend_limit",
            "timezone",
        ];
        match command {
            OrgCommand::List => Self::list("/v1/admin/organizations".to_owned(), columns),
            OrgCommand::Show { organization } => Self::one("GET", of(&organization, ""), None),
            OrgCommand::Create { organization, settings } => {
                let mut body = fields(settings);
                body.insert("id".to_owned(), organization.into());
                Self::one("POST", "/v1/admin/organizations".to_owned(), Some(body.into()))
            }
            OrgCommand::Set { organization, settings } => {
                Self::one("PATCH", of(&organization, ""), Some(fields(settings).into()))
            }
            OrgCommand::Close { organization } => Self::one("DELETE", of(&organization, ""), None),
            OrgCommand::Reopen { organization } => {
                Self::one("PATCH", of(&organization, ""), Some(json!({"closed": false})))
            }
        }
    }
}

fn fields(settings: Settings) -> Map<String, Value> {
    let Settings {
        allowed_destinations,
        daily_spend_limit,
        max_concurrent_legs,
        max_calls_per_minute,
        max_legs_per_user,
        max_legs_per_destination,
        breaker_window_seconds,
        breaker_short_answers,
        breaker_answer_percent,
        breaker_min_calls,
        breaker_pause_seconds,
        timezone,
        confirm,
        max_duration_seconds,
    } = settings;
    named([
        ("allowed_destinations", allowed_destinations.map(Value::from)),
        ("daily_spend_limit", daily_spend_limit.map(Value::from)),
        ("max_concurrent_legs", max_concurrent_legs.map(Value::from)),
        ("max_calls_per_minute", max_calls_per_minute.map(Value::from)),
        ("max_legs_per_user", max_legs_per_user.map(Value::from)),
        ("max_legs_per_destination", max_legs_per_destination.map(Value::from)),
        ("breaker_window_seconds", breaker_window_seconds.map(Value::from)),
        ("breaker_short_answers", breaker_short_answers.map(Value::from)),
        ("breaker_answer_percent", breaker_answer_percent.map(Value::from)),
        ("breaker_min_calls", breaker_min_calls.map(Value::from)),
        ("breaker_pause_seconds", breaker_pause_seconds.map(Value::from)),
        ("timezone", timezone.map(Value::from)),
        ("confirm", confirm.map(Value::from)),
        ("max_duration_seconds", max_duration_seconds.map(Value::from)),
    ])
}

/// The fields that somebody named.
fn named<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

impl From<UserCommand> for Request {
    fn from(command: UserCommand) -> Self {
        match command {
            UserCommand::List { organization } => {
                Self::list(of(&organization, "/users"), &["id", "phone", "created_at"])
            }
            UserCommand::Create { organization, user, phone } => {
                Self::one("POST", of(&organization, "/users"), Some(json!({"id": user, "phone": phone})))
            }
            UserCommand::Set { organization, user, phone, no_phone: _ } => {
                Self::one("PATCH", of(&organization, &below("users", &user)), Some(json!({"phone": phone})))
            }
            UserCommand::Delete { organization, user } => {
                Self::one("DELETE", of(&organization, &below("users", &user)), None)
            }
        }
    }
}

impl From<NumberCommand> for Request {
    fn from(command: NumberCommand) -> Self {
        match command {
            NumberCommand::List { organization } => {
                Self::list(of(&organization, "/numbers"), &["number", "created_at"])
            }
            NumberCommand::Add { organization, number } => {
                Self::one("POST", of(&organization, "/numbers"), Some(json!({"number": number})))
            }
            NumberCommand::Remove { organization, number } => {
                Self::one("DELETE", of(&organization, &below("numbers", &number)), None)
            }
        }
    }
}

impl Request {
    /// `None` for the command that needs no server.
    pub fn of_key(command: KeyCommand) -> Option<Self> {
        let columns = &["id", "user_id", "name", "status", "scopes", "created_at", "expires_at", "rotated_to"];
        Some(match command {
            KeyCommand::New { .. } => return None,
            KeyCommand::List { organization } => Self::list(of(&organization, "/keys"), columns),
            KeyCommand::Issue { organization, user, scopes, name, expires_at } => {
                let body = json!({"user_id": user, "scopes": scopes, "name": name, "expires_at": expires_at});
                Self::one("POST", of(&organization, "/keys"), Some(body))
            }
            KeyCommand::Rotate { key, overlap_seconds, expires_at } => {
                let body = named([
                    ("overlap_seconds", overlap_seconds.map(Value::from)),
                    ("expires_at", expires_at.map(Value::from)),
                ]);
                Self::one("POST", format!("/v1/admin/keys/{}/rotate", segment(&key)), Some(body.into()))
            }
            KeyCommand::Revoke { key } => Self::one("DELETE", format!("/v1/admin/keys/{}", segment(&key)), None),
        })
    }
}

impl From<PriceCommand> for Request {
    fn from(command: PriceCommand) -> Self {
        let columns = &["prefix", "per_minute", "connect", "first_seconds", "step_seconds"];
        let path = |prefix: &str| format!("/v1/admin/prices/{}", segment(prefix));
        match command {
            PriceCommand::List => Self::list("/v1/admin/prices".to_owned(), columns),
            PriceCommand::Set { prefix, per_minute, connect, first_seconds, step_seconds } => {
                let body = named([
                    ("per_minute", Some(per_minute.into())),
                    ("connect", connect.map(Value::from)),
                    ("first_seconds", first_seconds.map(Value::from)),
                    ("step_seconds", step_seconds.map(Value::from)),
                ]);
                Self::one("PUT", path(&prefix), Some(body.into()))
            }
            PriceCommand::Remove { prefix } => Self::one("DELETE", path(&prefix), None),
        }
    }
}

impl From<ChangesArguments> for Request {
    fn from(ChangesArguments { organization, limit }: ChangesArguments) -> Self {
        let columns = &["at", "by", "action", "organization_id", "name", DIFFERENCE];
        let narrowed = organization.map(|id| format!("?organization={}", segment(&id))).unwrap_or_default();
        let path = format!("/v1/admin/changes{narrowed}");
        Self { method: "GET", path, body: None, shape: Shape::List { columns, most: limit } }
    }
}

fn of(organization: &str, rest: &str) -> String {
    format!("/v1/admin/organizations/{}{rest}", segment(organization))
}

fn below(kind: &str, name: &str) -> String {
    format!("/{kind}/{}", segment(name))
}

/// One segment of a path, whatever is in it (RFC 3986 §2.3).
fn segment(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_whatever_is_in_it() {
        for (text, expected) in
            [("+1415", "%2B1415"), ("a/../b", "a%2F%2E%2E%2Fb"), ("a?b#c", "a%3Fb%23c"), ("ä", "%C3%A4")]
        {
            assert_eq!(segment(text), expected);
        }
        let path = Request::from(NumberCommand::Remove { organization: "x y".into(), number: "+1".into() }).path;
        assert_eq!(path, "/v1/admin/organizations/x%20y/numbers/%2B1");
    }
}
