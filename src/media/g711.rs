//! G.711: both laws, and from one to the other by table.

use crate::sdp::Codec;

/// Samples per second, and RTP timestamp units (RFC 3551 §4.5.14).
pub(super) const SAMPLES_PER_SECOND: u32 = 8_000;

/// One of the two laws; what [`Codec`] says of a G.711 stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Law {
    Mu,
    A,
}

impl Law {
    pub fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            Codec::TelephoneEvent | Codec::Other => None,
        }
    }

    pub fn codec(self) -> Codec {
        match self {
            Law::Mu => Codec::Pcmu,
            Law::A => Codec::Pcma,
        }
    }

    pub fn other(self) -> Self {
        match self {
            Law::Mu => Law::A,
            Law::A => Law::Mu,
        }
    }

    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => to_mu(sample),
            Law::A => to_a(sample),
        }
    }

    /// Rewrites a payload of this law into one of the other.
    pub fn transpose(self, payload: &mut [u8]) {
        let table = match self {
            Law::Mu => &MU_TO_A,
            Law::A => &A_TO_MU,
        };
        for byte in payload {
            *byte = table[usize::from(*byte)];
        }
    }
}

static MU_TO_A: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = to_a(from_mu(i as u8));
        i += 1;
    }
    table
};

static A_TO_MU: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = to_mu(from_a(i as u8));
        i += 1;
    }
    table
};

/// What µ-law adds to a magnitude so that every segment starts at a power of two.
const BIAS: i32 = 0x84;
const MU_MAX: i32 = 32_635;

const fn to_mu(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80, -(sample as i32)) } else { (0, sample as i32) };
    let biased = if magnitude > MU_MAX { MU_MAX } else { magnitude } + BIAS;
    let segment = 24 - biased.leading_zeros() as i32;
    let step = (biased >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) | step) as u8
}

const fn from_mu(code: u8) -> i16 {
    let code = !code;
    let magnitude = ((((code & 0x0f) as i32) << 3) + BIAS) << ((code >> 4) & 7);
    let magnitude = (magnitude - BIAS) as i16;
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

const fn to_a(sample: i16) -> u8 {
    // In A-law the set sign bit is positive, and every other bit is inverted on the line.
    let (sign, magnitude) = if sample < 0 { (0, !(sample as i32)) } else { (0x80, sample as i32) };
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros() as i32;
        (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f)
    };
    ((sign | code) ^ 0x55) as u8
}

const fn from_a(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = ((code >> 4) & 7, ((code & 0x0f) as i32) << 4);
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 == 0 { -magnitude as i16 } else { magnitude as i16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes() {
        assert_eq!((Law::Mu.encode(0), Law::A.encode(0)), (0xff, 0xd5));
        assert_eq!((Law::Mu.encode(i16::MAX), Law::A.encode(i16::MAX)), (0x80, 0xaa));
        assert_eq!((Law::Mu.encode(i16::MIN), Law::A.encode(i16::MIN)), (0x00, 0x2a));
    }

    #[test]
    fn every_code_survives_its_own_law() {
        for code in 0..=255 {
            // µ-law has two zeros; both decode to 0.
            assert!(to_mu(from_mu(code)) == code || code == 0x7f);
            assert_eq!(to_a(from_a(code)), code);
        }
    }

    #[test]
    fn transposing_keeps_the_sound() {
        for code in 0..=255u8 {
            let mut payload = [code];
            Law::Mu.transpose(&mut payload);
            let (before, after) = (i32::from(from_mu(code)), i32::from(from_a(payload[0])));
            // Half a step of the coarser law, which is a 32nd of the value in each segment.
            assert!((before - after).abs() <= 8 + before.abs() / 16, "{before} became {after}");
        }
    }
}
