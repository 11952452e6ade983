//! What a phone heard: loss by sequence numbers, codec by payload type, tone by the energy at each
//! frequency.

use std::f64::consts::TAU;
use std::ops::RangeInclusive;

use super::capture::Packet;

const RATE_HZ: f64 = 8_000.0;
/// Frequencies that are looked for: those of the two phones and of the server's ringing tones.
const CANDIDATES_HZ: [f64; 6] = [350.0, 400.0, 425.0, 480.0, 440.0, 880.0];
/// A packet counts as a tone's when that tone holds this share of its energy.
const SHARE: f64 = 0.6;
/// Packets of the other's tone that a phone must have heard: half a second.
const ENOUGH: usize = 25;

/// All RTP that reached one phone.
#[derive(Debug, Default)]
pub struct Heard {
    pub packets: usize,
    pub lost: usize,
    payload_type: Option<u8>,
    /// The tone of each packet that was clearly one.
    tones: Vec<f64>,
}

impl Heard {
    pub fn loss_percent(&self) -> f64 {
        let sent = self.packets + self.lost;
        if sent == 0 { 0.0 } else { self.lost as f64 * 100.0 / sent as f64 }
    }

    pub fn codec(&self) -> &'static str {
        match self.payload_type {
            Some(0) => "PCMU",
            Some(8) => "PCMA",
            Some(_) => "another codec",
            None => "no codec",
        }
    }

    pub fn main_hz(&self) -> f64 {
        let count = |hz: f64| self.tones.iter().filter(|t| **t == hz).count();
        CANDIDATES_HZ.into_iter().max_by_key(|hz| count(*hz)).filter(|hz| count(*hz) > 0).unwrap_or(0.0)
    }

    /// Heard this tone for long enough, whatever else there was (ringing, for the user).
    pub fn is_tone(&self, hz: f64) -> bool {
        self.tones.iter().filter(|t| **t == hz).count() >= ENOUGH
    }

    pub fn is_only_tone(&self, hz: f64) -> bool {
        self.is_tone(hz) && self.tones.iter().all(|t| *t == hz)
    }
}

/// What reached a phone that listens on one of `ports`.
pub fn by(packets: &[Packet], ports: RangeInclusive<u16>) -> Heard {
    let mut heard = Heard::default();
    let mut last = None;
    // From the server's ports to the phone's: SIPp takes even ports for RTP and odd ones for RTCP.
    let rtp = packets.iter().filter(|p| p.source >= 20_000 && ports.contains(&p.destination) && p.destination % 2 == 0);
    for payload in rtp.map(|p| p.payload.as_slice()).filter(|p| p.len() > 12 && p[0] >> 6 == 2) {
        heard.packets += 1;
        heard.payload_type.get_or_insert(payload[1] & 0x7f);
        let sequence = u16::from_be_bytes([payload[2], payload[3]]);
        if let Some(gap) = last.map(|before: u16| sequence.wrapping_sub(before)).filter(|gap| *gap < 0x8000) {
            heard.lost += usize::from(gap.saturating_sub(1));
        }
        last = Some(sequence);
        heard.tones.extend(tone(&payload[12..], payload[1] & 0x7f));
    }
    heard
}

/// The candidate that holds most of the packet's energy.
fn tone(payload: &[u8], payload_type: u8) -> Option<f64> {
    let samples: Vec<f64> = payload.iter().map(|b| if payload_type == 8 { alaw(*b) } else { ulaw(*b) }).collect();
    let energy: f64 = samples.iter().map(|s| s * s).sum();
    // A pure tone of n samples with energy e has the power e·n/2 at its frequency.
    let share = |hz: f64| goertzel(&samples, hz) / (energy * samples.len() as f64 / 2.0);
    let best = CANDIDATES_HZ.into_iter().max_by(|a, b| share(*a).total_cmp(&share(*b)))?;
    (energy > 1e5 && share(best) > SHARE).then_some(best)
}

/// The power of `samples` at `hz` (Goertzel).
fn goertzel(samples: &[f64], hz: f64) -> f64 {
    let turn = 2.0 * (TAU * hz / RATE_HZ).cos();
    let (one, two) = samples.iter().fold((0.0, 0.0), |(one, two), sample| (sample + turn * one - two, one));
    one * one + two * two - turn * one * two
}

/// G.711 μ-law to linear.
fn ulaw(byte: u8) -> f64 {
    let byte = !byte;
    let magnitude = (((i32::from(byte & 0x0f) << 3) + 0x84) << (byte >> 4 & 7)) - 0x84;
    f64::from(if byte & 0x80 == 0 { magnitude } else { -magnitude })
}

/// G.711 A-law to linear.
fn alaw(byte: u8) -> f64 {
    let byte = byte ^ 0x55;
    let mantissa = i32::from(byte & 0x0f) << 4;
    let magnitude = match byte >> 4 & 7 {
        0 => mantissa + 8,
        segment => (mantissa + 0x108) << (segment - 1),
    };
    f64::from(if byte & 0x80 == 0 { -magnitude } else { magnitude })
}

/// One second of a tone in μ-law, which repeats without a click.
pub fn tone_ulaw(hz: f64) -> Vec<u8> {
    (0..8_000).map(|n| encode_ulaw((9_000.0 * (TAU * hz * f64::from(n) / RATE_HZ).sin()) as i32)).collect()
}

fn encode_ulaw(sample: i32) -> u8 {
    let magnitude = sample.abs().min(32_635) + 0x84;
    let segment = (magnitude >> 7).ilog2() as u8;
    let mantissa = (magnitude >> (segment + 3)) as u8 & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | segment << 4 | mantissa)
}
