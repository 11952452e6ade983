//! What stands behind the edge: the production guardrails on accounts in memory, and a switch that
//! admits and rings nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use revbridge::api::{Ask, Busy, Caller, Earlier, ListFilter, Page, Reads, StoreDown, Usage};
use revbridge::config::Config;
use revbridge::guardrails::{self, Account, Allowlist, Attempt, Preview, PriceTable, Refusal, Rules};
use revbridge::model::{
    CallId, CallRecord, CredentialType, IdSource, LegRecord, Money, OrganizationId, Path, Status, Timestamp,
};
use revbridge::store::{Commit, Committed, Idempotency, Step, apply};
use revbridge::switch::{Command, Dial, IdempotencyKey, Reply};
use tokio::sync::oneshot;

/// Everything in one place, behind one lock, as the store's one writer is.
pub struct Backend {
    state: Mutex<State>,
    callers: BTreeMap<[u8; 32], Caller>,
    /// The switch's queue is full.
    pub full: AtomicBool,
    /// The store cannot be reached.
    pub down: AtomicBool,
}

struct State {
    ids: IdSource,
    accounts: BTreeMap<OrganizationId, Account>,
    /// In the order of their ids.
    records: BTreeMap<CallId, CallRecord>,
    answers: HashMap<[u8; 32], Idempotency>,
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(since.as_micros() as u64)
}

impl Backend {
    pub fn new(config: &Config) -> Self {
        let prices = PriceTable::new(config.prices.iter().map(|(prefix, price)| (prefix.as_str(), *price))).unwrap();
        let prices = Arc::new(prices);
        let mut accounts = BTreeMap::new();
        let mut callers = BTreeMap::new();
        for o in &config.organizations {
            let allowed = Allowlist::parse(o.allowed_destinations.iter().map(String::as_str)).unwrap();
            let rules = Rules::new(o.limits.clone(), allowed, o.numbers.clone(), Arc::clone(&prices)).unwrap();
            accounts.insert(o.id.clone(), Account::new(rules));
            for key in &o.keys {
                let user = o.users.iter().find(|u| u.id == key.user).unwrap();
                let caller = Caller {
                    key: key.sha256,
                    organization: o.id.clone(),
                    user: user.id.clone(),
                    phone: user.phone,
                    scopes: key.scopes.clone().into(),
                    confirm: o.confirm,
                    max_duration: o.max_duration,
                };
                callers.insert(key.sha256, caller);
            }
        }
        let ids = IdSource::new([7; 32]);
        let state = State { ids, accounts, records: BTreeMap::new(), answers: HashMap::new() };
        Self { state: Mutex::new(state), callers, full: AtomicBool::new(false), down: AtomicBool::new(false) }
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, StoreDown> {
        if self.down.load(Ordering::SeqCst) { Err(StoreDown) } else { Ok(self.state.lock().unwrap()) }
    }

    /// Calls that were ever admitted.
    pub fn admitted(&self) -> usize {
        self.state.lock().unwrap().records.len()
    }

    pub fn usage_of(&self, organization: &str) -> Usage {
        self.usage(&OrganizationId(organization.into()), now()).unwrap()
    }
}

impl State {
    fn dial(&mut self, dial: &Dial) -> Reply {
        if let Some(key) = &dial.idempotency
            && let Some(first) = self.answers.get(&key.key)
        {
            return if first.body == key.body {
                Reply::Replayed(first.answer.clone())
            } else {
                Reply::Conflict { request_id: Arc::clone(&first.request_id) }
            };
        }
        let commit = self.admission(dial);
        let Some(account) = self.accounts.get_mut(&dial.organization) else { return Reply::Refused(Refusal::Unknown) };
        let applied = apply(account, &commit);
        let Some(write) = applied.write else {
            let Committed::Refused(why) = applied.committed else { panic!("neither granted nor refused") };
            return Reply::Refused(why);
        };
        self.records.insert(commit.call, write.record);
        let answer = (dial.answer)(commit.call, dial);
        if let Some(IdempotencyKey { key, body, request_id }) = dial.idempotency.clone() {
            self.answers.insert(key, Idempotency { key, body, request_id, answer: answer.clone() });
        }
        Reply::Dialed { call: commit.call, answer }
    }

    fn admission(&mut self, dial: &Dial) -> Commit {
        let at = now();
        let call = self.ids.call(at);
        let attempt = Attempt {
            call,
            organization: dial.organization.clone(),
            user: dial.user.clone(),
            from: dial.from,
            to: dial.to,
            connect: dial.connect,
        };
        Commit {
            call,
            organization: dial.organization.clone(),
            at,
            step: Step::Admit(attempt),
            record: queued(call, at, dial),
            snapshot: None,
            facts: Vec::new(),
            idempotency: None,
        }
    }

    fn hang_up(&mut self, organization: &OrganizationId, call: CallId) -> Reply {
        let found = self.records.get_mut(&call).filter(|r| r.organization_id == *organization);
        let Some(record) = found.filter(|r| !r.status.is_terminal()) else { return Reply::NotLive };
        record.status = Status::Canceled;
        record.ended_at = Some(now());
        if let Some(account) = self.accounts.get_mut(organization) {
            account.settle(call, Money::ZERO);
        }
        Reply::Hangup { call, status: Status::Canceled }
    }
}

fn queued(id: CallId, at: Timestamp, dial: &Dial) -> CallRecord {
    CallRecord {
        id,
        organization_id: dial.organization.clone(),
        user_id: dial.user.clone(),
        credential_type: CredentialType::ApiKey,
        path: Path::Bridge,
        status: Status::Queued,
        from_number: dial.from,
        to_number: dial.to,
        connect_number: dial.connect,
        client_name: dial.client_name.clone(),
        client_label: dial.client_label.clone(),
        created_at: at,
        started_at: None,
        answered_at: None,
        ended_at: None,
        day: revbridge::model::Day(0),
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

/// The switch's door.
pub struct Door(pub Arc<Backend>);

impl Ask for Door {
    fn ask(&self, command: Command, reply: oneshot::Sender<Reply>) -> Result<(), Busy> {
        if self.0.full.load(Ordering::SeqCst) {
            return Err(Busy);
        }
        let backend = Arc::clone(&self.0);
        // As in production, the answer comes from another thread and later.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut state = backend.state.lock().unwrap();
            let _ = reply.send(match command {
                Command::Dial(dial) => state.dial(&dial),
                Command::Hangup { organization, call } => state.hang_up(&organization, call),
                Command::Drain { .. } => Reply::Draining,
            });
        });
        Ok(())
    }
}

impl Reads for Backend {
    fn authenticate(&self, sha256: &[u8; 32]) -> Option<Caller> {
        self.callers.get(sha256).cloned()
    }

    fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreDown> {
        let state = self.lock()?;
        Ok(state.records.get(&call).filter(|r| r.organization_id == *organization).cloned())
    }

    fn list(&self, organization: &OrganizationId, filter: &ListFilter) -> Result<Page, StoreDown> {
        let state = self.lock()?;
        let mut calls: Vec<CallRecord> = state
            .records
            .values()
            .rev()
            .filter(|r| r.organization_id == *organization && filter.cursor.is_none_or(|c| r.id < c))
            .filter(|r| filter.status.is_none_or(|s| r.status == s) && filter.to.is_none_or(|to| r.to_number == to))
            .take(filter.limit + 1)
            .cloned()
            .collect();
        let more = calls.len() > filter.limit;
        calls.truncate(filter.limit);
        let next = calls.last().filter(|_| more).map(|r| r.id);
        Ok(Page { calls, next })
    }

    fn preview(&self, attempt: &Attempt, now: Timestamp) -> Result<Preview, StoreDown> {
        Ok(guardrails::preview(&self.lock()?.accounts[&attempt.organization], attempt, now))
    }

    fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Usage, StoreDown> {
        let state = self.lock()?;
        let account = &state.accounts[organization];
        let today = account.day_use(now.day(&account.rules.zone));
        Ok(Usage {
            limits: account.rules.limits.clone(),
            legs: account.legs_in_use() as u32,
            calls: account.admitted_in_minute(now) as u32,
            spent_today: today.spent,
            reserved: today.reserved,
            allowed_destinations: vec!["+1".to_owned()],
            numbers: account.rules.numbers.clone(),
        })
    }

    fn find_answer(&self, key: &IdempotencyKey, _: Timestamp) -> Result<Option<Earlier>, StoreDown> {
        let state = self.lock()?;
        let found = state.answers.get(&key.key);
        Ok(found.map(|found| {
            if found.body == key.body {
                Earlier::Answered(found.answer.clone())
            } else {
                Earlier::Differs { request_id: Arc::clone(&found.request_id) }
            }
        }))
    }

    fn store_answer(&self, answer: Idempotency, _: Timestamp) -> Result<(), StoreDown> {
        self.lock()?.answers.entry(answer.key).or_insert(answer);
        Ok(())
    }

    fn ping(&self) -> Result<(), StoreDown> {
        self.lock().map(drop)
    }
}
