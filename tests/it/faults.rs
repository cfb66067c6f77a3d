//! Kills the recorder before every change to the disk, and fills the disk at every change. The
//! result must equal that of an undisturbed run. See `src/disk/fault.rs`. `cargo test` tries a
//! sample, `make faults` every change.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::common::left::{acknowledge, assert_same};
use crate::common::life::{RULE, record, undisturbed};
use crate::common::random::{Random, from_environment, seed};
use crate::common::{fixture, scenetap};
use scenetap::ts::TS_PACKET_BYTES;

/// Long enough for some kept frames, and short enough to be recorded hundreds of times.
const CLIP_PACKETS: usize = 800;

/// A sample covers at least one of this many changes.
const ONE_IN: u64 = 10;

/// Lower bound of the changes to the disk in one run.
const MIN_CHANGES: u64 = 100;

/// Minimum duration of a sample.
const MIN_DURATION: Duration = Duration::from_secs(20);

fn clip() -> Vec<u8> {
    let mut bytes = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    bytes.truncate(CLIP_PACKETS * TS_PACKET_BYTES);
    bytes
}

/// The changes to the disk at which a test injects faults.
struct Sweep {
    /// `None`: every change, in order.
    sample: Option<Random>,
    started: Instant,
    tried: u64,
    /// The lowest change known to be beyond the end of a run.
    end: u64,
}

impl Sweep {
    /// Returns a sweep over every change if `SCENETAP_FAULTS=all` (`make faults`). Otherwise, over
    /// one of every ten, and then random ones until [`MIN_DURATION`] has passed.
    fn new() -> Sweep {
        let all = from_environment("SCENETAP_FAULTS").is_some_and(|which: String| which == "all");
        let sample = (!all).then(|| Random::new(seed()));
        Sweep { sample, started: Instant::now(), tried: 0, end: u64::MAX }
    }

    fn next(&mut self) -> Option<u64> {
        self.tried += 1;
        let Some(random) = &mut self.sample else {
            return (self.tried < self.end).then_some(self.tried);
        };
        let one_of_next_ten = (self.tried - 1) * ONE_IN + 1 + random.below(ONE_IN);
        if one_of_next_ten < self.end {
            return Some(one_of_next_ten);
        }
        (self.started.elapsed() < MIN_DURATION).then(|| 1 + random.below(self.end - 1))
    }

    /// Asserts that faults were injected: a low number would mean that the fault points no longer
    /// match the changes to the disk.
    fn assert_enough(&self, reached: u64) {
        let min_reached = if self.sample.is_some() { MIN_CHANGES / ONE_IN } else { MIN_CHANGES };
        let end = self.end;
        assert!(end != u64::MAX && end > MIN_CHANGES, "a run changes the disk {end} times only");
        assert!(reached >= min_reached, "only {reached} changes to the disk were met");
    }
}

/// Runs `case` for the changes of a sweep on `threads` threads. `case` returns whether the run
/// reached that change. Returns the number of reached changes.
fn for_every_change(threads: usize, case: impl Fn(u64) -> bool + Sync) -> u64 {
    let (sweep, reached) = (Mutex::new(Sweep::new()), AtomicU64::new(0));
    let next = || sweep.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(n) = next() {
                    if case(n) {
                        reached.fetch_add(1, SeqCst);
                    } else {
                        let mut sweep = sweep.lock().unwrap();
                        sweep.end = sweep.end.min(n);
                    }
                }
            });
        }
    });
    let reached = reached.into_inner();
    sweep.into_inner().unwrap().assert_enough(reached);
    reached
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[test]
fn killed_before_every_change_to_the_disk_nothing_differs_in_the_end() {
    let clip = clip();
    let undisturbed = undisturbed(&clip);
    let kills = for_every_change(cores(), |n| {
        let folder = tempfile::tempdir().unwrap();
        let session = folder.path().join("s");
        let kind = if n % 2 == 0 { "kill" } else { "tear" };
        let killed = record(folder.path(), &clip, Some(&format!("{kind}@{n}")));
        let acknowledged = acknowledge(&session);
        // And once more, earlier in the run: a crash may also hit the recovery from the
        // previous one.
        let again = record(folder.path(), &clip, Some(&format!("kill@{}", n / 2 + 1)));
        let ended = record(folder.path(), &clip, None);
        assert!(ended.status.success(), "{kind}@{n}: {}", ended.log);
        let context = format!("{kind}@{n}\n{}---\n{}---\n{}", killed.log, again.log, ended.log);
        assert_same(&context, &session, &acknowledged, &undisturbed);
        !killed.status.success()
    });
    eprintln!("{kills} changes to the disk, killed before each: no difference");
}

#[test]
fn with_a_full_disk_at_every_change_nothing_differs_in_the_end() {
    let clip = clip();
    let undisturbed = undisturbed(&clip);
    let faults = for_every_change(2 * cores(), |n| {
        let folder = tempfile::tempdir().unwrap();
        let full = format!("full@{n}+{}", 1 + n % 4);
        let first = record(folder.path(), &clip, Some(&full));
        let lines = first.log.lines().filter(|line| line.starts_with("scenetap: ")).count();
        let was_reached = first.log.contains("injected: ");
        let second = if first.status.success() {
            None
        } else {
            // One line states the reason. Once there is space, recording resumes from there.
            assert_eq!(lines, 1, "{full}\n{}", first.log);
            let second = record(folder.path(), &clip, None);
            assert!(second.status.success(), "{full}\n{}", second.log);
            Some(second.log)
        };
        let context = format!("{full}\n{}---\n{}", first.log, second.unwrap_or_default());
        repair_failed_sync(&folder.path().join("s"), &context);
        assert_same(&context, &folder.path().join("s"), &[], &undisturbed);
        was_reached
    });
    eprintln!("{faults} changes to the disk, each with a full disk: no difference");
}

/// If a sync of the recording has failed, asserts that the failure is stored and that a repair
/// clears it.
fn repair_failed_sync(session: &Path, context: &str) {
    if !session.join("stream/unsynced").exists() {
        return;
    }
    let check =
        |arguments: &[&str]| scenetap().arg("check").arg(session).args(arguments).output().unwrap();
    let found = String::from_utf8(check(&[]).stdout).unwrap();
    assert!(found.contains("a sync to disk has failed"), "{context}\n{found}");
    let repaired = check(&[&RULE[..], &["--repair"]].concat());
    assert!(repaired.status.success(), "{context}\n{repaired:?}");
}
