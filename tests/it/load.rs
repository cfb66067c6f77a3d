//! More data than detection can follow: nothing is lost, memory is bounded, and detection
//! catches up. `make load` uses more data.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::random::from_environment;
use crate::common::{DEADLINE, Recorder, assert_golden, fixture, golden, index};

/// Amount of data of the fast sender, unless set by the environment.
const MEBIBYTES: usize = 320;

/// Maximum memory of a recorder: docs/RELIABILITY.md lists its parts. It does not depend
/// on the backlog of detection.
const MAX_MEMORY_KIB: u64 = 256 << 10;

const CLIP: &str = "bbb_h264_zerolatency_360p30_gop2s";

/// Returns the peak resident memory of a process, in KiB.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn assert_recorded(recording: &Path, clip: &[u8], times: usize) {
    let recorded = std::fs::read(recording).unwrap();
    assert_eq!(recorded.len(), clip.len() * times);
    assert!(recorded.chunks(clip.len()).all(|part| part == clip), "other bytes");
}

#[test]
fn eight_senders_into_eight_recorders_at_full_speed_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(fixture(CLIP)).unwrap();
    let started = Instant::now();
    thread::scope(|scope| {
        let lives: Vec<_> = (1..=8)
            .map(|number| {
                let (folder, clip) = (folder.path(), &clip);
                scope.spawn(move || {
                    let mut recorder =
                        Recorder::start(folder, &format!("s{number}"), &["--jobs", "4"]);
                    crate::common::send_bytes(&recorder.address, clip);
                    (0..golden(CLIP, "frames").len()).for_each(|_| {
                        recorder.next_frame().unwrap();
                    });
                    let memory = peak_memory(recorder.child.id());
                    let (session, recording) = (recorder.session.clone(), recorder.recording());
                    recorder.end_by_signal();
                    assert_recorded(&recording, clip, 1);
                    assert_golden(CLIP, "frames", &index(&session));
                    memory
                })
            })
            .collect();
        let memory: Vec<_> = lives.into_iter().map(|life| life.join().unwrap()).collect();
        assert!(memory.iter().all(|memory| *memory < MAX_MEMORY_KIB), "{memory:?} KiB");
        eprintln!("eight at once: {:.1?}, {memory:?} KiB", started.elapsed());
    });
}

#[test]
fn a_sender_far_faster_than_detection_is_recorded_and_detection_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(fixture(CLIP)).unwrap();
    let mebibytes = from_environment("SCENETAP_LOAD_MIB").unwrap_or(MEBIBYTES);
    let times = (mebibytes << 20).div_ceil(clip.len());
    let recorder = Recorder::start(folder.path(), "s", &["--jobs", "4"]);
    let started = Instant::now();
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    (0..times).for_each(|_| socket.write_all(&clip).unwrap());
    recorder.wait_for_bytes(clip.len() * times);
    let took = started.elapsed();
    assert_recorded(&recorder.recording(), &clip, times);

    let lag = || lag_bytes(&recorder.session);
    let (first, catch_up_started) = (lag(), Instant::now());
    assert!(first > 0, "detection is not behind");
    // Detection catches up, and memory does not depend on the backlog.
    while lag() > first.saturating_sub(8 << 20) {
        assert!(catch_up_started.elapsed() < DEADLINE, "detection does not catch up");
        thread::sleep(Duration::from_millis(50));
    }
    let memory = peak_memory(recorder.child.id());
    assert!(memory < MAX_MEMORY_KIB, "{memory} KiB");
    let bits = (clip.len() * times * 8) as f64;
    eprintln!(
        "{} MiB in {took:.1?}: {:.2} Gbit/s; {memory} KiB; detection {} MiB behind, {:.1} MiB/s",
        (clip.len() * times) >> 20,
        bits / took.as_secs_f64() / 1e9,
        first >> 20,
        (first - lag()) as f64 / f64::from(1 << 20) / catch_up_started.elapsed().as_secs_f64(),
    );
}

/// Returns the backlog of detection in the recording of `session`, as reported by
/// `status`.
fn lag_bytes(session: &Path) -> u64 {
    let output = crate::common::scenetap().args(["status", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let statuses =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let folder = session.to_str().unwrap();
    let ours = statuses.into_iter().find(|status| status["folder"] == folder).expect("it tells");
    ours["lag_bytes"].as_u64().unwrap()
}
