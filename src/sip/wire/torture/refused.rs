//! The messages of RFC 4475 that are refused: for what, and whether their sender can be told.

use super::*;

/// Refused for that, and its sender is told with that status.
fn is_told(bytes: &[u8], status: u16, fault: Fault) {
    assert_eq!((super::fault(bytes), fault.status().0), ((fault, true), status));
}

/// Refused for that in silence.
fn is_dropped(bytes: &[u8], fault: Fault) {
    assert_eq!(super::fault(bytes), (fault, false));
}

/// RFC 4475 has this one for valid. All of it is read but for the NUL.
#[test]
fn intmeth() {
    let bytes = message!("intmeth");
    is_told(bytes, 400, Fault::Text);
    let answerable = Message::parse(bytes).unwrap_err().answerable.unwrap();
    let echo: Vec<_> = answerable.echo().map(|(name, _)| name).collect();
    assert_eq!(echo, [HeaderName::Via, HeaderName::From, HeaderName::CallId, HeaderName::CSeq], "all but the To");
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let text = str::from_utf8(bytes).unwrap().replace('\0', "0");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!((message.method(), message.cseq.method_text), (Some(Method::Other), method));
    assert_eq!(message.cseq.number, 139_122_385);
    assert_eq!(message.max_forwards, Some(255));
    assert_eq!(message.to.display, Some("BEL:\\\u{7} NUL:\\0 DEL:\\\u{7f}"));
    assert_eq!(message.to.uri.user, Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(message.from.display, Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(message.from.tag(), Some("_token~1'+`*%!-."));
    let russian = "\"\u{440}\u{430}\u{431}\u{43e}\u{442}\u{430}\u{44e}\u{449}\u{438}\u{439}\"";
    assert_eq!(message.from.params.get("fromParam''~+*_!.-%"), Some(russian));
    assert_eq!(message.via.branch, Some("z9hG4bK-.!%66*_+`'~"));
    assert_eq!(message.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    let unknown = message.all_headers().find(|h| h.name == HeaderName::Other).unwrap();
    assert_eq!(unknown.value, "\u{feff}\u{5927}\u{505c}\u{96fb}");
}

/// Its only Via is broken, so there is nothing by which its sender could match an answer.
#[test]
fn badinv01() {
    is_dropped(message!("badinv01"), Fault::Parameter);
}

#[test]
fn clerr() {
    is_told(message!("clerr"), 400, Fault::ShortBody);
}

#[test]
fn ncl() {
    is_told(message!("ncl"), 400, Fault::Value(HeaderName::ContentLength));
}

#[test]
fn scalar02() {
    let bytes = message!("scalar02");
    is_told(bytes, 400, Fault::Value(HeaderName::CSeq));
    // Max-Forwards next; what remains is no number of ours, and is none when it is asked for.
    let text = str::from_utf8(bytes).unwrap().replace("36893488147419103232 REGISTER", "1 REGISTER");
    is_told(text.as_bytes(), 400, Fault::Value(HeaderName::MaxForwards));
    let text = text.replace("Max-Forwards: 300", "Max-Forwards: 70");
    assert_eq!(Message::parse(text.as_bytes()).unwrap().number(HeaderName::Expires), None);
}

#[test]
fn scalarlg() {
    let bytes = message!("scalarlg");
    is_dropped(bytes, Fault::Value(HeaderName::CSeq));
    let text = str::from_utf8(bytes).unwrap().replace("9292394834772304023312 OPTIONS", "1 OPTIONS");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!((message.status(), message.number(HeaderName::RetryAfter)), (Some(503), None));
}

#[test]
fn quotbal() {
    is_told(message!("quotbal"), 400, Fault::Value(HeaderName::To));
}

#[test]
fn ltgtruri() {
    is_told(message!("ltgtruri"), 400, Fault::Uri);
}

#[test]
fn lwsruri() {
    is_told(message!("lwsruri"), 400, Fault::StartLine);
}

#[test]
fn lwsstart() {
    is_told(message!("lwsstart"), 400, Fault::StartLine);
}

#[test]
fn trws() {
    is_told(message!("trws"), 400, Fault::StartLine);
}

#[test]
fn escruri() {
    is_told(message!("escruri"), 400, Fault::Uri);
}

#[test]
fn regbadct() {
    is_told(message!("regbadct"), 400, Fault::Value(HeaderName::Contact));
}

#[test]
fn badaspec() {
    is_told(message!("badaspec"), 400, Fault::Value(HeaderName::To));
}

#[test]
fn baddn() {
    let bytes = message!("baddn");
    is_told(bytes, 400, Fault::Value(HeaderName::From));
    let text = str::from_utf8(bytes).unwrap().replace("Bell, Alexander", "Alexander Bell");
    is_told(text.as_bytes(), 400, Fault::Value(HeaderName::To));
}

/// Its Via is of the strange version too, and still says where the answer goes.
#[test]
fn badvers() {
    let bytes = message!("badvers");
    is_told(bytes, 505, Fault::Version);
    let error = Message::parse(bytes).unwrap_err().answerable.unwrap();
    assert_eq!((error.via.transport, error.via.branch), ("UDP", Some("z9hG4bKkdjuw")));
    assert_eq!(error.echo().count(), 5);
}

#[test]
fn mismatch01() {
    is_told(message!("mismatch01"), 400, Fault::MethodMismatch);
}

#[test]
fn mismatch02() {
    is_told(message!("mismatch02"), 400, Fault::MethodMismatch);
}

#[test]
fn bigcode() {
    is_dropped(message!("bigcode"), Fault::StartLine);
}

#[test]
fn insuf() {
    let bytes = message!("insuf");
    is_told(bytes, 400, Fault::Missing(HeaderName::From));
    let answerable = Message::parse(bytes).unwrap_err().answerable.unwrap();
    assert_eq!(answerable.via.branch, Some("z9hG4bKkdj.insuf"));
    assert_eq!(answerable.echo().map(|(name, _)| name).collect::<Vec<_>>(), [HeaderName::CSeq, HeaderName::Via]);
}

#[test]
fn multi01() {
    let bytes = message!("multi01");
    is_told(bytes, 400, Fault::Doubled(HeaderName::CSeq));
    let answerable = Message::parse(bytes).unwrap_err().answerable.unwrap();
    let echo: Vec<_> = answerable.echo().map(|(_, value)| value).collect();
    assert_eq!(
        echo,
        [
            "SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw",
            "5 INVITE",
            "multi01.98asdh@192.0.2.1",
            "sip:caller@example.com;tag=3413415",
            "sip:user@example.com"
        ],
        "the first of each"
    );
}

#[test]
fn mcl01() {
    let bytes = message!("mcl01");
    is_told(bytes, 400, Fault::Doubled(HeaderName::ContentLength));
    // Nobody knows where the next one on a stream begins.
    let mut framer = Framer::default();
    framer.push(bytes);
    assert!(framer.next_frame().is_err());
}
