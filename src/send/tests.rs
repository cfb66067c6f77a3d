//! Tests over TCP, and with real streams.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;

use scenetap_testkit as testkit;

use super::fields::PesStamps;
use super::tape::Tape;
use super::*;
use crate::ts::{Header, TS_PACKET_BYTES, pcr};

fn options(file: &Path, to: &TcpListener) -> SendOptions {
    let to = to.local_addr().unwrap().to_string();
    SendOptions { file: file.to_owned(), to, speed: Speed::Max, looped: false }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn stream_file() -> (tempfile::NamedTempFile, Vec<u8>) {
    let mut bytes = b"\n\rnot a packet".to_vec();
    bytes.extend(testkit::paced_stream(200, 40, 0));
    bytes.extend([0x47; 99]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    (file, bytes)
}

#[test]
fn the_receiver_gets_the_bytes_of_the_file() {
    let (file, bytes) = stream_file();
    let listener = listen();
    let options = options(file.path(), &listener);
    let receiver = thread::spawn(move || {
        let mut received = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
        received
    });
    let summary = send(&options, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(receiver.join().unwrap(), bytes);
    assert_eq!((summary.sent_bytes, summary.was_stopped), (bytes.len() as u64, false));
}

#[test]
fn a_receiver_that_throws_the_bytes_away_is_an_error_even_after_the_last_byte() {
    let (file, _) = stream_file();
    let listener = listen();
    let options = options(file.path(), &listener);
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Closed with unread bytes: the system answers with a reset.
        stream.read_exact(&mut [0]).unwrap();
    });
    let error = send(&options, &AtomicBool::new(false), &mut |_| {}).unwrap_err().to_string();
    receiver.join().unwrap();
    assert!(error.starts_with("send: 127.0.0.1:"), "{error}");
    assert!(error.contains("closed the connection after"), "{error}");
}

#[test]
fn nobody_listening_is_an_error_at_once() {
    let (file, _) = stream_file();
    let listener = listen();
    let options = options(file.path(), &listener);
    drop(listener);
    let error = send(&options, &AtomicBool::new(false), &mut |_| {}).unwrap_err().to_string();
    assert_eq!(error, format!("send: cannot connect to {}: Connection refused", options.to));
}

#[test]
fn the_stop_flag_ends_a_send_that_waits_for_its_time_and_one_that_waits_for_the_receiver() {
    let (file, bytes) = stream_file();
    let endless = SendOptions { looped: true, ..options(file.path(), &listen()) };
    for speed in [Speed::Factor(1e-6), Speed::Max] {
        let listener = listen();
        let to = listener.local_addr().unwrap().to_string();
        let options = SendOptions { to, speed, ..endless.clone() };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let sending = scope.spawn(|| send(&options, &stop, &mut |_| {}));
            // The sender is connected. Read no more, so that a fast sender stalls.
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 200]).unwrap();
            stop.store(true, Ordering::Relaxed);
            let summary = match sending.join().unwrap() {
                Ok(summary) => summary,
                Err(error) => panic!("{error}"),
            };
            assert!(summary.was_stopped);
            assert!(speed == Speed::Max || summary.sent_bytes < bytes.len() as u64);
        });
    }
}

/// Returns one fixture of each codec with its bytes.
fn fixtures() -> [(PathBuf, Vec<u8>); 5] {
    [
        "bbb_h264_bframes_scenecut_360p24",
        "bbb_h264_zerolatency_360p30_gop2s",
        "bbb_hevc_360p24_gop2s",
        "bbb_mpeg2_576i25_tff",
        "sintel_fades_h264_360p24",
    ]
    .map(|name| {
        let path = testkit::fixture(name);
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    })
}

#[test]
fn real_streams_loop_without_a_seam_in_counters_frames_or_clock() {
    for (path, bytes) in fixtures() {
        let mut tape = Tape::open(&path, true).unwrap();
        let (mut all, mut run) = (Vec::new(), Vec::new());
        while all.len() < 3 * bytes.len() {
            tape.next(&mut run).unwrap();
            all.extend_from_slice(&run);
        }
        assert!(all[..bytes.len()] == bytes, "{}: the first pass differs", path.display());
        let mut counters = BTreeMap::new();
        let (mut pcrs, mut times) = (Vec::new(), Vec::new());
        for packet in all[..3 * bytes.len()].chunks_exact(TS_PACKET_BYTES) {
            let packet: &[u8; TS_PACKET_BYTES] = packet.try_into().unwrap();
            let (pid, counter) =
                (Header::of(packet).pid(), Header::of(packet).continuity_counter());
            if let Some(last) = counters.insert(pid, counter) {
                let next = (last + u8::from(Header::of(packet).has_payload())) % 16;
                assert_eq!(counter, next, "{}: counter of {pid:#x}", path.display());
            }
            pcrs.extend(pcr(packet));
            let stamps = PesStamps::find(packet).filter(|s| s.stream_id == 0xe0);
            times.extend(stamps.map(|s| s.pts(packet)));
        }
        assert_even(&path, times);
        for pair in pcrs.windows(2) {
            let step = pair[1].checked_sub(pair[0]).unwrap();
            assert!(step <= 2_700_000 * 2, "{}: PCR step {step}", path.display());
        }
    }
}

/// Asserts that pictures are evenly spaced, in presentation order.
fn assert_even(path: &Path, mut times: Vec<u64>) {
    times.sort_unstable();
    assert!(times.len() > 500, "{}: {} pictures", path.display(), times.len());
    let steps: BTreeSet<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps.len(), 1, "{}: {steps:?}", path.display());
}
