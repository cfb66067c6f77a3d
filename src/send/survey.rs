//! Examines the first bytes of a file: whether it is a transport stream, its packet size, and the
//! clock to use for pacing.

use std::path::Path;

use super::fields::PesStamps;
use super::pacer::Reading;
use super::pieces::{Piece, Pieces, begins_packet};
use crate::error::{Context, Error, Result, Stage};
use crate::ts::{
    self, Header, PCR_PER_TICK, PacketSize, SYNC_BYTE, TS_PACKET_BYTES, pcr, phase_of,
};

/// Number of bytes searched for packets and for a clock.
pub const HEAD_BYTES: u64 = 4 * 1024 * 1024;

/// Result of [`survey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Size of the packets.
    pub size: PacketSize,
    /// Index of the first packet's sync byte.
    pub first: usize,
    /// The clock used for pacing.
    pub clock: PacingClock,
}

/// The clock used for pacing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacingClock {
    /// The PCR of a PID.
    Pcr(u16),
    /// The decoding times of a PID, if the stream has no PCR.
    Dts(u16),
    /// The stream has no clock.
    None,
}

impl PacingClock {
    /// Returns the reading of the clock at `packet`, if the packet has one.
    pub fn read(self, packet: &[u8; TS_PACKET_BYTES]) -> Option<Reading> {
        let discontinuity = ts::discontinuity(packet);
        match self {
            PacingClock::Pcr(pid) if Header::of(packet).pid() == pid => {
                pcr(packet).map(|ticks| Reading { ticks, discontinuity })
            }
            PacingClock::Dts(pid) if Header::of(packet).pid() == pid => {
                let ticks = PesStamps::find(packet)?.dts(packet) * PCR_PER_TICK;
                Some(Reading { ticks, discontinuity })
            }
            _ => None,
        }
    }
}

/// Examines the `head` of the file at `path`, up to [`HEAD_BYTES`] of it.
///
/// # Errors
///
/// Returns an error if `head` is empty or not MPEG-TS.
pub fn survey(head: &[u8], path: &Path) -> Result<Survey> {
    let refuse = |what: &str| Err(Error::new(Stage::Send, what).path(path));
    if head.is_empty() {
        return refuse("the file is empty");
    }
    match first_packet(head) {
        Some((first, size)) => {
            let clock = find_clock(Pieces::new(head, size, first), path)?;
            Ok(Survey { size, first, clock })
        }
        None => refuse(
            "no MPEG-TS packets in the first 4 MiB; convert it with \
             ffmpeg -i FILE -c copy -f mpegts OUT.ts",
        ),
    }
}

/// Returns the start of the first packets in step, and their size.
fn first_packet(head: &[u8]) -> Option<(usize, PacketSize)> {
    memchr::memchr_iter(SYNC_BYTE, head).find_map(|at| {
        let rest = &head[at..];
        let size = PacketSize::ALL.into_iter().find(|size| begins_packet(rest, *size))?;
        // If an added byte looks like a sync byte, the packet may begin later.
        Some((at + if size.is_plain() { 0 } else { phase_of(rest, size).unwrap_or(0) }, size))
    })
}

fn find_clock(mut pieces: Pieces<&[u8]>, path: &Path) -> Result<PacingClock> {
    let mut with_stamps = None;
    while let Some(piece) = pieces.next().context(Stage::Send, path, "cannot read")? {
        let Piece::Packet(packet) = piece else { continue };
        let pid = Header::of(packet).pid();
        if pcr(packet).is_some() {
            return Ok(PacingClock::Pcr(pid));
        }
        if with_stamps.is_none() && PesStamps::find(packet).is_some() {
            with_stamps = Some(pid);
        }
    }
    Ok(with_stamps.map_or(PacingClock::None, PacingClock::Dts))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use scenetap_testkit as testkit;

    fn survey_head(head: &[u8]) -> std::result::Result<PacingClock, String> {
        let surveyed = survey(head, Path::new("f.ts")).map_err(|error| error.to_string());
        surveyed.map(|survey| survey.clock)
    }

    #[test]
    fn the_first_pid_with_a_pcr_is_the_clock() {
        let mut file = testkit::timed(300, 0, None, 5, 5).to_vec();
        file.extend(testkit::paced_stream(3, 2, 77));
        assert_eq!(survey_head(&file), Ok(PacingClock::Pcr(256)));
        let reading = PacingClock::Pcr(256).read(&testkit::timed(256, 0, Some(77), 0, 0));
        assert_eq!(reading, Some(Reading { ticks: 77, discontinuity: false }));
    }

    #[test]
    fn without_a_pcr_the_first_stream_with_timestamps_is_the_clock() {
        let mut file = testkit::filler(17, 0).to_vec();
        file.extend(testkit::timed(300, 0, None, 9, 5));
        assert_eq!(survey_head(&file), Ok(PacingClock::Dts(300)));
        let reading = PacingClock::Dts(300).read(&testkit::timed(300, 0, None, 9, 5));
        assert_eq!(reading, Some(Reading { ticks: 1500, discontinuity: false }));
        assert_eq!(survey_head(&testkit::filler(17, 0)), Ok(PacingClock::None));
    }

    #[test]
    fn packets_of_192_and_204_bytes_are_as_good_and_what_is_no_stream_is_refused() {
        let stream = testkit::paced_stream(10, 2, 0);
        let framed = |front: usize, back: usize| -> Vec<u8> {
            let frame = |p: &[u8]| [&vec![0x47; front][..], p, &vec![0x47; back][..]].concat();
            stream.chunks(TS_PACKET_BYTES).flat_map(frame).collect()
        };
        for (front, back) in [(0, 0), (4, 0), (0, 16)] {
            let surveyed = survey(&framed(front, back), Path::new("f.ts")).unwrap();
            assert_eq!((surveyed.clock, surveyed.first), (PacingClock::Pcr(256), front));
            assert_eq!(surveyed.size.bytes(), TS_PACKET_BYTES + front + back);
        }
        assert!(
            survey_head(&vec![7; 5000]).is_err_and(|e| e.starts_with("send: f.ts: no MPEG-TS"))
        );
        assert!(survey_head(&[]).is_err_and(|e| e.contains("empty")));
    }
}
