//! Where the database is and how it is reached.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

use super::link::{Link, LinkError};
use crate::config::{PostgresUrl, Tls};
use crate::store::engine::{StoreError, wall_clock};

/// For name, connection, TLS and password. Whoever waits for an admission waits no longer than this and one
/// statement.
const CONNECT: Duration = Duration::from_secs(1);

/// A database that does not answer a writer for so long is gone. Calls that wait for it notice nothing before.
const WRITE: Duration = Duration::from_millis(2_900);

/// Long lists of big organizations included.
const READ: Duration = Duration::from_secs(5);

/// A new index over years of calls.
const MIGRATE: Duration = Duration::from_secs(3_600);

/// The server's own ends, a little earlier than ours, so that what is given up here is given up there: no
/// transaction of a node that is gone keeps a lock. What cannot be set by a client is left out.
const WRITING: &str = "-c statement_timeout=2500 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=2500 \
    -c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 -c tcp_user_timeout=4000";
const READING: &str = "-c statement_timeout=4500 -c default_transaction_read_only=on";

/// The schema that is ours in whatever database we are given.
pub(super) const SCHEMA: &str = "revbridge";

/// A node whose clock is further from the database's than this counts the rolling minute of the others wrongly.
const SKEW: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Server {
    pub fn new(url: &PostgresUrl) -> Result<Self, StoreError> {
        let mut config = Config::new();
        config.host(&*url.host).port(url.port).user(&*url.user).dbname(&*url.database);
        if let Some(password) = &url.password {
            config.password(password.reveal());
        }
        config
            .application_name("revbridge")
            .connect_timeout(CONNECT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(1))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(2)
            .tcp_user_timeout(Duration::from_millis(2_500));
        let tls = match &url.tls {
            Tls::Off => None,
            Tls::Unverified => Some(unverified()?),
            Tls::Verified { root } => Some(verified(root.as_deref())?),
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        Ok(Self { config, tls: tls.map(MakeRustlsConnect::new) })
    }

    /// A connection that writes. What it says is durable is so, whatever the server's default.
    pub fn writer(&self) -> Result<Link, LinkError> {
        let mut link = self.connect(WRITING, WRITE, TargetSessionAttrs::ReadWrite)?;
        let row = link.query_opt(
            "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
                        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),
                    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, current_setting('fsync') = 'on'",
            &[],
        )?;
        if let Some(row) = row {
            let skew_us = row.try_get::<_, i64>(1)?.abs_diff(wall_clock().as_micros().cast_signed());
            if Duration::from_micros(skew_us) > SKEW {
                warn!(skew_us, "this node's clock and the database's disagree: the rolling minute is not exact");
            }
            if !row.try_get::<_, bool>(2)? {
                warn!("the database runs with fsync off: what it says is durable is lost with its machine");
            }
        }
        Ok(link)
    }

    /// A connection for statements that take as long as they take.
    pub fn migrator(&self) -> Result<Link, LinkError> {
        self.connect("-c statement_timeout=0", MIGRATE, TargetSessionAttrs::ReadWrite)
    }

    /// A connection that cannot write.
    pub fn reader(&self) -> Result<Link, LinkError> {
        self.connect(READING, READ, TargetSessionAttrs::Any)
    }

    fn connect(&self, options: &str, deadline: Duration, role: TargetSessionAttrs) -> Result<Link, LinkError> {
        let mut config = self.config.clone();
        config.options(format!("{options} -c search_path={SCHEMA}")).target_session_attrs(role);
        match self.tls.clone() {
            Some(tls) => Link::open(&config, tls, CONNECT, deadline),
            None => Link::open(&config, NoTls, CONNECT, deadline),
        }
    }
}

fn verified(root: Option<&std::path::Path>) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    match root {
        Some(file) => {
            let unreadable = |error: &dyn std::fmt::Display| StoreError::Tls(format!("{}: {error}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

fn unverified() -> Result<ClientConfig, StoreError> {
    let anybody = Arc::new(Anybody(aws_lc_rs::default_provider()));
    Ok(builder()?.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, StoreError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(|error| StoreError::Tls(error.to_string()))
}

/// `sslmode=require` as libpq means it: nobody listens in, but whoever answers is believed.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
