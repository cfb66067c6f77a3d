//! Streams that cannot be decoded: memory does not grow, however much is sent.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use scenetap::ts::{Header, TS_PACKET_BYTES, payload_start};
use serde_json::Value;

use crate::common::{DEADLINE, Recorder, fixture, scenetap};

const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;

/// Number of bytes sent between two measurements of the memory.
const STEP_BYTES: usize = 8 << 20;

/// Maximum number of steps: a look-ahead that is limited in bytes is full long before.
const MAX_STEPS: usize = 40;

/// Number of measurements in a window; two windows are compared. If ten bytes per packet were
/// retained, memory would grow by more than the tolerance from one window to the next.
const WINDOW: usize = 6;
const TOLERANCE_KIB: u64 = 2 << 10;

type Packet = [u8; TS_PACKET_BYTES];

fn clip() -> Vec<Packet> {
    let bytes = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    bytes.as_chunks().0.to_vec()
}

fn pid(packet: &Packet) -> u16 {
    Header::of(packet).pid()
}

/// Blanks the elementary stream in a packet. Keeps a PES header.
fn blank(packet: &mut Packet) {
    let mut start = payload_start(packet);
    if Header::of(packet).unit_start() {
        start += 9 + usize::from(packet[start + 8]);
    }
    packet[start..].fill(0);
}

/// Sends `first`, and then `repeated` until memory stops growing. Asserts that it stops.
fn assert_is_bounded(context: &str, first: &[Packet], repeated: &[Packet]) {
    let folder = tempfile::tempdir().unwrap();
    let sessions = folder.path().join("sessions");
    let mut command = scenetap();
    command.env("XDG_RUNTIME_DIR", folder.path());
    let recorder = Recorder::start_as(command, &sessions, "s", &[]);
    let mut socket = TcpStream::connect(&recorder.address).unwrap();
    socket.write_all(first.as_flattened()).unwrap();
    let mut sent = first.as_flattened().len();
    let step = repeated.repeat(STEP_BYTES / repeated.as_flattened().len() + 1);
    let mut sizes = Vec::new();
    while !has_stopped_growing(&sizes) {
        assert!(sizes.len() < MAX_STEPS, "{context}: KiB after each {STEP_BYTES} bytes: {sizes:?}");
        socket.write_all(step.as_flattened()).unwrap();
        sent += step.as_flattened().len();
        wait_until_analyzed(folder.path(), &sessions, sent);
        sizes.push(resident_kib(recorder.child.id()));
    }
    drop(socket);
    recorder.signal(Signal::TERM);
    assert!(recorder.end().0.success());
}

/// Returns whether the last [`WINDOW`] sizes are no larger than those before. The minimum of each
/// window is compared, because a queue may have been full at any measurement.
fn has_stopped_growing(sizes: &[u64]) -> bool {
    let Some(earlier) = sizes.len().checked_sub(WINDOW) else { return false };
    let (earlier, last) = sizes.split_at(earlier);
    let before = earlier.iter().rev().take(WINDOW).min().filter(|_| earlier.len() >= WINDOW);
    before.is_some_and(|before| last.iter().min() < Some(&(before + TOLERANCE_KIB)))
}

fn wait_until_analyzed(folder: &Path, sessions: &Path, sent: usize) {
    let start = Instant::now();
    loop {
        let mut command = scenetap();
        command.env("XDG_RUNTIME_DIR", folder).args(["status", "s", "--json", "--sessions-dir"]);
        let output = command.arg(sessions).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        // The last packet may wait for the next one.
        if status["recorded_bytes"] == sent && status["lag_bytes"].as_u64() < Some(1 << 16) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{status:#}");
    }
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn audio_that_never_brings_a_sync_word_is_not_hoarded() {
    let mut first = clip();
    first.iter_mut().filter(|packet| pid(packet) == AUDIO_PID).for_each(blank);
    let audio: Vec<_> = first.iter().filter(|packet| pid(packet) == AUDIO_PID).copied().collect();
    assert_is_bounded("audio without sync", &first, &audio);
}

#[test]
fn audio_behind_video_that_stops_within_its_first_pictures_is_not_hoarded() {
    let clip = clip();
    // Tables and two pictures: the look-ahead waits for more pictures.
    let starts: Vec<_> = clip
        .iter()
        .enumerate()
        .filter(|(_, packet)| pid(packet) == VIDEO_PID && Header::of(packet).unit_start())
        .map(|(at, _)| at)
        .collect();
    let first = &clip[..starts[2]];
    let audio: Vec<_> = clip.iter().filter(|packet| pid(packet) == AUDIO_PID).copied().collect();
    assert_is_bounded("audio without video", first, &audio);
}

#[test]
fn pes_headers_without_data_are_not_hoarded() {
    let clip = clip();
    let first: Vec<_> = clip[..200].to_vec();
    let is_start = |packet: &&Packet| pid(packet) == VIDEO_PID && Header::of(packet).unit_start();
    // The adaptation field fills the packet up to its PES header.
    let start = clip.iter().find(is_start).unwrap();
    let header = &start[payload_start(start)..][..19];
    let mut empty = [0xff; TS_PACKET_BYTES];
    let field = TS_PACKET_BYTES - 4 - 1 - header.len();
    empty[..6].copy_from_slice(&[0x47, 0x41, 0x00, 0x30, u8::try_from(field).unwrap(), 0]);
    empty[TS_PACKET_BYTES - header.len()..].copy_from_slice(header);
    let repeated: Vec<Packet> = (0..16)
        .map(|counter| {
            let mut packet = empty;
            packet[3] |= counter;
            packet
        })
        .collect();
    for first in [&first[..], &first[..8]] {
        assert_is_bounded("empty PES packets", first, &repeated);
    }
}
