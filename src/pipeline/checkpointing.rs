//! Converts between [`DetectionStart`], used by detection, and [`Checkpoint`], the format
//! on disk.

use super::detection::{DetectionStart, LastDecided};
use crate::catalog::checkpoint::{self, Checkpoint};
use crate::decode::{BestEffort, Settings};
use crate::demux::{DemuxStart, FramerStart, Program};
use crate::detect::{CutsState, DetectorState};
use crate::media::{AudioCodec, AudioStream, ByteOffset, Ticks, VideoCodec};
use crate::recording::Fingerprint;
use crate::timeline::{AudioClock, Clock, Demuxed, Interpolation, Shared, StreamClock};

/// Returns the checkpoint to write. Before it is written, the bytes of `recording` must
/// be durable, and `frames_kept` frames listed in the index.
pub fn to_checkpoint(
    start: &DetectionStart,
    recording: Fingerprint,
    frames_kept: u64,
) -> Checkpoint {
    let DetectionStart {
        demux,
        clock,
        decoder,
        delay,
        times,
        last,
        detector,
        final_through,
        keyframe_at,
        is_damaged,
    } = start;
    Checkpoint {
        recording: checkpoint::Recording {
            bytes: recording.bytes,
            head_crc32: recording.head_crc32,
            tail_crc32: recording.tail_crc32,
        },
        frames_kept,
        read_from: checkpoint::ReadFrom {
            offset: demux.at.0,
            audio_offset: demux.from.0,
            keyframe_offset: keyframe_at.0,
            damaged: *is_damaged,
            skip_bytes: demux.framer.skip_bytes,
            pts: demux.framer.pts.map(|pts| pts.0),
            dts: demux.framer.dts.map(|dts| dts.0),
        },
        program: checkpoint::Program {
            number: demux.program.number,
            video_pid: demux.program.video_pid,
            codec: demux.program.codec.to_string(),
            audio: demux.program.audio.iter().map(audio_to).collect(),
        },
        clock: clock_to(clock),
        decoder: checkpoint::Decoder {
            reorder: decoder.reorder,
            delay: *delay,
            parameter_sets: to_hex(&decoder.parameter_sets),
            size: decoder.size,
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

/// Converts a checkpoint back. Returns `None` if it contains values that no version of
/// this program writes.
pub fn from_checkpoint(checkpoint: &Checkpoint) -> Option<DetectionStart> {
    let Checkpoint { read_from, program, clock, decoder, decided, .. } = checkpoint;
    let codec = [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Mpeg2, VideoCodec::Mpeg4]
        .into_iter()
        .find(|codec| codec.to_string() == program.codec)?;
    Some(DetectionStart {
        demux: DemuxStart {
            from: ByteOffset(read_from.audio_offset),
            at: ByteOffset(read_from.offset),
            program: Program {
                number: program.number,
                video_pid: program.video_pid,
                codec,
                audio: program.audio.iter().map(audio_from).collect::<Option<_>>()?,
            },
            framer: FramerStart {
                skip_bytes: read_from.skip_bytes,
                pts: read_from.pts.map(Ticks),
                dts: read_from.dts.map(Ticks),
            },
        },
        clock: clock_from(clock)?,
        decoder: Settings {
            reorder: decoder.reorder,
            parameter_sets: from_hex(&decoder.parameter_sets)?,
            size: decoder.size,
        },
        delay: decoder.delay,
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
        keyframe_at: ByteOffset(read_from.keyframe_offset),
        is_damaged: read_from.damaged,
    })
}

fn audio_to(audio: &AudioStream) -> (u16, String) {
    (audio.pid, audio.codec.as_str().to_owned())
}

fn audio_from((pid, codec): &(u16, String)) -> Option<AudioStream> {
    Some(AudioStream { pid: *pid, codec: AudioCodec::from_name(codec)? })
}

fn clock_to(clock: &Clock) -> checkpoint::Clock {
    let Clock { demuxed: Demuxed { last, seen, step, interpolation }, start, shared, video, audio } =
        clock;
    checkpoint::Clock {
        start: start.0,
        last: last.map(|last| last.0),
        seen: *seen,
        step: *step,
        interpolation: checkpoint::Interpolation {
            next: interpolation.next,
            guessed: interpolation.guessed,
            blank: interpolation.blank,
            reference_pts: interpolation.reference_pts,
            reference_duration: interpolation.reference_duration,
            checked: interpolation.checked,
            ordered: interpolation.ordered,
            misordered: interpolation.misordered,
            window: interpolation.window.to_vec(),
            errors: interpolation.errors.to_vec(),
        },
        offset_us: shared.offset,
        last_us: shared.last,
        video: stream_clock_to(video),
        audio: audio
            .iter()
            .map(|audio| checkpoint::AudioClock {
                pid: audio.pid,
                through: audio.through.0,
                next_pts: audio.next_pts,
                clock: stream_clock_to(&audio.clock),
            })
            .collect(),
    }
}

fn clock_from(clock: &checkpoint::Clock) -> Option<Clock> {
    let interpolation = &clock.interpolation;
    Some(Clock {
        demuxed: Demuxed {
            last: clock.last.map(Ticks),
            seen: clock.seen,
            step: clock.step,
            interpolation: Interpolation {
                next: interpolation.next,
                guessed: interpolation.guessed,
                blank: interpolation.blank,
                reference_pts: interpolation.reference_pts,
                reference_duration: interpolation.reference_duration,
                checked: interpolation.checked,
                ordered: interpolation.ordered,
                misordered: interpolation.misordered,
                window: interpolation.window.as_slice().try_into().ok()?,
                errors: interpolation.errors.as_slice().try_into().ok()?,
            },
        },
        start: Ticks(clock.start),
        shared: Shared { offset: clock.offset_us, last: clock.last_us },
        video: stream_clock_from(&clock.video),
        audio: clock
            .audio
            .iter()
            .map(|audio| AudioClock {
                pid: audio.pid,
                through: ByteOffset(audio.through),
                next_pts: audio.next_pts,
                clock: stream_clock_from(&audio.clock),
            })
            .collect(),
    })
}

fn stream_clock_to(clock: &StreamClock) -> checkpoint::StreamClock {
    let StreamClock { started, dts, reached, next } = *clock;
    checkpoint::StreamClock { started, dts_us: dts, reached_us: reached, next_us: next }
}

fn stream_clock_from(clock: &checkpoint::StreamClock) -> StreamClock {
    let checkpoint::StreamClock { started, dts_us, reached_us, next_us } = *clock;
    StreamClock { started, dts: dts_us, reached: reached_us, next: next_us }
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
