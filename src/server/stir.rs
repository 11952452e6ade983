//! The file with the key that INVITEs are signed with.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use anyhow::Context;
use tracing::warn;

use crate::config::StirConfig;
use crate::sip::identity::Signer;

/// No key of one curve is as long.
const LONGEST: u64 = 16 * 1_024;

/// A key that cannot be used keeps the server from starting: calls without a signature would look like another's.
pub fn signer(config: &StirConfig) -> anyhow::Result<Arc<Signer>> {
    let StirConfig { key_file, certificate_url } = config;
    let named = || format!("cannot use the key {} ([stir] key_file)", key_file.display());
    let file = File::open(key_file).with_context(named)?;
    if file.metadata().with_context(named)?.permissions().mode() & 0o077 != 0 {
        warn!(file = %key_file.display(), "others than the owner may read the key that signs calls; chmod 600 it");
    }
    let mut pem = String::new();
    file.take(LONGEST).read_to_string(&mut pem).with_context(named)?;
    Ok(Arc::new(Signer::new(&pem, Arc::clone(certificate_url)).with_context(named)?))
}
