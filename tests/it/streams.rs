//! Every kind of stream that ffmpeg decodes has ffmpeg's pictures, times and scores. ffmpeg's
//! encoders produce the streams; without ffmpeg, these tests are skipped. Streams that the encoders
//! cannot produce are generated here (PAFF), or covered in `docs/PARITY.md` by real streams (MPEG-2
//! field pictures).

use std::path::Path;

use crate::common::oracle::{assert_parity, ours};
use crate::common::paff::{self, Coding};
use crate::common::studio::{AAC, MPEG2, Studio, X264, X265};
use crate::common::{Recorder, fixture, has, judgement, scenetap, send_bytes};

#[test]
fn h264_progressive() {
    let Some(studio) = Studio::open() else { return };
    studio.assert_coded("no B pictures", &format!("{X264} -tune zerolatency"));
    studio
        .assert_coded("pyramid", &format!("{X264} -bf 3 -x264-params b-pyramid=normal:b-adapt=0"));
    studio.assert_coded("slices", &format!("{X264} -bf 2 -slices 4"));
}

#[test]
fn h264_interlaced() {
    let Some(studio) = Studio::open() else { return };
    studio.assert_coded("MBAFF", &format!("{X264} -flags +ildct+ilme -x264opts tff=1:bframes=2"));
}

#[test]
fn h264_paff() {
    let Some(studio) = Studio::open() else { return };
    const CODINGS: [Coding; 3] = [Coding::Frame, Coding::Fields, Coding::FieldsRepeated];
    for (name, coding) in [
        ("fields", (|n| CODINGS[1 + n as usize % 2]) as fn(u32) -> Coding),
        ("frames and fields in turn", |n| CODINGS[n as usize % 3]),
        ("fields in the middle", |n| if n % 7 < 4 { Coding::Frame } else { Coding::Fields }),
    ] {
        let path = studio.path("paff");
        std::fs::write(&path, paff::stream(60, coding)).unwrap();
        assert_parity(name, &path);
    }
}

#[test]
fn mpeg2_pulldown_flags() {
    let Some(studio) = Studio::open() else { return };
    let film = studio.encode("film", "24000/1001", "160x120", &format!("{MPEG2} -bf 2"), "");
    let path = studio.path("pulldown");
    let bytes = with_pulldown(&std::fs::read(film).unwrap());
    std::fs::write(&path, bytes).unwrap();
    assert_parity("3:2 pulldown", &path);
}

/// Sets `repeat_first_field` and `top_field_first` in MPEG-2 picture coding extensions
/// like a film of 24 pictures in 60 fields per second, and clears `progressive_sequence`.
fn with_pulldown(stream: &[u8]) -> Vec<u8> {
    const START_CODE: [u8; 4] = [0, 0, 1, 0xb5];
    const SEQUENCE: u8 = 1;
    const PICTURE: u8 = 8;
    let mut stream = stream.to_vec();
    let mut count = 0;
    for packet in stream.chunks_exact_mut(188) {
        for at in 4..packet.len() - 9 {
            if packet[at..at + 4] != START_CODE {
                continue;
            }
            match packet[at + 4] >> 4 {
                SEQUENCE => packet[at + 5] &= !0x08,
                PICTURE => {
                    let flags = [0x82, 0x80, 0x02, 0x00][count % 4];
                    packet[at + 7] = (packet[at + 7] & !0x82) | flags;
                    count += 1;
                }
                _ => {}
            }
        }
    }
    assert!(count > 20, "{count} pictures with flags");
    stream
}

#[test]
fn h264_open_gop() {
    let Some(studio) = Studio::open() else { return };
    let open = "-bf 3 -g 12 -x264-params open-gop=1:b-adapt=0:scenecut=0";
    studio.assert_coded("open GOP", &format!("{X264} {open}"));
}

#[test]
fn h264_intra_refresh_without_key_frames() {
    let Some(studio) = Studio::open() else { return };
    let refresh = "-bf 0 -g 12 -x264-params intra-refresh=1:keyint=12";
    studio.assert_coded("intra refresh", &format!("{X264} {refresh}"));
}

#[test]
fn h264_parameter_sets_that_change() {
    let Some(studio) = Studio::open() else { return };
    let one = studio.encode("one", "25", "160x120", &format!("{X264} -bf 2"), "");
    let two = "-bf 0 -profile:v baseline -x264-params ref=4";
    let two = studio.encode("two", "25", "160x120", &format!("{X264} {two}"), "");
    assert_parity("new SPS and PPS", &studio.join("both", &[&one, &two]));
}

#[test]
fn h264_422_and_high_10() {
    let Some(studio) = Studio::open() else { return };
    let x264 = "-c:v libx264 -preset veryfast -g 30 -bf 2";
    studio.assert_coded("4:2:2", &format!("{x264} -pix_fmt yuv422p"));
    studio.assert_coded("High 10", &format!("{x264} -pix_fmt yuv420p10"));
    studio.assert_coded("4:2:2 10", &format!("{x264} -pix_fmt yuv422p10"));
}

#[test]
fn hevc_of_8_and_10_bits() {
    let Some(studio) = Studio::open() else { return };
    studio.assert_coded("8 bits", &format!("{X265}:bframes=3:keyint=20 -pix_fmt yuv420p"));
    studio.assert_coded("10 bits", &format!("{X265}:bframes=3:keyint=20 -pix_fmt yuv420p10"));
}

#[test]
fn hevc_open_gop_with_leading_pictures() {
    let Some(studio) = Studio::open() else { return };
    let open = format!("{X265}:open-gop=1:bframes=4:keyint=10:min-keyint=10:scenecut=0");
    let whole = studio.encode("whole", "25", "160x120", &format!("{open} -pix_fmt yuv420p"), "");
    assert_parity("open GOP", &whole);
    // From the middle on: the pictures before the first CRA cannot be decoded.
    let bytes = std::fs::read(&whole).unwrap();
    let late = studio.path("late");
    std::fs::write(&late, &bytes[bytes.len() / 188 / 2 * 188..]).unwrap();
    assert_parity("begun late", &late);
}

#[test]
fn mpeg2_frame_pictures_open_and_closed_gop() {
    let Some(studio) = Studio::open() else { return };
    studio.assert_coded("open GOP", &format!("{MPEG2} -bf 2"));
    studio.assert_coded(
        "closed GOP",
        &format!("{MPEG2} -bf 2 -flags +cgop -sc_threshold 1000000000"),
    );
    let interlaced = format!("{MPEG2} -bf 2 -flags +ildct+ilme");
    let path = studio.encode_as("interlaced", "setfield=tff", "25", "160x120", &interlaced, "");
    assert_parity("interlaced", &path);
}

#[test]
fn mpeg2_422_and_mpeg1() {
    let Some(studio) = Studio::open() else { return };
    studio.assert_coded("4:2:2", &format!("{MPEG2} -bf 2 -pix_fmt yuv422p"));
    studio.assert_coded("MPEG-1", "-c:v mpeg1video -qscale:v 3 -g 12 -bf 2");
}

#[test]
fn sizes_that_are_cropped_and_odd() {
    let Some(studio) = Studio::open() else { return };
    let cropped = studio.encode("cropped", "25", "154x90", &format!("{X264} -bf 2"), "");
    assert_parity("154x90", &cropped);
    let odd = "-c:v libx264 -preset veryfast -pix_fmt yuv444p";
    assert_parity("161x121", &studio.encode("odd", "25", "161x121", odd, ""));
}

#[test]
fn a_size_and_a_pixel_format_that_change() {
    let Some(studio) = Studio::open() else { return };
    let small = studio.encode("small", "25", "160x120", &format!("{X264} -bf 2"), AAC);
    let large = studio.encode("large", "25", "192x108", &format!("{X264} -bf 2"), AAC);
    assert_parity("size", &studio.join("sizes", &[&small, &large, &small]));
    let other = "-c:v libx264 -preset veryfast -pix_fmt yuv422p -bf 2";
    let other = studio.encode("other", "25", "160x120", other, AAC);
    assert_parity("pixel format", &studio.join("formats", &[&small, &other]));
}

#[test]
fn formats_that_ffmpeg_converts_before_it_scores() {
    let Some(studio) = Studio::open() else { return };
    studio.assert_coded("RGB", "-c:v libx264rgb -preset veryfast -crf 20 -bf 2");
    studio.assert_coded("gray", "-c:v libx264 -preset veryfast -pix_fmt gray -bf 2");
}

#[test]
fn rates_of_whole_and_broken_numbers_with_audio() {
    let Some(studio) = Studio::open() else { return };
    for rate in ["24000/1001", "30000/1001", "50", "60000/1001"] {
        let name = rate.replace('/', "-");
        assert_parity(rate, &studio.encode(&name, rate, "160x120", &format!("{X264} -bf 2"), AAC));
    }
}

#[test]
fn audio_in_private_streams_without_a_descriptor() {
    let Some(studio) = Studio::open() else { return };
    let private = format!("{X264} -mpegts_m2ts_mode 1");
    for audio in [AAC, "-c:a mp2"] {
        let packets_of_192 = studio.encode("private", "25", "160x120", &private, audio);
        assert_parity(audio, &packets_of_192);
    }
}

#[test]
fn a_rate_that_varies() {
    let Some(studio) = Studio::open() else { return };
    let variable = "-fps_mode vfr -bsf:v setts=ts=TS+5*mod(N\\,7)*N -bf 0";
    studio.assert_coded("variable rate", &format!("{X264} {variable}"));
}

#[test]
fn a_clock_that_wraps() {
    let Some(studio) = Studio::open() else { return };
    // 2^33 / 90000 s = 95443.717 s; the muxer begins 1.4 s after the given offset.
    let wraps = format!("{X264} -bf 3 -output_ts_offset 95441");
    assert_parity("wrap", &studio.encode("wrap", "25", "160x120", &wraps, AAC));
}

#[test]
fn an_encoder_that_starts_again_with_and_without_audio() {
    let Some(studio) = Studio::open() else { return };
    for audio in ["", AAC] {
        let early = studio.encode("early", "25", "160x120", &format!("{X264} -bf 2"), audio);
        let late = format!("{X264} -bf 2 -output_ts_offset 500");
        let late = studio.encode("late", "25", "160x120", &late, audio);
        assert_parity("forward", &studio.join("forward", &[&early, &late]));
        assert_parity("again", &studio.join("again", &[&early, &early]));
    }
}

#[test]
fn packets_of_192_and_204_bytes_in_scan() {
    let folder = tempfile::tempdir().unwrap();
    let clip = fixture("bbb_h264_resolution_change");
    let bytes = std::fs::read(&clip).unwrap();
    let expected = ours(&clip);
    for (before, after) in [(4, 0), (0, 16)] {
        let path = folder.path().join("padded.m2ts");
        let padded: Vec<u8> = bytes
            .chunks_exact(188)
            .flat_map(|packet| [&vec![0x11; before][..], packet, &vec![0x22; after]].concat())
            .collect();
        std::fs::write(&path, padded).unwrap();
        assert_eq!(ours(&path), expected, "{} bytes", 188 + before + after);
        if has("ffmpeg") {
            assert_parity("padded", &path);
        }
    }
}

#[test]
fn a_start_in_the_middle_of_a_packet_and_a_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(fixture("bbb_h264_resolution_change")).unwrap();
    let path = folder.path().join("torn.ts");
    let expected = ours(&fixture("bbb_h264_resolution_change"));
    std::fs::write(&path, [&[0x11; 77][..], &clip].concat()).unwrap();
    assert_eq!(ours(&path), expected);
    std::fs::write(&path, &clip[..clip.len() - 100]).unwrap();
    let (torn, expected) = (ours(&path).pictures, expected.pictures);
    // The last picture is torn, and earlier pictures refer to it.
    let whole = expected.len() - 6;
    assert_eq!((torn.len(), &torn[..whole]), (expected.len(), &expected[..whole]));
}

#[test]
fn frames_decoded_with_errors_are_marked() {
    let folder = tempfile::tempdir().unwrap();
    for (name, min_marked) in [
        ("bbb_h264_zerolatency_360p30_gop2s", 5),
        ("bbb_hevc_360p24_gop2s", 5),
        ("bbb_mpeg2_576i25_tff", 5),
    ] {
        let clip = fixture(name);
        let path = folder.path().join("damaged.ts");
        std::fs::write(&path, without_packets(&clip, 199)).unwrap();
        assert_eq!(marked(&clip), 0, "{name}, whole");
        let marked = marked(&path);
        assert!(marked >= min_marked, "{name}, damaged: {marked} pictures are marked");
    }
}

/// Returns the clip without one packet in `lost`.
fn without_packets(clip: &Path, lost: usize) -> Vec<u8> {
    std::fs::read(clip)
        .unwrap()
        .chunks(188)
        .enumerate()
        .filter(|(n, _)| n % lost != lost - 49)
        .flat_map(|(_, packet)| packet.to_vec())
        .collect()
}

#[test]
fn a_damaged_stream_gives_the_same_live_and_scanned_and_with_any_jobs() {
    const EVERY: [&str; 2] = ["--max-frame-interval", "0.4"];
    let folder = tempfile::tempdir().unwrap();
    for name in ["bbb_h264_bframes_scenecut_360p24", "bbb_hevc_360p24_gop2s"] {
        let bytes = without_packets(&fixture(name), 97);
        let path = folder.path().join("damaged.ts");
        std::fs::write(&path, &bytes).unwrap();
        let scanned = |jobs: &str| {
            let mut scan = scenetap();
            scan.args(["-q", "scan", "--json", "--jobs", jobs]).args(EVERY).arg(&path);
            let output = scan.output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .map(|line| judgement(&serde_json::from_str(line).unwrap()))
                .collect::<Vec<_>>()
        };
        let sequential = scanned("1");
        assert!(sequential.len() > 40, "{name}");
        assert_eq!(scanned("3"), sequential, "{name}");
        let options = [&["--once"][..], &EVERY].concat();
        let recorder = Recorder::start(folder.path(), name, &options);
        send_bytes(&recorder.address, &bytes);
        let (status, live) = recorder.end();
        assert!(status.success());
        assert_eq!(live.iter().map(judgement).collect::<Vec<_>>(), sequential, "{name}");
    }
}

/// Returns the number of pictures marked as damaged. The interval is shorter than any
/// picture, so all are kept.
fn marked(file: &Path) -> usize {
    let output = scenetap()
        .args(["-q", "scan", "--json", "--max-frame-interval", "0.000001"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().matches(r#""damaged":true"#).count()
}
