//! The tenants that this node goes by, in memory: for the edge, which asks with every request.

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::tenants::Tenants;

/// A snapshot, replaced as a whole.
pub(in crate::store) struct Directory(RwLock<Arc<Tenants>>);

impl Directory {
    pub fn new(tenants: Arc<Tenants>) -> Self {
        Self(RwLock::new(tenants))
    }

    pub fn tenants(&self) -> Arc<Tenants> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace(&self, tenants: Arc<Tenants>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tenants;
    }
}
