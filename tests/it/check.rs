//! `check` reports the problems of a session; `--repair` fixes them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use crate::common::{Recorder, fixture, index, scenetap, send_bytes};
use rustix::process::Signal;
use serde_json::{Value, json};

const RECORDED_WITH: [&str; 2] = ["--scene-threshold", "0.1"];

/// Returns a session of a short clip; an agent has acknowledged its first frame.
fn recorded(sessions: &Path) -> std::path::PathBuf {
    let mut arguments = vec!["--once"];
    arguments.extend(RECORDED_WITH);
    let recorder = Recorder::start(sessions, "s", &arguments);
    let mut stream = fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    stream.truncate(2000 * 188);
    send_bytes(&recorder.address, &stream);
    assert!(recorder.end().0.success());
    let session = sessions.join("s");
    let path = session.join("frames/index.json");
    let mut entries = index(&session);
    assert!(entries.len() >= 2);
    entries[0]["sent_to_agent"] = json!(true);
    entries[0]["note"] = json!("seen");
    fs::write(&path, serde_json::to_vec(&entries).unwrap()).unwrap();
    // A frame that no entry lists could not be restored.
    let recorder = Recorder::start(sessions, "s", &RECORDED_WITH);
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    session
}

fn check(session: &Path, arguments: &[&str]) -> Output {
    scenetap().arg("check").arg(session).args(arguments).args(RECORDED_WITH).output().unwrap()
}

fn stdout_of(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the entries and the JPEGs.
fn frames(session: &Path) -> (Vec<Value>, BTreeMap<String, Vec<u8>>) {
    let jpegs = fs::read_dir(session.join("frames"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), fs::read(path).unwrap()));
    (index(session), jpegs.collect())
}

/// Damages a session. Asserts that `check` reports `problem`, and that `--repair` restores
/// everything.
fn assert_is_repaired(problem: &str, damage: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let session = recorded(folder.path());
    let before = frames(&session);
    let clean = check(&session, &[]);
    assert!(
        clean.status.success() && stdout_of(&clean).starts_with("s: ok: "),
        "{}",
        stdout_of(&clean)
    );
    damage(&session);
    let found = check(&session, &[]);
    assert_eq!(found.status.code(), Some(1), "{problem}");
    assert!(stdout_of(&found).contains(problem), "{problem}: {}", stdout_of(&found));
    let repaired = check(&session, &["--repair"]);
    let log = String::from_utf8_lossy(&repaired.stderr).into_owned();
    assert!(repaired.status.success(), "{problem}: {}{log}", stdout_of(&repaired));
    assert!(check(&session, &[]).status.success(), "{problem}");
    let after = frames(&session);
    assert_eq!(after.0, before.0, "{problem}");
    assert!(after.1 == before.1, "{problem}: other JPEGs");
}

#[test]
fn a_torn_recording_is_told_and_cut() {
    assert_is_repaired("100 bytes of a torn packet", |session| {
        let mut file =
            fs::OpenOptions::new().append(true).open(session.join("stream/recording.ts")).unwrap();
        file.write_all(&[&[0x47][..], &[9; 99]].concat()).unwrap();
    });
}

#[test]
fn a_missing_or_torn_jpeg_is_told_and_made_again() {
    assert_is_repaired("F0002.jpg: it is missing", |session| {
        fs::remove_file(session.join("frames/F0002.jpg")).unwrap();
    });
    assert_is_repaired("F0002.jpg: incomplete JPEG", |session| {
        let path = session.join("frames/F0002.jpg");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
fn a_corrupt_index_is_told_and_set_aside() {
    assert_is_repaired("index.json: not a JSON array", |session| {
        let path = session.join("frames/index.json");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
fn a_missing_index_is_told_and_comes_back() {
    assert_is_repaired("index.json: it is missing", |session| {
        fs::remove_file(session.join("frames/index.json")).unwrap();
    });
}

#[test]
fn a_checkpoint_that_is_missing_or_corrupt_is_told_and_made_again() {
    assert_is_repaired("checkpoint.json: it is missing", |session| {
        fs::remove_file(session.join("stream/checkpoint.json")).unwrap();
    });
    assert_is_repaired("checkpoint.json", |session| {
        let path = session.join("stream/checkpoint.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
    });
}

#[test]
fn what_nobody_names_is_told_and_set_aside() {
    assert_is_repaired("F0099.jpg: not listed in the index", |session| {
        fs::copy(session.join("frames/F0001.jpg"), session.join("frames/F0099.jpg")).unwrap();
    });
    assert_is_repaired("temporary file of an interrupted run", |session| {
        fs::write(session.join("frames/.F0003.jpg.tmp-12"), "half").unwrap();
        fs::write(session.join("stream/.checkpoint.json.tmp-12"), "half").unwrap();
    });
}

#[test]
fn a_session_may_be_checked_but_not_mended_while_it_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(folder.path(), "s", &[]);
    let stream = fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&stream[..3000 * 188 + 50]).unwrap();
    recorder.next_frame().unwrap();
    let checked = check(&recorder.session, &[]);
    assert!(checked.status.success(), "{}", stdout_of(&checked));
    fs::remove_file(recorder.session.join("frames/F0001.jpg")).unwrap();
    assert_eq!(check(&recorder.session, &[]).status.code(), Some(1));
    let refused = check(&recorder.session, &["--repair"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another scenetap"));
}

#[test]
fn a_session_whose_index_is_not_written_yet_is_no_problem_while_it_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &[]);
    let stream = fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    // Too few bytes to decide on the first picture.
    let begin = &stream[..20 * 188];
    socket.write_all(begin).unwrap();
    recorder.wait_for_bytes(begin.len());
    // It must not write the index meanwhile.
    recorder.signal(Signal::STOP);
    let _ = fs::remove_file(recorder.session.join("frames/index.json"));
    let checked = check(&recorder.session, &[]);
    assert!(checked.status.success(), "{}", stdout_of(&checked));
    fs::write(recorder.session.join("frames/F0001.jpg"), "").unwrap();
    let checked = check(&recorder.session, &[]);
    assert!(stdout_of(&checked).contains("index.json: it is missing"), "{}", stdout_of(&checked));
}

#[test]
fn a_recording_that_went_on_without_another_picture_is_finished_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    // A sender that disconnects right after its tables.
    for bytes in [&clip[..], &clip[..3 * 188]] {
        let recorder = Recorder::start(folder.path(), "s", &["--once"]);
        send_bytes(&recorder.address, bytes);
        assert!(recorder.end().0.success());
    }
    let check = scenetap().arg("check").arg(folder.path().join("s")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn a_failed_sync_is_told_and_no_checkpoint_goes_past_it_until_it_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let session = recorded(folder.path());
    // As left by a recorder whose disk has failed.
    fs::write(session.join("stream/unsynced"), "20000\n").unwrap();
    fs::remove_file(session.join("stream/checkpoint.json")).unwrap();
    let mut command = scenetap();
    command.env("XDG_RUNTIME_DIR", folder.path());
    let mut arguments = RECORDED_WITH.to_vec();
    arguments.extend(["--sync-interval", "0.05"]);
    let recorder = Recorder::start_as(command, folder.path(), "s", &arguments);
    let clip = fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    send_bytes(&recorder.address, &clip);
    let status = || -> Value {
        let mut status = scenetap();
        status.env("XDG_RUNTIME_DIR", folder.path()).args(["status", "s", "--json"]);
        status.arg("--sessions-dir").arg(folder.path());
        serde_json::from_slice(&status.output().unwrap().stdout).unwrap()
    };
    while status()["sync_failures"] != json!({ "s": 20_000 }) || status()["lag_bytes"] != 0 {
        std::thread::yield_now();
    }
    assert!(stdout_of(&check(&session, &[])).contains("a sync to disk has failed"));
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    assert!(!session.join("stream/checkpoint.json").exists());
    let told = stdout_of(&check(&session, &[]));
    assert!(told.lines().count() == 1 && told.contains("byte 20000: a sync"), "{told}");
    let (frames_before, _) = frames(&session);
    let repaired = check(&session, &["--repair"]);
    assert!(repaired.status.success(), "{repaired:?}");
    assert!(session.join("stream/checkpoint.json").exists());
    assert_eq!(frames(&session).0, frames_before);
}
