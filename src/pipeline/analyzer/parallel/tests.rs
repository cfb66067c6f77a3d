#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use proptest::prelude::*;
use scenetap_testkit::fixture;

use super::super::pieces::PieceLength;
use super::*;
use crate::demux::ProgramChoice;
use crate::detect::Rule;
use crate::media::{ByteOffset, Damage, Reason};
use crate::pipeline::analyzer::RestartPoint;
use crate::ts::{TS_PACKET_BYTES, TsPacket};

/// Everything that an analyzer returned.
#[derive(Debug, PartialEq)]
struct Found {
    verdicts: Vec<(ByteOffset, Ticks, u64, Option<Reason>)>,
    /// Of kept frames: offset at which decoding starts, damage, checksum.
    kept: Vec<(ByteOffset, bool, u32)>,
    damage: Damage,
    restart: Option<RestartPoint>,
}

/// Analyzes `packets` except those with an index in `lost`. At each index in `ends`, no more
/// packets are available for a while.
fn analyze(packets: &[u8], lost: &[usize], ends: &[usize], mut analyzer: Analyzer) -> (Found, u64) {
    analyzer.set_backlog(packets.len() as u64);
    let (mut verdicts, mut kept, mut parallel) = (Vec::new(), Vec::new(), 0);
    let mut take = |analyzer: &mut Analyzer| {
        while let Some(scored) = analyzer.pull() {
            let verdict = scored.verdict;
            verdicts.push((verdict.at, verdict.pts, verdict.score.to_bits(), verdict.kept));
            kept.extend(
                scored
                    .kept
                    .map(|frame| (frame.keyframe_at, frame.damaged, frame.picture.checksum())),
            );
        }
    };
    let mut at = 0;
    for (index, bytes) in packets.as_chunks::<TS_PACKET_BYTES>().0.iter().enumerate() {
        if lost.contains(&index) {
            continue;
        }
        analyzer.push(TsPacket::new(ByteOffset(at), bytes)).unwrap();
        at += TS_PACKET_BYTES as u64;
        parallel += u64::from(analyzer.is_parallel());
        if ends.contains(&index) {
            // Several calls may be needed.
            let _ = analyzer.catch_up(false).unwrap();
        }
        while analyzer.is_full() {
            analyzer.stitch_next().unwrap();
            take(&mut analyzer);
        }
        take(&mut analyzer);
    }
    analyzer.finish().unwrap();
    take(&mut analyzer);
    let (damage, restart) = (analyzer.damage(), analyzer.restart_point());
    (Found { verdicts, kept, damage, restart }, parallel)
}

fn analyzer(interval: f64, threshold: f64) -> Analyzer {
    let rule = Rule { scene_threshold: threshold, max_frame_interval_s: interval };
    Analyzer::new(rule, ProgramChoice::default())
}

fn parallel(analyzer: Analyzer, jobs: usize, min_units: usize, good_units: usize) -> Analyzer {
    let mut analyzer = analyzer.with_jobs(NonZeroUsize::new(jobs).unwrap());
    analyzer.parallel.length = PieceLength { min_units, good_units, min_backlog: 0 };
    analyzer
}

const CLIPS: [&str; 5] = [
    "bbb_h264_bframes_scenecut_360p24",
    "bbb_h264_zerolatency_360p30_gop2s",
    "bbb_hevc_360p24_gop2s",
    "bbb_h264_resolution_change",
    "bbb_mpeg2_576i25_tff",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Pieces change nothing, wherever the stream is cut, for any rule and any missing packets.
    #[test]
    fn pieces_give_the_same_as_one_after_the_other(
        (clip, jobs, min_units, good_units) in (0..CLIPS.len(), 2_usize..5, 1_usize..90, 1_usize..90),
        (interval, threshold) in (prop_oneof![Just(0.0), 0.1_f64..9.0], 0.0_f64..0.5),
        lost in prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::collection::vec(0_usize..4_000, 1..4),
        ],
        ends in prop::collection::vec(0_usize..6_000, 0..4),
    ) {
        let packets = std::fs::read(fixture(CLIPS[clip])).unwrap();
        let (expected, _) = analyze(&packets, &lost, &[], analyzer(interval, threshold));
        let pieces = parallel(analyzer(interval, threshold), jobs, min_units, good_units);
        let (found, in_parallel) = analyze(&packets, &lost, &ends, pieces);
        prop_assert!(in_parallel > 0 || !ends.is_empty() || !lost.is_empty());
        let same = found.verdicts.iter().zip(&expected.verdicts).position(|(a, b)| a != b);
        prop_assert!(found.verdicts == expected.verdicts, "from {same:?} on of {}", found.verdicts.len());
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn pictures_that_no_forecast_copied_are_decoded_again() {
    let packets = std::fs::read(fixture(CLIPS[0])).unwrap();
    // For any interval, the forecast of a piece depends on everything before it.
    for interval in [0.05, 0.5, 1.7, 3.3] {
        let (expected, _) = analyze(&packets, &[], &[], analyzer(interval, 0.3));
        let (found, _) = analyze(&packets, &[], &[], parallel(analyzer(interval, 0.3), 3, 20, 20));
        assert_eq!(found, expected, "{interval}");
    }
}

#[test]
fn a_restart_in_the_middle_of_pieces_goes_on_where_it_was() {
    let packets = std::fs::read(fixture(CLIPS[0])).unwrap();
    let (expected, _) = analyze(&packets, &[], &[], analyzer(30.0, 0.1));
    let mut stopped = parallel(analyzer(30.0, 0.1), 2, 20, 20);
    stopped.set_backlog(packets.len() as u64);
    let mut found = Vec::new();
    let whole = packets.as_chunks::<TS_PACKET_BYTES>().0;
    let mut pushed = whole.iter().enumerate();
    while found.len() < 200 {
        let (index, bytes) = pushed.next().unwrap();
        let at = ByteOffset((index * TS_PACKET_BYTES) as u64);
        stopped.push(TsPacket::new(at, bytes)).unwrap();
        while stopped.is_full() && found.len() < 200 {
            stopped.stitch_next().unwrap();
            found.extend(std::iter::from_fn(|| stopped.pull()).map(|scored| scored.verdict));
        }
        found.extend(std::iter::from_fn(|| stopped.pull()).map(|scored| scored.verdict));
    }
    assert!(stopped.is_parallel());
    let point = stopped.restart_point().unwrap();
    let from = usize::try_from(point.read_from.audio_offset.0).unwrap() / TS_PACKET_BYTES;
    let rule = Rule { scene_threshold: 0.1, max_frame_interval_s: 30.0 };
    let resumed = Analyzer::resume(rule, ProgramChoice::default(), point);
    let mut resumed = parallel(resumed, 2, 20, 20);
    resumed.set_backlog(packets.len() as u64);
    for (index, bytes) in whole.iter().enumerate().skip(from) {
        let at = ByteOffset((index * TS_PACKET_BYTES) as u64);
        resumed.push(TsPacket::new(at, bytes)).unwrap();
    }
    resumed.finish().unwrap();
    found.extend(std::iter::from_fn(|| resumed.pull()).map(|scored| scored.verdict));
    let found: Vec<_> =
        found.iter().map(|it| (it.at, it.pts, it.score.to_bits(), it.kept)).collect();
    assert!(found == expected.verdicts, "{} of {}", found.len(), expected.verdicts.len());
}
