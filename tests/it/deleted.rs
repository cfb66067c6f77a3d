//! Deleted recordings and sessions stay deleted: a restart creates and removes no files in their
//! folders, and reuses no session number.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::series::{assert_is_detected, series};
use crate::common::{Recorder, fixture, index, send_bytes};

const ROTATION: [&str; 5] = ["--once", "--rotate-bytes", "300K", "--max-frame-interval", "1"];

/// Records a series of sessions `s`, `s_2` …, and returns them.
fn recorded(sessions: &Path) -> Vec<PathBuf> {
    let stream = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    record(sessions, &stream);
    let series = series(sessions);
    assert!(series.len() >= 4, "{series:?}");
    series
}

fn record(sessions: &Path, bytes: &[u8]) {
    let recorder = Recorder::start(sessions, "s", &ROTATION);
    send_bytes(&recorder.address, bytes);
    assert!(recorder.end().0.success());
}

fn more() -> Vec<u8> {
    let stream = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    stream[..188 * 1000].to_vec()
}

/// Returns the names of the sessions that exist.
fn names(sessions: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(sessions).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn recordings_that_were_deleted_are_not_made_again_and_their_frames_stay() {
    let sessions = tempfile::tempdir().unwrap();
    let series = recorded(sessions.path());
    let (last, earlier) = series.split_last().unwrap();
    let before: Vec<Vec<Value>> = earlier.iter().map(|session| index(session)).collect();
    assert!(before.iter().all(|entries| !entries.is_empty()));
    for session in earlier {
        std::fs::remove_file(session.join("stream/recording.ts")).unwrap();
    }
    record(sessions.path(), &more());
    for (session, before) in earlier.iter().zip(&before) {
        assert!(!session.join("stream/recording.ts").exists(), "{}", session.display());
        assert!(index(session) == *before, "{}: the index changed", session.display());
    }
    assert!(assert_is_detected(last, &["--max-frame-interval", "1"]) > 0);
}

#[test]
fn where_the_last_recording_was_deleted_the_stream_goes_on_in_a_new_session() {
    for arguments in [&ROTATION[..], &["--once"]] {
        let sessions = tempfile::tempdir().unwrap();
        let series = recorded(sessions.path());
        let last = series.last().unwrap();
        for session in &series {
            std::fs::remove_file(session.join("stream/recording.ts")).unwrap();
        }
        let before = index(last);
        let recorder = Recorder::start(sessions.path(), "s", arguments);
        let next = sessions.path().join(format!("s_{}", series.len() + 1));
        let bytes = more();
        send_bytes(&recorder.address, &bytes);
        assert!(recorder.end().0.success());
        assert_eq!(std::fs::read(next.join("stream/recording.ts")).unwrap(), bytes);
        assert!(index(last) == before, "the index changed");
    }
}

#[test]
fn numbers_of_sessions_that_were_deleted_are_not_used_again() {
    let sessions = tempfile::tempdir().unwrap();
    let series = recorded(sessions.path());
    let last = series.last().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    // The oldest, and one in between.
    std::fs::remove_dir_all(sessions.path().join("s")).unwrap();
    std::fs::remove_dir_all(sessions.path().join("s_3")).unwrap();
    let before = names(sessions.path());
    record(sessions.path(), &more());
    recorded_on(sessions.path());
    let new: Vec<_> =
        names(sessions.path()).into_iter().filter(|it| !before.contains(it)).collect();
    let number = |name: &str| name["s_".len()..].parse::<u32>().unwrap();
    assert!(!new.is_empty() && new.iter().all(|name| number(name) > number(&last)), "{new:?}");
}

fn recorded_on(sessions: &Path) {
    record(sessions, &std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap());
}
