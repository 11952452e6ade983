
-- The SIP messages of calls that are over, sealed: numbers of the call are marks, and its record alone has the
-- numbers. `id` counts in the order of writing, in which they go.
CREATE TABLE trace (
    id       INTEGER PRIMARY KEY,
    call     BLOB NOT NULL UNIQUE,
    at       INTEGER NOT NULL,
    messages BLOB NOT NULL
);
