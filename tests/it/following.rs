//! Selection of the video when the tables list another one.

use crate::common::mangle;
use crate::common::odd::{AUDIO_PID, H264, LIVE, PMT_PID, odd};
use crate::common::oracle::{assert_alike, assert_parity, ours, ours_with};
use crate::common::series::assert_is_detected;
use crate::common::ts::VIDEO_PID;
use crate::common::{Recorder, fixture, has, index, send_bytes};
use scenetap::ts::TS_PACKET_BYTES;
use scenetap_testkit::section;

#[test]
fn a_video_that_is_at_another_pid_in_a_later_recording_is_followed_live_scanned_and_restarted() {
    let first = std::fs::read(fixture(H264)).unwrap();
    let mut second = mangle::packets(&std::fs::read(fixture(LIVE)).unwrap());
    mangle::move_pids(&mut second, &[(PMT_PID, 0x1100), (VIDEO_PID, 0x200), (AUDIO_PID, 0x201)]);
    let joined = [&first[..], second.as_flattened()].concat();
    // As if both were on the same PID.
    let plain = [first.clone(), std::fs::read(fixture(LIVE)).unwrap()].concat();
    let (found, expected) = (ours(&odd(&joined).path), ours(&odd(&plain).path));
    assert_eq!(found.pictures.len(), expected.pictures.len());
    let scores = |list: &[String]| -> Vec<String> {
        list.iter().map(|line| line.split_once(',').unwrap().1.to_owned()).collect()
    };
    assert_eq!(scores(&found.frames), scores(&expected.frames));

    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &["--sync-interval", "0.02"]);
    // Ends, is killed and continues within the packets held until the first video has stopped.
    for end in [first.len() + 200_000, first.len() + 400_000, joined.len()] {
        let from = std::fs::metadata(recorder.recording()).unwrap().len() as usize;
        let end = end / TS_PACKET_BYTES * TS_PACKET_BYTES;
        send_bytes(&recorder.address, &joined[from..end]);
        recorder.wait_for("has left");
        recorder.wait_for_bytes(end);
    }
    let log =
        recorder.wait_for("the video on PID 0x100 has stopped; going on with h264 on PID 0x200");
    assert!(log.contains("program 1"), "{log}");
    let session = recorder.session.clone();
    recorder.end_by_signal();
    assert_is_detected(&session, &[]);
    assert!(index(&session).len() > 20);
}

#[test]
fn a_map_of_another_program_changes_nothing_while_the_video_goes_on() {
    let packets = mangle::packets(&std::fs::read(fixture(H264)).unwrap());
    let other = mangle::packets(&std::fs::read(fixture(LIVE)).unwrap());
    // The other program's video continues in parallel, and its PMT arrives on this program's PID.
    let mut mixed = Vec::new();
    let mut others = other.iter().filter(|packet| mangle::pid(packet) == VIDEO_PID).cycle();
    let map = section(2, 1, 0, &[0xe2, 0, 0xf0, 0, 0x1b, 0xe2, 0, 0xf0, 0]);
    let map = [&[0], &map[..]].concat();
    for (n, packet) in packets.iter().enumerate() {
        let mut packet = *packet;
        if mangle::pid(&packet) == PMT_PID && n > 1_000 {
            packet[4..].fill(0xff);
            packet[4..4 + map.len()].copy_from_slice(&map);
        }
        mixed.push(packet);
        if n % 2 == 0 {
            let mut packet = *others.next().unwrap();
            mangle::set_pid(&mut packet, 0x200);
            mixed.push(packet);
        }
    }
    let odd = odd(mixed.as_flattened());
    let plain = ours(&fixture(H264));
    assert_alike("beside another video", &plain, &ours(&odd.path));
    assert_alike("the program was asked for", &plain, &ours_with(&odd.path, &["--program", "1"]));
    if has("ffmpeg") {
        assert_parity("a map of another program", &odd.path);
    }
}
