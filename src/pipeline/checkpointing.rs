//! Between [`DetectionStart`], with which detection works, and [`Checkpoint`],
//! which stands on disk.

use super::detection::{DetectionStart, LastDecided};
use crate::catalog::checkpoint::{self, Checkpoint};
use crate::decode::{BestEffort, Settings};
use crate::demux::{DemuxStart, FramerStart, Program};
use crate::detect::{CutsState, DetectorState};
use crate::media::{ByteOffset, Ticks, VideoCodec};
use crate::timeline::Clock;

/// What is written down. `recording_bytes` must be safe on disk, and `frames_kept`
/// in the index, before it is.
pub fn to_checkpoint(start: &DetectionStart, recording_bytes: u64, frames_kept: u64) -> Checkpoint {
    let DetectionStart { demux, clock, decoder, times, last, detector, final_through } = start;
    Checkpoint {
        version: checkpoint::VERSION,
        recording_bytes,
        frames_kept,
        read_from: checkpoint::ReadFrom {
            offset: demux.at.0,
            skip_bytes: demux.framer.skip_bytes,
            pts: demux.framer.pts.map(|pts| pts.0),
            dts: demux.framer.dts.map(|dts| dts.0),
        },
        program: checkpoint::Program {
            number: demux.program.number,
            video_pid: demux.program.video_pid,
            codec: demux.program.codec.to_string(),
            audio_pids: demux.program.audio_pids.clone(),
        },
        clock: checkpoint::Clock {
            start: clock.start.0,
            last: clock.last.0,
            shift: clock.shift.0,
            previous: clock.previous.map(|previous| previous.0),
            step: clock.step.0,
            ordered: clock.ordered,
            misordered: clock.misordered,
        },
        decoder: checkpoint::Decoder {
            reorder: decoder.reorder,
            parameter_sets: to_hex(&decoder.parameter_sets),
            faulty_pts: times.faulty_pts,
            faulty_dts: times.faulty_dts,
            last_pts: times.last_pts.map(|pts| pts.0),
            last_dts: times.last_dts.map(|dts| dts.0),
        },
        decided: checkpoint::Decided {
            offset: last.at.0,
            pts: last.pts.0,
            mafd: detector.mafd,
            previous_kept: detector.cuts.previous_kept.map(|kept| kept.0),
            any_kept: detector.cuts.any_kept,
            final_through: final_through.map(|through| through.0),
        },
    }
}

/// What is read again. `None` if it says what no version of ours has written.
pub fn from_checkpoint(checkpoint: &Checkpoint) -> Option<DetectionStart> {
    let Checkpoint { read_from, program, clock, decoder, decided, .. } = checkpoint;
    let codec = [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Mpeg2, VideoCodec::Mpeg4]
        .into_iter()
        .find(|codec| codec.to_string() == program.codec)?;
    Some(DetectionStart {
        demux: DemuxStart {
            at: ByteOffset(read_from.offset),
            program: Program {
                number: program.number,
                video_pid: program.video_pid,
                codec,
                audio_pids: program.audio_pids.clone(),
            },
            framer: FramerStart {
                skip_bytes: read_from.skip_bytes,
                pts: read_from.pts.map(Ticks),
                dts: read_from.dts.map(Ticks),
            },
        },
        clock: Clock {
            start: Ticks(clock.start),
            last: Ticks(clock.last),
            shift: Ticks(clock.shift),
            previous: clock.previous.map(Ticks),
            step: Ticks(clock.step),
            ordered: clock.ordered,
            misordered: clock.misordered,
        },
        decoder: Settings {
            reorder: decoder.reorder,
            parameter_sets: from_hex(&decoder.parameter_sets)?,
        },
        times: BestEffort {
            faulty_pts: decoder.faulty_pts,
            faulty_dts: decoder.faulty_dts,
            last_pts: decoder.last_pts.map(Ticks),
            last_dts: decoder.last_dts.map(Ticks),
        },
        last: LastDecided { at: ByteOffset(decided.offset), pts: Ticks(decided.pts) },
        detector: DetectorState {
            mafd: decided.mafd,
            cuts: CutsState {
                previous_kept: decided.previous_kept.map(Ticks),
                any_kept: decided.any_kept,
            },
        },
        final_through: decided.final_through.map(ByteOffset),
    })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}
