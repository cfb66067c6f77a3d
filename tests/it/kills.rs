//! The real program, killed from outside repeatedly while it records a real stream.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::common::left::{acknowledge, assert_same};
use crate::common::life::{record, recorder, undisturbed, whole_packets};
use crate::common::random::{Random, from_environment, seed};
use crate::common::{DEADLINE, fixture};
use serde_json::Value;

/// Number of kills, unless the environment sets another one.
const KILLS: usize = 30;

/// Starts a recorder. Returns its log lines as they are written.
fn start(sessions: &Path) -> (Child, Receiver<String>) {
    let mut child = recorder(sessions).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (log_sender, log) = channel();
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let _ = log_sender.send(line);
        }
    });
    (child, log)
}

/// Runs a recorder and kills it during startup, or while it receives part of `clip`.
fn run_and_kill(sessions: &Path, clip: &[u8], max_bytes: usize, random: &mut Random) {
    let (mut child, log) = start(sessions);
    if random.below(3) == 0 {
        thread::sleep(Duration::from_micros(random.below(30_000)));
    } else {
        let line = std::iter::repeat_with(|| log.recv_timeout(DEADLINE).unwrap())
            .find_map(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()));
        let recorded_bytes = whole_packets(&sessions.join("s/stream/recording.ts"));
        let end = clip.len().min(recorded_bytes + random.below(max_bytes as u64) as usize);
        let mut socket = TcpStream::connect(line.unwrap()).unwrap();
        // Most kills hit it while it processes received bytes, some while it still
        // receives.
        let bytes = clip[recorded_bytes..end].to_vec();
        let sending = thread::spawn(move || {
            let _ = socket.write_all(&bytes);
            socket
        });
        thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill().unwrap();
        drop(sending.join().unwrap());
    }
    let _ = child.kill();
    child.wait().unwrap();
}

/// Asserts what holds at every moment: every JPEG listed in the index exists and is
/// complete.
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
    let seed = seed();
    let mut random = Random::new(seed);
    let clip = std::fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    let undisturbed = undisturbed(&clip);

    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("s");
    // Two runs in three receive data, on average half of this limit, so that the clip
    // lasts for about all runs.
    let max_bytes = clip.len() * 3 / kills;
    let mut acknowledged = Vec::new();
    for kill in 1..=kills {
        run_and_kill(folder.path(), &clip, max_bytes, &mut random);
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
        "{kills} kills in the first {recorded_bytes} of {} bytes, {} frames: no difference",
        clip.len(),
        undisturbed.entries.len()
    );
}
