//! Compares ffmpeg and scenetap on damaged and on real streams. Needs ffmpeg; the real
//! streams are next to a checkout on the developers' machines.

use std::path::{Path, PathBuf};

use crate::common::oracle::{
    Verdicts, assert_alike, assert_parity, ffmpeg_nearest, is_reference, linked_ffmpeg, ours,
};
use crate::common::{fixture, has};
use scenetap_testkit::leave_out;

/// Reproducible damage: its name, and a function that writes each packet, damaged or not.
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

const DAMAGED: [&str; 3] =
    ["bbb_h264_bframes_scenecut_360p24", "bbb_hevc_360p24_gop2s", "bbb_mpeg2_576i25_tff"];

/// Calls `case` with the name of a fixture, the damage and the damaged file, for all of
/// them.
fn for_each_damaged(case: impl Fn(&str, &str, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    for name in DAMAGED {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for (damage_name, damage) in DAMAGES {
            let mut damaged = Vec::new();
            bytes.chunks(188).enumerate().for_each(|(n, packet)| damage(n, packet, &mut damaged));
            let file = folder.path().join("damaged.ts");
            std::fs::write(&file, damaged).unwrap();
            case(name, damage_name, &file);
        }
    }
}

/// From FFmpeg 6.1 on, the tool's results for these streams vary from run to run, so only
/// the golden verdicts below apply.
#[test]
fn damaged_streams_have_ffmpegs_pictures_times_and_scores() {
    if !has("ffmpeg") {
        return;
    }
    if !is_reference() {
        leave_out("the verdict of this ffmpeg on damage differs from run to run");
        return;
    }
    for_each_damaged(|name, damage_name, file| {
        assert_parity(&format!("{name}, {damage_name}"), file)
    });
}

/// Returns the path of the golden verdict on a damaged stream. Its name ends in `ffmpegN` if
/// FFmpeg conceals the damage differently from major version N on.
fn golden_of_damaged(name: &str, damage_name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/damaged");
    let stem = format!("{name}.{}", damage_name.replace(' ', "-"));
    let of_major = |major| folder.join(format!("{stem}.ffmpeg{major}.scores.csv"));
    let newest = (6..=linked_ffmpeg()).rev().map(of_major).find(|path| path.exists());
    newest.unwrap_or_else(|| folder.join(format!("{stem}.scores.csv")))
}

fn pictures_in(golden: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(golden)
        .unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
    text.lines().skip(1).map(str::to_owned).collect()
}

/// Writes the golden verdict of the installed ffmpeg: of 5.1 always, of a later version only if it
/// conceals the damage differently. If its runs differ for a picture, the score is that of one of
/// the runs (see [`ffmpeg_nearest`]).
fn write_golden(name: &str, damage_name: &str, file: &Path, ours: &Verdicts) {
    let mut path = golden_of_damaged(name, damage_name);
    if !is_reference() {
        // The verdict of an earlier FFmpeg still applies unless this one conceals differently.
        if pictures_in(&path) == ours.pictures {
            return;
        }
        let folder = path.parent().unwrap();
        let stem = format!("{name}.{}.ffmpeg{}", damage_name.replace(' ', "-"), linked_ffmpeg());
        path = folder.join(format!("{stem}.scores.csv"));
    }
    let lines = ffmpeg_nearest(file, ours, 60).pictures.join("\n");
    std::fs::write(&path, format!("pts_time,score\n{lines}\n")).unwrap();
}

/// `scripts/golden.sh` sets `SCENETAP_WRITE_GOLDEN`, which makes this test write the files.
#[test]
fn damaged_streams_have_the_golden_pictures_times_and_scores() {
    let write_files = std::env::var_os("SCENETAP_WRITE_GOLDEN").is_some();
    for_each_damaged(|name, damage_name, file| {
        let ours = ours(file);
        if write_files {
            write_golden(name, damage_name, file, &ours);
        }
        let golden = pictures_in(&golden_of_damaged(name, damage_name));
        let first = golden.iter().zip(&ours.pictures).position(|(theirs, ours)| theirs != ours);
        let differ = golden.iter().zip(&ours.pictures).filter(|(theirs, ours)| theirs != ours);
        assert_eq!((first, differ.count()), (None, 0), "{name}, {damage_name}");
        assert_eq!(ours.pictures.len(), golden.len(), "{name}, {damage_name}");
    });
}

#[test]
fn real_streams_have_ffmpegs_pictures_times_and_scores() {
    let Some(files) = scenetap_testkit::material_streams() else { return };
    if !has("ffmpeg") {
        return;
    }
    let mut with_pictures = 0;
    for file in &files {
        let ours = ours(file);
        let theirs = ffmpeg_nearest(file, &ours, 12);
        with_pictures += usize::from(!theirs.pictures.is_empty());
        assert_alike(&file.display().to_string(), &theirs, &ours);
    }
    assert!(with_pictures * 2 > files.len(), "ffmpeg finds pictures in {with_pictures} only");
}
