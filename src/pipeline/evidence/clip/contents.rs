//! Clock restarts within a range of packets, and PES packets that are incomplete at its end.

use std::collections::{HashMap, HashSet};

use crate::media::{ByteOffset, TICKS_PER_SECOND};
use crate::ts::{Header, NULL_PID, PCR_PER_TICK, PCR_WRAP, TsPacket, discontinuity, payload, pcr};

/// A clock that advances by more than this between two PCRs counts as another clock, as in ffmpeg.
const MAX_ADVANCE: u64 = 10 * TICKS_PER_SECOND as u64 * PCR_PER_TICK;

/// A place at which a clock (PCR) restarts without being marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRestart {
    /// Offset of the last packet with the previous clock.
    pub after: ByteOffset,
    /// Offset of the first packet with the new clock.
    pub at: ByteOffset,
}

/// Reads the packets of a range.
#[derive(Debug, Default)]
pub struct Contents {
    clocks: HashMap<u16, (ByteOffset, u64)>,
    /// Places at which a clock restarts.
    pub restarts: Vec<ClockRestart>,
    open: HashMap<u16, IncompletePes>,
    has_clock_behind: bool,
    /// Offsets of the packets behind the range that complete its PES packets.
    pub behind: HashSet<ByteOffset>,
}

/// A PES packet that has begun.
#[derive(Debug, Clone, Copy)]
struct IncompletePes {
    at: ByteOffset,
    /// Bytes still to come; `None` if its header does not state a length.
    missing: Option<usize>,
}

impl Contents {
    /// Takes the next packet of the range.
    pub fn push(&mut self, packet: TsPacket<'_>) {
        self.take_clock(packet);
        let header = Header::of(packet.bytes);
        let pid = header.pid();
        if pid != NULL_PID && header.has_payload() {
            self.take_payload(packet, header);
        }
    }

    fn take_clock(&mut self, packet: TsPacket<'_>) {
        let Some(clock) = pcr(packet.bytes) else { return };
        let before = self.clocks.insert(Header::of(packet.bytes).pid(), (packet.at, clock));
        if let Some((after, before)) = before
            && (clock + PCR_WRAP - before) % PCR_WRAP > MAX_ADVANCE
            && !discontinuity(packet.bytes)
        {
            self.restarts.push(ClockRestart { after, at: packet.at });
        }
    }

    fn take_payload(&mut self, packet: TsPacket<'_>, header: Header) {
        let payload = payload(packet.bytes);
        if !header.unit_start() {
            if let Some(open) = self.open.get_mut(&header.pid()) {
                open.missing = open.missing.map(|missing| missing.saturating_sub(payload.len()));
            }
            return;
        }
        // Start code, stream id and length (ISO/IEC 13818-1, 2.4.3.6). Table sections do not begin in
        // this way.
        let missing = match payload {
            [0, 0, 1, _, 0, 0, ..] => None,
            [0, 0, 1, _, high, low, ..] => {
                let bytes = 6 + usize::from(u16::from_be_bytes([*high, *low]));
                Some(bytes.saturating_sub(payload.len()))
            }
            _ => {
                self.open.remove(&header.pid());
                return;
            }
        };
        self.open.insert(header.pid(), IncompletePes { at: packet.at, missing });
    }

    /// Takes the next packet behind the range.
    pub fn push_behind(&mut self, packet: TsPacket<'_>) {
        let header = Header::of(packet.bytes);
        if self.clocks.contains_key(&header.pid()) && pcr(packet.bytes).is_some() {
            // Needed to know whether tables and audio at the end of the range belong to another clock.
            self.take_clock(packet);
            self.has_clock_behind = true;
        }
        if !header.has_payload() || !self.open.contains_key(&header.pid()) {
            return;
        }
        if header.unit_start() {
            self.open.remove(&header.pid());
            return;
        }
        self.take_payload(packet, header);
        if self.open.get(&header.pid()).is_some_and(|open| open.missing == Some(0)) {
            self.open.remove(&header.pid());
        }
        self.behind.insert(packet.at);
    }

    /// Forgets the complete PES packets. Called at the end of the range.
    pub fn end_range(&mut self) {
        self.open.retain(|_, open| open.missing != Some(0));
    }

    /// Treats every PES packet as complete.
    pub fn forget_incomplete(&mut self) {
        self.open.clear();
    }

    /// Returns the incomplete PES packets: the PID of each, and the offset of its first packet.
    pub fn incomplete(&self) -> HashMap<u16, ByteOffset> {
        self.open.iter().map(|(pid, open)| (*pid, open.at)).collect()
    }

    /// Returns whether every PES packet is complete, and the clock behind the range is known.
    pub fn is_complete(&self) -> bool {
        self.open.is_empty() && (self.has_clock_behind || self.clocks.is_empty())
    }
}
