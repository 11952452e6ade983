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
    snapshot     BLOB,
    -- Until the first step after the admission: what the row will grow by. A row that grows in a full
    -- page moves its neighbours, and each page that changes is written.
    room         BLOB
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

-- Append-only: what a step moved and what subscribers are told of it, in order. They lie in one table so
-- that a step that does both still writes one page.
CREATE TABLE journal (
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    call         BLOB NOT NULL,
    kind         TEXT NOT NULL,
    at           INTEGER NOT NULL,
    amount       INTEGER CHECK (amount >= 0),
    day          INTEGER,
    CHECK ((kind IN ('reserve', 'extend', 'charge', 'release')) = (amount IS NOT NULL AND day IS NOT NULL))
);

-- One row is a whole booking: `kind` names both sides.
CREATE VIEW ledger AS
    SELECT id, organization, call, kind, amount, day, at FROM journal WHERE amount IS NOT NULL;

-- Facts for subscribers.
CREATE VIEW outbox AS
    SELECT id, organization, call, kind, at FROM journal WHERE amount IS NULL;

-- The ledger's charges summed by day, up to `alive.summed`; what came after is added when it is read.
CREATE TABLE spend (
    organization INTEGER NOT NULL,
    day          INTEGER NOT NULL,
    spent        INTEGER NOT NULL,
    PRIMARY KEY (organization, day)
) WITHOUT ROWID;

-- Answers to requests with an Idempotency-Key, oldest first.
CREATE TABLE answers (
    id         INTEGER PRIMARY KEY,
    key        BLOB NOT NULL UNIQUE,
    body       BLOB NOT NULL,
    request_id TEXT NOT NULL,
    answer     TEXT NOT NULL,
    at         INTEGER NOT NULL
);

-- When the process was last known to live, while calls did, and up to where `spend` sums the journal.
CREATE TABLE alive (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    at     INTEGER,
    summed INTEGER NOT NULL
);
INSERT INTO alive VALUES (1, NULL, 0);
