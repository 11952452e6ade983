//! What the switch and the guardrails say no to, as status, code and a way out.

use axum::http::{HeaderName, StatusCode};

use super::answer::Problem;
use crate::guardrails::{DestinationProblem, LegCap, Limits, NumberClass, Pause, Refusal, TripReason};
use crate::model::Side;
use crate::switch::Unavailable;

pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Nobody knows when a leg will be free. Calls mostly end within minutes, so asking again every few
/// seconds finds a free leg early and costs little.
const LEGS_RETRY_SECONDS: u64 = 5;
/// A switch or a store that is behind has caught up by then, or a proxy should try another node.
const BUSY_RETRY_SECONDS: u64 = 1;
/// A trunk is asked every 30 s whether it is back.
const TRUNK_RETRY_SECONDS: u64 = 30;

/// With the limit, where it is one that counts (draft-ietf-httpapi-ratelimit-headers §3 and §4).
pub fn refused(refusal: Refusal, limits: &Limits) -> Problem {
    let forbidden = |code, message| Problem::new(StatusCode::FORBIDDEN, code, message);
    let too_many = |code, message| Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message);
    match refusal {
        Refusal::CallerIdNotVerified | Refusal::Unknown => {
            forbidden("caller_id_not_verified", "call from a number that your organization owns")
                .field("from_number", "not an active number of your organization")
        }
        Refusal::DestinationNotAllowed(problem) => destination(problem),
        Refusal::RateLimited { retry_after_us } => {
            let (limit, wait) = (limits.max_calls_per_minute, whole_seconds(retry_after_us));
            too_many("rate_limited", "too many calls in the last 60 seconds; try again after Retry-After")
                .retry_after(wait)
                .header(RATE_LIMIT_POLICY, format!("\"calls\";q={limit};w=60"))
                .header(RATE_LIMIT, format!("\"calls\";r=0;t={wait}"))
        }
        Refusal::ConcurrencyLimit(cap) => {
            let (message, policy, limit) = legs(cap, limits);
            too_many("concurrency_limit", message)
                .retry_after(LEGS_RETRY_SECONDS)
                .header(RATE_LIMIT_POLICY, format!("\"{policy}\";q={limit}"))
                .header(RATE_LIMIT, format!("\"{policy}\";r=0;t={LEGS_RETRY_SECONDS}"))
        }
        Refusal::SpendLimitExceeded { retry_after_us } => forbidden(
            "spend_limit_exceeded",
            "today's limit does not cover this call; wait for the day to turn, or have the limit raised",
        )
        .retry_after(whole_seconds(retry_after_us)),
    }
}

/// Which cap is reached: in words, as the name of a policy, and its limit.
fn legs(cap: LegCap, limits: &Limits) -> (&'static str, &'static str, u32) {
    match cap {
        LegCap::Organization => {
            ("too many legs are in use, and a call takes two; end one or wait", "legs", limits.max_concurrent_legs)
        }
        LegCap::User => (
            "too many legs of this user are in use (max_legs_per_user), and a call takes two; end one or wait",
            "legs-per-user",
            limits.max_legs_per_user.unwrap_or_default(),
        ),
        LegCap::Destination => (
            "too many legs to this destination are in use (max_legs_per_destination); end one or wait",
            "legs-per-destination",
            limits.max_legs_per_destination.unwrap_or_default(),
        ),
    }
}

/// Rounded up: a request at that second must pass.
pub fn whole_seconds(micros: u64) -> u64 {
    micros.div_ceil(1_000_000).max(1)
}

fn destination(problem: DestinationProblem) -> Problem {
    let (side, text) = match problem {
        DestinationProblem::NotListed(side) => (side, "not among the destinations that your organization allows"),
        DestinationProblem::NeverDialled(side) => (side, "an emergency or short code, which is never dialled"),
        DestinationProblem::Class(side, class) => (side, class_text(class)),
        DestinationProblem::Loop => {
            (Side::Destination, "this call would loop: use three different numbers, and call none that you own")
        }
        DestinationProblem::NoPrice(side) => (side, "there is no price for this number; have one set"),
        DestinationProblem::Paused { pause, retry_after_us } => return paused(&pause, retry_after_us),
    };
    let field = match side {
        Side::User => "connect_number",
        Side::Destination => "to_number",
    };
    Problem::new(StatusCode::FORBIDDEN, "destination_not_allowed", "this number may not be called").field(field, text)
}

fn paused(pause: &Pause, retry_after_us: u64) -> Problem {
    let why = match pause.reason {
        TripReason::ShortAnswers => "most answers there were over within six seconds",
        TripReason::FewAnswers => "next to nobody there answers",
    };
    let text = format!("calls to {} are paused until {}: {why}", pause.prefix, pause.until.rfc3339());
    Problem::new(StatusCode::FORBIDDEN, "destination_not_allowed", "this number may not be called for now")
        .field("to_number", text)
        .retry_after(whole_seconds(retry_after_us))
}

fn class_text(class: NumberClass) -> &'static str {
    match class {
        NumberClass::Ordinary | NumberClass::Country => "not allowed unless its own range is",
        NumberClass::Premium => "a premium number, which must be allowed by its own range",
        NumberClass::Satellite => "a satellite number, which must be allowed by its own range",
        NumberClass::Emergency => "an emergency number, which is never dialled",
        NumberClass::ShortCode => "a short code, which is never dialled",
    }
}

pub fn unavailable(why: Unavailable) -> Problem {
    let (message, wait) = match why {
        Unavailable::Draining => {
            ("this server is stopping; another one, or this one after its restart, will answer", 5)
        }
        Unavailable::NoTrunk => ("no trunk is in service", TRUNK_RETRY_SECONDS),
        Unavailable::NoMediaPort => ("all media ports are in use", LEGS_RETRY_SECONDS),
        Unavailable::Store => return store_down(),
        Unavailable::Full => ("as many calls as this server takes are live", LEGS_RETRY_SECONDS),
    };
    not_now(message, wait)
}

pub fn store_down() -> Problem {
    not_now("the store cannot be used, so nothing is done", BUSY_RETRY_SECONDS)
}

pub fn busy() -> Problem {
    not_now("too many requests are waiting", BUSY_RETRY_SECONDS)
}

pub fn not_now(message: &'static str, wait: u64) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{message}; try again after Retry-After"))
        .retry_after(wait)
}
