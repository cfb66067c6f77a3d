//! Runs the loops of docs/AGENTS.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::series::series;
use crate::common::{Recorder, fixture, has, index, scenetap, send_bytes};

/// Returns the code block after the mark `name`, without its fences.
fn block(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/AGENTS.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n```")).unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let code = rest.split_once("\n```").unwrap().0.to_owned();
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 20, "{name} has {lines} lines");
    code
}

/// Runs a loop beside a live recording of several sessions.
fn run(name: &str, interpreter: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join(name);
    fs::write(&script, block(name)).unwrap();
    let sessions = folder.path().join("sessions");
    let options = ["--once", "--scene-threshold=0.02", "--rotate-bytes=700K"];
    let recorder = Recorder::start(&sessions, "s", &options);
    // Run the program in the same way as the tests, found through the path.
    let template = scenetap();
    let program = Path::new(template.get_program());
    let path =
        format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(interpreter);
    for (name, value) in template.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("PATH", path).arg(&script).arg(&sessions).args(["s", "agent-1"]);
    let agent = command.stdout(Stdio::piped()).spawn().unwrap();
    let clip = fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    send_bytes(&recorder.address, &clip);
    assert!(recorder.end().0.success());
    let output = agent.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let seen: Vec<(&str, &str)> = lines
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap().trim_end_matches(':'))
        })
        .collect();
    let mut expected = BTreeSet::new();
    for session in series(&sessions) {
        for entry in index(&session) {
            assert_eq!(entry["sent_to_agent"], Value::Bool(true), "{entry}");
            let id = session.file_name().unwrap().to_str().unwrap().to_owned();
            expected.insert((id, entry["id"].as_str().unwrap().to_owned()));
        }
    }
    let owned = |(session, id): &(&str, &str)| ((*session).to_owned(), (*id).to_owned());
    assert_eq!(seen.iter().map(owned).collect::<BTreeSet<_>>(), expected);
    assert_eq!(seen.len(), expected.len(), "each once: {seen:?}");
    assert!(series(&sessions).len() > 1);
}

#[test]
fn the_loop_in_python_sees_each_frame_once() {
    if has("python3") {
        run("loop.py", "python3");
    }
}

#[test]
fn the_loop_in_a_shell_sees_each_frame_once() {
    if has("jq") {
        run("loop.sh", "sh");
    }
}
