//! `GET /v1/guardrails`: each limit with what is used now; and the verdict of a dry run.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Data, Problem};
use super::fields::NoQuery;
use super::refusal::whole_seconds;
use super::{Api, Caller};
use crate::guardrails::{Check, DestinationPrefix, DestinationProblem, Guardrail, LegCap, Pause, Preview, Refusal};
use crate::model::{E164, Money, Timestamp, UserId};
use crate::store::Usage;

/// A limit or a use: a count, or an amount of money as a decimal string.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Amount {
    Count(i64),
    Money(Money),
}

impl Amount {
    fn of(guardrail: Guardrail, n: i64) -> Self {
        match guardrail {
            Guardrail::Spend => Amount::Money(Money::from_micros(n)),
            Guardrail::CallerId | Guardrail::Destination | Guardrail::Rate | Guardrail::Concurrency => Amount::Count(n),
        }
    }
}

/// What a dry run says.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdict {
    allowed: bool,
    checks: Vec<CheckView>,
    /// Of both legs.
    #[schema(required)]
    price_per_minute: Option<Money>,
    /// What a dial would set aside at once.
    #[schema(required)]
    reserve: Option<Money>,
    currency: Arc<str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CheckView {
    guardrail: &'static str,
    allowed: bool,
    #[schema(required)]
    limit: Option<Amount>,
    #[schema(required)]
    used: Option<Amount>,
    #[schema(required)]
    remaining: Option<Amount>,
    /// Whose legs it counts, when not the organization's: `user` or `destination`.
    #[serde(skip_serializing_if = "Option::is_none")]
    per: Option<&'static str>,
    /// Why the destination is not called for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<PauseView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

pub fn verdict(preview: &Preview, currency: &Arc<str>) -> Verdict {
    let grant = preview.grant.as_ref();
    Verdict {
        allowed: grant.is_some() && preview.checks.iter().all(|c| c.refusal.is_none()),
        checks: preview.checks.iter().map(check).collect(),
        price_per_minute: grant
            .map(|g| g.user_price.map_or(Money::ZERO, |p| p.per_minute) + g.destination_price.per_minute),
        reserve: grant.map(|g| g.reserved),
        currency: Arc::clone(currency),
    }
}

fn check(check: &Check) -> CheckView {
    let amount = |n| Amount::of(check.guardrail, n);
    let remaining = check.limit.zip(check.used).map(|(limit, used)| (limit - used).max(0));
    CheckView {
        guardrail: check.guardrail.as_str(),
        allowed: check.refusal.is_none(),
        limit: check.limit.map(amount),
        used: check.used.map(amount),
        remaining: remaining.map(amount),
        per: check.cap.and_then(per),
        paused: match check.refusal {
            Some(Refusal::DestinationNotAllowed(DestinationProblem::Paused { pause, .. })) => Some(pause.into()),
            Some(_) | None => None,
        },
        retry_after_seconds: check.refusal.and_then(retry_after),
    }
}

fn per(cap: LegCap) -> Option<&'static str> {
    match cap {
        LegCap::Organization => None,
        LegCap::User => Some("user"),
        LegCap::Destination => Some("destination"),
    }
}

fn retry_after(refusal: Refusal) -> Option<u64> {
    match refusal {
        Refusal::RateLimited { retry_after_us } | Refusal::SpendLimitExceeded { retry_after_us } => {
            Some(whole_seconds(retry_after_us))
        }
        Refusal::DestinationNotAllowed(DestinationProblem::Paused { retry_after_us, .. }) => {
            Some(whole_seconds(retry_after_us))
        }
        Refusal::CallerIdNotVerified
        | Refusal::DestinationNotAllowed(
            DestinationProblem::NotListed(_)
            | DestinationProblem::NeverDialled(_)
            | DestinationProblem::Class(..)
            | DestinationProblem::Loop
            | DestinationProblem::NoPrice(_),
        )
        | Refusal::ConcurrencyLimit(_)
        | Refusal::Unknown => None,
    }
}

/// Limits and use of one organization.
#[derive(Debug, Serialize, ToSchema)]
pub struct Guardrails {
    caller_id: CallerIds,
    destination: Destinations,
    rate: Counted<u64>,
    concurrency: Concurrency,
    spend: Spend,
}

#[derive(Debug, Serialize, ToSchema)]
struct CallerIds {
    numbers: Vec<E164>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Destinations {
    allowed_destinations: Vec<String>,
    /// Prefixes that breakers have paused.
    paused: Vec<PauseView>,
}

/// A paused prefix.
#[derive(Debug, Serialize, ToSchema)]
struct PauseView {
    #[schema(value_type = String, pattern = r"^\+[0-9]{1,15}$")]
    prefix: DestinationPrefix,
    reason: &'static str,
    #[schema(value_type = Timestamp)]
    until: String,
}

impl From<Pause> for PauseView {
    fn from(Pause { prefix, reason, until }: Pause) -> Self {
        Self { prefix, reason: reason.as_str(), until: until.rfc3339() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Concurrency {
    #[serde(flatten)]
    legs: Counted<u64>,
    /// Of the key's user; there when the organization has such a cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_user: Option<Counted<u64>>,
    /// To the destination that is called most now; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_destination: Option<Counted<u64>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Counted<T> {
    unit: &'static str,
    limit: T,
    used: T,
    remaining: T,
}

#[derive(Debug, Serialize, ToSchema)]
struct Spend {
    #[serde(flatten)]
    money: Counted<Money>,
    /// The two parts of `used`.
    spent: Money,
    reserved: Money,
    currency: Arc<str>,
    /// The day turns at its midnight.
    timezone: String,
}

/// Each limit, with what is used of it now.
#[utoipa::path(
    get, path = "/v1/guardrails", tag = "Calls", operation_id = "getGuardrails", security(("key" = ["calls:read"])),
    responses((status = 200, description = "Limits and use", body = Data<Guardrails>))
)]
pub async fn guardrails(State(api): State<Arc<Api>>, caller: Caller, _: NoQuery) -> Result<Data<Guardrails>, Problem> {
    caller.needs("calls:read")?;
    let (now, organization) = ((api.clock)(), caller.organization.id.clone());
    let usage = api.read(move |store| store.usage(&organization, now)).await?.ok_or_else(Problem::not_found)?;
    Ok(Data { data: view(&usage, &caller.user, &api.currency) })
}

fn view(usage: &Usage, user: &UserId, currency: &Arc<str>) -> Guardrails {
    let organization = &*usage.organization;
    let limits = &organization.limits;
    let counted = |unit, limit: u32, used: u64| {
        let limit = u64::from(limit);
        Counted { unit, limit, used, remaining: limit.saturating_sub(used) }
    };
    let (limit, used) = (limits.daily_spend_limit, usage.spent + usage.reserved);
    let legs_of_user = usage.legs_by_user.get(user).copied().unwrap_or_default();
    let money = Counted { unit: "money", limit, used, remaining: limit.saturating_sub_to_zero(used) };
    Guardrails {
        caller_id: CallerIds { numbers: usage.numbers.clone() },
        destination: Destinations {
            allowed_destinations: organization.allowed_destinations.clone(),
            paused: usage.pauses.iter().copied().map(PauseView::from).collect(),
        },
        rate: counted("calls in 60 s", limits.max_calls_per_minute, usage.calls as u64),
        concurrency: Concurrency {
            legs: counted("legs", limits.max_concurrent_legs, usage.legs),
            per_user: limits.max_legs_per_user.map(|limit| counted("legs", limit, legs_of_user)),
            per_destination: limits
                .max_legs_per_destination
                .map(|limit| counted("legs", limit, usage.most_legs_to_one)),
        },
        spend: Spend {
            money,
            spent: usage.spent,
            reserved: usage.reserved,
            currency: Arc::clone(currency),
            timezone: limits.timezone.clone(),
        },
    }
}
