//! `scenetap status`, with real recorders.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use crate::common::{DEADLINE, Recorder, fixture, scenetap, send_bytes};
use rustix::process::Signal;
use serde_json::Value;

const CLIP: &str = "bbb_h264_bframes_scenecut_360p24";

/// Sessions and sockets, separate from those of other tests.
struct Environment {
    folder: tempfile::TempDir,
}

impl Environment {
    fn new() -> Self {
        Environment { folder: tempfile::tempdir().unwrap() }
    }

    fn sessions(&self) -> PathBuf {
        self.folder.path().join("sessions")
    }

    fn scenetap(&self) -> Command {
        let mut command = scenetap();
        command.env("XDG_RUNTIME_DIR", self.folder.path()).env("TMPDIR", self.folder.path());
        command
    }

    fn record(&self, session: &str, arguments: &[&str]) -> Recorder {
        Recorder::start_as(self.scenetap(), &self.sessions(), session, arguments)
    }

    fn status(&self, arguments: &[&str]) -> Output {
        let mut command = self.scenetap();
        command.arg("status").args(arguments);
        command.arg("--sessions-dir").arg(self.sessions()).output().unwrap()
    }

    /// Returns the status of the only recorder.
    fn only_status(&self) -> Value {
        let output = self.status(&["--json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the first status for which `condition` is true.
    fn wait_until(&self, condition: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.only_status();
            if condition(&status) {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "{status:#}");
        }
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("scenetap");
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Asserts a failure with one line that contains `reason`.
fn assert_fails(output: &Output, reason: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = text(&output.stderr);
    assert!(message.lines().count() == 1 && message.contains(reason), "{message}");
}

#[test]
fn bytes_that_bring_no_picture_are_told_of_by_how_long_they_have_come() {
    let environment = Environment::new();
    let recorder = environment.record("studio", &[]);
    let sender = TcpStream::connect(&recorder.address).unwrap();
    // ISO 13818-1, 2.4.3.3: packets of PID 0x1FFF are null packets.
    let null_packet: Vec<u8> = [0x47, 0x1F, 0xFF, 0x10].into_iter().chain([0xFF; 184]).collect();
    let silent = environment.wait_until(|status| {
        (&sender).write_all(&null_packet.repeat(50)).unwrap();
        status["undecided_seconds"].as_f64().unwrap() > 0.0
    });
    assert_eq!((&silent["pictures"], &silent["detection"]), (&0.into(), &"running".into()));
    drop(sender);
    let idle = environment.wait_until(|status| status["sender"].is_null());
    assert_eq!(idle["undecided_seconds"], 0.0);
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}

#[test]
fn what_a_recorder_tells_is_what_it_does() {
    let environment = Environment::new();
    let mut recorder = environment.record("studio", &[]);
    let idle = environment.only_status();
    assert_eq!(idle["sender"], Value::Null);
    assert_eq!(idle["listening"], recorder.address.as_str());
    assert_eq!(idle["pid"], recorder.child.id());
    assert_eq!(idle["recorded_bytes"], 0);
    assert!(idle["free_bytes"].as_u64().unwrap() > 0);

    let bytes = std::fs::read(fixture(CLIP)).unwrap();
    let mut sender = TcpStream::connect(&recorder.address).unwrap();
    sender.write_all(&bytes).unwrap();
    let address = sender.local_addr().unwrap().to_string();
    let status = environment.wait_until(|status| status["recorded_bytes"] == bytes.len());
    assert_eq!(status["bytes_received"], bytes.len());
    assert_eq!(status["sender"]["address"], address);
    assert_eq!((&status["recording"], &status["ending"]), (&true.into(), &false.into()));
    assert_eq!(status["session"], "studio");
    assert_eq!(status["folder"], recorder.session.to_str().unwrap());
    assert_eq!((&status["last_error"], &status["refused"]), (&Value::Null, &0.into()));

    recorder.next_frame().unwrap();
    let frames = environment.wait_until(|status| status["frames_kept"] != 0);
    assert_eq!(frames["detection"], "running");
    assert!(frames["pictures"].as_u64() >= frames["frames_kept"].as_u64());

    // A second sender is refused, which the status reports.
    send_bytes(&recorder.address, &bytes[..188 * 20]);
    let refused = environment.wait_until(|status| status["refused"] == 1);
    assert!(refused["last_warning"]["message"].as_str().unwrap().contains("refused"));

    drop(sender);
    environment.wait_until(|status| status["sender"].is_null());
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    assert_eq!(environment.sockets(), Vec::<PathBuf>::new(), "the socket is removed at the end");
    assert_fails(&environment.status(&[]), "no recorder of this user is running");
}

#[test]
fn people_get_a_block_for_each_recorder_and_programs_a_line() {
    let environment = Environment::new();
    let (one, _two) = (environment.record("one", &[]), environment.record("two", &[]));
    let output = environment.status(&[]);
    assert!(output.status.success());
    let printed = text(&output.stdout);
    let blocks: Vec<_> = printed.split("\n\n").collect();
    assert_eq!(blocks.len(), 2, "{printed}");
    for (session, block) in ["one", "two"].iter().zip({
        let mut sorted = blocks.clone();
        sorted.sort_unstable();
        sorted
    }) {
        assert!(block.starts_with(&format!("session {session}\n")), "{printed}");
        assert!(block.contains("\n  state         waiting for a sender\n"), "{printed}");
    }
    let output = environment.status(&["--json"]);
    assert_eq!(text(&output.stdout).lines().count(), 2);

    // Query by id, by folder, and by the id of a session elsewhere.
    let pid = |output: Output| {
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["pid"].clone()
    };
    assert_eq!(pid(environment.status(&["one", "--json"])), one.child.id());
    assert_eq!(pid(environment.status(&["--json", one.session.to_str().unwrap()])), one.child.id());
    let mut elsewhere = environment.scenetap();
    elsewhere.args(["status", "one", "--json", "--sessions-dir", "/none/there"]);
    assert_eq!(pid(elsewhere.output().unwrap()), one.child.id());
    assert_fails(
        &environment.status(&["three"]),
        "three: no recorder of this user is recording this",
    );
    assert_fails(&environment.status(&["/none/there"]), "/none/there: no session");
}

#[test]
fn a_socket_that_a_killed_recorder_left_is_nobody_and_goes_with_the_next_one() {
    let environment = Environment::new();
    let mut killed = environment.record("a", &[]);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_eq!(environment.sockets().len(), 2, "a killed recorder leaves its sockets");
    assert_fails(&environment.status(&[]), "no recorder of this user is running");
    assert_fails(&environment.status(&["a"]), "no recorder of this user is recording this");
    let other = environment.record("b", &[]);
    assert_eq!(environment.sockets().len(), 2);
    assert_eq!(environment.only_status()["pid"], other.child.id());
}

#[test]
fn the_sockets_folder_is_its_users_alone() {
    let environment = Environment::new();
    let _recorder = environment.record("a", &[]);
    let folder = environment.folder.path().join("scenetap");
    let mode = std::fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_services_own_folder_has_the_sockets() {
    let environment = Environment::new();
    let folder = environment.folder.path().join("of-the-service");
    std::fs::create_dir(&folder).unwrap();
    let mut command = environment.scenetap();
    command.env("RUNTIME_DIRECTORY", &folder);
    let _recorder = Recorder::start_as(command, &environment.sessions(), "a", &[]);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn clients_that_never_read_hold_nobody_up() {
    let environment = Environment::new();
    let recorder = environment.record("a", &["--once"]);
    let socket = environment.sockets().remove(0);
    let clients: Vec<_> = (0..100).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    environment.only_status();
    let bytes = std::fs::read(fixture(CLIP)).unwrap();
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &bytes);
    assert!(recorder.end().0.success());
    assert!(std::fs::read(session.join("stream/recording.ts")).unwrap() == bytes);
    drop(clients);
}

#[test]
fn a_recorder_that_hangs_is_told_of() {
    let environment = Environment::new();
    let recorder = environment.record("a", &[]);
    recorder.signal(Signal::STOP);
    let pid = recorder.child.id();
    let output = environment.status(&["--json"]);
    assert_fails(&output, &format!("process id {pid} hangs: no answer within 2s"));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["pid"], &status["hangs"]), (&pid.into(), &true.into()));
    recorder.signal(Signal::CONT);
    assert_eq!(environment.only_status()["pid"], pid);
}

#[test]
fn one_that_waits_for_space_says_so() {
    let environment = Environment::new();
    let recorder = environment.record("a", &["--min-free", "8000T"]);
    // The recorder disconnects the sender, possibly before it has sent everything.
    let bytes = std::fs::read(fixture(CLIP)).unwrap();
    let _ = TcpStream::connect(&recorder.address).unwrap().write_all(&bytes);
    let status = environment.wait_until(|status| status["recording"] == false);
    let error = status["last_error"]["message"].as_str().unwrap();
    assert!(error.contains("--min-free"), "{error}");
    assert!(status["last_error"]["at"].as_str().unwrap().ends_with('Z'));
    assert!(text(&environment.status(&[]).stdout).contains("waiting: cannot write"));
}

#[test]
fn without_a_folder_for_sockets_it_records_all_the_same() {
    let environment = Environment::new();
    std::fs::write(environment.folder.path().join("scenetap"), "in the way").unwrap();
    let recorder = environment.record("a", &["--once"]);
    let session = recorder.session.clone();
    send_bytes(&recorder.address, &std::fs::read(fixture(CLIP)).unwrap());
    assert!(recorder.end().0.success());
    assert!(session.join("frames/F0001.jpg").exists());
    assert_fails(&environment.status(&[]), "no recorder of this user is running");
}

#[test]
fn the_fixture_ends_with_a_whole_packet() {
    // The tests above rely on this.
    assert_eq!(std::fs::metadata(Path::new(&fixture(CLIP))).unwrap().len() % 188, 0);
}

#[test]
fn after_a_rotation_the_session_that_is_recorded_now_finds_its_recorder_and_damage_never_goes_back()
{
    let environment = Environment::new();
    let stream = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    // Garbage in the first session only.
    let stream = [&stream[..188 * 100], &[9; 100], &stream[188 * 100..]].concat();
    // The last cut is so far before the end that no bytes are held for another one.
    let recorder = environment.record("s", &["--rotate-bytes", "400K"]);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&stream).unwrap();
    let length = stream.len() as u64;
    let status = environment.wait_until(|status| status["recorded_bytes"].as_u64() >= Some(length));
    let last = status["session"].as_str().unwrap().to_owned();
    assert!(last.starts_with("s_"), "{last}");
    for name in [last.as_str(), environment.sessions().join(&last).to_str().unwrap(), "s"] {
        let found = environment.status(&[name, "--json"]);
        assert!(found.status.success(), "{name}: {}", text(&found.stderr));
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        assert_eq!(found["session"], *last);
        assert!(found["free_bytes"].as_u64().is_some());
    }
    let status = environment.wait_until(|status| status["lag_bytes"] == 0);
    assert_eq!(status["damage"]["lost_sync"], 1, "{status:#}");
    drop(socket);
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}
