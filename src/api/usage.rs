//! `GET /v1/usage`: what an organization's calls came to, day by day.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Data, Problem};
use super::fields::Fields;
use super::{Api, Caller};
use crate::model::{Day, Money};
use crate::store::{Statement, Sums};

/// Days that one statement spans, at most: a year, also a leap year.
const LONGEST: i32 = 366;

/// A statement. It is of one moment, and at each moment `spent` is the sum of its calls' costs.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageView {
    /// The first day of the statement, `2026-01-31`, in the organization's timezone.
    from: String,
    /// The last one; it is part of it.
    to: String,
    timezone: String,
    currency: Arc<str>,
    /// What events up to this `sequence` told is part of it, and nothing later.
    as_of_sequence: u64,
    total: SumsView,
    /// Days with calls, oldest first. A call belongs to the day on which it was admitted, with its whole cost.
    days: Vec<DayView>,
    users: Vec<UserView>,
    paths: Vec<PathView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SumsView {
    /// Those that live included.
    calls: u64,
    live: u64,
    /// By the destination.
    answered: u64,
    billable_seconds: u64,
    spent: Money,
    /// Set aside for the calls that live.
    reserved: Money,
}

#[derive(Debug, Serialize, ToSchema)]
struct DayView {
    day: String,
    #[serde(flatten)]
    sums: SumsView,
}

#[derive(Debug, Serialize, ToSchema)]
struct UserView {
    user_id: String,
    #[serde(flatten)]
    sums: SumsView,
}

#[derive(Debug, Serialize, ToSchema)]
struct PathView {
    path: &'static str,
    #[serde(flatten)]
    sums: SumsView,
}

/// Which days; both are part of the statement.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a description; `days` reads the query")]
pub struct UsageQuery {
    /// In the organization's timezone; without it, the same as `to`. At most 366 days before `to`, and not after it.
    #[param(format = Date)]
    from: Option<String>,
    /// Today, when it is left out.
    #[param(format = Date)]
    to: Option<String>,
}

/// What the organization's calls came to, day by day.
///
/// At each moment `spent` is the sum of its calls' costs.
#[utoipa::path(
    get, path = "/v1/usage", tag = "Calls", operation_id = "getUsage", params(UsageQuery),
    security(("key" = ["calls:read"])), responses((status = 200, description = "The statement", body = Data<UsageView>))
)]
pub async fn usage(State(api): State<Arc<Api>>, caller: Caller, uri: Uri) -> Result<Data<UsageView>, Problem> {
    caller.needs("calls:read")?;
    let timezone = caller.organization.limits.timezone.clone();
    let zone = jiff::tz::TimeZone::get(&timezone).map_err(|_| Problem::internal())?;
    let (from, to) = days(&uri, (api.clock)().day(&zone))?;
    let organization = caller.organization.id.clone();
    let statement = api.read(move |store| store.statement(&organization, from, to)).await?;
    Ok(Data { data: view(&statement, from, to, timezone, &api.currency) })
}

/// Both are part of the statement. Without `to` it ends today, without `from` it has one day.
fn days(uri: &Uri, today: Day) -> Result<(Day, Day), Problem> {
    let mut query = Fields::of_query(uri)?;
    let expected = "a day such as 2026-01-31, in the organization's timezone";
    let from = query.parsed("from", expected, Day::parse);
    let to = query.parsed("to", expected, Day::parse);
    let to = to.unwrap_or(today);
    let from = from.unwrap_or(to);
    if from > to {
        query.wrong("from", "lies after to; exchange them");
    } else if to.0 - from.0 >= LONGEST {
        query.wrong("from", format!("more than {LONGEST} days before to; ask for a part at a time"));
    }
    query.finish()?;
    Ok((from, to))
}

fn view(statement: &Statement, from: Day, to: Day, timezone: String, currency: &Arc<str>) -> UsageView {
    let Statement { as_of, total, days, users, paths } = statement;
    UsageView {
        from: from.to_string(),
        to: to.to_string(),
        timezone,
        currency: Arc::clone(currency),
        as_of_sequence: *as_of,
        total: sums(total),
        days: days.iter().map(|(day, of)| DayView { day: day.to_string(), sums: sums(of) }).collect(),
        users: users.iter().map(|(user, of)| UserView { user_id: user.as_str().to_owned(), sums: sums(of) }).collect(),
        paths: paths.iter().map(|(path, of)| PathView { path, sums: sums(of) }).collect(),
    }
}

fn sums(sums: &Sums) -> SumsView {
    let Sums { calls, live, answered, billable_seconds, spent, reserved } = *sums;
    SumsView { calls, live, answered, billable_seconds, spent, reserved }
}
