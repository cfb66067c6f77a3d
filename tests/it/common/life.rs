//! One recorder after another on the same session, each with a sender that continues
//! after the recorded bytes.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use scenetap::ts::find_phase;

use super::left::{Left, left};
use super::{DEADLINE, scenetap, unused_address};

/// Exit status and log of a recorder.
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

/// Options that keep many frames.
pub const RULE: [&str; 4] = ["--scene-threshold", "0.02", "--max-frame-interval", "0.5"];

/// Returns a recorder of session `s` that keeps many frames and syncs often. The caller must read
/// its standard error.
pub fn recorder(sessions: &Path) -> Command {
    let mut command = scenetap();
    command.args(["record", "--listen", &unused_address(), "--session", "s"]);
    command.args(RULE).args(["--sync-interval", "0.05", "--sessions-dir"]).arg(sessions);
    command.stderr(Stdio::piped()).stdout(Stdio::null());
    command
}

/// Returns the number of bytes of whole packets of `clip` that are recorded, from which a sender
/// continues.
pub fn whole_packets(recording: &Path, clip: &[u8]) -> usize {
    let packet_bytes = find_phase(clip).unwrap().1.bytes();
    let recorded_bytes = std::fs::metadata(recording).map_or(0, |file| file.len() as usize);
    recorded_bytes / packet_bytes * packet_bytes
}

/// Returns the files left by a recorder without faults.
pub fn undisturbed(clip: &[u8]) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let ended = record(folder.path(), clip, None);
    assert!(ended.status.success(), "{}", ended.log);
    let left = left(&folder.path().join("s"));
    assert!(left.recording == clip && left.entries.len() >= 8, "{:?}", left.entries);
    left
}

/// Records the rest of `clip`, like a sender that continues after the recorded bytes.
pub fn record(sessions: &Path, clip: &[u8], fault: Option<&str>) -> Ended {
    let mut command = recorder(sessions);
    command.arg("--once");
    command.envs(fault.map(|fault| ("SCENETAP_FAULT", fault)));
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut log = String::new();
    let address = loop {
        let from = log.len();
        if stderr.read_line(&mut log).unwrap() == 0 {
            break None;
        }
        if let Some((_, address)) = log[from..].trim_end().split_once("listening on ") {
            break Some(address.to_owned());
        }
    };
    // Keep reading, so that the recorder never blocks on its log.
    let (resumed_sender, resumed) = channel();
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        for line in stderr.lines().map_while(Result::ok) {
            rest.push_str(&line);
            rest.push('\n');
            if line.contains("recording resumes at byte") {
                let _ = resumed_sender.send(());
            }
        }
        rest
    });
    if let Some(address) = address {
        send(&child, &address, &sessions.join("s/stream/recording.ts"), clip, &resumed);
    }
    let status = child.wait().unwrap();
    log.push_str(&rest.join().unwrap());
    Ended { status, log }
}

/// Sends until everything is recorded. `resumed` reports when the recorder accepts senders
/// again after a fault; it is closed when the recorder exits.
fn send(child: &Child, address: &str, recording: &Path, clip: &[u8], resumed: &Receiver<()>) {
    loop {
        let recorded_bytes = whole_packets(recording, clip);
        if recorded_bytes == clip.len() {
            // No sender will connect and disconnect, so only a signal ends it.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            return;
        }
        let Ok(mut socket) = TcpStream::connect(address) else { return };
        for bytes in clip[recorded_bytes..].chunks(8 << 10) {
            if socket.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = socket.shutdown(Shutdown::Write);
        if resumed.recv_timeout(DEADLINE).is_err() {
            return;
        }
    }
}
