//! Finds where a recording can be cut in two while it is received: in front of a random access
//! point and its tables.
//!
//! A picture is complete only when the next one begins. So during the search, the bytes that may
//! follow the cut are held back: about two pictures.

use std::collections::VecDeque;

use crate::demux::{ProgramChoice, TablePackets};
use crate::media::{AccessUnit, RandomAccess};
use crate::pipeline::analyzer::units::{UnitEvent, UnitReader};
use crate::ts::{Aligned, Aligner, Header, PacketSize};

/// Maximum number of bytes held back for one picture. The cut is never in front of a larger
/// picture.
const MAX_HELD_BYTES: usize = 16 << 20;

/// Which positions are accepted for the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// In front of a picture after which no picture refers to an earlier one.
    Closed,
    /// In front of any random access point.
    Open,
    /// In front of any packet.
    Any,
}

/// Result of pushing bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Bytes that belong to the part before the cut.
    pub before: Vec<u8>,
    /// The part after the cut, if the position is found.
    pub after: Option<AfterCut>,
}

/// Beginning of the part after a cut.
#[derive(Debug, PartialEq, Eq)]
pub struct AfterCut {
    /// Copies of the tables, if they are not at the cut itself.
    pub tables: Vec<u8>,
    /// The bytes from the cut on.
    pub bytes: Vec<u8>,
}

/// Searches for the cut.
#[derive(Debug)]
pub struct CutFinder {
    aligner: Aligner,
    reader: UnitReader,
    tables: TablePackets,
    /// Bytes that may follow the cut.
    held: VecDeque<u8>,
    /// Offset of the first of them.
    held_at: u64,
    /// Minimum offset of the cut.
    from: u64,
    /// Size of the packet that was read last.
    size: PacketSize,
}

impl CutFinder {
    /// Returns a search in the bytes after those that `aligner` has consumed. `choice` selects the
    /// program whose pictures are considered.
    pub fn new(aligner: Aligner, choice: ProgramChoice) -> Self {
        let (at, size) = (aligner.end(), aligner.packet_size());
        CutFinder {
            aligner,
            reader: UnitReader::new(choice),
            tables: TablePackets::default(),
            held: VecDeque::new(),
            held_at: at,
            from: at,
            size,
        }
    }

    /// Pushes the next bytes.
    pub fn push(&mut self, bytes: &[u8], patience: Patience) -> Pushed {
        self.held.extend(bytes);
        #[cfg(test)]
        tests::panic_if_poisoned(bytes);
        self.aligner.push(bytes);
        while let Some(found) = self.aligner.find() {
            let Aligned::Packet(packet) = found else { continue };
            let (start, end) = (packet.start().0, packet.end().0);
            self.size = packet.size;
            self.tables.push(packet);
            self.reader.push(packet);
            let mut cut = None;
            while let Some(event) = self.reader.pull() {
                match event {
                    UnitEvent::AccessUnit(unit) if cut.is_none() => {
                        cut = self.consider(&unit, patience)
                    }
                    _ => {}
                }
            }
            if cut.is_none() && patience == Patience::Any {
                cut = Some(start).filter(|start| *start >= self.from);
            }
            if let Some(cut) = cut {
                return self.cut(cut);
            }
            // Without tables, no pictures can be found either.
            let held_bytes = if self.reader.program().is_some() { MAX_HELD_BYTES } else { 0 };
            self.from = self.from.max(end.saturating_sub(held_bytes as u64));
        }
        Pushed { before: self.release(self.from), after: None }
    }

    /// Ends the search. Returns the held bytes, which belong to the part before the cut.
    pub fn finish(mut self) -> Vec<u8> {
        self.held.make_contiguous().to_vec()
    }

    /// Cuts after the last whole packet, without parsing it. Used if a parser has panicked.
    pub fn cut_unparsed(mut self) -> Pushed {
        let pushed = self.aligner.end().saturating_sub(self.held_at);
        let held = self.held.make_contiguous();
        self.aligner.push(held.get(pushed as usize..).unwrap_or(&[]));
        let whole_until = self.aligner.find_all();
        let before = self.release(whole_until);
        let bytes = std::mem::take(&mut self.held).into();
        Pushed { before, after: Some(AfterCut { tables: Vec::new(), bytes }) }
    }

    /// Returns the offset of the cut if it can be before this picture.
    fn consider(&mut self, unit: &AccessUnit, patience: Patience) -> Option<u64> {
        /// Zeros before a start code count as part of the previous picture.
        const MAX_ZEROS: usize = 3;
        let at = unit.at.0;
        let start = self.start_of(at);
        let required = match patience {
            Patience::Closed => RandomAccess::Closed,
            Patience::Open | Patience::Any => RandomAccess::Open,
        };
        // The header of the PES packet contains the picture's time, so the part after the cut must
        // begin with it.
        let begins_pes = self.header(at).is_some_and(Header::unit_start);
        if start >= self.from
            && unit.random_access >= required
            && unit.skip_bytes <= MAX_ZEROS
            && begins_pes
        {
            return Some(self.include_tables(at));
        }
        // The next picture begins after the packet in which this one begins.
        self.from = self.from.max(start + self.size.bytes() as u64);
        None
    }

    /// Returns the start of the last packet with a PAT in front of the packet whose sync byte is at
    /// `at`, unless a packet of the video stream lies between them. In that case, returns the start
    /// of the packet at `at`.
    fn include_tables(&self, at: u64) -> u64 {
        let video = self.reader.program().map(|program| program.video_pid);
        let step = self.size.bytes() as u64;
        let is_free = |at: &u64| self.start_of(*at) >= self.from;
        let before = (1..).map_while(|n| at.checked_sub(n * step).filter(is_free));
        let packets = before.map_while(|at| Some((at, self.header(at)?)));
        packets
            .take_while(|(_, header)| Some(header.pid()) != video)
            .find(|(_, header)| begins_pat(*header))
            .map_or(self.start_of(at), |(at, _)| self.start_of(at))
    }

    /// Returns the start of the packet whose sync byte is at `at`.
    fn start_of(&self, at: u64) -> u64 {
        at.saturating_sub(self.size.leading_bytes() as u64)
    }

    fn header(&self, at: u64) -> Option<Header> {
        let index = usize::try_from(at.checked_sub(self.held_at)?).ok()?;
        Header::read(self.held.iter().skip(index).copied())
    }

    /// Cuts at the start of a packet.
    fn cut(&mut self, at: u64) -> Pushed {
        let has_tables = self.header(at + self.size.leading_bytes() as u64).is_some_and(begins_pat);
        let tables = if has_tables { None } else { self.tables.packets() };
        let before = self.release(at);
        let bytes = std::mem::take(&mut self.held).into();
        Pushed { before, after: Some(AfterCut { tables: tables.unwrap_or_default(), bytes }) }
    }

    /// Releases the bytes before `end`.
    fn release(&mut self, end: u64) -> Vec<u8> {
        let count = usize::try_from(end.saturating_sub(self.held_at)).unwrap_or(usize::MAX);
        let released: Vec<u8> = self.held.drain(..count.min(self.held.len())).collect();
        self.held_at += released.len() as u64;
        released
    }
}

fn begins_pat(header: Header) -> bool {
    const PAT_PID: u16 = 0;
    header.pid() == PAT_PID && header.unit_start()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::media::ByteOffset;
    use crate::ts::{SYNC_BYTE, TS_PACKET_BYTES};

    /// Bytes that make the finder panic, like a parser with a bug.
    pub(in crate::pipeline::record) const POISON: &[u8] = b"poison";

    pub(super) fn panic_if_poisoned(bytes: &[u8]) {
        assert!(!bytes.ends_with(POISON), "asked for by a test");
    }

    pub(in crate::pipeline::record) fn fixture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
        std::fs::read(format!("{folder}/{name}.ts")).unwrap()
    }

    /// Converts a stream of 188-byte packets to packets of `size`. The added bytes are sync bytes,
    /// which must not confuse the finder.
    fn framed(stream: &[u8], size: PacketSize) -> Vec<u8> {
        let lead = vec![SYNC_BYTE; size.leading_bytes()];
        let trail = vec![SYNC_BYTE; size.trailing_bytes()];
        stream.chunks(TS_PACKET_BYTES).flat_map(|packet| [&lead, packet, &trail].concat()).collect()
    }

    /// Returns an aligner that has taken the first `from` bytes of a stream.
    pub(in crate::pipeline::record) fn aligned(stream: &[u8], from: usize) -> Aligner {
        let mut aligner = Aligner::begin(ByteOffset(0), PacketSize::Plain);
        aligner.push(&stream[..from]);
        aligner.find_all();
        aligner
    }

    /// Searches for a cut from byte `from` on, with the bytes in pieces of `piece`.
    fn cut(
        stream: &[u8],
        from: usize,
        piece: usize,
        patience: Patience,
    ) -> Option<(usize, AfterCut)> {
        let mut finder = CutFinder::new(aligned(stream, from), ProgramChoice::FirstWithVideo);
        let mut before = Vec::new();
        let mut pieces = stream[from..].chunks(piece);
        while let Some(bytes) = pieces.next() {
            let pushed = finder.push(bytes, patience);
            before.extend(pushed.before);
            if let Some(mut after) = pushed.after {
                let at = from + before.len();
                pieces.for_each(|rest| after.bytes.extend(rest));
                assert!(before == stream[from..at] && after.bytes == stream[at..]);
                return Some((at, after));
            }
        }
        before.extend(finder.finish());
        assert!(before == stream[from..], "no byte is lost without a cut");
        None
    }

    /// Returns the first picture after a cut, as decoded from these bytes alone.
    fn first_picture(after: &AfterCut) -> AccessUnit {
        let stream = [&after.tables[..], &after.bytes].concat();
        let mut reader = UnitReader::new(ProgramChoice::FirstWithVideo);
        let mut aligner = Aligner::begin(ByteOffset(0), PacketSize::Plain);
        aligner.push(&stream);
        while let Some(Aligned::Packet(packet)) = aligner.find() {
            reader.push(packet);
        }
        std::iter::from_fn(|| reader.pull())
            .find_map(|event| match event {
                UnitEvent::AccessUnit(unit) => Some(unit),
                _ => None,
            })
            .unwrap()
    }

    #[test]
    fn the_part_behind_begins_with_its_tables_and_a_key_frame_whatever_pieces_the_bytes_come_in() {
        let cases = [
            ("bbb_h264_zerolatency_360p30_gop2s", Patience::Closed),
            ("bbb_hevc_360p24_gop2s", Patience::Open),
            ("bbb_hevc_main10_360p24_opengop", Patience::Open),
            ("bbb_mpeg2_576i25_tff", Patience::Open),
        ];
        for ((name, patience), size) in
            cases.into_iter().flat_map(|case| PacketSize::ALL.map(|size| (case, size)))
        {
            let stream = framed(&fixture(name), size);
            // Also start within a packet.
            for from in [0, 10 * size.bytes(), 1500 * size.bytes() + 50] {
                let (at, after) = cut(&stream, from, 1000, patience).unwrap();
                assert_eq!(at % size.bytes(), 0, "{name}, {size:?}");
                assert_eq!(after.tables.len() % size.bytes(), 0, "{name}, {size:?}");
                let unit = first_picture(&after);
                assert!(unit.random_access != RandomAccess::None && unit.pts.is_some(), "{name}");
                let header = size.leading_bytes() + 1..size.leading_bytes() + 3;
                let first = after.tables.get(header.clone()).unwrap_or(&after.bytes[header]);
                assert_eq!(first, [0x40, 0], "{name}, {size:?}: no PAT in front");
                for piece in [1, 188, 70_000, stream.len()] {
                    let again = cut(&stream, from, piece, patience).unwrap();
                    assert!(again.0 == at && again.1 == after, "{name}, {size:?}, {piece} bytes");
                }
            }
        }
    }

    #[test]
    fn where_there_is_no_key_frame_nothing_is_cut_until_any_packet_will_do() {
        let stream = fixture("bbb_hevc_main10_360p24_opengop");
        let late = stream.len() - 300 * TS_PACKET_BYTES;
        assert_eq!(cut(&stream, late, 5000, Patience::Closed), None);
        let (at, _) = cut(&stream, late, 5000, Patience::Any).unwrap();
        assert_eq!(at, late);
    }

    #[test]
    fn little_is_held_back_and_nothing_of_what_has_no_pictures() {
        let stream = fixture("bbb_h264_zerolatency_360p30_gop2s");
        let mut finder = CutFinder::new(aligned(&stream, 0), ProgramChoice::Number(77));
        for bytes in stream.chunks(10_000) {
            finder.push(bytes, Patience::Closed);
            assert!(finder.held.len() < TS_PACKET_BYTES);
        }
        let from = 10 * TS_PACKET_BYTES;
        let mut finder = CutFinder::new(aligned(&stream, from), ProgramChoice::FirstWithVideo);
        for bytes in stream[from..].chunks(10_000) {
            if finder.push(bytes, Patience::Closed).after.is_some() {
                break;
            }
            assert!(finder.held.len() < 100_000, "{} bytes", finder.held.len());
        }
    }
}
