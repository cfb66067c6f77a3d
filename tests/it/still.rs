//! `still`: the picture of any moment is the one that ffmpeg shows.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use scenetap::pipeline::evidence::{self, Moment, OpenRecording, Target};
use scenetap::session::Session;
use serde_json::Value;

use crate::common::cache::{Ffmpeg, INPUT};
use crate::common::pictures::{Shown, by_ffmpeg, places, record, recordings};
use crate::common::random::{Random, seed};
use crate::common::studio::Studio;
use crate::common::{Recorder, fixture, has, oracle, scenetap};

fn still(target: &Target, at: f64) -> Shown {
    let source = OpenRecording::open(target, None).unwrap();
    let still = evidence::still(&source, Moment::FromStart(at), &|| false).unwrap();
    (still.pts.0, still.picture.checksum())
}

/// Asserts that the pictures at `count` random moments, at each end and between two pictures are
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
        // At the end of a stream whose PTS are not trusted, FFmpeg's times may go back by a picture or
        // two: a player shows the picture before the first later one.
        let later = pictures.iter().position(|(time, _)| *time > ticks);
        let expected = pictures[later.unwrap_or(pictures.len()).saturating_sub(1)];
        // A file without an index must be read to its end first, so fewer of these moments are tried.
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
    for (name, file) in recordings(&studio) {
        assert_stills(name, &file, places(30), &mut random);
    }
}

fn run(arguments: &[&str], target: &Path, output: &Path) -> Output {
    scenetap().arg("still").arg(target).args(arguments).arg("-o").arg(output).output().unwrap()
}

/// Returns the last line of stderr, which states the reason of a failure.
fn reason(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines().last().unwrap_or_default().to_owned()
}

/// Returns the pixels of a file, and its width and height.
fn pixels(file: &Path) -> (Vec<u8>, (u32, u32)) {
    let image = image::open(file).unwrap().into_rgb8();
    let size = image.dimensions();
    (image.into_raw(), size)
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn a_picture_is_written_as_its_name_ends_with_the_colors_that_ffmpeg_shows() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["bbb_h264_bframes_scenecut_360p24", "bbb_hevc_main10_360p24_opengop"] {
        let file = fixture(name);
        let shown = Ffmpeg::new()
            .args(["-threads", "1", "-i", INPUT, "-map", "0:v:0", "-frames:v", "1"])
            .args(["-vf", "select=gte(n\\,110),scale=flags=accurate_rnd+full_chroma_int+bicubic"])
            .args(["-fps_mode", "passthrough", "-pix_fmt", "rgb24"])
            .input(&file)
            .file("rawvideo");
        let shown = std::fs::read(shown).unwrap();
        let at = oracle::ffmpeg(&file).pictures[110].split(',').next().unwrap().to_owned();
        let line = run(&["--at", &at, "--json"], &file, &path("a.png"));
        let line: Value = serde_json::from_slice(&line.stdout).unwrap();
        assert_eq!(format!("{:.6}", line["timestamp"].as_f64().unwrap()), at);
        assert_eq!(line["path"], path("a.png").to_str().unwrap());
        assert!(line["keyframe_offset"].as_u64() < line["offset"].as_u64(), "{line}");
        let (png, size) = pixels(&path("a.png"));
        assert_eq!(size, (640, 360));
        assert!(mean_difference(&png, &shown) < 1.0, "{}", mean_difference(&png, &shown));
        for (ending, most) in [("jpg", 3.0), ("JPEG", 3.0)] {
            let file_out = path(&format!("a.{ending}"));
            assert!(run(&["--at", &at], &file, &file_out).status.success());
            assert!(mean_difference(&pixels(&file_out).0, &png) < most, "{ending}");
        }
        let jpeg = run(&["--at", &at], &file, Path::new("-"));
        assert!(jpeg.stdout == std::fs::read(path("a.jpg")).unwrap(), "the same on stdout");
        assert!(run(&["--at", &at, "--width", "320"], &file, &path("small.png")).status.success());
        assert_eq!(pixels(&path("small.png")).1, (320, 180));
    }
}

#[test]
fn what_cannot_be_shown_is_one_line_and_the_older_file_stays() {
    let file = fixture("bbb_h264_bframes_scenecut_360p24");
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.jpg");
    std::fs::write(&output, "older").unwrap();
    let session = record(folder.path(), &file);
    let failed = |target: &Path, arguments: &[&str], status: i32, text: &str| {
        let failed = run(arguments, target, &output);
        assert_eq!(failed.status.code(), Some(status), "{arguments:?}");
        let reason = reason(&failed);
        assert!(reason.contains(text), "{arguments:?}: {reason}");
        assert_eq!(std::fs::read(&output).unwrap(), b"older");
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "{arguments:?}: only the session and the older file");
    };
    failed(
        &file,
        &["--at", "1e4"],
        1,
        "no picture at 10000.000000 s: the newest is at 29.979667 s",
    );
    failed(&session, &["--at", "29.98"], 1, "the newest is at 29.979667 s");
    failed(&session, &["--frame", "F9999"], 1, "no frame F9999");
    failed(&file, &["--frame", "F0001"], 1, "a file has no frames");
    failed(&folder.path().join("none"), &["--at", "1"], 1, "no session of that name");
    failed(&session, &["--at", "1:75"], 2, "");
    failed(&session, &[], 2, "give --at TIME or --frame ID");
    let text = run(&["--at", "1"], &session, &folder.path().join("a.gif"));
    assert_eq!(text.status.code(), Some(2));
    assert!(reason(&text).contains("must end in .jpg"), "{}", reason(&text));
    let onto = session.join("stream/recording.ts");
    std::fs::copy(&onto, folder.path().join("copy.png")).unwrap();
    let itself =
        run(&["--at", "1"], &folder.path().join("copy.png"), &folder.path().join("copy.png"));
    assert!(reason(&itself).contains("the recording itself"), "{}", reason(&itself));
    std::fs::remove_file(folder.path().join("copy.png")).unwrap();
    std::fs::remove_file(&onto).unwrap();
    failed(&session, &["--at", "1"], 1, "its recording was deleted");
}

#[test]
fn a_frame_of_the_index_is_shown_and_what_its_entry_names_is_never_opened() {
    let file = fixture("bbb_h264_bframes_scenecut_360p24");
    let folder = tempfile::tempdir().unwrap();
    let session = record(folder.path(), &file);
    let index = session.join("frames/index.json");
    let mut entries = crate::common::index(&session);
    // Opening the FIFO would block forever.
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    entries.iter_mut().for_each(|entry| entry["path"] = fifo.to_str().unwrap().into());
    std::fs::write(&index, serde_json::to_string_pretty(&entries).unwrap()).unwrap();
    for entry in &entries {
        let id = entry["id"].as_str().unwrap();
        let line = run(&["--frame", id, "--json"], &session, &folder.path().join("a.jpg"));
        let line: Value = serde_json::from_slice(&line.stdout).unwrap();
        for key in ["timestamp", "offset", "keyframe_offset"] {
            assert_eq!(line[key], entry[key], "{id}");
        }
        let jpeg = std::fs::read(session.join(format!("frames/{id}.jpg"))).unwrap();
        assert!(std::fs::read(folder.path().join("a.jpg")).unwrap() == jpeg, "{id}");
    }
}

#[test]
fn no_link_is_followed_in_place_of_a_file_of_the_session() {
    let file = fixture("bbb_h264_bframes_scenecut_360p24");
    let folder = tempfile::tempdir().unwrap();
    let session = record(folder.path(), &file);
    let outside = folder.path().join("outside");
    let linked = |name: &str, check: &dyn Fn(Output)| {
        let path = session.join("stream").join(name);
        std::fs::rename(&path, &outside).unwrap();
        symlink(&outside, &path).unwrap();
        check(run(&["--at", "10"], &session, &folder.path().join("a.jpg")));
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&outside, &path).unwrap();
    };
    linked("recording.ts", &|output| {
        assert_eq!(output.status.code(), Some(1));
        assert!(reason(&output).contains("symbolic link"), "{}", reason(&output));
        assert!(!folder.path().join("a.jpg").exists());
    });
    // Without these files, the recording is read.
    for name in ["keyframes.idx", "checkpoint.json"] {
        linked(name, &|output| assert!(output.status.success(), "{name}: {}", reason(&output)));
    }
    // The folder named by the user may be a symbolic link.
    symlink(&session, folder.path().join("alias")).unwrap();
    let alias = run(&["--at", "10"], &folder.path().join("alias"), &folder.path().join("b.jpg"));
    assert!(alias.status.success(), "{}", reason(&alias));
    let [a, b] = ["a.jpg", "b.jpg"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    assert!(a == b);
}

#[test]
fn an_index_of_key_frames_that_is_missing_is_built_by_the_first_who_needs_it() {
    let file = fixture("bbb_hevc_360p24_gop2s");
    let folder = tempfile::tempdir().unwrap();
    let session = record(folder.path(), &file);
    let index = session.join("stream/keyframes.idx");
    let written = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    assert!(run(&["--at", "-1"], &session, &folder.path().join("a.jpg")).status.success());
    assert!(std::fs::read(&index).unwrap() == written);
}

#[test]
fn a_recording_that_grows_is_looked_at_up_to_its_newest_picture() {
    let file = fixture("bbb_h264_bframes_scenecut_360p24");
    let bytes = std::fs::read(&file).unwrap();
    // Ends within a packet.
    let part = &bytes[..bytes.len() / 2 + 77];
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &[]);
    let session = recorder.session.clone();
    let mut sender = TcpStream::connect(&recorder.address).unwrap();
    sender.write_all(part).unwrap();
    recorder.wait_for_bytes(part.len() / 188 * 188);
    let output = folder.path().join("a.png");
    let timestamp = |arguments: &[&str]| {
        let made = run(&[arguments, &["--json"]].concat(), &session, &output);
        let line: Value = serde_json::from_slice(&made.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", reason(&made)));
        line["timestamp"].as_f64().unwrap()
    };
    let newest = timestamp(&["--at", "-0"]);
    let pictures = oracle::ffmpeg(&file).pictures;
    let time = |picture: &String| picture.split(',').next().unwrap().parse::<f64>().unwrap();
    assert!(pictures.iter().any(|picture| (time(picture) - newest).abs() < 1e-6), "{newest}");
    assert!((10.0..20.0).contains(&newest), "{newest}");
    let earlier = timestamp(&["--at", "-5"]);
    assert!((newest - earlier - 5.0).abs() < 0.2, "{earlier}");
    assert_eq!(timestamp(&["--at", &newest.to_string()]), newest);
    let late = run(&["--at", "25"], &session, &output);
    assert_eq!(late.status.code(), Some(1));
    assert!(reason(&late).contains("no picture at 25.000000 s yet"), "{}", reason(&late));
    sender.write_all(&bytes[part.len()..]).unwrap();
    drop(sender);
    recorder.wait_for_bytes(bytes.len());
    assert!(timestamp(&["--at", "25"]) > 24.9);
    drop(recorder);
}
