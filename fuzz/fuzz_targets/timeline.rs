//! Times as they stand in a stream, whatever they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scenetap::media::{AccessUnit, ByteOffset, RandomAccess, Ticks, VideoCodec};
use scenetap::timeline::Timeline;

// Each access unit or audio time is eleven bytes: what it is, PTS and DTS.
fuzz_target!(|input: &[u8]| {
    let mut timeline = Timeline::new();
    timeline.expect_audio(&[1, 2]);
    let (mut pushed, mut pulled) = (0, 0);
    for [kind, times @ ..] in input.as_chunks::<11>().0 {
        let (pts, dts) = times.split_at(5);
        let ticks = |bytes: &[u8]| {
            let high_first = |ticks: i64, byte: &u8| ticks << 8 | i64::from(*byte);
            Ticks(bytes.iter().fold(0, high_first) & ((1 << 33) - 1))
        };
        let pts = (kind & 1 != 0).then(|| ticks(pts));
        let dts = (kind & 2 != 0).then(|| ticks(dts)).or(pts);
        if kind & 4 != 0 {
            timeline.audio(u16::from(kind >> 3), pts);
            continue;
        }
        timeline.push(AccessUnit {
            at: ByteOffset(pushed),
            skip_bytes: 0,
            codec: VideoCodec::H264,
            pts,
            dts,
            random_access: RandomAccess::None,
            data: vec![0],
        });
        pushed += 1;
        pulled += std::iter::from_fn(|| timeline.pull()).count() as u64;
    }
    timeline.finish();
    pulled += std::iter::from_fn(|| timeline.pull()).count() as u64;
    assert_eq!(pulled, pushed, "no picture is lost");
});
