//! Finds where a recording can be cut in two while it is received: before a picture at
//! which decoding can start, and before its tables.
//!
//! A picture is only known when the next one begins. So during the search, the bytes that
//! may follow the cut are held back: about two pictures.

use std::collections::VecDeque;

use crate::demux::{ProgramChoice, TablePackets};
use crate::media::{AccessUnit, ByteOffset, RandomAccess};
use crate::pipeline::analyzer::units::{UnitEvent, UnitReader};
use crate::ts::{Aligned, Aligner};
use crate::ts::{Header, TS_PACKET_BYTES};

/// Maximum number of bytes held back for one picture. Beyond that, the cut is not before that
/// picture.
const MAX_HELD_BYTES: usize = 16 << 20;

/// Which positions are accepted for the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// Before a picture from which on no picture refers to an earlier one.
    Closed,
    /// Before any picture at which decoding can start.
    Open,
    /// Before any packet.
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
    /// Nothing before this offset is accepted for the cut.
    from: u64,
}

impl CutFinder {
    /// Returns a search that starts at `at`, where a packet begins. `choice` selects the program
    /// whose pictures count.
    pub fn new(at: ByteOffset, choice: ProgramChoice) -> Self {
        CutFinder {
            aligner: Aligner::new(at, TS_PACKET_BYTES),
            reader: UnitReader::new(choice),
            tables: TablePackets::default(),
            held: VecDeque::new(),
            held_at: at.0,
            from: at.0,
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
            let at = packet.at.0;
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
                cut = Some(at).filter(|at| *at >= self.from);
            }
            if let Some(cut) = cut {
                return self.cut(cut);
            }
            let end = at + TS_PACKET_BYTES as u64;
            // Without tables, no pictures are found either.
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
        let mut aligner = Aligner::new(ByteOffset(self.held_at), TS_PACKET_BYTES);
        aligner.push(self.held.make_contiguous());
        let before = self.release(aligner.find_all());
        let bytes = std::mem::take(&mut self.held).into();
        Pushed { before, after: Some(AfterCut { tables: Vec::new(), bytes }) }
    }

    /// Returns the offset of the cut if it can be before this picture.
    fn consider(&mut self, unit: &AccessUnit, patience: Patience) -> Option<u64> {
        /// Zeros before a start code count as part of the previous picture.
        const MAX_ZEROS: usize = 3;
        let at = unit.at.0;
        let required = match patience {
            Patience::Closed => RandomAccess::Closed,
            Patience::Open | Patience::Any => RandomAccess::Open,
        };
        // The header of the PES packet holds the picture's time, so the part after the
        // cut has to begin with it.
        let begins_pes = self.header(at).is_some_and(Header::unit_start);
        if at >= self.from
            && unit.random_access >= required
            && unit.skip_bytes <= MAX_ZEROS
            && begins_pes
        {
            return Some(self.include_tables(at));
        }
        // The next picture begins after the packet in which this one begins.
        self.from = self.from.max(at + TS_PACKET_BYTES as u64);
        None
    }

    /// Returns the offset of the PAT before `at`, if there is no packet of the video stream
    /// between them; otherwise `at`.
    fn include_tables(&self, at: u64) -> u64 {
        let video = self.reader.program().map(|program| program.video_pid);
        let step = TS_PACKET_BYTES as u64;
        let before = (1..).map_while(|n| at.checked_sub(n * step).filter(|at| *at >= self.from));
        let packets = before.map_while(|at| Some((at, self.header(at)?)));
        packets
            .take_while(|(_, header)| Some(header.pid()) != video)
            .find(|(_, header)| begins_pat(*header))
            .map_or(at, |(at, _)| at)
    }

    fn header(&self, at: u64) -> Option<Header> {
        let index = usize::try_from(at.checked_sub(self.held_at)?).ok()?;
        Header::read(self.held.iter().skip(index).copied())
    }

    fn cut(&mut self, at: u64) -> Pushed {
        let has_tables = self.header(at).is_some_and(begins_pat);
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
mod tests {
    use super::*;
    use crate::pipeline::RotationLimits;
    use crate::pipeline::record::rotation::Rotation;
    use crate::ts::TsPacket;

    /// Bytes on which the finder panics, as a parser with a bug would.
    const POISON: &[u8] = b"poison";

    pub(super) fn panic_if_poisoned(bytes: &[u8]) {
        assert!(!bytes.ends_with(POISON), "asked for by a test");
    }

    fn fixture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
        std::fs::read(format!("{folder}/{name}.ts")).unwrap()
    }

    /// Searches for a cut from packet `from` on, with the bytes in pieces of `piece`.
    fn cut(
        stream: &[u8],
        from: usize,
        piece: usize,
        patience: Patience,
    ) -> Option<(usize, AfterCut)> {
        let from = from * TS_PACKET_BYTES;
        let mut finder = CutFinder::new(ByteOffset(from as u64), ProgramChoice::FirstWithVideo);
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
        for (n, bytes) in stream.as_chunks().0.iter().enumerate() {
            reader.push(TsPacket { at: ByteOffset((n * TS_PACKET_BYTES) as u64), bytes });
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
        for (name, patience) in cases {
            let stream = fixture(name);
            for from in [0, 10, 1500] {
                let (at, after) = cut(&stream, from, 1000, patience).unwrap();
                let unit = first_picture(&after);
                assert!(unit.random_access != RandomAccess::None && unit.pts.is_some(), "{name}");
                let first = after.tables.get(1..3).unwrap_or(&after.bytes[1..3]);
                assert_eq!(first, [0x40, 0], "{name}: no PAT in front");
                for piece in [1, 188, 70_000, stream.len()] {
                    let again = cut(&stream, from, piece, patience).unwrap();
                    assert!(again.0 == at && again.1 == after, "{name}, pieces of {piece}");
                }
            }
        }
    }

    #[test]
    fn where_there_is_no_key_frame_nothing_is_cut_until_any_packet_will_do() {
        let stream = fixture("bbb_hevc_main10_360p24_opengop");
        let late = stream.len() / TS_PACKET_BYTES - 300;
        assert_eq!(cut(&stream, late, 5000, Patience::Closed), None);
        let (at, _) = cut(&stream, late, 5000, Patience::Any).unwrap();
        assert_eq!(at, late * TS_PACKET_BYTES);
    }

    #[test]
    fn little_is_held_back_and_nothing_of_what_has_no_pictures() {
        let stream = fixture("bbb_h264_zerolatency_360p30_gop2s");
        let mut finder = CutFinder::new(ByteOffset(0), ProgramChoice::Number(77));
        for bytes in stream.chunks(10_000) {
            finder.push(bytes, Patience::Closed);
            assert!(finder.held.len() < TS_PACKET_BYTES);
        }
        let from = 10 * TS_PACKET_BYTES;
        let mut finder = CutFinder::new(ByteOffset(0), ProgramChoice::FirstWithVideo);
        for bytes in stream[from..].chunks(10_000) {
            if finder.push(bytes, Patience::Closed).after.is_some() {
                break;
            }
            assert!(finder.held.len() < 100_000, "{} bytes", finder.held.len());
        }
    }

    #[test]
    fn where_a_parser_panics_the_cut_is_made_behind_the_last_whole_packet_and_no_byte_is_lost() {
        let stream = fixture("bbb_h264_zerolatency_360p30_gop2s");
        let from = 10 * TS_PACKET_BYTES;
        let limits = RotationLimits { every: None, bytes: Some(1) };
        let next = Box::new(|| unreachable!("only the position is looked for"));
        let mut rotation = Rotation::new(limits, ProgramChoice::FirstWithVideo, next);
        let mut before = Vec::new();
        let pieces =
            [&stream[from..from + 1000], &[&stream[from + 1000..from + 1400], POISON].concat()];
        for bytes in pieces {
            let pushed = rotation.push((from + before.len()) as u64, bytes).unwrap();
            before.extend(pushed.before);
            let Some(after) = pushed.after else { continue };
            assert!(before == stream[from..from + 7 * TS_PACKET_BYTES], "{} bytes", before.len());
            assert!(after.tables.is_empty());
            assert!([&before[..], &after.bytes].concat() == pieces.concat());
            return;
        }
        unreachable!("nothing was cut");
    }
}
