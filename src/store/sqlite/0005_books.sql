-- Double entry: each booking takes from one account of an organization and its day what it gives to another.
CREATE VIEW postings AS
    SELECT id AS booking, organization, day, call, at,
           CASE kind WHEN 'charge' THEN 'reserved' WHEN 'release' THEN 'reserved' ELSE 'available' END AS account,
           -amount AS amount
    FROM ledger
    UNION ALL
    SELECT id, organization, day, call, at,
           CASE kind WHEN 'charge' THEN 'spent' WHEN 'release' THEN 'available' ELSE 'reserved' END,
           amount
    FROM ledger;

-- What is booked stays booked. A fact may go, and lose what it holds of a person, but never become another one.
CREATE TRIGGER bookings_stay BEFORE DELETE ON journal WHEN old.amount IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a booking is never deleted'); END;
CREATE TRIGGER bookings_stand BEFORE UPDATE ON journal WHEN old.amount IS NOT NULL OR new.amount IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a booking is never changed'); END;
CREATE TRIGGER facts_stand BEFORE UPDATE ON journal
WHEN (new.id, new.organization, new.call, new.kind, new.at) IS NOT (old.id, old.organization, old.call, old.kind, old.at)
BEGIN SELECT RAISE(ABORT, 'of a fact only its record changes'); END;

-- The sums of charged calls, by user and path too, and what their records say beside the money. As before: up to
-- `alive.summed`; what came after is added when it is read.
CREATE TABLE sums (
    organization     INTEGER NOT NULL,
    day              INTEGER NOT NULL,
    user_id          TEXT NOT NULL,
    path             TEXT NOT NULL,
    calls            INTEGER NOT NULL,
    answered         INTEGER NOT NULL,
    billable_seconds INTEGER NOT NULL,
    spent            INTEGER NOT NULL,
    PRIMARY KEY (organization, day, user_id, path)
) WITHOUT ROWID;
INSERT INTO sums
    SELECT journal.organization, journal.day, coalesce(calls.user_id, ''),
           coalesce(json_extract(calls.record, '$.path'), 'bridge'), count(*),
           count(json_extract(calls.record, '$.answered_at')),
           coalesce(sum(json_extract(calls.record, '$.billable_seconds')), 0), sum(journal.amount)
    FROM journal LEFT JOIN calls ON calls.organization = journal.organization AND calls.call = journal.call
    WHERE journal.kind = 'charge' AND journal.id <= (SELECT summed FROM alive)
    GROUP BY 1, 2, 3, 4;
DROP TABLE spend;
ALTER TABLE sums RENAME TO spend;

-- What the records that were dropped said: with the records that are there it makes up the sums.
CREATE TABLE retired (
    organization     INTEGER NOT NULL,
    day              INTEGER NOT NULL,
    calls            INTEGER NOT NULL,
    answered         INTEGER NOT NULL,
    billable_seconds INTEGER NOT NULL,
    spent            INTEGER NOT NULL,
    PRIMARY KEY (organization, day)
) WITHOUT ROWID;

-- How far dropping has come: no record was dropped that was created after `records_to`, no fact with an id above
-- `facts_to`. `last_call` is the highest id that a call ever had whose record was dropped.
CREATE TABLE kept (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    records_to INTEGER NOT NULL,
    last_call  INTEGER NOT NULL,
    facts_to   INTEGER NOT NULL
);
INSERT INTO kept VALUES (1, 0, 0, 0);

-- Who had a number forgotten: SHA-256 over salt and number tells whether it was this one, to whoever knows it.
CREATE TABLE erasure (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    salt     BLOB NOT NULL,
    digest   BLOB NOT NULL,
    records  INTEGER NOT NULL,
    events   INTEGER NOT NULL,
    answers  INTEGER NOT NULL
);

-- The audit log keeps who changed what and when; only what it holds of a person whose number is erased goes.
DROP TRIGGER change_is_not_changed;
CREATE TRIGGER change_is_not_changed BEFORE UPDATE ON change
WHEN (new.id, new.at, new.actor, new.request_id, new.verb, new.kind, new.organization, new.name)
  IS NOT (old.id, old.at, old.actor, old.request_id, old.verb, old.kind, old.organization, old.name)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
