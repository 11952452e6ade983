//! What `revbridge check-config` looks at beside the configuration itself: the files that it names.

use super::{media, stir, streams};
use crate::config::Config;

/// Reads each as the server does when it starts.
///
/// # Errors
/// The first that the server could not start with, by its key: the recording of a failed call, the key that signs INVITEs,
/// the certificates and keys of TLS. Nothing is opened that a server which runs already has open.
pub fn check(config: &Config) -> anyhow::Result<()> {
    media::recording(&config.media)?;
    config.stir.as_ref().map(stir::signer).transpose()?;
    streams::identities(config)?;
    Ok(())
}
