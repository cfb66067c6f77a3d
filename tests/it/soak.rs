//! Weeks in seconds: a sender that loops, disconnects in the middle of packets and returns; a
//! recorder that is killed and runs out of disk space; rotation; an agent that leases frames; old
//! recordings that are deleted; a reader of stdout that never reads; a `check` and a second `record`
//! in parallel; and at the same time a recorder of a hostile stream. `make soak SECONDS=3600` runs
//! it for longer.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::life::{RULE, recorder};
use crate::common::random::{Random, from_environment, seed};
use crate::common::series::{Progress, assert_is_detected, assert_is_whole, series};
use crate::common::{DEADLINE, fixture, index, scenetap};
use rustix::process::{Pid, Signal, kill_process};
use scenetap::ts::TS_PACKET_BYTES;
use serde_json::{Value, json};

/// Duration, unless the environment sets another one (`make soak`).
const SECONDS: u64 = 20;

/// Minimum number of kills, regardless of the time they take.
const KILLS: u32 = 30;

/// Minimum duration for comparing the halves: in a shorter run, one backlog on a busy machine lasts
/// as long as half of the measurements.
const SECONDS_TO_COMPARE: u64 = 300;

/// Maximum amount and rate of recorded data.
const TOTAL_BYTES: u64 = 4 << 30;
const BYTES_PER_SECOND: u64 = 400_000;

/// The notes that an agent has written to the entries of each session.
type Notes = Mutex<BTreeMap<(PathBuf, String), Value>>;

/// Summary of what happened.
#[derive(Debug, Default)]
struct Account {
    kills: u32,
    disconnects: u32,
    full_disks: u32,
    checks: u32,
    refused: u32,
}

/// Returns a recorder with rotation, which resumes the last session of the series and keeps the last
/// few recordings. Without rotation, `--session` selects only that session.
fn rotating_recorder(sessions: &Path) -> Command {
    let mut command = recorder(sessions);
    command.args(["--rotate-bytes", "1M", "--keep-bytes", "4M", "--shutdown-timeout", "0.2"]);
    command
}

/// A running recorder.
struct Life {
    child: Child,
    address: String,
    log: Receiver<String>,
}

impl Life {
    fn start(sessions: &Path, fault: Option<String>) -> Life {
        Life::of(rotating_recorder(sessions), fault)
    }

    fn of(mut command: Command, fault: Option<String>) -> Life {
        // Lines that are never read.
        command.arg("--json").stdout(Stdio::piped());
        let mut child = command.envs(fault.map(|fault| ("SCENETAP_FAULT", fault))).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (log_sender, log) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("recorder: {line}");
                let _ = log_sender.send(line);
            }
        });
        let mut life = Life { child, address: String::new(), log };
        let lines = std::iter::from_fn(|| life.log.recv_timeout(DEADLINE).ok());
        let address = lines
            .filter_map(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()))
            .next();
        // A recorder that finds the disk full at startup exits with a separate message.
        life.address = address.unwrap_or_default();
        life
    }

    fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Returns resident memory in KiB, and the number of open files.
    fn size(&self) -> Option<(u64, u64)> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = memory.trim().trim_end_matches(" kB").parse().ok()?;
        let files = std::fs::read_dir(process.join("fd")).ok()?.count();
        Some((memory, files as u64))
    }
}

/// The sender: it has the stream, and tracks how much of it is recorded.
struct Sender {
    clip: Vec<u8>,
    progress: Progress,
    bytes_per_second: u64,
}

impl Sender {
    /// Sends for this long and stops at any byte. Returns the number of bytes that should be
    /// recorded then, and the open socket; `None` if the sender was disconnected.
    fn send(&self, address: &str, from: usize, time: Duration) -> Option<(usize, TcpStream)> {
        let mut socket = TcpStream::connect(address).ok()?;
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < time {
            let at = (from + sent) % self.clip.len();
            // Not a divisor of the packet length, so that it stops anywhere in a packet.
            let part = &self.clip[at..self.clip.len().min(at + 10_007)];
            socket.write_all(part).ok()?;
            sent += part.len();
            let due = Duration::from_micros(sent as u64 * 1_000_000 / self.bytes_per_second);
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        Some(((from + sent) / TS_PACKET_BYTES * TS_PACKET_BYTES, socket))
    }

    /// Disconnects and waits until all sent bytes are recorded, or will not be. Returns where to
    /// continue.
    fn disconnect(&mut self, life: &mut Life, sent: Option<(usize, TcpStream)>) -> usize {
        let sent = sent.map(|(bytes, _)| bytes);
        let start = Instant::now();
        loop {
            // Refused: the recorder has not noticed yet that the previous connection was closed.
            let is_over = |line: String| {
                line.contains("recording resumes") || sent.is_none() && line.contains("refused ")
            };
            let is_over = life.log.try_iter().any(is_over);
            let recorded = self.progress.recorded();
            if sent == Some(recorded) || is_over || life.has_exited() {
                return recorded;
            }
            assert!(sent.is_none_or(|sent| recorded < sent), "{recorded} bytes, sent {sent:?}");
            assert!(start.elapsed() < DEADLINE, "{recorded} bytes, sent {sent:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Adds a note to the newest frames of the newest session.
fn acknowledge(sessions: &Path, in_place: bool, number: u64, notes: &Notes) {
    let Some(session) = series(sessions).pop() else { return };
    let frames = session.join("frames");
    let path = frames.join("index.json");
    if !path.exists() {
        return;
    }
    let note = json!(format!("note {number}"));
    let change = |text: &[u8]| -> (Vec<Value>, Vec<u8>) {
        let mut entries: Vec<Value> =
            serde_json::from_slice(text).expect("readers never see half a file");
        for entry in entries.iter_mut().rev().take(5) {
            entry["sent_to_agent"] = json!(true);
            entry["note"] = note.clone();
        }
        let text = serde_json::to_vec(&entries).unwrap();
        (entries, text)
    };
    let entries = if in_place {
        let lock = OpenOptions::new().write(true).open(frames.join("index.lock")).unwrap();
        lock.lock().unwrap();
        let (entries, text) = change(&std::fs::read(&path).unwrap());
        std::fs::write(&path, text).unwrap();
        entries
    } else {
        let (entries, text) = change(&std::fs::read(&path).unwrap());
        let new = frames.join(".agents-own");
        let mut file = File::create(&new).unwrap();
        file.write_all(&text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        entries
    };
    let mut notes = notes.lock().unwrap();
    for entry in entries.iter().rev().take(5) {
        let id = entry["id"].as_str().unwrap().to_owned();
        notes.insert((session.clone(), id), note.clone());
    }
}

fn check_beside(sessions: &Path, account: &mut Account) {
    let last = series(sessions).pop().unwrap();
    // A session may be checked while it is recorded: it is not torn, even if parts are
    // not written yet.
    let check = scenetap().arg("check").arg(&last).output().unwrap();
    // A full disk may have failed a sync; the failure is stored until it is repaired.
    let is_fine = check.status.success() || last.join("stream/unsynced").exists();
    assert!(is_fine, "{}", String::from_utf8_lossy(&check.stdout));
    account.checks += 1;
    // Delete by hand what the recorder deletes itself.
    let mut prune = scenetap();
    prune.args(["sessions", "prune", "--recordings-only", "--keep", "6", "--sessions-dir"]);
    assert!(prune.arg(sessions).output().unwrap().status.success());
    let second = rotating_recorder(sessions).output().unwrap();
    assert!(!second.status.success());
    account.refused += 1;
}

/// Ends a recorder, which must exit successfully.
fn end(mut life: Life) {
    let _ = kill_process(Pid::from_child(&life.child), Signal::TERM);
    let status = life.child.wait().unwrap();
    assert!(status.success(), "it exited with {status}");
}

fn assert_consistent(sessions: &Path, clip: &[u8], sent: usize, notes: &Notes) -> usize {
    let (_, length) = assert_is_whole(sessions, clip);
    assert_eq!(length, sent, "bytes of the stream");
    let mut frames = 0;
    for session in series(sessions) {
        let kept = assert_is_detected(&session, &RULE);
        frames += kept;
        if session.join("stream/recording.ts").exists() {
            let mut check = scenetap();
            check.arg("check").arg(&session).args(RULE);
            if session.join("stream/unsynced").exists() {
                check.arg("--repair");
            }
            let check = check.output().unwrap();
            assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        }
        let jpegs = |name: &str| name.ends_with(".jpg");
        let names: Vec<_> = std::fs::read_dir(session.join("frames"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.iter().filter(|name| jpegs(name)).count(), kept);
        // A kill may leave temporary files in a session that is finished.
        let is_temp = |name: &str| {
            [".index.json.tmp", ".state.json.tmp"].iter().any(|temp| name.starts_with(temp))
        };
        let is_other = |name: &&String| !jpegs(name) && !is_temp(name);
        let others: Vec<_> = names.iter().filter(is_other).collect();
        assert_eq!(others.len(), 3, "{others:?}");
        for entry in index(&session) {
            let key = (session.clone(), entry["id"].as_str().unwrap().to_owned());
            let note = notes.lock().unwrap().remove(&key);
            assert_eq!(entry["sent_to_agent"], json!(note.is_some()), "{key:?}");
            assert_eq!(entry.get("note"), note.as_ref(), "{key:?}");
        }
    }
    assert!(notes.lock().unwrap().is_empty(), "frames with notes are missing");
    frames
}

#[test]
fn weeks_of_all_of_it() {
    let seconds = from_environment("SCENETAP_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed = seed();
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let sessions = folder.path();
    let clip = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    let bytes_per_second = BYTES_PER_SECOND.min(TOTAL_BYTES / seconds);
    let mut sender =
        Sender { progress: Progress::archiving(sessions, &clip), clip, bytes_per_second };
    let mut account = Account::default();
    let (notes, ended) = (Notes::default(), AtomicBool::new(false));
    let started = Instant::now();
    // Use two thirds of the time for many short runs, one third for a long one.
    let disturbed_time = Duration::from_secs(seconds * 2 / 3);
    let (mut sent, mut sizes, mut hostile_sizes) = (0, Vec::new(), Vec::new());

    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(seed + 1);
            for number in 0.. {
                if ended.load(Relaxed) {
                    return;
                }
                acknowledge(sessions, random.below(2) == 0, number, &notes);
                thread::sleep(Duration::from_millis(50 + random.below(400)));
            }
        });
        let hostile = scope.spawn(|| record_hostile_stream(seed + 2, &ended));
        let _over = Over(&ended);
        while started.elapsed() < disturbed_time || account.kills < KILLS {
            let fault = (random.below(3) == 0)
                .then(|| format!("full@{}+{}", 1 + random.below(400), 1 + random.below(6)));
            let mut life = Life::start(sessions, fault.clone());
            let max_ms = (disturbed_time.as_millis() as u64 / u64::from(KILLS)).max(300);
            let until = Instant::now() + Duration::from_millis(random.below(max_ms));
            sent = sender.progress.recorded();
            while Instant::now() < until && !life.has_exited() {
                let time = Duration::from_millis(random.below(1_500.min(2 * max_ms)));
                let outcome = sender.send(&life.address, sent, time);
                account.disconnects += u32::from(outcome.is_some());
                sent = sender.disconnect(&mut life, outcome);
                if random.below(3) == 0 && fault.is_none() {
                    check_beside(sessions, &mut account);
                }
            }
            account.full_disks += u32::from(fault.is_some());
            if life.has_exited() {
                continue;
            }
            // While it receives.
            let time = Duration::from_millis(random.below(300));
            let _open = sender.send(&life.address, sent, time);
            life.child.kill().unwrap();
            life.child.wait().unwrap();
            account.kills += 1;
        }

        let mut life = Life::start(sessions, None);
        sent = sender.progress.recorded();
        let settled = Instant::now();
        while settled.elapsed() < Duration::from_secs(seconds) - disturbed_time || sizes.len() < 6 {
            let time = Duration::from_millis(500 + random.below(1_500));
            let outcome = sender.send(&life.address, sent, time);
            account.disconnects += 1;
            sent = sender.disconnect(&mut life, outcome);
            sizes.push(life.size().expect("it lives"));
            if random.below(4) == 0 {
                check_beside(sessions, &mut account);
            }
        }
        // The agent ends before the recorder: later changes would not be merged.
        ended.store(true, Relaxed);
        end(life);
        hostile_sizes = hostile.join().unwrap();
    });
    // A last run that only merges the agent's last changes.
    end(Life::start(sessions, None));

    let frames = assert_consistent(sessions, &sender.clip, sent, &notes);
    let deleted =
        series(sessions).iter().filter(|s| !s.join("stream/recording.ts").exists()).count();
    assert!(deleted > 0, "no recording was deleted");
    let (memory, files): (Vec<u64>, Vec<u64>) = sizes.into_iter().unzip();
    let compared = seconds >= SECONDS_TO_COMPARE;
    let growth = |max: u64| compared.then_some(max);
    let memory = assert_is_bounded("KiB", &memory, max_memory(), growth(24 << 10));
    let files = assert_is_bounded("open files", &files, max_files(), growth(4));
    assert_is_bounded("KiB", &hostile_sizes, max_memory(), Some(8 << 10));
    eprintln!(
        "{seconds} s, {sent} bytes in {} sessions ({deleted} deleted), {frames} frames; {account:?}; \
         memory {} then {} KiB, open files {} then {}",
        series(sessions).len(),
        memory.0,
        memory.1,
        files.0,
        files.1,
    );
}

/// Sends a stream in which every packet may be damaged in any way, until `ended`. Returns the
/// recorder's resident memory in KiB, measured every quarter of a second.
fn record_hostile_stream(seed: u64, ended: &AtomicBool) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let mut random = Random::new(seed);
    // One long session: each new session starts its own threads, to which the allocator adapts
    // slowly.
    let mut life = Life::of(recorder(folder.path()), None);
    let mut socket = TcpStream::connect(&life.address).unwrap();
    let mut sizes = Vec::new();
    let mut packets = clip.chunks_exact(TS_PACKET_BYTES).cycle();
    while !ended.load(Relaxed) {
        // About 300 kB/s.
        for _ in 0..400 {
            let mut packet = packets.next().unwrap().to_vec();
            match random.below(40) {
                // Bits, a PID, a whole part.
                0 => packet[random.below(188) as usize] ^= 1 << random.below(8),
                1 => {
                    packet[1..3].copy_from_slice(&[random.below(64) as u8, random.below(256) as u8])
                }
                2 => packet[4 + random.below(180) as usize..].fill(0),
                // A start of a unit where none is, and none where one is.
                3 => packet[1] ^= 0x40,
                4 => packet.truncate(random.below(188) as usize),
                5 => continue,
                _ => {}
            }
            socket.write_all(&packet).unwrap();
        }
        thread::sleep(Duration::from_millis(250));
        sizes.push(life.size().expect("it lives").0);
    }
    drop(socket);
    let _ = kill_process(Pid::from_child(&life.child), Signal::TERM);
    assert!(life.child.wait().unwrap().success());
    sizes
}

/// Maximum resident memory of a recorder of 640×360 pictures, in KiB. A backlog is decoded in
/// pieces, one on each core: 76 MiB on two cores, 45 without a backlog.
fn max_memory() -> u64 {
    (96 + 24 * cores()) << 10
}

/// Maximum number of open files: each piece opens the recording.
fn max_files() -> u64 {
    40 + 4 * cores()
}

fn cores() -> u64 {
    thread::available_parallelism().unwrap().get() as u64
}

/// Asserts that no measurement exceeds the maximum. If `growth` is given, also asserts that the
/// second half exceeds the first by at most `growth`. Returns the minimum of each
/// half.
///
/// The minimum is compared because a backlog takes more memory for a while, but a leak stays. The
/// index (as text) and the arrival times of the last minute may grow. The first quarter is ignored:
/// the program is still allocating its memory.
fn assert_is_bounded(unit: &str, sizes: &[u64], max: u64, growth: Option<u64>) -> (u64, u64) {
    assert!(sizes.iter().all(|size| *size <= max), "more than {max} {unit}: {sizes:?}");
    let settled = &sizes[sizes.len() / 4..];
    let (early, late) = settled.split_at(settled.len() / 2);
    let (early, late) = (*early.iter().min().unwrap(), *late.iter().min().unwrap());
    let is_bounded = growth.is_none_or(|growth| late <= early + growth);
    assert!(is_bounded, "{early} {unit}, then {late}: {sizes:?}");
    (early, late)
}

/// Sets a flag when dropped, also if a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
