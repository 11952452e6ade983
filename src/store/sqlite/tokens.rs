//! Tokens of browsers: issued with their call, used once, found for a day.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::books::micros;
use crate::model::{CallId, OrganizationId, Path, Timestamp, TokenDigest};
use crate::store::{IssuedToken, TokenState};

/// From its issue. Longer than any token is valid and any call lasts, so that a late use is told what became
/// of it.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Rows dropped at a time, as for answers.
const BITE: i64 = 1_000;

pub(super) fn insert(
    tx: &Connection,
    organization: i64,
    call: CallId,
    token: &IssuedToken,
    now: Timestamp,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO token (digest, organization, call, path, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        token.digest.0,
        organization,
        call.to_bytes(),
        token.path.as_str(),
        micros(now),
        micros(token.expires_at)
    ])
    .map(drop)
}

/// Whether this was the one use of the token. Of any number of transactions, on any number of nodes, that
/// carry this out, one changes a row.
pub(super) fn consume(
    tx: &Connection,
    call: CallId,
    token: TokenDigest,
    returning: TokenDigest,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let used = tx
        .prepare_cached(
            "UPDATE token SET used_at = ?1, return = ?2
             WHERE digest = ?3 AND call = ?4 AND used_at IS NULL AND expires_at > ?1",
        )?
        .execute(params![micros(now), returning.0, token.0, call.to_bytes()])?;
    Ok(used == 1)
}

/// What became of the token with this digest, or of the one whose browser comes back with it.
pub(super) fn find(db: &Connection, digest: TokenDigest) -> rusqlite::Result<Option<TokenState>> {
    let mut select = db.prepare_cached(
        "SELECT token.call, organization.name, token.path, token.expires_at, token.used_at
         FROM token JOIN organization ON organization.id = token.organization
         WHERE token.digest = ?1 OR token.return = ?1",
    )?;
    let state = select.query_row([digest.0], |row| {
        let path: String = row.get(2)?;
        Ok(TokenState {
            call: CallId::from_bytes(row.get(0)?),
            organization: OrganizationId(row.get::<_, String>(1)?.into()),
            path: if path == Path::Join.as_str() { Path::Join } else { Path::Browser },
            expires_at: Timestamp::from_micros(u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0)),
            is_used: row.get::<_, Option<i64>>(4)?.is_some(),
        })
    });
    state.optional()
}

/// Drops some of those that nobody will ask for any more, oldest first.
pub(super) fn purge(tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "DELETE FROM token WHERE id IN
           (SELECT id FROM (SELECT id, issued_at FROM token ORDER BY id LIMIT ?) WHERE issued_at <= ?)",
    )?
    .execute(params![BITE, micros(now - KEPT)])
    .map(drop)
}
