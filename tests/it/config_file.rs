//! The configuration file in its usual places, its example and its check; versions; completions.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::scenetap;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the program with a user's configuration file.
fn with_user_file(folder: &Path, file: &str) -> Command {
    fs::create_dir_all(folder.join("scenetap")).unwrap();
    fs::write(folder.join("scenetap/config.toml"), file).unwrap();
    let mut command = scenetap();
    command.env_remove("SCENETAP_CONFIG").env("XDG_CONFIG_HOME", folder);
    command
}

/// Runs a command that reads `jobs`, which is invalid in the files of these tests.
fn scan(mut command: Command) -> Output {
    command.args(["scan", "/nonexistent/a.ts"]).output().unwrap()
}

#[test]
fn the_users_file_is_read_unless_another_one_or_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = scan(with_user_file(folder.path(), "jobs = 0\n"));
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("scenetap/config.toml: line 1: `jobs`"), "{error}");

    let mut command = with_user_file(folder.path(), "jobs = 0\n");
    command.env("SCENETAP_CONFIG", "");
    assert_eq!(scan(command).status.code(), Some(1), "an empty variable: no file");
    let other = folder.path().join("other.toml");
    fs::write(&other, "jobs = 1\n").unwrap();
    let mut command = with_user_file(folder.path(), "jobs = 0\n");
    command.arg("--config").arg(&other);
    assert_eq!(scan(command).status.code(), Some(1), "--config replaces it");
}

#[test]
fn what_says_what_is_wrong_works_while_the_file_is_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = with_user_file(folder.path(), "no-such-key = 1\n");
        command.args(arguments).output().unwrap()
    };
    assert!(run(&["version"]).status.success());
    assert!(run(&["config", "--print-default"]).status.success());
    assert!(run(&["generate", "--completion", "bash"]).status.success());
    assert_eq!(run(&["sessions"]).status.code(), Some(2));
}

#[test]
fn a_file_is_checked_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let check = |file: &str| {
        fs::write(&path, file).unwrap();
        let output = scenetap().args(["config", "--check"]).arg(&path).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, out, _) = check("listen = \"0.0.0.0:4444\"\nmin-free = \"5G\"\n");
    assert_eq!((status, out), (Some(0), format!("{}: ok: 2 options\n", path.display())));
    for (file, reason) in [
        ("\nlisten = 4444\n", "line 2: `listen` must be a string in quotes"),
        ("listn = \"a:1\"\n", "line 1: unknown key `listn`; the nearest one is `listen`"),
        ("listen = \n", "line 1: "),
        ("tls-key = \"k.pem\"\n", "scenetap record does not start with it: "),
    ] {
        let (status, out, error) = check(file);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{file}");
        assert!(error.contains(reason) && error.lines().count() == 1, "{file}: {error}");
    }
    let example = scenetap().args(["config", "--print-default"]).output().unwrap();
    assert_eq!(check(&text(&example.stdout)).0, Some(0));
}

#[test]
fn the_version_names_ffmpeg_its_license_and_what_it_decodes() {
    let output = scenetap().args(["version", "--json"]).output().unwrap();
    let version: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["commit"].is_null(), "a development build: {version}");
    let ffmpeg = &version["ffmpeg"];
    assert!(ffmpeg["license"].as_str().unwrap().contains("GPL"), "{version}");
    assert_eq!(ffmpeg["linked"], "dynamic");
    assert_eq!(ffmpeg["decoders"], serde_json::json!(["mpeg2video", "mpeg4", "h264", "hevc"]));
    let output = scenetap().arg("version").output().unwrap();
    let line = format!("FFmpeg {}", ffmpeg["version"].as_str().unwrap());
    assert!(text(&output.stdout).contains(&line), "{output:?}");
}

/// A folder with sessions, and the completions of bash.
struct Shell {
    folder: tempfile::TempDir,
    script: String,
}

impl Shell {
    fn new() -> Shell {
        let folder = tempfile::tempdir().unwrap();
        for session in ["monday", "morning", "tuesday"] {
            let stream = folder.path().join("sessions").join(session).join("stream");
            fs::create_dir_all(&stream).unwrap();
            fs::write(stream.join("recording.ts"), "").unwrap();
        }
        fs::create_dir(folder.path().join("sessions/mo_is_no_session")).unwrap();
        fs::write(folder.path().join("my film.ts"), "").unwrap();
        let script = scenetap().args(["generate", "--completion", "bash"]).output().unwrap();
        Shell { folder, script: text(&script.stdout) }
    }

    /// Returns the candidates of bash for a line that bash has split into `words`, also at = and :.
    fn complete(&self, line: &str, words: &[&str]) -> Vec<String> {
        let ask = format!(
            "{}\ncompopt() {{ :; }}; COMP_LINE={line:?}; COMP_POINT={}; COMP_TYPE=9\n\
             COMP_WORDS=({}); COMP_CWORD={}\n\
             _scenetap; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            self.script,
            line.len(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1,
        );
        let program = Path::new(env!("CARGO_BIN_EXE_scenetap"));
        let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
        let mut command = Command::new("bash");
        command.args(["--norc", "-c", &ask]).env("PATH", path).env("SCENETAP_CONFIG", "");
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        let output = command.output().unwrap();
        let lines = text(&output.stdout);
        lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

#[test]
fn a_shell_completes_commands_options_and_the_names_of_sessions() {
    let shell = Shell::new();
    let complete = |line: &str| shell.complete(line, &line.split(' ').collect::<Vec<_>>());
    assert_eq!(complete("scenetap sc"), ["scan"]);
    assert_eq!(complete("scenetap record --rotate-b"), ["--rotate-bytes"]);
    assert_eq!(complete("scenetap still mo"), ["monday", "morning"]);
    assert_eq!(complete("scenetap record --session t"), ["tuesday"]);
    assert_eq!(complete("scenetap frames --sessions-dir /nowhere mo"), [""; 0]);
    assert_eq!(complete("scenetap frames --sessions-dir ~/sessions t"), ["tuesday"]);
    fs::write(shell.folder.path().join("a.toml"), "sessions-dir = \"/nowhere\"").unwrap();
    assert_eq!(complete("scenetap --config a.toml frames mo"), [""; 0]);
}

#[test]
fn a_shell_that_splits_at_signs_or_quotes_words_completes_them_all_the_same() {
    let shell = Shell::new();
    let complete = |line, words: &[&str]| shell.complete(line, words);
    let line = "scenetap scan a:";
    assert_eq!(complete(line, &["scenetap", "scan", "a", ":"]), [""; 0], "there is no such file");
    let line = "scenetap check --sessions-dir=sessions t";
    let words = ["scenetap", "check", "--sessions-dir", "=", "sessions", "t"];
    assert_eq!(complete(line, &words), ["tuesday"]);
    let line = "scenetap check --sessions-dir=ses";
    let words = ["scenetap", "check", "--sessions-dir", "=", "ses"];
    assert_eq!(complete(line, &words), ["sessions/"], "only the last part is replaced");
    let line = "scenetap scan my\\ f";
    assert_eq!(complete(line, &["scenetap", "scan", "my\\ f"]), ["my film.ts"]);
    // bash quotes it.
    assert!(shell.script.contains("compopt -o filenames"));
}
