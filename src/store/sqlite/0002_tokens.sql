-- Tokens of browsers, by digest, in the order in which they were issued. A token is used when `used_at` is
-- set: the one statement that sets it decides whose it was. `return` is the digest of the secret with which
-- the browser that used it comes back.
CREATE TABLE token (
    id           INTEGER PRIMARY KEY,
    digest       BLOB NOT NULL UNIQUE,
    organization INTEGER NOT NULL,
    call         BLOB NOT NULL,
    path         TEXT NOT NULL CHECK (path IN ('browser', 'join')),
    issued_at    INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER,
    return       BLOB UNIQUE
);
