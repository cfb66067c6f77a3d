//! The analyzed part of a session's recording, and the length of the recording.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::media::ByteOffset;
use crate::pipeline::list::has_video;
use crate::pipeline::live::checkpoint::Checkpoint;
use crate::pipeline::live::trust::{self, StoredCheckpoint};
use crate::session::{Session, StoredRecording};
use crate::ts::{Aligned, Aligner, Header, PCR_PER_TICK, PCR_WRAP, find_phase, pcr};

/// Number of bytes searched for a PCR. One must be sent every 100 ms (ISO/IEC 13818-1, 2.7.2), so
/// this is enough up to 80 Mbit/s.
const WINDOW_BYTES: u64 = 1 << 20;

/// Distance between two samples of the clock, unless that makes more than [`MAX_LOOKS`].
const LOOK_BYTES: u64 = 64 << 20;
const MAX_LOOKS: u64 = 256;

/// A larger clock step between two PCRs is a jump, and adds nothing.
const MAX_STEP: u64 = PCR_WRAP / 2;

/// The analyzed part of a session's recording.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Coverage {
    /// Whether every picture of the recording has its verdict.
    pub is_finished: bool,
    /// Time of the last picture with a verdict, in seconds from the start; `None` if no picture has
    /// one.
    pub detected_s: Option<f64>,
    /// Offset of that picture in bytes.
    pub detected_bytes: u64,
}

impl Coverage {
    /// Reads the checkpoint of a session. An untrusted checkpoint covers nothing.
    pub fn of(session: &Session, recording: Option<StoredRecording>) -> Self {
        let path = session.checkpoint_json();
        let checkpoint = match recording {
            Some(recording) => {
                match trust::examine(&path, &session.recording_ts(), recording.bytes) {
                    Ok(StoredCheckpoint::Trusted(checkpoint)) => Some(*checkpoint),
                    _ => None,
                }
            }
            None => {
                std::fs::read(&path).ok().and_then(|bytes| Checkpoint::parse(&path, &bytes).ok())
            }
        };
        let Some(checkpoint) = checkpoint else {
            // A recording without video has nothing to analyze.
            let is_finished = recording.is_none_or(|recording| {
                recording.bytes == 0 || !has_video(&session.recording_ts())
            });
            return Coverage { is_finished, ..Coverage::default() };
        };
        Coverage {
            is_finished: recording.is_none_or(|recording| checkpoint.is_final(recording.bytes)),
            detected_s: Some(checkpoint.point.decided.pts.seconds()),
            detected_bytes: checkpoint.point.decided.offset.0,
        }
    }

    /// Returns the length of the recording in seconds, partly estimated from the stream's clock
    /// where detection has not finished. `None` if the length is unknown.
    pub fn seconds(&self, path: &Path, recording: Option<StoredRecording>) -> Option<f64> {
        match recording {
            Some(recording) if !self.is_finished => {
                let rest = clock_span(path, self.detected_bytes, recording.bytes).ok()??;
                Some(self.detected_s.unwrap_or(0.0) + rest)
            }
            _ => self.detected_s,
        }
    }
}

/// Returns by how many seconds the stream's clock (PCR) advances between two offsets. `None` if no
/// PCR is found.
fn clock_span(path: &Path, from: u64, to: u64) -> io::Result<Option<f64>> {
    let file = File::open(path)?;
    let step = LOOK_BYTES.max(to.saturating_sub(from) / MAX_LOOKS);
    let mut windows: Vec<u64> = (from..to).step_by(step as usize).collect();
    windows.push(to.saturating_sub(WINDOW_BYTES));
    let mut total = 0;
    let mut last: Option<(u16, u64)> = None;
    let mut read_until = from;
    for window in windows {
        let start = window.max(read_until);
        read_until = (start + WINDOW_BYTES).min(to);
        for (pid, clock) in clocks(&file, start, read_until)? {
            let (known, before) = *last.get_or_insert((pid, clock));
            if known == pid {
                let advance = (clock + PCR_WRAP - before) % PCR_WRAP;
                total += if advance < MAX_STEP { advance } else { 0 };
                last = Some((pid, clock));
            }
        }
    }
    let ticks_per_second = (90_000 * PCR_PER_TICK) as f64;
    Ok(last.map(|_| total as f64 / ticks_per_second))
}

/// Returns the PCRs between two offsets, each with its PID.
fn clocks(file: &File, at: u64, end: u64) -> io::Result<Vec<(u16, u64)>> {
    let mut bytes = vec![0; end.saturating_sub(at) as usize];
    file.read_exact_at(&mut bytes, at)?;
    // In the middle of a file, a packet may begin at any byte.
    let Some((first, size)) = find_phase(&bytes) else { return Ok(Vec::new()) };
    let mut aligner = Aligner::resume(ByteOffset(at + first as u64), size);
    aligner.push(&bytes[first..]);
    let mut found = Vec::new();
    while let Some(aligned) = aligner.find() {
        if let Aligned::Packet(packet) = aligned
            && let Some(clock) = pcr(packet.bytes)
        {
            found.push((Header::of(packet.bytes).pid(), clock));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fixture() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bbb_h264_zerolatency_360p30_gop2s.ts")
    }

    #[test]
    fn the_streams_clock_gives_the_length_of_what_was_not_looked_at() {
        let path = fixture();
        let bytes = std::fs::metadata(&path).unwrap().len();
        let whole = clock_span(&path, 0, bytes).unwrap().unwrap();
        assert!((whole - 28.0).abs() < 0.2, "{whole}");
        // From any byte, also within a packet.
        let rest = clock_span(&path, bytes / 2 + 7, bytes).unwrap().unwrap();
        assert!(rest > 1.0 && rest < whole, "{rest} of {whole}");
        assert_eq!(clock_span(&path, bytes, bytes).unwrap(), None);
    }

    #[test]
    fn a_file_without_a_clock_has_no_length() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0x47; 4096]).unwrap();
        assert_eq!(clock_span(file.path(), 0, 4096).unwrap(), None);
    }
}
