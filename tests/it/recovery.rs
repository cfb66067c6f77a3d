//! Detection stops at any point and resumes: the result equals that of an uninterrupted run.

use std::path::{Path, PathBuf};

use crate::common::cache::Ffmpeg;
use crate::common::mangle;
use crate::common::odd::{H264, HEVC, LIVE, clip};
use crate::common::random::Random;
use scenetap::error::Kind;
use scenetap::media::{ByteOffset, Verdict};
use scenetap::pipeline::analyzer::{Analyzer, RestartPoint};
use scenetap::pipeline::live::checkpoint::Checkpoint;
use scenetap::recording::Fingerprint;
use scenetap::ts::{TS_PACKET_BYTES, TsPacket};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ts"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "fixtures are missing");
    files
}

fn feed(analyzer: &mut Analyzer, bytes: &[u8], from: usize, to: usize) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for at in (from..to).step_by(TS_PACKET_BYTES) {
        let packet = bytes[at..at + TS_PACKET_BYTES].try_into().unwrap();
        analyzer.push(TsPacket::new(ByteOffset(at as u64), packet)).unwrap();
        verdicts.extend(std::iter::from_fn(|| analyzer.pull()).map(|scored| scored.verdict));
    }
    verdicts
}

fn finish(mut analyzer: Analyzer) -> Vec<Verdict> {
    analyzer.finish().unwrap();
    std::iter::from_fn(|| analyzer.pull()).map(|scored| scored.verdict).collect()
}

/// Converts through the file on disk: any state not in the file is lost in a restart.
fn through_file(point: &RestartPoint) -> RestartPoint {
    let recording = Fingerprint { bytes: 0, head_crc32: 0, tail_crc32: 0 };
    let written = Checkpoint { recording, frames_kept: 0, point: point.clone() };
    let read = Checkpoint::parse(Path::new("c"), &written.to_json().unwrap()).unwrap();
    assert_eq!(read, written);
    read.point
}

#[test]
fn killed_at_any_packet_and_resumed_gives_the_same_verdicts() {
    for path in fixtures() {
        let bytes = std::fs::read(&path).unwrap();
        let packets = bytes.len() / TS_PACKET_BYTES;
        let stops = (0..7).map(|n| packets * (2 * n + 1) / 14 + n);
        assert_recovers(&path.display().to_string(), &bytes, stops);
    }
}

#[test]
fn killed_around_a_jump_of_the_clock_gives_the_same_verdicts() {
    /// Number of packets of each clip: a few seconds, with audio.
    const CLIP: usize = 2_000;
    let clip = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        std::fs::read(path).unwrap()[..CLIP * TS_PACKET_BYTES].to_vec()
    };
    let zero_latency = clip("bbb_h264_zerolatency_360p30_gop2s.ts");
    let film = clip("sintel_fades_h264_360p24.ts");
    let bytes = [&zero_latency[..], &film, &zero_latency, &zero_latency].concat();
    let around = |joint: usize| (joint - 3..joint + 60).step_by(7);
    let stops = [CLIP, 2 * CLIP, 3 * CLIP].into_iter().flat_map(around);
    assert_recovers("clips joined", &bytes, stops);
}

#[test]
fn killed_where_times_are_random_gives_the_same_verdicts() {
    for (name, percent) in [(LIVE, 30), (HEVC, 100), (H264, 30)] {
        let mut random = Random::new(7);
        let mut packets = clip(name);
        packets.truncate(900);
        for packet in &mut packets {
            let Some(at) = mangle::pes_at(packet) else { continue };
            for (flag, field) in [(0x80, 9), (0x40, 14)] {
                if packet[at + 7] & flag != 0 && random.below(100) < percent {
                    let time = match random.below(4) {
                        0 => 0,
                        1 => (1 << 33) - 1,
                        2 => 1 << 32,
                        _ => random.below(1 << 33) as i64,
                    };
                    mangle::set_time(packet, at + field, time);
                }
            }
        }
        let stops = (60..packets.len()).step_by(70);
        assert_recovers(name, packets.as_flattened(), stops);
    }
}

#[test]
fn killed_in_a_real_stream_gives_the_same_verdicts() {
    /// Number of packets of each stream: enough for several random access points.
    const PACKETS: usize = 6_000;
    let Some(files) = scenetap_testkit::material_streams() else { return };
    let mut resumed = 0;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let packets = (bytes.len() / TS_PACKET_BYTES).min(PACKETS);
        let bytes = &bytes[..packets * TS_PACKET_BYTES];
        let stops = (0..3).map(|n| packets * (2 * n + 1) / 6);
        resumed += usize::from(recovers(&path.display().to_string(), bytes, stops));
    }
    assert!(resumed * 2 > files.len(), "resumed in {resumed} of {} only", files.len());
}

#[test]
fn killed_in_a_damaged_stream_gives_the_same_verdicts() {
    // Concealment depends on earlier pictures, including those of an earlier GOP.
    for path in fixtures() {
        let bytes = damaged(&std::fs::read(&path).unwrap());
        let packets = bytes.len() / TS_PACKET_BYTES;
        let stops = (0..12).map(|n| packets * (2 * n + 1) / 24 + n);
        assert_recovers(&format!("{}, damaged", path.display()), &bytes, stops);
    }
}

/// Returns ffmpeg's encoding of a moving pattern, with these options of libx264. `None`
/// if ffmpeg is not installed.
fn encode(options: &str) -> Option<Vec<u8>> {
    if !crate::common::has("ffmpeg") {
        return None;
    }
    let command = Ffmpeg::new()
        .args(["-f", "lavfi", "-t", "12", "-i", "testsrc2=s=320x240:r=25,noise=alls=20:allf=t"])
        .args(["-threads", "1", "-c:v", "libx264", "-preset", "veryfast"])
        .args(["-x264-params", options, "-b:v", "1M"]);
    Some(std::fs::read(command.file("mpegts")).unwrap())
}

/// Returns the maximum number of bytes read again, over stops in the second half.
fn max_reread(bytes: &[u8], limit: u64) -> u64 {
    let mut analyzer =
        Analyzer::new(Default::default(), Default::default()).read_again_at_most(limit);
    let mut max_bytes = 0;
    for at in (0..bytes.len()).step_by(TS_PACKET_BYTES) {
        feed(&mut analyzer, bytes, at, at + TS_PACKET_BYTES);
        if at > bytes.len() / 2 {
            let from = analyzer.restart_point().map_or(0, |start| start.read_from.audio_offset.0);
            max_bytes = max_bytes.max(at as u64 - from);
        }
    }
    max_bytes
}

#[test]
fn with_intra_refresh_what_is_read_again_begins_at_a_recovery_point() {
    let Some(bytes) = encode("intra-refresh=1:keyint=25:bframes=0") else { return };
    let packets = bytes.len() / TS_PACKET_BYTES;
    let stops = (1..12).map(|n| packets * n / 12 + n);
    assert_recovers("intra refresh", &bytes, stops);
    let max_bytes = max_reread(&bytes, 64 << 20);
    // Three to four seconds of twelve.
    assert!(max_bytes < bytes.len() as u64 / 2, "{max_bytes} of {}", bytes.len());
}

#[test]
fn without_any_random_access_point_what_is_read_again_stays_bounded() {
    let Some(bytes) = encode("keyint=infinite:bframes=0:scenecut=0") else { return };
    const LIMIT: u64 = 400_000;
    let max_bytes = max_reread(&bytes, LIMIT);
    assert!(max_bytes < LIMIT * 5 / 4, "{max_bytes} of {}", bytes.len());
    // Every picture gets a verdict, and the first ones are marked as damaged.
    let new = || Analyzer::new(Default::default(), Default::default()).read_again_at_most(LIMIT);
    let whole = {
        let mut analyzer = new();
        let mut whole = feed(&mut analyzer, &bytes, 0, bytes.len());
        whole.extend(finish(analyzer));
        whole
    };
    let stop = bytes.len() / TS_PACKET_BYTES * 4 / 5 * TS_PACKET_BYTES;
    let mut first = new();
    let mut verdicts = feed(&mut first, &bytes, 0, stop);
    let start = through_file(&first.restart_point().unwrap());
    assert!(start.read_from.damaged);
    let from = usize::try_from(start.read_from.audio_offset.0).unwrap();
    let mut second = Analyzer::resume(Default::default(), Default::default(), start);
    verdicts.extend(feed(&mut second, &bytes, from, bytes.len()));
    verdicts.extend(finish(second));
    let positions =
        |verdicts: &[Verdict]| verdicts.iter().map(|v| (v.at, v.pts)).collect::<Vec<_>>();
    assert_eq!(positions(&verdicts), positions(&whole), "a picture is missing or doubled");
}

#[test]
fn a_restart_point_whose_last_picture_does_not_come_again_is_an_error_after_bounded_work() {
    let bytes = std::fs::read(&fixtures()[0]).unwrap();
    let new = || Analyzer::new(Default::default(), Default::default());
    let mut first = new();
    let stop = bytes.len() / TS_PACKET_BYTES / 5 * TS_PACKET_BYTES;
    feed(&mut first, &bytes, 0, stop);
    let mut start = first.restart_point().unwrap();
    // No picture starts inside a packet.
    start.decided.offset.0 += 1;
    let from = usize::try_from(start.read_from.audio_offset.0).unwrap();
    let resumed = || Analyzer::resume(Default::default(), Default::default(), start.clone());
    let push = |analyzer: &mut Analyzer, at: usize| {
        let packet = bytes[at..at + TS_PACKET_BYTES].try_into().unwrap();
        analyzer.push(TsPacket::new(ByteOffset(at as u64), packet))
    };
    let mut second = resumed();
    let pushed: Result<(), _> =
        (from..bytes.len()).step_by(TS_PACKET_BYTES).try_for_each(|at| push(&mut second, at));
    let error = pushed.expect_err("it gives up before the end");
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(second.pull().is_none(), "no verdict that may be wrong");

    // A recording that ends earlier.
    let mut third = resumed();
    (from..stop).step_by(TS_PACKET_BYTES).for_each(|at| push(&mut third, at).unwrap());
    assert_eq!(third.finish().unwrap_err().kind(), Kind::Corrupt);
}

/// Returns the stream without one packet in 397, chosen at random.
fn damaged(stream: &[u8]) -> Vec<u8> {
    let mut state = 7_u32;
    let is_lost = |_: &&[u8]| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        !(state >> 16).is_multiple_of(397)
    };
    stream.chunks_exact(TS_PACKET_BYTES).filter(is_lost).collect::<Vec<_>>().concat()
}

/// As [`recovers`]; there must be a stop after which detection resumes.
fn assert_recovers(context: &str, bytes: &[u8], stops: impl Iterator<Item = usize>) {
    assert!(recovers(context, bytes, stops), "{context}");
}

/// Stops after each of these packets, in ascending order, and once more before detection has caught
/// up. Asserts that the verdicts are those of an uninterrupted run. Returns whether detection
/// resumed anywhere; without a restart point, it starts over.
fn recovers(context: &str, bytes: &[u8], stops: impl Iterator<Item = usize>) -> bool {
    let new = || Analyzer::new(Default::default(), Default::default());
    let resumed = |start| Analyzer::resume(Default::default(), Default::default(), start);
    // One analyzer passes all stops; its state at each stop is saved.
    let mut undisturbed = new();
    let (mut whole, mut pushed) = (Vec::new(), 0);
    let mut disturbed = Vec::new();
    for stop in stops.map(|packets| packets * TS_PACKET_BYTES) {
        whole.extend(feed(&mut undisturbed, bytes, pushed, stop));
        pushed = stop;
        let Some(start) = undisturbed.restart_point() else {
            // The recording is read from the beginning again, as in the uninterrupted
            // run.
            assert!(whole.is_empty(), "{context} stopped at byte {stop}");
            continue;
        };
        let mut verdicts = whole.clone();
        let start = through_file(&start);
        let from = usize::try_from(start.read_from.audio_offset.0).unwrap();
        assert!(from <= stop);
        let mut second = resumed(start);
        // Killed again after a third of the distance, before it has reached new pictures.
        let again = from + (stop - from) / TS_PACKET_BYTES / 3 * TS_PACKET_BYTES;
        verdicts.extend(feed(&mut second, bytes, from, again));
        let start = through_file(&second.restart_point().expect("a start stays one"));
        let from = usize::try_from(start.read_from.audio_offset.0).unwrap();
        let mut third = resumed(start);
        verdicts.extend(feed(&mut third, bytes, from, bytes.len()));
        verdicts.extend(finish(third));
        disturbed.push((stop, verdicts));
    }
    let resumes = !disturbed.is_empty();
    whole.extend(feed(&mut undisturbed, bytes, pushed, bytes.len()));
    whole.extend(finish(undisturbed));
    for (stop, verdicts) in disturbed {
        let differs = verdicts.iter().zip(&whole).find(|(a, b)| a != b);
        assert_eq!(
            (differs, verdicts.len()),
            (None, whole.len()),
            "{context} stopped at byte {stop}"
        );
    }
    resumes
}
