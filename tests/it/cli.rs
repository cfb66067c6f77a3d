//! The command line as seen from a shell: help, exit statuses, stdout and stderr.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Returns the program with an empty environment.
fn scenetap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scenetap"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // Read no configuration file of the host.
    command.env("SCENETAP_CONFIG", "").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    scenetap().args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the lines that `-v` logs about the configuration of a scan that then fails because the
/// file does not exist.
fn scan_missing_file(prepare: impl FnOnce(&mut Command)) -> String {
    let mut command = scenetap();
    command.args(["-v", "scan", "/nonexistent/a.ts"]);
    prepare(&mut command);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

fn config_file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn help_names_every_option_with_its_variable() {
    let record = ["--listen", "--sessions-dir", "--session", "--sync-interval", "--play", "--once"];
    let pictures = [
        "--scene-threshold",
        "--max-frame-interval",
        "--jpeg-quality",
        "--frame-width",
        "--program",
        "--jobs",
    ];
    let global = ["--verbose", "--quiet", "--log", "--log-format", "--config"];
    let expected: [(&str, Vec<&str>); 5] = [
        ("record", [&record[..], &pictures, &["--json"]].concat()),
        ("scan", [&pictures[..], &["--frames-dir", "--json", "--scores"]].concat()),
        ("send", vec!["--to", "--speed", "--loop"]),
        ("play", vec!["--live", "--at", "--sessions-dir"]),
        ("status", vec!["--json", "--sessions-dir"]),
    ];
    for (command, options) in expected {
        let output = run(&[command, "--help"]);
        assert!(output.status.success());
        let help = stdout(&output);
        for option in options.iter().chain(&global) {
            let ends = [" ", "[", ".", "\n"].map(|end| format!("{option}{end}"));
            assert!(ends.iter().any(|end| help.contains(end)), "{command} --help lacks {option}");
            let variable = option.trim_start_matches('-').replace('-', "_").to_uppercase();
            let variable = format!("[env: SCENETAP_{variable}]");
            assert!(help.contains(&variable), "{command} --help lacks {variable}");
        }
    }
}

#[test]
fn the_main_help_names_commands_layers_examples_and_exit_statuses() {
    let output = run(&["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let help = stdout(&output);
    for word in ["record", "scan", "send", "play", "STREAM_HOST", "Examples:", "130", "--config"] {
        assert!(help.contains(word), "no {word} in:\n{help}");
    }
}

#[test]
fn defaults_stand_in_the_help() {
    let help = stdout(&run(&["record", "--help"]));
    for default in ["127.0.0.1:4444", "./sessions", "0.3", "30", "90"] {
        assert!(help.contains(&format!("[default: {default}]")), "no default {default}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_2_with_nothing_on_stdout() {
    let wrong: [&[&str]; 17] = [
        &[],
        &["recrod"],
        &["record", "--scene-threshold", "1.5"],
        &["record", "--scene-threshold", "NaN"],
        &["record", "--max-frame-interval", "-1"],
        &["record", "--max-frame-interval", "inf"],
        &["record", "--jpeg-quality", "0"],
        &["record", "--frame-width", "15"],
        &["record", "--sync-interval", "0"],
        &["record", "--session", "../up"],
        &["record", "--session", ".hidden"],
        &["record", "--listen", "4444"],
        &["scan"],
        &["send", "a.ts"],
        &["send", "a.ts", "--to", "127.0.0.1:4444", "--speed", "0"],
        &["play", "s", "--live", "--at", "3"],
        &["-v", "-q", "scan", "a.ts"],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_wrong_variable_is_exit_2_and_one_line_that_names_it() {
    let wrong = [
        ("SCENETAP_SCENE_THRESHOLD", "7"),
        ("SCENE_THRESHOLD", "-1"),
        ("SCENETAP_LISTEN", "nowhere"),
        ("STREAM_PORT", "many"),
        ("SCENETAP_ONCE", "perhaps"),
        ("SCENETAP_LOG", "scenetap=loud"),
        ("SCENETAP_QUIET", "very"),
    ];
    for (variable, value) in wrong {
        let output = scenetap().arg("record").env(variable, value).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{variable}: {message}");
        assert!(
            message.starts_with(&format!("scenetap: config: {variable} must be ")),
            "{message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn an_unknown_key_is_exit_2_with_file_line_and_the_nearest_key() {
    let file = config_file("# a comment\nframe-with = 640\n");
    let path = file.path().to_str().unwrap();
    let output = run(&["scan", "a.ts", "--config", path]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        format!(
            "scenetap: config: {path}: line 2: unknown key `frame-with`; \
             the nearest one is `frame-width`\n"
        )
    );
}

#[test]
fn a_configuration_file_that_is_not_there_is_exit_2() {
    let output = run(&["--config", "/nonexistent/x.toml", "scan", "a.ts"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.starts_with("scenetap: config: /nonexistent/x.toml: cannot read it"),
        "{message}"
    );
}

#[test]
fn flag_over_variable_over_old_variable_over_file_over_default() {
    let file = config_file("scene-threshold = 0.11\nframe_width = 320\n");
    let has = |log: &str, value: &str| log.contains(&format!("scene_threshold: {value},"));

    assert!(has(&scan_missing_file(|_| ()), "0.3"));
    let log = scan_missing_file(|scan| {
        scan.env("SCENETAP_CONFIG", file.path());
    });
    assert!(has(&log, "0.11") && log.contains("max_width_px: Some(320)"), "{log}");
    let log = scan_missing_file(|scan| {
        scan.arg("--config").arg(file.path()).env("SCENE_THRESHOLD", "0.12");
    });
    assert!(has(&log, "0.12"), "{log}");
    let log = scan_missing_file(|scan| {
        scan.env("SCENE_THRESHOLD", "0.12").env("SCENETAP_SCENE_THRESHOLD", "0.13");
    });
    assert!(has(&log, "0.13"), "{log}");
    let log = scan_missing_file(|scan| {
        scan.env("SCENETAP_SCENE_THRESHOLD", "0.13").args(["--scene-threshold", "0.14"]);
    });
    assert!(has(&log, "0.14"), "{log}");
}

#[test]
fn a_failure_is_one_line_on_stderr_even_if_quiet() {
    let output = run(&["-q", "scan", "/nonexistent/a.ts"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("scenetap: "), "{message}");
    assert!(output.stdout.is_empty());
}

#[test]
fn verbose_tells_the_configuration_and_quiet_in_the_file_yields_to_it() {
    let file = config_file("quiet = true\n");
    let log = scan_missing_file(|scan| {
        scan.arg("--config").arg(file.path());
    });
    assert!(log.contains("DEBUG resolved"), "{log}");
    let output = scenetap().args(["scan", "/nonexistent/a.ts"]).output().unwrap();
    assert!(!stderr(&output).contains("DEBUG"));
}

#[test]
fn logs_have_no_colours_where_there_is_no_terminal() {
    assert!(!scan_missing_file(|_| ()).contains('\u{1b}'));
}

#[test]
fn json_logs_are_one_object_a_line() {
    let log = scan_missing_file(|scan| {
        scan.args(["--log-format", "json"]);
    });
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("scenetap: ")).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["level"].is_string() && object["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn a_journal_gets_no_times_and_a_file_does_though_the_variable_is_inherited() {
    let log_to = |path: &Path, stream: Option<String>| {
        let file = File::create(path).unwrap();
        let meta = file.metadata().unwrap();
        let stream = stream.unwrap_or(format!("{}:{}", meta.dev(), meta.ino()));
        let mut scan = scenetap();
        scan.args(["-v", "scan", "/nonexistent/a.ts"]).env("JOURNAL_STREAM", stream);
        scan.stderr(file).status().unwrap();
        std::fs::read_to_string(path).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let journal = log_to(&dir.path().join("journal"), None);
    assert!(journal.trim_start().starts_with("DEBUG resolved"), "{journal}");
    let file = log_to(&dir.path().join("file"), Some("1:1".into()));
    assert!(file.starts_with("20"), "{file}");
}

#[test]
fn a_reader_that_does_not_wait_for_the_help_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = scenetap().arg("--help").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_session_that_is_not_there_cannot_be_played() {
    let dir = tempfile::tempdir().unwrap();
    let output = scenetap().args(["play", "s1"]).env("SESSIONS_DIR", dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.starts_with("scenetap: session: s1: no session of that name"), "{message}");
}

#[test]
fn scan_prints_a_row_for_each_frame_and_sums_up() {
    let path = crate::common::fixture("bbb_h264_bframes_scenecut_360p24");
    let output = scenetap().arg("scan").arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let rows = stdout(&output);
    let header = "        time     score  reason         offset";
    assert_eq!((rows.lines().next(), rows.lines().count()), (Some(header), 16), "{rows}");
    // The clip has 720 pictures at 24 Hz.
    let last = stderr(&output).lines().last().unwrap_or_default().to_owned();
    let summary = "scanned 1.6 MiB, 00:00:29; 720 pictures, 15 frames kept";
    assert!(last.ends_with(summary), "{last}");
}
