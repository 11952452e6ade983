//! `[[organization]]` with its users, numbers and keys.

use std::sync::Arc;

use super::section::{At, Section};
use super::trunks::{id, prefix};
use super::{KeyConfig, OrganizationConfig, UserConfig, bounds};
use crate::guardrails::{BreakerLimits, LegPrice, Limits};
use crate::model::{Confirm, E164, Money, OrganizationId, UserId};

/// What a key may be allowed to do.
pub const SCOPES: [&str; 5] = ["calls:read", "calls:trace", "calls:write", "voice:webrtc", "webhooks:write"];

/// SHA-256 of the key that `config.example.toml` prints for everybody to read, so it opens nothing
/// but a listener on loopback.
pub const DEMO_KEY: [u8; 32] = [
    0x29, 0x26, 0xc3, 0xcf, 0x1a, 0xd6, 0xe0, 0x08, 0xb7, 0x08, 0x22, 0xc4, 0x6a, 0xa1, 0xfb, 0x45, 0xa5, 0x7c, 0x6f,
    0x5c, 0x46, 0xab, 0xd0, 0xd5, 0x71, 0x9b, 0x54, 0xa1, 0x91, 0x4e, 0x97, 0x66,
];

/// What the file says of organizations, with the places of the demo key.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    pub organizations: Vec<OrganizationConfig>,
    pub demo_keys: Vec<usize>,
}

/// What must not occur twice in the whole file.
#[derive(Debug, Default)]
struct Seen {
    organizations: Vec<Arc<str>>,
    numbers: Vec<E164>,
    keys: Vec<[u8; 32]>,
}

pub(super) fn organizations(root: &mut Section<'_, '_>, prices: &[(String, LegPrice)]) -> Tenants {
    let mut seen = Seen::default();
    let mut demo_keys = Vec::new();
    let organizations = root.each("organization", |s| {
        let id = s.required("id", "\"acme\"", id);
        if let Some(id) = &id {
            s.unique("id", id, &mut seen.organizations);
        }
        let allowed_destinations = destinations(s, prices);
        let limits = limits(s);
        let confirm = s.parsed("confirm", |text| match text {
            "none" => Ok(Confirm::None),
            "press_1" => Ok(Confirm::Press1),
            _ => Err("expected \"none\" or \"press_1\""),
        });
        let max_duration = s.seconds("max_duration_seconds", &bounds::MAX_DURATION_BOUND, bounds::MAX_DURATION);
        let numbers = numbers(s, &mut seen.numbers);
        let users = users(s, &numbers);
        let keys = keys(s, &users, &mut seen.keys, &mut demo_keys);
        Some(OrganizationConfig {
            id: OrganizationId(id?.value),
            limits: limits?,
            allowed_destinations,
            numbers,
            users,
            keys,
            confirm: confirm.map(|c| c.value).unwrap_or_default(),
            max_duration,
        })
    });
    Tenants { organizations, demo_keys }
}

/// Prefixes, `!` before those that are blocked. What is allowed must have a price, or each call there
/// would be refused for want of one; unless the file has no price at all, because they are kept by `/v1/admin`.
fn destinations(s: &mut Section<'_, '_>, prices: &[(String, LegPrice)]) -> Vec<String> {
    if !s.has("allowed_destinations") {
        s.missing("allowed_destinations", "[\"+1\"]; nothing listed means nothing allowed");
    }
    let listed = s.list("allowed_destinations", |text| prefix(text.strip_prefix('!').unwrap_or(text)).map(|_| text));
    let mut bare: Vec<&str> = Vec::new();
    for At { value, at } in &listed {
        let start = value.trim_start_matches('!');
        if bare.contains(&start) {
            s.wrong(*at, "allowed_destinations", format_args!("{start} is listed twice; keep one"));
        }
        bare.push(start);
        let priced =
            prices.is_empty() || prices.iter().any(|(p, _)| p.starts_with(start) || start.starts_with(p.as_str()));
        if !value.starts_with('!') && !priced {
            s.wrong(*at, "allowed_destinations", format_args!("no [[price]] covers {start}; add one or remove it"));
        }
    }
    listed.into_iter().map(|d| d.value.to_owned()).collect()
}

fn limits(s: &mut Section<'_, '_>) -> Option<Limits> {
    let legs = s.whole("max_concurrent_legs", &bounds::MAX_CONCURRENT_LEGS_BOUND);
    let calls = s.whole("max_calls_per_minute", &bounds::MAX_CALLS_PER_MINUTE_BOUND);
    let per_user = s.whole("max_legs_per_user", &bounds::MAX_LEGS_PER_USER_BOUND);
    let per_destination = s.whole("max_legs_per_destination", &bounds::MAX_LEGS_PER_DESTINATION_BOUND);
    let breakers = breakers(s);
    let spend = s.required("daily_spend_limit", "\"50.00\"", str::parse::<Money>);
    let timezone = s.parsed_or("timezone", "UTC", |name| {
        let known = jiff::tz::TimeZone::get(name).is_ok();
        if known { Ok(name) } else { Err("expected an IANA time zone, such as \"UTC\" or \"America/New_York\"") }
    });
    Some(Limits {
        max_concurrent_legs: u32::try_from(legs.unwrap_or(bounds::MAX_CONCURRENT_LEGS)).ok()?,
        max_calls_per_minute: u32::try_from(calls.unwrap_or(bounds::MAX_CALLS_PER_MINUTE)).ok()?,
        daily_spend_limit: spend?.value,
        timezone: timezone?.value.to_owned(),
        max_legs_per_user: per_user.and_then(|legs| u32::try_from(legs).ok()),
        max_legs_per_destination: per_destination.and_then(|legs| u32::try_from(legs).ok()),
        breakers,
    })
}

fn breakers(s: &mut Section<'_, '_>) -> BreakerLimits {
    let default = BreakerLimits::default();
    let mut whole = |key, bounds, default| s.whole(key, bounds).and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    BreakerLimits {
        window_seconds: whole("breaker_window_seconds", &bounds::BREAKER_WINDOW_BOUND, default.window_seconds),
        short_answers: whole("breaker_short_answers", &bounds::BREAKER_SHORT_ANSWERS_BOUND, default.short_answers),
        answer_percent: whole("breaker_answer_percent", &bounds::BREAKER_ANSWER_PERCENT_BOUND, default.answer_percent),
        min_calls: whole("breaker_min_calls", &bounds::BREAKER_MIN_CALLS_BOUND, default.min_calls),
        pause_seconds: whole("breaker_pause_seconds", &bounds::BREAKER_PAUSE_BOUND, default.pause_seconds),
    }
}

fn numbers(s: &mut Section<'_, '_>, seen: &mut Vec<E164>) -> Vec<E164> {
    s.each("number", |s| {
        let number = s.required("number", "\"+12025550100\"", E164::parse)?;
        s.unique("number", &number, seen).then_some(number.value)
    })
}

fn users(s: &mut Section<'_, '_>, numbers: &[E164]) -> Vec<UserConfig> {
    let mut ids = Vec::new();
    s.each("user", |s| {
        let id = s.required("id", "\"alice\"", id);
        if let Some(id) = &id {
            s.unique("id", id, &mut ids);
        }
        let phone = s.parsed("phone", E164::parse);
        if let Some(phone) = phone.filter(|p| numbers.contains(&p.value)) {
            s.wrong(
                phone.at,
                "phone",
                "the organization owns this number, so a call to it would loop; give the user's own",
            );
        }
        Some(UserConfig { id: UserId(id?.value), phone: phone.map(|p| p.value) })
    })
}

fn keys(
    s: &mut Section<'_, '_>,
    users: &[UserConfig],
    seen: &mut Vec<[u8; 32]>,
    demo_keys: &mut Vec<usize>,
) -> Vec<KeyConfig> {
    s.each("key", |s| {
        let user = s.required("user", "\"alice\"", id);
        if let Some(user) = user.as_ref().filter(|u| !users.iter().any(|known| known.id.0 == u.value)) {
            let message =
                format!("this organization has no user {}; add [[organization.user]] or correct it", user.value);
            s.wrong(user.at, "user", message);
        }
        let sha256 = s.required("sha256", "the line that `revbridge key new` prints", sha256);
        if let Some(key) = &sha256 {
            s.unique("sha256", key, seen);
            demo_keys.extend((key.value == DEMO_KEY).then_some(key.at));
        }
        if !s.has("scopes") {
            s.missing("scopes", "[\"calls:read\", \"calls:write\"]");
        }
        let scopes = s.list("scopes", |text| {
            if SCOPES.contains(&text) {
                Ok(text.to_owned())
            } else {
                Err(format!("expected one of {}", SCOPES.join(", ")))
            }
        });
        let scopes = scopes.into_iter().map(|scope| scope.value).collect();
        Some(KeyConfig { user: UserId(user?.value), sha256: sha256?.value, scopes })
    })
}

pub(super) fn sha256(text: &str) -> Result<[u8; 32], &'static str> {
    let mut digest = [0; 32];
    let hex = hex::decode_to_slice(text, &mut digest);
    hex.map(|()| digest).map_err(|_| "expected 64 hexadecimal digits: the SHA-256 of the key, not the key itself")
}
