//! The header lines of a message: which each one is, and where.

use memchr::memmem;
use smallvec::SmallVec;

use super::lex::{Cursor, TOKEN, trim};
use super::{Fault, HeaderName, limits};

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: HeaderName,
    /// Trimmed; may hold folds. [`super::unfold`] takes them out.
    pub value: &'a str,
}

/// All lines in their order. What is kept of each is small, since most are never asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Headers<'a> {
    text: &'a str,
    lines: SmallVec<[Line; 32]>,
}

/// A name, and which bytes are the value, with the white space after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub name: HeaderName,
    start: u16,
    end: u16,
}

const _: () = assert!(limits::HEAD_BYTES + 4 <= u16::MAX as usize);

impl<'a> Headers<'a> {
    /// Of a message that begins with `text`, of which no more than a head can hold.
    pub fn of(text: &'a str) -> Self {
        Self { text, lines: SmallVec::new() }
    }

    /// Finds and names the lines from `at` on, and returns where the empty one ends that is the last.
    /// Linear: a byte is looked at once for the end of its line, and once more if it is of a name.
    pub fn scan(&mut self, mut at: usize) -> Result<usize, Fault> {
        while !self.text.as_bytes()[at..].starts_with(b"\r\n") {
            if self.lines.len() == limits::HEADERS {
                return Err(Fault::TooManyHeaders);
            }
            let (line, next) = read_line(self.text, at)?;
            self.lines.push(line);
            at = next;
        }
        Ok(at + 2)
    }

    /// Likewise of what is faulty: the lines that can be read, whatever stands between them. Linear too: what comes
    /// after a fault in a folded line begins with white space, and so is no line.
    pub fn salvage(&mut self, mut at: usize) {
        while self.lines.len() < limits::HEADERS && !self.text.as_bytes()[at..].starts_with(b"\r\n") {
            if let Ok((line, next)) = read_line(self.text, at) {
                self.lines.push(line);
                at = next;
            } else {
                let Some(end) = memmem::find(&self.text.as_bytes()[at..], b"\r\n") else { return };
                at += end + 2;
            }
        }
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> {
        self.lines.iter().map(|line| Header { name: line.name, value: self.value(line) })
    }

    /// The value of each line of that name.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter(move |line| line.name == name).map(|line| self.value(line))
    }

    pub fn value(&self, line: &Line) -> &'a str {
        trim(&self.text[usize::from(line.start)..usize::from(line.end)])
    }
}

/// The line that begins at `at`, and where the next one does.
fn read_line(text: &str, at: usize) -> Result<(Line, usize), Fault> {
    let mut cursor = Cursor(&text[at..]);
    let name = cursor.run(TOKEN);
    // White space before the colon is allowed (RFC 3261 §7.3.1), but no fold.
    cursor.blanks();
    if name.is_empty() || !cursor.eat(b':') {
        return Err(Fault::HeaderLine);
    }
    cursor.blanks();
    let start = text.len() - cursor.0.len();
    let end = line_end(text.as_bytes(), start)?;
    Ok((Line { name: HeaderName::parse(name), start: start as u16, end: end as u16 }, end + 2))
}

/// Where the header line ends that goes on at `from`: the first CRLF that no white space follows.
fn line_end(text: &[u8], mut from: usize) -> Result<usize, Fault> {
    loop {
        let at = crlf(text, from)?;
        match text.get(at + 2) {
            Some(b' ' | b'\t') => from = at + 3,
            Some(_) | None => return Ok(at),
        }
    }
}

/// The next CRLF. What else some reader might take for the end of a line is an error.
pub(super) fn crlf(text: &[u8], mut from: usize) -> Result<usize, Fault> {
    loop {
        let at = from + find_control(&text[from..]).ok_or(Fault::Incomplete)?;
        match text[at] {
            b'\r' if text.get(at + 1) == Some(&b'\n') => return Ok(at),
            b'\r' | b'\n' | 0 => return Err(Fault::Text),
            _ => from = at + 1,
        }
    }
}

/// The first byte up to CR, eight at a time: lines are too short for a search that has to be set up.
fn find_control(bytes: &[u8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = bytes.as_chunks();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is less, and above the first such one perhaps of others.
        let less = word.wrapping_sub(EACH * u64::from(b'\r' + 1)) & !word & (EACH << 7);
        if less != 0 {
            return Some(i * 8 + less.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|b| *b <= b'\r').map(|i| words.len() * 8 + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_control_character_wherever_it_stands() {
        for at in 0..40 {
            for found in [0, b'\t', b'\n', b'\r'] {
                let mut bytes = [b'\x0e', b'~', b'\x80', b'\xff', b' '].repeat(8);
                assert_eq!(find_control(&bytes), None);
                bytes[at] = found;
                bytes[39] = b'\r';
                assert_eq!(find_control(&bytes), Some(at));
            }
        }
    }

    #[test]
    fn values_are_trimmed_and_stay_folded() {
        let text = "A: b \r\nVia\t : x\r\n y \t\r\nTo:\r\nf: \r\n \r\n\r\nbody";
        let mut headers = Headers::of(text);
        assert_eq!(headers.scan(0), Ok(text.len() - 4));
        let values: Vec<_> = headers.iter().map(|h| (h.name, h.value)).collect();
        use HeaderName::{From, Other, To, Via};
        assert_eq!(values, [(Other, "b"), (Via, "x\r\n y"), (To, ""), (From, "")]);
    }

    #[test]
    fn a_faulty_line_hides_no_other() {
        let text =
            "Via: x\r\nno colon\r\nTo: a\r\n b\0\r\n c\r\nFrom: y\r\nCSeq: \n1\r\nCall-ID: z\r\n\r\nTo: body\r\n\r\n";
        let mut headers = Headers::of(text);
        headers.salvage(0);
        let values: Vec<_> = headers.iter().map(|h| (h.name, h.value)).collect();
        use HeaderName::{CallId, From, Via};
        assert_eq!(values, [(Via, "x"), (From, "y"), (CallId, "z")]);
        for end in 0..text.len() {
            Headers::of(&text[..end]).salvage(0);
        }
    }
}
