//! This node among others: its beat, whom it sees, and whose place it takes.
//!
//! On a connection of its own, so that a beat waits behind no commit. When it is lost the writer says so; this only
//! makes another one with the next beat.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::Row;
use tracing::warn;

use super::batch::Node;
use super::link::{Link, LinkError, Part};
use super::server::Server;
use super::{recover, timestamp};
use crate::store::cluster::{Peer, Unheard};
use crate::store::{Recovered, StoreDown};

pub(super) struct Heart {
    server: Server,
    node: Node,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// A COMMIT that makes a dead node's calls ours was sent and never answered.
    doubt: bool,
}

/// Why nothing came of it.
enum Failed {
    Fenced,
    Link(LinkError),
}

impl From<LinkError> for Failed {
    fn from(error: LinkError) -> Self {
        Failed::Link(error)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Failed::Link(error.into())
    }
}

impl Heart {
    pub fn new(server: Server, node: Node) -> Self {
        Self { server, node, state: Mutex::default() }
    }

    pub fn node(&self) -> &str {
        &self.node.id
    }

    pub fn beat(&self, url: Option<&str>) -> Result<Vec<Peer>, Unheard> {
        self.with_link(|link, _| {
            let Node { id, epoch } = &self.node;
            let rows = link.together(&[
                Part::new(
                    "UPDATE node SET beat = beat + 1, at = now(), url = $3 WHERE id = $1 AND epoch = $2 RETURNING beat",
                    &[id, epoch, &url],
                ),
                Part::new("SELECT id, epoch, beat, url FROM node WHERE id <> $1", &[id]),
            ])?;
            let [ours, others] = &*rows else { return Err(LinkError::Row("two results".to_owned()).into()) };
            if ours.is_empty() {
                return Err(Failed::Fenced);
            }
            Ok(others.iter().map(peer).collect::<Result<_, _>>()?)
        })
    }

    pub fn take_over(&self, dead: &Peer) -> Result<Option<Recovered>, Unheard> {
        self.with_link(|link, doubt| {
            link.batch("BEGIN")?;
            let taken = self.take(link, dead, *doubt);
            let writes = matches!(taken, Ok(Some(_)));
            let ended = link.batch(if writes { "COMMIT" } else { "ROLLBACK" });
            // Refused is known to be undone; anything else may have happened.
            *doubt = writes && ended.as_ref().is_err_and(|error| !error.is_refusal());
            ended?;
            taken
        })
    }

    /// All of it or nothing, and one node of those that try.
    fn take(&self, link: &mut Link, dead: &Peer, doubt: bool) -> Result<Option<Recovered>, Failed> {
        let Node { id, epoch } = &self.node;
        // In the order of their names, or two nodes that take each other for dead would wait for each other.
        let both = [&**id, &*dead.id];
        let rows = link.query(
            "SELECT id, epoch, beat, alive FROM node WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
            &[&&both[..]],
        )?;
        let find = |name: &str| rows.iter().find(|row| row.try_get::<_, &str>(0).is_ok_and(|id| id == name));
        let ours = find(id).map(|row| row.try_get::<_, i64>(1)).transpose()?;
        if ours != Some(*epoch) {
            return Err(Failed::Fenced);
        }
        let Some(row) = find(&dead.id) else { return Ok(None) };
        let last_alive = row.try_get::<_, Option<i64>>(3)?.map(timestamp);
        let (seen_epoch, seen_beat) = (dead.epoch.cast_signed(), dead.beat.cast_signed());
        if (row.try_get::<_, i64>(1)?, row.try_get::<_, i64>(2)?) != (seen_epoch, seen_beat) {
            // If it was us: everything that is ours, what was taken over among it.
            return if doubt { Ok(Some(recover::recovered(link, id, last_alive)?)) } else { Ok(None) };
        }
        // Its own transactions need its row, so nothing of it changes any more.
        let recovered = recover::recovered(link, &dead.id, last_alive)?;
        link.execute("UPDATE node SET epoch = epoch + 1, beat = 0 WHERE id = $1", &[&&*dead.id])?;
        link.execute("UPDATE live SET node = $1, epoch = $2 WHERE node = $3", &[id, epoch, &&*dead.id])?;
        Ok(Some(recovered))
    }

    fn with_link<T>(&self, act: impl FnOnce(&mut Link, &mut bool) -> Result<T, Failed>) -> Result<T, Unheard> {
        let mut state = self.lock();
        let State { link, doubt } = &mut *state;
        let connected = match link.take().filter(|link| !link.is_closed()) {
            Some(link) => Ok(link),
            None => self.server.writer(),
        };
        let mut open = connected.map_err(|_| StoreDown)?;
        match act(&mut open, doubt) {
            Ok(value) => {
                *link = Some(open);
                Ok(value)
            }
            Err(Failed::Fenced) => Err(Unheard::Fenced),
            Err(Failed::Link(error)) => {
                warn!(%error, "this node could not be heard");
                Err(StoreDown.into())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other node that has a call.
pub(super) fn owner(link: &mut Link, own: &str, call: &[u8]) -> Result<Option<Peer>, LinkError> {
    let row = link.query_opt(
        "SELECT node.id, node.epoch, node.beat, node.url FROM live JOIN node ON node.id = live.node
         WHERE live.call = $1 AND live.node <> $2",
        &[&call, &own],
    )?;
    row.as_ref().map(peer).transpose()
}

fn peer(row: &Row) -> Result<Peer, LinkError> {
    Ok(Peer {
        id: row.try_get::<_, &str>(0)?.into(),
        epoch: row.try_get::<_, i64>(1)?.cast_unsigned(),
        beat: row.try_get::<_, i64>(2)?.cast_unsigned(),
        url: row.try_get::<_, Option<&str>>(3)?.map(Into::into),
    })
}
