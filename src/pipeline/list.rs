//! Lists the content of a file without decoding it, as `scan --list` does.

use std::path::Path;

use crate::demux::{ListedProgram, Listing, ProgramChoice};
use crate::error::Result;
use crate::media::ByteOffset;
use crate::tail::{End, FileTail, Next, probe_file};
use crate::ts::Aligner;

/// Reads the file until its programs are known. Returns an empty list if it has no programs.
///
/// # Errors
///
/// Returns an error if the file cannot be read or is not MPEG-TS.
pub fn list(file: &Path, program: ProgramChoice) -> Result<Vec<ListedProgram>> {
    let (length, packet_size) = probe_file(file)?;
    let aligner = Aligner::begin(ByteOffset(0), packet_size);
    let mut tail = FileTail::open(file, aligner, End::Finished(length))?;
    let mut listing = Listing::new(program);
    loop {
        match tail.next_packet()? {
            Next::Packet(packet) if listing.push(packet) => break,
            Next::End => break,
            Next::Packet(_) | Next::SyncLost { .. } | Next::Waiting => {}
        }
    }
    Ok(listing.programs())
}

/// Returns whether the file has video that can be analyzed, according to its tables. If the file
/// cannot be read, returns true.
pub fn has_video(file: &Path) -> bool {
    let programs = list(file, ProgramChoice::FirstWithVideo);
    programs.map_or(true, |programs| {
        programs.iter().flat_map(|program| &program.streams).any(|stream| stream.followed)
    })
}
