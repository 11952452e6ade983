//! What a leg hears from us besides tones: the operator's words for a call that failed.

use std::io::Cursor;

use hound::{SampleFormat, WavReader, WavSpec};

use super::g711::{Law, SAMPLES_PER_SECOND};
use super::tones::FRAME;

/// A longer one is not heard to its end: the tone of a failed call is bounded by the configuration.
const MAX_SAMPLES: u32 = 60 * SAMPLES_PER_SECOND;

/// Mono, linear, at the rate of G.711.
#[derive(Debug)]
pub struct Recording(Box<[i16]>);

/// Why a file is no recording that can be played.
#[derive(Debug, thiserror::Error)]
pub enum NoRecording {
    #[error("not a WAV file: {0}")]
    Unreadable(#[from] hound::Error),
    #[error(
        "expected one channel of 16-bit integers at 8000 Hz, found {channels} of {bits} bits at {rate} Hz; \
         convert it with `sox IN.wav -r 8000 -c 1 -b 16 OUT.wav`"
    )]
    Format { channels: u16, bits: u16, rate: u32 },
    #[error("expected between one sample and 60 s, found {samples} samples")]
    Length { samples: u32 },
}

impl Recording {
    /// Reads a whole WAV file.
    pub fn read(file: &[u8]) -> Result<Self, NoRecording> {
        let wav = WavReader::new(Cursor::new(file))?;
        let WavSpec { channels, bits_per_sample: bits, sample_rate: rate, sample_format } = wav.spec();
        if (channels, bits, rate, sample_format) != (1, 16, SAMPLES_PER_SECOND, SampleFormat::Int) {
            return Err(NoRecording::Format { channels, bits, rate });
        }
        let samples = wav.len();
        if samples == 0 || samples > MAX_SAMPLES {
            return Err(NoRecording::Length { samples });
        }
        Ok(Self(wav.into_samples().collect::<Result<_, _>>()?))
    }

    /// Writes one frame that starts `position` samples after the beginning; silence after the end.
    pub(super) fn render(&self, law: Law, position: u32, frame: &mut [u8; FRAME]) {
        let rest = self.0.get(position as usize..).unwrap_or_default();
        let samples = rest.iter().copied().chain(std::iter::repeat(0));
        for (byte, sample) in frame.iter_mut().zip(samples) {
            *byte = law.encode(sample);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A telephone's file of one loudness.
    pub fn telephone(samples: usize, value: i16) -> Vec<u8> {
        wav(TELEPHONE, &vec![value; samples])
    }

    fn wav(spec: WavSpec, samples: &[i16]) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        writer.finalize().unwrap();
        file.into_inner()
    }

    const TELEPHONE: WavSpec =
        WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: SampleFormat::Int };

    #[test]
    fn it_is_played_once_and_then_there_is_silence() {
        let recording = Recording::read(&wav(TELEPHONE, &[8_000; 200])).unwrap();
        let (loud, silent) = (Law::Mu.encode(8_000), Law::Mu.encode(0));
        let mut frame = [0; FRAME];
        recording.render(Law::Mu, 0, &mut frame);
        assert_eq!(frame, [loud; FRAME]);
        recording.render(Law::Mu, 160, &mut frame);
        assert_eq!((frame[39], frame[40]), (loud, silent));
        recording.render(Law::Mu, u32::MAX - 200, &mut frame);
        assert_eq!(frame, [silent; FRAME]);
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_a_way_out() {
        let why = |file: &[u8]| Recording::read(file).unwrap_err().to_string();
        assert!(why(b"RIFX").starts_with("not a WAV file"), "{}", why(b"RIFX"));
        assert!(why(&wav(WavSpec { sample_rate: 44_100, ..TELEPHONE }, &[0; 4])).contains("sox"));
        assert!(why(&wav(WavSpec { channels: 2, ..TELEPHONE }, &[0; 4])).contains("found 2 of 16 bits"));
        assert!(why(&wav(TELEPHONE, &[])).contains("found 0 samples"));
        let mut cut = wav(TELEPHONE, &[0; 400]);
        cut.truncate(600);
        assert!(why(&cut).starts_with("not a WAV file"));
    }
}
