//! Via (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use super::lex::{Cursor, TOKEN, port};
use super::{Fault, HeaderName, Host, Params};

/// One Via value: one hop of the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, … in the sender's spelling; compare it without case.
    pub transport: &'a str,
    pub host: Host<'a>,
    pub port: Option<u16>,
    pub branch: Option<&'a str>,
    /// An address, or whatever else was written there: `None`.
    pub received: Option<IpAddr>,
    /// `Some(None)` asks for a response to the source port (RFC 3581 §3), `Some(Some(_))` names it.
    pub rport: Option<Option<u16>>,
}

impl<'a> Via<'a> {
    /// Reads one value of the list. White space may stand around each part (RFC 4475 §3.1.1.1).
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        Self::read(text, |version| version == "2.0")
    }

    /// Likewise of any version: a request may be refused for that, and then says where to in its own.
    pub(super) fn of_any_version(text: &'a str) -> Result<Self, Fault> {
        Self::read(text, |version| !version.is_empty())
    }

    fn read(text: &'a str, is_version: impl Fn(&str) -> bool) -> Result<Self, Fault> {
        const BAD: Fault = Fault::Value(HeaderName::Via);
        let mut cursor = Cursor(text);
        if !cursor.eat_all("SIP/2.0/") {
            let is_sip = cursor.word(TOKEN).eq_ignore_ascii_case("SIP") && cursor.eat(b'/');
            if !is_sip || !is_version(cursor.word(TOKEN)) || !cursor.eat(b'/') {
                return Err(BAD);
            }
        }
        cursor.spaces();
        let transport = cursor.run(TOKEN);
        if transport.is_empty() || !cursor.spaces() {
            return Err(BAD);
        }
        let host = Host::read(&mut cursor)?;
        let port = Host::read_port(&mut cursor)?;
        let mut via = Via { transport, host, port, branch: None, received: None, rport: None };
        Params::read(cursor, |name, value| via.set(name, value))?;
        Ok(via)
    }

    fn set(&mut self, name: &str, value: Option<&'a str>) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case("branch") {
            self.branch = value.or(Some(""));
        } else if name.eq_ignore_ascii_case("received") {
            // RFC 5118 §4.5: with brackets or without.
            self.received = value.and_then(|v| v.trim_matches(['[', ']']).parse().ok());
        } else if name.eq_ignore_ascii_case("rport") {
            self.rport = Some(value.map(port).transpose()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_with_all_its_parameters() {
        let via =
            Via::parse("SIP  / 2.0\r\n /udp  [2001:db8::9]:5070;branch=\r\n z9hG4bKx;received=[2001:db8::255];rport=7")
                .unwrap();
        assert_eq!(via.transport, "udp");
        assert_eq!(via.host, Host::Ip("2001:db8::9".parse().unwrap()));
        assert_eq!(via.port, Some(5070));
        assert_eq!(via.branch, Some("z9hG4bKx"));
        assert_eq!(via.received, Some("2001:db8::255".parse().unwrap()));
        assert_eq!(via.rport, Some(Some(7)));
        assert_eq!(Via::parse("SIP/2.0/UDP h;rport").unwrap().rport, Some(None));
    }

    #[test]
    fn broken_hops_are_refused() {
        for text in [
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP h;rport=70000",
            "SIP/2.0/U(P h",
            "SIP/2.0/UDP a b",
        ] {
            assert!(Via::parse(text).is_err(), "{text}");
        }
    }
}
