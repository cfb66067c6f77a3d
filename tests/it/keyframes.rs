//! `stream/keyframes.idx` contains every random access point of a recording, as found by ffprobe.

use std::fs;
use std::path::Path;
use std::process::Command;

use scenetap::keyframes::{Keyframe, KeyframeIndex};
use scenetap::media::RandomAccess;

use crate::common::{FIXTURES, Recorder, fixture, has, scenetap, send_bytes};

fn keyframes(index: &Path) -> Vec<Keyframe> {
    let index = KeyframeIndex::open(index).unwrap();
    assert_eq!(index.complete_from().0, 0);
    (0..index.count().unwrap()).map(|n| index.get(n).unwrap().unwrap()).collect()
}

/// Records a file, and returns the folder of the session.
fn record(sessions: &Path, file: &Path) -> std::path::PathBuf {
    let recorder = Recorder::start(sessions, "s", &["--once"]);
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &fs::read(file).unwrap());
    assert!(recorder.end().0.success());
    session
}

fn check(session: &Path, arguments: &[&str]) -> (bool, String) {
    let output = scenetap().arg("check").arg(session).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// Returns offset and time in microseconds of each key frame that ffprobe finds.
fn by_ffprobe(file: &Path) -> Vec<(u64, i64)> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries"]);
    command.args(["packet=pos,pts,flags:format=start_time", "-of", "csv=p=0"]).arg(file);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.trim_end_matches(',').split(',').collect()).collect();
    let start: f64 = rows.pop().unwrap()[0].parse().unwrap();
    let is_key = |row: &&Vec<&str>| row.len() > 2 && row[2].contains('K');
    rows.iter()
        .filter(is_key)
        .map(|row| {
            let ticks: i64 = row[0].parse().unwrap();
            (row[1].parse().unwrap(), ticks - (start * 90_000.0).round() as i64)
        })
        .collect()
}

#[test]
fn an_index_names_the_key_frames_that_ffprobe_finds_with_their_times_and_tables() {
    if !has("ffprobe") {
        return;
    }
    for name in
        ["bbb_h264_bframes_scenecut_360p24", "bbb_hevc_360p24_gop2s", "bbb_mpeg2_576i25_tff"]
    {
        let folder = tempfile::tempdir().unwrap();
        let session = record(folder.path(), &fixture(name));
        let found = keyframes(&session.join("stream/keyframes.idx"));
        let bytes = fs::read(fixture(name)).unwrap();
        for keyframe in &found {
            assert!(keyframe.random_access >= RandomAccess::Open, "{keyframe:?}");
            let tables = keyframe.tables.unwrap().0 as usize;
            assert!(tables as u64 <= keyframe.at.0 && tables.is_multiple_of(188));
            assert_eq!(bytes[tables..tables + 3], [0x47, 0x40, 0x00], "a PAT");
        }
        let ours: Vec<_> = found.iter().map(|found| (found.at.0, found.time.0)).collect();
        assert_eq!(ours, by_ffprobe(&fixture(name)), "{name}");
        assert!(ours.len() > 3);
    }
}

#[test]
fn an_index_that_is_lost_or_damaged_is_reported_and_built_again_to_the_same_bytes() {
    for name in FIXTURES {
        let folder = tempfile::tempdir().unwrap();
        let session = record(folder.path(), &fixture(name));
        let index = session.join("stream/keyframes.idx");
        let written = fs::read(&index).unwrap();
        assert!(check(&session, &[]).0, "{name}");
        for damaged in
            [None, Some(&written[..40]), Some(&b"not an index of any kind, but 40 bytes"[..])]
        {
            match damaged {
                Some(bytes) => fs::write(&index, bytes).unwrap(),
                None => fs::remove_file(&index).unwrap(),
            }
            let (is_well, problems) = check(&session, &[]);
            assert!(!is_well && problems.contains("keyframes.idx"), "{name}: {problems}");
            let (is_well, repaired) = check(&session, &["--repair"]);
            assert!(is_well, "{name}: {repaired}");
            assert!(fs::read(&index).unwrap() == written, "{name}");
        }
    }
}
