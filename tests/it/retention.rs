//! Deletion by a recorder: `--keep-for`, `--keep-bytes`, `--keep-frames-for`, `--recycle`; list and
//! deletion by `scenetap sessions`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::series::assert_is_detected;
use crate::common::{Recorder, fixture, index, scenetap, send_bytes};

const DAY: Duration = Duration::from_secs(86_400);

fn clip() -> Vec<u8> {
    fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap()
}

fn recording(sessions: &Path, id: &str) -> PathBuf {
    sessions.join(id).join("stream/recording.ts")
}

/// Records the clip into sessions `s`, `s_2` … of 200 to 400 KiB. Returns their number.
fn record_series(sessions: &Path) -> usize {
    let recorder = Recorder::start(sessions, "s", &["--once", "--rotate-bytes", "200K"]);
    send_bytes(&recorder.address, &clip());
    assert!(recorder.end().0.success());
    let is_there = |number: &usize| sessions.join(name(*number)).is_dir();
    (1..).take_while(is_there).count()
}

fn name(number: usize) -> String {
    if number == 1 { "s".into() } else { format!("s_{number}") }
}

/// Sets the time of a recording's last write.
fn set_age(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

/// Returns the sessions that have a recording.
fn with_recording(sessions: &Path) -> Vec<usize> {
    (1..20).filter(|number| recording(sessions, &name(*number)).exists()).collect()
}

fn assert_only_the_recording_is_gone(session: &Path) {
    assert!(!session.join("stream/recording.ts").exists());
    let entries = index(session);
    assert!(!entries.is_empty());
    for entry in entries {
        assert!(Path::new(entry["path"].as_str().unwrap()).is_file(), "{entry}");
    }
}

#[test]
fn the_oldest_recordings_go_while_all_together_have_more_than_keep_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--once", "--rotate-bytes", "200K", "--keep-bytes", "700K"];
    let recorder = Recorder::start(folder.path(), "s", &arguments);
    let stream = clip();
    send_bytes(&recorder.address, &stream);
    let (status, _) = recorder.end();
    assert!(status.success());
    let left = with_recording(folder.path());
    let count = (1..).take_while(|number| folder.path().join(name(*number)).is_dir()).count();
    assert!(count > 3 && left.len() < count, "{left:?} of {count}");
    // The newest ones, without a gap.
    assert_eq!(left, (count - left.len() + 1..=count).collect::<Vec<_>>());
    let length =
        |number: &usize| fs::metadata(recording(folder.path(), &name(*number))).unwrap().len();
    let total: u64 = left.iter().map(length).sum();
    assert!(total <= 700 << 10, "{total}");
    // No more than needed.
    assert!(total > 300 << 10, "{total}");
    for number in 1..=count - left.len() {
        assert_only_the_recording_is_gone(&folder.path().join(name(number)));
    }
}

#[test]
fn recordings_older_than_keep_for_go_unless_something_protects_them() {
    let folder = tempfile::tempdir().unwrap();
    let count = record_series(folder.path());
    assert!(count >= 5, "{count}");
    for number in 1..=count {
        set_age(&recording(folder.path(), &name(number)), 8 * DAY);
    }
    // Younger; marked; open.
    set_age(&recording(folder.path(), "s"), 6 * DAY);
    fs::write(folder.path().join("s_2/keep"), "").unwrap();
    let mut player = Command::new("sh")
        .args(["-c", "exec 7< \"$0\"; echo; cat"])
        .arg(recording(folder.path(), "s_3"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    player.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    // Of another series.
    for id in ["other", "s_04"] {
        fs::create_dir_all(folder.path().join(id).join("stream")).unwrap();
        fs::write(recording(folder.path(), id), clip()).unwrap();
        fs::write(folder.path().join(id).join("stream/recorder.lock"), "").unwrap();
        set_age(&recording(folder.path(), id), 8 * DAY);
    }
    let arguments = ["--rotate-bytes", "200K", "--keep-for", "7d"];
    let recorder = Recorder::start(folder.path(), "s", &arguments);
    let line = recorder.wait_for("deleted the recording of session s_4 (");
    assert!(line.contains("by --keep-for"), "{line}");
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    let expected: Vec<_> = vec![1, 2, 3, count];
    assert_eq!(with_recording(folder.path()), expected, "the last one is resumed");
    assert!(
        recording(folder.path(), "other").exists() && recording(folder.path(), "s_04").exists()
    );
    assert_only_the_recording_is_gone(&folder.path().join("s_4"));
    drop(player.stdin.take());
    player.wait().unwrap();
}

#[test]
fn a_deleted_recording_does_not_end_the_series_and_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let count = record_series(folder.path());
    for number in 1..=count {
        set_age(&recording(folder.path(), &name(number)), 8 * DAY);
    }
    for _ in 0..2 {
        let arguments = ["--once", "--rotate-bytes", "200K", "--keep-for", "7d"];
        let recorder = Recorder::start(folder.path(), "s", &arguments);
        send_bytes(&recorder.address, &clip());
        assert!(recorder.end().0.success());
        for number in 1..count {
            assert_only_the_recording_is_gone(&folder.path().join(name(number)));
        }
    }
    for number in with_recording(folder.path()) {
        assert!(assert_is_detected(&folder.path().join(name(number)), &[]) > 0);
    }
    let check = scenetap().arg("check").arg(folder.path().join(name(count))).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn frames_go_after_their_recording_once_they_are_older_than_keep_frames_for() {
    let folder = tempfile::tempdir().unwrap();
    record_series(folder.path());
    for number in [1, 2, 3] {
        let session = folder.path().join(name(number));
        if number != 3 {
            fs::remove_file(session.join("stream/recording.ts")).unwrap();
        }
        let age = if number == 2 { 80 * DAY } else { 100 * DAY };
        set_age(&session.join("stream/checkpoint.json"), age);
    }
    fs::write(folder.path().join("s/agent/notes.txt"), "a squirrel").unwrap();
    let arguments = ["--rotate-bytes", "200K", "--keep-frames-for", "90d"];
    let recorder = Recorder::start(folder.path(), "s", &arguments);
    recorder.wait_for("deleted the frames of session s by --keep-frames-for");
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    let left =
        fs::read_dir(folder.path().join("s")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["agent"], "what another program wrote stays");
    for session in ["s_2", "s_3"] {
        assert!(!index(&folder.path().join(session)).is_empty(), "{session}");
    }
}

/// Holds `index.lock` of a session until it is dropped, so that detection cannot finish it.
fn hold_index(session: &Path) -> File {
    let lock = File::options().write(true).open(session.join("frames/index.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn with_recycle_a_full_disk_costs_the_oldest_recordings_and_those_not_looked_at_last() {
    let folder = tempfile::tempdir().unwrap();
    let count = record_series(folder.path());
    // The first session is unfinished: it was not analyzed since its checkpoint was removed.
    fs::remove_file(folder.path().join("s/stream/checkpoint.json")).unwrap();
    fs::write(folder.path().join("s_2/keep"), "").unwrap();
    let lock = hold_index(&folder.path().join("s"));
    let length = fs::metadata(recording(folder.path(), "s")).unwrap().len();
    // This much space is never free.
    let disk = rustix::fs::statvfs(folder.path()).unwrap();
    let size = (disk.f_blocks * disk.f_frsize).to_string();
    let arguments = ["--rotate-bytes", "200K", "--min-free", &size, "--recycle"];
    let mut command = scenetap();
    command.env("XDG_RUNTIME_DIR", folder.path());
    let recorder = Recorder::start_as(command, folder.path(), "s", &arguments);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&clip()[..188 * 50]).unwrap();
    let line = recorder.wait_for("deleted the recording of session s_3 (");
    assert!(line.contains("INFO") && line.contains("by --recycle"), "{line}");
    let line = recorder.wait_for("deleted the recording of session s (");
    assert!(line.contains("because the disk is full; never analyzed: seconds 0.0 to "), "{line}");
    assert!(line.contains(&format!("(bytes 0 to {length})")), "{line}");
    // By then, nothing is left to delete.
    recorder.wait_for("until then senders are disconnected");
    assert_eq!(with_recording(folder.path()), [2, count]);
    let mut status = scenetap();
    status.env("XDG_RUNTIME_DIR", folder.path()).args(["status", "--json", &name(count)]);
    status.arg("--sessions-dir").arg(folder.path());
    let status: Value = serde_json::from_slice(&status.output().unwrap().stdout).unwrap();
    assert_eq!(status["deleted_recordings"], count - 2);
    assert!(status["deleted_bytes"].as_u64().unwrap() > 600_000, "{status}");
    drop(lock);
    drop(socket);
    recorder.signal(Signal::TERM);
    recorder.end();
    assert!(!index(&folder.path().join("s")).is_empty(), "its entries stay");
}

#[test]
fn with_recycle_more_free_space_than_the_disk_has_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let count = record_series(folder.path());
    let arguments = ["--rotate-bytes", "200K", "--min-free", "8000T", "--recycle"];
    let recorder = Recorder::start(folder.path(), "s", &arguments);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&clip()[..188 * 50]).unwrap();
    recorder.wait_for("until then senders are disconnected");
    recorder.signal(Signal::TERM);
    recorder.end();
    assert_eq!(with_recording(folder.path()), (1..=count).collect::<Vec<_>>());
}

#[test]
fn sessions_behind_links_take_no_space_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let count = record_series(folder.path());
    for number in [1, 2] {
        let moved = elsewhere.path().join(name(number));
        fs::rename(folder.path().join(name(number)), &moved).unwrap();
        std::os::unix::fs::symlink(&moved, folder.path().join(name(number))).unwrap();
    }
    File::options()
        .append(true)
        .open(recording(folder.path(), "s"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let arguments = ["--once", "--rotate-bytes", "200K", "--keep-bytes", "10M"];
    let recorder = Recorder::start(folder.path(), "s", &arguments);
    send_bytes(&recorder.address, &clip()[..188 * 50]);
    assert!(recorder.end().0.success());
    let left = with_recording(folder.path());
    assert!((1..=count).all(|number| left.contains(&number)), "{left:?}");
}

#[test]
fn a_recording_that_was_not_looked_at_is_not_deleted_while_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let count = record_series(folder.path());
    fs::remove_file(folder.path().join("s/stream/checkpoint.json")).unwrap();
    for number in 1..=count {
        set_age(&recording(folder.path(), &name(number)), 8 * DAY);
    }
    let lock = hold_index(&folder.path().join("s"));
    let arguments = ["--rotate-bytes", "200K", "--keep-for", "7d"];
    let recorder = Recorder::start(folder.path(), "s", &arguments);
    recorder.wait_for("deleted the recording of session s_2 (");
    assert!(recording(folder.path(), "s").exists());
    drop(lock);
    recorder.wait_for("deleted the recording of session s (");
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    assert_only_the_recording_is_gone(&folder.path().join("s"));
}

#[test]
fn keep_without_rotate_is_a_usage_error_that_says_what_to_add() {
    for (arguments, added) in [
        (&["--keep-for", "7d"][..], "--rotate-every"),
        (&["--keep-bytes", "5G"], "--rotate-every"),
        (&["--keep-frames-for", "7d"], "--rotate-every"),
        (&["--recycle", "--min-free", "1G"], "--rotate-every"),
        (&["--recycle", "--rotate-every", "1h"], "--min-free"),
    ] {
        let record = scenetap().arg("record").args(arguments).output().unwrap();
        let message = String::from_utf8(record.stderr).unwrap();
        assert_eq!(record.status.code(), Some(2), "{message}");
        assert!(message.lines().count() == 1 && message.contains(added), "{message}");
    }
}

fn sessions(folder: &Path, arguments: &[&str]) -> String {
    let output = scenetap()
        .arg("sessions")
        .args(arguments)
        .arg("--sessions-dir")
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sessions_are_listed_with_start_length_size_frames_and_state() {
    let folder = tempfile::tempdir().unwrap();
    record_series(folder.path());
    fs::write(folder.path().join("s/keep"), "").unwrap();
    fs::remove_file(recording(folder.path(), "s_2")).unwrap();
    let recorder = Recorder::start(folder.path(), "live", &[]);
    let lines = sessions(folder.path(), &["--json"]);
    let listed: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |id: &str| listed.iter().find(|session| session["session"] == id).unwrap();
    let first = of("s");
    assert_eq!(first["size"], fs::metadata(recording(folder.path(), "s")).unwrap().len());
    assert_eq!(first["frames"], index(&folder.path().join("s")).len());
    assert_eq!(
        (&first["live"], &first["kept"], &first["detected"]),
        (&false.into(), &true.into(), &true.into())
    );
    assert!(first["length"].as_f64().unwrap() > 1.0, "{first}");
    assert!(first["start"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(of("s_2")["size"].is_null() && of("s_2")["length"].as_f64().is_some());
    assert_eq!(of("live")["live"], true);
    let table = sessions(folder.path(), &[]);
    assert_eq!(table.lines().count(), listed.len() + 1);
    let line = |id: &str| table.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line("s ").ends_with("kept") && line("live ").ends_with("live"), "{table}");
    assert!(line("s_2 ").ends_with("recording deleted"), "{table}");
    drop(recorder);
}

#[test]
fn prune_deletes_what_is_older_and_what_is_more_than_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let count = record_series(folder.path());
    for number in 1..=count {
        let age = if number <= 3 { 8 * DAY } else { DAY };
        set_age(&recording(folder.path(), &name(number)), age);
    }
    let before = with_recording(folder.path());
    let would = sessions(folder.path(), &["prune", "--older-than", "7d", "--dry-run"]);
    assert_eq!(would.lines().count(), 3, "{would}");
    assert!(would.lines().all(|line| line.starts_with("would delete session s")), "{would}");
    assert_eq!(with_recording(folder.path()), before);

    let deleted = sessions(folder.path(), &["prune", "--older-than", "7d", "--recordings-only"]);
    assert!(deleted.starts_with("deleted the recording of session s ("), "{deleted}");
    assert_eq!(with_recording(folder.path()), (4..=count).collect::<Vec<_>>());
    assert_only_the_recording_is_gone(&folder.path().join("s_2"));

    let recorder = Recorder::start(folder.path(), &name(count), &[]);
    let deleted = sessions(folder.path(), &["prune", "--keep", "0"]);
    assert_eq!(deleted.lines().count(), count - 1, "{deleted}");
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), [&*name(count)], "it is being recorded");
    drop(recorder);
}

#[test]
fn prune_without_a_selection_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let prune =
        scenetap().args(["sessions", "prune", "--sessions-dir"]).arg(folder.path()).output();
    assert_eq!(prune.unwrap().status.code(), Some(2));
}
