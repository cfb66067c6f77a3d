//! Collects the random access points of a recording, for the index of key frames.

use std::collections::VecDeque;

use crate::decode::parameter_sets;
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, RandomAccess, Ticks};
use crate::timeline::TimedUnit;
use crate::ts::TsPacket;

/// Maximum number of PATs that are remembered between a packet and its access unit.
const MAX_TABLES: usize = 4096;

/// Maximum number of random access points whose pictures are still in the decoder.
const MAX_DECODING: usize = 128;

/// Collects random access points.
#[derive(Debug, Default)]
pub struct KeyframeCollector {
    /// Offsets of the packets in which a PAT starts, from the last one before the last access unit on.
    tables: VecDeque<ByteOffset>,
    /// Random access points whose pictures the decoder has not returned yet. A decoder delays fewer
    /// pictures than [`MAX_DECODING`], so older ones are stale.
    decoding: VecDeque<Keyframe>,
    /// The latest presentation time so far.
    newest: Option<Ticks>,
    goes_back: bool,
    found: Vec<Keyframe>,
}

impl KeyframeCollector {
    /// Takes the next packet.
    pub fn packet_passed(&mut self, packet: TsPacket<'_>) {
        // Payload unit start, and PID 0 (ISO/IEC 13818-1, 2.4.3.2).
        if packet.bytes[1] & 0x5f == 0x40 && packet.bytes[2] == 0 {
            if self.tables.len() == MAX_TABLES {
                self.tables.pop_front();
            }
            self.tables.push_back(packet.at);
        }
    }

    /// Takes the next access unit. If it is decoded, it counts only once its picture is shown, because the
    /// picture may have another time (see [`crate::decode::BestEffort`]).
    pub fn unit_passed(&mut self, timed: &TimedUnit, is_decoded: bool) {
        let unit = &timed.unit;
        while self.tables.get(1).is_some_and(|next| *next <= unit.at) {
            self.tables.pop_front();
        }
        let Some(time) = unit.pts else { return };
        let is_access_point = unit.random_access != RandomAccess::None;
        self.goes_back |= is_access_point && Some(time) <= self.newest;
        self.newest = self.newest.max(Some(time));
        if is_access_point {
            let tables = self.tables.front().copied().filter(|tables| *tables <= unit.at);
            let (at, random_access) = (unit.at, unit.random_access);
            let has_parameter_sets = !parameter_sets(unit.codec, &unit.data).is_empty();
            let damaged = unit.damaged;
            let keyframe =
                Keyframe { at, time, tables, random_access, has_parameter_sets, damaged };
            if !is_decoded {
                self.found.push(keyframe);
                return;
            }
            if self.decoding.len() == MAX_DECODING {
                self.decoding.pop_front();
            }
            self.decoding.push_back(keyframe);
        }
    }

    /// Returns whether a random access point was not later than all access units before it. If so, pictures
    /// may be shown at other times than their access units state.
    pub fn goes_back(&self) -> bool {
        self.goes_back
    }

    /// Takes a picture that the decoder has returned. Earlier ones still missing will never be returned.
    pub fn picture_decoded(&mut self, at: ByteOffset, time: Ticks) {
        let Some(index) = self.decoding.iter().position(|keyframe| keyframe.at == at) else {
            return;
        };
        if let Some(keyframe) = self.decoding.drain(..=index).next_back() {
            self.found.push(Keyframe { time, ..keyframe });
        }
    }

    /// Returns the random access points found since the last call.
    pub fn take(&mut self) -> Vec<Keyframe> {
        std::mem::take(&mut self.found)
    }
}
