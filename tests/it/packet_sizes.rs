//! Senders of packets with an arrival timestamp (192 bytes, M2TS) or with parity (204 bytes).

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use crate::common::series::{assert_is_detected, series};
use crate::common::ts::framed;
use crate::common::{Recorder, assert_golden, fixture, index, scenetap, send_bytes};
use rustix::process::Signal;
use scenetap::ts::PacketSize;

const CLIP: &str = "bbb_h264_bframes_scenecut_360p24";
const SIZES: [PacketSize; 2] = [PacketSize::Timed, PacketSize::Parity];

/// Values of the additional bytes: an arbitrary one, and the sync byte.
const ADDED: [u8; 2] = [0x15, 0x47];

fn clip() -> Vec<u8> {
    fs::read(fixture(CLIP)).unwrap()
}

/// Asserts that `check` finds no problem, and returns its output.
fn assert_checked(session: &Path) -> String {
    let checked = scenetap().arg("check").arg(session).output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{said}");
    said
}

#[test]
fn they_are_recorded_as_sent_and_detected_as_a_scan_does() {
    for size in SIZES {
        for added in ADDED {
            let folder = tempfile::tempdir().unwrap();
            let stream = framed(&clip(), size, added);
            let recorder = Recorder::start(folder.path(), "s", &["--once"]);
            send_bytes(&recorder.address, &stream);
            let (recording, session) = (recorder.recording(), recorder.session.clone());
            let (status, frames) = recorder.end();
            assert!(status.success());
            assert!(fs::read(recording).unwrap() == stream, "{size:?}, {added:#x}");
            assert_golden(CLIP, "frames", &frames);
            assert_is_detected(&session, &[]);
            let packets = stream.len() / size.bytes();
            assert!(assert_checked(&session).contains(&format!(" {packets} packets,")), "{size:?}");
        }
    }
}

#[test]
fn a_packet_torn_by_a_lost_connection_is_discarded() {
    for size in SIZES {
        let folder = tempfile::tempdir().unwrap();
        let stream = framed(&clip(), size, 0x47);
        let recorder = Recorder::start(folder.path(), "s", &[]);
        let (mut from, mut expected) = (0, Vec::<u8>::new());
        // Torn in the timestamp, the header, the payload and the parity.
        for torn in [0, 2, 5, 100, 187, 189, size.bytes() - 1] {
            let whole = 150 * size.bytes();
            send_bytes(&recorder.address, &stream[from..from + whole + torn]);
            recorder.wait_for("has left");
            expected.extend(&stream[from..from + whole]);
            from += whole;
            recorder.wait_for_bytes(expected.len());
        }
        let (recording, session) = (recorder.recording(), recorder.session.clone());
        let log = recorder.end_by_signal();
        assert!(fs::read(recording).unwrap() == expected, "{size:?}");
        assert!(!log.iter().any(|line| line.contains("belong to no packet")), "{log:?}");
        assert!(assert_is_detected(&session, &[]) > 1);
    }
}

#[test]
fn a_restart_goes_on_where_it_was() {
    for size in SIZES {
        let folder = tempfile::tempdir().unwrap();
        let stream = framed(&clip(), size, 0x47);
        // Within a packet.
        let half = stream.len() / 2 / size.bytes() * size.bytes() + 77;
        let mut recorder = Recorder::start(folder.path(), "s", &["--sync-interval", "0.05"]);
        let mut sender = TcpStream::connect(&recorder.address).unwrap();
        sender.write_all(&stream[..half]).unwrap();
        let checkpoint = recorder.session.join("stream/checkpoint.json");
        while !checkpoint.exists() {
            recorder.next_frame().unwrap();
        }
        recorder.wait_for_bytes(half - 77);
        recorder.signal(Signal::KILL);
        recorder.end();
        let recorder = Recorder::start(folder.path(), "s", &["--once"]);
        let (recording, session) = (recorder.recording(), recorder.session.clone());
        let recorded = fs::metadata(&recording).unwrap().len() as usize;
        assert_eq!(recorded, half - 77, "{size:?}");
        send_bytes(&recorder.address, &stream[recorded..]);
        recorder.wait_for("detection resumes at byte");
        assert!(recorder.end().0.success());
        assert!(fs::read(recording).unwrap() == stream, "{size:?}");
        assert_golden(CLIP, "frames", &index(&session));
        assert_checked(&session);
    }
}

#[test]
fn they_are_cut_in_front_of_key_frames_with_their_tables() {
    for size in SIZES {
        let folder = tempfile::tempdir().unwrap();
        let stream =
            framed(&fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap(), size, 0x47);
        let recorder = Recorder::start(folder.path(), "s", &["--once", "--rotate-bytes", "300K"]);
        send_bytes(&recorder.address, &stream);
        assert!(recorder.end().0.success());
        let sessions = series(folder.path());
        assert!((4..=7).contains(&sessions.len()), "{size:?}: {}", sessions.len());
        let mut rest = &stream[..];
        for session in &sessions {
            let bytes = fs::read(session.join("stream/recording.ts")).unwrap();
            // Up to two packets of tables are copied in front.
            let copied = (0..3).map(|packets| packets * size.bytes());
            let copied = copied.into_iter().find(|at| rest.starts_with(&bytes[*at..]));
            rest = &rest[bytes.len() - copied.unwrap_or_else(|| panic!("{size:?}: other bytes"))..];
            let first_pid = &bytes[size.leading_bytes()..][..3];
            assert!(rest.len() + bytes.len() >= stream.len() || first_pid == [0x47, 0x40, 0]);
            assert!(assert_is_detected(session, &[]) > 0);
            assert_checked(session);
        }
        assert!(rest.is_empty(), "{size:?}: {} bytes are missing", rest.len());
    }
}

#[test]
fn a_sender_that_comes_back_with_another_size_goes_on_in_the_same_recording() {
    let folder = tempfile::tempdir().unwrap();
    let stream = clip();
    let third = stream.len() / 3 / 188 * 188;
    let parts = [
        framed(&stream[..third], PacketSize::Plain, 0),
        framed(&stream[third..2 * third], PacketSize::Timed, 0x15),
        framed(&stream[2 * third..], PacketSize::Parity, 0x15),
    ];
    let recorder = Recorder::start(folder.path(), "s", &[]);
    for part in &parts {
        send_bytes(&recorder.address, part);
        recorder.wait_for("has left");
    }
    let (recording, session) = (recorder.recording(), recorder.session.clone());
    recorder.end_by_signal();
    assert!(fs::read(recording).unwrap() == parts.concat());
    assert_golden(CLIP, "frames", &index(&session));
    assert_is_detected(&session, &[]);
    assert_checked(&session);
}

#[test]
fn send_plays_them_as_they_are() {
    for size in SIZES {
        let folder = tempfile::tempdir().unwrap();
        let stream = framed(&clip(), size, 0x47);
        let file = folder.path().join("film.ts");
        fs::write(&file, &stream).unwrap();
        let recorder = Recorder::start(folder.path(), "s", &["--once"]);
        let recording = recorder.recording();
        let sent = scenetap()
            .arg("send")
            .arg(&file)
            .args(["--speed", "max", "--to", &recorder.address])
            .output()
            .unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        assert!(recorder.end().0.success());
        assert!(fs::read(recording).unwrap() == stream, "{size:?}");
    }
}
