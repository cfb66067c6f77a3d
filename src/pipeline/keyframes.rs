//! Checks and rebuilds the index of key frames of a recording, without decoding.

use std::path::Path;

use super::analyzer::PictureReader;
use crate::catalog::publish::{Durable, publish};
use crate::demux::{NoVideo, ProgramChoice};
use crate::error::{Error, Kind, Result, Stage};
use crate::keyframes::{self, Keyframe, KeyframeIndex};
use crate::media::{ByteOffset, Ticks};
use crate::session::Session;
use crate::tail::{End, FileTail, probe_file};
use crate::ts::Aligner;

/// Number of packets between two checks of `stop`.
const PACKETS_PER_LOOK: u32 = 4096;

/// Random access points of a recording, and the end of the part that was read.
#[derive(Debug, Default)]
pub struct FoundKeyframes {
    /// Random access points, in the order of the recording.
    pub keyframes: Vec<Keyframe>,
    /// Time of the newest picture; `None` if the recording has no picture.
    pub newest: Option<Ticks>,
    /// The reason why the recording has no video.
    pub no_video: Option<NoVideo>,
}

/// A search for random access points.
pub struct KeyframeSearch<'a> {
    /// Opens the recording at the beginning, or at the tables in front of a random access point.
    pub open: &'a dyn Fn(Option<&Keyframe>) -> Result<FileTail>,
    /// The selected program.
    pub program: ProgramChoice,
    /// Whether more bytes will follow.
    pub is_growing: bool,
    /// Ends the search early.
    pub stop: &'a dyn Fn() -> bool,
}

impl KeyframeSearch<'_> {
    /// Searches from a random access point, or from the beginning, to the end. Decodes only if the times
    /// of the recording go back. Returns `None` if the recording has no random access point
    /// at `from`.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording cannot be read.
    pub fn run(&self, from: Option<Keyframe>) -> Result<Option<FoundKeyframes>> {
        let reader = PictureReader::new(self.program, from).without_decoding();
        let (found, goes_back) = self.pass(from, reader)?;
        if !goes_back {
            return Ok(found);
        }
        // FFmpeg then uses the DTS of some pictures as their time, which depends on the decoder.
        let (found, _) = self.pass(from, PictureReader::new(self.program, from))?;
        Ok(found)
    }

    fn pass(
        &self,
        from: Option<Keyframe>,
        mut reader: PictureReader,
    ) -> Result<(Option<FoundKeyframes>, bool)> {
        let mut tail = (self.open)(from.as_ref())?;
        let mut found = FoundKeyframes::default();
        for packets in 1_u32.. {
            let is_end = reader.read(&mut tail, self.is_growing)?;
            if reader.has_missed_start() {
                return Ok((None, false));
            }
            while let Some(unit) = reader.pull_unit() {
                found.newest = found.newest.max(unit.time);
            }
            while let Some(picture) = reader.pull() {
                found.newest = found.newest.max(Some(picture.pts));
            }
            found.keyframes.extend(reader.take_keyframes());
            found.no_video = reader.no_video().cloned();
            if is_end || (packets.is_multiple_of(PACKETS_PER_LOOK) && (self.stop)()) {
                break;
            }
        }
        let has_come = from.is_none() || found.newest.is_some();
        Ok((has_come.then_some(found), reader.goes_back()))
    }
}

/// Returns the random access points of the file `recording`. `stop` cancels the search.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or is not MPEG-TS.
pub fn find(
    recording: &Path,
    program: ProgramChoice,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Keyframe>> {
    let (length, packet_size) = probe_file(recording)?;
    let open = |_: Option<&Keyframe>| {
        let aligner = Aligner::begin(ByteOffset(0), packet_size);
        FileTail::open(recording, aligner, End::Finished(length))
    };
    let search = KeyframeSearch { open: &open, program, is_growing: false, stop };
    Ok(search.run(None)?.unwrap_or_default().keyframes)
}

/// Returns the first problem of the index of a session that is not being recorded.
///
/// # Errors
///
/// Returns an error if the index cannot be read.
pub fn examine(session: &Session, recording_bytes: u64) -> Result<Option<Error>> {
    let path = session.keyframes_idx();
    let problem = |what: String| Ok(Some(Error::new(Stage::Recording, what).path(&path)));
    let index = match KeyframeIndex::open(&path) {
        Ok(index) => index,
        Err(error) if matches!(error.kind(), Kind::Gone | Kind::Corrupt) => return Ok(Some(error)),
        Err(error) => return Err(error),
    };
    let from = index.complete_from();
    if from.0 > 0 {
        return problem(format!("records before byte {from} are missing"));
    }
    if index.is_torn()? {
        return problem("it ends in the middle of a record".into());
    }
    let mut last = None;
    for number in 0..index.count()? {
        match index.record(number) {
            Ok(keyframe) => last = Some(keyframe),
            Err(error) if error.kind() == Kind::Corrupt => return Ok(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match last {
        Some(last) if last.at.0 >= recording_bytes => {
            problem(format!("a record points to byte {}, past the end of the recording", last.at))
        }
        _ => Ok(None),
    }
}

/// Rebuilds the index of a session. The caller has locked the session.
///
/// # Errors
///
/// Returns an error if the recording cannot be read, or the index cannot be written.
pub fn rebuild(session: &Session, program: ProgramChoice, stop: &dyn Fn() -> bool) -> Result<()> {
    let found = find(&session.recording_ts(), program, stop)?;
    if stop() {
        return Ok(());
    }
    write(session, &found)?;
    tracing::info!("{}: wrote {} key frames", session.keyframes_idx().display(), found.len());
    Ok(())
}

/// Writes the index of a session that has none and is not being recorded. Does nothing if the recording
/// no longer has `length` bytes, or an index was written meanwhile.
///
/// # Errors
///
/// Returns an error if the session is being recorded ([`Kind::Busy`]), or the index cannot be written.
pub fn publish_found(session: &Session, found: &[Keyframe], length: u64) -> Result<()> {
    let owned = session.clone().into_owned()?;
    let recording = std::fs::symlink_metadata(owned.recording_ts());
    let is_same = recording.is_ok_and(|recording| recording.len() == length);
    if is_same && !owned.keyframes_idx().exists() { write(&owned, found) } else { Ok(()) }
}

fn write(session: &Session, found: &[Keyframe]) -> Result<()> {
    publish(&session.keyframes_idx(), &keyframes::to_bytes(found), Durable::Now)
}
