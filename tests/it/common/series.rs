//! A recording that continues in new sessions: `s`, `s_2`, `s_3` …

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use scenetap::ts::TS_PACKET_BYTES;
use serde_json::Value;

use super::{index, scenetap};

/// Length of PAT and PMT, which are prepended if they are not at the cut.
const TABLE_BYTES: usize = 2 * TS_PACKET_BYTES;

/// Returns the sessions in order. Skips sessions without a recording: if the disk is full at a
/// rotation, a folder is left, and the recording continues in the session before it.
pub fn series(sessions: &Path) -> Vec<PathBuf> {
    let name = |number| if number == 1 { "s".into() } else { format!("s_{number}") };
    let folders = (1..).map(|number| sessions.join(name(number)));
    folders
        .take_while(|folder| folder.is_dir())
        .filter(|folder| recording(folder).is_file())
        .collect()
}

/// Returns the recording of a session. If a recorder has deleted it, returns the copy of
/// [`archive`].
fn recording(session: &Path) -> PathBuf {
    let recording = session.join("stream/recording.ts");
    let archived = archived(session);
    if !recording.is_file() && archived.is_file() { archived } else { recording }
}

fn archived(session: &Path) -> PathBuf {
    let name = session.file_name().unwrap().to_str().unwrap();
    session.with_file_name(".archive").join(format!("{name}.ts"))
}

/// Gives each recording a hard link, so that a deleted recording can still be examined.
pub fn archive(sessions: &Path) {
    std::fs::create_dir_all(sessions.join(".archive")).unwrap();
    for session in series(sessions) {
        let _ = std::fs::hard_link(session.join("stream/recording.ts"), archived(&session));
    }
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

/// Tracks the number of stream bytes before each complete session, so that a sender that repeats
/// `clip` knows where to continue.
pub struct Progress {
    sessions: PathBuf,
    clip: Vec<u8>,
    complete: usize,
    before: usize,
    /// Whether recordings are archived, because a recorder deletes them.
    archives: bool,
}

impl Progress {
    pub fn new(sessions: &Path, clip: &[u8]) -> Progress {
        Progress {
            sessions: sessions.to_owned(),
            clip: clip.to_owned(),
            complete: 0,
            before: 0,
            archives: false,
        }
    }

    /// As [`Progress::new`], for recorders that delete recordings.
    pub fn archiving(sessions: &Path, clip: &[u8]) -> Progress {
        Progress { archives: true, ..Progress::new(sessions, clip) }
    }

    /// Returns the number of stream bytes that are recorded, in whole packets.
    pub fn recorded(&mut self) -> usize {
        if self.archives {
            archive(&self.sessions);
        }
        let series = series(&self.sessions);
        while self.complete + 1 < series.len() {
            // A recorder may discard a torn packet at the end of an earlier session only later.
            let before = self.before + self.stream_bytes(&recording(&series[self.complete]));
            self.before = before / TS_PACKET_BYTES * TS_PACKET_BYTES;
            self.complete += 1;
        }
        let last = series.last().map_or(0, |last| self.stream_bytes(&recording(last)));
        (self.before + last) / TS_PACKET_BYTES * TS_PACKET_BYTES
    }

    fn stream_bytes(&self, recording: &Path) -> usize {
        let Ok(mut file) = File::open(recording) else { return 0 };
        // Read the length first: a file that grows in between must not seem to begin with nothing.
        let length = file.metadata().unwrap().len() as usize;
        let mut front = Vec::new();
        file.by_ref().take(2 * TABLE_BYTES as u64).read_to_end(&mut front).unwrap();
        length - table_bytes(&self.clip, self.before, &front).unwrap_or(length)
    }
}

/// Returns the number of bytes of tables in front of the stream in a recording that begins with
/// `front`: none if they are at the cut, and fewer than usual after a kill. `None` if the stream
/// does not follow.
fn table_bytes(clip: &[u8], at: usize, front: &[u8]) -> Option<usize> {
    let possible = [0, TS_PACKET_BYTES, TABLE_BYTES];
    possible
        .into_iter()
        .find(|tables| front.get(*tables..).is_some_and(|rest| matches_at(clip, at, rest)))
}

/// Asserts that the recordings together are `clip`, repeated, cut before key frames with their
/// tables. Returns the number of recordings and of stream bytes.
pub fn assert_is_cut(sessions: &Path, clip: &[u8]) -> (usize, usize) {
    for (number, session) in series(sessions).iter().enumerate() {
        let bytes = std::fs::read(recording(session)).unwrap();
        // The first one begins like the stream.
        let has_pat = number == 0 || bytes.starts_with(&[0x47, 0x40, 0]);
        assert!(has_pat, "{}: no PAT in front", session.display());
    }
    assert_is_whole(sessions, clip)
}

/// Asserts that the recordings together are `clip`, repeated. Returns the number of recordings and
/// of stream bytes. A recording that was killed right after a cut has no tables in front.
pub fn assert_is_whole(sessions: &Path, clip: &[u8]) -> (usize, usize) {
    let series = series(sessions);
    let mut at = 0;
    for session in &series {
        let bytes = std::fs::read(recording(session)).unwrap();
        let tables = table_bytes(clip, at, &bytes);
        let tables = tables.unwrap_or_else(|| panic!("{}: other bytes", session.display()));
        at += bytes.len() - tables;
    }
    (series.len(), at)
}

/// Asserts that detection kept the same frames as a scan of the recording, in a session recorded
/// with the options `rule`. Returns their number.
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
