#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::Kind;
use crate::media::{ByteOffset, RandomAccess, Ticks};

const LONG: u64 = 1 << 40;

fn keyframe(n: u64) -> Keyframe {
    Keyframe {
        at: ByteOffset(564 + n * 18_800),
        time: Ticks(n as i64 * 90_000 - 10),
        tables: (n > 0).then_some(ByteOffset(n * 18_800)),
        random_access: match n % 3 {
            0 => RandomAccess::Closed,
            1 => RandomAccess::Open,
            _ => RandomAccess::Gradual(30 + n as u32),
        },
        has_parameter_sets: !n.is_multiple_of(5),
        damaged: n.is_multiple_of(7),
    }
}

/// Returns an index of `count` random access points.
fn written(count: u64) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyframes.idx");
    let mut writer = KeyframeWriter::open(&path, ByteOffset(0), LONG).unwrap();
    let all: Vec<_> = (0..count).map(keyframe).collect();
    all.chunks(7).for_each(|some| writer.append(some).unwrap());
    (folder, path)
}

fn all(path: &Path) -> Vec<Keyframe> {
    let index = KeyframeIndex::open(path).unwrap();
    (0..index.count().unwrap()).map_while(|n| index.get(n).unwrap()).collect()
}

#[test]
fn what_was_appended_is_found_by_time_and_by_offset() {
    let (_folder, path) = written(100);
    assert_eq!(all(&path), (0..100).map(keyframe).collect::<Vec<_>>());
    let index = KeyframeIndex::open(&path).unwrap();
    for n in [0, 1, 50, 99] {
        let Keyframe { at, time, .. } = keyframe(n);
        assert_eq!(index.partition_point(100, |found| found.time <= time).unwrap(), n + 1);
        assert_eq!(index.partition_point(100, |found| found.at < at).unwrap(), n);
        assert_eq!(index.count_below(at.0 + 1).unwrap(), n + 1);
    }
    assert_eq!(index.count_below(LONG).unwrap(), 100);
    assert_eq!(index.get(100).unwrap(), None);
    assert_eq!(index.complete_from(), ByteOffset(0));
}

#[test]
fn torn_anywhere_the_whole_records_stay_and_the_next_writer_goes_on() {
    let (_folder, path) = written(5);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut writer = KeyframeWriter::open(&path, ByteOffset(0), LONG).unwrap();
        // Detection passes some random access points again.
        writer.append(&(0..5).map(keyframe).collect::<Vec<_>>()).unwrap();
        assert!(fs::read(&path).unwrap() == whole, "torn at {length}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        match KeyframeIndex::open(&path) {
            Ok(_) => {
                let found = all(&path);
                assert!(found.len() < 5 && found[..] == all_of(5)[..found.len()], "bit {bit}");
            }
            Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "bit {bit}"),
        }
    }
}

fn all_of(count: u64) -> Vec<Keyframe> {
    (0..count).map(keyframe).collect()
}

#[test]
fn points_that_the_recording_has_lost_are_cut_off() {
    let (_folder, path) = written(5);
    let length = keyframe(3).at.0;
    drop(KeyframeWriter::open(&path, keyframe(1).at, length).unwrap());
    assert_eq!(all(&path), all_of(3));
}

#[test]
fn an_index_that_lacks_where_detection_resumes_begins_anew_there() {
    let (_folder, path) = written(5);
    let resumed = keyframe(9);
    let mut writer = KeyframeWriter::open(&path, resumed.at, LONG).unwrap();
    writer.append(&[resumed, keyframe(10)]).unwrap();
    assert_eq!(all(&path), [resumed, keyframe(10)]);
    assert_eq!(KeyframeIndex::open(&path).unwrap().complete_from(), resumed.at);
    fs::remove_file(&path).unwrap();
    assert_eq!(KeyframeIndex::open(&path).unwrap_err().kind(), Kind::Gone);
}
