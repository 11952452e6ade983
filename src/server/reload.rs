//! The configuration file, read again and applied.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use super::clock::Clock;
use super::streams::SharedIdentities;
use crate::api::{AdminKeys, NotReloaded, Reloaded};
use crate::config::Config;
use crate::store::tenants::{Declaration, Skipped};
use crate::store::{Retention, Store, StoreDown};

/// What is read, and what it is applied to.
#[derive(Clone)]
pub struct Reload {
    pub config: PathBuf,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub admin_keys: AdminKeys,
    pub identities: SharedIdentities,
    /// One at a time, or what was read first could be applied last.
    pub turn: Arc<Mutex<()>>,
}

impl Reload {
    /// Blocks. What of the file could not be applied is logged, and returned.
    pub fn run(&self) -> Result<Reloaded, NotReloaded> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = Config::load(&self.config).map_err(NotReloaded::File).and_then(|config| {
            // What can be refused comes first: all of the file is applied, or nothing.
            let identities = self.identities.read_again(&config.tls);
            let identities = identities.map_err(|error| NotReloaded::Tls(format!("{error:#}")))?;
            let skipped = self.store.declare(Declaration::from(&config), self.clock.now());
            let skipped = skipped.map_err(NotReloaded::Store)?;
            self.admin_keys.replace(&config.admin.keys);
            self.identities.replace(identities);
            self.store.keep(Retention::from(&config.store));
            Ok(skipped)
        });
        match &applied {
            Ok(skipped) => {
                info!(file = %self.config.display(), "configuration read again: organizations, prices, admin keys, certificates");
                tell(skipped);
            }
            Err(NotReloaded::Store(StoreDown)) => error!("the store did not take the configuration; the old one stays"),
            Err(NotReloaded::Tls(problem)) => warn!(problem, "configuration not read again; the old one stays"),
            Err(NotReloaded::File(errors)) => {
                for problem in errors.to_string().lines() {
                    warn!(problem, "configuration not read again; the old one stays");
                }
            }
        }
        applied
    }
}

/// What of a configuration could not be applied, to operators.
pub fn tell(skipped: &[Skipped]) {
    for Skipped { id, why } in skipped {
        warn!(what = ?id, %why, "the configuration declares what cannot be; it is left out");
    }
}
