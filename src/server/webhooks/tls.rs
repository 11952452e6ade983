//! Whom receivers must prove to be: the authorities that this machine trusts, and one more.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tracing::warn;

/// Made once: to read the authorities takes milliseconds.
pub fn connector(ca_file: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(file) = ca_file {
        let named = || format!("cannot use the certificates in {} ([webhooks] ca_file)", file.display());
        let certificates = CertificateDer::pem_file_iter(file).with_context(named)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().with_context(named)?;
        anyhow::ensure!(!certificates.is_empty(), "there is no certificate in {} ([webhooks] ca_file)", file.display());
        for certificate in certificates {
            roots.add(certificate).with_context(named)?;
        }
    }
    if roots.is_empty() {
        warn!("this machine trusts no authority, so no https webhook can be sent; install ca-certificates");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
