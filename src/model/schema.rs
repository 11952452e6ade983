//! How the nouns look in JSON, for the OpenAPI document.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{CallId, E164, EventId, Money, SubscriptionId, Timestamp};

/// A type that is text of one form in JSON.
macro_rules! text {
    ($($type:ident: $pattern:literal, $example:literal, $description:literal;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern));
                text.examples([json!($example)]).description(Some($description)).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($type))
            }
        }
    )*};
}

text! {
    E164: r"^\+[1-9][0-9]{1,14}$", "+12125550123",
        "A number in E.164 form: a plus sign and 2 to 15 ASCII digits, nothing else. What is judged is what is dialled.";
    CallId: r"^call_[0-7][0-9A-HJKMNP-TV-Z]{25}$", "call_01KFBJ8Y6T3W8QZ5M4N7R2C9XD",
        "`call_` and a ULID.";
    EventId: r"^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$", "evt_01KFBJ8Y6T3W8QZ5M4N7R2C9XD",
        "`evt_` and 26 characters: the same by whatever way and however often an event is told.";
    SubscriptionId: r"^whk_[0-7][0-9A-HJKMNP-TV-Z]{25}$", "whk_01KFBJ8Y6T3W8QZ5M4N7R2C9XD",
        "`whk_` and a ULID.";
    Money: r"^-?[0-9]+\.[0-9]{6}$", "0.012500",
        "An amount of money with six decimal places.";
    Timestamp: r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$", "2026-01-31T09:00:00.000Z",
        "RFC 3339, UTC, with milliseconds.";
}
