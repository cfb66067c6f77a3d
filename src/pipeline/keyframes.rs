//! The index of key frames of a recording: checked, and built anew without decoding.

use std::path::Path;

use super::analyzer::{Analyzer, Outlet, PacketRead, Scored, drive};
use crate::catalog::publish::{Durable, publish};
use crate::demux::ProgramChoice;
use crate::detect::Rule;
use crate::error::{Error, Kind, Result, Stage};
use crate::keyframes::{self, Keyframe, KeyframeIndex};
use crate::media::ByteOffset;
use crate::session::Session;
use crate::tail::{End, FileTail, probe_file};
use crate::ts::Aligner;

/// Returns the random access points of the file `recording`. Only reads and demultiplexes it. `stop` ends
/// that early.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or is not MPEG-TS.
pub fn find(
    recording: &Path,
    program: ProgramChoice,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Keyframe>> {
    struct Collected(Vec<Keyframe>);
    impl Outlet for Collected {
        fn scored(&mut self, _: Scored, _: PacketRead) -> Result<()> {
            Ok(())
        }
        fn progress(&mut self, _: &Analyzer, _: ByteOffset, _: bool) -> Result<()> {
            Ok(())
        }
        fn keyframes(&mut self, found: Vec<Keyframe>) {
            self.0.extend(found);
        }
        fn sync_lost(&mut self, _: ByteOffset, _: u64) {}
    }
    let (length, packet_size) = probe_file(recording)?;
    let aligner = Aligner::begin(ByteOffset(0), packet_size);
    let mut tail = FileTail::open(recording, aligner, End::Finished(length))?;
    let rule = Rule { scene_threshold: 1.0, max_frame_interval_s: 0.0 };
    let mut analyzer = Analyzer::new(rule, program).without_decoding();
    let mut collected = Collected(Vec::new());
    drive(&mut tail, &mut analyzer, &mut collected, stop)?;
    Ok(collected.0)
}

/// Returns what is wrong with the index of a session of which nothing is being recorded.
///
/// # Errors
///
/// Returns an error if it cannot be read.
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
        return problem(format!("it lacks what is before byte {from}"));
    }
    if index.is_torn()? {
        return problem("it ends in the middle of a record".into());
    }
    let count = index.count()?;
    let last = if count > 0 { index.get(count - 1)? } else { None };
    match last {
        None if count > 0 => problem(format!("its record {count} is not valid")),
        Some(last) if last.at.0 >= recording_bytes => {
            problem(format!("it names byte {}, past the end of the recording", last.at))
        }
        _ => Ok(None),
    }
}

/// Writes the index of a session anew. The caller has locked the session.
///
/// # Errors
///
/// Returns an error if the recording cannot be read, or the index cannot be written.
pub fn rebuild(session: &Session, program: ProgramChoice, stop: &dyn Fn() -> bool) -> Result<()> {
    let found = find(&session.recording_ts(), program, stop)?;
    if stop() {
        return Ok(());
    }
    publish(&session.keyframes_idx(), &keyframes::to_bytes(&found), Durable::Now)?;
    tracing::info!("{}: wrote {} key frames", session.keyframes_idx().display(), found.len());
    Ok(())
}
