//! Tests tables that list another video stream than the followed one.

use super::*;
use crate::demux::VideoStream;

const OTHER_PID: u16 = 0x200;
const H264: u8 = 0x1b;
const HEVC: u8 = 0x24;

/// Ticks between two pictures.
const STEP: u64 = 3_600;

/// Pictures from one key frame of the other stream to the next.
const GOP: u32 = 10;

/// Returns picture `n` of the other stream.
fn other(n: u32) -> Vec<u8> {
    let kind = if n.is_multiple_of(GOP) { 0x65 } else { 0x41 };
    let mut data = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 1, kind, 0x88, 0x55];
    data.extend(n.to_be_bytes().map(|byte| byte | 0x80));
    data.resize(300, 0x99);
    data
}

/// A stream with two video streams, each of which sends pictures part of the time.
struct TwoVideos {
    mux: Mux,
    time: u64,
    other: u32,
}

impl TwoVideos {
    fn new() -> Self {
        let mux = Mux::with_tables();
        TwoVideos { mux, time: 1_000_000, other: 3 }
    }

    fn names(&mut self, pid: u16, stream_type: u8) {
        self.mux.tables(pid, stream_type, 0);
    }

    /// Sends `pictures` of the first stream, of the other one, or of both.
    fn send(&mut self, pictures: u32, first: bool, other: bool) {
        for _ in 0..pictures {
            if first {
                self.mux.pes(VIDEO_PID, 0xe0, self.time, &picture(0, 250));
            }
            if other {
                self.mux.pes(OTHER_PID, 0xe0, self.time, &super::succession::other(self.other));
                self.other += 1;
            }
            self.time += STEP;
        }
    }

    /// Returns how many pictures of the first stream come out, and the other pictures.
    fn found(&self) -> (usize, Vec<Vec<u8>>) {
        let units = units(&self.mux.bytes);
        let first = units.iter().take_while(|unit| unit.data == picture(0, 250)).count();
        (first, units.into_iter().skip(first).map(|unit| unit.data).collect())
    }
}

/// Returns the other stream's pictures `from..to`.
fn others(from: u32, to: u32) -> Vec<Vec<u8>> {
    (from..to).map(other).collect()
}

#[test]
fn tables_that_name_another_video_change_nothing_while_the_first_goes_on() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, true);
    stream.names(OTHER_PID, H264);
    stream.send(300, true, true);
    assert_eq!(stream.found(), (305, Vec::new()));
}

#[test]
fn video_that_has_stopped_is_followed_by_the_other_from_its_first_key_frame() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, true);
    stream.names(OTHER_PID, H264);
    stream.send(20, true, true);
    // The other stream continues with picture 28; its next random access point is picture 30.
    stream.send(200, false, true);
    assert_eq!(stream.found(), (25, others(30, 228)));
}

#[test]
fn tables_that_name_the_other_video_late_lose_nothing_of_it() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, true);
    stream.send(200, false, true);
    stream.names(OTHER_PID, H264);
    stream.send(20, false, true);
    assert_eq!(stream.found(), (5, others(10, 228)));
}

#[test]
fn video_that_pauses_for_less_than_five_seconds_stays() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, true);
    stream.names(OTHER_PID, H264);
    stream.send(120, false, true);
    stream.send(5, true, true);
    assert_eq!(stream.found(), (10, Vec::new()));
}

#[test]
fn a_clock_that_jumps_or_goes_back_is_no_stop() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, true);
    stream.names(OTHER_PID, H264);
    for time in [900_000, 100_000_000, 5_000, 8_589_000_000, 7_000] {
        stream.time = time;
        stream.send(1, false, true);
    }
    stream.send(5, true, true);
    assert_eq!(stream.found(), (10, Vec::new()));
}

#[test]
fn at_the_end_video_has_stopped_if_the_other_goes_on_for_half_a_second() {
    for (pictures, expected) in [(8, Vec::new()), (18, others(30, 41))] {
        let mut stream = TwoVideos::new();
        stream.send(20, true, true);
        stream.names(OTHER_PID, H264);
        stream.send(pictures, false, true);
        assert_eq!(stream.found(), (20, expected), "{pictures} pictures");
    }
}

#[test]
fn without_times_the_bytes_decide() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, true);
    stream.names(OTHER_PID, H264);
    let from = stream.mux.bytes.len();
    while stream.mux.bytes.len() - from < (16 << 20) + 1000 {
        let header = [0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0];
        stream.mux.payload(OTHER_PID, &[&header[..], &other(stream.other)].concat());
        stream.other += 1;
    }
    let (first, found) = stream.found();
    assert_eq!((first, found.first()), (5, Some(&other(10))));
    assert_eq!(found.len(), (stream.other - 10) as usize);
}

#[test]
fn a_stream_that_is_named_and_never_begins_is_not_waited_for() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, false);
    stream.names(OTHER_PID, H264);
    let filler = [0xff; 184];
    for _ in 0..(17 << 20) / TS_PACKET_BYTES {
        stream.mux.packet(0x300, false, &filler);
    }
    stream.send(5, true, false);
    assert_eq!(stream.found(), (10, Vec::new()));
}

#[test]
fn with_a_program_chosen_its_own_table_counts_alone() {
    let mut mux = Mux::default();
    mux.pat(&[(1, PMT_PID), (2, 0x1001)]);
    mux.pmt(PMT_PID, 1, 0, &[Stream::plain(H264, VIDEO_PID)]);
    mux.pmt(0x1001, 2, 0, &[Stream::plain(H264, OTHER_PID)]);
    let mut stream = TwoVideos { mux, ..TwoVideos::new() };
    stream.send(5, true, true);
    // A table of the other program that lists the first video, and one on the wrong PID.
    stream.mux.pmt(0x1001, 2, 1, &[Stream::plain(H264, 0x333)]);
    stream.mux.pmt(0x1001, 1, 1, &[Stream::plain(H264, OTHER_PID)]);
    stream.send(5, true, true);
    stream.send(150, false, true);
    for choice in [ProgramChoice::Number(1), ProgramChoice::FirstWithVideo] {
        let mut reader = UnitReader::new(choice);
        for (n, packet) in stream.mux.bytes.as_chunks::<TS_PACKET_BYTES>().0.iter().enumerate() {
            reader.push(TsPacket::new(ByteOffset((n * TS_PACKET_BYTES) as u64), packet));
        }
        reader.finish();
        assert_eq!(reader.program().map(|program| program.video_pid), Some(VIDEO_PID));
    }
}

#[test]
fn a_table_is_read_for_its_bytes_and_not_for_its_version() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, false);
    // The version stays 0.
    stream.names(OTHER_PID, H264);
    stream.send(150, false, true);
    assert_eq!(stream.found().0, 5);
    assert_eq!(stream.found().1.len(), 143);
}

#[test]
fn another_codec_on_the_same_pid_is_followed_where_its_parameter_sets_stand() {
    let mut stream = TwoVideos::new();
    stream.send(5, true, false);
    stream.names(VIDEO_PID, HEVC);
    // The table is wrong: H.264 continues.
    stream.send(20, true, false);
    assert_eq!(stream.found(), (25, Vec::new()));
    let parameter_sets = [0, 0, 1, 0x40, 1, 0x0c, 0, 0, 1, 0x42, 1, 1, 0, 0, 1, 0x44, 1, 0xc1];
    let key = [&parameter_sets[..], &[0, 0, 1, 0x26, 1, 0x80, 9, 9]].concat();
    stream.mux.pes(VIDEO_PID, 0xe0, stream.time, &key);
    stream.mux.pes(VIDEO_PID, 0xe0, stream.time + STEP, &[0, 0, 1, 0x02, 1, 0x80, 9, 9]);
    let codecs: Vec<_> = units(&stream.mux.bytes).iter().map(|unit| unit.codec).collect();
    assert_eq!(codecs[..25], [VideoCodec::H264; 25]);
    assert_eq!(codecs[25..], [VideoCodec::Hevc; 2]);
}

#[test]
fn video_on_a_pid_that_has_carried_audio_is_followed() {
    // The streams swap their PIDs, and the video moves to that of the audio.
    for audio_pid in [VIDEO_PID, 0x102] {
        let mut mux = Mux::with_tables();
        for n in 0..5 {
            mux.pes(VIDEO_PID, 0xe0, n * STEP, &picture(0, 250));
            mux.pes(AUDIO_PID, 0xc0, n * STEP, &[0xff; 90]);
        }
        mux.pat(&[(1, PMT_PID)]);
        let streams = [Stream::plain(H264, AUDIO_PID), Stream::plain(0x0f, audio_pid)];
        mux.pmt(PMT_PID, 1, 1, &streams);
        for n in 0..200 {
            mux.pes(AUDIO_PID, 0xe0, u64::from(n) * STEP, &other(n));
            mux.pes(audio_pid, 0xc0, u64::from(n) * STEP, &[0xff; 90]);
        }
        let found = units(&mux.bytes);
        let last: Vec<_> =
            found.iter().rev().take(200).rev().map(|unit| unit.data.clone()).collect();
        assert!(last == others(0, 200), "audio on {audio_pid:#x}: {} pictures", found.len());
    }
}

#[test]
fn a_table_that_is_sent_once_counts_after_a_restart() {
    let mut mux = Mux::default();
    mux.pat(&[(1, PMT_PID), (2, 0x1001)]);
    mux.pmt(PMT_PID, 1, 0, &[Stream::plain(H264, VIDEO_PID)]);
    let mut stream = TwoVideos { mux, ..TwoVideos::new() };
    for n in 0..300 {
        stream.send(1, n < 40, true);
        if n % 10 == 0 {
            stream.mux.pat(&[(1, PMT_PID), (2, 0x1001)]);
            stream.mux.pmt(0x1001, 2, 0, &[Stream::plain(H264, OTHER_PID)]);
        }
    }
    assert_eq!(assert_read_again(&stream.mux.bytes), 40);
}

#[test]
fn read_again_from_any_picture_the_same_stream_is_followed() {
    let mut stream = TwoVideos::new();
    stream.send(15, true, true);
    stream.names(OTHER_PID, H264);
    stream.send(15, true, true);
    stream.send(160, false, true);
    stream.send(40, true, true);
    // The first 30, and those of the other stream from its random access point 40 on.
    assert_eq!(assert_read_again(&stream.mux.bytes), 30 + 233 - 40);
    let mut reader = UnitReader::new(ProgramChoice::FirstWithVideo);
    let all = read_from(&mut reader, &stream.mux.bytes, 0);
    for (n, unit) in all.iter().enumerate() {
        let program = reader.program_at(unit.at).unwrap();
        let codec = VideoCodec::H264;
        let named = VideoStream { program: 1, map_pid: PMT_PID, pid: OTHER_PID, codec };
        assert_eq!(program.video_pid, if n < 30 { VIDEO_PID } else { OTHER_PID }, "picture {n}");
        assert_eq!(program.successor, (15..30).contains(&n).then_some(named), "picture {n}");
    }
}

/// Returns the access units from packet `from` on.
fn read_from(reader: &mut UnitReader, bytes: &[u8], from: usize) -> Vec<AccessUnit> {
    for (n, packet) in bytes.as_chunks::<TS_PACKET_BYTES>().0.iter().enumerate().skip(from) {
        reader.push(TsPacket::new(ByteOffset((n * TS_PACKET_BYTES) as u64), packet));
    }
    reader.finish();
    std::iter::from_fn(|| reader.pull())
        .filter_map(|event| match event {
            UnitEvent::AccessUnit(unit) => Some(unit),
            _ => None,
        })
        .collect()
}

/// Asserts that a reader that resumes at any access unit finds the rest of them. Returns how many
/// there are.
fn assert_read_again(bytes: &[u8]) -> usize {
    let choice = ProgramChoice::FirstWithVideo;
    let mut reader = UnitReader::new(choice);
    let all = read_from(&mut reader, bytes, 0);
    for (n, unit) in all.iter().enumerate() {
        let program = reader.program_at(unit.at).unwrap().clone();
        let start = FramerStart { skip_bytes: unit.skip_bytes, pts: unit.pts, dts: unit.dts };
        let mut resumed = UnitReader::resume(choice, program, unit.at, start);
        let again = read_from(&mut resumed, bytes, unit.at.0 as usize / TS_PACKET_BYTES);
        assert!(again == all[n..], "from picture {n}: {} pictures", again.len());
    }
    all.len()
}
