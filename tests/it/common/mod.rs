//! Code shared by the integration tests: the real binary, over real sockets.
pub mod cache;
pub mod left;
pub mod life;
pub mod mangle;
pub mod odd;
pub mod oracle;
pub mod paff;
pub mod pictures;
pub mod random;
pub mod series;
pub mod studio;
pub mod ts;
pub mod viewer;

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
pub use scenetap_testkit::{fixture, has};
use serde_json::Value;

/// Longer than any step takes on the slowest machine. A passing test never waits this long.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Names of all fixtures.
pub const FIXTURES: [&str; 7] = [
    "bbb_h264_bframes_scenecut_360p24",
    "bbb_h264_resolution_change",
    "bbb_h264_zerolatency_360p30_gop2s",
    "bbb_hevc_360p24_gop2s",
    "bbb_hevc_main10_360p24_opengop",
    "bbb_mpeg2_576i25_tff",
    "sintel_fades_h264_360p24",
];

/// Returns a golden file, without its header, split at commas.
pub fn golden(name: &str, kind: &str) -> Vec<Vec<String>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/golden/{name}.{kind}.csv"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Returns `scenetap` without variables of the environment that could change its
/// behavior.
pub fn scenetap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scenetap"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let old =
            ["STREAM_HOST", "STREAM_PORT", "SCENE_THRESHOLD", "MAX_FRAME_INTERVAL", "SESSIONS_DIR"];
        // Also remove the variables of a service that runs the tests.
        let services = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RUNTIME_DIRECTORY"];
        let variables = [&old[..], &services].concat();
        if name.starts_with("SCENETAP_") || variables.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    // Read no configuration file of the user or the host.
    command.env("SCENETAP_CONFIG", "");
    // Retry almost immediately.
    command.env("SCENETAP_PAUSES", "0.02");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Returns an address to listen on that no other recorder of these tests uses. A unique port is not
/// enough: a sender that still tries to reach a killed recorder would disturb another test's
/// recorder that has received the same port.
pub fn unused_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Relaxed).to_be_bytes();
    format!("127.1.{high}.{low}:0")
}

/// Removes a session's folder while its recorder runs. The recorder may create a file in a folder
/// that was just emptied, so this is repeated until the folder is gone, like `rm -r` typed again.
pub fn remove_session(folder: &Path) {
    while let Err(error) = std::fs::remove_dir_all(folder) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty, "{}", folder.display());
    }
}

/// Returns the parts of an entry that do not depend on where and when it was written.
pub fn judgement(entry: &Value) -> Vec<Value> {
    let keys = ["id", "timestamp", "score", "reason", "offset", "damaged"];
    keys.into_iter().map(|key| entry.get(key).cloned().unwrap_or_default()).collect()
}

/// A running recorder.
pub struct Recorder {
    pub child: Child,
    pub address: String,
    pub session: PathBuf,
    pub frames: Lines<BufReader<ChildStdout>>,
    log: Receiver<String>,
}

impl Recorder {
    /// Starts a recorder on its own port and waits until it listens.
    pub fn start(sessions: &Path, session: &str, arguments: &[&str]) -> Recorder {
        Recorder::start_at(&unused_address(), sessions, session, arguments)
    }

    /// As [`Recorder::start`], on the given address.
    pub fn start_at(listen: &str, sessions: &Path, session: &str, arguments: &[&str]) -> Recorder {
        Recorder::start_with(scenetap(), listen, sessions, session, arguments)
    }

    /// As [`Recorder::start`], with a `command` that has its own environment.
    pub fn start_as(
        command: Command,
        sessions: &Path,
        session: &str,
        arguments: &[&str],
    ) -> Recorder {
        Recorder::start_with(command, &unused_address(), sessions, session, arguments)
    }

    fn start_with(
        mut command: Command,
        listen: &str,
        sessions: &Path,
        session: &str,
        arguments: &[&str],
    ) -> Recorder {
        let mut child = command
            .args(["record", "--listen", listen, "--json", "--session", session])
            .arg("--sessions-dir")
            .arg(sessions)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log_sender, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("recorder: {line}");
                let _ = log_sender.send(line);
            }
        });
        let frames = BufReader::new(child.stdout.take().unwrap()).lines();
        let session = sessions.join(session);
        let mut recorder = Recorder { child, address: String::new(), session, frames, log };
        let line = recorder.wait_for("listening on ");
        recorder.address = line.rsplit([' ', '/']).next().unwrap().to_owned();
        recorder
    }

    /// Returns the next log line that contains `text`.
    pub fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self
                .log
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("no log line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Returns the path of the recording.
    pub fn recording(&self) -> PathBuf {
        self.session.join("stream/recording.ts")
    }

    /// Waits until this many bytes are recorded.
    pub fn wait_for_bytes(&self, count: usize) {
        let started = Instant::now();
        while std::fs::metadata(self.recording()).map_or(0, |file| file.len()) < count as u64 {
            assert!(started.elapsed() < DEADLINE, "{count} bytes were not recorded");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the recorder with a signal. Returns the log lines that were not consumed yet.
    pub fn end_by_signal(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        assert!(self.child.wait().unwrap().success());
        self.log.iter().collect()
    }

    /// Returns the next kept frame.
    pub fn next_frame(&mut self) -> Option<Value> {
        self.frames.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    /// Waits until the recorder exits. Returns the remaining frames.
    pub fn end(mut self) -> (ExitStatus, Vec<Value>) {
        let rest = std::iter::from_fn(|| self.next_frame()).collect();
        (self.child.wait().unwrap(), rest)
    }

    /// Sends the recorder a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Sends bytes in one connection, as fast as they are accepted.
pub fn send_bytes(address: &str, bytes: &[u8]) {
    use std::io::Write;
    std::net::TcpStream::connect(address).unwrap().write_all(bytes).unwrap();
}

/// Returns the index of a session.
pub fn index(session: &Path) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(session.join("frames/index.json")).unwrap()).unwrap()
}

/// Asserts that entries match ffmpeg's rule: times, scores and reasons.
pub fn assert_golden(name: &str, kind: &str, entries: &[Value]) {
    let expected: Vec<_> = golden(name, kind)
        .iter()
        .map(|row| {
            let ticks: i64 = row[0].parse().unwrap();
            let micros = (ticks as f64 * 100.0 / 9.0).round() as i64;
            (micros, row[1].clone(), row[2].clone())
        })
        .collect();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| {
            let micros = (entry["timestamp"].as_f64().unwrap() * 1e6).round() as i64;
            let score = format!("{:.6}", entry["score"].as_f64().unwrap());
            (micros, score, entry["reason"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(found, expected, "{name}");
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(entry["id"], format!("F{:04}", number + 1));
    }
}
