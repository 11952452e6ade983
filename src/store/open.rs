//! From `[store]` to an open store, whichever engine keeps it.

use std::sync::Arc;

use super::{Committed, Recovered, Store};
use crate::config::{StoreConfig, StoreUrl};
use crate::model::CommitId;
use crate::store::engine::StoreError;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;

/// Opens the store that the configuration names, for the node of this name. `answer` is told what became of each
/// commit.
pub fn open(
    config: &StoreConfig,
    node: &str,
    answer: impl Fn(Vec<(CommitId, Committed)>) + Send + 'static,
) -> Result<(Arc<dyn Store>, Recovered), StoreError> {
    match &config.url {
        StoreUrl::Sqlite(path) => {
            let (store, recovered) = SqliteStore::open(path, answer)?;
            Ok((Arc::new(store), recovered))
        }
        StoreUrl::Postgres(url) => {
            let (store, recovered) = PostgresStore::open(url, node, answer)?;
            Ok((Arc::new(store), recovered))
        }
    }
}
