//! Where one of a few words may begin, found by looking at few of the bytes.
//!
//! The table of Wu and Manber: by the last two bytes of a window as long as the shortest word, how far the
//! window can move before any word fits into it. Two pairs may share a place in the table; that costs a
//! look, and never a find.

/// A longer window fills the table more than it lengthens the steps.
const MAX_WINDOW: usize = 16;

#[derive(Clone, Default)]
pub struct Skips {
    window: usize,
    steps: Box<[u8]>,
}

impl Skips {
    /// For words of two bytes and more, in any case.
    pub fn new<'a>(words: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let Some(shortest) = words.clone().map(<[u8]>::len).min() else { return Self::default() };
        let window = shortest.min(MAX_WINDOW);
        let mut steps: Box<[u8]> = vec![window as u8 - 1; 256].into();
        for word in words {
            for (from_start, pair) in word[..window].windows(2).enumerate() {
                let step = &mut steps[place(pair[0], pair[1])];
                *step = (*step).min((window - 2 - from_start) as u8);
            }
        }
        Self { window, steps }
    }

    /// Whether `is_word` holds of any place where a word may begin.
    pub fn any(&self, bytes: &[u8], mut is_word: impl FnMut(usize) -> bool) -> bool {
        if self.window == 0 {
            return false;
        }
        let mut last = self.window - 1;
        while last < bytes.len() {
            let step = usize::from(self.steps[place(bytes[last - 1], bytes[last])]);
            if step == 0 && is_word(last + 1 - self.window) {
                return true;
            }
            last += step.max(1);
        }
        false
    }
}

/// The same for both cases of a letter, which differ in a bit that is left out.
fn place(first: u8, second: u8) -> usize {
    usize::from((first & 0x1f) ^ (second << 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_wherever_it_begins() {
        let words: [&[u8]; 4] = [b"abcd", b"2001:db8::10", b"0a1b2c3d4e5f60718293a4b5c6d7e8f9", b"x@y.example"];
        for few in 1..=words.len() {
            let skips = Skips::new(words[..few].iter().copied());
            for word in &words[..few] {
                for before in 0..40 {
                    let mut bytes = b"a0b1:c2d3@".repeat(8)[..before].to_vec();
                    bytes.extend(word.to_ascii_uppercase());
                    assert!(skips.any(&bytes, |at| at == before), "{few} {word:?} {before}");
                }
            }
        }
        assert!(!Skips::default().any(b"anything", |_| true));
        assert!(!Skips::new([&b"abcd"[..]].into_iter()).any(b"abc", |_| true));
    }
}
