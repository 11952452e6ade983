//! Tokens of browsers: issued with their call, used once, found for a day.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Row;

use super::link::{Link, LinkError, Part, bytes};
use super::{micros, timestamp};
use crate::model::{CallId, OrganizationId, Path, Timestamp, TokenDigest};
use crate::store::{IssuedToken, TokenState};

/// From its issue. Longer than any token is valid and any call lasts, so that a late use is told what became
/// of it.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Rows dropped at a time, as for answers.
const BITE: i64 = 1_000;

/// Locks those that a group would use: of any number of nodes, one finds it unused.
pub(super) const HOLD: &str =
    "SELECT digest, call, expires_at, used_at FROM token WHERE digest = ANY ($1) ORDER BY digest FOR UPDATE";

/// The tokens that a group would use, and those that it issues.
#[derive(Default)]
pub(super) struct Tokens {
    held: BTreeMap<[u8; 32], Held>,
    issued: Vec<(i64, CallId, IssuedToken, i64)>,
    /// Digest, secret to return with, and when.
    used: Vec<([u8; 32], [u8; 32], i64)>,
}

struct Held {
    call: CallId,
    expires_at: i64,
    is_used: bool,
}

impl Tokens {
    pub fn held(rows: &[Row]) -> Result<Self, LinkError> {
        let held = rows.iter().map(|row| {
            let is_used = row.try_get::<_, Option<i64>>(3)?.is_some();
            let held = Held { call: CallId::from_bytes(bytes(row, 1)?), expires_at: row.try_get(2)?, is_used };
            Ok((bytes(row, 0)?, held))
        });
        Ok(Self { held: held.collect::<Result<_, LinkError>>()?, ..Self::default() })
    }

    pub fn issue(&mut self, organization: i64, call: CallId, token: IssuedToken, now: Timestamp) {
        let held = Held { call, expires_at: micros(token.expires_at), is_used: false };
        self.held.insert(token.digest.0, held);
        self.issued.push((organization, call, token, micros(now)));
    }

    /// Whether this was the one use of the token.
    pub fn consume(&mut self, call: CallId, token: TokenDigest, returning: TokenDigest, now: Timestamp) -> bool {
        let held = self.held.get_mut(&token.0);
        let fits = held.filter(|held| held.call == call && !held.is_used && held.expires_at > micros(now));
        let Some(held) = fits else { return false };
        held.is_used = true;
        self.used.push((token.0, returning.0, micros(now)));
        true
    }

    pub fn issued(&self) -> Issued {
        let all = || self.issued.iter();
        Issued {
            digests: all().map(|(_, _, token, _)| token.digest.0.to_vec()).collect(),
            organizations: all().map(|(organization, _, _, _)| *organization).collect(),
            calls: all().map(|(_, call, _, _)| call.to_bytes().to_vec()).collect(),
            paths: all().map(|(_, _, token, _)| token.path.as_str()).collect(),
            issued: all().map(|(_, _, _, at)| *at).collect(),
            expire: all().map(|(_, _, token, _)| micros(token.expires_at)).collect(),
        }
    }

    pub fn used(&self) -> Used {
        Used {
            digests: self.used.iter().map(|(digest, _, _)| digest.to_vec()).collect(),
            returning: self.used.iter().map(|(_, returning, _)| returning.to_vec()).collect(),
            times: self.used.iter().map(|(_, _, at)| *at).collect(),
        }
    }
}

pub(super) struct Issued {
    digests: Vec<Vec<u8>>,
    organizations: Vec<i64>,
    calls: Vec<Vec<u8>>,
    paths: Vec<&'static str>,
    issued: Vec<i64>,
    expire: Vec<i64>,
}

impl Issued {
    pub fn part(&self) -> Option<Part<'_>> {
        (!self.digests.is_empty()).then(|| {
            Part::new(
                "INSERT INTO token (digest, organization, call, path, issued_at, expires_at)
                 SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[])",
                &[&self.digests, &self.organizations, &self.calls, &self.paths, &self.issued, &self.expire],
            )
        })
    }
}

pub(super) struct Used {
    digests: Vec<Vec<u8>>,
    returning: Vec<Vec<u8>>,
    times: Vec<i64>,
}

impl Used {
    pub fn part(&self) -> Option<Part<'_>> {
        (!self.digests.is_empty()).then(|| {
            Part::new(
                "UPDATE token SET used_at = now_used.at, return = now_used.secret
                 FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS now_used (digest, secret, at)
                 WHERE token.digest = now_used.digest",
                &[&self.digests, &self.returning, &self.times],
            )
        })
    }
}

/// What became of the token with this digest, or of the one whose browser comes back with it.
pub(super) fn find(link: &mut Link, digest: TokenDigest) -> Result<Option<TokenState>, LinkError> {
    let row = link.query_opt(
        "SELECT token.call, organization.name, token.path, token.expires_at, token.used_at
         FROM token JOIN organization ON organization.id = token.organization
         WHERE token.digest = $1 OR token.return = $1",
        &[&digest.0.as_slice()],
    )?;
    row.map(|row| {
        Ok(TokenState {
            call: CallId::from_bytes(bytes(&row, 0)?),
            organization: OrganizationId(row.try_get::<_, &str>(1)?.into()),
            path: if row.try_get::<_, &str>(2)? == Path::Join.as_str() { Path::Join } else { Path::Browser },
            expires_at: timestamp(row.try_get(3)?),
            is_used: row.try_get::<_, Option<i64>>(4)?.is_some(),
        })
    })
    .transpose()
}

/// Drops some of those that nobody will ask for any more, oldest first.
pub(super) fn purge(link: &mut Link, now: Timestamp) -> Result<(), LinkError> {
    link.execute(
        "DELETE FROM token WHERE id IN
           (SELECT id FROM token WHERE issued_at <= $2 AND id <= (SELECT max(id) FROM
              (SELECT id FROM token ORDER BY id LIMIT $1) AS oldest) FOR UPDATE SKIP LOCKED)",
        &[&BITE, &micros(now - KEPT)],
    )
    .map(drop)
}
