//! Packets between two times, cut at random access points. Nothing is decoded.
//!
//! ```text
//! contents  what the range contains
//! writer    packets of the range → packets of the clip
//! ```

mod contents;
mod writer;

use std::io::{self, Write};

use super::access_points::AccessPoints;
use super::units::Units;
use super::{Moment, OpenRecording, interrupted};
use crate::demux::TablePackets;
use crate::error::{Error, Kind, Result, Stage};
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, RandomAccess, TICKS_PER_SECOND, Ticks};
use crate::tail::Next;
use crate::ts::{Header, PacketSize, TsPacket};
use contents::Contents;
use writer::ClipWriter;

/// Number of packets between two checks of `stop`.
const PACKETS_PER_LOOK: u32 = 4096;

/// Maximum number of bytes read behind a clip to complete its last audio.
const MAX_BEHIND_BYTES: u64 = 4 << 20;

/// Minimum number of access units of a clip that does not begin with a closed GOP, if possible. From a
/// shorter one, libavcodec may show only one picture, if the clip ends before its first picture is
/// shown (see [`mod@super::still`]). No decoder reorders by more pictures.
const MIN_UNITS: u64 = 18;

/// Maximum number of bytes in front of a clip that are searched for its tables.
const MAX_TABLES_BYTES: u64 = 4 << 20;

/// Range of times that a clip contains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipRange {
    /// The first time.
    pub from: Moment,
    /// The last time; `None` is the time of the newest picture.
    pub to: Option<Moment>,
}

/// A part of a recording that begins and ends at random access points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The first random access point.
    pub start: Keyframe,
    /// The first random access point behind the part; `None` if it extends to the end of the recording.
    pub end: Option<Keyframe>,
    /// Requested start time.
    pub from: Ticks,
    /// Time at which the part ends.
    pub to: Ticks,
}

/// A clip that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clip {
    /// Bytes written.
    pub bytes: u64,
    /// Number of clock restarts in the clip. Each is marked.
    pub clock_restarts: usize,
}

impl Cut {
    /// Returns the number of seconds in front of the requested start time.
    pub fn lead_seconds(&self) -> f64 {
        Ticks(self.from.0.saturating_sub(self.start.time.0)).seconds().max(0.0)
    }
}

/// Finds where to cut. `stop` cancels the search.
///
/// # Errors
///
/// Returns an error if the range is empty or after the newest picture, or the recording cannot be read.
pub fn cut(recording: &OpenRecording, range: ClipRange, stop: &dyn Fn() -> bool) -> Result<Cut> {
    AccessPoints::search(recording, stop, |points| find(recording, points, range, stop))
}

fn find(
    recording: &OpenRecording,
    points: &mut AccessPoints<'_>,
    range: ClipRange,
    stop: &dyn Fn() -> bool,
) -> Result<Cut> {
    let error = |what: String| Err(Error::new(Stage::Evidence, what).path(recording.path()));
    let from = points.time_of(range.from)?;
    let to = points.time_of(range.to.unwrap_or(Moment::BeforeNewest(0.0)))?;
    let seconds = |time: Ticks| time.0 as f64 / TICKS_PER_SECOND as f64;
    if range.to.is_some() && to < from {
        let (from, to) = (seconds(from), seconds(to));
        return error(format!(
            "the clip would end at {to:.6} s, before its beginning at {from:.6} s"
        ));
    }
    let Some((mut number, mut start)) = start(recording, points, from, stop)? else {
        return Err(points.lacks("there is no key frame at which a clip could begin")?);
    };
    let end = end(recording, points, number, to, stop)?;
    while start.random_access != RandomAccess::Closed && number > 0 {
        let all = Units::read(recording, start, end.map(|end| end.at), |_| true, stop)?;
        let earlier = if all.count < MIN_UNITS { points.last_below(number)? } else { None };
        let Some(earlier) = earlier else { break };
        (number, start) = earlier;
    }
    let to = match end {
        Some(end) => end.time,
        None => {
            let newest = points.newest()?.unwrap_or(start.time);
            if from > newest {
                let (from, newest) = (seconds(from), seconds(newest));
                return error(format!(
                    "nothing at {from:.6} s: the newest picture is at {newest:.6} s"
                ));
            }
            newest
        }
    };
    Ok(Cut { start, end, from, to })
}

/// Returns the last random access point from which the picture at `time` is complete, or else the first
/// one of the recording, and its number.
fn start(
    recording: &OpenRecording,
    points: &mut AccessPoints<'_>,
    time: Ticks,
    stop: &dyn Fn() -> bool,
) -> Result<Option<(u64, Keyframe)>> {
    let mut number = points.until(time)?.max(1);
    while let Some((found, keyframe)) = points.last_below(number)? {
        let is_complete = match keyframe.random_access {
            RandomAccess::Gradual(pictures) => {
                let before = |at: Option<Ticks>| at <= Some(time);
                let count = Units::read(recording, keyframe, None, before, stop)?.count;
                count > u64::from(pictures)
            }
            _ => true,
        };
        if !Units::is_there(recording, keyframe, stop)? {
            return Err(points.misplaced(&keyframe));
        }
        // A demuxer needs the header of the PES packet.
        if is_complete && begins_pes(recording, keyframe)? {
            return Ok(Some((found, keyframe)));
        }
        number = found;
    }
    // Decoding from the first one may be incomplete, but no earlier one exists.
    match points.get(0)? {
        Some(first) if !Units::is_there(recording, first, stop)? => Err(points.misplaced(&first)),
        first => Ok(first.map(|first| (0, first))),
    }
}

/// Returns the first random access point after number `start` that has every picture up to `time` in
/// front of it in the stream. Returns `None` if no such point exists.
fn end(
    recording: &OpenRecording,
    points: &mut AccessPoints<'_>,
    start: u64,
    time: Ticks,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Keyframe>> {
    let number = points.until(time)?.max(start + 1);
    let Some(keyframe) = points.get(number)? else { return Ok(None) };
    if !Units::is_there(recording, keyframe, stop)? {
        return Err(points.misplaced(&keyframe));
    }
    if keyframe.random_access == RandomAccess::Closed {
        return Ok(Some(keyframe));
    }
    // In an open GOP, pictures that are shown before the first one follow it in the stream.
    let Some(before) = points.get(number - 1)? else { return Ok(Some(keyframe)) };
    let last = Units::read(recording, before, Some(keyframe.at), |_| true, stop)?.newest;
    if last >= Some(time) { Ok(Some(keyframe)) } else { points.get(number + 1) }
}

/// Returns whether a PES packet begins in the packet where the access unit begins.
fn begins_pes(recording: &OpenRecording, keyframe: Keyframe) -> Result<bool> {
    let mut begins = false;
    each_packet(recording, keyframe.at, &|| false, |packet| {
        begins = packet.at == keyframe.at && Header::of(packet.bytes).unit_start();
        Ok(false)
    })?;
    Ok(begins)
}

/// Writes a part of a recording to `output`. If `as_is`, packets of 192 and 204 bytes keep their size.
/// `stop` cancels the work.
///
/// # Errors
///
/// Returns an error if the recording cannot be read, or was shortened or deleted meanwhile
/// ([`Kind::Gone`]), or `output` cannot be written.
pub fn write_clip(
    recording: &OpenRecording,
    cut: &Cut,
    as_is: bool,
    output: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> Result<Clip> {
    let contents = contents_of(recording, cut, stop)?;
    let (tables, size) = tables(recording, cut)?;
    let is_inside = |at| cut.end.is_none_or(|end| at < end.at);
    let clock_restarts = contents.restarts.iter().filter(|restart| is_inside(restart.at)).count();
    let incomplete = contents.incomplete();
    let mut writer = ClipWriter::new(output, as_is, contents.restarts, incomplete);
    let failed = |cause: io::Error| Error::new(Stage::Evidence, "cannot write it").because(cause);
    writer.tables(&tables, size).map_err(failed)?;
    let last = contents.behind.iter().max().copied();
    each_packet(recording, cut.start.at, stop, |packet| {
        let is_behind = cut.end.is_some_and(|end| packet.at >= end.at);
        if is_behind && Some(packet.at) > last {
            return Ok(false);
        }
        if !is_behind || contents.behind.contains(&packet.at) {
            writer.push(packet).map_err(failed)?;
        }
        Ok(true)
    })?;
    // Reading a shortened file looks like reaching its end.
    let length = recording.file().metadata().map_or(0, |found| found.len());
    if length < recording.length() {
        return Err(gone(recording));
    }
    Ok(Clip { bytes: writer.bytes, clock_restarts })
}

/// Reads the packets of a clip, and those behind it that complete its last PES packets.
fn contents_of(recording: &OpenRecording, cut: &Cut, stop: &dyn Fn() -> bool) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut has_ended = false;
    each_packet(recording, cut.start.at, stop, |packet| {
        let Some(end) = cut.end.filter(|end| packet.at >= end.at) else {
            contents.push(packet);
            return Ok(true);
        };
        if !has_ended {
            has_ended = true;
            contents.end_range();
        }
        contents.push_behind(packet);
        Ok(!contents.is_complete() && packet.at.0 <= end.at.0 + MAX_BEHIND_BYTES)
    })?;
    if cut.end.is_some() && !has_ended {
        return Err(gone(recording));
    }
    contents.end_range();
    if cut.end.is_none() && !recording.is_growing() {
        // No later packets can complete them.
        contents.forget_incomplete();
    }
    Ok(contents)
}

/// Returns the last tables in front of a clip, as recorded, and the size of their packets.
fn tables(recording: &OpenRecording, cut: &Cut) -> Result<(Vec<u8>, PacketSize)> {
    let at = cut.start.at;
    let earlier = ByteOffset(at.0.saturating_sub(MAX_TABLES_BYTES));
    // The PMT may follow the access unit; an earlier one is used then.
    for from in [cut.start.tables.unwrap_or(earlier), earlier, ByteOffset(0)] {
        let mut tables = TablePackets::default();
        let mut size = PacketSize::default();
        each_packet(recording, from, &|| false, |packet| {
            if packet.at < at {
                size = packet.size;
                tables.push(packet);
            }
            Ok(packet.at < at)
        })?;
        if let Some(packets) = tables.packets() {
            return Ok((packets, size));
        }
    }
    // The clip of a stream without tables has none either.
    Ok((Vec::new(), PacketSize::default()))
}

/// Passes the packets from the offset `from` on to `take` until `take` returns false.
fn each_packet(
    recording: &OpenRecording,
    from: ByteOffset,
    stop: &dyn Fn() -> bool,
    mut take: impl FnMut(TsPacket<'_>) -> Result<bool>,
) -> Result<()> {
    let mut tail = recording.read_at(from)?;
    for packets in 1_u32.. {
        match tail.next_packet()? {
            Next::Packet(packet) if packet.at < from => {}
            Next::Packet(packet) => {
                if !take(packet)? {
                    break;
                }
            }
            Next::SyncLost { .. } | Next::Waiting => {}
            Next::End => break,
        }
        if packets.is_multiple_of(PACKETS_PER_LOOK) && stop() {
            return Err(interrupted());
        }
    }
    Ok(())
}

fn gone(recording: &OpenRecording) -> Error {
    let what = "the recording was deleted or shortened meanwhile";
    Error::new(Stage::Evidence, what).of_kind(Kind::Gone).path(recording.path())
}
