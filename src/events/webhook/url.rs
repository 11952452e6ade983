//! Where webhooks are sent: what a URL must be like, and which addresses its host may have.
//!
//! The URL is read once, by the rules that browsers follow (WHATWG), and what was read is what is stored, shown
//! and connected to. So `https://0x7f.1/`, `https://2130706433/` and `https://[::ffff:127.0.0.1]/` are judged
//! by the address that they are.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::address::is_public;
use crate::model::OrganizationId;

/// Longer than any URL that a person set up.
const LONGEST: usize = 2_048;

/// Whom webhooks may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Loopback too, and without TLS: for tests.
    pub loopback: bool,
}

impl Reach {
    /// Whether a webhook may be sent to this address: what is asked of the address that is connected to, and
    /// not only of those that a name has.
    pub fn allows(self, url: &WebhookUrl, address: IpAddr) -> bool {
        let address = address.to_canonical();
        (url.is_tls() && is_public(address)) || (self.loopback && address.is_loopback())
    }
}

/// What shares places for tries: an organization and a host with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverId(pub i64);

/// A URL that webhooks may be sent to, as far as it alone can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why not, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    #[error("expected a URL such as https://example.com/hooks, of at most {LONGEST} characters without spaces")]
    Unreadable,
    #[error("expected https; nothing is sent without TLS")]
    NotTls,
    #[error("leave out the user and the password; who sends is proven by the signature")]
    Credentials,
    #[error("leave out the fragment (#…); it is never sent")]
    Fragment,
    #[error("give a port from 1 to 65535, or none")]
    Port,
    #[error("this address is private, local or reserved; give a host on the Internet")]
    Address,
}

impl WebhookUrl {
    pub fn parse(text: &str, reach: Reach) -> Result<Self, UrlProblem> {
        // The URL standard drops tabs and line feeds from anywhere, and spaces from both ends: what somebody
        // checked before us would not be what we read.
        let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}');
        if text.len() > LONGEST || text.contains(odd) || text.contains('\\') {
            return Err(UrlProblem::Unreadable);
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::InvalidPort => UrlProblem::Port,
            _ => UrlProblem::Unreadable,
        })?;
        let url = Self(url);
        url.judge(reach)?;
        // A host in other letters grows when it is written in ASCII.
        if url.as_str().len() > LONGEST { Err(UrlProblem::Unreadable) } else { Ok(url) }
    }

    fn judge(&self, reach: Reach) -> Result<(), UrlProblem> {
        let url = &self.0;
        match url.scheme() {
            "https" => {}
            "http" if reach.loopback => {}
            "http" => return Err(UrlProblem::NotTls),
            _ => return Err(UrlProblem::Unreadable),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlProblem::Credentials);
        }
        if url.fragment().is_some() {
            return Err(UrlProblem::Fragment);
        }
        if url.port() == Some(0) {
            return Err(UrlProblem::Port);
        }
        match self.address() {
            Some(address) if !reach.allows(self, address) => Err(UrlProblem::Address),
            Some(_) => Ok(()),
            None if self.host().is_empty() => Err(UrlProblem::Unreadable),
            None => Ok(()),
        }
    }

    /// What it was read as.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// A name in ASCII or an address without brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// When the host is no name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(v4) => Some(v4.into()),
            Host::Ipv6(v6) => Some(v6.into()),
            Host::Domain(_) => None,
        }
    }

    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// The `Host` header (RFC 9110 §7.2).
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// The request's target: path and query.
    pub fn target(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    pub fn receiver(&self, organization: &OrganizationId) -> ReceiverId {
        ReceiverId(digest(organization, &self.0[..url::Position::BeforePath]))
    }

    pub fn lane(&self, organization: &OrganizationId) -> i64 {
        digest(organization, self.as_str())
    }
}

fn digest(organization: &OrganizationId, text: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(organization.as_str().len().to_be_bytes());
    hash.update(organization.as_str());
    hash.update(text);
    hash.finalize().iter().take(8).fold(0, |bits, byte| (bits << 8) | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Reach = Reach { loopback: false };
    const LAB: Reach = Reach { loopback: true };

    #[test]
    fn what_is_no_plain_https_url_is_refused() {
        let long = format!("https://example.com/{}", "a".repeat(LONGEST));
        for (text, problem) in [
            ("", UrlProblem::Unreadable),
            ("example.com", UrlProblem::Unreadable),
            ("https://", UrlProblem::Unreadable),
            ("https:///", UrlProblem::Unreadable),
            ("https://exa mple.com/", UrlProblem::Unreadable),
            (" https://example.com/", UrlProblem::Unreadable),
            ("https://example.com/\n", UrlProblem::Unreadable),
            ("https://exam\tple.com/", UrlProblem::Unreadable),
            ("https://example.com/\r\nX: y", UrlProblem::Unreadable),
            ("https://example.com/\0", UrlProblem::Unreadable),
            ("https://example.com/\u{2028}", UrlProblem::Unreadable),
            ("https:\\\\example.com\\", UrlProblem::Unreadable),
            ("https://example.com%00/", UrlProblem::Unreadable),
            ("https://exa%20mple.com/", UrlProblem::Unreadable),
            ("https://[::1", UrlProblem::Unreadable),
            ("ftp://example.com/", UrlProblem::Unreadable),
            ("file:///etc/passwd", UrlProblem::Unreadable),
            ("gopher://example.com/", UrlProblem::Unreadable),
            ("javascript:alert(1)", UrlProblem::Unreadable),
            ("http://example.com/", UrlProblem::NotTls),
            ("https://user@example.com/", UrlProblem::Credentials),
            ("https://user:pass@example.com/", UrlProblem::Credentials),
            ("https://:pass@example.com/", UrlProblem::Credentials),
            ("https://example.com/#a", UrlProblem::Fragment),
            ("https://example.com/#", UrlProblem::Fragment),
            ("https://example.com:0/", UrlProblem::Port),
            ("https://example.com:65536/", UrlProblem::Port),
            ("https://example.com:x/", UrlProblem::Port),
            (&long, UrlProblem::Unreadable),
        ] {
            assert_eq!(WebhookUrl::parse(text, STRICT), Err(problem), "{text:?}");
        }
    }

    #[test]
    fn an_address_in_whatever_spelling_is_judged_by_what_it_is() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "017700000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "①②⑦.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "0",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:a00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "10.0.0.1",
            "100.64.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let refused = WebhookUrl::parse(&format!("https://{host}:8443/hook"), STRICT);
            assert_eq!(refused, Err(UrlProblem::Address), "{host}");
        }
        assert!(WebhookUrl::parse("https://8.8.8.8/", STRICT).is_ok());
        assert!(WebhookUrl::parse("https://[2606:4700:4700::1111]:8443/", STRICT).is_ok());
    }

    #[test]
    fn http_is_for_loopback_in_tests_alone() {
        assert!(WebhookUrl::parse("http://127.0.0.1:9999/hook", LAB).is_ok());
        assert!(WebhookUrl::parse("https://[::1]:9999/hook", LAB).is_ok());
        assert_eq!(WebhookUrl::parse("http://8.8.8.8/", LAB), Err(UrlProblem::Address));
        assert_eq!(WebhookUrl::parse("https://10.0.0.1/", LAB), Err(UrlProblem::Address));
        let (plain, tls) = ("http://hooks.example/", "https://hooks.example/");
        let (plain, tls) = (WebhookUrl::parse(plain, LAB).unwrap(), WebhookUrl::parse(tls, LAB).unwrap());
        let (public, loopback) = ("8.8.8.8".parse().unwrap(), "::ffff:127.0.0.1".parse().unwrap());
        assert!(!LAB.allows(&plain, public), "a name that turns out to be elsewhere gets nothing in clear");
        assert!(LAB.allows(&plain, loopback) && LAB.allows(&tls, loopback) && LAB.allows(&tls, public));
        assert!(!STRICT.allows(&tls, loopback) && STRICT.allows(&tls, public));
    }

    #[test]
    fn what_was_read_is_what_is_used() {
        let url = WebhookUrl::parse("HTTPS://Büro.Example:443/a/../hooks?x=1&y=é'\"<", STRICT).unwrap();
        assert_eq!(url.as_str(), "https://xn--bro-hoa.example/hooks?x=1&y=%C3%A9%27%22%3C");
        assert_eq!((url.host(), url.port(), url.authority()), ("xn--bro-hoa.example", 443, "xn--bro-hoa.example"));
        assert_eq!(url.target(), "/hooks?x=1&y=%C3%A9%27%22%3C");
        let v6 = WebhookUrl::parse("https://[2606:4700:4700::1111]:8443", STRICT).unwrap();
        assert_eq!(
            (v6.host(), v6.authority(), v6.target()),
            ("2606:4700:4700::1111", "[2606:4700:4700::1111]:8443", "/")
        );
        assert_eq!(WebhookUrl::parse(url.as_str(), STRICT), Ok(url), "reading it again changes nothing");
    }

    #[test]
    fn receivers_are_hosts_of_an_organization_and_lanes_are_urls() {
        let (acme, other) = (OrganizationId("acme".into()), OrganizationId("other".into()));
        let url = |text| WebhookUrl::parse(text, STRICT).unwrap();
        let (a, b) = (url("https://example.com/a"), url("https://example.com:443/b"));
        assert_eq!(a.receiver(&acme), b.receiver(&acme));
        assert_ne!(a.lane(&acme), b.lane(&acme));
        assert_ne!(a.receiver(&acme), a.receiver(&other));
        assert_ne!(a.lane(&acme), a.lane(&other));
        assert_ne!(a.receiver(&acme), url("https://example.com:8443/a").receiver(&acme));
    }
}
