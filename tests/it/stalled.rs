//! Readers never stop the writer: whatever becomes of stdout, stderr and the terminal, every byte is
//! recorded, and a signal ends the recorder.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::left::left;
use crate::common::life::{RULE, undisturbed};
use crate::common::{DEADLINE, Recorder, fixture, index, scenetap, send_bytes, unused_address};

/// Keeps every picture: more lines than a pipe and the queue hold.
const EVERY: [&str; 6] =
    ["--scene-threshold", "0", "--max-frame-interval", "0.001", "--frame-width", "64"];

fn clip() -> Vec<u8> {
    std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap()
}

/// A recorder on its own port, of which neither stdout nor stderr need be read.
struct Silent {
    child: Child,
    folder: tempfile::TempDir,
}

impl Silent {
    fn start(set: impl FnOnce(&mut Command)) -> Silent {
        let folder = tempfile::tempdir().unwrap();
        let mut command = scenetap();
        command.args(["record", "--listen", &unused_address(), "--session", "s"]);
        command.arg("--sessions-dir").arg(folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        set(&mut command);
        Silent { child: command.spawn().unwrap(), folder }
    }

    fn status(&self) -> Option<Value> {
        let mut status = scenetap();
        status.env("XDG_RUNTIME_DIR", self.folder.path()).args(["status", "s", "--json"]);
        status.arg("--sessions-dir").arg(self.folder.path());
        serde_json::from_slice(&status.output().unwrap().stdout).ok()
    }

    /// Returns the first status for which `condition` holds.
    fn wait_until(&self, condition: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            if let Some(status) = self.status().filter(|status| condition(status)) {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "{:?}", self.status());
        }
    }

    fn send(&self, bytes: &[u8]) {
        let status = self.wait_until(|_| true);
        send_bytes(status["listening"].as_str().unwrap(), bytes);
    }

    fn session(&self) -> std::path::PathBuf {
        self.folder.path().join("s")
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

fn recorded(session: &Path) -> Vec<u8> {
    std::fs::read(session.join("stream/recording.ts")).unwrap()
}

/// Sends the clip twice, and asserts that all of it is recorded and detected, and that SIGTERM ends
/// the recorder with status 0.
fn assert_records_all(recorder: Silent) {
    let clip = clip();
    let session = recorder.session();
    for times in 1..=2 {
        recorder.send(&clip);
        let length = (clip.len() * times) as u64;
        recorder.wait_until(|status| {
            status["recorded_bytes"] == length
                && status["sender"].is_null()
                && status["lag_bytes"] == 0
        });
    }
    assert!(recorded(&session) == clip.repeat(2));
    assert!(index(&session).len() > 1000);
    assert_eq!(recorder.end(Signal::TERM), Some(0));
}

#[test]
fn a_reader_of_json_that_never_reads_stops_nothing() {
    let recorder = Silent::start(|command| {
        command.args(["--json", "--shutdown-timeout", "0.2"]).args(EVERY);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
    });
    assert_records_all(recorder);
}

#[test]
fn a_reader_of_the_log_that_never_reads_stops_nothing() {
    let recorder = Silent::start(|command| {
        command.arg("-vv").args(EVERY).stdout(Stdio::null()).stderr(Stdio::piped());
    });
    assert_records_all(recorder);
}

#[test]
fn a_terminal_that_is_stopped_or_goes_away_stops_nothing() {
    for goes_away in [false, true] {
        let (master, terminal) = terminal();
        let recorder = Silent::start(|command| {
            let terminal = || Stdio::from(terminal.try_clone().unwrap());
            command.args(["-vv", "--json", "--shutdown-timeout", "0.2"]).args(EVERY);
            command.stdout(terminal()).stderr(terminal());
        });
        drop(terminal);
        recorder.wait_until(|_| true);
        // Otherwise nobody reads it, as after Ctrl-S.
        let master = if goes_away {
            drop(master);
            None
        } else {
            Some(master)
        };
        assert_records_all(recorder);
        drop(master);
    }
}

/// Returns both ends of a pseudo terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let terminal = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    (master, terminal)
}

#[test]
fn a_reader_that_leaves_ends_the_lines_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(folder.path(), "s", &EVERY);
    let clip = clip();
    send_bytes(&recorder.address, &clip);
    assert!(recorder.next_frame().is_some());
    drop(std::mem::replace(&mut recorder.frames, no_lines()));
    recorder.wait_for("stdout was closed; recording continues without it");
    send_bytes(&recorder.address, &clip);
    recorder.wait_for_bytes(2 * clip.len());
    recorder.signal(Signal::TERM);
    assert!(recorder.child.wait().unwrap().success());
    assert!(recorded(&folder.path().join("s")) == clip.repeat(2));
}

/// Returns the lines of a program that writes none.
fn no_lines() -> std::io::Lines<std::io::BufReader<std::process::ChildStdout>> {
    use std::io::BufRead;
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    child.wait().unwrap();
    std::io::BufReader::new(stdout).lines()
}

#[test]
fn a_hangup_ends_it_like_a_signal_to_terminate_unless_it_was_started_by_nohup() {
    let recorder = Silent::start(|command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    });
    recorder.wait_until(|_| true);
    assert_eq!(recorder.end(Signal::HUP), Some(0));

    let folder = tempfile::tempdir().unwrap();
    let mut nohup = Command::new("nohup");
    nohup.arg(env!("CARGO_BIN_EXE_scenetap")).args(["record", "--listen", &unused_address()]);
    nohup.args(["--session", "s", "--sessions-dir"]).arg(folder.path());
    nohup.env("XDG_RUNTIME_DIR", folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let recorder = Silent { child: nohup.spawn().unwrap(), folder };
    recorder.wait_until(|_| true);
    kill_process(Pid::from_child(&recorder.child), Signal::HUP).unwrap();
    recorder.send(&clip());
    recorder.wait_until(|status| status["recorded_bytes"] == clip().len() as u64);
    assert_eq!(recorder.end(Signal::TERM), Some(0));
}

#[test]
fn a_lock_that_outlasts_a_rotation_delays_that_session_alone() {
    let clip = clip();
    let folder = tempfile::tempdir().unwrap();
    let rotate = ["--rotate-bytes", "300K", "--shutdown-timeout", "0"];
    let mut recorder = Recorder::start(folder.path(), "s", &[&RULE[..], &rotate].concat());
    let half = clip.len() / 8;
    let mut socket = std::net::TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&clip[..half]).unwrap();
    assert!(recorder.next_frame().is_some());
    let lock = std::fs::File::open(folder.path().join("s/frames/index.lock")).unwrap();
    lock.lock().unwrap();
    socket.write_all(&clip[half..]).unwrap();
    drop(socket);
    recorder.wait_for("it will be tried again");
    let later = folder.path().join("s_2");
    let start = Instant::now();
    while !later.join("frames/index.json").exists() || index(&later).is_empty() {
        assert!(start.elapsed() < DEADLINE, "the next session waits for the lock of this one");
    }
    drop(lock);
    recorder.signal(Signal::TERM);
    let (status, log) = recorder.end();
    assert!(status.success(), "{log:?}");
    let first = folder.path().join("s");
    let whole = std::fs::read(first.join("stream/recording.ts")).unwrap();
    assert!(left(&first) == undisturbed(&whole), "something differs");
}

#[test]
fn a_lock_that_another_program_holds_stops_nothing_and_nothing_that_was_decided_is_lost() {
    let clip = clip();
    let expected = undisturbed(&clip);
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("s");
    let mut recorder =
        Recorder::start(folder.path(), "s", &[&RULE[..], &["--shutdown-timeout", "0.3"]].concat());
    let half = clip.len() / 2;
    let mut socket = std::net::TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&clip[..half]).unwrap();
    assert!(recorder.next_frame().is_some());
    let lock = std::fs::File::open(session.join("frames/index.lock")).unwrap();
    lock.lock().unwrap();
    socket.write_all(&clip[half..]).unwrap();
    drop(socket);
    let logged = recorder.wait_for("holds it; frames are kept");
    assert!(logged.contains(&format!("process {}", std::process::id())), "{logged}");
    recorder.wait_for_bytes(clip.len());
    recorder.signal(Signal::TERM);
    let line = recorder.wait_for("scenetap: catalog:");
    assert!(line.contains("has not released it for 300ms"), "{line}");
    assert_eq!(recorder.child.wait().unwrap().code(), Some(1));
    drop(lock);
    // The next start publishes it under the same ids.
    let recorder = Recorder::start(folder.path(), "s", &RULE);
    assert!(recorder.end_by_signal().iter().any(|line| line.contains("recorded")));
    assert!(left(&session) == expected, "something differs");
}
