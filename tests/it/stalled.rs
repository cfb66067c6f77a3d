//! Readers never stop the writer: whatever happens to stdout, stderr and the terminal, every byte is
//! recorded, and a signal ends the recorder.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scenetap::ts::TS_PACKET_BYTES;
use serde_json::Value;

use crate::common::left::left;
use crate::common::life::{RULE, recorder, undisturbed};
use crate::common::series::assert_is_detected;
use crate::common::{DEADLINE, Recorder, fixture, index, scenetap, send_bytes, unused_address};

/// Options that keep every picture: more lines than a pipe and the queue can hold.
const EVERY: [&str; 6] =
    ["--scene-threshold", "0", "--max-frame-interval", "0.001", "--frame-width", "64"];

fn clip() -> Vec<u8> {
    std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap()
}

/// A recorder on its own port whose stdout and stderr need not be read.
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

    /// Returns the recorder's status, once it has one. Before its session exists, every recorder of
    /// a session with that name answers, including those of other tests.
    fn status(&self) -> Option<Value> {
        let mut status = scenetap();
        status.env("XDG_RUNTIME_DIR", self.folder.path()).args(["status", "s", "--json"]);
        status.arg("--sessions-dir").arg(self.folder.path());
        let status: Value = serde_json::from_slice(&status.output().unwrap().stdout).ok()?;
        (status["folder"].as_str() == self.session().to_str()).then_some(status)
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

/// Sends the clip twice. Asserts that all of it is recorded and analyzed, and that SIGTERM ends the
/// recorder with status 0.
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
        // Otherwise, the terminal is not read, as after Ctrl-S.
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

/// Returns the lines of a program that prints nothing.
fn no_lines() -> std::io::Lines<std::io::BufReader<std::process::ChildStdout>> {
    use std::io::BufRead;
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    child.wait().unwrap();
    std::io::BufReader::new(stdout).lines()
}

#[test]
fn a_hangup_ends_it_like_a_signal_to_terminate_unless_it_was_started_by_nohup() {
    let start = |program: &str, arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(env!("CARGO_BIN_EXE_scenetap"));
        command.args(["record", "--listen", &unused_address(), "--session", "s"]);
        command.arg("--sessions-dir").arg(folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let recorder = Silent { child: command.spawn().unwrap(), folder };
        recorder.wait_until(|_| true);
        recorder
    };
    // The tests themselves may have been started by nohup.
    let recorder = start("env", &["--default-signal=HUP"]);
    assert_eq!(recorder.end(Signal::HUP), Some(0));

    let recorder = start("nohup", &[]);
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
    recorder.wait_for("retrying later");
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
    let logged = recorder.wait_for("; frames are kept");
    assert!(logged.contains(&format!("process {}", std::process::id())), "{logged}");
    recorder.wait_for_bytes(clip.len());
    recorder.signal(Signal::TERM);
    let line = recorder.wait_for("scenetap: catalog:");
    assert!(line.contains("has not released it for 300ms"), "{line}");
    assert_eq!(recorder.child.wait().unwrap().code(), Some(1));
    drop(lock);
    // The next start publishes the frame under the same id.
    let recorder = Recorder::start(folder.path(), "s", &RULE);
    assert!(recorder.end_by_signal().iter().any(|line| line.contains("recorded")));
    assert!(left(&session) == expected, "something differs");
}

/// A recorder with a reader of stdout that never reads, held locks, a full disk and a session that
/// is removed; and its sender.
struct Beset {
    child: Child,
    address: String,
    log: Receiver<String>,
    sessions: PathBuf,
    clip: Vec<u8>,
    /// The first recording, once its session is removed.
    removed: Option<File>,
    /// Held locks on indexes.
    locks: Vec<File>,
}

impl Beset {
    fn start(sessions: &Path, full_at: usize) -> Beset {
        let mut command = recorder(sessions);
        command.args(["--json", "--shutdown-timeout", "0.2"]).stdout(Stdio::piped());
        command.env("SCENETAP_FAULT", format!("full@{full_at}+9"));
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (log_sender, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("recorder: {line}");
                let _ = log_sender.send(line);
            }
        });
        let lines = std::iter::repeat_with(|| log.recv_timeout(DEADLINE).unwrap());
        let address = { lines }
            .find_map(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()))
            .unwrap();
        let sessions = sessions.to_owned();
        Beset { child, address, log, sessions, clip: clip(), removed: None, locks: Vec::new() }
    }

    /// Returns the recorded bytes, of one session or two.
    fn recorded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(removed) = &self.removed {
            // The position of this handle is not shared.
            let length = removed.metadata().unwrap().len();
            bytes.resize(length as usize, 0);
            removed.read_exact_at(&mut bytes, 0).unwrap();
        }
        bytes.extend(std::fs::read(self.recording(&self.current())).unwrap_or_default());
        bytes
    }

    /// Returns the session being recorded. A full disk may leave the folder of another one.
    fn current(&self) -> String {
        let ids = (2..9).map(|number| format!("s_{number}"));
        let is_recorded = |id: &String| self.recording(id).is_file();
        let next = ids.rev().find(is_recorded);
        next.filter(|_| self.removed.is_some()).unwrap_or_else(|| "s".to_owned())
    }

    fn recording(&self, id: &str) -> PathBuf {
        self.sessions.join(id).join("stream/recording.ts")
    }

    /// Sends the clip up to `end`, repeatedly after each disconnection, until it is recorded.
    fn send_until(&mut self, end: usize, meanwhile: &mut dyn FnMut(&mut Self)) {
        loop {
            let sent = self.recorded().len() / TS_PACKET_BYTES * TS_PACKET_BYTES;
            if sent >= end {
                return;
            }
            // Drop earlier lines: a line about an earlier connection would be mistaken for one about
            // this connection.
            self.log.try_iter().for_each(drop);
            let mut socket = TcpStream::connect(&self.address).unwrap();
            let bytes = self.clip[sent..end].to_vec();
            let disconnected = format!("disconnected {}", socket.local_addr().unwrap());
            let is_broken = bytes.chunks(10_000).any(|part| {
                meanwhile(self);
                socket.write_all(part).is_err()
            });
            drop(socket);
            let start = Instant::now();
            let mut is_lost = is_broken;
            while self.recorded().len() < end {
                // A recorder that resumes after an earlier connection has not lost this one.
                is_lost |= self.log.try_iter().any(|line| line.contains(&disconnected));
                if is_lost && self.accepts_again() {
                    break;
                }
                assert!(start.elapsed() < DEADLINE, "{} of {end}", self.recorded().len());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Waits until the recorder writes again after it has disconnected the sender.
    fn accepts_again(&self) -> bool {
        loop {
            let line = self.log.recv_timeout(DEADLINE).unwrap();
            // Only now are all bytes written that were received before.
            if line.contains("recording resumes") {
                return true;
            }
        }
    }

    /// Locks the index of a session once it has one.
    fn hold_index(&mut self, id: &str) {
        let path = self.sessions.join(id).join("frames/index.lock");
        if let Ok(lock) = File::options().write(true).open(path)
            && lock.try_lock().is_ok()
        {
            self.locks.push(lock);
        }
    }
}

#[test]
fn eight_senders_lose_nothing_with_stalled_readers_held_locks_removed_sessions_and_full_disks() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let sessions = folder.path().join(number.to_string());
            scope.spawn(move || {
                // First at the start of the first session, then later and later.
                let mut beset = Beset::start(&sessions, 40 + 25 * number);
                let (half, all) =
                    (beset.clip.len() / 2 / TS_PACKET_BYTES * TS_PACKET_BYTES, beset.clip.len());
                beset.send_until(half, &mut |beset| beset.hold_index("s"));
                beset.removed = Some(File::open(beset.recording("s")).unwrap());
                // Frames are kept while it is removed.
                while sessions.join("s").exists() {
                    let _ = std::fs::remove_dir_all(sessions.join("s"));
                }
                // The recorder checks every 20 ms (every second, outside of tests).
                beset.send_until(all, &mut |beset| {
                    std::thread::sleep(Duration::from_millis(5));
                    beset.hold_index(&beset.current());
                });
                assert!(beset.recorded() == beset.clip, "{number}: other bytes");
                beset.locks.clear();
                kill_process(Pid::from_child(&beset.child), Signal::TERM).unwrap();
                // Detection may have failed, for the removed session or on a full disk.
                let ended = beset.child.wait().unwrap();
                let last = sessions.join(beset.current());
                let mut repair = scenetap();
                repair.arg("check").arg(&last).arg("--repair").args(RULE);
                let repaired = repair.output().unwrap();
                assert!(repaired.status.success(), "{number}: {ended}, {repaired:?}");
                assert!(assert_is_detected(&last, &RULE) > 0, "{number}");
            });
        }
    });
}
