//! `scenetap scan --list`: programs, streams, codecs, PIDs.

use serde_json::json;

use super::output::JsonLines;
use super::{CommandContext, ExitStatus};
use crate::config::ScanConfig;
use crate::demux::{Content, ListedProgram, ListedStream};
use crate::error::{Error, Result, Stage};
use crate::pipeline::list::list;

/// Writes the list to stdout.
///
/// # Errors
///
/// Returns an error if the file cannot be read or contains no program.
pub fn run(config: &ScanConfig, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let programs = list(&config.scan.file, config.scan.program)?;
    if programs.is_empty() {
        return Err(Error::new(Stage::Tail, "no program tables, and no video found without them")
            .path(&config.scan.file));
    }
    let mut output = JsonLines::stdout(&context.terminal);
    for program in &programs {
        let lines = if config.json { vec![to_json(program)] } else { to_text(program) };
        lines.iter().for_each(|line| {
            output.write_line(line);
        });
    }
    output.finish()?;
    Ok(ExitStatus::Done)
}

/// Returns the kind of a stream and FFmpeg's name of its codec.
fn kind(content: Content) -> (&'static str, &'static str) {
    match content {
        Content::Video(codec) => ("video", codec.as_str()),
        Content::OtherVideo(codec) => ("video", codec),
        Content::Audio(codec) => ("audio", codec.as_str()),
        Content::Private | Content::Other => ("data", "-"),
    }
}

fn to_text(program: &ListedProgram) -> Vec<String> {
    let mut lines = vec![match program.number {
        0 => "no program tables; guessed from the packets:".to_owned(),
        number => format!("program {number} (map on PID {:#06x})", program.pmt_pid),
    }];
    lines.extend(program.streams.iter().map(stream_to_text));
    lines
}

fn stream_to_text(stream: &ListedStream) -> String {
    let (kind, codec) = kind(stream.content);
    let kind_of_stream = stream.stream_type.map(|kind| format!("type {kind:#04x}"));
    let mark = match stream.content {
        _ if stream.followed => "<- used for detection",
        Content::OtherVideo(_) => "(not decoded)",
        _ => "",
    };
    let language = stream.language.as_deref().unwrap_or("");
    let kind_of_stream = kind_of_stream.unwrap_or_default();
    format!(
        "  PID {:#06x}  {kind:5}  {codec:10}  {kind_of_stream:9}  {language:3}  {mark}",
        stream.pid
    )
    .trim_end()
    .to_owned()
}

fn to_json(program: &ListedProgram) -> String {
    let streams: Vec<_> = program
        .streams
        .iter()
        .map(|stream| {
            let (kind, codec) = kind(stream.content);
            json!({
                "pid": stream.pid,
                "stream_type": stream.stream_type,
                "kind": kind,
                "codec": (codec != "-").then_some(codec),
                "language": stream.language,
                "followed": stream.followed,
            })
        })
        .collect();
    json!({ "program": program.number, "pmt_pid": program.pmt_pid, "streams": streams }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{AudioCodec, VideoCodec};

    fn program() -> ListedProgram {
        let stream = |pid, stream_type, content, language: Option<&str>| ListedStream {
            pid,
            stream_type: Some(stream_type),
            content,
            language: language.map(str::to_owned),
            followed: pid == 0x100,
        };
        ListedProgram {
            number: 7,
            pmt_pid: 0x1000,
            streams: vec![
                stream(0x100, 0x1b, Content::Video(VideoCodec::H264), None),
                stream(0x101, 0x0f, Content::Audio(AudioCodec::Aac), Some("eng")),
                stream(0x102, 0x86, Content::Other, None),
            ],
        }
    }

    #[test]
    fn people_read_a_line_for_each_stream() {
        assert_eq!(
            to_text(&program()),
            [
                "program 7 (map on PID 0x1000)",
                "  PID 0x0100  video  h264        type 0x1b       <- used for detection",
                "  PID 0x0101  audio  aac         type 0x0f  eng",
                "  PID 0x0102  data   -           type 0x86",
            ]
        );
    }

    #[test]
    fn programs_read_one_object_for_each_program() {
        let read: serde_json::Value =
            serde_json::from_str(&to_json(&program())).unwrap_or_default();
        assert_eq!(read["streams"][1]["language"], "eng");
        assert_eq!(read["streams"][0]["followed"], true);
    }
}
