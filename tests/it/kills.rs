//! The real program, killed from outside repeatedly while it records a real stream.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::common::left::{acknowledge, assert_same};
use crate::common::life::{RULE, record, recorder, undisturbed, whole_packets};
use crate::common::random::{Random, from_environment, seed};
use crate::common::series::{Progress, archive, assert_is_detected, assert_is_whole, series};
use crate::common::ts::framed;
use crate::common::{DEADLINE, fixture};
use scenetap::ts::PacketSize;
use serde_json::Value;

/// Number of kills, unless set by the environment.
const KILLS: usize = 30;

/// Average number of bytes sent between two kills of a recorder that rotates. Without a key frame
/// in a connection, the recording cannot be cut there.
const BYTES_PER_KILL: usize = 40_000;

/// Starts a recorder. Returns its log lines as they are written.
fn start(mut command: Command) -> (Child, Receiver<String>) {
    let mut child = command.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (log_sender, log) = channel();
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let _ = log_sender.send(line);
        }
    });
    (child, log)
}

/// Runs a recorder and kills it during startup, or while it receives part of `clip`. `recorded`
/// returns the number of recorded bytes.
fn run_and_kill(
    command: Command,
    recorded: &mut dyn FnMut() -> usize,
    clip: &[u8],
    max_bytes: usize,
    max_us: u64,
    random: &mut Random,
) {
    let (mut child, log) = start(command);
    if random.below(3) == 0 {
        thread::sleep(Duration::from_micros(random.below(30_000)));
    } else {
        let line = std::iter::repeat_with(|| log.recv_timeout(DEADLINE).unwrap())
            .find_map(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()));
        let recorded_bytes = recorded();
        let end = clip.len().min(recorded_bytes + random.below(max_bytes as u64) as usize);
        let mut socket = TcpStream::connect(line.unwrap()).unwrap();
        // Most kills hit it while it processes received bytes, some while it still
        // receives.
        let bytes = clip[recorded_bytes..end].to_vec();
        let sending = thread::spawn(move || {
            let _ = socket.write_all(&bytes);
            socket
        });
        thread::sleep(Duration::from_micros(random.below(max_us)));
        child.kill().unwrap();
        drop(sending.join().unwrap());
    }
    let _ = child.kill();
    child.wait().unwrap();
}

/// Asserts an invariant: every JPEG listed in the index exists and is complete.
fn assert_no_entry_without_jpeg(context: &str, session: &Path) {
    let index = session.join("frames/index.json");
    let Ok(text) = std::fs::read(index) else { return };
    for entry in serde_json::from_slice::<Vec<Value>>(&text).unwrap() {
        let path = entry["path"].as_str().unwrap();
        let jpeg = std::fs::read(path).unwrap_or_else(|error| panic!("{context}: {path}: {error}"));
        assert!(jpeg.ends_with(&[0xff, 0xd9]), "{context}: {path} is torn");
    }
}

#[test]
fn killed_again_and_again_from_outside_nothing_differs_in_the_end() {
    let kills = from_environment("SCENETAP_KILLS").unwrap_or(KILLS);
    kill_again_and_again(kills, PacketSize::Plain);
}

#[test]
fn killed_while_packets_of_192_or_204_bytes_come_nothing_differs_in_the_end() {
    let kills = from_environment("SCENETAP_KILLS").unwrap_or(KILLS) / 3;
    kill_again_and_again(kills, PacketSize::Timed);
    kill_again_and_again(kills, PacketSize::Parity);
}

/// Repeatedly kills a recorder of a clip in packets of `size`. Asserts that the final result is
/// unaffected.
fn kill_again_and_again(kills: usize, size: PacketSize) {
    let seed = seed();
    let mut random = Random::new(seed);
    let clip = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let clip = framed(&clip, size, 0x47);
    let undisturbed = undisturbed(&clip);
    let whole_packets = |recording: &Path| whole_packets(recording, &clip);

    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("s");
    // Two runs in three receive data, on average half of this limit, so that the clip
    // lasts for about all runs.
    let max_bytes = clip.len() * 3 / kills;
    let mut acknowledged = Vec::new();
    for kill in 1..=kills {
        let mut recorded = || whole_packets(&session.join("stream/recording.ts"));
        run_and_kill(recorder(folder.path()), &mut recorded, &clip, max_bytes, 20_000, &mut random);
        assert_no_entry_without_jpeg(&format!("seed {seed}, kill {kill}"), &session);
        if random.below(3) == 0 {
            acknowledged = acknowledge(&session);
        }
    }
    let recorded_bytes = whole_packets(&session.join("stream/recording.ts"));
    let ended = record(folder.path(), &clip, None);
    assert!(ended.status.success(), "seed {seed}\n{}", ended.log);
    assert_same(&format!("seed {seed}"), &session, &acknowledged, &undisturbed);
    eprintln!(
        "{kills} kills in the first {recorded_bytes} of {} bytes ({size:?}), {} frames: no difference",
        clip.len(),
        undisturbed.entries.len()
    );
}

/// Returns a recorder that rotates and keeps only the last few recordings.
fn rotating_recorder(sessions: &Path) -> Command {
    let mut command = recorder(sessions);
    command.args(["--rotate-bytes", "100K", "--keep-bytes", "400K"]);
    command
}

#[test]
fn killed_with_rotation_and_retention_no_byte_and_no_frame_is_missing() {
    let kills = from_environment("SCENETAP_KILLS").unwrap_or(KILLS);
    let seed = seed();
    let mut random = Random::new(seed);
    let clip = std::fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    let clip = clip.repeat(1 + kills * BYTES_PER_KILL / clip.len());
    let folder = tempfile::tempdir().unwrap();
    let mut progress = Progress::archiving(folder.path(), &clip);
    for _ in 0..kills {
        let (command, mut recorded) = (rotating_recorder(folder.path()), || progress.recorded());
        // In some lives, detection catches up, so that something may be deleted.
        let max_us = if random.below(4) == 0 { 1_000_000 } else { 20_000 };
        run_and_kill(command, &mut recorded, &clip, 3 * BYTES_PER_KILL, max_us, &mut random);
        archive(folder.path());
    }
    // Record the rest, and finish detection: each start finishes at most 48 earlier sessions.
    // Nothing is deleted, because nothing is archived meanwhile.
    for _ in 0..=series(folder.path()).len() / 48 {
        let mut command = recorder(folder.path());
        command.args(["--rotate-bytes", "100K", "--once"]);
        let (mut child, log) = start(command);
        let line = std::iter::repeat_with(|| log.recv_timeout(DEADLINE).unwrap())
            .find_map(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()));
        let mut socket = TcpStream::connect(line.unwrap()).unwrap();
        let rest = progress.recorded();
        socket.write_all(if rest < clip.len() { &clip[rest..] } else { &clip[..188] }).unwrap();
        drop(socket);
        assert!(child.wait().unwrap().success(), "seed {seed}");
        archive(folder.path());
    }
    let (sessions, length) = assert_is_whole(folder.path(), &clip);
    assert!(length >= clip.len(), "seed {seed}: {length} of {} bytes", clip.len());
    let is_deleted = |session: &&PathBuf| !session.join("stream/recording.ts").exists();
    let deleted = series(folder.path()).iter().filter(is_deleted).count();
    let detected = |session: &PathBuf| assert_is_detected(session, &RULE);
    let frames: usize = series(folder.path()).iter().map(detected).sum();
    // In a few kills, detection may never have caught up.
    let is_enough = kills < 100 || deleted > 10;
    assert!(is_enough, "seed {seed}: {deleted} of {sessions} recordings were deleted");
    eprintln!(
        "{kills} kills, {sessions} sessions, {deleted} deleted, {frames} frames: no difference"
    );
}
