//! Results do not depend on the number of threads that decode.

use std::path::Path;

use serde_json::Value;

use crate::common::{FIXTURES, Recorder, fixture, judgement, scenetap, send_bytes};

/// Result of a scan: the exit status, the entries, and the score of every picture.
#[derive(PartialEq)]
struct Scanned {
    code: Option<i32>,
    entries: String,
    scores: String,
}

/// Scans `file` with `jobs` threads, in pieces of at least `units` access units.
fn scan(file: &Path, jobs: &str, units: &str) -> Scanned {
    let scores = tempfile::NamedTempFile::new().unwrap();
    let output = scenetap()
        .args(["-q", "scan", "--json", "--jobs", jobs, "--scores"])
        .args([scores.path(), file])
        .env("SCENETAP_PIECE_UNITS", units)
        .output()
        .unwrap();
    Scanned {
        code: output.status.code(),
        entries: String::from_utf8(output.stdout).unwrap(),
        scores: std::fs::read_to_string(scores.path()).unwrap(),
    }
}

#[test]
fn every_clip_gives_the_same_with_any_number_of_threads() {
    for name in FIXTURES {
        let one = scan(&fixture(name), "1", "1");
        assert!(one.scores.lines().count() > 100, "{name}");
        for (jobs, units) in [("2", "1"), ("3", "20"), ("7", "3")] {
            assert!(scan(&fixture(name), jobs, units) == one, "{name} with {jobs} threads");
        }
    }
}

#[test]
fn streams_that_change_their_codec_give_the_same_with_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.ts");
    let clips = ["bbb_h264_bframes_scenecut_360p24", "bbb_hevc_360p24_gop2s"];
    for order in [[0, 1, 0], [1, 0, 1]] {
        let bytes = order.map(|clip| std::fs::read(fixture(clips[clip])).unwrap()).concat();
        std::fs::write(&path, bytes).unwrap();
        let one = scan(&path, "1", "1");
        assert!(one.scores.lines().count() > 1_000, "{order:?}");
        for (jobs, units) in [("2", "1"), ("3", "20")] {
            assert!(scan(&path, jobs, units) == one, "{order:?} with {jobs} threads");
        }
    }
}

#[test]
fn every_real_stream_gives_the_same_with_several_threads() {
    let Some(files) = scenetap_testkit::material_streams() else { return };
    for file in files {
        let one = scan(&file, "1", "1");
        assert!(scan(&file, "3", "8") == one, "{}", file.display());
    }
}

#[test]
fn a_recorder_that_is_behind_has_the_entries_and_jpegs_of_a_scan_with_one_thread() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bbb_h264_bframes_scenecut_360p24", "bbb_h264_resolution_change"] {
        let scanned = folder.path().join(format!("{name}-scanned"));
        let scan = scenetap()
            .args(["-q", "scan", "--json", "--jobs", "1", "--frames-dir"])
            .args([&scanned, &fixture(name)])
            .output()
            .unwrap();
        let expected: Vec<Value> = String::from_utf8(scan.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let options = ["--once", "--jobs", "3", "--log", "debug"];
        let mut command = scenetap();
        command.env("SCENETAP_PIECE_UNITS", "10");
        let recorder = Recorder::start_as(command, folder.path(), name, &options);
        send_bytes(&recorder.address, &std::fs::read(fixture(name)).unwrap());
        recorder.wait_for("with 3 threads");
        let (status, entries) = recorder.end();
        assert!(status.success());
        assert_eq!(
            entries.iter().map(judgement).collect::<Vec<_>>(),
            expected.iter().map(judgement).collect::<Vec<_>>()
        );
        for entry in entries {
            let path = Path::new(entry["path"].as_str().unwrap());
            let other = scanned.join(path.file_name().unwrap());
            assert!(std::fs::read(path).unwrap() == std::fs::read(other).unwrap(), "{entry}");
        }
    }
}
