//! Runs as a service: notifications to systemd, and the unit file.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{DEADLINE, Recorder, scenetap};
use rustix::process::Signal;
use scenetap::config::ALL;
use scenetap_testkit::leave_out;

/// A service manager that only receives notifications.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { folder, socket }
    }

    /// Returns the program as a service of this manager, with a watchdog of 200 ms.
    fn scenetap(&self) -> Command {
        let mut command = scenetap();
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.env("WATCHDOG_USEC", "200000").env("XDG_RUNTIME_DIR", self.folder.path());
        command
    }

    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn wait_for(&self, prefix: &str) -> String {
        std::iter::from_fn(|| Some(self.next()))
            .find(|message| message.starts_with(prefix))
            .unwrap()
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_alive_and_ending() {
    let manager = Manager::new();
    let sessions = manager.folder.path().join("sessions");
    let recorder = Recorder::start_as(manager.scenetap(), &sessions, "a", &[]);
    assert_eq!(manager.next(), "READY=1", "before anything else");
    let status = manager.wait_for("STATUS=");
    assert!(status.contains(&format!("waiting for a sender on {}", recorder.address)), "{status}");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    let sender = TcpStream::connect(&recorder.address).unwrap();
    recorder.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert!(recorder.end().0.success());
    drop(sender);
}

#[test]
fn it_is_ready_once_it_listens_and_not_before() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let manager = Manager::new();
    let ended = manager
        .scenetap()
        .args(["record", "--listen", &taken.local_addr().unwrap().to_string()])
        .arg("--sessions-dir")
        .arg(manager.folder.path())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "nothing was told");
}

const UNITS: [&str; 2] = ["scenetap.service", "scenetap@.service"];

fn unit_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd").join(name)
}

#[test]
fn the_units_variables_are_options() {
    let texts = UNITS.map(|unit| std::fs::read_to_string(unit_file(unit)).unwrap());
    let names: Vec<String> = texts
        .concat()
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.starts_with("SCENETAP_") && *word != "SCENETAP_NAME")
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 2);
    for name in names {
        let is_known = ["SCENETAP_CONFIG", "SCENETAP_DEFAULT_SESSION"].contains(&name.as_str())
            || ALL.iter().any(|key| key.variable() == name);
        assert!(is_known, "{name} is no option");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit_and_little_that_it_exposes() {
    let version = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    if version.is_err() {
        leave_out("systemd-analyze is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let text = std::fs::read_to_string(unit_file(unit)).unwrap();
        let program = format!("ExecStart={}", env!("CARGO_BIN_EXE_scenetap"));
        let text = text.replace("ExecStart=scenetap", &program);
        // Verified as an instance.
        let copy = folder.path().join(unit.replace('@', "@stage"));
        std::fs::write(folder.path().join(unit), &text).unwrap();
        std::fs::write(&copy, text).unwrap();
        let verified = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
        let message = String::from_utf8_lossy(&verified.stderr);
        // Versions before 254 ignore the backoff.
        let is_about_it = |line: &&str| {
            line.contains("scenetap")
                && !line.contains("RestartSteps")
                && !line.contains("MaxDelaySec")
        };
        let wrong: Vec<&str> = message.lines().filter(is_about_it).collect();
        assert!(verified.status.success() && wrong.is_empty(), "{unit}: {message}");

        // From 0 (no exposure) to 10 (full exposure), times ten.
        let security = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=20"])
            .arg(&copy)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&security.stdout);
        // Versions before 250 lack --offline.
        if report.is_empty() {
            leave_out("this systemd-analyze judges no file that is not installed");
            return;
        }
        assert!(security.status.success(), "{unit}: {report}");
    }
}
