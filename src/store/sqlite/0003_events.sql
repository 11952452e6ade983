-- A fact is told with the record as it was then.
ALTER TABLE journal ADD COLUMN record TEXT;
CREATE INDEX journal_facts_by_call ON journal (call) WHERE record IS NOT NULL;
DROP VIEW outbox;
CREATE VIEW outbox AS
    SELECT id, organization, call, kind, at, record FROM journal WHERE record IS NOT NULL;
