//! A store with one organization, and somebody who hands in commits and waits for what becomes of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use revbridge::config::{OrganizationConfig, StoreConfig};
use revbridge::events::{Fact, FactKind};
use revbridge::guardrails::{Attempt, LegAttempt, LegPrice, Limits};
use revbridge::model::*;
use revbridge::store::engine::StoreError;
use revbridge::store::tenants::Declaration;
use revbridge::store::{Answer, Commit, Committed, Idempotency, Recovered, Step, Store, open};

#[path = "../support/engine.rs"]
pub mod engine;

pub struct Desk {
    pub store: Arc<dyn Store>,
    pub recovered: Recovered,
    pub answers: Receiver<(CommitId, Committed)>,
    pub ids: IdSource,
    next: u64,
    last_id: Timestamp,
}

/// Twenty cents for the first minute of both legs.
pub const FIRST_PERIODS: Money = Money::from_micros(20_000);

pub fn organization(limits: Limits) -> OrganizationConfig {
    OrganizationConfig {
        id: OrganizationId("acme".into()),
        limits,
        allowed_destinations: vec!["+1".into()],
        numbers: vec![number("+12125550100")],
        users: Vec::new(),
        keys: Vec::new(),
        confirm: Confirm::None,
        max_duration: Duration::from_secs(3600),
    }
}

/// The file of a server with that organization.
pub fn declaration(limits: Limits) -> Declaration {
    Declaration { organizations: vec![organization(limits)], prices: prices() }
}

pub fn limits(legs: u32, per_minute: u32, spend: &str) -> Limits {
    Limits {
        max_concurrent_legs: legs,
        max_calls_per_minute: per_minute,
        daily_spend_limit: spend.parse().unwrap(),
        timezone: "UTC".into(),
        ..Limits::default()
    }
}

pub fn wide() -> Limits {
    limits(1_000_000, 1_000_000, "1000000")
}

pub fn prices() -> Vec<(String, LegPrice)> {
    let per_minute = Money::from_micros(10_000);
    vec![("+1".into(), LegPrice { per_minute, connect: Money::ZERO, first_seconds: 60, step_seconds: 6 })]
}

pub fn number(text: &str) -> E164 {
    E164::parse(text).unwrap()
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(since.as_micros() as u64)
}

/// Whether it comes true in time; asked over and over.
pub fn within(time: Duration, mut is: impl FnMut() -> bool) -> bool {
    let until = std::time::Instant::now() + time;
    loop {
        if is() {
            return true;
        }
        if std::time::Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Desk {
    /// On the engine that the tests run on.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Self::open_watched(path, limits, || ())
    }

    /// Whatever engine the other tests run on.
    pub fn open_file(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Self::open_url(&format!("sqlite:{}", path.display()), "solo", limits, || ())
    }

    /// Calls `transaction` once per transaction that answers somebody.
    pub fn open_watched(
        path: &Path,
        limits: Limits,
        transaction: impl Fn() + Send + 'static,
    ) -> Result<Self, StoreError> {
        Self::open_url(&engine::url_of(path), "solo", limits, transaction)
    }

    /// One node of perhaps several on a store.
    pub fn open_url(
        url: &str,
        node: &str,
        limits: Limits,
        transaction: impl Fn() + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (sender, answers) = channel();
        let config = StoreConfig { url: url.parse().unwrap(), keep_records: None, keep_events: None };
        let (store, recovered) = open::open(&config, node, move |all| {
            transaction();
            all.into_iter().for_each(|one| drop(sender.send(one)));
        })?;
        assert_eq!(store.declare(declaration(limits), now()), Ok(vec![]));
        let seed = now().as_micros().to_le_bytes().repeat(4).try_into().unwrap();
        Ok(Self { store, recovered, answers, ids: IdSource::new(seed), next: 0, last_id: Timestamp::default() })
    }

    pub fn declare(&self, limits: Limits) {
        assert_eq!(self.store.declare(declaration(limits), now()), Ok(vec![]));
    }

    /// Each has a later id than the one before: a millisecond's ids are in no order.
    pub fn attempt(&mut self) -> Attempt {
        self.last_id = now().max(self.last_id + Duration::from_millis(1));
        Attempt {
            call: self.ids.call(self.last_id),
            organization: OrganizationId("acme".into()),
            user: UserId("alice".into()),
            from: number("+12125550100"),
            to: number("+13105550100"),
            connect: Some(number("+14155550100")),
        }
    }

    pub fn submit(&mut self, commit: Commit) {
        self.next += 1;
        self.store.submit(CommitId(self.next), Box::new(commit));
    }

    pub fn wait(&self) -> Committed {
        self.answers.recv_timeout(Duration::from_secs(30)).expect("an answer").1
    }

    pub fn commit(&mut self, commit: Commit) -> Committed {
        self.submit(commit);
        self.wait()
    }

    /// Admits a call that was never refused.
    pub fn admit(&mut self) -> Attempt {
        let attempt = self.attempt();
        let committed = self.commit(admit(&attempt));
        assert!(matches!(committed, Committed::Admitted { .. }), "{committed:?}");
        attempt
    }
}

pub fn admit(attempt: &Attempt) -> Commit {
    step(attempt, Step::Admit(attempt.clone()))
}

pub fn permit(attempt: &Attempt, side: Side) -> Commit {
    step(attempt, Step::PermitLeg(LegAttempt { side, attempt: attempt.clone() }))
}

pub fn settle(attempt: &Attempt, cost: Money) -> Commit {
    step(attempt, Step::Settle { cost })
}

/// A commit with a snapshot and, at the two ends of a call, its fact.
pub fn step(attempt: &Attempt, step: Step) -> Commit {
    let (status, facts) = match step {
        Step::Admit(_) => (Status::Queued, vec![FactKind::NewCall]),
        Step::PermitLeg(_) | Step::Connect { .. } | Step::Extend { .. } | Step::Keep => {
            (Status::CallingDestination, vec![])
        }
        Step::Settle { .. } => (Status::Completed, vec![FactKind::CallCompleted]),
    };
    Commit {
        call: attempt.call,
        organization: attempt.organization.clone(),
        at: now(),
        step,
        record: record(attempt, status),
        snapshot: Some(vec![7; 2_000].into()),
        facts: facts.into_iter().map(|kind| Fact { call: attempt.call, kind }).collect(),
        idempotency: None,
        token: None,
    }
}

pub fn record(attempt: &Attempt, status: Status) -> CallRecord {
    CallRecord {
        id: attempt.call,
        organization_id: attempt.organization.clone(),
        user_id: attempt.user.clone(),
        credential_type: CredentialType::ApiKey,
        path: revbridge::model::Path::Bridge,
        status,
        from_number: attempt.from,
        to_number: Some(attempt.to),
        connect_number: attempt.connect,
        client_name: None,
        client_label: None,
        created_at: now(),
        started_at: None,
        answered_at: None,
        ended_at: None,
        day: Day(0),
        billable_seconds: 0,
        cost: Money::ZERO,
        ended_by: None,
        end_reason: None,
        sip_status: None,
        q850_cause: None,
        user_leg: LegRecord::default(),
        destination_leg: LegRecord::default(),
    }
}

pub fn idempotency(key: u8, body: u8, request_id: &str) -> Idempotency {
    let answer = Answer { status: 202, location: None, body: format!("{{\"request\":\"{request_id}\"}}") };
    Idempotency { key: [key; 32], body: [body; 32], request_id: request_id.into(), answer }
}
