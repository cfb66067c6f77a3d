//! However a stream is muxed, its pictures and times equal ffmpeg's. If ffmpeg does not follow a
//! change of the stream, scenetap does.

use std::path::Path;

use crate::common::cache::Ffmpeg;
use crate::common::oracle::{
    Verdicts, assert_parity, assert_same, ffmpeg, ffmpeg_of, is_reference, ours, ours_with,
};
use crate::common::studio::{AAC, MPEG2, Studio, X264, X265};
use crate::common::ts::{Header, VIDEO_PID, tables, with_headers};
use crate::common::{Recorder, fixture, scenetap, send_bytes};
use rustix::process::Signal;
use scenetap_testkit::Mux;
use serde_json::Value;

/// Returns one stream of each codec, with pictures that are shown in a different order
/// than coded.
fn streams_of_each_codec(studio: &Studio) -> [(&'static str, Vec<u8>); 4] {
    [
        ("H.264", format!("{X264} -bf 3")),
        ("HEVC", format!("{X265} -bf 3")),
        ("MPEG-2", format!("{MPEG2} -bf 2")),
        ("MPEG-1", "-c:v mpeg1video -qscale:v 3 -g 12 -bf 2".to_owned()),
    ]
    .map(|(name, video)| {
        let path = studio.encode("plain", "25", "160x120", &video, AAC);
        (name, std::fs::read(path).unwrap())
    })
}

/// Asserts equal scores, and equal times except for at most `guessed` pictures.
fn assert_same_but_for_times(context: &str, theirs: &Verdicts, ours: &Verdicts, guessed: usize) {
    let part = |list: &[String], at: usize| -> Vec<String> {
        list.iter().map(|picture| picture.split(',').nth(at).unwrap().to_owned()).collect()
    };
    assert_eq!(part(&ours.pictures, 1), part(&theirs.pictures, 1), "{context}: scores");
    let (theirs, ours) = (part(&theirs.pictures, 0), part(&ours.pictures, 0));
    let other = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours).count();
    assert!(other <= guessed, "{context}: {other} times differ, {guessed} were guessed");
    eprintln!("{context}: {other} times differ, {guessed} were guessed");
}

/// Asserts that each stream, with changed PES headers, has the pictures that ffmpeg finds.
fn assert_headers(header: impl Fn(usize, usize) -> Header) {
    let Some(studio) = Studio::open() else { return };
    for (name, stream) in streams_of_each_codec(&studio) {
        let pictures = std::cell::Cell::new(0);
        with_headers(&stream, |n| {
            pictures.set(n + 1);
            Header::Kept
        });
        assert_eq!(pictures.get(), 75, "{name}");
        let changed = with_headers(&stream, |n| header(n, pictures.get()));
        assert_ne!(changed, stream);
        let path = studio.path("changed");
        std::fs::write(&path, changed).unwrap();
        let (theirs, ours) = (ffmpeg(&path), ours(&path));
        assert_eq!(ours.pictures.len(), pictures.get(), "{name}");
        if is_reference() {
            assert_same(name, &theirs, &ours);
            continue;
        }
        let has_none =
            |n: &usize| matches!(header(*n, pictures.get()), Header::Timeless | Header::Gone);
        let guessed = (0..pictures.get()).filter(has_none).count();
        assert_same_but_for_times(name, &theirs, &ours, guessed);
    }
}

#[test]
fn several_pictures_in_one_pes() {
    assert_headers(|n, _| if n % 3 == 0 { Header::Kept } else { Header::Gone });
}

#[test]
fn pictures_without_pts() {
    assert_headers(|n, _| if n == 0 || n % 5 < 2 { Header::Kept } else { Header::Timeless });
}

#[test]
fn a_last_picture_without_pts() {
    assert_headers(|n, pictures| if n + 2 < pictures { Header::Kept } else { Header::Timeless });
}

#[test]
fn pictures_without_dts() {
    assert_headers(|_, _| Header::PtsAlone);
}

/// Returns a stream of two programs with one video each.
fn two_programs(studio: &Studio) -> std::path::PathBuf {
    let command = Ffmpeg::new()
        .args(["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2"])
        .args(["-f", "lavfi", "-i", "mandelbrot=s=128x96:r=25,trim=duration=3"])
        .args(["-map", "0", "-map", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-threads", "1"])
        .args(["-program", "program_num=1:st=0", "-program", "program_num=2:st=1"]);
    studio.make("two", command)
}

#[test]
fn of_several_programs_the_first_with_video_is_followed_unless_one_is_chosen() {
    let Some(studio) = Studio::open() else { return };
    let path = two_programs(&studio);
    assert_same("the first", &ffmpeg_of(&path, "0:v:0"), &ours(&path));
    for (program, map) in [("1", "0:v:0"), ("2", "0:v:1")] {
        let ours = ours_with(&path, &["--program", program]);
        assert_same(program, &ffmpeg_of(&path, map), &ours);
    }
}

#[test]
fn a_program_that_is_not_there_is_one_line_and_exit_status_1() {
    let Some(studio) = Studio::open() else { return };
    let path = two_programs(&studio);
    let output = scenetap().args(["scan", "--program", "3"]).arg(&path).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("program 3") && log.contains("1, 2"), "{log}");
}

#[test]
fn scan_list_shows_programs_streams_codecs_and_pids() {
    let Some(studio) = Studio::open() else { return };
    let path = two_programs(&studio);
    let list = |options: &[&str]| {
        let output = scenetap().args(["-q", "scan", "--list"]).args(options).arg(&path).output();
        let output = output.unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = list(&[]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("program 1 ") && lines[2].starts_with("program 2 "), "{text}");
    assert!(lines[1].contains("0x0100") && lines[1].contains("h264"), "{text}");
    assert!(lines[1].ends_with("<- used for detection"), "{text}");
    assert!(lines[3].contains("0x0101") && !lines[3].contains("<-"), "{text}");
    let programs: Vec<Value> = list(&["--json", "--program", "2"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let followed = |program: usize| programs[program]["streams"][0]["followed"].as_bool();
    assert_eq!((programs.len(), followed(0), followed(1)), (2, Some(false), Some(true)));
}

/// Asserts that every picture of a stream after another one is found, as in each stream alone.
/// ffmpeg does not follow the change.
fn assert_followed(context: &str, first: &Path, second: &Path, studio: &Studio) {
    let scores = |path: &Path| -> Vec<String> {
        let score = |picture: &String| picture.split_once(',').unwrap().1.to_owned();
        ours(path).pictures.iter().map(score).collect()
    };
    let (first_alone, second_alone) = (scores(first), scores(second));
    let both = scores(&studio.join("both", &[first, second]));
    let (before, after) = both.split_at(first_alone.len());
    assert_eq!(before, first_alone, "{context}: before the change");
    assert_eq!(after.len(), second_alone.len(), "{context}: behind the change");
    // The scores of the first two depend on pictures before the change.
    assert_eq!(after[2..], second_alone[2..], "{context}: behind the change");
}

#[test]
fn a_codec_that_changes_is_followed() {
    let Some(studio) = Studio::open() else { return };
    let h264 = studio.encode("h264", "25", "160x120", &format!("{X264} -bf 2"), "");
    let hevc = studio.encode("hevc", "25", "160x120", &format!("{X265} -bf 2"), "");
    let mpeg2 = studio.encode("mpeg2", "25", "160x120", MPEG2, "");
    assert_followed("H.264 to HEVC", &h264, &hevc, &studio);
    assert_followed("HEVC to MPEG-2", &hevc, &mpeg2, &studio);
    assert_followed("MPEG-2 to H.264", &mpeg2, &h264, &studio);
}

#[test]
fn a_pid_that_moves_is_followed() {
    let Some(studio) = Studio::open() else { return };
    let original = studio.encode("here", "25", "160x120", &format!("{X264} -bf 2"), "");
    let moved_options =
        format!("{X264} -bf 2 -mpegts_start_pid 0x200 -mpegts_pmt_start_pid 0x1100");
    let moved = studio.encode("there", "25", "160x120", &moved_options, "");
    assert_followed("other PIDs", &original, &moved, &studio);
}

#[test]
fn a_sender_with_another_program_number_is_followed_live() {
    let Some(studio) = Studio::open() else { return };
    let folder = tempfile::tempdir().unwrap();
    let one = studio.encode("one", "25", "160x120", &format!("{X264} -bf 2"), AAC);
    let five = format!("{X265} -mpegts_service_id 5 -mpegts_start_pid 0x200");
    let five = studio.encode("five", "25", "192x128", &five, AAC);
    let recorder = Recorder::start(folder.path(), "s", &["--max-frame-interval", "0.2"]);
    for sender in [&one, &five] {
        send_bytes(&recorder.address, &std::fs::read(sender).unwrap());
        recorder.wait_for("has left");
    }
    let recording = recorder.session.join("stream/recording.ts");
    recorder.signal(Signal::TERM);
    let (status, live) = recorder.end();
    assert!(status.success());
    let both = studio.join("both", &[&one, &five]);
    assert_eq!(std::fs::read(recording).unwrap(), std::fs::read(&both).unwrap());
    let number = |entry: &Value, key: &str| entry[key].as_f64().unwrap();
    let live: Vec<_> = live
        .iter()
        .map(|entry| format!("{:.6},{:.6}", number(entry, "timestamp"), number(entry, "score")))
        .collect();
    assert_eq!(live, ours_with(&both, &["--max-frame-interval", "0.2"]).frames);
    // Three seconds of each.
    assert!(live.len() >= 28, "{live:?}");
}

#[test]
fn a_size_that_changes_within_the_same_macroblocks() {
    let Some(studio) = Studio::open() else { return };
    let cropped = studio.encode("cropped", "25", "160x116", &format!("{X264} -bf 2"), "");
    let whole = studio.encode("whole", "25", "160x128", &format!("{X264} -bf 2"), "");
    assert_parity("160×116, then 160×128", &studio.join("grows", &[&cropped, &whole]));
    assert_parity("160×128, then 160×116", &studio.join("shrinks", &[&whole, &cropped]));
}

#[test]
fn scrambled_video_is_counted_told_once_and_not_decoded() {
    let clip = fixture("bbb_h264_zerolatency_360p30_gop2s");
    let mut stream = std::fs::read(&clip).unwrap();
    let packets = stream.len() / 188;
    let (from, to) = (packets / 3, packets / 2);
    for packet in stream.chunks_exact_mut(188).take(to).skip(from) {
        packet[3] |= 0x80;
        let payload = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        packet[payload..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scrambled.ts");
    std::fs::write(&path, &stream).unwrap();
    let output = scenetap().arg("scan").arg(&path).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert_eq!(log.matches("the video is scrambled").count(), 1, "{log}");
    assert!(log.contains(" scrambled packets"), "counted: {log}");
    let pictures = |file| ours(file).pictures.len();
    let (whole, rest) = (pictures(&clip), pictures(&path));
    // A sixth of the packets is missing, and in addition at most one group of two
    // seconds.
    assert!(rest < whole * 9 / 10 && rest > whole / 2, "{rest} of {whole} pictures");
}

/// Returns a stream with one PES packet per second that contains no pictures.
fn without_pictures(stream_type: u8, descriptors: &[u8]) -> Vec<u8> {
    let mut mux = Mux::default();
    for n in 0..20 {
        tables(&mut mux, stream_type, descriptors);
        mux.pes(VIDEO_PID, 0xbd, 90_000 * n, &[0x12; 3_000]);
    }
    mux.bytes
}

/// Returns the log of `record` for a stream without pictures.
fn recorded_without_frames(stream: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &["--once"]);
    send_bytes(&recorder.address, stream);
    let log = recorder.wait_for("no frames will be kept");
    let recording = recorder.session.join("stream/recording.ts");
    let (status, frames) = recorder.end();
    assert!(status.success() && frames.is_empty());
    assert!(std::fs::read(recording).unwrap() == stream);
    // Nothing is missing, because there is nothing to detect.
    let check = scenetap().arg("check").arg(folder.path().join("s")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    log
}

#[test]
fn audio_only_records_and_says_that_it_has_no_video() {
    let Some(studio) = Studio::open() else { return };
    let sine = ["-f", "lavfi", "-i", "sine=duration=2", "-c:a", "aac"];
    let path = studio.make("audio", Ffmpeg::new().args(sine));
    let log = recorded_without_frames(&std::fs::read(&path).unwrap());
    assert!(log.contains("no video"), "{log}");
    let output = scenetap().arg("scan").arg(&path).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("no frames will be kept"), "{log}");
}

#[test]
fn data_only_records_and_says_that_it_has_no_video() {
    let log = recorded_without_frames(&without_pictures(0x06, &[]));
    assert!(log.contains("no video"), "{log}");
}

#[test]
fn av1_records_and_is_told_in_one_line() {
    let log = recorded_without_frames(&without_pictures(0x06, b"\x05\x04AV01"));
    assert!(log.contains("av1"), "{log}");
}
