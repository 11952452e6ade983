//! Sine tones: to be played, and to be found in what was heard.

use std::f64::consts::TAU;

pub const RATE: f64 = 8000.0;

/// Samples of a sine at a quarter of full scale.
pub fn sine(hertz: f64, seconds: f64) -> Vec<i16> {
    (0..(seconds * RATE) as usize).map(|i| (8000.0 * (TAU * hertz * i as f64 / RATE).sin()) as i16).collect()
}

/// G.711 µ-law of one sample.
pub fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs().min(32635) + 0x84) as u32;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | ((exponent as u8) << 4) | mantissa as u8)
}

/// A sample of G.711 µ-law.
pub fn from_mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i16::from(byte & 0x0f) << 3) + 0x84) << ((byte >> 4) & 7);
    if byte & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

/// A sample of G.711 A-law.
pub fn from_a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (mantissa, exponent) = (i16::from(byte & 0x0f) << 4, (byte >> 4) & 7);
    let magnitude = if exponent == 0 { mantissa + 8 } else { (mantissa + 0x108) << (exponent - 1) };
    if byte & 0x80 != 0 { magnitude } else { -magnitude }
}

/// Is most of this the tone, and loud enough to be heard?
pub fn is_loud(samples: &[i16], hertz: f64) -> bool {
    samples.iter().any(|sample| sample.unsigned_abs() > 500) && share(samples, hertz) > 0.5
}

/// Which share of the signal's power is at this frequency, 0–1 (Goertzel's filter).
pub fn share(samples: &[i16], hertz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hertz / RATE).cos();
    let (mut before, mut last, mut power) = (0.0, 0.0, 0.0);
    for sample in samples.iter().map(|s| f64::from(*s)) {
        (before, last) = (last, sample + coefficient * last - before);
        power += sample * sample;
    }
    if power == 0.0 {
        return 0.0;
    }
    let tone = last * last + before * before - coefficient * last * before;
    2.0 * tone / (power * samples.len() as f64)
}

/// A mono 16-bit WAV file.
pub fn wav(samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(8000u32.to_le_bytes());
    file.extend(16000u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}
