//! Every default and every bound of the configuration, with its reason.

use std::ops::RangeInclusive;

/// Where `[api]` listens: loopback, so that a first start exposes nothing.
pub const API_LISTEN: &str = "127.0.0.1:8080";
/// Where `[admin]` listens: loopback, because metrics tell much and ask for no key.
pub const ADMIN_LISTEN: &str = "127.0.0.1:9090";
pub const STORE_URL: &str = "sqlite:revbridge.db";
/// Records are what an organization calls its history: nothing of it goes unless somebody says so.
pub const KEEP_RECORDS: u64 = 0;
/// Events are read once, or again after an outage. Dead letters of webhooks can be replayed for 30 days after the
/// last of 24 hours of tries, and need them.
pub const KEEP_EVENTS: u64 = 32;
/// A webhook that is still being tried needs its event.
pub const KEEP_EVENTS_LEAST: u64 = 2;
/// What was wrong with a call is asked within days; a trace is some 16 kB, and shows more than a record.
pub const KEEP_TRACES: u64 = 7;
/// What collectors take for a sender that was told nothing.
pub const HEP_ID: u64 = 2_001;
pub const HEP_ID_BOUND: RangeInclusive<u64> = 1..=u32::MAX as u64;
/// Bytes.
pub const HEP_PASSWORD: usize = 128;
/// Days; 0 is for ever. A century is as long.
pub const KEEP_BOUND: RangeInclusive<u64> = 0..=36_500;
/// The only one.
pub const NODE: &str = "solo";
/// A node that is not heard for so long is dead, and its parties hear silence until then. Below 3 s a busy
/// machine looks dead; after 60 s everybody has hung up.
pub const LEASE: u64 = 10;
pub const LEASE_BOUND: RangeInclusive<u64> = 3..=60;
pub const SIP_LISTEN: &str = "udp:127.0.0.1:5060";
/// A trunk that says nothing to an INVITE for so long is passed over: four repetitions on UDP (RFC 3261 §17.1.1.2), and
/// early enough that another one rings within anybody's patience.
pub const FAILOVER: u64 = 4;
pub const FAILOVER_BOUND: RangeInclusive<u64> = 1..=30;
/// Of one trunk, at once and in a second.
pub const TRUNK_CALLS_BOUND: RangeInclusive<u64> = 1..=1_000_000;
pub const MEDIA_ADDRESS: &str = "127.0.0.1";
/// 5,000 port pairs: below Linux's ephemeral ports, which start at 32768.
pub const MEDIA_PORTS: &str = "20000-29999";

/// Open HTTP connections. Each costs two 16 kB buffers at most, so the default holds HTTP to about
/// 32 MB; more is for a fleet of clients that keep their connections open.
pub const API_CONNECTIONS: u64 = 1_024;
pub const API_CONNECTIONS_BOUND: RangeInclusive<u64> = 1..=100_000;
/// Time for a request's head, and again for its body: a phone network's worst, a slow-loris' end.
pub const API_READ_TIMEOUT: u64 = 10;
pub const API_READ_TIMEOUT_BOUND: RangeInclusive<u64> = 1..=120;
/// Requests that wait for the switch. At 1,000 calls/s it is one second of work: whoever comes then is
/// better served by 503 and `Retry-After`.
pub const API_WAITING: u64 = 1_024;
pub const API_WAITING_BOUND: RangeInclusive<u64> = 1..=100_000;
/// A dial has about ten short fields; 64 kB leaves room for any client's habits.
pub const API_BODY_BYTES: usize = 64 * 1024;
/// Objects and arrays inside each other. Our deepest request has one level.
pub const API_BODY_DEPTH: usize = 16;
/// Headers of one request, and the bytes of its whole head.
pub const API_HEADERS: usize = 64;
pub const API_HEAD_BYTES: usize = 16 * 1024;

/// Requests of one key, and of one address without a key. More calls than one node sets up in a second, so only
/// a flood meets it; less than 0.1 of a core to refuse the rest.
pub const API_REQUESTS: u64 = 1_000;
pub const API_REQUESTS_BOUND: RangeInclusive<u64> = 1..=1_000_000;
/// Two seconds' worth at once: a client that wakes up and pages through its calls.
pub const API_REQUEST_BURST: u64 = 2_000;
pub const API_REQUEST_BURST_BOUND: RangeInclusive<u64> = 1..=10_000_000;
/// Streams of events that one key holds: a desk of screens, not a leak.
pub const API_STREAMS_PER_KEY: usize = 32;

/// A released port pair rests this long, so that late packets of the old call reach nobody. Longer
/// than 64·T1, after which no party of the old call believes in it any more.
pub const MEDIA_REST: u64 = 33;
pub const MEDIA_REST_BOUND: RangeInclusive<u64> = 1..=600;
/// A party that is silent for this long is gone. RTP keep-alives (RFC 6263) come every 15 s.
pub const MEDIA_TIMEOUT: u64 = 60;
pub const MEDIA_TIMEOUT_BOUND: RangeInclusive<u64> = 5..=3_600;
/// One per core when 0. More threads than any machine has cores would only take turns.
pub const MEDIA_THREADS_BOUND: RangeInclusive<u64> = 0..=256;

/// Where browsers send their audio: loopback like the rest; media thread n takes this port plus n.
pub const WEBRTC_LISTEN: &str = "127.0.0.1:7000";
/// A reload takes seconds, a change of network up to half a minute; the other party hears silence meanwhile.
pub const GRACE: u64 = 30;
pub const GRACE_BOUND: RangeInclusive<u64> = 1..=300;
/// A relay's credential outlives the set-up by far and a copied one not by much.
pub const TURN_TTL: u64 = 3_600;
pub const TURN_TTL_BOUND: RangeInclusive<u64> = 60..=86_400;
/// A browser asks every server that it is told of; more than a few delay each call.
pub const TURN_SERVERS: usize = 8;
/// Origins are compared one after the other with each request.
pub const ALLOWED_ORIGINS: usize = 100;
/// Time in which a browser must join a room: a page that loads, a person who allows the microphone.
pub const ROOM_TTL: u64 = 120;
pub const ROOM_TTL_BOUND: RangeInclusive<u64> = 30..=600;

/// Webhooks that are sent at once. Each has a connection and at most about 100 kB; receivers that never answer keep
/// one each for 10 s, so this many of those are needed before anybody waits for them.
pub const WEBHOOKS: u64 = 256;
pub const WEBHOOKS_BOUND: RangeInclusive<u64> = 1..=10_000;
/// To one receiver that answers quickly. One that does not gets one at a time.
pub const WEBHOOKS_PER_RECEIVER: u64 = 8;
/// Subscriptions of one organization: six kinds of events for a dozen receivers, and some more.
pub const SUBSCRIPTIONS: u64 = 100;
pub const SUBSCRIPTIONS_BOUND: RangeInclusive<u64> = 1..=10_000;

/// Live calls. Two port pairs each: the default port range holds half as many.
pub const MAX_CALLS: u64 = 5_000;
pub const MAX_CALLS_BOUND: RangeInclusive<u64> = 1..=1_000_000;
/// Nine rings of the North American cadence; voicemail mostly answers by then.
pub const RING_TIMEOUT: u64 = 45;
/// Shorter is no ringing; longer than 120 s outlives what carriers allow.
pub const RING_TIMEOUT_BOUND: RangeInclusive<u64> = 5..=120;
/// A busy or reorder tone is understood after two cadences.
pub const FAILURE_TONE: u64 = 4;
pub const FAILURE_TONE_BOUND: RangeInclusive<u64> = 0..=30;
/// Time to press 1, for each of two tries.
pub const CONFIRM_TIMEOUT: u64 = 15;
pub const CONFIRM_TIMEOUT_BOUND: RangeInclusive<u64> = 3..=60;
/// What calls get after SIGTERM. Under the 30 s after which service managers send SIGKILL.
pub const DRAIN_DEADLINE: u64 = 25;
pub const DRAIN_DEADLINE_BOUND: RangeInclusive<u64> = 0..=86_400;
pub const CURRENCY: &str = "USD";
/// Four hours bound the loss by a call that nobody ends.
pub const MAX_DURATION: u64 = 14_400;
pub const MAX_DURATION_BOUND: RangeInclusive<u64> = 1..=14_400;

/// Trunks are asked often enough that a dead one is out before most callers meet it.
pub const TRUNK_PING: u64 = 30;
/// 0: never asked, always taken to be in service.
pub const TRUNK_PING_BOUND: RangeInclusive<u64> = 0..=3_600;
/// What most registrars grant. Shorter ones are for NATs, longer ones for nobody: who forgets us is noticed that late.
pub const REGISTER: u64 = 3_600;
pub const REGISTER_BOUND: RangeInclusive<u64> = 60..=86_400;
/// RFC 4028 §4 recommends it.
pub const SESSION_EXPIRES: u32 = 1_800;
/// RFC 4028 §5: not below 90; 0 asks for none.
pub const SESSION_EXPIRES_LEAST: u64 = 90;
pub const SESSION_EXPIRES_BOUND: RangeInclusive<u64> = 0..=86_400;
pub const TRUNK_PRIORITY: u16 = 10;
pub const TRUNK_WEIGHT: u16 = 10;
/// As of SRV records (RFC 2782).
pub const TRUNK_ORDER_BOUND: RangeInclusive<u64> = 0..=65_535;

/// A charged period: up to an hour. 0 would charge without end.
pub const PERIOD_BOUND: RangeInclusive<u64> = 1..=3_600;
/// The periods of most carriers: the first minute whole.
pub const FIRST_SECONDS: u64 = 60;
pub const STEP_SECONDS: u64 = 60;

/// Ten calls at once, when nothing is said.
pub const MAX_CONCURRENT_LEGS: u64 = 20;
/// A call takes two legs, so less than 2 would refuse every call.
pub const MAX_CONCURRENT_LEGS_BOUND: RangeInclusive<u64> = 2..=1_000_000;
/// Both legs of a user's call count, so less than 2 would refuse every call.
pub const MAX_LEGS_PER_USER_BOUND: RangeInclusive<u64> = 2..=1_000_000;
/// A call has one leg at its destination.
pub const MAX_LEGS_PER_DESTINATION_BOUND: RangeInclusive<u64> = 1..=1_000_000;
pub const MAX_CALLS_PER_MINUTE: u64 = 30;
pub const MAX_CALLS_PER_MINUTE_BOUND: RangeInclusive<u64> = 1..=1_000_000;

/// How long a call counts after its end. A burst shorter than a minute cannot make many calls; what is older
/// than an hour says nothing of now.
pub const BREAKER_WINDOW_BOUND: RangeInclusive<u64> = 60..=3_600;
/// Up to well under half of the calls that are remembered of a prefix. 0 turns the breaker off.
pub const BREAKER_SHORT_ANSWERS_BOUND: RangeInclusive<u64> = 0..=100;
/// No company is answered by less than one in ten of those whom it calls. 0 turns the breaker off; more than
/// half would pause ordinary calls.
pub const BREAKER_ANSWER_PERCENT_BOUND: RangeInclusive<u64> = 0..=50;
/// Fewer than a few calls are no ratio; more than 200 are not remembered.
pub const BREAKER_MIN_CALLS_BOUND: RangeInclusive<u64> = 2..=200;
/// A fresh window begins after it, so a longer one would only keep a mistake alive.
pub const BREAKER_PAUSE_BOUND: RangeInclusive<u64> = 1..=3_600;

/// Names and ids: they appear in records, logs and metrics.
pub const ID_CHARS: usize = 64;

/// What one server keeps of its tenants. All of it is held in memory, at about 1 kB apiece.
pub const ORGANIZATIONS: usize = 10_000;
/// Users, numbers and keys of all organizations. A change copies the index that it touches: at this bound within
/// tens of milliseconds, in which no call is admitted.
pub const TENANT_OBJECTS: usize = 200_000;
/// Of one organization, as are the next two.
pub const USERS: usize = 10_000;
pub const NUMBERS: usize = 10_000;
/// Revoked and expired ones included; the oldest of those make room.
pub const KEYS: usize = 1_000;
pub const PRICES: usize = 10_000;
pub const DESTINATIONS: usize = 1_000;
/// What a person calls a key.
pub const KEY_NAME_CHARS: usize = 120;
/// How long a key that is rotated stays good: a day is enough to bring the new one everywhere.
pub const ROTATION_OVERLAP: u64 = 86_400;
/// 0: at once, for a key that somebody else may have. A month is a release cycle.
pub const ROTATION_OVERLAP_BOUND: RangeInclusive<u64> = 0..=2_592_000;
