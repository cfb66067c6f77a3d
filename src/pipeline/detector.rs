//! The detecting loop: packets from a file, verdicts to an outlet.
//!
//! Live and scanning run the same loop; they differ in where the file ends and in
//! what the outlet does.

use super::detection::{Detection, Scored};
use crate::error::Result;
use crate::media::ByteOffset;
use crate::tail::{FileTail, Next};
use crate::ts::TS_PACKET_BYTES;

/// Packets between two looks at the clock on the wall, by the outlet.
const PACKETS_PER_REPORT: u32 = 512;

/// Where verdicts and news of progress go.
pub trait Outlet {
    /// A picture is decided.
    ///
    /// # Errors
    ///
    /// If the outlet can take no more: detection ends.
    fn scored(&mut self, scored: Scored) -> Result<()>;

    /// Detection has read up to `read`. `over`: and has decided everything in it.
    ///
    /// # Errors
    ///
    /// As [`Outlet::scored`].
    fn progress(&mut self, detection: &Detection, read: ByteOffset, over: bool) -> Result<()>;

    /// Bytes between packets were passed over.
    fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64);
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The file is over, and everything in it is decided.
    AtEnd,
    /// `stop` said so. What is open stays open.
    Stopped,
}

/// Runs `detection` over `tail` to its end, or until `stop` says so.
///
/// # Errors
///
/// If the file cannot be read, FFmpeg lacks a decoder, or the outlet fails.
pub fn run(
    tail: &mut FileTail,
    detection: &mut Detection,
    outlet: &mut dyn Outlet,
    stop: &dyn Fn() -> bool,
) -> Result<Ended> {
    let mut packets = 0;
    let mut read = ByteOffset(0);
    loop {
        match tail.next_packet()? {
            Next::Packet(packet) => {
                read = ByteOffset(packet.at.0 + TS_PACKET_BYTES as u64);
                detection.push(packet)?;
                drain(detection, outlet)?;
                packets += 1;
                if packets < PACKETS_PER_REPORT {
                    continue;
                }
            }
            Next::SyncLost { at, skipped_bytes } => outlet.sync_lost(at, skipped_bytes),
            Next::Waiting => {}
            Next::End => {
                detection.finish()?;
                drain(detection, outlet)?;
                outlet.progress(detection, read, true)?;
                return Ok(Ended::AtEnd);
            }
        }
        packets = 0;
        outlet.progress(detection, read, false)?;
        if stop() {
            return Ok(Ended::Stopped);
        }
    }
}

fn drain(detection: &mut Detection, outlet: &mut dyn Outlet) -> Result<()> {
    while let Some(scored) = detection.pull() {
        outlet.scored(scored)?;
    }
    Ok(())
}
