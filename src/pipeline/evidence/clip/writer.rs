//! Packets of a range → packets of a clip.
//!
//! Packets are copied unchanged. Omitted is anything that cannot be decoded: the end of a PES
//! packet or section that begins before the clip, and incomplete PES packets. Clock restarts are
//! marked.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use super::contents::ClockRestart;
use crate::media::ByteOffset;
use crate::ts::{
    Header, NULL_PID, PacketSize, TS_PACKET_BYTES, TsPacket, discontinuity_packet, parity,
    set_discontinuity,
};

/// Distance behind a clock restart within which a jump of a continuity counter is marked too.
/// Farther behind, packets were lost.
const MARKED_BYTES: u64 = 1 << 20;

/// Writes the packets of a clip.
pub struct ClipWriter<'a> {
    output: &'a mut dyn Write,
    as_is: bool,
    /// Last continuity counter of each PID of which a unit has started.
    counters: HashMap<u16, u8>,
    restarts: std::iter::Peekable<std::vec::IntoIter<ClockRestart>>,
    /// The last restart so far, and the PIDs marked there.
    current: Option<(ClockRestart, HashSet<u16>)>,
    /// Incomplete PES packets: the PID of each, and the offset of its first packet.
    incomplete: HashMap<u16, ByteOffset>,
    /// Bytes written so far.
    pub bytes: u64,
}

impl<'a> ClipWriter<'a> {
    /// Returns a writer. If `as_is`, the bytes added to packets of 192 and 204 bytes are kept.
    pub fn new(
        output: &'a mut dyn Write,
        as_is: bool,
        restarts: Vec<ClockRestart>,
        incomplete: HashMap<u16, ByteOffset>,
    ) -> Self {
        let restarts = restarts.into_iter().peekable();
        let (counters, current) = (HashMap::new(), None);
        ClipWriter { output, as_is, counters, restarts, current, incomplete, bytes: 0 }
    }

    /// Writes the tables at the beginning of the clip.
    ///
    /// # Errors
    ///
    /// Returns write errors of the output.
    pub fn tables(&mut self, tables: &[u8], size: PacketSize) -> io::Result<()> {
        for raw in tables.chunks_exact(size.bytes()) {
            let bytes = raw.get(size.leading_bytes()..).and_then(|bytes| bytes.first_chunk());
            let Some(bytes) = bytes else { continue };
            let header = Header::of(bytes);
            self.counters.insert(header.pid(), header.continuity_counter());
            self.write(raw, bytes, size)?;
        }
        Ok(())
    }

    /// Takes the next packet.
    ///
    /// # Errors
    ///
    /// As [`ClipWriter::tables`].
    pub fn push(&mut self, packet: TsPacket<'_>) -> io::Result<()> {
        let header = Header::of(packet.bytes);
        let pid = header.pid();
        if pid == NULL_PID || !header.has_payload() {
            return self.write_marked(packet, header);
        }
        let has_begun = header.unit_start() || self.counters.contains_key(&pid);
        if !has_begun || self.incomplete.get(&pid).is_some_and(|from| packet.at >= *from) {
            return Ok(());
        }
        self.write_marked(packet, header)?;
        self.counters.insert(pid, header.continuity_counter());
        Ok(())
    }

    /// Writes a packet, marked as a discontinuity if a clock restarts there.
    fn write_marked(&mut self, packet: TsPacket<'_>, header: Header) -> io::Result<()> {
        while let Some(restart) = self.restarts.next_if(|restart| restart.after < packet.at) {
            self.current = Some((restart, HashSet::new()));
        }
        let pid = header.pid();
        let jumps = header.has_payload()
            && self.counters.get(&pid).is_some_and(|last| {
                (last + 1) & 0x0f != header.continuity_counter() && pid != NULL_PID
            });
        let is_marked = self.current.as_mut().is_some_and(|(restart, marked)| {
            let is_near = packet.at.0 <= restart.at.0 + MARKED_BYTES;
            let is_new_clock = packet.at == restart.at;
            is_new_clock || (is_near && jumps && marked.insert(pid))
        });
        if !is_marked {
            return self.write(packet.raw, packet.bytes, packet.size);
        }
        let mut changed = *packet.bytes;
        if set_discontinuity(&mut changed) {
            return self.write_changed(packet, &changed);
        }
        self.write_changed(packet, &discontinuity_packet(pid, header.continuity_counter()))?;
        self.write(packet.raw, packet.bytes, packet.size)
    }

    /// Writes a packet that is not in the recording, with the same kind of extra bytes as `packet`.
    fn write_changed(
        &mut self,
        packet: TsPacket<'_>,
        bytes: &[u8; TS_PACKET_BYTES],
    ) -> io::Result<()> {
        let added = packet.raw.get(..packet.size.leading_bytes()).unwrap_or(&[]);
        let mut raw = [added, bytes].concat();
        if packet.size == PacketSize::Parity {
            raw.extend(parity(bytes));
        }
        self.write(&raw, bytes, packet.size)
    }

    fn write(
        &mut self,
        raw: &[u8],
        bytes: &[u8; TS_PACKET_BYTES],
        size: PacketSize,
    ) -> io::Result<()> {
        // The first and the last packet of a stream may lack the extra bytes.
        let mut completed = Vec::new();
        let written = match (self.as_is, raw.len() == size.bytes()) {
            (false, _) => bytes,
            (true, true) => raw,
            (true, false) => {
                completed.resize(size.leading_bytes(), 0);
                completed.extend(bytes);
                completed.extend(&parity(bytes)[..size.trailing_bytes()]);
                &completed
            }
        };
        self.bytes += written.len() as u64;
        self.output.write_all(written)
    }
}
