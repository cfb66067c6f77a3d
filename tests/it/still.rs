//! `still`: the picture of any moment is the one that ffmpeg shows then.

use std::path::{Path, PathBuf};

use scenetap::pipeline::evidence::{self, Moment, OpenRecording, Target};
use scenetap::session::Session;

use crate::common::cache::{Ffmpeg, INPUT};
use crate::common::random::{Random, seed};
use crate::common::studio::{AAC, Studio, X264};
use crate::common::{Recorder, fixture, oracle, paff, send_bytes};

/// A picture as ffmpeg decodes it: its time in ticks from the start, and the CRC-32 of its samples.
type Shown = (i64, u32);

/// Returns the pictures of a file, in the order in which ffmpeg shows them.
fn by_ffmpeg(file: &Path) -> Vec<Shown> {
    let hashes = Ffmpeg::new()
        .args(["-threads", "1", "-i", INPUT, "-map", "0:v:0", "-map", "0:a?", "-c:a", "copy"])
        .args(["-fps_mode", "passthrough", "-hash", "crc32"])
        .input(file)
        .file("framehash");
    let text = std::fs::read_to_string(hashes).unwrap();
    // Stream, DTS, PTS, duration, size, hash.
    let video = text.lines().filter_map(|line| line.strip_prefix("0,"));
    let hashes: Vec<u32> = video
        .map(|line| u32::from_str_radix(line.rsplit(',').next().unwrap().trim(), 16).unwrap())
        .collect();
    let times = oracle::ffmpeg(file).pictures;
    assert_eq!(hashes.len(), times.len(), "{}", file.display());
    let ticks = |picture: &String| {
        let seconds: f64 = picture.split(',').next().unwrap().parse().unwrap();
        (seconds * 90_000.0).round() as i64
    };
    times.iter().map(ticks).zip(hashes).collect()
}

/// Records a file, and returns the folder of the session.
fn record(sessions: &Path, file: &Path) -> PathBuf {
    let recorder = Recorder::start(sessions, "s", &["--once"]);
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &std::fs::read(file).unwrap());
    assert!(recorder.end().0.success());
    session
}

fn still(target: &Target, at: f64) -> Shown {
    let source = OpenRecording::open(target, None).unwrap();
    let still = evidence::still(&source, Moment::FromStart(at), &|| false).unwrap();
    (still.pts.0, still.picture.checksum())
}

/// Asserts that the picture at `count` random moments, at each end and between two pictures is
/// ffmpeg's.
fn assert_stills(name: &str, file: &Path, count: u64, random: &mut Random) {
    let pictures = by_ffmpeg(file);
    let folder = tempfile::tempdir().unwrap();
    let session = Session::at(&record(folder.path(), file)).unwrap();
    let targets = [Target::Session(session), Target::File(file.to_owned())];
    let (first, last) = (pictures[0].0, pictures[pictures.len() - 1].0);
    let mut moments: Vec<i64> =
        (0..count).map(|_| first + random.below((last - first + 1) as u64) as i64).collect();
    moments.extend([first - 9_000, first, last]);
    for ticks in moments {
        let expected = pictures.iter().rev().find(|(time, _)| *time <= ticks);
        let expected = *expected.unwrap_or(&pictures[0]);
        // A file without an index is read to its end first, so fewer of these are tried.
        let tried = if random.below(8) == 0 { &targets[..] } else { &targets[..1] };
        for target in tried {
            let found = still(target, ticks as f64 / 90_000.0);
            assert_eq!(found, expected, "{name} at {ticks} ticks of {target:?}");
        }
    }
}

#[test]
fn the_picture_at_any_moment_is_the_one_that_ffmpeg_shows() {
    let Some(studio) = Studio::open() else { return };
    let mut random = Random::new(seed());
    let x264 = |name: &str, options: &str| {
        studio.encode(name, "25", "160x120", &format!("{X264} {options}"), AAC)
    };
    let open = x264("open", "-bf 3 -g 12 -x264-params open-gop=1:b-adapt=0:scenecut=0");
    let refresh = x264("refresh", "-bf 0 -g 24 -x264-params intra-refresh=1:keyint=24");
    let fields = studio.path("fields");
    let coding = |n| match n % 6 {
        0 => paff::Coding::Frame,
        _ => paff::Coding::Fields,
    };
    std::fs::write(&fields, paff::stream(120, coding)).unwrap();
    let restart = studio.join(
        "restart",
        &[&x264("one", "-bf 2 -g 20"), &open, &x264("other", "-bf 3 -g 15"), &refresh],
    );
    for (name, file) in [
        ("open GOP", open),
        ("intra refresh", refresh),
        ("field-coded H.264", fields),
        ("interlaced MPEG-2", fixture("bbb_mpeg2_576i25_tff")),
        ("HEVC 10 bit, open GOP", fixture("bbb_hevc_main10_360p24_opengop")),
        ("H.264 with scene cuts", fixture("bbb_h264_bframes_scenecut_360p24")),
        ("after clock restarts", restart),
    ] {
        assert_stills(name, &file, 200, &mut random);
    }
}
