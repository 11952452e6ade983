//! Every message of RFC 4475 and RFC 5118, in their order, and what becomes of each.

use revbridge::events::NoiseKind::{self, Malformed, OutOfDialog, UnknownDialog, UnknownTransaction};

use Outcome::{Answer, Silence};

pub struct Row {
    /// `4475` or `5118`.
    pub rfc: &'static str,
    pub section: &'static str,
    pub name: &'static str,
    pub bytes: &'static [u8],
    pub what: &'static str,
    /// What the RFC asks of whoever receives it.
    pub asks: &'static str,
    /// [`READ`], or the name of the fault.
    pub parsed: &'static str,
    pub outcome: Outcome,
    pub noise: NoiseKind,
    /// Why that is not what the RFC asks, or how it is.
    pub why: &'static str,
}

/// What comes back to whoever sent it, be it a trunk or a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answer(u16),
    Silence,
}

pub const READ: &str = "read";

const WELL_FORMED: &str = "to be taken as well-formed";
const MALFORMED: &str = "to be refused with 400";
const NOBODY_CALLS: &str = "nobody can call us: an INVITE is refused before its contents are judged";
const NO_REGISTRAR: &str = "we are no registrar: what it would register is never looked at";
const NO_SUCH_DIALOG: &str = "it speaks of a dialog that we do not have";
const NOT_OURS: &str = "it answers nothing that we have asked";

macro_rules! rows {
    ($($rfc:literal $section:literal $name:literal $what:literal, $asks:expr, $parsed:expr, $outcome:expr, $noise:ident, $why:expr;)+) => {
        &[$(Row {
            rfc: $rfc,
            section: $section,
            name: $name,
            bytes: include_bytes!(concat!("../../torture/", $name, ".dat")),
            what: $what,
            asks: $asks,
            parsed: $parsed,
            outcome: $outcome,
            noise: $noise,
            why: $why,
        }),+]
    };
}

pub const ROWS: &[Row] = rows! {
    "4475" "3.1.1.1" "wsinv" "INVITE with folds and white space wherever they may stand",
        WELL_FORMED, READ, Answer(481), UnknownDialog, NO_SUCH_DIALOG;
    "4475" "3.1.1.2" "intmeth" "a method, a URI and names of every character that they may have; BEL, NUL and DEL in quotes",
        WELL_FORMED, "Text", Answer(400), Malformed,
        "no NUL is read, not even one escaped in quotes: to many programs it is the end of the text. Without its NUL it is read, and 501";
    "4475" "3.1.1.3" "esc01" "INVITE with escapes in its URIs and in the names of their parameters",
        "well-formed; an escaped `@` or `:` is part of the user", READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "4475" "3.1.1.4" "escnull" "REGISTER with escaped NULs in its URIs",
        "well-formed; no text ends at the NUL", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "4475" "3.1.1.5" "esc02" "a method and a header whose names have percent signs",
        "a percent sign escapes nothing there: the method is unknown, the header is no Contact", READ, Answer(501), OutOfDialog, "";
    "4475" "3.1.1.6" "lwsdisp" "OPTIONS with no white space between a name and its `<`",
        WELL_FORMED, READ, Answer(200), OutOfDialog, "";
    "4475" "3.1.1.7" "longreq" "INVITE with long values and 34 Vias under every spelling of the name",
        WELL_FORMED, READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "4475" "3.1.1.8" "dblreq" "REGISTER with an INVITE after it in one datagram",
        "the first is a request; the rest is ignored", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "4475" "3.1.1.9" "semiuri" "OPTIONS for a user whose name has a semicolon",
        "the semicolon is part of the user", READ, Answer(200), OutOfDialog, "";
    "4475" "3.1.1.10" "transports" "OPTIONS with Vias of known and unknown transports",
        WELL_FORMED, READ, Answer(200), OutOfDialog, "";
    "4475" "3.1.1.11" "mpart01" "MESSAGE with a body of two parts, one of them binary",
        "well-formed, whatever is thought of the body", READ, Answer(405), OutOfDialog, "";
    "4475" "3.1.1.12" "unreason" "200 whose reason phrase is in Cyrillic letters",
        "the phrase changes nothing", READ, Silence, UnknownTransaction, NOT_OURS;
    "4475" "3.1.1.13" "noreason" "100 whose reason phrase is empty",
        WELL_FORMED, READ, Silence, UnknownTransaction, NOT_OURS;
    "4475" "3.1.2.1" "badinv01" "INVITE with separators and nothing between them in Via and Contact",
        MALFORMED, "Parameter", Silence, Malformed,
        "its only Via cannot be read, and so no answer could be matched to it";
    "4475" "3.1.2.2" "clerr" "INVITE whose Content-Length is larger than its body",
        MALFORMED, "ShortBody", Answer(400), Malformed, "";
    "4475" "3.1.2.3" "ncl" "INVITE with a negative Content-Length",
        MALFORMED, "Value(ContentLength)", Answer(400), Malformed, "";
    "4475" "3.1.2.4" "scalar02" "REGISTER with numbers that fit nowhere",
        MALFORMED, "Value(CSeq)", Answer(400), Malformed, "";
    "4475" "3.1.2.5" "scalarlg" "503 with numbers that fit nowhere",
        "to be dropped, or its Retry-After to be ignored", "Value(CSeq)", Silence, Malformed, "";
    "4475" "3.1.2.6" "quotbal" "INVITE whose To opens a quote and does not close it",
        MALFORMED, "Value(To)", Answer(400), Malformed, "";
    "4475" "3.1.2.7" "ltgtruri" "INVITE whose Request-URI is in angle brackets",
        "400, or to be read without the brackets", "Uri", Answer(400), Malformed, "";
    "4475" "3.1.2.8" "lwsruri" "INVITE with white space inside its Request-URI",
        MALFORMED, "StartLine", Answer(400), Malformed, "";
    "4475" "3.1.2.9" "lwsstart" "INVITE with two spaces where its start line has one",
        "400, or to be read as if it had one", "StartLine", Answer(400), Malformed, "";
    "4475" "3.1.2.10" "trws" "OPTIONS with spaces at the end of its start line",
        "400, or to be read without them", "StartLine", Answer(400), Malformed, "";
    "4475" "3.1.2.11" "escruri" "INVITE whose Request-URI has headers",
        "400, or the headers to be ignored", "Uri", Answer(400), Malformed, "";
    "4475" "3.1.2.12" "baddate" "INVITE with a Date that is not in GMT",
        "to be refused only by who needs the Date", READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "4475" "3.1.2.13" "regbadct" "REGISTER whose Contact needs angle brackets and has none",
        MALFORMED, "Value(Contact)", Answer(400), Malformed, "";
    "4475" "3.1.2.14" "badaspec" "OPTIONS with spaces inside the angle brackets of To",
        "400, or to be read without them", "Value(To)", Answer(400), Malformed, "";
    "4475" "3.1.2.15" "baddn" "OPTIONS whose names hold commas and are not quoted",
        "400, or to be read as if they were quoted", "Value(From)", Answer(400), Malformed, "";
    "4475" "3.1.2.16" "badvers" "OPTIONS of SIP/7.0",
        "to be refused with 505", "Version", Answer(505), Malformed, "";
    "4475" "3.1.2.17" "mismatch01" "OPTIONS whose CSeq says INVITE",
        MALFORMED, "MethodMismatch", Answer(400), Malformed, "";
    "4475" "3.1.2.18" "mismatch02" "an unknown method whose CSeq says INVITE",
        "400 or 501", "MethodMismatch", Answer(400), Malformed, "";
    "4475" "3.1.2.19" "bigcode" "a response whose status does not fit into 32 bits",
        "to be dropped", "StartLine", Silence, Malformed, "";
    "4475" "3.2.1" "badbranch" "OPTIONS whose branch is the magic cookie and nothing else",
        "to be taken as one without a branch, or for unique; not to be refused", READ, Answer(200), OutOfDialog, "";
    "4475" "3.3.1" "insuf" "INVITE without From, To, Call-ID and Max-Forwards",
        "400 with as much of what a response repeats as is there", "Missing(From)", Answer(400), Malformed, "";
    "4475" "3.3.2" "unkscm" "OPTIONS for a URI of an unknown scheme",
        "to be refused with 416", READ, Answer(416), OutOfDialog, "";
    "4475" "3.3.3" "novelsc" "OPTIONS for a URI of a known scheme that is not of SIP",
        "to be refused with 416", READ, Answer(416), OutOfDialog, "";
    "4475" "3.3.4" "unksm2" "REGISTER with unknown schemes in To, From and Contact",
        "of a registrar, 400 or 404 for the To; of all others, nothing", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "4475" "3.3.5" "bext01" "OPTIONS that requires extensions that nobody has",
        "420, and Unsupported names those of Require; Proxy-Require is for proxies", READ, Answer(420), OutOfDialog, "";
    "4475" "3.3.6" "invut" "INVITE with a body of an unknown type",
        "415, and Accept names what is known", READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "4475" "3.3.7" "regaut01" "REGISTER with an unknown kind of Authorization",
        "well-formed; what is unknown is as if it were not there", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "4475" "3.3.8" "multi01" "INVITE with headers twice that may be there once",
        MALFORMED, "Doubled(CSeq)", Answer(400), Malformed, "";
    "4475" "3.3.9" "mcl01" "OPTIONS with two Content-Lengths that differ",
        "400; a stream is to be closed", "Doubled(ContentLength)", Answer(400), Malformed, "";
    "4475" "3.3.10" "bcast" "200 whose second Via is the broadcast address",
        "to be dropped: its top Via is not ours, and nothing goes to the second", READ, Silence, UnknownTransaction, NOT_OURS;
    "4475" "3.3.11" "zeromf" "OPTIONS with Max-Forwards 0",
        "of a proxy, 483; of an endpoint, its usual answer", READ, Answer(200), OutOfDialog, "";
    "4475" "3.3.12" "cparam01" "REGISTER whose Contact has an unknown parameter of the header",
        "well-formed; the parameter is not of the URI", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "4475" "3.3.13" "cparam02" "REGISTER whose Contact has an unknown parameter of the URI",
        "well-formed; the parameter is of the URI", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "4475" "3.3.14" "regescrt" "REGISTER whose Contact has a Route in its URI",
        "well-formed; the Route is part of the URI", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "4475" "3.3.15" "sdp01" "INVITE with SDP whose Accept does not know SDP",
        "406", READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "4475" "3.4.1" "inv2543" "INVITE as RFC 2543 had it: no branch, no tag, no Max-Forwards, no Content-Length",
        WELL_FORMED, READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "5118" "4.1" "ipv6-good" "REGISTER with IPv6 addresses in brackets",
        WELL_FORMED, READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "5118" "4.2" "ipv6-bad" "REGISTER with a Request-URI that has no brackets",
        MALFORMED, "Port", Answer(400), Malformed, "";
    "5118" "4.3" "port-ambiguous" "REGISTER with what could be a port inside the brackets",
        "it is part of the address", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "5118" "4.4" "port-unambiguous" "REGISTER with a port after the brackets",
        "it is a port", READ, Answer(405), OutOfDialog, NO_REGISTRAR;
    "5118" "4.5" "via-received-param-with-delim" "BYE with `received` in brackets",
        "to be read, though the grammar has no brackets there", READ, Answer(481), UnknownDialog, NO_SUCH_DIALOG;
    "5118" "4.5" "via-received-param-no-delim" "OPTIONS with `received` without brackets",
        "to be read", READ, Answer(200), OutOfDialog, "";
    "5118" "4.6" "ipv6-in-sdp" "INVITE with IPv6 addresses in its SDP, without brackets",
        WELL_FORMED, READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "5118" "4.7" "mult-ip-in-header" "BYE with Vias of IPv4 and IPv6",
        WELL_FORMED, READ, Answer(481), UnknownDialog, NO_SUCH_DIALOG;
    "5118" "4.8" "mult-ip-in-sdp" "INVITE with IPv4 and IPv6 in one SDP",
        WELL_FORMED, READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "5118" "4.9" "ipv4-mapped-ipv6" "INVITE with IPv4 addresses mapped into IPv6",
        WELL_FORMED, READ, Answer(403), OutOfDialog, NOBODY_CALLS;
    "5118" "4.10" "ipv6-bug-abnf-3-colons" "OPTIONS with three colons before an IPv4 address",
        "to be borne with: the grammar of RFC 3261 allows it", READ, Answer(200), OutOfDialog, "";
    "5118" "4.10" "ipv6-correct-abnf-2-colons" "OPTIONS with two colons before an IPv4 address",
        WELL_FORMED, READ, Answer(200), OutOfDialog, "";
};
