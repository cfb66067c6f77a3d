//! Collects the random access points of a recording, for the index of key frames.

use std::collections::VecDeque;

use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, RandomAccess};
use crate::timeline::TimedUnit;
use crate::ts::TsPacket;

/// Maximum number of PATs that are remembered between a packet and its access unit.
const MAX_TABLES: usize = 4096;

/// Collects random access points.
#[derive(Debug, Default)]
pub struct KeyframeCollector {
    /// Offsets of the packets in which a PAT starts, from the last one before the last access unit on.
    tables: VecDeque<ByteOffset>,
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

    /// Takes the next access unit. A damaged one is none at which decoding can start.
    pub fn unit_passed(&mut self, timed: &TimedUnit) {
        let unit = &timed.unit;
        while self.tables.get(1).is_some_and(|next| *next <= unit.at) {
            self.tables.pop_front();
        }
        let Some(time) = unit.pts else { return };
        if unit.random_access != RandomAccess::None && !unit.damaged {
            let tables = self.tables.front().copied().filter(|tables| *tables <= unit.at);
            let (at, random_access) = (unit.at, unit.random_access);
            self.found.push(Keyframe { at, time, tables, random_access });
        }
    }

    /// Returns those that were found since the last call.
    pub fn take(&mut self) -> Vec<Keyframe> {
        std::mem::take(&mut self.found)
    }
}
