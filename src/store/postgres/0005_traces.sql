
-- The SIP messages of calls that are over, sealed: numbers of the call are marks, and its record alone has the
-- numbers. `id` counts in the order of writing, in which they go.
CREATE TABLE trace (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call     bytea NOT NULL UNIQUE CHECK (octet_length(call) = 16),
    at       bigint NOT NULL,
    messages bytea NOT NULL
);
