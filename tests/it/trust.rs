//! Files of an earlier process are trusted only if they are unchanged and belong to this recording.
//! Otherwise, they are quarantined, logged and rebuilt.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::common::{Recorder, fixture, index, send_bytes};
use scenetap::catalog::checkpoint::VERSION;
use scenetap::catalog::{Catalog, CatalogOptions, SystemClock};
use scenetap::pipeline::live::checkpoint::Checkpoint;
use serde_json::{Value, json};

const CHECKPOINT: &str = "stream/checkpoint.json";
const INDEX: &str = "frames/index.json";
const COPY: &str = "stream/.index.synced";

fn clip(name: &str, packets: usize) -> Vec<u8> {
    let mut bytes = fs::read(fixture(name)).unwrap();
    bytes.truncate(packets * 188);
    bytes
}

/// Records `bytes` completely into a session named `s`.
fn record(sessions: &Path, bytes: &[u8]) -> PathBuf {
    let recorder = Recorder::start(sessions, "s", &["--once", "--scene-threshold", "0.1"]);
    send_bytes(&recorder.address, bytes);
    assert!(recorder.end().0.success());
    sessions.join("s")
}

/// Resumes the session `s` without a sender; returns the log.
fn resume(sessions: &Path) -> Vec<String> {
    Recorder::start(sessions, "s", &["--scene-threshold", "0.1"]).end_by_signal()
}

/// Returns a session; an agent has acknowledged its second frame.
fn recorded() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let session = record(folder.path(), &clip("bbb_h264_bframes_scenecut_360p24", 2_000));
    let mut entries = index(&session);
    assert!(entries.len() >= 2);
    entries[1]["sent_to_agent"] = json!(true);
    fs::write(session.join(INDEX), serde_json::to_vec_pretty(&entries).unwrap()).unwrap();
    resume(folder.path());
    (folder, session)
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

#[test]
fn a_checkpoint_with_any_bit_changed_or_cut_anywhere_is_none() {
    let (_folder, session) = recorded();
    let path = session.join(CHECKPOINT);
    let bytes = fs::read(&path).unwrap();
    Checkpoint::parse(&path, &bytes).unwrap();
    for bit in 0..8 * bytes.len() {
        assert!(Checkpoint::parse(&path, &flipped(&bytes, bit)).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Checkpoint::parse(&path, &bytes[..length]).is_err(), "cut to {length}");
    }
    let more = [&bytes[..], b" "].concat();
    assert!(Checkpoint::parse(&path, &more).is_err());
}

#[test]
fn a_checkpoint_that_cannot_be_believed_is_set_aside_and_the_frames_are_found_again() {
    let (folder, session) = recorded();
    let before = index(&session);
    let path = session.join(CHECKPOINT);
    let good = fs::read(&path).unwrap();
    let newer = String::from_utf8(good.clone()).unwrap().replacen(
        &format!("\"version\": {VERSION}"),
        &format!("\"version\": {}", VERSION + 1),
        1,
    );
    let damaged: [(&str, Vec<u8>); 6] = [
        ("not a checkpoint", Vec::new()),
        ("not a checkpoint", good[..good.len() / 2].to_vec()),
        ("not a checkpoint", b"[1, 2]".to_vec()),
        ("not a checkpoint", vec![0; 5_000]),
        ("checkpoint of version", newer.into_bytes()),
        ("its checksum does not match", {
            let text = String::from_utf8(good.clone()).unwrap();
            text.replacen("\"frames_kept\": ", "\"frames_kept\": 1", 1).into_bytes()
        }),
    ];
    for (n, (reason, bytes)) in damaged.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let log = resume(folder.path()).join("\n");
        assert!(log.contains(reason) && log.contains("detection starts over"), "{reason}: {log}");
        assert_eq!(index(&session), before, "{reason}");
        assert_eq!(fs::read(&path).unwrap(), good, "{reason}: it is written again");
        let quarantined = session.join(format!("{CHECKPOINT}.set-aside-{}", n + 1));
        assert!(fs::read(quarantined).unwrap() == *bytes, "{reason}");
    }
}

#[test]
fn a_checkpoint_whose_last_picture_does_not_come_again_is_set_aside_and_detection_starts_over() {
    let (folder, session) = recorded();
    let before = index(&session);
    let path = session.join(CHECKPOINT);
    let good = fs::read(&path).unwrap();
    let mut checkpoint = Checkpoint::parse(&path, &good).unwrap();
    // No picture starts inside a packet.
    checkpoint.point.decided.offset.0 += 1;
    let bytes = checkpoint.to_json().unwrap();
    fs::write(&path, &bytes).unwrap();
    let log = resume(folder.path()).join("\n");
    assert!(log.contains("was not decoded again; quarantined as"), "{log}");
    assert!(log.contains("detection starts over"), "{log}");
    assert_eq!(index(&session), before);
    assert!(fs::read(&path).unwrap() == good, "it is written again");
    assert!(fs::read(session.join(format!("{CHECKPOINT}.set-aside-1"))).unwrap() == bytes);
}

#[test]
fn a_checkpoint_of_another_recording_is_not_believed() {
    let (folder, session) = recorded();
    let other = tempfile::tempdir().unwrap();
    let longer = record(other.path(), &clip("sintel_fades_h264_360p24", 1_500));
    let cases = [("belongs to another recording", 3_000), ("the recording has", 1_000)];
    for (reason, packets) in cases {
        let bytes = clip("bbb_h264_bframes_scenecut_360p24", packets);
        fs::remove_dir_all(&session).unwrap();
        let before = index(&record(folder.path(), &bytes));
        fs::copy(longer.join(CHECKPOINT), session.join(CHECKPOINT)).unwrap();
        let log = resume(folder.path()).join("\n");
        assert!(log.contains(reason), "{reason}: {log}");
        assert_eq!(index(&session), before, "{reason}");
    }
}

#[test]
fn a_recording_that_lost_its_end_and_went_on_otherwise_is_seen_to_be_another() {
    let (folder, session) = recorded();
    // As after a power loss and another sender, without a recorder in between.
    let bytes = clip("bbb_h264_bframes_scenecut_360p24", 1_500);
    let more = clip("sintel_fades_h264_360p24", 1_500);
    let bytes = [bytes, more].concat();
    fs::write(session.join("stream/recording.ts"), &bytes).unwrap();
    let log = resume(folder.path()).join("\n");
    assert!(log.contains("belongs to another recording"), "{log}");
    let fresh = tempfile::tempdir().unwrap();
    let scanned = index(&record(fresh.path(), &bytes));
    let positions = |entries: &[Value]| -> Vec<_> {
        entries.iter().map(|entry| (entry["offset"].clone(), entry["timestamp"].clone())).collect()
    };
    assert_eq!(positions(&index(&session)), positions(&scanned));
}

/// Opens the index in a separate folder, as a restart does.
fn opened(folder: &Path, index: &[u8], copy: &[u8], kept: u64) -> (Vec<Value>, u64) {
    let frames = folder.join("frames");
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(&frames).unwrap();
    fs::write(frames.join("index.json"), index).unwrap();
    // A file that was just changed would be read twice, because another program might still be
    // writing it.
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().append(true).open(frames.join("index.json")).unwrap();
    file.set_modified(hour_ago).unwrap();
    fs::write(folder.join("copy"), copy).unwrap();
    let options = CatalogOptions {
        next_ordinal: kept,
        write_jpegs: false,
        index_copy: Some(folder.join("copy")),
        ..CatalogOptions::new(&frames)
    };
    let catalog = Catalog::open_with(options, Arc::new(SystemClock), Duration::ZERO).unwrap();
    let lacking = catalog.lacking();
    let entries = catalog.entries().map(|entry| serde_json::to_value(entry).unwrap()).collect();
    (entries, lacking)
}

const OUR_KEYS: [&str; 7] =
    ["id", "timestamp", "path", "score", "reason", "offset", "keyframe_offset"];

/// Returns our part of each entry, without `sent_to_agent` and the keys of other programs.
fn ours(entries: &[Value]) -> Vec<Value> {
    entries.iter().map(|entry| OUR_KEYS.iter().map(|key| entry[*key].clone()).collect()).collect()
}

#[test]
fn an_index_with_any_bit_changed_or_cut_anywhere_says_of_each_frame_what_it_said() {
    let (folder, session) = recorded();
    let (index, copy) =
        (fs::read(session.join(INDEX)).unwrap(), fs::read(session.join(COPY)).unwrap());
    let kept = crate::common::index(&session).len() as u64;
    let opened_folder = folder.path().join("opened");
    let (whole, lacking) = opened(&opened_folder, &index, &copy, kept);
    assert_eq!((whole.len() as u64, lacking), (kept, 0));

    // Every seventh bit: each byte is changed, and each bit position occurs.
    let flips = (0..8 * index.len()).step_by(7).map(|bit| flipped(&index, bit));
    let cuts = (0..index.len()).step_by(13).map(|length| index[..length].to_vec());
    for (n, damaged) in flips.chain(cuts).enumerate() {
        let (entries, lacking) = opened(&opened_folder, &damaged, &copy, kept);
        assert_eq!((ours(&entries), lacking), (ours(&whole), 0), "case {n}");
        if serde_json::from_slice::<Vec<Value>>(&damaged).is_err() {
            let quarantined = fs::read(opened_folder.join("frames/index.json.corrupt-1")).unwrap();
            assert!(quarantined == damaged, "case {n}: it is not destroyed");
        }
    }
    // In another order, and of another session.
    let mut reversed: Vec<Value> = serde_json::from_slice(&index).unwrap();
    reversed.reverse();
    let (entries, _) = opened(&opened_folder, &serde_json::to_vec(&reversed).unwrap(), &copy, kept);
    assert_eq!(entries, whole);
    for item in &mut reversed {
        item["offset"] = json!(188);
        item["timestamp"] = json!(99.5);
    }
    let (entries, _) = opened(&opened_folder, &serde_json::to_vec(&reversed).unwrap(), &copy, kept);
    assert_eq!(ours(&entries), ours(&whole));
}

#[test]
fn an_index_of_which_no_copy_is_left_is_made_anew_from_the_recording() {
    let (folder, session) = recorded();
    let before = index(&session);
    fs::write(session.join(INDEX), "[{").unwrap();
    fs::write(session.join(COPY), "crc32 00000000\n[]\n").unwrap();
    let log = resume(folder.path()).join("\n");
    assert!(log.contains("checksum mismatch"), "{log}");
    assert!(log.contains("not a JSON array"), "{log}");
    assert!(log.contains(&format!("the index lacks {0} of the {0} frames", before.len())));
    // The deliveries are lost with both files, and so are the arrival times.
    assert_eq!(ours(&index(&session)), ours(&before));
    assert_eq!(fs::read(session.join("frames/index.json.corrupt-1")).unwrap(), b"[{");
    assert!(session.join("stream/.index.synced.corrupt-1").exists());
}
