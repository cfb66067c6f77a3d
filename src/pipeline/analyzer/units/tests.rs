//! Tests the demuxer on synthetic streams with everything that real ones contain.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use scenetap_testkit::{Mux, Stream, section};

use super::*;
use crate::demux::Listing;
use crate::media::{AudioCodec, Ticks, VideoCodec};
use crate::ts::TS_PACKET_BYTES;

mod succession;

const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
const PMT_PID: u16 = 0x1000;

/// The streams of these tests: one program of video and audio.
trait OneProgram {
    fn with_tables() -> Self;
    fn tables(&mut self, video_pid: u16, stream_type: u8, version: u8);
    fn picture(&mut self, n: u8, bytes: usize);
}

impl OneProgram for Mux {
    /// Returns a stream that begins with the tables.
    fn with_tables() -> Self {
        let mut mux = Mux::default();
        mux.tables(VIDEO_PID, 0x1b, 0);
        mux
    }

    fn tables(&mut self, video_pid: u16, stream_type: u8, version: u8) {
        self.pat(&[(1, PMT_PID)]);
        let streams = [Stream::plain(stream_type, video_pid), Stream::plain(0x0f, AUDIO_PID)];
        self.pmt(PMT_PID, 1, version, &streams);
    }

    fn picture(&mut self, n: u8, bytes: usize) {
        self.pes(VIDEO_PID, 0xe0, u64::from(n) * 3_000, &picture(n, bytes));
    }
}

/// Returns an H.264 access unit with a delimiter and one slice, identified by `n`.
fn picture(n: u8, bytes: usize) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 1, if n == 0 { 0x65 } else { 0x41 }, 0x88];
    data.resize(bytes.max(12), n | 0x80);
    data
}

fn events(bytes: &[u8]) -> Vec<UnitEvent> {
    let mut reader = UnitReader::new(ProgramChoice::default());
    for (index, packet) in bytes.as_chunks::<TS_PACKET_BYTES>().0.iter().enumerate() {
        let at = ByteOffset((index * TS_PACKET_BYTES) as u64);
        reader.push(TsPacket::new(at, packet));
    }
    reader.finish();
    std::iter::from_fn(|| reader.pull()).collect()
}

fn units(bytes: &[u8]) -> Vec<AccessUnit> {
    let unit = |event| match event {
        UnitEvent::AccessUnit(unit) => Some(unit),
        _ => None,
    };
    events(bytes).into_iter().filter_map(unit).collect()
}

/// Returns the times and data of all access units.
fn contents(bytes: &[u8]) -> Vec<(Option<Ticks>, Vec<u8>)> {
    units(bytes).into_iter().map(|unit| (unit.pts, unit.data)).collect()
}

fn five_pictures() -> Mux {
    let mut mux = Mux::with_tables();
    for n in 0..5 {
        mux.picture(n, 50 + usize::from(n) * 200);
    }
    mux
}

fn expected() -> Vec<(Option<Ticks>, Vec<u8>)> {
    (0..5)
        .map(|n| (Some(Ticks(i64::from(n) * 3_000)), picture(n, 50 + usize::from(n) * 200)))
        .collect()
}

#[test]
fn pictures_come_out_with_their_times_and_the_packets_they_start_in() {
    let mux = five_pictures();
    assert_eq!(contents(&mux.bytes), expected());
    let places: Vec<_> = units(&mux.bytes).iter().map(|unit| unit.at.0 / 188).collect();
    assert_eq!(places, [2, 3, 5, 8, 12]);
}

#[test]
fn pictures_before_the_first_tables_come_through() {
    let mut mux = Mux::default();
    for n in 0..5 {
        mux.picture(n, 50 + usize::from(n) * 200);
        if n == 3 {
            mux.tables(VIDEO_PID, 0x1b, 0);
        }
    }
    assert_eq!(contents(&mux.bytes), expected());
}

#[test]
fn a_stream_without_any_tables_is_told_by_its_contents() {
    let mut mux = Mux::default();
    let mut first = vec![0, 0, 1, 0x67, 0x42, 0, 0, 1, 0x68, 0xce];
    first.extend(picture(0, 50));
    mux.pes(VIDEO_PID, 0xe0, 0, &first);
    mux.picture(1, 80);
    assert_eq!(contents(&mux.bytes).len(), 2);
}

#[test]
fn an_unknown_stream_type_beside_the_video_costs_nothing() {
    let mut mux = Mux::default();
    let [pmt_high, pmt_low] = (PMT_PID | 0xe000).to_be_bytes();
    mux.section(0, &section(0, 1, 0, &[0, 1, pmt_high, pmt_low]));
    let body = [0xe1, 0, 0xf0, 0, 0xfe, 0xe2, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0];
    mux.section(PMT_PID, &section(2, 1, 0, &body));
    for n in 0..5 {
        mux.picture(n, 50 + usize::from(n) * 200);
    }
    assert_eq!(contents(&mux.bytes), expected());
}

#[test]
fn a_packet_sent_twice_counts_once() {
    let mux = five_pictures();
    let twice: Vec<u8> =
        mux.bytes.chunks(188).flat_map(|packet| [packet, packet].concat()).collect();
    assert_eq!(contents(&twice), expected());
}

#[test]
fn a_gap_in_the_continuity_counter_is_told_and_the_rest_comes_through() {
    let mut bytes = five_pictures().bytes;
    // A packet in the middle of the third picture.
    bytes.drain(6 * 188..7 * 188);
    let found = events(&bytes);
    let gap = UnitEvent::Fault(StreamFault::Discontinuity(ByteOffset(6 * 188)));
    assert_eq!(found.iter().filter(|event| matches!(event, UnitEvent::Fault(_))).count(), 1);
    assert!(found.contains(&gap));
    let whole = contents(&bytes);
    assert_eq!((whole.len(), &whole[3..]), (5, &expected()[3..]));
}

#[test]
fn scrambled_packets_are_told_and_not_decoded() {
    let mut bytes = five_pictures().bytes;
    for packet in bytes.chunks_mut(188).skip(2) {
        packet[3] |= 0x80;
    }
    assert_eq!(contents(&bytes), expected(), "the flag alone means nothing");
    for packet in bytes.chunks_mut(188).skip(2) {
        let payload = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        packet[payload..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    }
    let found = events(&bytes);
    assert!(units(&bytes).is_empty());
    assert!(matches!(found.last(), Some(UnitEvent::Fault(StreamFault::Scrambled(_)))));
}

#[test]
fn a_table_in_a_packet_that_starts_none_is_not_read_and_makes_nothing_panic() {
    // Descriptors longer than the whole map, and a map without the video.
    for body in [&[0xe1, 0, 0xf3, 0xff][..], &[0xe1, 0, 0xf0, 0]] {
        let mut mux = five_pictures();
        let at = mux.bytes.len();
        mux.section(PMT_PID, &section(2, 1, 1, body));
        mux.bytes[at + 1] &= !0x40;
        mux.tables(0x200, 0x24, 2);
        let programs =
            events(&mux.bytes).into_iter().filter(|event| matches!(event, UnitEvent::Program(_)));
        assert_eq!((contents(&mux.bytes), programs.count()), (expected(), 2));
    }
    let mut mux = Mux::default();
    mux.tables(VIDEO_PID, 0x1b, 0);
    let pmt = mux.bytes.len() - 188 + 1;
    mux.bytes[pmt] &= !0x40;
    assert_eq!(events(&mux.bytes), [UnitEvent::NoVideo(NoVideo::NoTables)]);
}

#[test]
fn a_pes_header_whose_stuffing_goes_on_in_the_next_packet_is_no_part_of_the_picture() {
    let mut mux = Mux::with_tables();
    let mut header = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5 + 190, 0x21, 0, 1, 0, 1];
    header.extend([0xff; 190]);
    mux.packet(VIDEO_PID, true, &header[..184]);
    let data = picture(0, 50);
    mux.packet(VIDEO_PID, false, &[&header[184..], &data].concat());
    assert_eq!(contents(&mux.bytes), [(Some(Ticks(0)), data)]);
}

#[test]
fn tables_with_a_pointer_field_and_over_several_packets_are_read() {
    let mut mux = Mux::default();
    let [pmt_high, pmt_low] = (PMT_PID | 0xe000).to_be_bytes();
    mux.section(0, &section(0, 1, 0, &[0, 1, pmt_high, pmt_low]));
    // Forty streams of an unknown type, followed by the video.
    let mut body = vec![0xe1, 0, 0xf0, 0];
    (0..40).for_each(|n| body.extend([0xfe, 0xe3, n, 0xf0, 0]));
    body.extend([0x1b, 0xe1, 0, 0xf0, 0]);
    mux.payload(PMT_PID, &[&[5, 1, 2, 3, 4, 5][..], &section(2, 1, 0, &body)].concat());
    for n in 0..5 {
        mux.picture(n, 50 + usize::from(n) * 200);
    }
    assert_eq!(contents(&mux.bytes), expected());
}

/// Returns a stream of two programs; the second one is that of the other tests.
fn two_programs() -> Mux {
    let mut mux = Mux::default();
    mux.section(0, &section(0, 1, 0, &[0, 7, 0xf0, 0x01, 0, 1, 0xf0, 0x00]));
    mux.section(0x1001, &section(2, 7, 0, &[0xe2, 0, 0xf0, 0, 0x0f, 0xe2, 0, 0xf0, 0]));
    mux.section(PMT_PID, &section(2, 1, 0, &[0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0]));
    for n in 0..5 {
        mux.picture(n, 50 + usize::from(n) * 200);
    }
    mux
}

#[test]
fn of_several_programs_the_first_with_video_or_the_one_asked_for_is_followed() {
    let mux = two_programs();
    assert_eq!(contents(&mux.bytes), expected());
    let follow = |choice| {
        let mut reader = UnitReader::new(choice);
        for (n, packet) in mux.bytes.as_chunks::<TS_PACKET_BYTES>().0.iter().enumerate() {
            reader.push(TsPacket::new(ByteOffset((n * TS_PACKET_BYTES) as u64), packet));
        }
        reader.finish();
        let events: Vec<_> = std::iter::from_fn(|| reader.pull()).collect();
        (reader.program().map(|program| program.number), events)
    };
    assert_eq!(follow(ProgramChoice::Number(1)).0, Some(1));
    let (none, events) = follow(ProgramChoice::Number(7));
    assert_eq!(none, None);
    assert_eq!(events, [UnitEvent::NoVideo(NoVideo::NoneAmong { audio: 1, other: 0 })]);
    let (_, events) = follow(ProgramChoice::Number(9));
    assert_eq!(
        events,
        [UnitEvent::NoVideo(NoVideo::NoSuchProgram { wanted: 9, numbers: vec![7, 1] })]
    );
}

#[test]
fn a_listing_names_every_program_and_marks_the_stream_that_is_followed() {
    let mux = two_programs();
    let mut listing = Listing::new(ProgramChoice::default());
    for packet in mux.bytes.as_chunks::<TS_PACKET_BYTES>().0 {
        listing.push(TsPacket::new(ByteOffset(0), packet));
    }
    let programs = listing.programs();
    let streams: Vec<_> = programs
        .iter()
        .flat_map(|program| {
            program.streams.iter().map(|stream| (program.number, stream.pid, stream.followed))
        })
        .collect();
    assert_eq!(streams, [(7, 0x200, false), (1, VIDEO_PID, true)]);
}

#[test]
fn of_a_pid_that_a_table_names_twice_the_first_stream_is_meant() {
    let mut mux = Mux::default();
    mux.section(0, &section(0, 1, 0, &[0, 1, 0xf0, 0x00]));
    let body = [0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 0, 0xf0, 0];
    mux.section(PMT_PID, &section(2, 1, 0, &body));
    let mut listing = Listing::new(ProgramChoice::default());
    for packet in mux.bytes.as_chunks::<TS_PACKET_BYTES>().0 {
        listing.push(TsPacket::new(ByteOffset(0), packet));
    }
    assert_eq!(listing.programs()[0].streams.len(), 1);
}

#[test]
fn a_registration_descriptor_says_what_a_private_stream_type_carries() {
    let mut mux = Mux::default();
    mux.section(0, &section(0, 1, 0, &[0, 1, 0xf0, 0x00]));
    let body = [&[0xe1, 0, 0xf0, 0, 0x06, 0xe1, 0, 0xf0, 6, 5, 4][..], b"HEVC"].concat();
    mux.section(PMT_PID, &section(2, 1, 0, &body));
    mux.pes(VIDEO_PID, 0xe0, 0, &[0, 0, 1, 0x26, 1, 0x80, 9, 9]);
    assert_eq!(units(&mux.bytes)[0].codec, VideoCodec::Hevc);
}

#[test]
fn several_pictures_in_one_pes_packet_come_out_each_alone() {
    let mut mux = Mux::with_tables();
    mux.pes(VIDEO_PID, 0xe0, 77, &[picture(0, 50), picture(1, 400), picture(2, 30)].concat());
    mux.picture(3, 30);
    let found = contents(&mux.bytes);
    let times: Vec<_> = found.iter().map(|(pts, _)| *pts).collect();
    assert_eq!(times, [Some(Ticks(77)), None, None, Some(Ticks(9_000))]);
    assert_eq!(found[1].1, picture(1, 400));
}

#[test]
fn a_picture_over_several_pes_packets_is_one() {
    let mut mux = Mux::with_tables();
    let data = picture(0, 900);
    mux.pes(VIDEO_PID, 0xe0, 0, &data[..300]);
    mux.packet(VIDEO_PID, true, &[&[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0], &data[300..450]].concat());
    mux.pes(VIDEO_PID, 0xe0, 1, &data[450..]);
    mux.picture(1, 250);
    assert_eq!(
        contents(&mux.bytes),
        [(Some(Ticks(0)), data), (Some(Ticks(3_000)), picture(1, 250))]
    );
}

#[test]
fn pes_packets_of_stated_length_and_without_times_come_through() {
    let mut mux = Mux::with_tables();
    for n in 0..5 {
        let data = picture(n, 60);
        let mut bytes = vec![0, 0, 1, 0xe0, 0, 3 + 60, 0x80, 0, 0];
        bytes.extend(&data);
        mux.packet(VIDEO_PID, true, &bytes);
    }
    let expected: Vec<_> = (0..5).map(|n| (None, picture(n, 60))).collect();
    assert_eq!(contents(&mux.bytes), expected);
}

#[test]
fn an_adaptation_field_of_any_kind_leaves_the_payload_as_it_is() {
    // With PCR, OPCR, splice countdown, private data and extension; and without payload.
    let mut bytes = five_pictures().bytes;
    let at = 5 * TS_PACKET_BYTES;
    let counter = bytes[at + 3] & 0x0f;
    let mut alone = vec![0x47, 0x01, 0x00, 0x20 | (counter.wrapping_sub(1) & 0x0f), 183, 0x1f];
    alone.extend([1; 182]);
    bytes.splice(at..at, alone);
    assert_eq!(contents(&bytes), expected());
    assert!(!events(&bytes).iter().any(|event| matches!(event, UnitEvent::Fault(_))));
}

#[test]
fn null_packets_are_passed_over() {
    let null = [&[0x47, 0x1f, 0xff, 0x10][..], &[0xff; 184]].concat();
    let bytes: Vec<u8> = five_pictures()
        .bytes
        .chunks(TS_PACKET_BYTES)
        .flat_map(|packet| [packet, &null, &null].concat())
        .collect();
    assert_eq!(contents(&bytes), expected());
}

#[test]
fn a_gap_behind_a_discontinuity_indicator_is_no_damage() {
    let mut mux = five_pictures();
    mux.skip_packets(VIDEO_PID, 5);
    let at = mux.bytes.len();
    mux.picture(5, 100);
    // Add stuffing, so that an adaptation field holds the flag.
    mux.bytes[at + 5] |= 0x80;
    let found = events(&mux.bytes);
    assert!(!found.iter().any(|event| matches!(event, UnitEvent::Fault(_))));
    assert_eq!(contents(&mux.bytes).len(), 6);
}

#[test]
fn a_packet_received_with_errors_is_told_and_decoded_all_the_same() {
    let mut bytes = five_pictures().bytes;
    bytes[5 * TS_PACKET_BYTES + 1] |= 0x80;
    let fault =
        UnitEvent::Fault(StreamFault::TransportError(ByteOffset(5 * TS_PACKET_BYTES as u64)));
    assert!(events(&bytes).contains(&fault));
    assert_eq!(contents(&bytes), expected());
    let damaged: Vec<_> = units(&bytes).iter().map(|unit| unit.damaged).collect();
    assert_eq!(damaged, [false, false, true, false, false]);
}

#[test]
fn a_picture_that_misses_a_packet_is_marked_and_those_around_it_are_not() {
    let mut bytes = five_pictures().bytes;
    bytes.drain(6 * TS_PACKET_BYTES..7 * TS_PACKET_BYTES);
    let damaged: Vec<_> = units(&bytes).iter().map(|unit| unit.damaged).collect();
    assert_eq!(damaged, [false, false, true, false, false]);
}

#[test]
fn a_start_in_the_middle_of_a_picture_gives_every_later_one() {
    // Start after the tables, and one packet into the third picture.
    let bytes = five_pictures().bytes;
    let late = [&bytes[..2 * TS_PACKET_BYTES], &bytes[6 * TS_PACKET_BYTES..]].concat();
    assert_eq!(contents(&late), expected()[3..]);
}

#[test]
fn audio_shows_its_times() {
    let mut mux = Mux::with_tables();
    mux.pes(AUDIO_PID, 0xc0, 77, &[0xff; 30]);
    mux.picture(0, 20);
    let audio = events(&mux.bytes).into_iter().find_map(|event| match event {
        UnitEvent::Audio(pes) => Some(pes),
        _ => None,
    });
    let AudioPes { stream, pts, data, .. } = audio.unwrap();
    assert_eq!((stream.pid, stream.codec), (AUDIO_PID, AudioCodec::Aac));
    assert_eq!((pts, data), (Some(Ticks(77)), vec![0xff; 30]));
}

#[test]
fn audio_in_a_private_stream_is_told_by_its_bytes() {
    let codecs_with = |descriptors: &[u8], first: &[u8]| {
        let mut mux = Mux::default();
        mux.pat(&[(1, PMT_PID)]);
        let private = Stream { kind: 0x06, pid: AUDIO_PID, descriptors };
        mux.pmt(PMT_PID, 1, 0, &[Stream::plain(0x1b, VIDEO_PID), private]);
        mux.picture(0, 20);
        mux.pes(AUDIO_PID, 0xbd, 77, first);
        mux.pes(AUDIO_PID, 0xbd, 78, &[9; 30]);
        let codec = |event| match event {
            UnitEvent::Audio(pes) => Some(pes.stream.codec),
            _ => None,
        };
        events(&mux.bytes).into_iter().filter_map(codec).collect::<Vec<_>>()
    };
    let codecs = |first: &[u8]| codecs_with(&[], first);
    assert_eq!(codecs(&[0xff, 0xf1, 0x50, 0x80]), [AudioCodec::Aac; 2]);
    // A language descriptor, as ffmpeg writes with AAC in M2TS; a DVB subtitle descriptor.
    let language = b"\x0a\x04und\0";
    assert_eq!(codecs_with(language, &[0xff, 0xf1, 0x50, 0x80]), [AudioCodec::Aac; 2]);
    assert_eq!(codecs_with(b"\x59\x01\0", &[0xff, 0xf1, 0x50, 0x80]), []);
    assert_eq!(codecs(&[0xff, 0xfd, 0x50, 0x80]), [AudioCodec::Mpeg; 2]);
    assert_eq!(codecs(&[9; 30]), [], "other data");
}

#[test]
fn truncation_at_every_byte_loses_no_earlier_picture() {
    let mut mux = Mux::with_tables();
    let ends: Vec<_> = (0..5)
        .map(|n| {
            mux.picture(n, 50 + usize::from(n) * 200);
            mux.bytes.len()
        })
        .collect();
    for end in 0..=mux.bytes.len() {
        let found = contents(&mux.bytes[..end]);
        let whole = ends.iter().filter(|picture| **picture <= end).count();
        assert!((whole..=whole + 1).contains(&found.len()), "truncated to {end} bytes");
        assert_eq!(found[..whole], expected()[..whole], "truncated to {end} bytes");
    }
}

proptest! {
    /// Null packets, packets of other PIDs and damage to them, at any position.
    #[test]
    fn packets_of_other_pids_change_nothing(
        others in proptest::collection::vec((0_usize..20, 0x20_u16..0xff, any::<[u8; 184]>(), any::<u8>()), 0..40)
    ) {
        let mut packets: Vec<_> = five_pictures().bytes.chunks(188).map(<[u8]>::to_vec).collect();
        for (place, pid, payload, flags) in others {
            let [high, low] = pid.to_be_bytes();
            let mut packet = vec![0x47, high | (flags & 0xe0), low, flags];
            packet.extend(payload);
            packets.insert(place.min(packets.len()), packet);
        }
        prop_assert_eq!(contents(&packets.concat()), expected());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<[u8; 188]>(), 0..50)) {
        let mut stream = five_pictures().bytes;
        stream.extend(bytes.concat());
        stream.extend(five_pictures().bytes);
        events(&stream);
    }
}
