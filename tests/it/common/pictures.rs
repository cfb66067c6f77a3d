//! The pictures of a recording as shown by ffmpeg.

use std::path::{Path, PathBuf};

use super::cache::{Ffmpeg, INPUT};
use super::paff;
use super::random::from_environment;
use super::studio::{AAC, Studio, X264};
use super::{Recorder, fixture, oracle, send_bytes};

/// A picture as ffmpeg decodes it: its time in ticks from the start, and the CRC-32 of its samples.
pub type Shown = (i64, u32);

/// Returns the pictures of a file, in ffmpeg's presentation order.
pub fn by_ffmpeg(file: &Path) -> Vec<Shown> {
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
pub fn record(sessions: &Path, file: &Path) -> PathBuf {
    let recorder = Recorder::start(sessions, "s", &["--once"]);
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &std::fs::read(file).unwrap());
    assert!(recorder.end().0.success());
    session
}

/// Returns the number of random places to try in each recording: `few`, or the value of
/// `SCENETAP_PLACES`.
pub fn places(few: u64) -> u64 {
    from_environment("SCENETAP_PLACES").unwrap_or(few)
}

/// Returns recordings with pictures that are hard to reach from the middle, each with a name.
pub fn recordings(studio: &Studio) -> Vec<(&'static str, PathBuf)> {
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
    let sparse = studio.path("sparse");
    std::fs::write(&sparse, with_sparse_parameter_sets(&std::fs::read(&open).unwrap())).unwrap();
    vec![
        ("open GOP, sparse parameter sets", sparse),
        ("open GOP", open),
        ("intra refresh", refresh),
        ("field-coded H.264", fields),
        ("interlaced MPEG-2", fixture("bbb_mpeg2_576i25_tff")),
        ("HEVC 10 bit, open GOP", fixture("bbb_hevc_main10_360p24_opengop")),
        ("H.264 with scene cuts", fixture("bbb_h264_bframes_scenecut_360p24")),
        ("after clock restarts", restart),
    ]
}

/// Keeps the parameter sets of every third key frame, and replaces the others by filler data.
fn with_sparse_parameter_sets(stream: &[u8]) -> Vec<u8> {
    const SPS: u8 = 0x67;
    const PPS: u8 = 0x68;
    const FILLER: u8 = 0x0c;
    let mut sparse = stream.to_vec();
    let mut count = 0;
    for at in memchr::memmem::find_iter(stream, &[0, 0, 1]).map(|at| at + 3) {
        count += usize::from(stream[at] == SPS);
        if matches!(stream[at], SPS | PPS) && count % 3 != 1 {
            sparse[at] = FILLER;
        }
    }
    assert!(count > 4, "{count} key frames");
    sparse
}
