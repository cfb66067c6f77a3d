//! Elementary stream bytes → access units with their times and offsets.
//!
//! FFmpeg's rule decides which picture gets the times of a PES packet
//! (`libavcodec/parser.c`, `ff_fetch_timestamp`): a picture has the times of the packet
//! in which its beginning was recognized, if that packet began after the beginning of the
//! previous picture.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::boundary::{BoundaryScanner, Mark};
use super::random_access;
use crate::media::{AccessUnit, ByteOffset, Ticks, Times, VideoCodec};

/// Maximum size of an access unit. A larger one is split, which bounds memory. No level of any
/// codec allows such a size, so the stream is damaged.
const MAX_ACCESS_UNIT_BYTES: usize = 32 << 20;

/// State with which a framer can resume at an access unit, and return it and all later ones
/// unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FramerStart {
    /// Bytes of elementary stream in the access unit's first packet that belong to the
    /// previous picture.
    pub skip_bytes: usize,
    /// Presentation time of the access unit, 33 bits.
    pub pts: Option<Ticks>,
    /// Decoding time of the access unit, 33 bits.
    pub dts: Option<Ticks>,
}

/// Splits the elementary stream of one video PID into access units.
#[derive(Debug)]
pub struct Framer {
    codec: VideoCodec,
    scanner: BoundaryScanner,
    /// The current access unit, and bytes read after it.
    bytes: Vec<u8>,
    /// Elementary stream offset of `bytes[0]`.
    start: u64,
    /// Elementary stream offset of the previous access unit, if there was one.
    previous_start: Option<u64>,
    pts: Option<Ticks>,
    dts: Option<Ticks>,
    /// Start of each packet: elementary stream offset and recording offset.
    packets: VecDeque<(u64, ByteOffset)>,
    /// The last PES packets.
    pes: VecDeque<PesMark>,
    /// Elementary stream offset of the PES packet in which the last access unit ended.
    ended_in: Option<u64>,
    /// Bytes left to skip after a start in the middle of a packet.
    skip_bytes: usize,
    /// See [`AccessUnit::damaged`].
    damaged: bool,
}

#[derive(Debug, Clone, Copy)]
struct PesMark {
    start: u64,
    pts: Option<Ticks>,
    dts: Option<Ticks>,
    used: bool,
}

impl Framer {
    /// Returns a framer at the beginning of a stream.
    pub fn new(codec: VideoCodec) -> Self {
        Framer {
            codec,
            scanner: BoundaryScanner::new(codec),
            bytes: Vec::new(),
            start: 0,
            previous_start: None,
            pts: None,
            dts: None,
            packets: VecDeque::new(),
            pes: VecDeque::new(),
            ended_in: None,
            skip_bytes: 0,
            damaged: false,
        }
    }

    /// Returns a framer that resumes at an access unit. The first packet pushed must be the one
    /// in which that access unit begins.
    pub fn resume(codec: VideoCodec, from: FramerStart) -> Self {
        Framer {
            pts: from.pts,
            dts: from.dts,
            skip_bytes: from.skip_bytes,
            // The times of a PES packet that begins in the skipped bytes belong to the previous
            // picture.
            previous_start: Some(0),
            // The previous picture ended where this one begins.
            ended_in: Some(0),
            ..Framer::new(codec)
        }
    }

    /// Starts a PES packet, whose bytes are pushed next.
    pub fn begin_pes(&mut self, pts: Option<Ticks>, dts: Option<Ticks>) {
        let start = self.end();
        let first = self.pes.is_empty() && self.previous_start.is_none() && start == 0;
        if first {
            (self.pts, self.dts) = (pts, dts);
        }
        // FFmpeg remembers four. A few more are harmless: a picture that spans many PES packets
        // needs only the first and the last.
        if self.pes.len() == 16 {
            self.pes.pop_front();
        }
        self.pes.push_back(PesMark { start, pts, dts, used: first });
    }

    /// Pushes the next bytes of the elementary stream, from the packet at `at`. Appends
    /// finished access units to `out`.
    pub fn push(&mut self, at: ByteOffset, data: &[u8], out: &mut Vec<AccessUnit>) {
        self.packets.push_back((self.end(), at));
        self.bytes.extend_from_slice(data);
        if self.skip_bytes > 0 {
            let skipped = self.skip_bytes.min(self.bytes.len());
            self.bytes.drain(..skipped);
            self.start += skipped as u64;
            self.skip_bytes -= skipped;
        }
        while let Some(found) = self.scanner.next(&self.bytes) {
            match found {
                Mark::Boundary { start, decided } => {
                    let decided = self.start + decided as u64;
                    self.finish_unit(start, decided, out);
                }
                Mark::PictureHeader { start } => self.fetch_at_picture_header(start),
            }
        }
        if self.bytes.len() > MAX_ACCESS_UNIT_BYTES {
            let end = self.bytes.len();
            self.finish_unit(end, self.end(), out);
        }
    }

    /// Marks that the following bytes are damaged, or do not follow the previous ones.
    pub fn damage(&mut self) {
        self.damaged = true;
    }

    /// Ends the stream and finishes the open access unit.
    pub fn finish(&mut self, out: &mut Vec<AccessUnit>) {
        let end = self.bytes.len();
        if end > 0 {
            self.finish_unit(end, self.end(), out);
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn finish_unit(&mut self, end: usize, decided: u64, out: &mut Vec<AccessUnit>) {
        let rest = self.bytes.split_off(end);
        let data = std::mem::replace(&mut self.bytes, rest);
        while self.packets.get(1).is_some_and(|&(start, _)| start <= self.start) {
            self.packets.pop_front();
        }
        let ended_by = self.ended_by(decided);
        if let Some(&(packet_start, at)) = self.packets.front() {
            out.push(AccessUnit {
                at,
                skip_bytes: (self.start - packet_start) as usize,
                codec: self.codec,
                pts: self.pts,
                dts: self.dts,
                ended_by,
                random_access: random_access::classify(self.codec, &data),
                damaged: std::mem::take(&mut self.damaged),
                data,
            });
        }
        let finished = self.start;
        self.start += end as u64;
        self.previous_start = Some(finished);
        self.scanner.restart();
        let mark = self.pes.iter().rev().find(|mark| mark.start <= decided);
        (self.pts, self.dts) = match mark {
            Some(mark) if mark.start > finished && !mark.used => (mark.pts, mark.dts),
            _ => (None, None),
        };
    }

    /// Returns the times of the PES packet in which the access unit ended. As in `parse_packet`
    /// of `libavformat/demux.c`, only the first picture that ends in a PES packet gets them.
    fn ended_by(&mut self, decided: u64) -> Times {
        let mark = self.pes.iter().rev().find(|mark| mark.start <= decided);
        match mark {
            Some(mark) if decided < self.end() && self.ended_in != Some(mark.start) => {
                self.ended_in = Some(mark.start);
                Times { pts: mark.pts, dts: mark.dts }
            }
            _ => Times::default(),
        }
    }

    /// Fetches the times again at the picture header, as `mpeg1_find_frame_end` does, because
    /// the sequence header may be at the end of the previous PES packet.
    fn fetch_at_picture_header(&mut self, start: usize) {
        let offset = self.start + start as u64;
        let previous = self.previous_start;
        let mark = self.pes.iter_mut().rev().find(|mark| mark.start <= offset);
        if let Some(mark) = mark
            && !mark.used
            && previous.is_none_or(|previous| mark.start > previous)
        {
            mark.used = true;
            if mark.dts.is_some() {
                (self.pts, self.dts) = (mark.pts, mark.dts);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const IDR: [u8; 10] = [0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x88];

    fn at(n: u64) -> ByteOffset {
        ByteOffset(n * 188)
    }

    #[test]
    fn each_picture_has_the_times_of_the_pes_packet_it_begins_in() {
        let mut framer = Framer::new(VideoCodec::H264);
        let mut out = Vec::new();
        for n in 0..3 {
            framer.begin_pes(Some(Ticks(n * 10)), Some(Ticks(n)));
            framer.push(at(n as u64), &IDR, &mut out);
        }
        framer.finish(&mut out);
        let seen: Vec<_> = out.iter().map(|unit| (unit.at, unit.pts, unit.dts)).collect();
        assert_eq!(
            seen,
            [
                (at(0), Some(Ticks(0)), Some(Ticks(0))),
                (at(1), Some(Ticks(10)), Some(Ticks(1))),
                (at(2), Some(Ticks(20)), Some(Ticks(2))),
            ]
        );
    }

    #[test]
    fn a_picture_that_never_ends_is_cut_so_that_memory_stays_bounded() {
        let mut framer = Framer::new(VideoCodec::H264);
        let mut out = Vec::new();
        framer.push(at(0), &IDR, &mut out);
        let piece = vec![0xaa; 1 << 20];
        for n in 1..=80 {
            framer.push(at(n), &piece, &mut out);
            assert!(framer.bytes.capacity() <= 4 * MAX_ACCESS_UNIT_BYTES);
        }
        assert_eq!(out.len(), 80 * (1 << 20) / MAX_ACCESS_UNIT_BYTES);
        framer.finish(&mut out);
        let bytes: usize = out.iter().map(|unit| unit.data.len()).sum();
        assert_eq!(bytes, IDR.len() + 80 * piece.len(), "no byte is lost");
    }

    #[test]
    fn the_second_picture_of_a_pes_packet_has_no_times() {
        let mut framer = Framer::new(VideoCodec::H264);
        let mut out = Vec::new();
        framer.begin_pes(Some(Ticks(1)), Some(Ticks(1)));
        framer.push(at(0), &[IDR, IDR].concat(), &mut out);
        framer.begin_pes(Some(Ticks(3)), Some(Ticks(3)));
        framer.push(at(1), &IDR, &mut out);
        framer.finish(&mut out);
        let pts: Vec<_> = out.iter().map(|unit| unit.pts).collect();
        assert_eq!(pts, [Some(Ticks(1)), None, Some(Ticks(3))]);
        assert_eq!(out[1].skip_bytes, IDR.len());
    }

    #[test]
    fn a_framer_resumed_at_any_picture_goes_on_as_if_it_had_never_stopped() {
        let feed = |framer: &mut Framer, from: u64, out: &mut Vec<AccessUnit>| {
            for n in from..6 {
                if n % 2 == 0 || n == 0 {
                    framer.begin_pes(Some(Ticks(n as i64)), Some(Ticks(n as i64)));
                }
                framer.push(at(n), &[&IDR[4..], &IDR, &IDR[..4]].concat(), out);
            }
            framer.finish(out);
        };
        let mut whole = Vec::new();
        feed(&mut Framer::new(VideoCodec::H264), 0, &mut whole);
        assert!(whole.len() > 6);
        for (index, unit) in whole.iter().enumerate().skip(1) {
            let start = FramerStart { skip_bytes: unit.skip_bytes, pts: unit.pts, dts: unit.dts };
            let mut resumed = Vec::new();
            feed(&mut Framer::resume(VideoCodec::H264, start), unit.at.0 / 188, &mut resumed);
            assert_eq!(resumed, whole[index..], "resumed at picture {index}");
        }
    }
}
