//! Other programs on a session while it is recorded: a second recorder, a scan, and an agent that
//! writes to the index in every possible way.

use std::fs::{self, OpenOptions};
use std::path::Path;

use crate::common::{Recorder, assert_golden, fixture, index, scenetap, send_bytes};
use rustix::process::Signal;
use serde_json::{Value, json};

const CLIP: &str = "bbb_h264_zerolatency_360p30_gop2s";

/// Records the first half of the clip, runs `meanwhile` with the session and the frames
/// reported so far, and records the other half. Asserts that the frames are those of an
/// undisturbed recorder. Returns the entries, and the other files in the folder.
fn recorded_beside(meanwhile: impl FnOnce(&Path, &[Value])) -> (Vec<Value>, Vec<String>) {
    let sessions = tempfile::tempdir().unwrap();
    let bytes = fs::read(fixture(CLIP)).unwrap();
    let mut recorder = Recorder::start(sessions.path(), "s", &[]);
    let half = bytes.len() / 376 * 188;
    send_bytes(&recorder.address, &bytes[..half]);
    let reported: Vec<_> = (0..5).map(|_| recorder.next_frame().unwrap()).collect();
    meanwhile(&recorder.session, &reported);
    send_bytes(&recorder.address, &bytes[half..]);
    recorder.wait_for("has left");
    recorder.wait_for("has left");
    let session = recorder.session.clone();
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    let entries = index(&session);
    assert_golden(CLIP, "frames", &entries);
    let mut others: Vec<_> = fs::read_dir(session.join("frames"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".jpg"))
        .collect();
    others.sort();
    assert!(entries.iter().all(|entry| Path::new(entry["path"].as_str().unwrap()).is_file()));
    (entries, others)
}

/// Returns the text of the index with a note on its first entry.
fn noted(session: &Path) -> Vec<u8> {
    let mut entries = index(session);
    entries[0]["sent_to_agent"] = json!(true);
    entries[0]["note"] = json!("a squirrel");
    serde_json::to_vec(&entries).unwrap()
}

fn assert_noted(entries: &[Value], others: &[String]) {
    assert_eq!(entries[0]["sent_to_agent"], json!(true));
    assert_eq!(entries[0]["note"], json!("a squirrel"));
    assert_eq!(others, ["index.json", "index.lock", "state.json"]);
}

#[test]
fn an_index_renamed_into_its_place_is_merged() {
    let (entries, others) = recorded_beside(|session, _| {
        let own = session.join("frames/agents-own");
        fs::write(&own, noted(session)).unwrap();
        fs::rename(own, session.join("frames/index.json")).unwrap();
    });
    assert_noted(&entries, &others);
}

#[test]
fn an_index_written_in_place_under_the_lock_is_merged() {
    let (entries, others) = recorded_beside(|session, _| {
        let lock = OpenOptions::new().write(true).open(session.join("frames/index.lock")).unwrap();
        lock.lock().unwrap();
        // No other writer can interfere, however long this takes.
        fs::write(session.join("frames/index.json"), noted(session)).unwrap();
    });
    assert_noted(&entries, &others);
}

#[test]
fn an_index_written_in_place_without_the_lock_is_merged() {
    let (entries, others) = recorded_beside(|session, reported| {
        // Between two writes of the index: the first half is recorded, and its frames are kept.
        let count = |entries: &[Value]| entries.len();
        while count(&index(session)) < reported.len() + 1 || !is_caught_up(session) {
            std::thread::yield_now();
        }
        fs::write(session.join("frames/index.json"), noted(session)).unwrap();
    });
    assert_noted(&entries, &others);
}

/// Returns whether detection has analyzed everything recorded.
fn is_caught_up(session: &Path) -> bool {
    let output = scenetap().args(["status", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).any(|status| {
        let is_read = status["lag_bytes"].as_u64().is_some_and(|lag| lag < 64 << 10);
        status["folder"] == session.to_str().unwrap() && is_read
    })
}

#[test]
fn entries_that_are_deleted_come_back() {
    let mut deleted = Vec::new();
    let (entries, others) = recorded_beside(|session, reported| {
        let own = session.join("frames/agents-own");
        fs::write(&own, "[]").unwrap();
        fs::rename(own, session.join("frames/index.json")).unwrap();
        deleted = reported.to_vec();
    });
    assert_eq!(entries[..deleted.len()], deleted, "unchanged and in place");
    assert_eq!(others, ["index.json", "index.lock", "state.json"]);
}

#[test]
fn an_index_that_is_removed_comes_back() {
    let (_, others) = recorded_beside(|session, _| {
        fs::remove_file(session.join("frames/index.json")).unwrap();
    });
    assert_eq!(others, ["index.json", "index.lock", "state.json"]);
}

#[test]
fn an_index_left_half_written_is_set_aside_and_written_again() {
    let (_, others) = recorded_beside(|session, _| {
        let text = noted(session);
        fs::write(session.join("frames/agents-own"), &text[..text.len() / 2]).unwrap();
        fs::rename(session.join("frames/agents-own"), session.join("frames/index.json")).unwrap();
    });
    assert_eq!(others, ["index.json", "index.json.corrupt-1", "index.lock", "state.json"]);
}

#[test]
fn a_scan_beside_a_recorder_has_its_frames_and_disturbs_nobody() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (entries, others) = recorded_beside(|session, _| {
        let scan = |frames: &Path| {
            let recording = session.join("stream/recording.ts");
            let mut command = scenetap();
            command.args(["-q", "scan"]).arg(recording).arg("--frames-dir").arg(frames);
            assert!(command.status().unwrap().success());
        };
        scan(elsewhere.path());
        // Even into the same folder: an existing frame is not kept twice.
        scan(&session.join("frames"));
    });
    assert_eq!(others, ["index.json", "index.lock", "state.json"]);
    let scanned: Vec<Value> =
        serde_json::from_slice(&fs::read(elsewhere.path().join("index.json")).unwrap()).unwrap();
    let summary = |entry: &Value| (entry["id"].clone(), entry["timestamp"].clone());
    let pairs = scanned.iter().map(summary).zip(entries.iter().map(summary));
    assert!(
        scanned.len() >= 5
            && pairs
                .into_iter()
                .all(|(scanned_entry, recorded_entry)| scanned_entry == recorded_entry)
    );
}

#[test]
fn a_second_recorder_is_refused_and_a_check_finds_nothing_wrong() {
    let (_, others) = recorded_beside(|session, _| {
        let sessions = session.parent().unwrap();
        let record = ["-q", "record", "--listen", "127.0.0.1:0", "--session", "s"];
        let output = scenetap().args(record).arg("--sessions-dir").arg(sessions).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.lines().count() == 1 && message.contains("another scenetap"), "{message}");
        let check = scenetap().arg("check").arg(session).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    });
    assert_eq!(others, ["index.json", "index.lock", "state.json"]);
}
