-- How the calls of the last hour ended, by prefix of their destination, and which prefix a breaker paused: what
-- a start must know to judge the next call as if it had never stopped. In the order in which it happened; what
-- is older is dropped.
CREATE TABLE breaker (
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    prefix       TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('short', 'answered', 'unanswered', 'short_answers', 'few_answers')),
    at           INTEGER NOT NULL
);
