//! The timeline with arbitrary times.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scenetap::media::{
    AccessUnit, AudioCodec, AudioFrame, AudioStream, ByteOffset, Fraction, PictureTiming,
    RandomAccess, Ticks, Times, VideoCodec,
};
use scenetap::timeline::Timeline;

const CODECS: [VideoCodec; 2] = [VideoCodec::H264, VideoCodec::Mpeg2];

// Each picture or audio frame is twelve bytes: kind, header information, PTS and DTS.
fuzz_target!(|input: &[u8]| {
    let mut timeline = Timeline::new();
    let stream = |pid| AudioStream { pid, codec: AudioCodec::Aac };
    timeline.expect_audio(&[stream(1), stream(2)]);
    let (mut pushed, mut pulled) = (0, 0);
    for [kind, headers, times @ ..] in input.as_chunks::<12>().0 {
        let (pts, dts) = times.split_at(5);
        let ticks = |bytes: &[u8]| {
            let high_first = |ticks: i64, byte: &u8| ticks << 8 | i64::from(*byte);
            Ticks(bytes.iter().fold(0, high_first) & ((1 << 33) - 1))
        };
        let pts = (kind & 1 != 0).then(|| ticks(pts));
        let dts = (kind & 2 != 0).then(|| ticks(dts)).or(pts);
        let at = ByteOffset(pushed);
        if kind & 4 != 0 {
            timeline.audio(AudioFrame {
                pid: u16::from(kind >> 4),
                at,
                pts,
                samples: 1024,
                sample_rate: u32::from(*headers) * 1000,
                counted: kind & 8 != 0,
                exact: headers & 1 != 0,
            });
            continue;
        }
        let unit = AccessUnit {
            at,
            skip_bytes: 0,
            codec: CODECS[usize::from(kind >> 3 & 1)],
            pts,
            dts,
            ended_by: Times { pts: dts, dts: pts },
            random_access: RandomAccess::None,
            damaged: false,
            data: vec![0],
        };
        let rate = Fraction { numerator: 1001, denominator: i64::from(headers & 3) * 12_000 };
        let timing = PictureTiming {
            bidirectional: headers & 4 != 0,
            duration: (rate.denominator > 0).then_some(rate),
            delay: u32::from(headers >> 4),
            delay_known: headers & 8 != 0,
        };
        timeline.video(unit, timing);
        if kind & 16 != 0 {
            timeline.pes_complete();
        }
        pushed += 1;
        pulled += std::iter::from_fn(|| timeline.pull()).count() as u64;
    }
    timeline.finish();
    pulled += std::iter::from_fn(|| timeline.pull()).count() as u64;
    assert_eq!(pulled, pushed, "no picture is lost");
});
