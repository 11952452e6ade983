-- Organizations by number, so that rows and index entries stay short.
CREATE TABLE organization (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Calls that are not forgotten: what a start takes up again. Every step of a call writes this row and
-- little else. When the call is settled its record moves to `calls` and only the snapshot stays.
-- `id` counts admissions; the call's row in `calls` has the same.
CREATE TABLE live (
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    call         BLOB NOT NULL,
    reserved     INTEGER NOT NULL,
    day          INTEGER NOT NULL,
    status       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    from_number  TEXT NOT NULL,
    to_number    TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    record       TEXT,
    snapshot     BLOB
);
CREATE UNIQUE INDEX live_by_call ON live (call);

-- Final records.
CREATE TABLE calls (
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    call         BLOB NOT NULL,
    status       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    from_number  TEXT NOT NULL,
    to_number    TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    record       TEXT NOT NULL
);
CREATE UNIQUE INDEX calls_by_call ON calls (organization, call);

-- Append-only. One row is a whole booking: `kind` names both sides.
CREATE TABLE ledger (
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    call         BLOB NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('reserve', 'extend', 'charge', 'release')),
    amount       INTEGER NOT NULL CHECK (amount >= 0),
    day          INTEGER NOT NULL,
    at           INTEGER NOT NULL
);

-- The ledger's charges summed by day.
CREATE TABLE spend (
    organization INTEGER NOT NULL,
    day          INTEGER NOT NULL,
    spent        INTEGER NOT NULL,
    PRIMARY KEY (organization, day)
) WITHOUT ROWID;

-- Facts for subscribers, in order.
CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    call         BLOB NOT NULL,
    kind         TEXT NOT NULL,
    at           INTEGER NOT NULL
);

-- Answers to requests with an Idempotency-Key, oldest first.
CREATE TABLE answers (
    id         INTEGER PRIMARY KEY,
    key        BLOB NOT NULL UNIQUE,
    body       BLOB NOT NULL,
    request_id TEXT NOT NULL,
    answer     TEXT NOT NULL,
    at         INTEGER NOT NULL
);

-- When the process was last known to live, while calls did.
CREATE TABLE alive (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
);
