//! Streams with an oddity, and their expected verdicts.

use std::path::PathBuf;

use super::mangle::{self, Packet};
use super::oracle::{assert_alike, assert_parity, ours};
use super::ts::VIDEO_PID;
use super::{fixture, has};
use scenetap::ts::TS_PACKET_BYTES;

pub const H264: &str = "bbb_h264_bframes_scenecut_360p24";
pub const HEVC: &str = "bbb_hevc_360p24_gop2s";
/// A stream without B pictures.
pub const LIVE: &str = "bbb_h264_zerolatency_360p30_gop2s";

pub const AUDIO_PID: u16 = 0x101;
pub const PMT_PID: u16 = 0x1000;

/// Packets of a clip that are used: about ten seconds.
pub const PACKETS: usize = 3_000;

pub fn clip(name: &str) -> Vec<Packet> {
    let stream = std::fs::read(fixture(name)).unwrap();
    mangle::packets(&stream[..stream.len().min(PACKETS * TS_PACKET_BYTES)])
}

/// A stream in a file.
pub struct Odd {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

pub fn odd(bytes: &[u8]) -> Odd {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.ts");
    std::fs::write(&path, bytes).unwrap();
    Odd { _folder: folder, path }
}

/// Returns the index of a packet that begins a picture right after audio, searching from packet
/// `from` on. If the clock jumps there, the video shows it before the audio.
pub fn video_after_audio(packets: &[Packet], from: usize) -> usize {
    let after_audio = (from..).filter(|n| mangle::pid(&packets[*n - 1]) == AUDIO_PID);
    let mut video = after_audio.filter(|n| mangle::pid(&packets[*n]) == VIDEO_PID);
    video.find(|n| mangle::pes_at(&packets[*n]).is_some()).unwrap()
}

/// Asserts that a stream has ffmpeg's verdict, and more than one picture.
pub fn assert_as_ffmpeg(context: &str, bytes: &[u8]) {
    if !has("ffmpeg") {
        return;
    }
    let odd = odd(bytes);
    assert_parity(context, &odd.path);
    assert!(ours(&odd.path).pictures.len() > 50, "{context}");
}

/// Asserts that a stream has the verdict of another one.
pub fn assert_as_plain(context: &str, bytes: &[u8], plain: &[u8]) {
    let (found, expected) = (ours(&odd(bytes).path), ours(&odd(plain).path));
    assert!(expected.pictures.len() > 50, "{context}");
    assert_alike(context, &expected, &found);
}
