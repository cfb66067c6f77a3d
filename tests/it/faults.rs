//! Killed before every change to the disk, and with a full disk at every change: the
//! end is that of a run that nothing happened to. See `src/disk/fault.rs`.
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::common::fixture;
use crate::common::left::{acknowledge, assert_same};
use crate::common::life::{record, undisturbed};
use scenetap::media::TS_PACKET_BYTES;

/// Long enough for some kept frames, and short enough to be recorded hundreds of times.
const CLIP_PACKETS: usize = 800;

fn clip() -> Vec<u8> {
    let mut bytes = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    bytes.truncate(CLIP_PACKETS * TS_PACKET_BYTES);
    bytes
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
