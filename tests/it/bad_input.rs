//! Invalid input on the command line and on disk: one line that states the problem, the place and a
//! solution; the right exit status; and no files left behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::common::{DEADLINE, Recorder, fixture, scenetap, send_bytes};

/// Runs the program. It must exit by itself, with this status, one line on standard error
/// and nothing on standard output. Returns the line.
fn run_refused(status: i32, arguments: &[&OsStr]) -> String {
    let mut child = scenetap()
        .arg("-q")
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("{arguments:?} does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    if status == 1 {
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
    message
}

/// Returns paths that are not valid recordings, with a word that the message must
/// contain.
fn invalid_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let at = |name: &str| folder.join(name);
    fs::write(at("empty.ts"), []).unwrap();
    fs::create_dir(at("folder.ts")).unwrap();
    let _socket = UnixListener::bind(at("socket.ts")).unwrap();
    fs::write(at("text.ts"), "This is not a video. ".repeat(10_000)).unwrap();
    fs::write(at("zeros.ts"), vec![0; 300_000]).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe.ts")).status().unwrap().success());
    std::os::unix::fs::symlink("loop.ts", at("loop.ts")).unwrap();
    vec![
        (at("missing.ts"), "o such file"),
        (at("empty.ts"), "empty"),
        (at("folder.ts"), "not a file"),
        (at("socket.ts"), ""),
        (at("text.ts"), "MPEG-TS"),
        (at("zeros.ts"), "MPEG-TS"),
        (at("loop.ts"), ""),
        (folder.join(OsStr::from_bytes(b"not-\xff-utf8.ts")), "o such file"),
        (PathBuf::from("/dev/null"), ""),
        // A pipe without a writer: opening it would block forever.
        (at("pipe.ts"), "not a file"),
        (at(&"long".repeat(100)), "name too long"),
    ]
}

#[test]
fn what_is_no_recording_is_told_by_scan() {
    let folder = tempfile::tempdir().unwrap();
    for (path, word) in invalid_files(folder.path()) {
        let frames = folder.path().join("frames");
        let message = run_refused(
            1,
            &["scan".as_ref(), path.as_ref(), "--frames-dir".as_ref(), frames.as_ref()],
        );
        assert!(message.to_lowercase().contains(&word.to_lowercase()), "{path:?}: {message}");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(message.contains(&name), "{path:?}: {message}");
        assert!(!frames.join("index.json").exists(), "{path:?}");
    }
}

#[test]
fn what_is_no_recording_is_told_by_send_and_play() {
    let folder = tempfile::tempdir().unwrap();
    // The problem of the file is reported, rather than the missing listener on the port.
    for (path, word) in invalid_files(folder.path()) {
        if path.ends_with("pipe.ts") {
            // A pipe is valid input: its content is sent as it arrives.
            continue;
        }
        let to = ["--to".as_ref(), "127.0.0.1:9".as_ref()];
        let message = run_refused(1, &["send".as_ref(), path.as_ref(), to[0], to[1]]);
        assert!(message.to_lowercase().contains(&word.to_lowercase()), "{path:?}: {message}");
        if word == "o such file" {
            run_refused(1, &["play".as_ref(), path.as_ref()]);
        }
    }
}

#[test]
fn a_path_that_is_no_utf_8_is_as_good_as_any() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsStr::from_bytes(b"clip-\xff.ts"));
    fs::copy(fixture("bbb_h264_bframes_scenecut_360p24"), &path).unwrap();
    let scores = folder.path().join(OsStr::from_bytes(b"scores-\xfe.csv"));
    let status = scenetap().args(["-q", "scan"]).arg(&path).arg("--scores").arg(&scores).status();
    assert!(status.unwrap().success());
    assert!(fs::metadata(scores).unwrap().len() > 1000);
}

#[test]
fn sessions_that_are_none_are_told_by_every_command_that_takes_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    fs::create_dir(folder.path().join("hollow")).unwrap();
    let dir = |command: &str, session: &str| -> String {
        let arguments: Vec<OsString> =
            [command, session, "--sessions-dir"].iter().map(OsString::from).collect();
        let mut arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_ref).collect();
        arguments.push(folder.path().as_ref());
        run_refused(1, &arguments)
    };
    for command in ["check", "play"] {
        for session in ["missing", "file", "hollow"] {
            let message = dir(command, session);
            assert!(message.contains(session), "{command}: {message}");
        }
    }
    assert!(dir("status", "missing").contains("missing"));
    assert_eq!(fs::read_dir(folder.path().join("hollow")).unwrap().count(), 0);
}

#[test]
fn a_sessions_folder_that_cannot_be_written_to_is_told_before_anybody_may_send() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let mut folders = vec![file.clone(), file.join("below")];
    // root may write anywhere.
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::create_dir(closed.join("probe")).is_err() {
        folders.push(closed);
    }
    for sessions_dir in folders {
        let message = run_refused(
            1,
            &[
                "record".as_ref(),
                "--listen".as_ref(),
                "127.0.0.1:0".as_ref(),
                "--sessions-dir".as_ref(),
                sessions_dir.as_ref(),
            ],
        );
        assert!(message.contains(sessions_dir.to_str().unwrap()), "{message}");
        assert!(!message.contains("listening"), "{message}");
    }
}

#[test]
fn an_option_out_of_its_range_is_told_by_its_name() {
    let numbers = ["NaN", "-1", "inf", "-inf", "1e999", "", "1x", "0x10", "∞", "١"];
    let options = [
        "--scene-threshold",
        "--max-frame-interval",
        "--sync-interval",
        "--idle-timeout",
        "--jpeg-quality",
        "--frame-width",
        "--program",
        "--min-free",
        "--rotate-bytes",
        "--rotate-every",
        "--listen",
        "--allow",
    ];
    for option in options {
        for number in numbers {
            let value = format!("{option}={number}");
            let message = run_refused(2, &["record".as_ref(), value.as_ref()]);
            assert!(message.contains(option), "{value}: {message}");
        }
        let value: OsString =
            [OsStr::new(option), OsStr::from_bytes(b"=\xff1")].iter().copied().collect();
        run_refused(2, &["record".as_ref(), value.as_ref()]);
    }
}

#[test]
fn a_session_is_named_by_no_path() {
    let long = "x".repeat(300);
    for name in ["..", ".", "../up", "a/b", "/etc", ".hidden", "", "a\nb", &long] {
        let session = format!("--session={name}");
        let message = run_refused(2, &["record".as_ref(), session.as_ref()]);
        assert!(message.contains("--session"), "{name:?}: {message}");
    }
}

#[test]
fn what_is_made_has_the_modes_of_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    for (umask, file_mode, folder_mode) in [("077", 0o600, 0o700), ("027", 0o640, 0o750)] {
        let frames = folder.path().join(umask);
        let clip = fixture("bbb_h264_bframes_scenecut_360p24");
        let script = format!("umask {umask}; exec \"$0\" -q scan \"$1\" --frames-dir \"$2\"");
        let binary = env!("CARGO_BIN_EXE_scenetap");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, binary]).arg(clip).arg(&frames);
        assert!(shell.status().unwrap().success());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&frames), folder_mode);
        for name in ["F0001.jpg", "index.json", "index.lock"] {
            assert_eq!(mode(&frames.join(name)), file_mode, "{umask} {name}");
        }
    }
}

#[test]
fn pictures_of_a_format_that_this_build_does_not_know_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let clip = fixture("bbb_h264_resolution_change");
    let scores = folder.path().join("scores.csv");
    let mut scan = scenetap();
    scan.env("SCENETAP_PIXEL_FORMAT", "9999").args(["-q", "scan"]).arg(&clip);
    let scanned = scan.arg("--scores").arg(&scores).output().unwrap();
    let message = String::from_utf8(scanned.stderr).unwrap();
    assert_eq!(scanned.status.code(), Some(1), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in [clip.to_str().unwrap(), "byte ", "number 9999", "build it with the FFmpeg"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(fs::read_to_string(scores).unwrap(), "pts_time,score\n");

    // Recording continues without these pictures.
    let mut record = scenetap();
    record.env("SCENETAP_PIXEL_FORMAT", "9999");
    let recorder = Recorder::start_as(record, folder.path(), "s", &["--once"]);
    let bytes = fs::read(clip).unwrap();
    send_bytes(&recorder.address, &bytes);
    let message = recorder.wait_for("pictures like this one are skipped");
    assert!(message.contains("number 9999"), "{message}");
    let recording = recorder.recording();
    let (status, frames) = recorder.end();
    assert!(status.success() && frames.is_empty());
    assert!(fs::read(recording).unwrap() == bytes);
}
