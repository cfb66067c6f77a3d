//! `clip`: a part of a recording that plays by itself and contains every requested picture.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use scenetap::ts::{Header, PacketSize, TS_PACKET_BYTES, discontinuity, pcr};
use serde_json::Value;

use crate::common::pictures::{Shown, by_ffmpeg, places, record, recordings};
use crate::common::random::{Random, seed};
use crate::common::studio::{AAC, Studio, X264};
use crate::common::ts::framed;
use crate::common::{Recorder, fixture, has, scenetap};

fn clip(target: &Path, from: f64, to: f64, output: &Path, options: &[&str]) -> Output {
    let mut command = scenetap();
    command.arg("clip").arg(target).args(["--json", "-o"]).arg(output).args(options);
    command.args(["--from", &from.to_string(), "--to", &to.to_string()]).output().unwrap()
}

fn packets(bytes: &[u8]) -> impl Iterator<Item = &[u8; TS_PACKET_BYTES]> {
    assert!(bytes.len().is_multiple_of(TS_PACKET_BYTES));
    bytes.as_chunks().0.iter()
}

/// Returns the number of unmarked jumps of counters and of clocks.
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

/// Returns whether this is an error of ffmpeg about leading pictures, whose references are before the
/// clip.
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
            // At a joint, ffmpeg reports errors for the recording as well.
            assert!(errors.is_empty() || restarts > 0, "{context}: {errors:#?}");
            let wanted = wanted(&pictures, from, to);
            let mut rest = found.iter();
            let has_all = wanted.iter().all(|picture| rest.any(|found| found == picture));
            assert!(has_all, "{context}: {wanted:x?} in {found:x?}");
        }
    }
}

#[test]
fn packets_of_192_and_204_bytes_stay_so_if_asked_for() {
    let plain = fs::read(fixture("bbb_hevc_360p24_gop2s")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("plain.ts"), &plain).unwrap();
    let cut = |source: &str, options: &[&str]| {
        let made = clip(&path(source), 3.0, 7.0, &path("clip.ts"), options);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::read(path("clip.ts")).unwrap()
    };
    let expected = cut("plain.ts", &[]);
    assert!(expected == cut("plain.ts", &["--as-is"]));
    for size in [PacketSize::Timed, PacketSize::Parity] {
        let stream = framed(&plain, size, 7);
        fs::write(path("framed.ts"), &stream).unwrap();
        assert!(expected == cut("framed.ts", &[]), "{size:?}");
        let as_is = cut("framed.ts", &["--as-is"]);
        let step = size.bytes();
        assert_eq!(as_is.len() / step, expected.len() / TS_PACKET_BYTES, "{size:?}");
        // Each packet is one of the stream, including its additional bytes.
        let known: std::collections::HashSet<&[u8]> = stream.chunks(step).collect();
        for (packet, expected) in as_is.chunks(step).zip(expected.chunks(TS_PACKET_BYTES)) {
            assert!(known.contains(packet), "{size:?}");
            assert!(&packet[size.leading_bytes()..][..TS_PACKET_BYTES] == expected, "{size:?}");
        }
    }
}

#[test]
fn a_clip_of_a_recording_that_grows_ends_with_its_last_whole_picture() {
    if !has("ffmpeg") {
        return;
    }
    let bytes = fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    // Ends within a packet, and within a picture.
    let part = &bytes[..bytes.len() / 2 + 77];
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), "s", &[]);
    let mut sender = TcpStream::connect(&recorder.address).unwrap();
    sender.write_all(part).unwrap();
    recorder.wait_for_bytes(part.len() / 188 * 188);
    let output = folder.path().join("clip.ts");
    let mut command = scenetap();
    command.arg("clip").arg(&recorder.session).args(["--from=-3.5", "--json", "-o"]).arg(&output);
    let made = command.output().unwrap();
    let line: Value = serde_json::from_slice(&made.stdout).unwrap();
    let length = line["to"].as_f64().unwrap() - line["from"].as_f64().unwrap();
    assert!((3.5..6.0).contains(&length), "{line}");
    let (pictures, errors) = decoded(&output);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(pictures.len(), (length * 30.0).round() as usize + 1, "{line}");
    drop((sender, recorder));
}

#[test]
fn a_recording_that_is_deleted_meanwhile_is_an_error_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.ts");
    let bytes = fs::read(fixture("bbb_mpeg2_576i25_tff")).unwrap();
    fs::write(&source, bytes.repeat(4)).unwrap();
    // A FIFO, so that the clip waits until it is read.
    let fifo = folder.path().join("fifo.ts");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = scenetap();
    command.arg("clip").arg(&source).arg("-o").arg(&fifo).stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    let mut reader = fs::File::open(&fifo).unwrap();
    let mut first = [0];
    reader.read_exact(&mut first).unwrap();
    // Like retention, which frees the space immediately.
    fs::File::options().write(true).open(&source).unwrap().set_len(0).unwrap();
    fs::remove_file(&source).unwrap();
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    let ended = running.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let reason = String::from_utf8(ended.stderr).unwrap();
    assert!(reason.contains("deleted or shortened meanwhile"), "{reason}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the FIFO");
}

#[test]
fn what_cannot_be_cut_is_one_line_and_the_older_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("clip.ts");
    fs::write(&output, "older").unwrap();
    let file = fixture("bbb_mpeg2_576i25_tff");
    let failed = |from: f64, to: f64, options: &[&str], status: i32, text: &str| {
        let made = clip(&file, from, to, &output, options);
        let reason = String::from_utf8(made.stderr).unwrap();
        assert_eq!(made.status.code(), Some(status), "{reason}");
        assert!(reason.trim_end().lines().last().unwrap().contains(text), "{reason}");
        assert_eq!(fs::read(&output).unwrap(), b"older");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    };
    failed(500.0, 501.0, &[], 1, "nothing at 500.000000 s: the newest picture is at 10.970022 s");
    failed(5.0, 4.0, &[], 2, "--to is before --from");
    failed(5.0, 6.0, &["--program", "77"], 1, "no program 77");
    let not_ts = folder.path().join("clip.ts");
    let made = clip(&not_ts, 0.0, 1.0, &not_ts, &[]);
    assert_eq!(made.status.code(), Some(1));
    assert!(String::from_utf8(made.stderr).unwrap().contains("not MPEG-TS"));
}

#[test]
fn packets_stay_as_they_are_but_where_a_clock_starts_again_that_is_marked() {
    let Some(studio) = Studio::open() else { return };
    let one = studio.encode("one", "25", "160x120", &format!("{X264} -bf 2"), AAC);
    let twice = studio.join("twice", &[&one, &one]);
    let recording = fs::read(&twice).unwrap();
    let known: std::collections::HashSet<_> = packets(&recording).collect();
    let output = studio.path("clip");
    let made = clip(&twice, 1.5, 4.5, &output, &[]);
    let line: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(line["clock_restarts"], 1);
    let bytes = fs::read(&output).unwrap();
    let tables: Vec<u16> = packets(&bytes).take(2).map(|packet| Header::of(packet).pid()).collect();
    assert_eq!(tables, [0, 0x1000], "PAT and PMT are in front");
    let changed: Vec<_> = packets(&bytes).filter(|packet| !known.contains(packet)).collect();
    assert!(changed.iter().all(|packet| discontinuity(packet)), "{changed:x?}");
    let clocks = changed.iter().filter(|packet| pcr(packet).is_some()).count();
    // At most one per PID, and one of them with the new clock.
    assert!((1..=5).contains(&changed.len()) && clocks == 1, "{changed:x?}");
    assert_eq!(unmarked_jumps(&bytes), (0, 0));
    assert_ne!(unmarked_jumps(&recording), (0, 0), "the recording has them");
}

#[test]
fn an_index_that_is_damaged_or_of_another_recording_leads_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let [session, other] = ["bbb_h264_bframes_scenecut_360p24", "sintel_fades_h264_360p24"]
        .map(|name| record(&folder.path().join(name), &fixture(name)));
    let output = folder.path().join("clip.ts");
    let cut = |from: f64, to: f64| {
        let made = clip(&session, from, to, &output, &[]);
        let log = String::from_utf8(made.stderr).unwrap();
        assert!(made.status.success(), "{log}");
        (fs::read(&output).unwrap(), log.contains("reading the recording instead"))
    };
    let index = session.join("stream/keyframes.idx");
    let written = fs::read(&index).unwrap();
    let count = written.len() / 32 - 1;
    let places = [(3.0, 5.0), (14.0, 15.0), (28.0, 29.0)];
    let expected = places.map(|(from, to)| cut(from, to));
    assert!(expected.iter().all(|(_, is_read)| !is_read));
    let mut is_noticed = false;
    for record in 0..count {
        let mut damaged = written.clone();
        damaged[32 + 32 * record + 9] ^= 1;
        fs::write(&index, damaged).unwrap();
        for ((from, to), (bytes, _)) in places.iter().zip(&expected) {
            let (found, is_read) = cut(*from, *to);
            assert!(found == *bytes, "record {record}, {from} to {to}");
            is_noticed |= is_read;
        }
        let check = scenetap().arg("check").arg(&session).output().unwrap();
        let problems = String::from_utf8(check.stdout).unwrap();
        let named = format!("its record {} is not valid", record + 1);
        assert!(problems.contains(&named), "{problems}");
    }
    assert!(is_noticed);
    fs::copy(other.join("stream/keyframes.idx"), &index).unwrap();
    for ((from, to), (bytes, _)) in places.iter().zip(&expected) {
        assert!(cut(*from, *to).0 == *bytes, "another index, {from} to {to}");
    }
}

#[test]
fn a_stream_whose_counters_stand_still_is_cut_and_not_read_from_its_beginning() {
    let mut stream = fs::read(fixture("bbb_h264_bframes_scenecut_360p24")).unwrap();
    for packet in stream.as_chunks_mut::<TS_PACKET_BYTES>().0 {
        if Header::of(packet).pid() == 0x100 {
            packet[3] &= 0xf0;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.ts");
    fs::write(&source, stream).unwrap();
    let made = clip(&source, 20.0, 22.0, &folder.path().join("clip.ts"), &[]);
    let line: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert!(line["from"].as_f64().unwrap() > 15.0, "{line}");
}

#[test]
fn a_signal_ends_the_wait_for_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo.ts");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let target = fixture("bbb_mpeg2_576i25_tff");
    for (output, has_reader) in
        [(fifo.as_path(), false), (fifo.as_path(), true), (Path::new("-"), true)]
    {
        let mut command = scenetap();
        command.arg("clip").arg(&target).arg("-o").arg(output).stdout(Stdio::piped());
        let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut reader: Option<Box<dyn Read>> = match (has_reader, output == fifo) {
            (true, true) => Some(Box::new(fs::File::open(&fifo).unwrap())),
            (true, false) => running.stdout.take().map(|stdout| Box::new(stdout) as _),
            (false, _) => None,
        };
        // After the first byte, the clip is being written.
        if let Some(reader) = &mut reader {
            reader.read_exact(&mut [0]).unwrap();
        }
        let pid = rustix::process::Pid::from_child(&running);
        // Without a reader, the signal may arrive before its handler is installed, which ends the
        // process as well.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = running.wait_with_output().unwrap();
        let log = String::from_utf8(ended.stderr).unwrap();
        let is_ended = ended.status.code() == Some(1) && log.contains("interrupted");
        assert!(is_ended || (!has_reader && ended.status.code().is_none()), "{log}");
        drop(reader);
    }
}

#[test]
fn a_clip_plays_to_its_end_in_mpv_also_across_a_clock_that_starts_again() {
    let Some(studio) = Studio::open().filter(|_| has("mpv")) else { return };
    let one = studio.encode("one", "25", "160x120", &format!("{X264} -bf 2"), AAC);
    let twice = studio.join("twice", &[&one, &one]);
    let output = studio.path("clip");
    assert!(clip(&twice, 1.5, 4.5, &output, &[]).status.success());
    let mut command = Command::new("mpv");
    command.args(["--no-config", "--vo=null", "--ao=null", "--untimed", "--msg-level=all=error"]);
    let played = command.arg(&output).output().unwrap();
    let log = String::from_utf8([played.stdout, played.stderr].concat()).unwrap();
    assert!(played.status.success() && log.is_empty(), "{log}");
}
