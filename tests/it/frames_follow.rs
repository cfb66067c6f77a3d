//! `scenetap frames --follow`: each frame as it arrives, from session to session; and `state.json`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::series::series;
use crate::common::{Recorder, fixture, index, scenetap, send_bytes};

/// A running `scenetap frames SESSION --follow --json …`.
struct Follower {
    child: Child,
    /// `None` once the reader has closed the pipe.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Follower {
    fn start(session: &Path, arguments: &[&str]) -> Follower {
        Follower::start_in(session, arguments, None)
    }

    /// Starts it with a separate folder for sockets, which contains no recorder's socket.
    fn start_in(session: &Path, arguments: &[&str], runtime: Option<&Path>) -> Follower {
        let mut command = scenetap();
        command.arg("frames").arg(session).args(["--follow", "--json"]).args(arguments);
        if let Some(runtime) = runtime {
            command.env("XDG_RUNTIME_DIR", runtime).env("TMPDIR", runtime);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follower { child, lines: Some(lines) }
    }

    fn next(&mut self) -> Option<Value> {
        self.lines.as_mut()?.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    /// Waits until it ends. Returns the exit status and the remaining frames.
    fn end(mut self) -> (i32, Vec<Value>) {
        let rest = std::iter::from_fn(|| self.next()).collect();
        (self.child.wait().unwrap().code().unwrap(), rest)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn clip() -> Vec<u8> {
    fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap()
}

/// Returns session and id of each frame.
fn names(frames: &[Value]) -> Vec<(String, String)> {
    let text = |frame: &Value, key: &str| frame[key].as_str().unwrap().to_owned();
    frames.iter().map(|frame| (text(frame, "session"), text(frame, "id"))).collect()
}

/// Returns session and id of all frames of a series.
fn recorded(sessions: &Path) -> Vec<(String, String)> {
    let of_session = |session: std::path::PathBuf| {
        let id = session.file_name().unwrap().to_str().unwrap().to_owned();
        index(&session).into_iter().map(move |mut entry| {
            entry["session"] = id.clone().into();
            entry
        })
    };
    names(&series(sessions).into_iter().flat_map(of_session).collect::<Vec<_>>())
}

fn state(session: &Path) -> Value {
    serde_json::from_slice(&fs::read(session.join("frames/state.json")).unwrap()).unwrap()
}

/// Waits until the state of a session satisfies `is`.
fn wait_for_state(session: &Path, is: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        // A recorder that listens may not have written it yet.
        let state = session.join("frames/state.json").exists().then(|| state(session));
        match state {
            Some(state) if is(&state) => return state,
            state => assert!(started.elapsed() < Duration::from_secs(60), "{state:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

const MANY: [&str; 2] = ["--once", "--scene-threshold=0.02"];

#[test]
fn every_frame_comes_once_and_in_order_through_all_sessions_of_a_series() {
    for has_socket in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tempfile::tempdir().unwrap();
        let runtime = (!has_socket).then(|| runtime.path());
        let options = [&MANY[..], &["--rotate-bytes=400K"]].concat();
        let recorder = Recorder::start(folder.path(), "s", &options);
        let mut follower = Follower::start_in(&recorder.session, &[], runtime);
        let stream = clip();
        // The first frame comes while the sender is still connected.
        let mut socket = TcpStream::connect(&recorder.address).unwrap();
        socket.write_all(&stream[..300_000]).unwrap();
        let first = follower.next().unwrap();
        assert_eq!((first["session"].as_str(), first["id"].as_str()), (Some("s"), Some("F0001")));
        socket.write_all(&stream[300_000..]).unwrap();
        drop(socket);
        assert!(recorder.end().0.success());
        let (status, rest) = follower.end();
        assert_eq!(status, 0);
        let mut all = vec![first];
        all.extend(rest);
        assert_eq!(names(&all), recorded(folder.path()), "socket: {has_socket}");
        assert!(series(folder.path()).len() > 2);
    }
}

#[test]
fn a_session_that_has_ended_is_followed_to_its_end_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &MANY);
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &clip());
    assert!(recorder.end().0.success());
    let (status, all) = Follower::start(&session, &[]).end();
    assert_eq!((status, names(&all)), (0, recorded(folder.path())));
    let (status, some) = Follower::start(&session, &["--limit=2"]).end();
    assert_eq!((status, some.len()), (0, 2));
    // A frame that one process has leased and not acknowledged is leased by another after the lease
    // expires.
    let (status, leased) = Follower::start(&session, &["--lease=0.3", "--limit=1"]).end();
    assert_eq!((status, leased.len()), (0, 1));
    let (status, all) = Follower::start(&session, &["--lease=600"]).end();
    assert_eq!(status, 0);
    // It comes last, or first if the lease has already expired.
    assert!([&all[0], all.last().unwrap()].iter().any(|frame| frame["id"] == "F0001"), "{all:?}");
    let sorted = |mut names: Vec<_>| {
        names.sort();
        names
    };
    assert_eq!(sorted(names(&all)), sorted(recorded(folder.path())));
}

#[test]
fn followers_that_lease_share_the_frames_of_a_live_recording() {
    let folder = tempfile::tempdir().unwrap();
    let options = [&MANY[..], &["--rotate-bytes=600K"]].concat();
    let recorder = Recorder::start(folder.path(), "s", &options);
    let session = recorder.session.clone();
    let agents: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let sessions = folder.path().to_owned();
            let mut follower = Follower::start(&session, &["--lease=600", "--holder", name]);
            std::thread::spawn(move || {
                let mut mine = Vec::new();
                while let Some(frame) = follower.next() {
                    let acknowledged = scenetap()
                        .arg("frames")
                        .arg(sessions.join(frame["session"].as_str().unwrap()))
                        .args(["--holder", name, "--ack", frame["id"].as_str().unwrap()])
                        .status()
                        .unwrap();
                    assert!(acknowledged.success());
                    mine.push(frame);
                }
                assert!(follower.child.wait().unwrap().success());
                names(&mine)
            })
        })
        .into();
    send_bytes(&recorder.address, &clip());
    assert!(recorder.end().0.success());
    let mut all: Vec<_> = agents.into_iter().flat_map(|agent| agent.join().unwrap()).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "each frame once");
    let recorded: BTreeSet<_> = recorded(folder.path()).into_iter().collect();
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), recorded);
    let sent = series(folder.path())
        .iter()
        .flat_map(|session| index(session))
        .all(|entry| entry["sent_to_agent"] == true && entry.get("leased_until").is_none());
    assert!(sent, "the index shows it");
}

#[test]
fn a_reader_that_leaves_ends_it_also_while_nothing_comes() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &MANY[1..]);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&clip()[..300_000]).unwrap();
    let mut follower = Follower::start(&recorder.session, &[]);
    follower.next().unwrap();
    // Its end of the pipe is closed; the sender stays connected, and sends nothing.
    follower.lines = None;
    assert!(follower.child.wait().unwrap().success());
}

#[test]
fn a_recorder_that_died_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let stream = clip();
    let recorder = Recorder::start(folder.path(), "s", &MANY[1..]);
    let session = recorder.session.clone();
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&stream[..300_000]).unwrap();
    let mut follower = Follower::start(&session, &[]);
    let first = follower.next().unwrap();
    recorder.signal(Signal::KILL);
    recorder.end();
    let impatient = Follower::start(&session, &["--timeout=0.1"]);
    let (status, _) = impatient.end();
    assert_eq!(status, 1);
    assert_eq!(state(&session)["ended"], false);
    let recorder = Recorder::start(folder.path(), "s", &MANY);
    let length = fs::metadata(recorder.recording()).unwrap().len() as usize;
    send_bytes(&recorder.address, &stream[length..]);
    assert!(recorder.end().0.success());
    let (status, rest) = follower.end();
    let mut all = vec![first];
    all.extend(rest);
    assert_eq!((status, names(&all)), (0, recorded(folder.path())));
}

#[test]
fn the_state_tells_a_still_screen_from_a_dead_sender_and_when_nothing_more_comes() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &[]);
    let session = recorder.session.clone();
    let idle = wait_for_state(&session, |state| state["sender"]["connected"] == false);
    assert_eq!((idle["session"].as_str(), idle["ended"].as_bool()), (Some("s"), Some(false)));
    assert_eq!(idle["pid"], recorder.child.id());
    assert_eq!(idle["boot_id"].as_str().unwrap().len(), 36);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&clip()).unwrap();
    let still = wait_for_state(&session, |state| {
        state["sender"]["connected"] == true
            && state["last_picture"]["timestamp"].as_f64() > Some(10.0)
    });
    assert!(still["sender"]["address"].as_str().unwrap().starts_with("127."), "{still}");
    assert!(still["last_byte_at"].as_str().unwrap() >= still["sender"]["since"].as_str().unwrap());
    assert!(still["last_picture"]["captured_at"].is_string());
    drop(socket);
    let gone = wait_for_state(&session, |state| state["sender"]["connected"] == false);
    assert!(gone["sender"]["since"].as_str() > still["sender"]["since"].as_str());
    assert_eq!(gone["ended"], false);
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    let ended = state(&session);
    assert_eq!(ended["ended"], true);
    assert_eq!(ended["recorded_bytes"], clip().len() / 188 * 188);
    assert_eq!((ended["lag_bytes"].as_u64(), ended["lag_seconds"].as_f64()), (Some(0), Some(0.0)));
    // A recorder that resumes the session changes the state back.
    let recorder = Recorder::start(folder.path(), "s", &[]);
    let again = wait_for_state(&session, |state| state["ended"] == false);
    assert_eq!(again["last_picture"], ended["last_picture"]);
    recorder.end_by_signal();
    assert_eq!(state(&session)["ended"], true);
}

/// Records several sessions.
fn recorded_series(sessions: &Path) {
    let options = [&MANY[..], &["--rotate-bytes=400K"]].concat();
    let recorder = Recorder::start(sessions, "s", &options);
    send_bytes(&recorder.address, &clip());
    assert!(recorder.end().0.success());
    assert!(series(sessions).len() > 2);
}

#[test]
fn one_that_leases_waits_for_no_other_and_hands_out_again_in_every_session_what_nobody_acknowledged()
 {
    let folder = tempfile::tempdir().unwrap();
    recorded_series(folder.path());
    let first = folder.path().join("s");
    // A frame of the first session is leased by another client for a while.
    let (_, theirs) = Follower::start(&first, &["--lease=3", "--holder=slow", "--limit=1"]).end();
    let mut follower = Follower::start(&first, &["--lease=600", "--holder=quick"]);
    let mut seen = Vec::new();
    let all = recorded(folder.path());
    while seen.len() < all.len() - 1 {
        seen.push(follower.next().unwrap());
    }
    assert!(!names(&seen).contains(&names(&theirs)[0]), "the last sessions did not wait for it");
    let (status, last) = follower.end();
    assert_eq!((status, names(&last)), (0, names(&theirs)), "it is handed out again");
}

#[test]
fn a_lock_that_another_program_holds_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    recorded_series(folder.path());
    let session = series(folder.path()).pop().unwrap();
    let lock = fs::File::open(session.join("frames/index.lock")).unwrap();
    lock.lock().unwrap();
    let mut command = scenetap();
    command.arg("frames").arg(&session).args(["--follow", "--json", "--lease=600"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_retrying = |line: &String| line.contains("has not released it for 1s; retrying");
    assert!(log.by_ref().map_while(Result::ok).any(|line| is_retrying(&line)));
    drop(lock);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), index(&session).len());
}
