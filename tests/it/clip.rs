//! `clip`: a part of a recording that plays by itself, with every picture that was asked for.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use scenetap::ts::{Header, TS_PACKET_BYTES, discontinuity, pcr};
use serde_json::Value;

use crate::common::pictures::{Shown, by_ffmpeg, places, record, recordings};
use crate::common::random::{Random, seed};
use crate::common::scenetap;
use crate::common::studio::Studio;

fn clip(target: &Path, from: f64, to: f64, output: &Path, options: &[&str]) -> Output {
    let mut command = scenetap();
    command.arg("clip").arg(target).args(["--json", "-o"]).arg(output).args(options);
    command.args(["--from", &from.to_string(), "--to", &to.to_string()]).output().unwrap()
}

fn packets(bytes: &[u8]) -> impl Iterator<Item = &[u8; TS_PACKET_BYTES]> {
    assert!(bytes.len().is_multiple_of(TS_PACKET_BYTES));
    bytes.as_chunks().0.iter()
}

/// Returns the jumps of counters, and of clocks, that are not marked.
fn unmarked_jumps(bytes: &[u8]) -> (usize, usize) {
    let (mut counters, mut clocks) = (HashMap::new(), HashMap::new());
    let mut jumps = (0, 0);
    for packet in packets(bytes) {
        let header = Header::of(packet);
        let is_marked = discontinuity(packet);
        let counter = header.continuity_counter();
        let expected = |last: u8| (last + u8::from(header.has_payload())) & 0x0f;
        let last = counters.insert(header.pid(), counter);
        if last.is_some_and(|last| expected(last) != counter) && !is_marked {
            jumps.0 += 1;
        }
        if let Some(clock) = pcr(packet)
            && let Some(last) = clocks.insert(header.pid(), clock)
            && (clock < last || clock - last > 27_000_000)
            && !is_marked
        {
            jumps.1 += 1;
        }
    }
    jumps
}

/// Decodes a clip with ffmpeg. Returns the checksums of its pictures, and the errors.
fn decoded(file: &Path) -> (Vec<u32>, Vec<String>) {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "repeat+error", "-threads", "1", "-i"]).arg(file);
    command.args(["-map", "0:v:0", "-map", "0:a?", "-fps_mode", "passthrough"]);
    let output = command.args(["-hash", "crc32", "-f", "framehash", "-"]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let checksum = |line: &str| u32::from_str_radix(line.rsplit(',').next()?.trim(), 16).ok();
    let checksums = text.lines().filter_map(|line| checksum(line.strip_prefix("0,")?)).collect();
    let errors = String::from_utf8(output.stderr).unwrap();
    (checksums, errors.lines().map(str::to_owned).collect())
}

/// Returns whether ffmpeg reports this for leading pictures, whose references are before the clip.
fn is_of_leading_picture(error: &str) -> bool {
    ["mmco: unref short failure", "co located POCs unavailable", "Could not find ref with POC"]
        .iter()
        .any(|known| error.contains(known))
}

/// Returns the checksums of the pictures with times from `from` to `to`.
fn wanted(pictures: &[Shown], from: i64, to: i64) -> Vec<u32> {
    pictures
        .iter()
        .filter(|(time, _)| (from..=to).contains(time))
        .map(|picture| picture.1)
        .collect()
}

#[test]
fn a_clip_of_any_part_has_every_picture_that_was_asked_for_and_opens_without_an_error() {
    let Some(studio) = Studio::open() else { return };
    let mut random = Random::new(seed());
    for (name, file) in recordings(&studio) {
        let pictures = by_ffmpeg(&file);
        let folder = tempfile::tempdir().unwrap();
        let session = record(folder.path(), &file);
        let output = folder.path().join("clip.ts");
        let (first, last) = (pictures[0].0, pictures[pictures.len() - 1].0);
        for _ in 0..places(8) {
            let from = first + random.below((last - first) as u64) as i64;
            let to = (from + random.below(4 * 90_000) as i64).min(last);
            let seconds = |ticks: i64| ticks as f64 / 90_000.0;
            let context = format!("{name}, {} to {}", seconds(from), seconds(to));
            let made = clip(&session, seconds(from), seconds(to), &output, &[]);
            assert!(made.status.success(), "{context}: {}", String::from_utf8_lossy(&made.stderr));
            let line: Value = serde_json::from_slice(&made.stdout).unwrap();
            let lead = line["lead_seconds"].as_f64().unwrap();
            let begins = line["from"].as_f64().unwrap();
            assert!((begins + lead - seconds(from)).abs() < 1e-5 || lead == 0.0, "{context}");
            let bytes = fs::read(&output).unwrap();
            assert_eq!(line["bytes"], bytes.len());
            assert_eq!(unmarked_jumps(&bytes), (0, 0), "{context}");
            let restarts = line["clock_restarts"].as_u64().unwrap();
            let (found, mut errors) = decoded(&output);
            let has_open_gops = name.contains("open") || name.contains("restart");
            errors.retain(|error| !(has_open_gops && is_of_leading_picture(error)));
            // At a joint, ffmpeg has something to say about the recording as well.
            assert!(errors.is_empty() || restarts > 0, "{context}: {errors:#?}");
            let wanted = wanted(&pictures, from, to);
            let mut rest = found.iter();
            let has_all = wanted.iter().all(|picture| rest.any(|found| found == picture));
            assert!(has_all, "{context}: {wanted:x?} in {found:x?}");
        }
    }
}
