//! The tones that a leg hears from us: what telephones in its part of the world play.
//!
//! A tone is up to three sines and a cadence (ITU-T E.180 supplement 2), computed from one table of
//! one second of a 1 Hz sine, which all frequencies in whole Hz read with longer strides. A leg keeps
//! only its position in the tone.

use super::ToneRegion::{Australia, Europe, Japan, NorthAmerica, UnitedKingdom};
use super::g711::{Law, SAMPLES_PER_SECOND};
use super::{Source, ToneRegion};

/// Samples in one packet of 20 ms.
pub(super) const FRAME: usize = 160;

/// What sounds, and when.
#[derive(Debug, PartialEq)]
pub(super) struct Tone {
    /// Hz, of equal strength.
    frequencies: &'static [u16],
    /// Milliseconds of sound and of silence, in turn.
    cadence: &'static [u16],
    /// Played once, then it is over.
    once: bool,
}

impl Tone {
    const fn repeated(frequencies: &'static [u16], cadence: &'static [u16]) -> Self {
        Self { frequencies, cadence, once: false }
    }

    /// The tone of a source; `None` for those that are not ours to generate.
    pub fn of(source: Source) -> Option<&'static Tone> {
        match source {
            Source::Nothing | Source::Peer => None,
            Source::Ringback(region) => Some(ringback(region)),
            Source::Busy(region) => Some(busy(region)),
            Source::Reorder(region) => Some(reorder(region)),
            Source::Prompt => Some(&PROMPT),
            Source::Warning => Some(&WARNING),
            Source::Hold => Some(&HOLD),
        }
    }

    /// Whether a tone that is played once has been played at this position.
    pub fn over(&self, position: u32) -> bool {
        self.once && position >= self.period()
    }

    /// Writes one frame that starts `position` samples after the tone began.
    pub fn render(&self, law: Law, position: u32, frame: &mut [u8; FRAME]) {
        for (at, byte) in (position..).zip(frame) {
            *byte = law.encode(if self.sounds(at) { self.sample(at) } else { 0 });
        }
    }

    fn period(&self) -> u32 {
        self.cadence.iter().copied().map(samples).sum()
    }

    fn sounds(&self, position: u32) -> bool {
        let mut left = position % self.period();
        for (step, &length) in self.cadence.iter().enumerate() {
            let length = samples(length);
            if left < length {
                return step % 2 == 0;
            }
            left -= length;
        }
        false
    }

    fn sample(&self, position: u32) -> i16 {
        let phase = position % SAMPLES_PER_SECOND;
        let sum: i32 = self
            .frequencies
            .iter()
            .map(|&hz| i32::from(SINE[(phase * u32::from(hz) % SAMPLES_PER_SECOND) as usize]))
            .sum();
        (sum / self.frequencies.len() as i32) as i16
    }
}

const fn samples(milliseconds: u16) -> u32 {
    milliseconds as u32 * SAMPLES_PER_SECOND / 1_000
}

static PROMPT: Tone = Tone::repeated(&[1_000], &[200, 100, 200, 2_500]);
static WARNING: Tone = Tone { frequencies: &[1_400], cadence: &[200, 100, 200, 20], once: true };
static HOLD: Tone = Tone::repeated(&[425], &[200, 200, 200, 9_400]);

fn ringback(region: ToneRegion) -> &'static Tone {
    static NORTH_AMERICA: Tone = Tone::repeated(&[440, 480], &[2_000, 4_000]);
    static UNITED_KINGDOM: Tone = Tone::repeated(&[400, 450], &[400, 200, 400, 2_000]);
    static EUROPE: Tone = Tone::repeated(&[425], &[1_000, 4_000]);
    // 400 Hz modulated by 16 Hz.
    static JAPAN: Tone = Tone::repeated(&[384, 400, 416], &[1_000, 2_000]);
    static AUSTRALIA: Tone = Tone::repeated(&[400, 425, 450], &[400, 200, 400, 2_000]);
    match region {
        NorthAmerica => &NORTH_AMERICA,
        UnitedKingdom => &UNITED_KINGDOM,
        Europe => &EUROPE,
        Japan => &JAPAN,
        Australia => &AUSTRALIA,
    }
}

fn busy(region: ToneRegion) -> &'static Tone {
    static NORTH_AMERICA: Tone = Tone::repeated(&[480, 620], &[500, 500]);
    static UNITED_KINGDOM: Tone = Tone::repeated(&[400], &[375, 375]);
    static EUROPE: Tone = Tone::repeated(&[425], &[500, 500]);
    static JAPAN: Tone = Tone::repeated(&[400], &[500, 500]);
    static AUSTRALIA: Tone = Tone::repeated(&[425], &[375, 375]);
    match region {
        NorthAmerica => &NORTH_AMERICA,
        UnitedKingdom => &UNITED_KINGDOM,
        Europe => &EUROPE,
        Japan => &JAPAN,
        Australia => &AUSTRALIA,
    }
}

fn reorder(region: ToneRegion) -> &'static Tone {
    static NORTH_AMERICA: Tone = Tone::repeated(&[480, 620], &[250, 250]);
    static UNITED_KINGDOM: Tone = Tone::repeated(&[400], &[400, 350, 225, 525]);
    static EUROPE: Tone = Tone::repeated(&[425], &[250, 250]);
    static AUSTRALIA: Tone = Tone::repeated(&[425], &[375, 375]);
    match region {
        NorthAmerica => &NORTH_AMERICA,
        UnitedKingdom => &UNITED_KINGDOM,
        Europe => &EUROPE,
        // Japan knows one tone for both.
        Japan => busy(Japan),
        Australia => &AUSTRALIA,
    }
}

/// −10 dBm0 at the peak of a single sine, the level that E.180 asks of tones.
const AMPLITUDE: f64 = 7_000.0;

/// One second of a sine of 1 Hz.
static SINE: [i16; SAMPLES_PER_SECOND as usize] = {
    let mut table = [0; SAMPLES_PER_SECOND as usize];
    // A rotation by one sample's angle, repeated: no library function may run at compile time.
    let angle = core::f64::consts::TAU / SAMPLES_PER_SECOND as f64;
    let (sine, cosine) = (angle - angle * angle * angle / 6.0, 1.0 - angle * angle / 2.0);
    let (mut x, mut y) = (1.0, 0.0);
    let mut i = 0;
    while i < table.len() {
        table[i] = (y * AMPLITUDE) as i16;
        let next = (x * cosine - y * sine, x * sine + y * cosine);
        // Newton's step back onto the unit circle, so that rounding does not add up.
        let scale = 1.5 - 0.5 * (next.0 * next.0 + next.1 * next.1);
        (x, y) = (next.0 * scale, next.1 * scale);
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const REGIONS: [ToneRegion; 5] = [NorthAmerica, UnitedKingdom, Europe, Japan, Australia];

    #[test]
    fn the_table_is_one_period_of_a_sine() {
        for (i, &value) in SINE.iter().enumerate() {
            let exact = (i as f64 * std::f64::consts::TAU / 8_000.0).sin() * AMPLITUDE;
            assert!((f64::from(value) - exact).abs() < 2.0, "at {i}: {value} for {exact}");
        }
    }

    #[test]
    fn north_american_ringback_sounds_two_seconds_of_six() {
        let tone = Tone::of(Source::Ringback(NorthAmerica)).unwrap();
        assert_eq!((tone.sounds(0), tone.sounds(15_999), tone.sounds(16_000)), (true, true, false));
        assert_eq!((tone.sounds(47_999), tone.sounds(48_000)), (false, true));
    }

    #[test]
    fn every_tone_has_sound_and_silence_and_never_clips() {
        let sources = REGIONS.into_iter().flat_map(|r| [Source::Ringback(r), Source::Busy(r), Source::Reorder(r)]);
        for source in sources.chain([Source::Prompt, Source::Warning, Source::Hold]) {
            let tone = Tone::of(source).unwrap();
            assert_eq!(tone.cadence.len() % 2, 0, "{source:?}");
            let loudest = (0..tone.period()).map(|at| tone.sample(at).unsigned_abs()).max().unwrap();
            assert!((3_500..=7_000).contains(&loudest), "{source:?}: {loudest}");
        }
    }

    #[test]
    fn the_warning_is_heard_once() {
        let tone = Tone::of(Source::Warning).unwrap();
        assert!(!tone.over(tone.period() - 1) && tone.over(tone.period()));
        assert!(!Tone::of(Source::Hold).unwrap().over(u32::MAX));
    }
}
