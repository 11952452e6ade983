//! What the breakers look at, in the file.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::books::micros;
use crate::guardrails::{DestinationPrefix, LONGEST_MEMORY, Mark, MarkKind};
use crate::model::Timestamp;

/// Marks dropped at a beat, at most: more than calls end in a second.
const BITE: i64 = 5_000;

pub(super) fn insert(tx: &Connection, organization: i64, marks: &[Mark]) -> rusqlite::Result<()> {
    for Mark { prefix, kind, at } in marks {
        tx.prepare_cached("INSERT INTO breaker (organization, prefix, kind, at) VALUES (?, ?, ?, ?)")?
            .execute(params![organization, prefix.to_string(), kind.as_str(), micros(*at)])?;
    }
    Ok(())
}

/// By organization, in the order in which they were written. One that the clock now says lies ahead, because
/// the clock was set back, counts as of now.
pub(super) fn marks(db: &Connection, now: Timestamp) -> rusqlite::Result<BTreeMap<i64, Vec<Mark>>> {
    let mut marks: BTreeMap<i64, Vec<Mark>> = BTreeMap::new();
    let mut select =
        db.prepare_cached("SELECT organization, prefix, kind, at FROM breaker WHERE at > ? ORDER BY id")?;
    let mut rows = select.query([micros(now - LONGEST_MEMORY)])?;
    while let Some(row) = rows.next()? {
        let (prefix, kind) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
        let at = Timestamp::from_micros(u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0));
        // The table's own checks let nothing else in.
        if let (Some(prefix), Some(kind)) = (DestinationPrefix::parse(prefix), MarkKind::parse(kind)) {
            marks.entry(row.get(0)?).or_default().push(Mark { prefix, kind, at }.not_after(now));
        }
    }
    Ok(marks)
}

/// Drops some of the marks that say nothing any more, oldest first.
pub(super) fn purge(tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    // They lie nearly in the order of their time, so the oldest tell whether there is anything to do.
    tx.prepare_cached(
        "DELETE FROM breaker WHERE id IN
           (SELECT id FROM (SELECT id, at FROM breaker ORDER BY id LIMIT ?) WHERE at <= ?)",
    )?
    .execute(params![BITE, micros(now - LONGEST_MEMORY)])
    .map(drop)
}
