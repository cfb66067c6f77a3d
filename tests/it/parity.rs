//! ffmpeg and scenetap side by side, on streams that are damaged and on real ones.
//! Needs ffmpeg; the real ones lie beside a checkout on the developers' machines.

use std::path::PathBuf;

use crate::common::oracle::{assert_alike, assert_parity, ffmpeg_nearest, ours};
use crate::common::{fixture, has};

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
    let Some(material) = scenetap_testkit::material() else { return };
    if !has("ffmpeg") {
        return;
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&material)
        .unwrap()
        .filter_map(|folder| std::fs::read_dir(folder.unwrap().path()).ok())
        .flatten()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "ts"))
        .collect();
    files.sort();
    let mut with_pictures = 0;
    for file in &files {
        let ours = ours(file);
        let theirs = ffmpeg_nearest(file, &ours);
        with_pictures += usize::from(!theirs.pictures.is_empty());
        assert_alike(&file.display().to_string(), &theirs, &ours);
    }
    assert!(with_pictures * 2 > files.len(), "ffmpeg finds pictures in {with_pictures} only");
}
