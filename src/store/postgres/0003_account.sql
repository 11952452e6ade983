-- How the calls of the last hour ended, by prefix of their destination, and which prefix a breaker paused. In the
-- order in which it happened; what is older is dropped.
CREATE TABLE breaker (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization bigint NOT NULL,
    prefix       text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('short', 'answered', 'unanswered', 'short_answers', 'few_answers')),
    at           bigint NOT NULL
);
CREATE INDEX breaker_by_organization ON breaker (organization, id);

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
CREATE FUNCTION journal_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a booking is never deleted';
    END IF;
    RAISE EXCEPTION 'of the journal only the record of a fact changes';
END $$;
CREATE TRIGGER bookings_stay BEFORE DELETE ON journal FOR EACH ROW WHEN (old.amount IS NOT NULL)
    EXECUTE FUNCTION journal_stands();
CREATE TRIGGER facts_stand BEFORE UPDATE ON journal FOR EACH ROW
    WHEN ((new.id, new.organization, new.call, new.kind, new.at, new.amount, new.day)
          IS DISTINCT FROM (old.id, old.organization, old.call, old.kind, old.at, old.amount, old.day)
          OR old.amount IS NOT NULL)
    EXECUTE FUNCTION journal_stands();

-- The sums of charged calls, by user and path too, and what their records say beside the money: written in the
-- transaction that charges.
DROP TABLE spend;
CREATE TABLE spend (
    organization     bigint NOT NULL,
    day              integer NOT NULL,
    user_id          text NOT NULL,
    path             text NOT NULL,
    calls            bigint NOT NULL,
    answered         bigint NOT NULL,
    billable_seconds bigint NOT NULL,
    spent            bigint NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (organization, day, user_id, path)
) WITH (fillfactor = 50);

-- What the records that were dropped said: with the records that are there it makes up the sums.
CREATE TABLE retired (
    organization     bigint NOT NULL,
    day              integer NOT NULL,
    calls            bigint NOT NULL,
    answered         bigint NOT NULL,
    billable_seconds bigint NOT NULL,
    spent            bigint NOT NULL,
    PRIMARY KEY (organization, day)
);

-- How far dropping has come: no record was dropped that was created after `records_to`, no fact with an id above
-- `facts_to`.
CREATE TABLE kept (
    id         int PRIMARY KEY CHECK (id = 1),
    records_to bigint NOT NULL,
    facts_to   bigint NOT NULL
);
INSERT INTO kept VALUES (1, 0, 0);

-- Who had a number forgotten: SHA-256 over salt and number tells whether it was this one, to whoever knows it.
CREATE TABLE erasure (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       bigint NOT NULL,
    asked_by text NOT NULL,
    salt     bytea NOT NULL,
    digest   bytea NOT NULL,
    records  bigint NOT NULL,
    events   bigint NOT NULL,
    answers  bigint NOT NULL
);

-- The audit log keeps who changed what and when; only what it holds of a person whose number is erased goes.
DROP TRIGGER change_only_grows ON change;
CREATE TRIGGER change_is_not_deleted BEFORE DELETE OR TRUNCATE ON change
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_only_grows();
CREATE TRIGGER change_is_not_changed BEFORE UPDATE ON change FOR EACH ROW
    WHEN ((new.id, new.at, new.actor, new.request_id, new.verb, new.kind, new.organization, new.name)
          IS DISTINCT FROM (old.id, old.at, old.actor, old.request_id, old.verb, old.kind, old.organization, old.name))
    EXECUTE FUNCTION audit_log_only_grows();

-- Who is told of one kind of fact. `seed` gives the signing secret to who has the key of this print, `receiver`
-- is the organization and the host, `lane` the organization and the whole URL. One that is cancelled is told
-- nothing any more, and goes when its deliveries are gone.
CREATE TABLE subscription (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         bytea NOT NULL UNIQUE,
    organization bigint NOT NULL,
    kind         text NOT NULL,
    url          text NOT NULL,
    created_at   bigint NOT NULL,
    seed         bytea NOT NULL,
    key_print    bytea NOT NULL,
    receiver     bigint NOT NULL,
    lane         bigint NOT NULL,
    disabled     boolean NOT NULL DEFAULT false,
    cancelled_at bigint
);
CREATE INDEX subscription_by_fact ON subscription (organization, kind) WHERE cancelled_at IS NULL;
CREATE INDEX subscription_cancelled ON subscription (id) WHERE cancelled_at IS NOT NULL;

-- What is to be told: one row for each fact and each subscription to it, written with the fact. `event` is the
-- fact's row in the journal, `at` its time, `due` when it may be tried next: while somebody has claimed it, the
-- end of the claim.
CREATE TABLE delivery (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription   bigint NOT NULL,
    receiver       bigint NOT NULL,
    lane           bigint NOT NULL,
    call           bytea NOT NULL,
    event          bigint NOT NULL,
    at             bigint NOT NULL,
    state          text NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    due            bigint NOT NULL,
    claimed_by     bytea,
    attempts       bigint NOT NULL DEFAULT 0,
    first_tried_at bigint,
    last_tried_at  bigint,
    last_status    integer,
    last_error     text,
    settled_at     bigint
);
CREATE INDEX delivery_due ON delivery (receiver, due) WHERE state = 'pending';
CREATE INDEX delivery_in_order ON delivery (call, lane, id) WHERE state = 'pending';
CREATE INDEX delivery_by_subscription ON delivery (subscription, state, at, id);
CREATE INDEX delivery_settled ON delivery (state, settled_at) WHERE settled_at IS NOT NULL;
