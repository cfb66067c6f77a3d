//! External tools and real streams: detects them, and skips a test if they are missing.
//!
//! | variable | effect |
//! |---|---|
//! | `SCENETAP_REQUIRE_TOOLS=1` | a missing program fails the test |
//! | `SCENETAP_MATERIAL=DIR` | folder of the real streams; default `../shared/material` |
//! | `SCENETAP_REQUIRE_MATERIAL=1` | a missing folder fails the test |
//! | `SCENETAP_LEFT_OUT=FILE` | each skipped test appends one line: name, tab, reason |

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the root of the repository.
fn root() -> &'static Path {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    kit.ancestors().nth(2).unwrap_or(kit)
}

/// Returns the path of `fixtures/NAME.ts`. Panics if the file is missing: every checkout has
/// the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    let path = root().join("fixtures").join(format!("{name}.ts"));
    assert!(path.is_file(), "{}: the fixture is missing", path.display());
    path
}

/// Returns whether `program`, which only tests need, is installed. Skips the test if not.
pub fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let is_ffmpegs = matches!(program, "ffmpeg" | "ffprobe");
    command.arg(if is_ffmpegs { "-version" } else { "--version" });
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = command.status().is_ok_and(|status| status.success());
    if !found {
        lacks_tool(&format!("{program} is not installed"));
    }
    found
}

/// Skips the test because a tool, or a feature of one, is missing. Panics if tools are required.
pub fn lacks_tool(reason: &str) {
    assert!(!is_set("SCENETAP_REQUIRE_TOOLS"), "{reason}, and SCENETAP_REQUIRE_TOOLS is set");
    leave_out(reason);
}

/// Returns the folder of the real streams, which is next to a checkout and not part of
/// it. Skips the test if it is missing; panics if the streams are required.
fn material() -> Option<PathBuf> {
    let named = std::env::var_os("SCENETAP_MATERIAL").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/material"));
    if folder.is_dir() {
        return Some(folder);
    }
    let reason = format!("there are no streams in {}", folder.display());
    assert!(!is_set("SCENETAP_REQUIRE_MATERIAL"), "{reason}, and SCENETAP_REQUIRE_MATERIAL is set");
    leave_out(&reason);
    None
}

/// Returns a file stored with the real streams. Skips the test, or panics, as [`material`].
pub fn material_file(name: &str) -> Option<PathBuf> {
    Some(material()?.join(name)).filter(|path| path.is_file())
}

/// Returns the real streams with the extension `ts`, in order. Skips the test, or panics, as
/// [`material`].
pub fn material_streams() -> Option<Vec<PathBuf>> {
    let folders = std::fs::read_dir(material()?).expect("the folder can be read");
    let mut streams: Vec<PathBuf> = folders
        .filter_map(|folder| std::fs::read_dir(folder.expect("an entry").path()).ok())
        .flatten()
        .map(|file| file.expect("an entry").path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "ts"))
        .collect();
    streams.sort();
    Some(streams)
}

/// Reports that the calling test is skipped: on standard error (`writeln!` is not captured by
/// libtest, `eprintln!` is) and in the file given by `SCENETAP_LEFT_OUT`.
pub fn leave_out(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "left out: {test}: {reason}");
    if let Some(list) = std::env::var_os("SCENETAP_LEFT_OUT") {
        let mut list = OpenOptions::new().create(true).append(true).open(list).expect("a list");
        list.write_all(format!("{test}\t{reason}\n").as_bytes()).expect("a list");
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}
