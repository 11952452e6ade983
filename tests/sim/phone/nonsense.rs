//! What a broken or hostile phone says beside the truth.

use super::Home;
use crate::rng::Rng;

/// Answers that belong to nothing, made from a true one: a correct server lets the true one decide.
pub fn about(truth: &str, permille: u64, home: &Home, rng: &mut Rng) -> Option<Vec<u8>> {
    if !rng.chance(permille) {
        return None;
    }
    let lie = match rng.below(6) {
        0 => truth.replace("branch=z9hG4bK", "branch=z9hG4bKwrong"),
        1 => truth.replace("Call-ID: ", "Call-ID: wrong"),
        2 => truth.replace(" INVITE\r\n", " BYE\r\n"),
        3 => truth.replacen(";tag=", ";tag=wrong", 1),
        4 => truth.replace("CSeq: ", "CSeq: 9"),
        _ => return Some(garbage(home, rng)),
    };
    Some(lie.replacen("SIP/2.0 1", "SIP/2.0 4", 1).into_bytes())
}

/// Bytes that are no message.
pub fn garbage(home: &Home, rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => (0..rng.below(200)).map(|_| rng.next() as u8).collect(),
        1 => format!("INVITE sip:{} SIP/2.0\r\nVia: \u{0}\r\nContent-Length: -1\r\n\r\n", home.mark).into_bytes(),
        2 => b"SIP/2.0 999999999999 Eh\r\nCSeq: 99999999999999999999 INVITE\r\n\r\n".to_vec(),
        _ => b"\r\n\r\n".to_vec(),
    }
}

/// What a stranger makes of a phone's message that it overheard, to send it from its own address: an
/// end that the phone does not want. The call must not hear of it.
pub fn forgery(overheard: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(overheard).ok()?;
    let start = text.split("\r\n").next()?;
    if let Some(("SIP/2.0", status)) = start.split_once(' ') {
        return status.starts_with('1').then(|| text.replacen(start, "SIP/2.0 603 Decline", 1).into_bytes());
    }
    let (method, _) = start.split_once(' ')?;
    let cseq = text.split("CSeq: ").nth(1)?.split("\r\n").next()?;
    let forged = text.replacen(method, "BYE", 1).replacen(cseq, "5000 BYE", 1).replacen(
        "branch=z9hG4bK",
        "branch=z9hG4bKforged",
        1,
    );
    (method != "BYE" && method != "ACK").then(|| forged.into_bytes())
}
