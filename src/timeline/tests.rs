//! Tests the timeline with synthetic times. `tests/it/parity.rs` and `tests/it/streams.rs` compare
//! whole streams with ffmpeg.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::clock::CLOCK_BITS;
use super::*;
use crate::media::{AudioCodec, Fraction, RandomAccess};

const WRAP: i64 = 1 << CLOCK_BITS;
const AUDIO: AudioStream = AudioStream { pid: 257, codec: AudioCodec::Aac };

/// Pictures of 3,000 ticks, without reordering.
const THIRTY: PictureTiming = PictureTiming {
    bidirectional: false,
    duration: Some(Fraction { numerator: 1, denominator: 30 }),
    delay: 0,
    delay_known: true,
};

fn unit_of(codec: VideoCodec, pts: Option<i64>, dts: Option<i64>) -> AccessUnit {
    let ticks = |time: i64| Ticks(time.rem_euclid(WRAP));
    AccessUnit {
        at: ByteOffset(0),
        skip_bytes: 0,
        codec,
        pts: pts.map(ticks),
        dts: dts.map(ticks),
        ended_by: Times::default(),
        random_access: RandomAccess::None,
        damaged: false,
        data: Vec::new(),
    }
}

fn unit(pts: i64, dts: i64) -> AccessUnit {
    unit_of(VideoCodec::H264, Some(pts), Some(dts))
}

fn audio(at: u64, pts: i64) -> AudioFrame {
    let pts = Some(Ticks(pts.rem_euclid(WRAP)));
    let (pid, at) = (AUDIO.pid, ByteOffset(at));
    AudioFrame { pid, at, pts, samples: 1024, sample_rate: 48_000, counted: true, exact: true }
}

fn pts(timeline: &mut Timeline) -> Vec<i64> {
    std::iter::from_fn(|| timeline.pull()).filter_map(|timed| Some(timed.unit.pts?.0)).collect()
}

fn dts(timeline: &mut Timeline) -> Vec<i64> {
    std::iter::from_fn(|| timeline.pull()).filter_map(|timed| Some(timed.unit.dts?.0)).collect()
}

#[test]
fn time_starts_with_the_audio_where_that_begins_first() {
    let mut timeline = Timeline::new();
    timeline.expect_audio(&[AUDIO]);
    timeline.video(unit(9_000, 9_000), THIRTY);
    assert!(timeline.pull().is_none(), "no audio has arrived yet");
    timeline.audio(audio(0, 6_000));
    assert_eq!(pts(&mut timeline), [3_000]);
}

#[test]
fn audio_that_is_ahead_says_nothing_of_how_long_a_picture_lasts() {
    let mut timeline = Timeline::new();
    timeline.expect_audio(&[AUDIO]);
    timeline.audio(audio(0, 0));
    for n in 0..4 {
        timeline.video(unit(36_000 + n * 3_000, 36_000 + n * 3_000), PictureTiming::default());
    }
    assert_eq!(pts(&mut timeline), [36_000, 39_000, 42_000, 45_000]);
}

#[test]
fn a_silent_audio_stream_is_waited_for_no_longer_than_a_second() {
    let mut timeline = Timeline::new();
    timeline.expect_audio(&[AUDIO]);
    for n in 0..31 {
        timeline.video(unit(n * 3_000, n * 3_000), THIRTY);
    }
    timeline.audio(audio(0, -500));
    assert_eq!(pts(&mut timeline)[..2], [0, 3_000], "where time starts never changes");
}

#[test]
fn pictures_before_the_first_one_in_time_are_negative() {
    let mut timeline = Timeline::new();
    timeline.video(unit(9_000, 3_000), THIRTY);
    timeline.video(unit(6_000, 6_000), THIRTY);
    assert_eq!(pts(&mut timeline), [0, -3_000]);
}

#[test]
fn the_clock_wraps_also_when_pts_has_wrapped_and_dts_not_yet() {
    let mut timeline = Timeline::new();
    for n in 0..6 {
        timeline.video(unit(WRAP - 6_000 + n * 3_000 + 3_000, WRAP - 6_000 + n * 3_000), THIRTY);
    }
    assert_eq!(pts(&mut timeline), [0, 3_000, 6_000, 9_000, 12_000, 15_000]);
}

#[test]
fn an_encoder_that_starts_again_goes_on_at_the_time_expected_next() {
    let mut timeline = Timeline::new();
    for n in [300_000, 303_000, 306_000, 0, 3_000] {
        timeline.video(unit(n, n), THIRTY);
        timeline.pes_complete();
    }
    assert_eq!(pts(&mut timeline), [0, 3_000, 6_000, 9_000, 12_000]);
    for n in [9_006_000, 9_009_000] {
        timeline.video(unit(n, n), THIRTY);
        timeline.pes_complete();
    }
    assert_eq!(pts(&mut timeline), [15_000, 18_000], "a jump forward is handled the same way");
}

#[test]
fn smaller_steps_stand_as_they_are() {
    let mut timeline = Timeline::new();
    for n in [300_000, 303_000, 1_100_000, 1_095_000] {
        timeline.video(unit(n + 10, n), THIRTY);
    }
    assert_eq!(pts(&mut timeline), [0, 3_000, 800_000, 795_000]);
}

/// Returns a timeline after audio and a picture at 90,000.
fn begun_with_audio() -> Timeline {
    let mut timeline = Timeline::new();
    timeline.expect_audio(&[AUDIO]);
    timeline.audio(audio(0, 90_000));
    timeline.video(unit(90_000, 90_000), THIRTY);
    timeline.pes_complete();
    timeline
}

#[test]
fn audio_that_jumps_first_takes_the_pictures_along() {
    let mut timeline = Timeline::new();
    timeline.expect_audio(&[AUDIO]);
    timeline.video(unit(90_000, 90_000), THIRTY);
    timeline.audio(audio(0, 90_000));
    timeline.pes_complete();
    // Audio of 1,920 ticks per frame jumps ahead by a minute; the picture is 80 ticks later.
    timeline.audio(audio(1, 90_000 + 5_400_000));
    timeline.video(unit(90_080 + 5_400_000, 90_080 + 5_400_000), THIRTY);
    assert_eq!(pts(&mut timeline), [0, 1_920 + 80]);
}

#[test]
fn audio_that_jumps_before_ffmpeg_has_seen_the_picture_counts_as_before_it() {
    let mut timeline = begun_with_audio();
    timeline.video(unit(93_000, 93_000), THIRTY);
    // The PES packet is still open: in ffmpeg, the audio comes first, then the picture
    // returns to the old time, and the next one is at its expected time.
    timeline.audio(audio(1, 90_000 + 5_400_000));
    timeline.pes_complete();
    timeline.video(unit(90_080 + 5_400_000, 90_080 + 5_400_000), THIRTY);
    timeline.pes_complete();
    assert_eq!(pts(&mut timeline), [0, 3_000, 6_000]);
}

#[test]
fn audio_of_several_frames_that_jumps_before_ffmpeg_has_seen_the_picture_counts_as_before_it() {
    let mut timeline = begun_with_audio();
    timeline.video(unit(93_000, 93_000), THIRTY);
    // Only the first frame jumps; the next ones in the PES packet continue from there.
    timeline.audio(audio(1, 90_000 + 5_400_000));
    timeline.audio(audio(2, 91_920 + 5_400_000));
    timeline.pes_complete();
    timeline.video(unit(93_000 + 5_400_000, 93_000 + 5_400_000), THIRTY);
    timeline.pes_complete();
    assert_eq!(pts(&mut timeline), [0, 3_000, 6_000]);
}

#[test]
fn a_picture_that_jumps_waits_for_audio_that_ffmpeg_sees_before_it() {
    let mut timeline = begun_with_audio();
    timeline.video(unit(90_080 + 5_400_000, 90_080 + 5_400_000), THIRTY);
    timeline.audio(audio(1, 90_000 + 5_400_000));
    assert_eq!(pts(&mut timeline), [0]);
    timeline.pes_complete();
    assert_eq!(pts(&mut timeline), [1_920 + 80]);
}

#[test]
fn a_frame_rate_of_no_whole_ticks_is_expected_as_ffmpeg_rounds_it() {
    let film = PictureTiming {
        duration: Some(Fraction { numerator: 1001, denominator: 24_000 }),
        ..THIRTY
    };
    let mut timeline = Timeline::new();
    for n in [0, 3_754, 7_508, 5_400_000] {
        timeline.video(unit(n, n), film);
        timeline.pes_complete();
    }
    assert_eq!(pts(&mut timeline), [0, 3_754, 7_508, 7_508 + 3_753]);
}

#[test]
fn what_was_found_ahead_counts_from_the_first_picture_on() {
    let delayed = PictureTiming { delay: 2, ..THIRTY };
    // In coding order, with PTS only: B pictures are shown before the pictures they
    // follow.
    let alone = |pts| unit_of(VideoCodec::H264, Some(pts), Some(pts));
    let pictures: Vec<_> = [0, 12, 6, 3, 9, 24, 18, 15, 21].map(|n| alone(n * 1_000)).into();
    let decoded = |look_ahead: bool| {
        let mut timeline = Timeline::new();
        if look_ahead {
            timeline.look_ahead(pictures.iter().map(|unit| (unit, &delayed)));
        }
        for unit in &pictures {
            timeline.video(unit.clone(), delayed);
            timeline.pes_complete();
        }
        timeline.finish();
        std::iter::from_fn(|| timeline.pull())
            .map(|timed| timed.unit.dts.map(|dts| dts.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(decoded(false)[..2], [Some(0), Some(12_000)], "they appear to be in order");
    let ahead = decoded(true);
    assert!(ahead.iter().flatten().is_sorted(), "{ahead:?}");
    assert_ne!(ahead[1], Some(12_000), "they are known not to be");
}

#[test]
fn pictures_without_times_before_the_first_one_count_back_from_it() {
    let mut timeline = Timeline::new();
    let delayed = PictureTiming { delay: 1, ..THIRTY };
    timeline.video(unit_of(VideoCodec::Mpeg2, None, None), delayed);
    assert!(timeline.pull().is_none());
    timeline.video(unit_of(VideoCodec::Mpeg2, Some(96_000), Some(90_000)), delayed);
    assert_eq!(dts(&mut timeline), [-9_000, -6_000]);
}

#[test]
fn a_stream_without_any_times_counts_from_zero() {
    let mut timeline = Timeline::new();
    for _ in 0..3 {
        timeline.video(unit_of(VideoCodec::Mpeg2, None, None), THIRTY);
    }
    timeline.finish();
    assert_eq!(pts(&mut timeline), [0, 3_000, 6_000]);
}

#[test]
fn pts_alone_that_turn_out_to_be_reordered_are_no_decoding_times() {
    let mut timeline = Timeline::new();
    let delayed = PictureTiming { delay: 1, ..THIRTY };
    for n in [0, 9_000, 3_000, 6_000, 18_000, 12_000, 15_000] {
        timeline.video(unit(90_000 + n, 90_000 + n), delayed);
    }
    let dts = dts(&mut timeline);
    assert!(dts.is_sorted(), "{dts:?}");
}

#[test]
fn a_hundred_hours_are_told_to_the_tick() {
    let mut timeline = Timeline::new();
    let step = 5 * crate::media::TICKS_PER_SECOND;
    for n in 0..72_000 {
        timeline.video(unit(n * step, n * step), THIRTY);
        timeline.pes_complete();
    }
    assert_eq!(pts(&mut timeline).last(), Some(&(71_999 * step)));
}

#[test]
fn a_timeline_resumed_at_any_picture_goes_on_as_if_it_had_never_stopped() {
    /// Feeds a picture every 3,000 ticks, some without times, with audio between them.
    fn feed(timeline: &mut Timeline, from: usize) -> Vec<TimedUnit> {
        let times =
            [300_000, 303_000, 306_000, 0, 3_000, 6_000, 9_000, 9_000_000, 9_003_000, 9_006_000];
        let timing = PictureTiming { delay: 1, ..THIRTY };
        for (n, time) in times.into_iter().enumerate() {
            // Audio is read again from a little earlier.
            if n + 2 >= from {
                timeline.audio(audio(n as u64, time + 500));
            }
            if n >= from {
                let times = (n % 4 != 2).then_some(time);
                let mut unit = unit_of(VideoCodec::Mpeg2, times.map(|time| time + 3_000), times);
                unit.at = ByteOffset(n as u64);
                timeline.video(unit, timing);
                timeline.pes_complete();
            }
        }
        std::iter::from_fn(|| timeline.pull()).collect()
    }
    let all = feed(&mut Timeline::new(), 0);
    assert_eq!(all.len(), 10);
    for from in 0..all.len() {
        let rest = feed(&mut Timeline::resume(all[from].before.clone()), from);
        assert_eq!(rest, all[from..], "from {from}");
    }
}

/// Any value, with values near the limits of the type more likely.
fn any_time() -> impl Strategy<Value = i64> {
    let near_ends = (0_i64..200_000).prop_flat_map(|n| {
        prop_oneof![Just(i64::MAX - n), Just(i64::MIN + n), Just((1 << 62) - n)]
    });
    prop_oneof![any::<i64>(), near_ends, 0_i64..(1 << 34)]
}

fn any_codec() -> impl Strategy<Value = VideoCodec> {
    use VideoCodec::{H264, Hevc, Mpeg2, Mpeg4};
    proptest::sample::select(vec![H264, Hevc, Mpeg2, Mpeg4])
}

fn any_timing() -> impl Strategy<Value = PictureTiming> {
    let duration = (1_i64..(1 << 33), 1_i64..(1 << 33))
        .prop_map(|(numerator, denominator)| Fraction { numerator, denominator });
    let duration = proptest::option::of(duration);
    (any::<bool>(), duration, prop_oneof![0_u32..20, any::<u32>()], any::<bool>()).prop_map(
        |(bidirectional, duration, delay, delay_known)| PictureTiming {
            bidirectional,
            duration,
            delay,
            delay_known,
        },
    )
}

fn any_stamps() -> impl Strategy<Value = (Option<i64>, Option<i64>)> {
    (proptest::option::of(any_time()), proptest::option::of(any_time()))
}

/// Input of a timeline: a picture, a frame of audio, or the end of a PES packet.
#[derive(Debug, Clone)]
enum Input {
    Picture(VideoCodec, (Option<i64>, Option<i64>), PictureTiming),
    Audio(AudioFrame),
    PesComplete,
}

fn any_input() -> impl Strategy<Value = Input> {
    let audio = (0_u16..3, proptest::option::of(any_time()), any::<(u32, u32, bool, bool)>());
    prop_oneof![
        4 => (any_codec(), any_stamps(), any_timing())
            .prop_map(|(codec, stamps, timing)| Input::Picture(codec, stamps, timing)),
        2 => audio.prop_map(|(pid, pts, (samples, sample_rate, counted, exact))| {
            let pts = pts.map(Ticks);
            let at = ByteOffset(u64::MAX);
            Input::Audio(AudioFrame { pid, at, pts, samples, sample_rate, counted, exact })
        }),
        1 => Just(Input::PesComplete),
    ]
}

fn feed(timeline: &mut Timeline, inputs: Vec<Input>) {
    for input in inputs {
        match input {
            Input::Picture(codec, (pts, dts), timing) => {
                let mut unit = unit_of(codec, None, None);
                // Set unwrapped: a checkpoint may contain any value.
                (unit.pts, unit.dts) = (pts.map(Ticks), dts.map(Ticks));
                (unit.ended_by.pts, unit.ended_by.dts) = (unit.dts, unit.pts);
                timeline.video(unit, timing);
            }
            Input::Audio(frame) => timeline.audio(frame),
            Input::PesComplete => timeline.pes_complete(),
        }
        while timeline.pull().is_some() {}
    }
    timeline.finish();
    while timeline.pull().is_some() {}
    timeline.after_end().take(3).for_each(drop);
}

proptest! {
    #[test]
    fn no_headers_make_the_time_overflow(inputs in proptest::collection::vec(any_input(), 0..60)) {
        let mut timeline = Timeline::new();
        timeline.expect_audio(&[AUDIO]);
        feed(&mut timeline, inputs);
    }

    #[test]
    fn no_checkpoint_makes_the_time_overflow(
        times in proptest::collection::vec(any_time(), 24),
        counts in any::<(u32, u32, u64, u8)>(),
        flags in any::<(bool, bool, bool)>(),
        inputs in proptest::collection::vec(any_input(), 0..40),
    ) {
        let mut times = times.into_iter().cycle();
        let mut next = || times.next().unwrap_or_default();
        let mut stream_clock = || StreamClock {
            started: flags.0,
            dts: next(),
            reached: next(),
            next: flags.1.then(&mut next),
        };
        let (video, audio) = (stream_clock(), stream_clock());
        let audio = AudioClock {
            pid: 1,
            through: ByteOffset(0),
            next_pts: Some(next()),
            clock: audio,
        };
        let mut interpolation = Interpolation {
            blank: flags.2,
            next: flags.0.then(&mut next),
            guessed: next(),
            reference_pts: Some(next()),
            reference_duration: next(),
            checked: Some(next()),
            ordered: counts.0,
            misordered: counts.1,
            ..Interpolation::default()
        };
        interpolation.window.fill_with(|| Some(next()));
        interpolation.errors.fill((counts.2, counts.3));
        let demuxed = VideoTimes {
            last: Some(Ticks(next())),
            seen: flags.1,
            step: next(),
            interpolation,
        };
        let shared = InputClock { offset: next(), last: next() };
        let start = Ticks(next());
        feed(
            &mut Timeline::resume(RecordingClock { start, demuxed, shared, video, audio: vec![audio] }),
            inputs,
        );
    }
}
