//! H.264 with pictures coded as frames and as pairs of fields (PAFF, ITU-T H.264 7.3.3
//! `field_pic_flag`), which no available encoder writes: macroblocks of raw samples
//! (`I_PCM`) and skipped ones, 64×64, 25 frames per second.

use scenetap_testkit::Mux;

use super::ts::{VIDEO_PID, tables};

const WIDTH: u32 = 4;
const HEIGHT: u32 = 4;
const GOP: u32 = 12;

/// Coding of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Frame,
    /// Two fields; the second repeats the first.
    FieldsRepeated,
    /// Two fields with different samples.
    Fields,
}

/// Returns a stream of `pictures` pictures that become brighter and darker.
pub fn stream(pictures: u32, coding: impl Fn(u32) -> Coding) -> Vec<u8> {
    let mut mux = Mux::default();
    for n in 0..pictures {
        if n % 10 == 0 {
            tables(&mut mux, 0x1b, &[]);
        }
        let mut unit = nal(0, 9, &[0xf0]);
        if n % GOP == 0 {
            unit.extend([nal(3, 7, &sequence()), nal(3, 8, &parameters())].concat());
        }
        match coding(n) {
            Coding::Frame => unit.extend(slice(n, None, false)),
            Coding::FieldsRepeated => {
                unit.extend(slice(n, Some(false), false));
                unit.extend(slice(n, Some(true), true));
            }
            Coding::Fields => {
                unit.extend(slice(n, Some(false), false));
                unit.extend(slice(n, Some(true), false));
            }
        }
        mux.pes(VIDEO_PID, 0xe0, u64::from(126_000 + n * 3_600), &unit);
    }
    mux.bytes
}

/// Returns an SPS: Main profile, `frame_mbs_only_flag` 0, 50 fields per second.
fn sequence() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.fixed(8, 77).fixed(8, 0).fixed(8, 30).golomb(0);
    bits.golomb(0).golomb(0).golomb(4).golomb(2).fixed(1, 0);
    bits.golomb(WIDTH - 1).golomb(HEIGHT / 2 - 1);
    bits.fixed(1, 0).fixed(1, 0).fixed(1, 1).fixed(1, 0);
    // VUI with timing information only.
    bits.fixed(1, 1).fixed(4, 0).fixed(1, 1).fixed(32, 1).fixed(32, 50).fixed(1, 1);
    bits.fixed(4, 0);
    bits.finish()
}

fn parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.golomb(0).golomb(0).fixed(2, 0).golomb(0).golomb(0).golomb(0);
    bits.fixed(3, 0).golomb(0).golomb(0).golomb(0).fixed(1, 1).fixed(2, 0);
    bits.finish()
}

/// Returns one slice of a frame, or of its top or bottom field.
fn slice(n: u32, bottom: Option<bool>, repeats: bool) -> Vec<u8> {
    let frame = n % GOP;
    let first = frame == 0 && bottom != Some(true);
    let mut bits = Bits::default();
    bits.golomb(0).golomb(if repeats { 5 } else { 7 }).golomb(0).fixed(4, frame & 15);
    bits.fixed(1, u32::from(bottom.is_some()));
    if let Some(bottom) = bottom {
        bits.fixed(1, u32::from(bottom));
    }
    if first {
        bits.golomb((n / GOP) % 2);
    }
    bits.fixed(8, frame * 2 + u32::from(bottom == Some(true)));
    if repeats {
        bits.fixed(2, 0);
    }
    bits.fixed(if first { 2 } else { 1 }, 0).golomb(0).golomb(1);
    let macroblocks = WIDTH * HEIGHT / if bottom.is_some() { 2 } else { 1 };
    if repeats {
        bits.golomb(macroblocks);
    } else {
        let shade = [20, 120, 60, 160][(n / 13) as usize % 4];
        for macroblock in 0..macroblocks {
            bits.golomb(25).align();
            // Any texture; each picture only needs a different one.
            let field = u32::from(bottom == Some(true)) * 5;
            let sample = |at: u32| shade + (at * 7 + macroblock * 11 + n * 3 + field) % 40;
            for at in 0..256 {
                bits.fixed(8, sample(at));
            }
            for _ in 0..128 {
                bits.fixed(8, 128);
            }
        }
    }
    nal(3, if first { 5 } else { 1 }, &bits.finish())
}

/// Returns a NAL unit with start code and emulation prevention.
fn nal(reference: u8, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 1, (reference << 5) | kind];
    let mut zeros = 0;
    for byte in payload {
        if zeros >= 2 && *byte <= 3 {
            bytes.push(3);
            zeros = 0;
        }
        bytes.push(*byte);
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
    }
    bytes
}

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    /// Writes `u(n)`.
    fn fixed(&mut self, bits: u32, value: u32) -> &mut Self {
        self.0.extend((0..bits).rev().map(|bit| (value >> bit) & 1 == 1));
        self
    }

    /// Writes `ue(v)`.
    fn golomb(&mut self, value: u32) -> &mut Self {
        let bits = (value + 1).ilog2();
        self.fixed(bits, 0).fixed(bits + 1, value + 1)
    }

    fn align(&mut self) {
        while !self.0.len().is_multiple_of(8) {
            self.0.push(false);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(true);
        self.align();
        self.0
            .chunks(8)
            .map(|byte| byte.iter().fold(0, |value, bit| value << 1 | u8::from(*bit)))
            .collect()
    }
}
