-- Organizations, users, numbers, keys and prices, each as one JSON document. `declared` is what the configuration
-- file said of the object when it was last read; it stays when an administrator deletes the object.
CREATE TABLE tenant (
    kind         TEXT NOT NULL CHECK (kind IN ('organization', 'user', 'number', 'key', 'price')),
    -- Empty for a price, which is everybody's.
    organization TEXT NOT NULL,
    name         TEXT NOT NULL,
    document     TEXT,
    declared     TEXT,
    PRIMARY KEY (kind, organization, name)
) WITHOUT ROWID;

-- Counts changes: whoever changes a tenant holds this row.
CREATE TABLE directory (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
);
INSERT INTO directory VALUES (1, 0);

-- Who changed what. `before` and `after` are JSON without secrets.
CREATE TABLE change (
    id           INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    request_id   TEXT,
    verb         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    organization TEXT,
    name         TEXT NOT NULL,
    before       TEXT,
    after        TEXT
);
CREATE INDEX change_by_organization ON change (organization, id);
CREATE TRIGGER change_is_not_changed BEFORE UPDATE ON change
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER change_is_not_deleted BEFORE DELETE ON change
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
