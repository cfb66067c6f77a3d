//! Replacement of the demuxed video stream by another one that the tables list.
//!
//! Like ffmpeg, the demuxer stays with a stream that continues, whatever later tables list. Unlike
//! ffmpeg, it switches to the other stream once the first one has stopped. Packets that arrive
//! meanwhile are held, so that nothing after the stop is missed. The decision depends only on the
//! bytes, not on the time of their arrival.

use std::collections::{HashSet, VecDeque};

use super::packet::Packet;
use super::pes::decoding_time;
use super::program::VideoStream;
use crate::media::{ByteOffset, TICKS_PER_SECOND, Ticks};
use crate::ts::{Header, TS_PACKET_BYTES, payload};

/// A stream has stopped if it sends no packet while the other one advances by this time …
const STOPPED_TICKS: i64 = 5 * TICKS_PER_SECOND;

/// … or within this many bytes …
const STOPPED_BYTES: u64 = 16 << 20;

/// … or until the end of the recording, while the other one advances by this time. If both continue
/// to the end, the other one is ahead by less.
const STOPPED_TICKS_AT_END: i64 = TICKS_PER_SECOND / 2;

/// A larger step of the clock is a gap, and counts as this value.
const MAX_STEP: i64 = TICKS_PER_SECOND;

/// Packets of other video streams since the last packet of the demuxed one.
#[derive(Debug, Default)]
pub struct Succession {
    /// Offset of the last packet of the demuxed stream: its successor may begin after it.
    alive_at: ByteOffset,
    held: VecDeque<(ByteOffset, [u8; TS_PACKET_BYTES])>,
    /// PIDs whose last PES packet was video.
    pids: HashSet<u16>,
    /// Whether the last PES packet on the demuxed stream's PID was audio: another stream uses the PID
    /// now.
    is_audio: bool,
    /// The stream whose progress is measured.
    measured: Option<VideoStream>,
    last_time: Option<Ticks>,
    advanced: i64,
    /// Whether a PES packet of the measured stream has begun.
    has_begun: bool,
}

impl Succession {
    /// Records that the demuxed stream continues with a packet at `at`.
    pub fn continues(&mut self, at: ByteOffset, packet: &Packet<'_>) {
        if packet.unit_start {
            self.is_audio = matches!(packet.payload, [0, 0, 1, 0xc0..=0xdf, ..]);
        }
        if self.is_audio {
            return;
        }
        self.alive_at = at;
        self.held.clear();
        self.restart();
    }

    /// Takes a packet of another PID, and records whether video PES packets begin there.
    pub fn observe(&mut self, packet: &Packet<'_>) {
        if packet.unit_start {
            if matches!(packet.payload, [0, 0, 1, 0xe0..=0xef, ..]) {
                self.pids.insert(packet.pid);
            } else {
                self.pids.remove(&packet.pid);
            }
        }
    }

    /// Holds a packet that was passed to `observe`. `successor` is the stream that the
    /// tables list instead of the demuxed one. Returns whether the demuxed stream has stopped and the
    /// successor has begun.
    pub fn push(
        &mut self,
        at: ByteOffset,
        packet: &Packet<'_>,
        bytes: &[u8; TS_PACKET_BYTES],
        successor: Option<VideoStream>,
    ) -> bool {
        let is_successor = successor.is_some_and(|successor| successor.pid == packet.pid);
        if is_successor || self.pids.contains(&packet.pid) {
            self.held.push_back((at, *bytes));
        }
        if self.measured != successor {
            self.measured = successor;
            self.measure_again();
        } else if is_successor {
            self.measure(packet.unit_start, packet.payload);
        }
        let distance = |from: ByteOffset| at.0.saturating_sub(from.0);
        let has_stopped =
            self.advanced >= STOPPED_TICKS || distance(self.alive_at) >= STOPPED_BYTES;
        if self.has_begun && has_stopped {
            return true;
        }
        // Bound the memory as long as there is no succession.
        while self.held.front().is_some_and(|(from, _)| distance(*from) >= STOPPED_BYTES) {
            self.held.pop_front();
        }
        false
    }

    /// Returns whether the last PES packet of another PID was video.
    pub fn is_video(&self, pid: u16) -> bool {
        self.pids.contains(&pid)
    }

    /// At the end of the recording, returns whether the demuxed stream had stopped.
    pub fn has_stopped_at_end(&mut self, successor: VideoStream) -> bool {
        if self.measured != Some(successor) {
            self.measured = Some(successor);
            self.measure_again();
        }
        self.advanced >= STOPPED_TICKS_AT_END
    }

    /// Returns the packets of `pid` since the demuxed stream has stopped, and starts over.
    pub fn take(&mut self, pid: u16) -> VecDeque<(ByteOffset, [u8; TS_PACKET_BYTES])> {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|(_, bytes)| Header::of(bytes).pid() == pid);
        (self.measured, self.is_audio) = (None, false);
        self.restart();
        held
    }

    fn restart(&mut self) {
        (self.last_time, self.advanced, self.has_begun) = (None, 0, false);
    }

    fn measure_again(&mut self) {
        self.restart();
        let Some(stream) = self.measured else { return };
        let held = std::mem::take(&mut self.held);
        for (_, bytes) in &held {
            let header = Header::of(bytes);
            if header.pid() == stream.pid {
                self.measure(header.unit_start(), payload(bytes));
            }
        }
        self.held = held;
    }

    fn measure(&mut self, unit_start: bool, payload: &[u8]) {
        const MODULUS: i64 = 1 << 33;
        if !unit_start {
            return;
        }
        self.has_begun = true;
        let Some(time) = decoding_time(payload) else { return };
        if let Some(last) = self.last_time.replace(time) {
            let step = (time.0 - last.0).rem_euclid(MODULUS);
            // A step back counts as 0.
            self.advanced += if step < MODULUS / 2 { step.min(MAX_STEP) } else { 0 };
        }
    }
}
