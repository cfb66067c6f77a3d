//! The main job, with the real binary over real sockets: the recording equals the sent bytes, and
//! the frames are those kept by ffmpeg.

use std::process::Command;

use crate::common::oracle::ffmpeg;
use crate::common::{FIXTURES, Recorder, assert_golden, fixture, has, index, scenetap, send_bytes};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn every_fixture_is_recorded_byte_for_byte_with_ffmpegs_frames() {
    let sessions = tempfile::tempdir().unwrap();
    for name in FIXTURES {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let recorder = Recorder::start(sessions.path(), name, &["--once"]);
        let session = recorder.session.clone();
        send_bytes(&recorder.address, &bytes);
        let (status, printed) = recorder.end();
        assert!(status.success());
        assert!(std::fs::read(session.join("stream/recording.ts")).unwrap() == bytes, "{name}");
        let entries = index(&session);
        assert_golden(name, "frames", &entries);
        assert_eq!(printed, entries, "stdout shows each entry as in the index");
        for entry in &entries {
            check_entry(entry, &bytes);
        }
    }
}

#[test]
fn with_verbose_it_says_at_the_end_how_long_frames_took_stage_by_stage() {
    let sessions = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(sessions.path(), "s", &["--once", "-v"]);
    send_bytes(&recorder.address, &std::fs::read(fixture(FIXTURES[0])).unwrap());
    let head = recorder.wait_for("latency of ");
    for row in ["p99.9", "read", "decoded", "scored", "encoded", "published", "all"] {
        recorder.wait_for(row);
    }
    let (status, entries) = recorder.end();
    assert!(status.success());
    assert!(head.contains(&format!("latency of {} frames in ms", entries.len())), "{head}");
}

/// Checks for a JPEG that decodes, offsets that point to packets, and plausible times.
fn check_entry(entry: &Value, recording: &[u8]) {
    let jpeg = image::open(entry["path"].as_str().unwrap()).unwrap();
    assert!(
        [(640, 360), (720, 576), (320, 180), (480, 270)].contains(&(jpeg.width(), jpeg.height()))
    );
    let offset = usize::try_from(entry["offset"].as_u64().unwrap()).unwrap();
    let keyframe = usize::try_from(entry["keyframe_offset"].as_u64().unwrap()).unwrap();
    assert!(keyframe <= offset && recording[offset] == 0x47 && recording[keyframe] == 0x47);
    assert_eq!(entry["sent_to_agent"], false);
    assert!(entry["captured_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn scan_gives_the_same_as_record_key_for_key() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bbb_mpeg2_576i25_tff", "bbb_hevc_main10_360p24_opengop"] {
        let recorder = Recorder::start(folder.path(), name, &["--once"]);
        let session = recorder.session.clone();
        send_bytes(&recorder.address, &std::fs::read(fixture(name)).unwrap());
        assert!(recorder.end().0.success());
        let frames = folder.path().join(format!("{name}.frames"));
        let scan = scenetap()
            .arg("scan")
            .arg(fixture(name))
            .arg("--json")
            .arg("--frames-dir")
            .arg(&frames)
            .output();
        let scan = scan.unwrap();
        assert!(scan.status.success(), "{}", String::from_utf8_lossy(&scan.stderr));
        let scanned: Vec<Value> =
            serde_json::from_slice(&std::fs::read(frames.join("index.json")).unwrap()).unwrap();
        let printed: Vec<Value> = String::from_utf8(scan.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(printed, scanned);
        let without = |entries: Vec<Value>| -> Vec<Value> {
            let strip = |mut entry: Value| {
                let keys = entry.as_object_mut().unwrap();
                keys.remove("captured_at");
                let path = keys.remove("path").unwrap();
                let jpeg = std::fs::read(path.as_str().unwrap()).unwrap();
                (entry, jpeg)
            };
            entries
                .into_iter()
                .map(|entry| serde_json::json!(format!("{:?}", strip(entry))))
                .collect()
        };
        assert_eq!(without(scanned), without(index(&session)), "{name}");
    }
}

#[test]
fn scores_of_every_picture_are_ffmpegs_to_the_sixth_decimal() {
    let folder = tempfile::tempdir().unwrap();
    for name in FIXTURES {
        let csv = folder.path().join("scores.csv");
        let scan =
            scenetap().arg("scan").arg(fixture(name)).arg("--scores").arg(&csv).output().unwrap();
        assert!(scan.status.success());
        // A row for each kept frame, under a head.
        let rows = String::from_utf8(scan.stdout).unwrap();
        assert_eq!(rows.lines().count(), 1 + crate::common::golden(name, "frames").len());
        let expected: Vec<_> = crate::common::golden(name, "scores")
            .iter()
            .map(|row| format!("{:.6},{}", row[0].parse::<f64>().unwrap() / 90_000.0, row[1]))
            .collect();
        let text = std::fs::read_to_string(&csv).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("pts_time,score"));
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn a_frame_is_forced_when_nothing_changes_for_a_while() {
    for name in FIXTURES {
        let scan = scenetap()
            .args(["scan", "--json", "--scene-threshold", "0.1", "--max-frame-interval", "2"])
            .arg(fixture(name))
            .output()
            .unwrap();
        let printed = String::from_utf8(scan.stdout).unwrap();
        let entries: Vec<Value> =
            printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(entries.iter().all(|entry| entry["path"].is_null()), "JPEGs are disabled");
        assert_golden(name, "t0.1-i2.frames", &entries);
    }
}

#[test]
fn frames_are_in_the_index_while_the_stream_runs_not_after() {
    let sessions = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(sessions.path(), "live", &["--once"]);
    let mut sender = scenetap()
        .args(["send", "--speed", "4", "--to", &recorder.address])
        .arg(fixture("bbb_h264_zerolatency_360p30_gop2s"))
        .spawn()
        .unwrap();
    for number in 1..=4 {
        let frame = recorder.next_frame().expect("a frame");
        let listed = index(&recorder.session);
        assert_eq!(frame["id"], format!("F{number:04}"));
        assert!(listed.contains(&frame), "announced only once the index lists it");
        assert!(image::open(frame["path"].as_str().unwrap()).is_ok());
    }
    assert!(sender.try_wait().unwrap().is_none(), "the sender is still sending");
    assert!(sender.wait().unwrap().success());
    let session = recorder.session.clone();
    assert!(recorder.end().0.success());
    assert_golden("bbb_h264_zerolatency_360p30_gop2s", "frames", &index(&session));
}

#[test]
fn a_stream_sent_by_ffmpeg_itself_has_the_frames_that_ffmpeg_finds_in_the_recording() {
    if !has("ffmpeg") {
        return;
    }
    let sessions = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(sessions.path(), "ffmpeg", &["--once"]);
    let session = recorder.session.clone();
    let sent = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-readrate", "4", "-i"])
        .arg(fixture("bbb_h264_resolution_change"))
        .args(["-c", "copy", "-f", "mpegts", &format!("tcp://{}", recorder.address)])
        .status();
    assert!(sent.unwrap().success());
    let (status, printed) = recorder.end();
    assert!(status.success());
    let found: Vec<_> = printed
        .iter()
        .map(|entry| {
            let number = |key: &str| entry[key].as_f64().unwrap();
            format!("{:.6},{:.6}", number("timestamp"), number("score"))
        })
        .collect();
    assert_eq!(found, ffmpeg(&session.join("stream/recording.ts")).frames);
}

#[test]
fn a_recording_ended_by_a_signal_goes_on_as_if_it_had_not() {
    for name in ["bbb_h264_zerolatency_360p30_gop2s", "bbb_h264_bframes_scenecut_360p24"] {
        let sessions = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(fixture(name)).unwrap();
        let third = bytes.len() / 564 * 188;
        // Killed twice, so that nothing is flushed; then terminated.
        for (to, signal) in
            [(third, Signal::KILL), (2 * third, Signal::KILL), (bytes.len(), Signal::TERM)]
        {
            let mut recorder = Recorder::start(sessions.path(), "s", &[]);
            // The sender continues after the recorded bytes.
            let recording = recorder.session.join("stream/recording.ts");
            let from = usize::try_from(std::fs::metadata(recording).unwrap().len()).unwrap();
            send_bytes(&recorder.address, &bytes[from..to]);
            recorder.wait_for("has left");
            if from == 0 {
                recorder.next_frame().expect("the first frame");
            }
            recorder.signal(signal);
            assert_eq!(recorder.end().0.success(), signal == Signal::TERM);
        }
        let session = sessions.path().join("s");
        assert!(std::fs::read(session.join("stream/recording.ts")).unwrap() == bytes);
        let entries = index(&session);
        assert_golden(name, "frames", &entries);
        for entry in &entries {
            assert!(image::open(entry["path"].as_str().unwrap()).is_ok());
        }
        let jpegs = std::fs::read_dir(session.join("frames"))
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "jpg"))
            .count();
        assert_eq!(jpegs, entries.len(), "no JPEG without an entry");
    }
}

#[test]
fn what_others_write_into_the_index_is_kept() {
    let sessions = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    let mut recorder = Recorder::start(sessions.path(), "s", &[]);
    let half = bytes.len() / 376 * 188;
    send_bytes(&recorder.address, &bytes[..half]);
    recorder.next_frame().expect("the first frame");
    recorder.wait_for("has left");
    let path = recorder.session.join("frames/index.json");
    let mut entries = index(&recorder.session);
    entries[0]["sent_to_agent"] = true.into();
    entries[0]["note"] = "a squirrel".into();
    let written = path.with_extension("json.agent");
    std::fs::write(&written, serde_json::to_vec(&entries).unwrap()).unwrap();
    std::fs::rename(&written, &path).unwrap();
    send_bytes(&recorder.address, &bytes[half..]);
    recorder.wait_for("has left");
    recorder.signal(Signal::TERM);
    let session = recorder.session.clone();
    assert!(recorder.end().0.success());
    let entries = index(&session);
    assert_golden("bbb_h264_zerolatency_360p30_gop2s", "frames", &entries);
    assert_eq!(
        (&entries[0]["sent_to_agent"], &entries[0]["note"]),
        (&true.into(), &"a squirrel".into())
    );
}

#[test]
fn a_second_recorder_on_a_session_fails_with_one_line() {
    let sessions = tempfile::tempdir().unwrap();
    let _first = Recorder::start(sessions.path(), "s", &[]);
    let second = scenetap()
        .args(["-q", "record", "--listen", "127.0.0.1:0", "--session", "s", "--sessions-dir"])
        .arg(sessions.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("another scenetap is recording this session"), "{message}");
}

#[test]
fn an_address_that_is_taken_fails_with_one_line_and_leaves_no_session() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sessions = tempfile::tempdir().unwrap();
    let record = scenetap()
        .args(["record", "--listen", &taken.local_addr().unwrap().to_string(), "--sessions-dir"])
        .arg(sessions.path())
        .output()
        .unwrap();
    let message = String::from_utf8(record.stderr).unwrap();
    assert_eq!(record.status.code(), Some(1));
    assert!(message.lines().count() == 1 && message.contains("cannot listen on"), "{message}");
    assert_eq!(std::fs::read_dir(sessions.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_mpeg_ts_is_one_line_and_exit_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.ts");
    std::fs::write(&empty, []).unwrap();
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    for (file, reason) in [
        (empty.as_path(), "the file is empty"),
        (manifest.as_path(), "not MPEG-TS"),
        (folder.path(), "not a file"),
        (std::path::Path::new("/nonexistent.ts"), "cannot open"),
    ] {
        let scan = scenetap().arg("scan").arg(file).output().unwrap();
        let message = String::from_utf8(scan.stderr).unwrap();
        assert_eq!(scan.status.code(), Some(1), "{message}");
        assert!(message.lines().count() == 1 && message.contains(reason), "{message}");
    }
}
