//! A player that dies, hangs or is missing: recording continues.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::pictures::record;
use crate::common::viewer::Viewer;
use crate::common::{Recorder, fixture, has, send_bytes};

fn clip() -> Vec<u8> {
    fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap()
}

/// Starts a recorder with a player, and sends it half of the clip.
fn watched(viewer: &Viewer) -> Recorder {
    let sessions = viewer.folder.path().join("sessions");
    let recorder = Recorder::start_as(viewer.scenetap(), &sessions, "s", &["--play"]);
    let clip = clip();
    // A multiple of 188.
    send_bytes(&recorder.address, &clip[..clip.len() / 376 * 188]);
    viewer.wait_for("time-pos", Value::is_number);
    recorder
}

/// Sends the rest, and ends the recorder. Returns the last lines of its log.
fn finish(recorder: Recorder) -> Vec<String> {
    let clip = clip();
    send_bytes(&recorder.address, &clip[clip.len() / 376 * 188..]);
    recorder.wait_for_bytes(clip.len());
    let recording = recorder.recording();
    let log = recorder.end_by_signal();
    assert!(fs::read(recording).unwrap() == clip);
    log
}

fn pid(viewer: &Viewer) -> Pid {
    let pid = viewer.wait_for("pid", Value::is_number).as_i64().unwrap();
    Pid::from_raw(pid as i32).unwrap()
}

#[test]
fn a_player_that_is_killed_is_told_once_and_the_recording_is_whole() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let recorder = watched(&viewer);
    kill_process(pid(&viewer), Signal::KILL).unwrap();
    let line = recorder.wait_for("mpv was killed by signal 9");
    assert!(line.ends_with("recording continues"), "{line}");
    let log = finish(recorder);
    assert!(!log.iter().any(|line| line.contains("mpv") || line.contains("player")), "{log:?}");
    // The socket is gone, so the next player is a new one.
    let left = fs::read_dir(viewer.sockets()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".sock")), "{left:?}");
}

#[test]
fn a_player_that_hangs_is_told_once_and_left_alone_until_it_answers_again() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let recorder = watched(&viewer);
    let player = pid(&viewer);
    kill_process(player, Signal::STOP).unwrap();
    recorder.wait_for("the player does not respond");
    let play = viewer.scenetap().arg("play").arg(&recorder.session).output().unwrap();
    let said = String::from_utf8(play.stderr).unwrap();
    assert!(play.status.code() == Some(1) && said.contains("does not respond"), "{said}");
    kill_process(player, Signal::CONT).unwrap();
    viewer.wait_for("time-pos", Value::is_number);
    kill_process(player, Signal::STOP).unwrap();
    let log = finish(recorder);
    assert!(!log.iter().any(|line| line.contains("does not respond")), "{log:?}");
    kill_process(player, Signal::KILL).unwrap();
}

#[test]
fn a_missing_player_is_one_line_and_the_recording_is_whole() {
    let viewer = Viewer::new();
    let sessions = viewer.folder.path().join("sessions");
    let mut command = viewer.scenetap();
    command.env("PATH", "/nonexistent");
    let recorder = Recorder::start_as(command, &sessions, "s", &["--play"]);
    let clip = clip();
    send_bytes(&recorder.address, &clip);
    let line = recorder.wait_for("cannot start mpv");
    assert!(line.contains("not found; install mpv or open "), "{line}");
    assert!(line.ends_with("in any player; recording continues"), "{line}");
    recorder.wait_for_bytes(clip.len());
    let log = recorder.end_by_signal();
    assert!(!log.iter().any(|line| line.contains("mpv")), "{log:?}");
}

#[test]
fn sockets_are_private_and_those_of_players_that_are_gone_are_removed() {
    if !has("mpv") {
        return;
    }
    let viewer = Viewer::new();
    let session =
        record(&viewer.folder.path().join("sessions"), &fixture("bbb_h264_resolution_change"));
    let folder = viewer.sockets();
    let _ = fs::create_dir(&folder);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let [gone, other, link] =
        ["mpv-1111111111111111", "mpv-2222222222222222", "mpv-3333333333333333"]
            .map(|name| folder.join(format!("{name}.sock")));
    drop(UnixListener::bind(&gone).unwrap());
    symlink(&gone, &link).unwrap();
    let listens = UnixListener::bind(&other).unwrap();
    let mut player = viewer.scenetap().arg("play").arg(&session).arg("--at=0").spawn().unwrap();
    let start = std::time::Instant::now();
    while gone.exists() || link.is_symlink() {
        assert!(start.elapsed() < crate::common::DEADLINE);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(other.exists(), "somebody listens there");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    drop(listens);
    fs::remove_file(&other).unwrap();
    viewer.wait_for("time-pos", Value::is_number);
    viewer.quit();
    assert!(player.wait().unwrap().success());
}
