//! A recording that continues in new sessions: `s`, `s_2`, `s_3` …

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use scenetap::ts::TS_PACKET_BYTES;
use serde_json::Value;

use super::{index, scenetap};

/// Length of PAT and PMT, which are prepended if they are not at the cut.
const TABLE_BYTES: usize = 2 * TS_PACKET_BYTES;

/// Returns the sessions in order. One without a recording does not count: a disk that was full at a
/// rotation leaves its folder, and the session before it goes on.
pub fn series(sessions: &Path) -> Vec<PathBuf> {
    let name = |number| if number == 1 { "s".into() } else { format!("s_{number}") };
    let folders = (1..).map(|number| sessions.join(name(number)));
    folders
        .take_while(|folder| folder.is_dir())
        .filter(|folder| recording(folder).is_file())
        .collect()
}

fn recording(session: &Path) -> PathBuf {
    session.join("stream/recording.ts")
}

/// Returns whether `bytes` occurs at offset `at` of a stream that repeats `clip`.
fn matches_at(clip: &[u8], at: usize, bytes: &[u8]) -> bool {
    let mut remaining = bytes;
    let mut from = at % clip.len();
    while !remaining.is_empty() {
        let part = remaining.len().min(clip.len() - from);
        if remaining[..part] != clip[from..from + part] {
            return false;
        }
        remaining = &remaining[part..];
        from = 0;
    }
    true
}

/// Tracks how many bytes of the stream precede each complete session, so that a sender
/// that repeats `clip` knows where to continue.
pub struct Progress {
    sessions: PathBuf,
    clip: Vec<u8>,
    complete: usize,
    before: usize,
}

impl Progress {
    pub fn new(sessions: &Path, clip: &[u8]) -> Progress {
        Progress { sessions: sessions.to_owned(), clip: clip.to_owned(), complete: 0, before: 0 }
    }

    /// Returns how many bytes of the stream are recorded, in whole packets.
    pub fn recorded(&mut self) -> usize {
        let series = series(&self.sessions);
        while self.complete + 1 < series.len() {
            self.before += self.stream_bytes(&recording(&series[self.complete]));
            self.complete += 1;
        }
        let last = series.last().map_or(0, |last| self.stream_bytes(&recording(last)));
        (self.before + last) / TS_PACKET_BYTES * TS_PACKET_BYTES
    }

    fn stream_bytes(&self, recording: &Path) -> usize {
        let Ok(mut file) = File::open(recording) else { return 0 };
        // The length first: a file that grows in between must not seem to begin with nothing.
        let length = file.metadata().unwrap().len() as usize;
        let mut front = Vec::new();
        file.by_ref().take(2 * TABLE_BYTES as u64).read_to_end(&mut front).unwrap();
        if matches_at(&self.clip, self.before, &front) {
            length
        } else {
            length.saturating_sub(TABLE_BYTES)
        }
    }
}

/// Asserts that the recordings together are `clip`, repeated, cut before key frames with
/// their tables. Returns the number of recordings and of bytes of the stream.
pub fn assert_is_cut(sessions: &Path, clip: &[u8]) -> (usize, usize) {
    let series = series(sessions);
    let mut at = 0;
    for (number, session) in series.iter().enumerate() {
        let bytes = std::fs::read(recording(session)).unwrap();
        // The first one begins like the stream.
        let has_pat = number == 0 || bytes.starts_with(&[0x47, 0x40, 0]);
        assert!(has_pat, "{}: no PAT in front", session.display());
        let table_bytes = if matches_at(clip, at, &bytes) { 0 } else { TABLE_BYTES };
        assert!(matches_at(clip, at, &bytes[table_bytes..]), "{}: other bytes", session.display());
        at += bytes.len() - table_bytes;
    }
    (series.len(), at)
}

/// Asserts that detection kept the same frames as a scan of the recording, in a session
/// recorded with the options `rule`. Returns how many.
pub fn assert_is_detected(session: &Path, rule: &[&str]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let scanned = scenetap()
        .arg("scan")
        .arg(recording(session))
        .arg("--frames-dir")
        .arg(folder.path())
        .args(rule)
        .output()
        .unwrap();
    assert!(scanned.status.success());
    let text = std::fs::read(folder.path().join("index.json")).unwrap();
    let scanned: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let key_values = |entries: &[Value]| -> Vec<Vec<Value>> {
        let keys = ["id", "timestamp", "score", "reason", "offset", "keyframe_offset"];
        entries.iter().map(|entry| keys.iter().map(|key| entry[key].clone()).collect()).collect()
    };
    let found = index(session);
    assert_eq!(key_values(&found), key_values(&scanned), "{}", session.display());
    found.len()
}
