//! The detection loop: packets from a file, verdicts to an outlet.
//!
//! Live detection and scanning run the same loop; they differ in where the file ends and
//! in what the outlet does.

use std::time::Instant;

use super::{Analyzer, Scored};
use crate::error::Result;
use crate::keyframes::Keyframe;
use crate::media::ByteOffset;
use crate::tail::{FileTail, Next};

/// Number of packets between two calls of [`Outlet::progress`].
const PACKETS_PER_REPORT: u32 = 512;

/// Receives verdicts and progress.
pub trait Outlet {
    /// Receives the verdict on a picture, and the packet that released it.
    ///
    /// # Errors
    ///
    /// Returns an error if the outlet has failed. Detection then ends.
    fn scored(&mut self, scored: Scored, by: PacketRead) -> Result<()>;

    /// Receives the progress: detection has read all packets before the offset `read`. If
    /// `finished`, every picture has a verdict.
    ///
    /// # Errors
    ///
    /// As [`Outlet::scored`].
    fn progress(&mut self, analyzer: &Analyzer, read: ByteOffset, finished: bool) -> Result<()>;

    /// Receives random access points, in the order of the recording. After a restart, some are
    /// repeated.
    fn keyframes(&mut self, _found: Vec<Keyframe>) {}

    /// Reports that `skipped_bytes` bytes at offset `at`, which belong to no packet, were skipped.
    fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64);
}

/// A packet, and the time at which detection had read it.
#[derive(Debug, Clone, Copy)]
pub struct PacketRead {
    /// Offset of the packet.
    pub at: ByteOffset,
    /// Time at which the packet was read.
    pub read: Instant,
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The file has ended, and everything in it has a verdict.
    AtEnd,
    /// `stop` returned true. Pictures still in the analyzer have no verdict.
    Stopped,
}

/// Runs `analyzer` on `tail` to its end, or until `stop` returns true.
///
/// # Errors
///
/// Returns an error if the file cannot be read, FFmpeg lacks a decoder, or the outlet
/// fails.
pub fn drive(
    tail: &mut FileTail,
    analyzer: &mut Analyzer,
    outlet: &mut dyn Outlet,
    stop: &dyn Fn() -> bool,
) -> Result<Ended> {
    let mut packets = 0;
    let mut read = ByteOffset(0);
    loop {
        if analyzer.is_parallel() && !keep_up(tail, analyzer, outlet, stop, read)? {
            return Ok(Ended::Stopped);
        }
        match tail.next_packet()? {
            Next::Packet(packet) => {
                read = packet.end();
                let by = PacketRead { at: packet.at, read: Instant::now() };
                analyzer.push(packet)?;
                drain(analyzer, outlet, by)?;
                packets += 1;
                if packets < PACKETS_PER_REPORT {
                    continue;
                }
            }
            Next::SyncLost { at, skipped_bytes } => {
                read = ByteOffset(at.0 + skipped_bytes);
                outlet.sync_lost(at, skipped_bytes);
                analyzer.sync_lost(at);
                drain(analyzer, outlet, now(read))?;
            }
            Next::Waiting => {}
            Next::End => {
                if !catch_up(analyzer, true, outlet, stop, read)? {
                    return Ok(Ended::Stopped);
                }
                analyzer.finish()?;
                drain(analyzer, outlet, now(read))?;
                outlet.progress(analyzer, read, true)?;
                return Ok(Ended::AtEnd);
            }
        }
        packets = 0;
        analyzer.set_backlog(tail.length().saturating_sub(read.0));
        analyzer.stitch_ready()?;
        drain(analyzer, outlet, now(read))?;
        outlet.progress(analyzer, analyzer.decided_through(read), false)?;
        if stop() {
            return Ok(Ended::Stopped);
        }
    }
}

/// Waits while the other threads have enough work. If nothing more can be read, ends parallel
/// decoding. Returns false if `stop` returned true.
fn keep_up(
    tail: &FileTail,
    analyzer: &mut Analyzer,
    outlet: &mut dyn Outlet,
    stop: &dyn Fn() -> bool,
    read: ByteOffset,
) -> Result<bool> {
    if tail.has_caught_up() {
        analyzer.set_backlog(0);
    }
    if tail.has_caught_up() || analyzer.is_ending() {
        return catch_up(analyzer, false, outlet, stop, read);
    }
    while analyzer.is_full() {
        if !wait(analyzer, outlet, stop, read)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends parallel decoding once everything that was read is decided. Returns false if `stop` returned
/// true.
fn catch_up(
    analyzer: &mut Analyzer,
    ends: bool,
    outlet: &mut dyn Outlet,
    stop: &dyn Fn() -> bool,
    read: ByteOffset,
) -> Result<bool> {
    while !analyzer.catch_up(ends)? {
        if !wait(analyzer, outlet, stop, read)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits a little for the other threads, and passes their results to the outlet. Returns false if
/// `stop` returned true.
fn wait(
    analyzer: &mut Analyzer,
    outlet: &mut dyn Outlet,
    stop: &dyn Fn() -> bool,
    read: ByteOffset,
) -> Result<bool> {
    analyzer.stitch_next()?;
    drain(analyzer, outlet, now(read))?;
    outlet.progress(analyzer, analyzer.decided_through(read), false)?;
    Ok(!stop())
}

fn drain(analyzer: &mut Analyzer, outlet: &mut dyn Outlet, by: PacketRead) -> Result<()> {
    while let Some(scored) = analyzer.pull() {
        outlet.scored(scored, by)?;
    }
    let keyframes = analyzer.take_keyframes();
    if !keyframes.is_empty() {
        outlet.keyframes(keyframes);
    }
    Ok(())
}

/// Returns a stand-in for the packet before `read`: a picture released now has waited for a thread,
/// not for a packet.
fn now(read: ByteOffset) -> PacketRead {
    PacketRead { at: ByteOffset(read.0.saturating_sub(1)), read: Instant::now() }
}
