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
    ($($variant:ident $text:literal $($compact:literal)?;)*) => {
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
        }

        /// Each name and each compact form, after a word that no header has.
        const WORDS: &[(&str, HeaderName)] = &[
            ("", HeaderName::Other),
            $(($text, HeaderName::$variant), $(($compact, HeaderName::$variant),)?)*
        ];
    };
}

header_names! {
    Via "Via" "v";
    From "From" "f";
    To "To" "t";
    CallId "Call-ID" "i";
    CSeq "CSeq";
    MaxForwards "Max-Forwards";
    Contact "Contact" "m";
    ContentType "Content-Type" "c";
    ContentLength "Content-Length" "l";
    Route "Route";
    RecordRoute "Record-Route";
    Allow "Allow";
    Supported "Supported" "k";
    Require "Require";
    ProxyRequire "Proxy-Require";
    Unsupported "Unsupported";
    Accept "Accept";
    AllowEvents "Allow-Events" "u";
    Authorization "Authorization";
    ProxyAuthorization "Proxy-Authorization";
    WwwAuthenticate "WWW-Authenticate";
    ProxyAuthenticate "Proxy-Authenticate";
    Reason "Reason";
    RetryAfter "Retry-After";
    Warning "Warning";
    Expires "Expires";
    Date "Date";
    UserAgent "User-Agent";
    Server "Server";
    Event "Event" "o";
    Subject "Subject" "s";
    SessionExpires "Session-Expires" "x";
    MinSe "Min-SE";
    MinExpires "Min-Expires";
    RSeq "RSeq";
    RAck "RAck";
    ReferTo "Refer-To" "r";
    ReferredBy "Referred-By" "b";
    Replaces "Replaces";
    Privacy "Privacy";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Identity "Identity" "y";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" "e";
    MimeVersion "MIME-Version";
    RecvInfo "Recv-Info";
    InfoPackage "Info-Package";
}

/// Which word a name can be, by its [`slot`].
const INDEX: [u8; 256] = {
    let mut index = [0; 256];
    let mut i = 1;
    while i < WORDS.len() {
        let slot = slot(WORDS[i].0.as_bytes());
        assert!(index[slot] == 0, "two names in one slot: choose other factors");
        index[slot] = i as u8;
        i += 1;
    }
    index
};

/// Length, first and last letter, in any case: they tell all names apart.
const fn slot(name: &[u8]) -> usize {
    let [first, ..] = name else { return 0 };
    let last = name[name.len() - 1];
    (name.len() + (*first | 0x20) as usize * 34 + (last | 0x20) as usize * 104) % 256
}

impl HeaderName {
    /// Names are case-insensitive, and some have a compact form (RFC 3261 §7.3.1, §7.3.3).
    pub fn parse(name: &str) -> HeaderName {
        let (word, header) = WORDS[usize::from(INDEX[slot(name.as_bytes())])];
        // Most write names as the standards do, and equality is cheap to see.
        if word == name || word.eq_ignore_ascii_case(name) { header } else { HeaderName::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_in_any_case() {
        for name in HeaderName::ALL {
            let text = name.as_str().unwrap();
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
