//! `[tls]`: who we are to peers on TLS, and whom we believe.
//!
//! The files are read when the server starts, not here: whether a configuration is right does not depend on the
//! machine that reads it.

use std::path::PathBuf;

use super::section::Section;
use super::{TlsConfig, TlsIdentity};

pub(super) fn tls(mut s: Section<'_, '_>) -> TlsConfig {
    let identity = identity(&mut s);
    let ca_file = s.text("ca_file").map(|path| path.value.into());
    let verify_clients = s.flag("verify_clients").unwrap_or(false);
    s.finish();
    TlsConfig { identity, ca_file, verify_clients }
}

/// Both files or none.
fn identity(s: &mut Section<'_, '_>) -> Option<TlsIdentity> {
    let any = ["certificate_file", "key_file"].into_iter().any(|key| s.has(key));
    let mut file = |key| {
        if any && !s.has(key) {
            s.missing(key, "\"….pem\"; certificate_file and key_file belong together");
        }
        s.text(key).map(|path| PathBuf::from(path.value))
    };
    let (certificate_file, key_file) = (file("certificate_file"), file("key_file"));
    Some(TlsIdentity { certificate_file: certificate_file?, key_file: key_file? })
}
