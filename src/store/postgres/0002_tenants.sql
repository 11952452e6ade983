-- Organizations, users, numbers, keys and prices, each as one JSON document. `declared` is what the configuration
-- file said of the object when it was last read; it stays when an administrator deletes the object.
CREATE TABLE tenant (
    kind         text NOT NULL CHECK (kind IN ('organization', 'user', 'number', 'key', 'price')),
    -- Empty for a price, which is everybody's.
    organization text NOT NULL,
    name         text NOT NULL,
    document     text,
    declared     text,
    PRIMARY KEY (kind, organization, name)
);

-- Counts changes: whoever changes a tenant holds this row, and every node looks at it.
CREATE TABLE directory (
    id      int PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL
);
INSERT INTO directory VALUES (1, 0);

-- Who changed what. `before` and `after` are JSON without secrets.
CREATE TABLE change (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           bigint NOT NULL,
    actor        text NOT NULL,
    request_id   text,
    verb         text NOT NULL,
    kind         text NOT NULL,
    organization text,
    name         text NOT NULL,
    before       text,
    after        text
);
CREATE INDEX change_by_organization ON change (organization, id);

CREATE FUNCTION audit_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows';
END $$;
CREATE TRIGGER change_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON change
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_only_grows();
