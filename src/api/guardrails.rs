//! `GET /v1/guardrails`: each limit with what is used now; and the verdict of a dry run.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;

use super::answer::{Data, Problem};
use super::refusal::whole_seconds;
use super::{Api, Caller};
use crate::guardrails::{Check, Guardrail, Preview, Refusal};
use crate::model::{E164, Money};
use crate::store::Usage;

/// A limit or a use: a count, or an amount of money as a decimal string.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
pub struct Verdict {
    allowed: bool,
    checks: Vec<CheckView>,
    /// Of both legs.
    price_per_minute: Option<Money>,
    /// What a dial would set aside at once.
    reserve: Option<Money>,
    currency: Arc<str>,
}

#[derive(Debug, Serialize)]
struct CheckView {
    guardrail: &'static str,
    allowed: bool,
    limit: Option<Amount>,
    used: Option<Amount>,
    remaining: Option<Amount>,
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
        retry_after_seconds: check.refusal.and_then(retry_after),
    }
}

fn retry_after(refusal: Refusal) -> Option<u64> {
    match refusal {
        Refusal::RateLimited { retry_after_us } | Refusal::SpendLimitExceeded { retry_after_us } => {
            Some(whole_seconds(retry_after_us))
        }
        Refusal::CallerIdNotVerified
        | Refusal::DestinationNotAllowed(_)
        | Refusal::ConcurrencyLimit
        | Refusal::Unknown => None,
    }
}

/// Limits and use of one organization.
#[derive(Debug, Serialize)]
pub struct Guardrails {
    caller_id: CallerIds,
    destination: Destinations,
    rate: Counted<u64>,
    concurrency: Counted<u64>,
    spend: Spend,
}

#[derive(Debug, Serialize)]
struct CallerIds {
    numbers: Vec<E164>,
}

#[derive(Debug, Serialize)]
struct Destinations {
    allowed_destinations: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Counted<T> {
    unit: &'static str,
    limit: T,
    used: T,
    remaining: T,
}

#[derive(Debug, Serialize)]
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

pub async fn guardrails(State(api): State<Arc<Api>>, caller: Caller) -> Result<Data<Guardrails>, Problem> {
    caller.needs("calls:read")?;
    let now = (api.clock)();
    let usage =
        api.read(move |store| store.usage(&caller.organization.id, now)).await?.ok_or_else(Problem::not_found)?;
    Ok(Data { data: view(&usage, &api.currency) })
}

fn view(usage: &Usage, currency: &Arc<str>) -> Guardrails {
    let organization = &*usage.organization;
    let limits = &organization.limits;
    let counted = |unit, limit: u32, used: u64| {
        let limit = u64::from(limit);
        Counted { unit, limit, used, remaining: limit.saturating_sub(used) }
    };
    let (limit, used) = (limits.daily_spend_limit, usage.spent + usage.reserved);
    let money = Counted { unit: "money", limit, used, remaining: limit.saturating_sub_to_zero(used) };
    Guardrails {
        caller_id: CallerIds { numbers: usage.numbers.clone() },
        destination: Destinations { allowed_destinations: organization.allowed_destinations.clone() },
        rate: counted("calls in 60 s", limits.max_calls_per_minute, usage.calls as u64),
        concurrency: counted("legs", limits.max_concurrent_legs, usage.legs),
        spend: Spend {
            money,
            spent: usage.spent,
            reserved: usage.reserved,
            currency: Arc::clone(currency),
            timezone: limits.timezone.clone(),
        },
    }
}
