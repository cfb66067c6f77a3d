//! Contents of a release.

use std::path::{Path, PathBuf};
use std::process::Command;

use scenetap::media::VideoCodec;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the list in a line `NAME=a,b,c` of a script.
fn list(script: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(script).unwrap();
    let start = format!("{name}=");
    let line = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
    let mut list: Vec<String> = line.split(',').map(str::to_owned).collect();
    list.sort();
    list
}

#[test]
fn a_release_decodes_what_the_program_reads_and_nothing_else() {
    let mut expected: Vec<&str> = VideoCodec::ALL.iter().map(|codec| codec.as_str()).collect();
    // One decoder reads MPEG-1 and MPEG-2; FFmpeg's parser looks for the other one.
    expected.push("mpeg1video");
    expected.sort_unstable();
    assert_eq!(list(&repository().join("scripts/ffmpeg.sh"), "decoders"), expected);
}

#[test]
fn a_release_that_needs_libraries_of_the_host_is_refused() {
    let check = |glibc: &str| {
        let script = repository().join("scripts/dist-check.sh");
        let mut command = Command::new("bash");
        command.arg(script).args([env!("CARGO_BIN_EXE_scenetap"), glibc]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let error = check("2.31");
    assert!(error.contains(": links ") && error.contains("libavcodec.so"), "{error}");
    let error = check("2.3");
    assert!(error.contains("newer than GLIBC_2.3"), "{error}");
}

#[test]
fn ffmpegs_source_is_refused_unless_it_is_the_one_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let tarball = folder.path().join("ffmpeg.tar.xz");
    std::fs::write(&tarball, "not the source").unwrap();
    let build = |version: &str| {
        let mut command = Command::new("bash");
        command.arg(repository().join("scripts/ffmpeg.sh")).arg(folder.path().join("out"));
        command.env("FFMPEG_TARBALL", &tarball).env("FFMPEG_VERSION", version);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let error = build("7.1.5");
    assert!(error.starts_with("ffmpeg: the SHA-256 of ffmpeg_7.1.5.orig.tar.xz is "), "{error}");
    let error = build("1.0");
    assert_eq!(error, "ffmpeg: no digest for version 1.0 is listed in scripts/ffmpeg.sh\n");
}

#[test]
fn a_tag_that_is_not_the_version_is_refused() {
    let check = |tag: &str| {
        let mut command = Command::new("bash");
        let output = command.arg(repository().join("scripts/tagcheck.sh")).arg(tag).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, error) = check("v99.0.0");
    assert_eq!(status, Some(1));
    let version = env!("CARGO_PKG_VERSION");
    let start =
        format!("tagcheck: the tag is v99.0.0, and the version in Cargo.toml is {version}:");
    assert!(error.starts_with(&start), "{error}");
    // Between releases, the changelog calls the next one "Unreleased".
    let (status, error) = check(&format!("v{version}"));
    let changelog = std::fs::read_to_string(repository().join("CHANGELOG.md")).unwrap();
    let is_released = changelog.contains(&format!("\n## {version}"));
    assert_eq!(status, Some(if is_released { 0 } else { 1 }), "{error}");
}
