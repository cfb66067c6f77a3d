//! Killed before every change to the disk, and with a full disk at every change: the
//! end is that of a run that nothing happened to. See `src/disk/fault.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};

use common::{DEADLINE, fixture, index, scenetap};
use scenetap::media::TS_PACKET_BYTES;
use serde_json::{Value, json};

/// Long enough for some kept frames, and short enough to be recorded hundreds of times.
const CLIP_PACKETS: usize = 800;

fn clip() -> Vec<u8> {
    let mut bytes = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    bytes.truncate(CLIP_PACKETS * TS_PACKET_BYTES);
    bytes
}

/// What is left at the end, as far as it does not depend on when and where it was made.
#[derive(Debug, PartialEq)]
struct Left {
    recording: Vec<u8>,
    entries: Vec<Value>,
    frames: BTreeMap<String, Vec<u8>>,
    stream: Vec<String>,
}

fn left(session: &Path) -> Left {
    let mut entries = index(session);
    for entry in &mut entries {
        let entry = entry.as_object_mut().unwrap();
        let path = Path::new(entry["path"].as_str().unwrap()).file_name().unwrap().to_owned();
        entry.insert("path".into(), path.to_str().unwrap().into());
        entry.insert("captured_at".into(), Value::Null);
    }
    let files = |folder: &str| -> BTreeMap<String, Vec<u8>> {
        std::fs::read_dir(session.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().into(), std::fs::read(path).unwrap())
            })
            .collect()
    };
    let mut frames = files("frames");
    frames.remove("index.json");
    let stream = files("stream");
    Left {
        recording: stream["recording.ts"].clone(),
        entries,
        frames,
        stream: stream.into_keys().collect(),
    }
}

/// How a recorder ended, and what it said.
struct Ended {
    status: ExitStatus,
    log: String,
}

/// Records what the session lacks of `clip`, as a sender that goes on from what is there.
fn record(sessions: &Path, clip: &[u8], fault: Option<&str>) -> Ended {
    let mut command = scenetap();
    command.args(["record", "--listen", "127.0.0.1:0", "--session", "s", "--once"]);
    command.args(["--scene-threshold", "0.02", "--max-frame-interval", "0.5"]);
    command.args(["--sync-interval", "0.05", "--sessions-dir"]).arg(sessions);
    command.envs(fault.map(|fault| ("SCENETAP_FAULT", fault)));
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
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
    // Read on, so that it never waits for us.
    let (tell, news) = channel();
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        for line in stderr.lines().map_while(Result::ok) {
            rest.push_str(&line);
            rest.push('\n');
            if line.contains("recording goes on at byte") {
                let _ = tell.send(());
            }
        }
        rest
    });
    if let Some(address) = address {
        send(&child, &address, &sessions.join("s/stream/recording.ts"), clip, &news);
    }
    let status = child.wait().unwrap();
    log.push_str(&rest.join().unwrap());
    Ended { status, log }
}

/// Sends until all of it is recorded. Whenever the recorder has turned the sender away
/// and goes on, it tells so by `news`; at its end it tells nothing any more.
fn send(child: &Child, address: &str, recording: &Path, clip: &[u8], news: &Receiver<()>) {
    loop {
        let there = std::fs::metadata(recording).unwrap().len() as usize;
        let there = there / TS_PACKET_BYTES * TS_PACKET_BYTES;
        if there == clip.len() {
            // No sender will come whose leaving would end it.
            let _ = std::process::Command::new("kill").arg(child.id().to_string()).status();
            return;
        }
        let Ok(mut socket) = TcpStream::connect(address) else { return };
        for bytes in clip[there..].chunks(8 << 10) {
            if socket.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = socket.shutdown(Shutdown::Write);
        if news.recv_timeout(DEADLINE).is_err() {
            return;
        }
    }
}

/// What an agent does meanwhile: it takes frames, and notes something on them.
fn acknowledge(session: &Path) -> Vec<Value> {
    let path = session.join("frames/index.json");
    let Ok(text) = std::fs::read(&path) else { return Vec::new() };
    let mut entries: Vec<Value> = serde_json::from_slice(&text).expect("readers see no half");
    for entry in &mut entries {
        entry["sent_to_agent"] = json!(true);
        entry["note"] = json!(format!("seen {}", entry["id"]));
    }
    let new = session.join("frames/.agents-own");
    std::fs::write(&new, serde_json::to_vec(&entries).unwrap()).unwrap();
    std::fs::rename(&new, &path).unwrap();
    entries
}

fn assert_same(what: &str, session: &Path, acknowledged: &[Value], undisturbed: &Left) {
    let mut found = left(session);
    for entry in acknowledged {
        let kept = found.entries.iter_mut().find(|kept| kept["id"] == entry["id"]);
        let kept = kept.unwrap_or_else(|| panic!("{what}: {} is gone", entry["id"]));
        assert_eq!(
            (&kept["sent_to_agent"], &kept["note"]),
            (&json!(true), &entry["note"]),
            "{what}"
        );
        kept["sent_to_agent"] = json!(false);
        kept.as_object_mut().unwrap().remove("note");
    }
    assert!(found.recording == undisturbed.recording, "{what}: another recording");
    let brief = |entries: &[Value]| {
        entries
            .iter()
            .map(|e| format!("{} {} {}", e["id"], e["timestamp"], e["offset"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(brief(&found.entries), brief(&undisturbed.entries), "{what}");
    assert_eq!(found.entries, undisturbed.entries, "{what}");
    assert_eq!(found.stream, undisturbed.stream, "{what}");
    let names = |left: &Left| left.frames.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(undisturbed), "{what}");
    assert!(found.frames == undisturbed.frames, "{what}: another JPEG");
}

/// Tries `case` with 1, 2, 3 … on so many threads, until it says that its fault was
/// not met any more. Says how many were.
fn for_every_change(threads: usize, case: impl Fn(u64) -> bool + Sync) -> u64 {
    let (next, end) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n > end.load(SeqCst) {
                        return;
                    }
                    if !case(n) {
                        end.fetch_min(n, SeqCst);
                    }
                }
            });
        }
    });
    end.into_inner() - 1
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn undisturbed(clip: &[u8]) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let ended = record(folder.path(), clip, None);
    assert!(ended.status.success(), "{}", ended.log);
    let left = left(&folder.path().join("s"));
    assert!(left.recording == clip && left.entries.len() >= 8, "{:?}", left.entries);
    left
}

#[test]
fn killed_before_every_change_to_the_disk_nothing_differs_in_the_end() {
    let clip = clip();
    let undisturbed = undisturbed(&clip);
    let kills = for_every_change(cores(), |n| {
        let folder = tempfile::tempdir().unwrap();
        let session = folder.path().join("s");
        let how = if n % 2 == 0 { "kill" } else { "tear" };
        let killed = record(folder.path(), &clip, Some(&format!("{how}@{n}")));
        let acknowledged = acknowledge(&session);
        // And once more, before it has come as far: a crash may hit what mends the last one.
        let again = record(folder.path(), &clip, Some(&format!("kill@{}", n / 2 + 1)));
        let ended = record(folder.path(), &clip, None);
        assert!(ended.status.success(), "{how}@{n}: {}", ended.log);
        let what = format!("{how}@{n}\n{}---\n{}---\n{}", killed.log, again.log, ended.log);
        assert_same(&what, &session, &acknowledged, &undisturbed);
        !killed.status.success()
    });
    assert!(kills > 50, "only {kills} changes were met");
    eprintln!("{kills} changes to the disk, killed before each: no difference");
}

#[test]
fn with_a_full_disk_at_every_change_nothing_differs_in_the_end() {
    let clip = clip();
    let undisturbed = undisturbed(&clip);
    // Most of the time it waits until it may try again.
    let faults = for_every_change(4 * cores(), |n| {
        let folder = tempfile::tempdir().unwrap();
        let full = format!("full@{n}+{}", 1 + n % 4);
        let first = record(folder.path(), &clip, Some(&full));
        let lines = first.log.lines().filter(|line| line.starts_with("scenetap: ")).count();
        let was_met = first.log.contains("injected: ");
        let second = if first.status.success() {
            None
        } else {
            // One line says why, and with space again it goes on where it was.
            assert_eq!(lines, 1, "{full}\n{}", first.log);
            let second = record(folder.path(), &clip, None);
            assert!(second.status.success(), "{full}\n{}", second.log);
            Some(second.log)
        };
        let what = format!("{full}\n{}---\n{}", first.log, second.unwrap_or_default());
        assert_same(&what, &folder.path().join("s"), &[], &undisturbed);
        was_met
    });
    eprintln!("{faults} changes to the disk, each with a full disk: no difference");
}
