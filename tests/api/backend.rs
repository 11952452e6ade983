//! What stands behind the edge: the production store on a file of its own, and a switch that admits
//! calls and rings nobody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use revbridge::api::{Ask, Busy};
use revbridge::config::{Config, StoreConfig};
use revbridge::events::{Fact, FactKind, KeyPrint};
use revbridge::guardrails::{Attempt, Preview};
use revbridge::model::SubscriptionId;
use revbridge::model::{
    CallId, CallRecord, CommitId, CredentialType, Day, EndReason, EndedBy, IdSource, LegRecord, Money, OrganizationId,
    Path, Status, Timestamp, TokenDigest,
};
use revbridge::store::open;
use revbridge::store::tenants::{Declaration, Tenants};
use revbridge::store::{
    Answer, CallFilter, ChangeFilter, ChangeOrder, ChangePage, Changed, Commit, Committed, Erased, Erasure, Event,
    Idempotency, KeyInfo, Outbox, Page, Records, Retention, Statement, Statements, Step, Store, StoreDown, Tenancy,
    TokenState, Traces, Upkeep, Usage,
};
use revbridge::store::{
    Backlog, Claim, ClaimantId, Deliveries, DeliveryFilter, DeliveryPage, Due, Once, Replay, Subscribed, Subscription,
    SubscriptionState, Tried,
};
use revbridge::switch::{Command, Dial, Reply, Unavailable};
use tempfile::TempDir;
use tokio::sync::oneshot;

#[path = "../support/engine.rs"]
pub mod engine;

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(since.as_micros() as u64)
}

/// The store, and the calls that the switch holds.
pub struct Backend {
    store: OnceLock<Arc<dyn Store>>,
    ids: Mutex<IdSource>,
    next_commit: AtomicU64,
    waiting: Mutex<HashMap<CommitId, Waiting>>,
    live: Mutex<HashMap<CallId, CallRecord>>,
    admitted: AtomicUsize,
    /// The switch's queue is full.
    pub full: AtomicBool,
    /// Reads of lists and events take so long that much happens meanwhile.
    pub slow: AtomicBool,
    /// The store cannot be reached.
    pub down: AtomicBool,
    directory: TempDir,
}

/// Who waits for a commit, and what is said when it is durable.
struct Waiting {
    reply: oneshot::Sender<Reply>,
    record: CallRecord,
    answer: Option<Answer>,
}

impl Backend {
    pub fn new(config: &Config) -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls.db");
        let backend = Arc::new(Self {
            store: OnceLock::new(),
            ids: Mutex::new(IdSource::new([7; 32])),
            next_commit: AtomicU64::new(1),
            waiting: Mutex::default(),
            live: Mutex::default(),
            admitted: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            down: AtomicBool::new(false),
            directory,
        });
        let behind = Arc::downgrade(&backend);
        let answer = move |all: Vec<_>| {
            if let Some(backend) = behind.upgrade() {
                all.into_iter().for_each(|(id, committed)| backend.committed(id, committed));
            }
        };
        let (store, _) = open::open(&store_config(&path), "solo", answer).unwrap();
        assert_eq!(store.declare(Declaration::from(config), now()), Ok(vec![]));
        assert!(backend.store.set(store).is_ok());
        backend
    }

    fn store(&self) -> &dyn Store {
        &**self.store.get().expect("opened with the backend")
    }

    fn reachable(&self) -> Result<&dyn Store, StoreDown> {
        if self.down.load(Ordering::SeqCst) { Err(StoreDown) } else { Ok(self.store()) }
    }

    /// All that the store has on the disk.
    pub fn bytes(&self) -> Vec<u8> {
        engine::bytes(&self.directory.path().join("calls.db"))
    }

    /// Calls that were ever admitted.
    pub fn admitted(&self) -> usize {
        self.admitted.load(Ordering::SeqCst)
    }

    pub fn usage_of(&self, organization: &str) -> Usage {
        Store::usage(self.store(), &OrganizationId(organization.into()), now()).unwrap().unwrap()
    }

    fn dial(&self, dial: &Dial, reply: oneshot::Sender<Reply>) {
        let at = now();
        let call = self.ids.lock().unwrap().call(at);
        let attempt = Attempt {
            call,
            organization: dial.organization.clone(),
            user: dial.user.clone(),
            from: dial.from,
            to: dial.to,
            connect: dial.connect.phone(),
        };
        let answer = (dial.answer)(call, dial);
        let idempotency = dial.idempotency.clone().map(|key| Idempotency {
            key: key.key,
            body: key.body,
            request_id: key.request_id,
            answer: answer.clone(),
        });
        let step = Step::Admit(attempt);
        self.submit(queued(call, at, dial), step, &[FactKind::NewCall], idempotency, Some(answer), reply);
    }

    fn hang_up(&self, organization: &OrganizationId, call: CallId, reply: oneshot::Sender<Reply>) {
        let record = self.live.lock().unwrap().get(&call).cloned();
        let Some(mut record) = record.filter(|record| record.organization_id == *organization) else {
            return drop(reply.send(Reply::NotLive));
        };
        record.status = Status::Canceled;
        record.ended_at = Some(now());
        record.ended_by = Some(EndedBy::Api);
        record.end_reason = Some(EndReason::ApiHangup);
        self.submit(record, Step::Settle { cost: Money::ZERO }, &[FactKind::CallCompleted], None, None, reply);
    }

    /// So many events at once, all of one moment of this call.
    pub fn flood(&self, call: CallId, events: usize) {
        let record = self.live.lock().unwrap()[&call].clone();
        let (reply, answer) = oneshot::channel();
        self.submit(record, Step::Keep, &vec![FactKind::CallStatus; events], None, None, reply);
        answer.blocking_recv().unwrap();
    }

    /// The call comes to stand here.
    pub fn progress(&self, call: CallId, status: Status) {
        let record = {
            let mut live = self.live.lock().unwrap();
            let record = live.get_mut(&call).expect("it lives");
            record.status = status;
            record.clone()
        };
        let fact = if status == Status::InProgress { FactKind::CallAnswered } else { FactKind::CallStatus };
        let (reply, answer) = oneshot::channel();
        self.submit(record, Step::Keep, &[fact], None, None, reply);
        answer.blocking_recv().unwrap();
    }

    fn take_time(&self) {
        if self.slow.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
    }

    /// From now on this is what there is.
    pub fn declare(&self, config: &Config) {
        self.store().declare(Declaration::from(config), now()).unwrap();
    }

    fn submit(
        &self,
        record: CallRecord,
        step: Step,
        facts: &[FactKind],
        idempotency: Option<Idempotency>,
        answer: Option<Answer>,
        reply: oneshot::Sender<Reply>,
    ) {
        let id = CommitId(self.next_commit.fetch_add(1, Ordering::SeqCst));
        let commit = Commit {
            call: record.id,
            organization: record.organization_id.clone(),
            at: now(),
            step,
            record: record.clone(),
            snapshot: None,
            facts: facts.iter().map(|kind| Fact { call: record.id, kind: *kind }).collect(),
            idempotency,
            token: None,
        };
        self.waiting.lock().unwrap().insert(id, Waiting { reply, record, answer });
        self.store().submit(id, Box::new(commit));
    }

    fn committed(&self, id: CommitId, committed: Committed) {
        let Waiting { reply, record, answer } = self.waiting.lock().unwrap().remove(&id).expect("one answer each");
        let call = record.id;
        let _ = reply.send(match (committed, answer) {
            (Committed::Admitted { .. }, Some(answer)) => {
                self.admitted.fetch_add(1, Ordering::SeqCst);
                self.live.lock().unwrap().insert(call, record);
                Reply::Dialed { call, answer }
            }
            (Committed::Done, None) if record.status.is_terminal() => {
                self.live.lock().unwrap().remove(&call);
                Reply::Hangup { call, status: record.status }
            }
            (Committed::Done, None) => Reply::Hangup { call, status: record.status },
            (Committed::Refused(why), _) => Reply::Refused(why),
            (Committed::Replayed(answer), _) => Reply::Replayed(answer),
            (Committed::Conflict { request_id }, _) => Reply::Conflict { request_id },
            (_, _) => Reply::Unavailable(Unavailable::Store),
        });
    }
}

/// The store that this path stands for, on the engine that the tests run on.
pub fn store_config(path: &std::path::Path) -> StoreConfig {
    StoreConfig { url: engine::url_of(path).parse().unwrap(), keep_records: None, keep_events: None }
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
        to_number: Some(dial.to),
        connect_number: dial.connect.phone(),
        client_name: dial.client_name.clone(),
        client_label: dial.client_label.clone(),
        created_at: at,
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

/// The switch's door.
pub struct Door(pub Arc<Backend>);

impl Ask for Door {
    fn ask(&self, command: Command, reply: oneshot::Sender<Reply>) -> Result<(), Busy> {
        if self.0.full.load(Ordering::SeqCst) {
            return Err(Busy);
        }
        match command {
            Command::Dial(dial) => self.0.dial(&dial, reply),
            Command::Hangup { organization, call } => self.0.hang_up(&organization, call, reply),
            Command::Browser(_) => panic!("no browser without [webrtc]"),
            Command::Route(_) => drop(reply.send(Reply::Route(Vec::new()))),
            Command::Drain { .. } => drop(reply.send(Reply::Draining)),
        }
        Ok(())
    }
}

/// The production engine, but for the times when a test takes it away.
impl Store for Backend {
    fn submit(&self, id: CommitId, commit: Box<Commit>) {
        self.store().submit(id, commit);
    }

    fn forget(&self, calls: Vec<CallId>) {
        self.store().forget(calls);
    }

    fn authenticate(&self, sha256: &[u8; 32]) -> Option<Arc<KeyInfo>> {
        self.store().authenticate(sha256)
    }

    fn preview(&self, attempt: Attempt, now: Timestamp) -> Result<Option<Preview>, StoreDown> {
        self.reachable()?.preview(attempt, now)
    }

    fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Option<Usage>, StoreDown> {
        Store::usage(self.reachable()?, organization, now)
    }

    fn ping(&self) -> Result<(), StoreDown> {
        self.reachable()?.ping()
    }
}

impl Records for Backend {
    fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreDown> {
        self.reachable()?.get(organization, call)
    }

    fn list(&self, organization: &OrganizationId, filter: &CallFilter) -> Result<Page, StoreDown> {
        let page = self.reachable()?.list(organization, filter);
        self.take_time();
        page
    }

    fn find_answer(&self, key: &[u8; 32]) -> Result<Option<Idempotency>, StoreDown> {
        self.reachable()?.find_answer(key)
    }

    fn store_answer(&self, answer: Idempotency, now: Timestamp) -> Result<Idempotency, StoreDown> {
        self.reachable()?.store_answer(answer, now)
    }

    fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreDown> {
        self.reachable()?.find_token(digest)
    }
}

impl Outbox for Backend {
    fn events(
        &self,
        organization: &OrganizationId,
        of: Option<CallId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreDown> {
        let events = self.reachable()?.events(organization, of, after, limit);
        self.take_time();
        events
    }

    fn newest_event(&self, organization: &OrganizationId) -> Result<u64, StoreDown> {
        self.reachable()?.newest_event(organization)
    }
}

impl Tenancy for Backend {
    fn tenants(&self) -> Arc<Tenants> {
        self.store().tenants()
    }

    fn change(&self, order: ChangeOrder) -> Result<Changed, StoreDown> {
        self.reachable()?.change(order)
    }

    fn changes(&self, filter: &ChangeFilter) -> Result<ChangePage, StoreDown> {
        self.reachable()?.changes(filter)
    }
}

impl Statements for Backend {
    fn statement(&self, organization: &OrganizationId, from: Day, to: Day) -> Result<Statement, StoreDown> {
        self.reachable()?.statement(organization, from, to)
    }
}

impl Upkeep for Backend {
    fn keep(&self, retention: Retention) {
        self.store().keep(retention);
    }

    fn erase(&self, erasure: &Erasure) -> Result<Erased, StoreDown> {
        self.reachable()?.erase(erasure)
    }
}

impl Traces for Backend {
    fn keep_traces(&self, traces: Vec<(CallId, bytes::Bytes)>, now: Timestamp) -> Result<(), StoreDown> {
        self.reachable()?.keep_traces(traces, now)
    }

    fn trace(&self, call: CallId) -> Result<Option<bytes::Bytes>, StoreDown> {
        self.reachable()?.trace(call)
    }
}

impl Deliveries for Backend {
    fn subscribe(
        &self,
        organization: &OrganizationId,
        subscription: Subscription,
        most: usize,
        once: Option<Idempotency>,
    ) -> Result<Once<Subscribed>, StoreDown> {
        self.reachable()?.subscribe(organization, subscription, most, once)
    }

    fn subscriptions(&self, organization: &OrganizationId) -> Result<Vec<SubscriptionState>, StoreDown> {
        self.reachable()?.subscriptions(organization)
    }

    fn subscription(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionState>, StoreDown> {
        self.reachable()?.subscription(organization, id)
    }

    fn unsubscribe(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        now: Timestamp,
        once: Option<Idempotency>,
    ) -> Result<Once<bool>, StoreDown> {
        self.reachable()?.unsubscribe(organization, id, now, once)
    }

    fn deliveries(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        filter: &DeliveryFilter,
    ) -> Result<Option<DeliveryPage>, StoreDown> {
        self.reachable()?.deliveries(organization, id, filter)
    }

    fn replay(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        which: &Replay,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreDown> {
        self.reachable()?.replay(organization, id, which, now)
    }

    fn claim(&self, claim: &Claim) -> Result<Vec<Due>, StoreDown> {
        self.reachable()?.claim(claim)
    }

    fn settle(&self, by: ClaimantId, tried: Vec<Tried>) -> Result<(), StoreDown> {
        self.reachable()?.settle(by, tried)
    }

    fn backlog(&self, key: KeyPrint) -> Result<Backlog, StoreDown> {
        self.reachable()?.backlog(key)
    }

    fn on_deliveries(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.store().on_deliveries(wake);
    }
}
