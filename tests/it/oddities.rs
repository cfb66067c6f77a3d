//! Oddities of senders in the field, each in a synthetic or changed stream. The verdict must equal
//! ffmpeg's, or that of the same stream without the oddity.

use std::process::Command;

use crate::common::mangle;
use crate::common::odd::{
    AUDIO_PID, H264, HEVC, LIVE, PMT_PID, assert_as_ffmpeg, assert_as_plain, clip,
    video_after_audio,
};
use crate::common::oracle::assert_parity;
use crate::common::series::assert_is_detected;
use crate::common::ts::VIDEO_PID;
use crate::common::{Recorder, assert_golden, fixture, has, index, send_bytes};
use scenetap::demux::ProgramChoice;
use scenetap::media::{AccessUnit, ByteOffset};
use scenetap::pipeline::analyzer::units::{UnitEvent, UnitReader};
use scenetap::ts::{TS_PACKET_BYTES, TsPacket};
use scenetap_testkit::{Mux, Stream, section};

#[test]
fn packets_that_are_sent_twice_with_a_newer_pcr_count_once() {
    for name in [H264, HEVC] {
        let packets = clip(name);
        // ffmpeg decodes them twice: see docs/PARITY.md.
        let twice = mangle::send_twice(&packets, VIDEO_PID, 5);
        assert!(twice.len() > packets.len() + 100);
        assert_as_plain(name, twice.as_flattened(), packets.as_flattened());
    }
}

#[test]
fn fifteen_sixteen_and_seventeen_lost_packets() {
    // After sixteen, the continuity counter is the expected one.
    for name in [H264, HEVC] {
        for lost in [15, 16, 17] {
            let rest = mangle::lose(&clip(name), VIDEO_PID, 300, lost);
            assert_as_ffmpeg(&format!("{name}, {lost} lost"), rest.as_flattened());
        }
    }
}

#[test]
fn no_pat() {
    for name in [H264, HEVC] {
        for missing in [&[0][..], &[PMT_PID], &[0, PMT_PID]] {
            let mut packets = clip(name);
            packets.retain(|packet| !missing.contains(&mangle::pid(packet)));
            assert_as_ffmpeg(&format!("{name} without {missing:x?}"), packets.as_flattened());
        }
    }
}

#[test]
fn a_false_pmt_with_a_bad_crc() {
    let mut map = section(2, 1, 0, &[0xe1, 0, 0xf0, 0, 0x81, 0xe1, 1, 0xf0, 0]);
    let crc = map.len() - 4;
    map[crc..].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    let payload = [&[0], &map[..]].concat();
    for name in [H264, HEVC] {
        for pid in [PMT_PID, 0x1001] {
            let packets = mangle::insert(&clip(name), 50, |n| {
                mangle::packet(pid, true, 0x10 | n & 0x0f, &payload)
            });
            assert_as_ffmpeg(&format!("{name}, PID {pid:#x}"), packets.as_flattened());
        }
    }
}

#[test]
fn tables_on_pids_that_are_kept_for_others() {
    for name in [H264, HEVC] {
        let mut packets = clip(name);
        mangle::move_pids(&mut packets, &[(PMT_PID, 0x10), (VIDEO_PID, 0x11), (AUDIO_PID, 0x12)]);
        // The SDT of the clip is on PID 0x11, too.
        assert_as_ffmpeg(name, packets.as_flattened());
        let mut packets = clip(name);
        mangle::move_pids(&mut packets, &[(PMT_PID, 0x12)]);
        assert_as_ffmpeg(name, packets.as_flattened());
    }
}

#[test]
fn a_section_in_front_of_the_pmt_in_its_packet() {
    for name in [H264, HEVC] {
        let mut packets = clip(name);
        for packet in packets.iter_mut().filter(|packet| mangle::pid(packet) == PMT_PID) {
            let map = packet[5..150].to_vec();
            let private = b"\x03\xff\xff\xff\xc0\x30\x05hello";
            packet[4..].fill(0xff);
            packet[4..4 + private.len()].copy_from_slice(private);
            packet[4 + private.len()..][..map.len()].copy_from_slice(&map);
        }
        assert_as_ffmpeg(name, packets.as_flattened());
    }
}

#[test]
fn continuity_counters_that_stay_at_0() {
    for name in [H264, HEVC] {
        for pids in [&[VIDEO_PID][..], &[0, PMT_PID], &[0, PMT_PID, VIDEO_PID, AUDIO_PID]] {
            let mut packets = clip(name);
            for packet in packets.iter_mut().filter(|packet| pids.contains(&mangle::pid(packet))) {
                packet[3] &= 0xf0;
            }
            assert_as_ffmpeg(&format!("{name}, {pids:x?}"), packets.as_flattened());
        }
    }
}

#[test]
fn no_access_unit_delimiters_and_a_random_access_flag_on_every_picture() {
    for name in [H264, HEVC] {
        let mut packets = clip(name);
        let mut changed = 0;
        for packet in packets.iter_mut().filter(|packet| mangle::pid(packet) == VIDEO_PID) {
            if let Some(at) = mangle::pes_at(packet) {
                let data = at + 9 + usize::from(packet[at + 8]);
                let delimiter = (data..data + 4).find(|at| packet[*at] == 1).unwrap();
                assert!(matches!(packet[delimiter + 1], 0x09 | 0x46), "{name}");
                packet[delimiter..delimiter + 3].fill(0);
                if packet[3] & 0x20 != 0 && packet[4] > 0 {
                    packet[5] |= 0x40;
                }
                changed += 1;
            }
        }
        assert!(changed > 100);
        assert_as_ffmpeg(name, packets.as_flattened());
    }
}

/// Returns the access units of a clip.
fn access_units(name: &str) -> Vec<AccessUnit> {
    let mut reader = UnitReader::new(ProgramChoice::FirstWithVideo);
    for (n, packet) in clip(name).iter().enumerate() {
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

/// Muxes PES packets without a length, each with its PTS. Tables come every 25.
fn mux<'a>(stream_type: u8, pes: impl Iterator<Item = (i64, &'a [u8])>) -> Vec<u8> {
    let mut mux = Mux::default();
    for (n, (pts, data)) in pes.enumerate() {
        if n % 25 == 0 {
            mux.pat(&[(1, PMT_PID)]);
            mux.pmt(PMT_PID, 1, 0, &[Stream::plain(stream_type, VIDEO_PID)]);
        }
        mux.pes(VIDEO_PID, 0xe0, pts as u64, data);
    }
    mux.bytes
}

/// Splits an access unit of H.264 before each start code. Drops the delimiter.
fn nal_units(unit: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> = (0..unit.len().saturating_sub(3))
        .filter(|at| unit[*at..].starts_with(&[0, 0, 1]))
        .map(|at| at - usize::from(at > 0 && unit[at - 1] == 0))
        .collect();
    starts.push(unit.len());
    let units = starts.windows(2).map(|ends| &unit[ends[0]..ends[1]]);
    units.filter(|unit| !unit.windows(4).take(2).any(|start| start == [0, 0, 1, 9])).collect()
}

#[test]
fn one_nal_unit_in_each_pes_packet_and_parameter_sets_with_the_time_of_the_picture_before() {
    let units = access_units(LIVE);
    for late in [false, true] {
        let mut pes = Vec::new();
        let mut before = units[0].pts.unwrap().0;
        for unit in &units {
            let pts = unit.pts.unwrap().0;
            for nal in nal_units(&unit.data) {
                let is_slice =
                    matches!(nal[nal.iter().position(|b| *b == 1).unwrap() + 1] & 31, 1 | 5);
                pes.push((if late && !is_slice { before } else { pts }, nal));
            }
            before = pts;
        }
        assert!(pes.len() > units.len());
        assert_as_ffmpeg(&format!("late: {late}"), &mux(0x1b, pes.into_iter()));
    }
}

#[test]
fn fifteen_pictures_in_one_pes_packet() {
    for name in [LIVE, HEVC] {
        let stream_type = if name == HEVC { 0x24 } else { 0x1b };
        let units = access_units(name);
        let pes: Vec<_> = units
            .chunks(15)
            .map(|units| {
                let data = units.iter().map(|unit| &unit.data[..]).collect::<Vec<_>>().concat();
                (units[0].dts.unwrap().0, data)
            })
            .collect();
        let pes = pes.iter().map(|(pts, data)| (*pts, &data[..]));
        assert_as_ffmpeg(name, &mux(stream_type, pes));
    }
}

#[test]
fn times_on_some_pictures_only() {
    for name in [H264, HEVC] {
        for kept in [3, 10] {
            let mut packets = clip(name);
            let mut count = 0;
            for packet in packets.iter_mut().filter(|packet| mangle::pid(packet) == VIDEO_PID) {
                let Some(at) = mangle::pes_at(packet) else { continue };
                if count % kept != 0 {
                    packet[at + 7] &= 0x3f;
                    let end = at + 9 + usize::from(packet[at + 8]);
                    packet[at + 9..end].fill(0xff);
                }
                count += 1;
            }
            assert_as_ffmpeg(&format!("{name}, every {kept}th"), packets.as_flattened());
        }
    }
}

#[test]
fn a_pes_length_modulo_65536() {
    // Random access pictures of more than 64 KiB, in PES packets whose length is stated
    // modulo 65,536.
    let units = access_units(LIVE);
    let mut longer = 0;
    let pes: Vec<(i64, Vec<u8>)> = units
        .iter()
        .map(|unit| {
            let mut data = unit.data.clone();
            if unit.data.len() > 10_000 {
                // Filler data (H.264, 7.4.1: type 12).
                data.extend([0, 0, 1, 12]);
                data.resize(data.len() + 70_000, 0xff);
                data.push(0x80);
            }
            longer += usize::from(data.len() > 65_535);
            (unit.pts.unwrap().0, data)
        })
        .collect();
    assert!(longer > 1, "{longer}");
    let mut bytes = mux(0x1b, pes.iter().map(|(pts, data)| (*pts, &data[..])));
    let mut lengths = pes.iter().map(|(_, data)| (data.len() + 8) as u16);
    for packet in bytes.as_chunks_mut::<TS_PACKET_BYTES>().0 {
        if mangle::pid(packet) == VIDEO_PID
            && let Some(at) = mangle::pes_at(packet)
        {
            packet[at + 4..at + 6].copy_from_slice(&lengths.next().unwrap().to_be_bytes());
        }
    }
    assert_as_ffmpeg(LIVE, &bytes);
}

#[test]
fn clocks_that_wrap_restart_at_0_or_step_back_by_3_s() {
    const SECOND: i64 = 90_000;
    for name in [H264, HEVC] {
        // Wraps after a few seconds.
        let mut packets = clip(name);
        mangle::shift_times(&mut packets, 0, (1 << 33) - 5 * SECOND);
        assert_as_ffmpeg(&format!("{name} wraps"), packets.as_flattened());
        // The video continues before the audio: for the other order, see docs/PARITY.md.
        let joint = video_after_audio(&packets, 1_500);
        let start = mangle::times(&clip(name)[joint]).unwrap().1;
        for ticks in [-start, -3 * SECOND] {
            let mut packets = clip(name);
            mangle::shift_times(&mut packets, joint, ticks);
            assert_as_ffmpeg(&format!("{name} {ticks} at {joint}"), packets.as_flattened());
        }
    }
}

#[test]
fn packets_of_199_bytes_between_good_ones() {
    for name in [H264, HEVC] {
        let mut bytes = Vec::new();
        for (n, packet) in clip(name).iter().enumerate() {
            bytes.extend(packet);
            if n % 150 == 149 {
                bytes.extend([0x55; 11]);
            }
        }
        assert_as_ffmpeg(name, &bytes);
    }
}

#[test]
fn tables_whose_reserved_bits_are_0() {
    for name in [H264, HEVC] {
        let mut packets = clip(name);
        mangle::change_tables(&mut packets, |pid, section| {
            section[1] &= 0x8f;
            section[5] &= 0x3f;
            if pid == 0 {
                section[8..].chunks_exact_mut(4).for_each(|entry| entry[2] &= 0x1f);
            } else {
                section[8] &= 0x1f;
                section[10] &= 0x0f;
                mangle::each_stream(section, |stream| {
                    stream[1] &= 0x1f;
                    stream[3] &= 0x0f;
                });
            }
        });
        assert_as_ffmpeg(name, packets.as_flattened());
    }
}

#[test]
fn three_equal_first_decoding_times_and_a_late_first_presentation_time() {
    for name in [H264, HEVC] {
        let mut packets = clip(name);
        let mut first = None;
        let mut count = 0;
        for packet in packets.iter_mut().filter(|packet| mangle::pid(packet) == VIDEO_PID) {
            let Some((pts, dts)) = mangle::times(packet) else { continue };
            let at = mangle::pes_at(packet).unwrap();
            if packet[at + 7] >> 6 == 3 {
                let first = *first.get_or_insert(dts);
                mangle::set_time(packet, at + 14, first);
                mangle::set_time(
                    packet,
                    at + 9,
                    pts.max(first) + if count == 0 { 9_000 } else { 0 },
                );
                count += 1;
            }
            if count == 3 {
                break;
            }
        }
        assert_eq!(count, 3, "{name}");
        assert_as_ffmpeg(name, packets.as_flattened());
    }
}

#[test]
fn times_that_begin_at_3600_s_and_a_registration_of_hdmv() {
    for name in [H264, HEVC] {
        let mut packets = clip(name);
        mangle::shift_times(&mut packets, 0, 3_600 * 90_000);
        mangle::change_tables(&mut packets, |pid, section| {
            if pid == PMT_PID {
                section[11] += 6;
                section.splice(12..12, *b"\x05\x04HDMV");
            }
        });
        assert_as_ffmpeg(name, packets.as_flattened());
    }
}

#[test]
fn null_packets_with_an_adaptation_field_of_255_bytes() {
    for name in [H264, HEVC] {
        for control in [0x20, 0x30, 0x00] {
            let packets =
                mangle::insert(&clip(name), 7, |_| mangle::packet(0x1fff, false, control, &[255]));
            assert_as_ffmpeg(&format!("{name}, {control:#x}"), packets.as_flattened());
        }
    }
}

#[test]
fn a_sender_that_comes_back_and_repeats_what_it_has_sent() {
    if !has("ffmpeg") {
        return;
    }
    for name in [LIVE, HEVC] {
        let packets = mangle::packets(&std::fs::read(fixture(name)).unwrap());
        let cut = video_after_audio(&packets, packets.len() * 2 / 3);
        let from = video_after_audio(&packets, packets.len() / 3);
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::start(folder.path(), "s", &[]);
        // Torn in the next packet.
        send_bytes(&recorder.address, &packets.as_flattened()[..cut * TS_PACKET_BYTES + 100]);
        recorder.wait_for("has left");
        send_bytes(&recorder.address, packets[from..].as_flattened());
        recorder.wait_for("has left");
        let (recording, session) = (recorder.recording(), recorder.session.clone());
        recorder.end_by_signal();
        assert_is_detected(&session, &[]);
        assert_parity(name, &recording);
    }
}

#[test]
fn two_recordings_joined_of_which_the_second_begins_with_audio() {
    for name in [H264, HEVC] {
        let first = clip(name);
        let mut second = clip(LIVE);
        if name == HEVC {
            second = clip(HEVC);
        }
        // Video begins in it after more than a second of audio.
        let (mut audio, mut rest) = (Vec::new(), Vec::new());
        for packet in second {
            let is_early = mangle::pid(&packet) == AUDIO_PID && audio.len() < 150;
            if is_early {
                audio.push(packet)
            } else {
                rest.push(packet)
            };
        }
        let joined = [first, rest[..3].to_vec(), audio, rest[3..].to_vec()].concat();
        assert_as_ffmpeg(name, joined.as_flattened());
    }
}

#[test]
fn a_duration_of_years_in_a_header_is_damage_and_moves_no_picture() {
    if !has("ffmpeg") {
        return;
    }
    for (name, filter) in [(LIVE, "h264_metadata"), (HEVC, "hevc_metadata")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("years.ts");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(fixture(name))
            .args([
                "-map",
                "0",
                "-c",
                "copy",
                "-bsf:v",
                &format!("{filter}=tick_rate=1/2147483647"),
            ])
            .args(["-f", "mpegts"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let recorder = Recorder::start(folder.path(), "s", &["--once"]);
        send_bytes(&recorder.address, &std::fs::read(&path).unwrap());
        let session = recorder.session.clone();
        recorder.wait_for("implausible durations");
        assert!(recorder.end().0.success());
        assert_golden(name, "frames", &index(&session));
    }
}
