-- Who is told of one kind of fact. `seed` gives the signing secret to who has the key of this print, `receiver`
-- is the organization and the host, `lane` the organization and the whole URL. One that is cancelled is told
-- nothing any more, and goes when its deliveries are gone.
CREATE TABLE subscription (
    id           INTEGER PRIMARY KEY,
    name         BLOB NOT NULL UNIQUE,
    organization INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    url          TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    seed         BLOB NOT NULL,
    key_print    BLOB NOT NULL,
    receiver     INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    disabled     INTEGER NOT NULL DEFAULT 0,
    cancelled_at INTEGER
);
CREATE INDEX subscription_by_fact ON subscription (organization, kind) WHERE cancelled_at IS NULL;
CREATE INDEX subscription_cancelled ON subscription (id) WHERE cancelled_at IS NOT NULL;

-- What is to be told: one row for each fact and each subscription to it, written with the fact. `event` is the
-- fact's row in the journal, `at` its time, `due` when it may be tried next: while somebody has claimed it, the
-- end of the claim.
CREATE TABLE delivery (
    id             INTEGER PRIMARY KEY,
    subscription   INTEGER NOT NULL,
    receiver       INTEGER NOT NULL,
    lane           INTEGER NOT NULL,
    call           BLOB NOT NULL,
    event          INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    due            INTEGER NOT NULL,
    claimed_by     BLOB,
    attempts       INTEGER NOT NULL DEFAULT 0,
    first_tried_at INTEGER,
    last_tried_at  INTEGER,
    last_status    INTEGER,
    last_error     TEXT,
    settled_at     INTEGER
);
-- What is due of each receiver; the order within a call at a URL; the list of a subscription; what is old.
CREATE INDEX delivery_due ON delivery (receiver, due) WHERE state = 'pending';
CREATE INDEX delivery_in_order ON delivery (call, lane, id) WHERE state = 'pending';
CREATE INDEX delivery_by_subscription ON delivery (subscription, state, at, id);
CREATE INDEX delivery_settled ON delivery (state, settled_at) WHERE settled_at IS NOT NULL;
