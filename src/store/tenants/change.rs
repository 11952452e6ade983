//! What can be asked to change, and what comes of it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{Declaration, Kind, ObjectId, Organization, Tenants, Verb};
use crate::config::{OrganizationConfig, bounds};
use crate::guardrails::{LegPrice, Limits, Prefix};
use crate::model::{Confirm, E164, KeyId, Money, OrganizationId, Timestamp, UserId};

/// One change, as somebody asks for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    CreateOrganization {
        id: OrganizationId,
        settings: SettingsPatch,
    },
    UpdateOrganization {
        id: OrganizationId,
        settings: SettingsPatch,
    },
    /// For good, as far as its users, numbers and keys go: the numbers may be another's from now on.
    CloseOrganization {
        id: OrganizationId,
    },
    CreateUser {
        organization: OrganizationId,
        id: UserId,
        phone: Option<E164>,
    },
    UpdateUser {
        organization: OrganizationId,
        id: UserId,
        phone: Option<E164>,
    },
    /// With its keys, which are revoked.
    DeleteUser {
        organization: OrganizationId,
        id: UserId,
    },
    AddNumber {
        organization: OrganizationId,
        number: E164,
    },
    RemoveNumber {
        organization: OrganizationId,
        number: E164,
    },
    IssueKey {
        organization: OrganizationId,
        user: UserId,
        name: Option<Arc<str>>,
        scopes: Vec<String>,
        expires_at: Option<Timestamp>,
        sha256: [u8; 32],
    },
    /// Gives a key a successor with the same user, name and scopes, and lets it expire after `overlap`. Without
    /// `expires_at` the successor lives as long as its predecessor was to.
    RotateKey {
        id: KeyId,
        sha256: [u8; 32],
        overlap: Duration,
        expires_at: Option<Timestamp>,
    },
    RevokeKey {
        id: KeyId,
    },
    SetPrice {
        prefix: String,
        price: LegPrice,
    },
    RemovePrice {
        prefix: String,
    },
    /// What the configuration file declares, all of it. What of it cannot be is skipped, and told.
    Declare(Arc<Declaration>),
}

/// Settings of an organization, as far as somebody names them. They are checked when they are applied.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SettingsPatch {
    pub max_concurrent_legs: Option<u64>,
    pub max_calls_per_minute: Option<u64>,
    pub daily_spend_limit: Option<Money>,
    /// 0 takes the cap away, as with the next one.
    pub max_legs_per_user: Option<u64>,
    pub max_legs_per_destination: Option<u64>,
    pub breaker_window_seconds: Option<u64>,
    pub breaker_short_answers: Option<u64>,
    pub breaker_answer_percent: Option<u64>,
    pub breaker_min_calls: Option<u64>,
    pub breaker_pause_seconds: Option<u64>,
    pub timezone: Option<String>,
    pub allowed_destinations: Option<Vec<String>>,
    pub confirm: Option<Confirm>,
    pub max_duration_seconds: Option<u64>,
    /// `false` opens an organization again that was closed.
    #[serde(skip)]
    pub closed: Option<bool>,
}

/// What is wrong with a field, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    pub field: &'static str,
    pub text: String,
}

impl FieldProblem {
    pub fn new(field: &'static str, text: impl Into<String>) -> Self {
        Self { field, text: text.into() }
    }
}

impl SettingsPatch {
    /// Everything that is wrong with what is named.
    pub fn problems(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let mut whole = |field, value: Option<u64>, bounds: &RangeInclusive<u64>| {
            if value.is_some_and(|value| !bounds.contains(&value)) {
                let text = format!("expected a whole number from {} to {}", bounds.start(), bounds.end());
                problems.push(FieldProblem::new(field, text));
            }
        };
        whole("max_concurrent_legs", self.max_concurrent_legs, &bounds::MAX_CONCURRENT_LEGS_BOUND);
        whole("max_calls_per_minute", self.max_calls_per_minute, &bounds::MAX_CALLS_PER_MINUTE_BOUND);
        let cap = |cap: Option<u64>| cap.filter(|cap| *cap > 0);
        whole("max_legs_per_user", cap(self.max_legs_per_user), &bounds::MAX_LEGS_PER_USER_BOUND);
        let per_destination = cap(self.max_legs_per_destination);
        whole("max_legs_per_destination", per_destination, &bounds::MAX_LEGS_PER_DESTINATION_BOUND);
        whole("breaker_window_seconds", self.breaker_window_seconds, &bounds::BREAKER_WINDOW_BOUND);
        whole("breaker_short_answers", self.breaker_short_answers, &bounds::BREAKER_SHORT_ANSWERS_BOUND);
        whole("breaker_answer_percent", self.breaker_answer_percent, &bounds::BREAKER_ANSWER_PERCENT_BOUND);
        whole("breaker_min_calls", self.breaker_min_calls, &bounds::BREAKER_MIN_CALLS_BOUND);
        whole("breaker_pause_seconds", self.breaker_pause_seconds, &bounds::BREAKER_PAUSE_BOUND);
        whole("max_duration_seconds", self.max_duration_seconds, &bounds::MAX_DURATION_BOUND);
        if self.daily_spend_limit.is_some_and(|limit| limit < Money::ZERO || limit > Money::MAX) {
            problems.push(FieldProblem::new("daily_spend_limit", "expected an amount such as \"50.00\""));
        }
        if self.timezone.as_deref().is_some_and(|name| jiff::tz::TimeZone::get(name).is_err()) {
            let text = "expected an IANA time zone, such as \"UTC\" or \"America/New_York\"";
            problems.push(FieldProblem::new("timezone", text));
        }
        let destinations = self.allowed_destinations.as_deref().unwrap_or_default();
        problems.extend(destination_problem(destinations).map(|text| FieldProblem::new("allowed_destinations", text)));
        if self.closed == Some(true) {
            problems.push(FieldProblem::new("closed", "expected false, which opens it again; DELETE closes it"));
        }
        problems
    }

    /// What must be named of a new organization, and is not.
    pub fn missing(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        if self.allowed_destinations.is_none() {
            let text = "missing; expected a list such as [\"+1\"]; nothing listed means nothing allowed";
            problems.push(FieldProblem::new("allowed_destinations", text));
        }
        if self.daily_spend_limit.is_none() {
            problems.push(FieldProblem::new("daily_spend_limit", "missing; expected an amount such as \"50.00\""));
        }
        problems
    }

    /// Sets what is named. What is checked with [`SettingsPatch::problems`] fits.
    pub(super) fn apply(&self, organization: &mut Organization) {
        fn set<T: Clone>(place: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *place = value.clone();
            }
        }
        let small = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok());
        let Limits {
            max_concurrent_legs,
            max_calls_per_minute,
            daily_spend_limit,
            timezone,
            max_legs_per_user,
            max_legs_per_destination,
            breakers,
        } = &mut organization.limits;
        let cap = |n: Option<u64>| small(n).map(|cap| (cap > 0).then_some(cap));
        set(max_legs_per_user, &cap(self.max_legs_per_user));
        set(max_legs_per_destination, &cap(self.max_legs_per_destination));
        set(&mut breakers.window_seconds, &small(self.breaker_window_seconds));
        set(&mut breakers.short_answers, &small(self.breaker_short_answers));
        set(&mut breakers.answer_percent, &small(self.breaker_answer_percent));
        set(&mut breakers.min_calls, &small(self.breaker_min_calls));
        set(&mut breakers.pause_seconds, &small(self.breaker_pause_seconds));
        set(max_concurrent_legs, &small(self.max_concurrent_legs));
        set(max_calls_per_minute, &small(self.max_calls_per_minute));
        set(daily_spend_limit, &self.daily_spend_limit);
        set(timezone, &self.timezone);
        set(&mut organization.allowed_destinations, &self.allowed_destinations);
        set(&mut organization.confirm, &self.confirm);
        set(&mut organization.max_duration, &self.max_duration_seconds.map(Duration::from_secs));
        if self.closed == Some(false) {
            organization.closed_at = None;
        }
    }
}

/// All that the file says of an organization's settings.
impl From<&OrganizationConfig> for SettingsPatch {
    fn from(file: &OrganizationConfig) -> Self {
        let Limits {
            max_concurrent_legs,
            max_calls_per_minute,
            daily_spend_limit,
            timezone,
            max_legs_per_user,
            max_legs_per_destination,
            breakers,
        } = file.limits.clone();
        Self {
            max_concurrent_legs: Some(max_concurrent_legs.into()),
            max_calls_per_minute: Some(max_calls_per_minute.into()),
            daily_spend_limit: Some(daily_spend_limit),
            max_legs_per_user: Some(max_legs_per_user.unwrap_or_default().into()),
            max_legs_per_destination: Some(max_legs_per_destination.unwrap_or_default().into()),
            breaker_window_seconds: Some(breakers.window_seconds.into()),
            breaker_short_answers: Some(breakers.short_answers.into()),
            breaker_answer_percent: Some(breakers.answer_percent.into()),
            breaker_min_calls: Some(breakers.min_calls.into()),
            breaker_pause_seconds: Some(breakers.pause_seconds.into()),
            timezone: Some(timezone),
            allowed_destinations: Some(file.allowed_destinations.clone()),
            confirm: Some(file.confirm),
            max_duration_seconds: Some(file.max_duration.as_secs()),
            closed: None,
        }
    }
}

fn destination_problem(entries: &[String]) -> Option<String> {
    if entries.len() > bounds::DESTINATIONS {
        return Some(format!("expected at most {} entries", bounds::DESTINATIONS));
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        let bare = entry.strip_prefix('!').unwrap_or(entry);
        if let Err(error) = Prefix::parse(bare) {
            return Some(format!("{error}; '!' before one that is blocked"));
        }
        if !seen.insert(bare) {
            return Some(format!("{bare} is listed twice; keep one"));
        }
    }
    None
}

/// Who asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `file`, or the name of an admin key.
    pub name: Arc<str>,
    /// `X-Request-Id` of the request that asked.
    pub request_id: Option<Arc<str>>,
}

impl Actor {
    /// The configuration file.
    pub fn file() -> Self {
        Self { name: "file".into(), request_id: None }
    }
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    #[error("there is no such {}", .0.as_str())]
    NotFound(Kind),
    #[error("there is such a {} already", .0.as_str())]
    Exists(Kind),
    #[error("another organization has this {}", .0.as_str())]
    Taken(Kind),
    #[error("the organization is closed")]
    Closed,
    #[error("the key is revoked or expired")]
    Dead,
    #[error("the key was rotated already, to {0}")]
    Rotated(KeyId),
    #[error("there are {most} {}s, as many as are kept", .kind.as_str())]
    TooMany { kind: Kind, most: usize },
    #[error("{}", say(.0))]
    Invalid(Vec<FieldProblem>),
}

fn say(problems: &[FieldProblem]) -> String {
    problems.iter().map(|p| format!("{}: {}", p.field, p.text)).collect::<Vec<_>>().join("; ")
}

/// What an object is kept as from now on. It has no row (any more) when both are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: ObjectId,
    /// The object, as JSON.
    pub document: Option<String>,
    /// What the configuration file said of it when it was last read, as JSON.
    pub declared: Option<String>,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub at: Timestamp,
    pub by: Actor,
    pub verb: Verb,
    pub kind: Kind,
    pub organization: Option<OrganizationId>,
    /// The object's name within its organization.
    pub name: String,
    /// As JSON, without secrets.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Something of the file that could not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    pub id: ObjectId,
    pub why: ChangeRefused,
}

/// Whose rules are others from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Everybody's: more is new to this node than the change.
    pub all: bool,
    /// Everybody's prices, and nothing else of their rules.
    pub prices: bool,
    pub organizations: BTreeSet<OrganizationId>,
}

impl Touched {
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }
}

/// What follows from a change; nothing of it is durable yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// After the change. The version is one higher, unless nothing has changed.
    pub tenants: Tenants,
    /// To write, each in the place of one with the same id.
    pub rows: Vec<Row>,
    /// To append, in this order.
    pub entries: Vec<Entry>,
    pub touched: Touched,
    pub skipped: Vec<Skipped>,
}

impl Decided {
    /// There is nothing to write.
    pub fn is_nothing(&self) -> bool {
        self.rows.is_empty() && self.entries.is_empty()
    }
}
