//! Who we are, and whom we believe (RFC 3261 §26.3.1, RFC 5922).
//!
//! Made at the start and when the configuration is read again, not for each connection: to read the authorities takes
//! milliseconds. TLS 1.2 is the least that rustls speaks.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{TlsConfig, TlsIdentity};

/// Both sides of TLS; none where no listener is on it.
#[derive(Clone, Default)]
pub struct Identities {
    pub client: Option<TlsConnector>,
    pub server: Option<TlsAcceptor>,
}

/// What holds from the next handshake on. Connections that stand keep what they began with.
#[derive(Clone)]
pub struct SharedIdentities(Arc<RwLock<Identities>>);

impl SharedIdentities {
    pub fn new(identities: Identities) -> Self {
        Self(Arc::new(RwLock::new(identities)))
    }

    pub fn get(&self) -> Identities {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace(&self, identities: Identities) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identities;
    }

    /// The files of `[tls]` as they are now. Where this process has no listener on TLS they are not looked at, and there
    /// are none, whatever the configuration says by now: a listener begins with the process.
    pub fn read_again(&self, config: &TlsConfig) -> anyhow::Result<Identities> {
        let identities = self.get();
        if identities.client.is_some() { Identities::load(config) } else { Ok(identities) }
    }
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Identities {
    pub fn load(config: &TlsConfig) -> anyhow::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots(config.ca_file.as_deref())?);
        let chain = config.identity.as_ref().map(chain).transpose()?;
        let client = client(&provider, &roots, chain.as_ref())?;
        let server = chain.map(|chain| server(config, &provider, &roots, chain)).transpose()?;
        Ok(Self {
            client: Some(TlsConnector::from(Arc::new(client))),
            server: server.map(|server| TlsAcceptor::from(Arc::new(server))),
        })
    }
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Option<&Chain>,
) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots));
    match chain {
        Some((certificates, key)) => {
            builder.with_client_auth_cert(certificates.clone(), key.clone_key()).context(KEY_OF_ANOTHER)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn server(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    (certificates, key): Chain,
) -> anyhow::Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let builder = if config.verify_clients {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider)).build();
        builder.with_client_cert_verifier(verifier.context("cannot verify clients ([tls] verify_clients)")?)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(certificates, key).context(KEY_OF_ANOTHER)
}

const KEY_OF_ANOTHER: &str = "[tls] certificate_file and key_file do not belong together";

fn roots(ca_file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            for certificate in certificates(file, "ca_file")? {
                roots.add(certificate).with_context(|| named(file, "ca_file"))?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    anyhow::ensure!(
        !roots.is_empty(),
        "this machine trusts no authority; give [tls] ca_file, or install ca-certificates"
    );
    Ok(roots)
}

fn chain(identity: &TlsIdentity) -> anyhow::Result<Chain> {
    let TlsIdentity { certificate_file, key_file } = identity;
    let key = PrivateKeyDer::from_pem_file(key_file).with_context(|| named(key_file, "key_file"))?;
    Ok((certificates(certificate_file, "certificate_file")?, key))
}

fn certificates(file: &Path, key: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).with_context(|| named(file, key))?;
    let read = read.collect::<Result<Vec<_>, _>>().with_context(|| named(file, key))?;
    anyhow::ensure!(!read.is_empty(), "there is no certificate in {} ([tls] {key})", file.display());
    Ok(read)
}

fn named(file: &Path, key: &str) -> String {
    format!("cannot use {} ([tls] {key})", file.display())
}
