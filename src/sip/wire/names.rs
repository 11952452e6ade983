//! The names that the program knows: methods and headers.

/// A request method. The text of an extension method stays in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    Other,
}

impl Method {
    /// Methods are case-sensitive (RFC 3261 §7.1).
    pub fn parse(text: &str) -> Method {
        match text.as_bytes() {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"PRACK" => Method::Prack,
            b"UPDATE" => Method::Update,
            b"INFO" => Method::Info,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"REFER" => Method::Refer,
            b"MESSAGE" => Method::Message,
            b"PUBLISH" => Method::Publish,
            _ => Method::Other,
        }
    }

    /// The name on the wire; `None` for a method that we do not know and so never send.
    pub fn as_str(self) -> Option<&'static str> {
        Some(match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Prack => "PRACK",
            Method::Update => "UPDATE",
            Method::Info => "INFO",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Refer => "REFER",
            Method::Message => "MESSAGE",
            Method::Publish => "PUBLISH",
            Method::Other => return None,
        })
    }
}

macro_rules! header_names {
    ($($variant:ident $text:literal $lower:literal $($compact:literal)?;)*) => {
        /// A header field name. `Other` is every name that the program has no word for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HeaderName {
            $($variant,)*
            Other,
        }

        impl HeaderName {
            pub const ALL: &[HeaderName] = &[$(HeaderName::$variant,)*];

            /// The name as we write it; `None` for a name that we do not know and so never write.
            pub fn as_str(self) -> Option<&'static str> {
                match self {
                    $(HeaderName::$variant => Some($text),)*
                    HeaderName::Other => None,
                }
            }

            /// `name` in lower case.
            fn of_lower(name: &[u8]) -> HeaderName {
                match name {
                    $($lower $(| $compact)? => HeaderName::$variant,)*
                    _ => HeaderName::Other,
                }
            }
        }
    };
}

header_names! {
    Via "Via" b"via" b"v";
    From "From" b"from" b"f";
    To "To" b"to" b"t";
    CallId "Call-ID" b"call-id" b"i";
    CSeq "CSeq" b"cseq";
    MaxForwards "Max-Forwards" b"max-forwards";
    Contact "Contact" b"contact" b"m";
    ContentType "Content-Type" b"content-type" b"c";
    ContentLength "Content-Length" b"content-length" b"l";
    Route "Route" b"route";
    RecordRoute "Record-Route" b"record-route";
    Allow "Allow" b"allow";
    Supported "Supported" b"supported" b"k";
    Require "Require" b"require";
    ProxyRequire "Proxy-Require" b"proxy-require";
    Unsupported "Unsupported" b"unsupported";
    Accept "Accept" b"accept";
    AllowEvents "Allow-Events" b"allow-events" b"u";
    Authorization "Authorization" b"authorization";
    ProxyAuthorization "Proxy-Authorization" b"proxy-authorization";
    WwwAuthenticate "WWW-Authenticate" b"www-authenticate";
    ProxyAuthenticate "Proxy-Authenticate" b"proxy-authenticate";
    Reason "Reason" b"reason";
    RetryAfter "Retry-After" b"retry-after";
    Warning "Warning" b"warning";
    Expires "Expires" b"expires";
    Date "Date" b"date";
    UserAgent "User-Agent" b"user-agent";
    Server "Server" b"server";
    Event "Event" b"event" b"o";
    Subject "Subject" b"subject" b"s";
    SessionExpires "Session-Expires" b"session-expires" b"x";
    MinSe "Min-SE" b"min-se";
    RSeq "RSeq" b"rseq";
    RAck "RAck" b"rack";
    ReferTo "Refer-To" b"refer-to" b"r";
    ReferredBy "Referred-By" b"referred-by" b"b";
    Replaces "Replaces" b"replaces";
    Privacy "Privacy" b"privacy";
    PAssertedIdentity "P-Asserted-Identity" b"p-asserted-identity";
    PPreferredIdentity "P-Preferred-Identity" b"p-preferred-identity";
    Identity "Identity" b"identity" b"y";
    ContentDisposition "Content-Disposition" b"content-disposition";
    ContentEncoding "Content-Encoding" b"content-encoding" b"e";
    MimeVersion "MIME-Version" b"mime-version";
    RecvInfo "Recv-Info" b"recv-info";
    InfoPackage "Info-Package" b"info-package";
}

/// The longest name that we know.
const LONGEST: usize = 20;

impl HeaderName {
    /// Names are case-insensitive, and some have a compact form (RFC 3261 §7.3.1, §7.3.3).
    pub fn parse(name: &str) -> HeaderName {
        let mut lower = [0u8; LONGEST];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return HeaderName::Other;
        };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        HeaderName::of_lower(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_in_any_case() {
        for name in HeaderName::ALL {
            let text = name.as_str().unwrap();
            assert!(text.len() <= LONGEST);
            assert_eq!(HeaderName::parse(text), *name);
            assert_eq!(HeaderName::parse(&text.to_uppercase()), *name);
        }
        assert_eq!(HeaderName::parse("v"), HeaderName::Via);
        assert_eq!(HeaderName::parse("X"), HeaderName::SessionExpires);
        assert_eq!(HeaderName::parse("P-Asserted-Identity-Of-Somebody"), HeaderName::Other);
    }

    #[test]
    fn a_method_is_case_sensitive() {
        assert_eq!(Method::parse("INVITE"), Method::Invite);
        assert_eq!(Method::parse("invite"), Method::Other);
    }
}
