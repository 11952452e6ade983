//! A few connections beside the writer's: some that cannot write, some that do in transactions of their own.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::{Link, LinkError};
use super::server::Server;
use crate::store::engine::StoreError;

/// Connections at once. Each costs the database a process; whoever comes too many waits.
const CONNECTIONS: usize = 4;

/// For one of them to become free.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every use of it blocks.
pub(super) struct Pool {
    server: Server,
    open: fn(&Server) -> Result<Link, LinkError>,
    links: Mutex<Links>,
    free: Condvar,
}

#[derive(Default)]
struct Links {
    idle: Vec<Link>,
    /// Idle or in use.
    open: usize,
}

impl Pool {
    pub fn new(server: Server, open: fn(&Server) -> Result<Link, LinkError>) -> Self {
        Self { server, open, links: Mutex::default(), free: Condvar::new() }
    }

    /// Once more on a new connection when an idle one has been lost meanwhile.
    pub fn read<T>(&self, query: impl Fn(&mut Link) -> Result<T, LinkError>) -> Result<T, StoreError> {
        let kept = self.take()?;
        let was_idle = kept.is_some();
        let read = self.attempt(kept, &query);
        match read {
            Err(error) if was_idle && !error.is_refusal() && !error.is_late() => {
                let kept = self.take()?;
                Ok(self.attempt(kept.filter(|link| !link.is_closed()), &query)?)
            }
            read => Ok(read?),
        }
    }

    /// As [`Pool::read`], as one transaction. What it does must do no harm when it is done twice: a connection may
    /// be lost with the answer to its COMMIT.
    pub fn write<T>(&self, work: impl Fn(&mut Link) -> Result<T, LinkError>) -> Result<T, StoreError> {
        self.read(|link| {
            link.batch("BEGIN")?;
            let done = work(link)?;
            link.batch("COMMIT")?;
            Ok(done)
        })
    }

    /// A place in the pool, with the connection that waits there.
    fn take(&self) -> Result<Option<Link>, StoreError> {
        let until = Instant::now() + PATIENCE;
        let mut links = self.lock();
        while links.idle.is_empty() && links.open >= CONNECTIONS {
            let left = until.checked_duration_since(Instant::now()).ok_or(LinkError::Late(PATIENCE))?;
            links = self.free.wait_timeout(links, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let idle = links.idle.pop();
        links.open += usize::from(idle.is_none());
        Ok(idle.filter(|link| !link.is_closed()))
    }

    /// A connection on which it failed is not used again: who knows what it is in the middle of.
    fn attempt<T>(
        &self,
        kept: Option<Link>,
        query: &impl Fn(&mut Link) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let link = kept.map_or_else(|| (self.open)(&self.server), Ok);
        let read = link.and_then(|mut link| query(&mut link).map(|read| (link, read)));
        let mut links = self.lock();
        let read = match read {
            Ok((link, read)) => {
                links.idle.push(link);
                Ok(read)
            }
            Err(error) => {
                links.open -= 1;
                Err(error)
            }
        };
        drop(links);
        self.free.notify_one();
        read
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
