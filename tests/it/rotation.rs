//! `--rotate-every`, `--rotate-bytes`: the recording continues in a new session.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::series::{Progress, assert_is_cut, assert_is_detected, series};
use crate::common::{Recorder, fixture, remove_session};
use rustix::process::Signal;
use scenetap::ts::TS_PACKET_BYTES;

fn clip() -> Vec<u8> {
    std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap()
}

#[test]
fn a_recording_goes_on_in_new_sessions_and_no_byte_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let stream = clip();
    let recorder = Recorder::start(folder.path(), "s", &["--once", "--rotate-bytes", "300K"]);
    // A single connection.
    crate::common::send_bytes(&recorder.address, &stream);
    assert!(recorder.end().0.success());
    let (sessions, length) = assert_is_cut(folder.path(), &stream);
    assert_eq!(length, stream.len());
    assert!((4..=6).contains(&sessions), "{sessions}");
    for session in series(folder.path()) {
        assert!(assert_is_detected(&session, &[]) > 0);
    }
}

#[test]
fn a_restart_goes_on_with_the_last_session_and_finishes_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let stream = clip();
    let half = stream.len() / 2 / TS_PACKET_BYTES * TS_PACKET_BYTES;
    // Half of the limit below: the cut comes at a random access point, and the third session has to
    // begin in this half wherever the reads from the socket end.
    let recorder = Recorder::start(folder.path(), "s", &["--rotate-bytes", "150K"]);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(&stream[..half]).unwrap();
    recorder.wait_for("/s_3");
    let third = folder.path().join("s_3/stream/recording.ts");
    while std::fs::metadata(&third).map_or(0, |metadata| metadata.len()) < 10_000 {
        std::thread::yield_now();
    }
    recorder.signal(Signal::KILL);
    recorder.end();
    let recorded = Progress::new(folder.path(), &stream).recorded();
    let recorder = Recorder::start(folder.path(), "s", &["--once", "--rotate-bytes", "300K"]);
    crate::common::send_bytes(&recorder.address, &stream[recorded..]);
    assert!(recorder.end().0.success());
    let (sessions, length) = assert_is_cut(folder.path(), &stream);
    assert_eq!(length, stream.len());
    assert!(sessions >= 4, "{sessions}");
    for session in series(folder.path()) {
        assert!(assert_is_detected(&session, &[]) > 0);
    }
}

#[test]
fn a_time_that_is_up_cuts_in_front_of_the_next_connection() {
    let folder = tempfile::tempdir().unwrap();
    let stream = clip();
    let recorder = Recorder::start(folder.path(), "s", &["--rotate-every", "1s"]);
    // The first may be cut, depending on the time; the last one has no successor.
    crate::common::send_bytes(&recorder.address, &stream);
    recorder.wait_for("has left");
    std::thread::sleep(std::time::Duration::from_secs(1));
    crate::common::send_bytes(&recorder.address, &stream);
    recorder.wait_for("has left");
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
    let (sessions, length) = assert_is_cut(folder.path(), &stream);
    assert_eq!(length, 2 * stream.len());
    assert!(sessions >= 2, "{sessions}");
}

#[test]
fn a_session_that_is_removed_goes_on_in_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let stream = clip();
    let mut recorder = Recorder::start(folder.path(), "s", &[]);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    let mut pieces = stream.chunks(TS_PACKET_BYTES * 100).cycle();
    (0..30).for_each(|_| socket.write_all(pieces.next().unwrap()).unwrap());
    recorder.next_frame().unwrap();
    remove_session(&folder.path().join("s"));
    // The file is checked once per second; a single connection.
    let next = folder.path().join("s_2/stream/recording.ts");
    while !next.is_file() {
        socket.write_all(pieces.next().unwrap()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    recorder.wait_for("it was removed during recording; recording continues in");
    let length = std::fs::metadata(&next).unwrap().len();
    (0..100).for_each(|_| socket.write_all(pieces.next().unwrap()).unwrap());
    drop(socket);
    recorder.wait_for("has left");
    recorder.signal(Signal::TERM);
    // Detection of one session could not complete.
    assert_eq!(recorder.end().0.code(), Some(1));
    assert!(std::fs::metadata(&next).unwrap().len() > length);
    assert!(assert_is_detected(&folder.path().join("s_2"), &[]) > 1);
}

#[test]
fn bytes_that_were_held_for_a_cut_are_recorded_when_the_session_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let stream = clip();
    let recorder = Recorder::start(folder.path(), "s", &["--rotate-bytes", "1200K"]);
    let first = folder.path().join("s/stream/recording.ts");
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    // From here on, a cut is searched, and up to two pictures are held. The next key frame is far
    // away.
    let mut sent = 1_250_000 / TS_PACKET_BYTES * TS_PACKET_BYTES;
    socket.write_all(&stream[..sent]).unwrap();
    recorder.wait_for_bytes(1_228_800);
    let mut removed = std::fs::File::open(&first).unwrap();
    remove_session(&folder.path().join("s"));
    let next = folder.path().join("s_2/stream/recording.ts");
    while !next.is_file() {
        socket.write_all(&stream[sent..sent + TS_PACKET_BYTES]).unwrap();
        sent += TS_PACKET_BYTES;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    socket.write_all(&stream[sent..]).unwrap();
    drop(socket);
    recorder.wait_for("has left");
    recorder.signal(Signal::TERM);
    recorder.end();
    let mut recorded = Vec::new();
    removed.read_to_end(&mut recorded).unwrap();
    assert!(recorded == stream[..recorded.len()]);
    let rest = std::fs::read(&next).unwrap();
    assert!(rest == stream[recorded.len()..], "{} + {} bytes", recorded.len(), rest.len());
}
