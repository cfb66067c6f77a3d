//! JPEGs have the right colors, compared with ffmpeg's PNG of the same picture with an
//! explicit matrix.

use crate::common::cache::{Ffmpeg, INPUT};
use crate::common::oracle::KEPT;
use crate::common::{fixture, has, scenetap};
use image::RgbImage;
use serde_json::Value;

fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let squares: f64 =
        a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.as_raw().len() as f64 / squares.max(1e-9)).log10()
}

/// Compares the kept frames of `clip` with the pictures that ffmpeg shows with `select=SELECT` and
/// `scale=OPTIONS`. `arguments` are for `scan`.
fn compare(clip: &std::path::Path, select: &str, options: &str, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let scan = scenetap()
        .args(["scan", "--json", "--frames-dir"])
        .arg(folder.path())
        .arg(clip)
        .args(arguments)
        .output()
        .unwrap();
    assert!(scan.status.success(), "{}", String::from_utf8_lossy(&scan.stderr));
    let output = String::from_utf8(scan.stdout).unwrap();
    let entries: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!entries.is_empty());
    let raw = Ffmpeg::new()
        .args(["-threads", "1", "-i", INPUT, "-map", "0:v:0", "-fps_mode", "passthrough"])
        .args(["-vf", &format!("select={select},scale={options},format=rgb24")])
        .input(clip)
        .file("rawvideo");
    let raw = std::fs::read(raw).unwrap();
    let mut rest = &raw[..];
    for entry in entries {
        let ours = image::open(entry["path"].as_str().unwrap()).unwrap().to_rgb8();
        let (theirs, remaining) = rest.split_at(ours.as_raw().len());
        rest = remaining;
        let theirs = RgbImage::from_raw(ours.width(), ours.height(), theirs.to_vec()).unwrap();
        let found = psnr(&ours, &theirs);
        assert!(found >= 36.0, "{} {}: {found:.1} dB", clip.display(), entry["id"]);
    }
    assert!(rest.is_empty(), "ffmpeg keeps more frames");
}

#[test]
fn pictures_look_as_ffmpeg_shows_them_with_the_matrix_named() {
    if !has("ffmpeg") {
        return;
    }
    let accurate = "flags=accurate_rnd+full_chroma_int+bicubic";
    for (clip, matrix) in [
        ("bbb_h264_bframes_scenecut_360p24", "bt709"),
        ("bbb_hevc_main10_360p24_opengop", "bt709"),
        ("bbb_mpeg2_576i25_tff", "bt709"),
        // Untagged SD.
        ("sintel_fades_h264_360p24", "bt601"),
    ] {
        compare(&fixture(clip), KEPT, &format!("in_color_matrix={matrix}:{accurate}"), &[]);
    }
}

#[test]
fn an_untagged_hd_picture_is_bt709_and_full_range_is_full_range() {
    if !has("ffmpeg") {
        return;
    }
    for (name, size, range, matrix) in [
        ("hd", "1280x720", "tv", "bt709"),
        ("sd", "720x576", "tv", "bt601"),
        ("full", "640x360", "pc", "bt601"),
        ("uhd", "1920x1080", "tv", "bt2020"),
    ] {
        let tags: &[&str] = if matrix == "bt2020" { &["-colorspace", "bt2020nc"] } else { &[] };
        let scale = format!("scale=out_color_matrix={matrix}:out_range={range},format=yuv420p");
        let clip = Ffmpeg::new()
            .args(["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=5:duration=1")])
            .args(["-vf", &scale, "-c:v", "mpeg2video", "-q:v", "2", "-color_range", range])
            .args(tags)
            .file("mpegts");
        // MPEG-2 has no flag for the range, so full range is not signaled, as with many
        // cameras.
        let range = if name == "full" { "tv" } else { range };
        compare(
            &clip,
            KEPT,
            &format!(
                "in_color_matrix={matrix}:in_range={range}:flags=accurate_rnd+full_chroma_int+bicubic"
            ),
            &[],
        );
    }
}

#[test]
fn every_layout_of_planes_has_its_colors_scaled_or_not() {
    if !has("ffmpeg") {
        return;
    }
    for (format, size, range, matrix) in [
        ("yuvj420p", "640x360", "pc", "bt709"),
        ("yuv420p10le", "1280x720", "tv", "bt2020"),
        ("yuv422p", "320x182", "tv", "bt709"),
        ("yuv422p10le", "322x180", "tv", "bt601"),
        ("yuv444p", "322x182", "tv", "bt709"),
        ("yuv444p10le", "640x360", "pc", "bt601"),
        ("gray", "320x180", "pc", "bt601"),
    ] {
        let tag = match matrix {
            "bt601" => "smpte170m",
            "bt2020" => "bt2020nc",
            matrix => matrix,
        };
        let scale = format!("scale=out_color_matrix={matrix}:out_range={range},format={format}");
        let clip = Ffmpeg::new()
            .args(["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=5:duration=1")])
            .args(["-vf", &scale, "-c:v", "libx264", "-qp", "1", "-color_range", range])
            .args(["-colorspace", tag])
            .file("mpegts");
        let flags = "flags=accurate_rnd+full_chroma_int+full_chroma_inp+bicubic";
        let options = format!("in_color_matrix={matrix}:in_range={range}:{flags}");
        // In front of a filter that scores pictures, ffmpeg would convert most of these formats.
        compare(&clip, r"eq(n\,0)", &options, &[]);
        let options = format!("160:-1:{options}");
        compare(&clip, r"eq(n\,0)", &options, &["--frame-width", "160"]);
    }
}

#[test]
fn frames_are_scaled_down_to_the_width_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (width, expected) in [("320", (320, 180)), ("9999", (640, 360))] {
        let frames = folder.path().join(width);
        let scan = scenetap()
            .args(["scan", "--frame-width", width, "--frames-dir"])
            .arg(&frames)
            .arg(fixture("bbb_h264_zerolatency_360p30_gop2s"))
            .status()
            .unwrap();
        assert!(scan.success());
        let jpeg = image::open(frames.join("F0001.jpg")).unwrap();
        assert_eq!((jpeg.width(), jpeg.height()), expected);
    }
}
