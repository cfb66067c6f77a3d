//! Runs each operation of the script that mangles streams, which is stored with the real streams.

use std::process::{Command, Stdio};

use crate::common::has;
use crate::common::odd::{H264, HEVC, assert_as_ffmpeg, assert_as_plain, clip};
use scenetap_testkit::material_file;

/// Operations of `mangle.py`, which is stored with the real streams, each with the expected
/// verdict: ffmpeg's, or the plain stream's (docs/PARITY.md explains why).
const OPERATIONS: [(&str, bool); 24] = [
    ("noaud 0x100", true),
    ("nopts 3 0x100", true),
    ("onepes 15 0x100", true),
    ("peslen16 0x100", true),
    ("shift 95440", true),
    ("step 95000 1500", true),
    ("dup 5 0x100", false),
    ("lose 16 300 0x100", true),
    ("drop 0", true),
    ("remap 0x1000=0x10,0x100=0x11,0x101=0x12", true),
    ("nitfirst", true),
    ("twosect 0x1000", true),
    ("fakepmt 50 0x1001", true),
    ("stub 20", true),
    ("cc0 0x100", true),
    ("scrambit 0x100", true),
    ("nullafc 7", true),
    ("rai 0x100", true),
    ("damage 20 0x100", true),
    ("m2ts 0", false),
    ("m2ts 3", false),
    ("to204", true),
    ("to204 47", true),
    ("join 100", true),
];

#[test]
fn the_operations_of_the_script_that_mangles_streams() {
    let Some(script) = material_file("mangle.py") else { return };
    if !has("python3") || !has("ffmpeg") {
        return;
    }
    for name in [H264, HEVC] {
        let plain = clip(name);
        for (operation, is_ffmpegs) in OPERATIONS {
            let mut child = Command::new("python3")
                .arg(&script)
                .args(operation.split(' '))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let input = plain.as_flattened().to_vec();
            let feeding = std::thread::spawn(move || {
                std::io::Write::write_all(&mut stdin, &input).unwrap();
            });
            let output = child.wait_with_output().unwrap();
            feeding.join().unwrap();
            assert!(output.status.success(), "{operation}");
            let context = format!("{name}, {operation}");
            if is_ffmpegs {
                assert_as_ffmpeg(&context, &output.stdout);
            } else {
                assert_as_plain(&context, &output.stdout, plain.as_flattened());
            }
        }
    }
}
