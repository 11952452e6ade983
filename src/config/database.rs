//! `[store] url`: a SQLite file, or a PostgreSQL database.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

/// Where the store is. `Debug` and `Display` leave the password out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// A name, an address, or the folder of a socket.
    pub host: Arc<str>,
    pub port: u16,
    pub user: Arc<str>,
    pub password: Option<Password>,
    pub database: Arc<str>,
    pub tls: Tls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Against listeners; whoever answers is believed.
    Unverified,
    /// By this file of certificates, or by the system's.
    Verified {
        root: Option<PathBuf>,
    },
}

/// Shown to the database only.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            StoreUrl::Postgres(PostgresUrl { host, port, database, .. }) => {
                write!(f, "postgres://{host}:{port}/{database}")
            }
        }
    }
}

impl FromStr for StoreUrl {
    type Err = &'static str;

    /// What is wrong is said without repeating it: it may hold a password.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && !path.contains('\0') => Ok(StoreUrl::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => postgres(text).map(StoreUrl::Postgres),
            Some(_) | None => {
                Err("expected sqlite:FILE, such as sqlite:revbridge.db, or postgres://user@host/database")
            }
        }
    }
}

const EXPECTED: &str = "expected sqlite:FILE or postgres://user:password@host/database";
const MODES: &str = "sslmode is disable, require or verify-full";

fn postgres(text: &str) -> Result<PostgresUrl, &'static str> {
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    let (mut socket, mut mode, mut root) = (None, None, None);
    for (key, value) in url.query_pairs() {
        match &*key {
            "host" if value.starts_with('/') => socket = Some(value.into_owned()),
            "sslmode" => mode = Some(value.into_owned()),
            "sslrootcert" if !value.is_empty() => root = Some(PathBuf::from(value.into_owned())),
            _ => return Err("the parameters are sslmode, sslrootcert, and host for a socket's folder"),
        }
    }
    let (host, is_near) = match (socket, url.host()) {
        (Some(folder), _) => (folder, true),
        (None, Some(host)) => named(&host),
        (None, None) => return Err(EXPECTED),
    };
    let tls = match (mode.as_deref(), is_near) {
        (Some("disable"), _) | (None, true) => Tls::Off,
        (Some("require"), _) => Tls::Unverified,
        // What crosses a network is not shown to it unless somebody says so.
        (Some("verify-full"), _) | (None, false) => Tls::Verified { root },
        (Some(_), _) => return Err(MODES),
    };
    let database = decoded(url.path().trim_start_matches('/'))?;
    let user = decoded(url.username())?;
    if user.is_empty() || database.is_empty() || database.contains('/') || url.fragment().is_some() {
        return Err(EXPECTED);
    }
    let password = url.password().map(decoded).transpose()?.map(|password| Password(password.into()));
    Ok(PostgresUrl {
        host: host.into(),
        port: url.port().unwrap_or(5432),
        user: user.into(),
        password,
        database: database.into(),
        tls,
    })
}

/// With whether it is this machine. The parser takes no addresses apart in a scheme that it does not know.
fn named(host: &Host<&str>) -> (String, bool) {
    let text = match host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let is_near = text == "localhost" || text.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (text, is_near)
}

/// Undoes `%41`.
fn decoded(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else { return Err(EXPECTED) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| EXPECTED)?);
    }
    let text = String::from_utf8(bytes).map_err(|_| EXPECTED)?;
    if text.contains('\0') { Err(EXPECTED) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PostgresUrl {
        match text.parse() {
            Ok(StoreUrl::Postgres(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_url_has_user_password_host_port_and_database() {
        let url = read("postgres://rev%40bridge:s%3acret@db.example:5433/calls?sslmode=require");
        assert_eq!((&*url.user, &*url.host, url.port, &*url.database), ("rev@bridge", "db.example", 5433, "calls"));
        assert_eq!(url.password.unwrap().reveal(), "s:cret");
        assert_eq!(url.tls, Tls::Unverified);
        let url = read("postgresql://bridge@127.0.0.1/calls");
        assert_eq!((url.port, url.password, url.tls), (5432, None, Tls::Off));
        let url = read("postgres://bridge@localhost/calls?host=/run/postgresql");
        assert_eq!((&*url.host, url.tls), ("/run/postgresql", Tls::Off));
        assert_eq!(&*read("postgres://bridge@[::1]:5432/calls").host, "::1");
    }

    #[test]
    fn a_database_across_a_network_is_verified_unless_somebody_says_otherwise() {
        assert_eq!(read("postgres://u@db/calls").tls, Tls::Verified { root: None });
        assert_eq!(read("postgres://u@10.0.0.1/calls").tls, Tls::Verified { root: None });
        assert_eq!(read("postgres://u@db/calls?sslmode=disable").tls, Tls::Off);
        let root = Tls::Verified { root: Some("/etc/ca.pem".into()) };
        assert_eq!(read("postgres://u@db/calls?sslmode=verify-full&sslrootcert=/etc/ca.pem").tls, root);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for text in [
            "postgres://u:hunter2@/calls",
            "postgres://u:hunter2@db",
            "postgres://u:hunter2@db/",
            "postgres://:hunter2@db/calls",
            "postgres://u:hunter2@db/calls?sslmode=prefer",
            "postgres://u:hunter2@db/calls?application_name=x",
            "postgres://u:hunter2%zz@db/calls",
            "mysql://u:hunter2@db/calls",
        ] {
            let message = text.parse::<StoreUrl>().unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
        let kept: StoreUrl = "postgres://u:hunter2@db/calls".parse().unwrap();
        assert!(!format!("{kept:?} {kept}").contains("hunter2"));
    }
}
