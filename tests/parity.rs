//! ffmpeg and scenetap side by side, on streams that are damaged and on real ones.
//! Needs ffmpeg; the real ones lie beside a checkout on the developers' machines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{fixture, has, scenetap};

/// Every picture's time and score, as ffmpeg says.
fn ffmpeg(file: &Path) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-threads", "1", "-i"])
        .arg(file)
        .args(["-map", "0:v:0", "-map", "0:a?", "-c:a", "copy"])
        .args(["-vf", "select=gte(scene\\,0),metadata=print", "-f", "null", "-"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut verdicts = Vec::new();
    let mut pts = 0.0;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once(" pts:") {
            pts =
                rest.split_whitespace().next().and_then(|pts| pts.parse().ok()).unwrap_or(f64::NAN);
        } else if let Some((_, score)) = line.split_once("lavfi.scene_score=") {
            verdicts.push(format!("{:.6},{score}", pts / 90_000.0));
        }
    }
    verdicts
}

/// The same, as we say.
fn ours(file: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores.csv");
    let scan =
        scenetap().args(["-q", "scan"]).arg(file).arg("--scores").arg(&scores).output().unwrap();
    assert!(scan.status.success(), "{}", String::from_utf8_lossy(&scan.stderr));
    std::fs::read_to_string(scores).unwrap().lines().skip(1).map(str::to_owned).collect()
}

fn assert_parity(what: &str, file: &Path) {
    let (theirs, ours) = (ffmpeg(file), ours(file));
    let first = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours);
    if let Some(picture) = first {
        panic!("{what}: picture {picture}: ffmpeg {}, scenetap {}", theirs[picture], ours[picture]);
    }
    assert_eq!(ours.len(), theirs.len(), "{what}: pictures");
}

/// Every way in which a stream gets damaged, repeatably: name, and which packets
/// become what.
type Damage = (&'static str, fn(usize, &[u8], &mut Vec<u8>));

const DAMAGES: [Damage; 6] = [
    ("packets lost", |n, packet, out| {
        if n % 397 != 200 {
            out.extend(packet);
        }
    }),
    ("bursts lost", |n, packet, out| {
        if n < 1000 || n % 1500 >= 20 {
            out.extend(packet);
        }
    }),
    ("bits flipped", |n, packet, out| {
        let mut packet = packet.to_vec();
        if n % 501 == 77 {
            packet[4 + n % 180] ^= 1 << (n % 8);
        }
        out.extend(packet);
    }),
    ("begun late", |n, packet, out| {
        if n >= 300 {
            out.extend(packet);
        }
    }),
    ("garbage between packets", |n, packet, out| {
        out.extend(packet);
        if n % 400 == 399 {
            out.extend((0..50).map(|k| (k * 7 + n) as u8));
        }
    }),
    ("tables late", |n, packet, out| {
        let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
        if n >= 400 || (pid != 0 && pid != 0x1000) {
            out.extend(packet);
        }
    }),
];

#[test]
fn damaged_streams_have_ffmpegs_pictures_times_and_scores() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["bbb_h264_bframes_scenecut_360p24", "bbb_hevc_360p24_gop2s", "bbb_mpeg2_576i25_tff"]
    {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for (what, damage) in DAMAGES {
            let mut damaged = Vec::new();
            bytes.chunks(188).enumerate().for_each(|(n, packet)| damage(n, packet, &mut damaged));
            let file = folder.path().join("damaged.ts");
            std::fs::write(&file, damaged).unwrap();
            assert_parity(&format!("{name}, {what}"), &file);
        }
    }
}

#[test]
fn real_streams_have_ffmpegs_pictures_times_and_scores() {
    /// `docs/PARITY.md` says why.
    const DIFFERENT: [&str; 2] =
        ["video__mpeg2video__t.ts", "test__segments__test-no-audio-segment.ts"];
    let material = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/material");
    let Ok(folders) = std::fs::read_dir(&material) else {
        eprintln!("skipped: there are no streams in {}", material.display());
        return;
    };
    if !has("ffmpeg") {
        return;
    }
    let mut files: Vec<PathBuf> = folders
        .filter_map(|folder| std::fs::read_dir(folder.unwrap().path()).ok())
        .flatten()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "ts"))
        .filter(|file| !DIFFERENT.iter().any(|name| file.ends_with(name)))
        .collect();
    files.sort();
    for file in files {
        assert_parity(&file.display().to_string(), &file);
    }
}
