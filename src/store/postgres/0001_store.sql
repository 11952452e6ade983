-- Organizations by number, so that rows and index entries stay short. A node locks this row while it decides
-- for the organization. `version` counts what has changed what the guardrails look at: a node that remembers
-- the account as of this version remembers it rightly. A page has room, because each admission writes a row.
CREATE TABLE organization (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- Nodes by name. Who takes a name raises its epoch, and each transaction checks the epoch that its node
-- has. `written` counts the transactions of the node: one whose outcome was lost on the way is found by it.
-- `alive` is when a transaction of the node was last written, in µs.
CREATE TABLE node (
    id      text PRIMARY KEY,
    epoch   bigint NOT NULL,
    beat    bigint NOT NULL DEFAULT 0,
    at      timestamptz NOT NULL DEFAULT now(),
    url     text,
    written bigint NOT NULL DEFAULT 0,
    alive   bigint
) WITH (fillfactor = 10);

-- Calls that are not forgotten: what a start takes up again. Every step of a call writes this row and little
-- else. When the call is settled its record moves to `calls` and only the snapshot stays. `id` counts
-- admissions; the call's row in `calls` has the same. `node` and `epoch` are whose call it is.
-- Records are JSON in `text`: `jsonb` would refuse the character 0 and forget the order of fields.
CREATE TABLE live (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization   bigint NOT NULL,
    call           bytea NOT NULL UNIQUE CHECK (octet_length(call) = 16),
    node           text NOT NULL,
    epoch          bigint NOT NULL,
    reserved       bigint NOT NULL CHECK (reserved >= 0),
    day            integer NOT NULL,
    status         text NOT NULL,
    user_id        text NOT NULL,
    from_number    text NOT NULL,
    to_number      text NOT NULL,
    connect_number text,
    created_at     bigint NOT NULL,
    record         text,
    snapshot       bytea
) WITH (fillfactor = 50);
CREATE INDEX live_by_organization ON live (organization, call);
CREATE INDEX live_by_node ON live (node);

-- Final records.
CREATE TABLE calls (
    id           bigint PRIMARY KEY,
    organization bigint NOT NULL,
    call         bytea NOT NULL,
    status       text NOT NULL,
    user_id      text NOT NULL,
    from_number  text NOT NULL,
    to_number    text NOT NULL,
    created_at   bigint NOT NULL,
    record       text NOT NULL
);
CREATE UNIQUE INDEX calls_by_call ON calls (organization, call);

-- Append-only: what a step moved and what subscribers are told of it, in order. An id is drawn while the
-- organization's row is locked, so within an organization ids grow in the order of the commits.
CREATE TABLE journal (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization bigint NOT NULL,
    call         bytea NOT NULL,
    kind         text NOT NULL,
    at           bigint NOT NULL,
    amount       bigint CHECK (amount >= 0),
    day          integer,
    -- A fact is told with the record as it was then.
    record       text,
    CHECK ((kind IN ('reserve', 'extend', 'charge', 'release')) = (amount IS NOT NULL AND day IS NOT NULL))
);
CREATE INDEX journal_admissions ON journal (organization, at) WHERE kind = 'reserve';
CREATE INDEX journal_facts ON journal (organization, id) WHERE record IS NOT NULL;
CREATE INDEX journal_facts_by_call ON journal (call) WHERE record IS NOT NULL;

-- One row is a whole booking: `kind` names both sides.
CREATE VIEW ledger AS
    SELECT id, organization, call, kind, amount, day, at FROM journal WHERE amount IS NOT NULL;

-- Facts for subscribers.
CREATE VIEW outbox AS
    SELECT id, organization, call, kind, at, record FROM journal WHERE record IS NOT NULL;

-- The ledger's charges summed by day, in the transaction that charges.
CREATE TABLE spend (
    organization bigint NOT NULL,
    day          integer NOT NULL,
    spent        bigint NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (organization, day)
) WITH (fillfactor = 50);

-- Answers to requests with an Idempotency-Key, oldest first.
CREATE TABLE answers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        bytea NOT NULL UNIQUE,
    body       bytea NOT NULL,
    request_id text NOT NULL,
    answer     text NOT NULL,
    at         bigint NOT NULL
);

-- Tokens of browsers, by digest, in the order in which they were issued. A token is used when `used_at` is
-- set. `return` is the digest of the secret with which the browser that used it comes back.
CREATE TABLE token (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest       bytea NOT NULL UNIQUE,
    organization bigint NOT NULL,
    call         bytea NOT NULL,
    path         text NOT NULL CHECK (path IN ('browser', 'join')),
    issued_at    bigint NOT NULL,
    expires_at   bigint NOT NULL,
    used_at      bigint,
    return       bytea UNIQUE
);
