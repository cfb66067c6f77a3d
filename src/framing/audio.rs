//! PES packets of an audio stream → audio frames with their times, by libavcodec's parsers.

use crate::libav::{PaddedBytes, Parser};
use crate::media::{AudioCodec, AudioFrame, AudioStream, ByteOffset, Ticks};

/// Splits the PES packets of one audio stream into frames.
#[derive(Debug)]
pub struct AudioFramer {
    stream: AudioStream,
    parser: Option<Parser>,
    /// Sample rate in Hz, for a codec whose parser does not determine it (AAC).
    aac_rate: u32,
    /// Sample rate in Hz stated by the last frame.
    last_aac_rate: u32,
    /// Bytes since the last completed frame.
    bytes_without_frame: usize,
    input: PaddedBytes,
}

impl AudioFramer {
    /// Returns a framer that starts at the beginning of a PES packet.
    pub fn new(stream: AudioStream) -> Self {
        let parser = Parser::of_audio(stream.codec);
        AudioFramer {
            stream,
            parser,
            aac_rate: 0,
            last_aac_rate: 0,
            bytes_without_frame: 0,
            input: PaddedBytes::default(),
        }
    }

    /// Returns the stream whose PES packets are parsed.
    pub fn stream(&self) -> AudioStream {
        self.stream
    }

    /// Parses the next PES packet, which begins at `at`, and passes the frames that it
    /// completes to `sink`.
    pub fn push(
        &mut self,
        at: ByteOffset,
        mut pts: Option<Ticks>,
        data: &[u8],
        mut sink: impl FnMut(AudioFrame),
    ) {
        let AudioStream { pid, codec } = self.stream;
        let Some(parser) = &mut self.parser else {
            let unknown = AudioFrame {
                pid,
                at,
                pts,
                samples: 0,
                sample_rate: 0,
                counted: false,
                exact: false,
            };
            sink(unknown);
            return;
        };
        // Codecs whose decoders set `AVCodecContext.frame_size`.
        let counted = matches!(codec, AudioCodec::Mpeg | AudioCodec::Aac | AudioCodec::AacLatm);
        self.input.fill(data);
        let mut from = 0;
        while from < data.len() {
            let Some((consumed, frame)) = parser.parse(&self.input, from, pts.take()) else {
                return;
            };
            from += consumed;
            if let Some(rate) = aac_rate(codec, frame) {
                // A single frame with another rate is damaged: FFmpeg keeps the first rate.
                if self.aac_rate == 0 || self.last_aac_rate == rate {
                    self.aac_rate = rate;
                }
                self.last_aac_rate = rate;
            }
            let completed = !frame.is_empty();
            self.bytes_without_frame =
                if completed { 0 } else { self.bytes_without_frame + consumed };
            if completed {
                let pts = parser.pts();
                let exact = matches!(codec, AudioCodec::Aac | AudioCodec::AacLatm);
                let (samples, sample_rate) = match codec {
                    AudioCodec::Aac | AudioCodec::AacLatm => (AAC_SAMPLES, self.aac_rate),
                    AudioCodec::Opus => (parser.samples(), OPUS_RATE),
                    _ => (parser.samples(), parser.sample_rate()),
                };
                sink(AudioFrame { pid, at, pts, samples, sample_rate, counted, exact });
            } else if consumed == 0 {
                break;
            }
        }
        if self.bytes_without_frame > MAX_BYTES_WITHOUT_FRAME {
            // libavcodec's parsers buffer everything until they find a sync word.
            self.parser = Parser::of_audio(codec);
            self.bytes_without_frame = 0;
        }
    }
}

/// Number of bytes without a complete frame after which the parser is reopened. No codec has larger
/// frames, and the parser would buffer all bytes.
const MAX_BYTES_WITHOUT_FRAME: usize = 1 << 20;

/// Samples per AAC frame (ISO/IEC 14496-3, 4.5.1.1: `frameLengthFlag` 0).
const AAC_SAMPLES: u32 = 1024;

/// Opus always counts samples at this rate (RFC 6716, 2.1.3).
const OPUS_RATE: u32 = 48_000;

/// Returns the sample rate in an ADTS header, or in a LOAS frame with a StreamMuxConfig (ISO/IEC
/// 14496-3, 1.A.2.2, 1.7.3).
fn aac_rate(codec: AudioCodec, frame: &[u8]) -> Option<u32> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    let index = match (codec, frame) {
        (AudioCodec::Aac, [_, _, third, ..]) => third >> 2 & 0x0f,
        // useSameStreamMux and audioMuxVersion are 0.
        (AudioCodec::AacLatm, [_, _, _, fourth, _, sixth, seventh, ..]) if fourth & 0xc0 == 0 => {
            (sixth & 0x07) << 1 | seventh >> 7
        }
        _ => return None,
    };
    RATES.get(usize::from(index)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an ADTS frame of 16 bytes whose header contains sampling frequency index `index`.
    fn adts(index: u8) -> Vec<u8> {
        let mut frame = vec![0xff, 0xf1, 0x40 | index << 2, 0x80, 0x02, 0x1f, 0xfc];
        frame.resize(16, 0);
        frame
    }

    #[test]
    fn a_stream_without_any_sync_word_is_not_kept() {
        let junk = vec![0x55; 64 << 10];
        for codec in [AudioCodec::Mpeg, AudioCodec::Aac, AudioCodec::Ac3, AudioCodec::Dts] {
            let mut framer = AudioFramer::new(AudioStream { pid: 0x101, codec });
            for _ in 0..100 {
                framer.push(ByteOffset(0), None, &junk, |_| ());
                assert!(framer.bytes_without_frame <= MAX_BYTES_WITHOUT_FRAME, "{codec:?}");
            }
            // The reopened parser finds frames again.
            if codec == AudioCodec::Aac {
                let mut frames = 0;
                (0..8).for_each(|_| framer.push(ByteOffset(0), None, &adts(3), |_| frames += 1));
                assert!(frames > 0);
            }
        }
    }

    #[test]
    fn one_audio_frame_with_a_damaged_header_does_not_change_the_rate() {
        let stream = AudioStream { pid: 0x101, codec: AudioCodec::Aac };
        let mut framer = AudioFramer::new(stream);
        let mut rates = Vec::new();
        for index in [3, 3, 10, 3, 3, 4, 4, 4] {
            let frame = adts(index);
            framer
                .push(ByteOffset(0), Some(Ticks(0)), &frame, |frame| rates.push(frame.sample_rate));
        }
        let (before, now) = (48_000, 44_100);
        assert_eq!(rates.first_chunk(), Some(&[before; 5]), "{rates:?}");
        assert_eq!(rates.last(), Some(&now), "{rates:?}");
        assert!(!rates.contains(&11_025), "{rates:?}");
    }
}
