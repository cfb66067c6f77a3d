//! Streams encoded with ffmpeg.

use std::path::{Path, PathBuf};

use super::cache::Ffmpeg;
use super::has;
use super::oracle::assert_parity;

pub const X264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30";
pub const X265: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=error:pools=1";
pub const MPEG2: &str = "-c:v mpeg2video -qscale:v 3 -g 12";
pub const AAC: &str = "-c:a aac";

/// A folder for streams; `None` without ffmpeg.
pub struct Studio(tempfile::TempDir);

impl Studio {
    pub fn open() -> Option<Self> {
        has("ffmpeg").then(|| Studio(tempfile::tempdir().unwrap()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.ts"))
    }

    /// Encodes three shots with `video` (and `audio`, if not empty) at `rate`.
    pub fn encode(&self, name: &str, rate: &str, size: &str, video: &str, audio: &str) -> PathBuf {
        self.encode_as(name, "null", rate, size, video, audio)
    }

    /// As [`Studio::encode`], with a `filter` in front.
    pub fn encode_as(
        &self,
        name: &str,
        filter: &str,
        rate: &str,
        size: &str,
        video: &str,
        audio: &str,
    ) -> PathBuf {
        let shots = format!(
            "testsrc2=s={size}:r={rate}:d=1,format=yuv444p,setsar=1[a];\
             mandelbrot=s={size}:r={rate},trim=duration=1,format=yuv444p,setsar=1[b];\
             smptebars=s={size}:r={rate}:d=1,rotate=t*0.3,format=yuv444p,setsar=1[c];\
             [a][b][c]concat=n=3,{filter}[v]"
        );
        let mut command =
            Ffmpeg::new().args(["-f", "lavfi", "-i", "sine=sample_rate=48000:duration=3"]);
        command = command.args(["-filter_complex", &shots, "-map", "[v]"]);
        if !audio.is_empty() {
            command = command.args(["-map", "0:a"]).args(audio.split_whitespace());
        }
        self.make(name, command.args(["-threads", "1"]).args(video.split_whitespace()))
    }

    /// Returns the output of an ffmpeg command line.
    pub fn make(&self, name: &str, command: Ffmpeg) -> PathBuf {
        let path = self.path(name);
        std::fs::copy(command.file("mpegts"), &path).unwrap();
        path
    }

    pub fn assert_coded(&self, name: &str, video: &str) {
        assert_parity(name, &self.encode(name, "25", "160x120", video, ""));
    }

    /// Concatenates files, like a sender that restarts.
    pub fn join(&self, name: &str, parts: &[&Path]) -> PathBuf {
        let path = self.path(name);
        let bytes: Vec<u8> = parts.iter().flat_map(|part| std::fs::read(part).unwrap()).collect();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}
