//! What a test needs besides the repository, and how it is left out where that is missing.
//!
//! | variable | effect |
//! |---|---|
//! | `SCENETAP_REQUIRE_TOOLS=1` | a program that is missing fails the test |
//! | `SCENETAP_MATERIAL=DIR` | where the real streams are, instead of `../shared/material` |
//! | `SCENETAP_REQUIRE_MATERIAL=1` | their absence fails the test |
//! | `SCENETAP_LEFT_OUT=FILE` | each test that is left out appends a line to it: its name, a tab, why |

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository.
fn root() -> &'static Path {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    kit.ancestors().nth(2).unwrap_or(kit)
}

/// A stream of `fixtures/`, which every checkout has.
pub fn fixture(name: &str) -> PathBuf {
    let path = root().join("fixtures").join(format!("{name}.ts"));
    assert!(path.is_file(), "{}: the fixture is missing", path.display());
    path
}

/// Whether a program that only tests need is installed. Leaves the test out if not.
pub fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(if program == "ffmpeg" { "-version" } else { "--version" });
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = command.status().is_ok_and(|status| status.success());
    if !found {
        lacks_tool(&format!("{program} is not installed"));
    }
    found
}

/// Leaves the test out for want of a tool, or of something that a tool can do.
pub fn lacks_tool(why: &str) {
    assert!(!is_set("SCENETAP_REQUIRE_TOOLS"), "{why}, and SCENETAP_REQUIRE_TOOLS is set");
    leave_out(why);
}

/// The folder of real streams, which lies beside a checkout and not in it. Leaves the test out
/// where it is missing.
pub fn material() -> Option<PathBuf> {
    let named = std::env::var_os("SCENETAP_MATERIAL").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/material"));
    if folder.is_dir() {
        return Some(folder);
    }
    let why = format!("there are no streams in {}", folder.display());
    assert!(!is_set("SCENETAP_REQUIRE_MATERIAL"), "{why}, and SCENETAP_REQUIRE_MATERIAL is set");
    leave_out(&why);
    None
}

/// Notes that the test that calls this is left out: on standard error, past libtest's capture,
/// and in the file that `SCENETAP_LEFT_OUT` names.
pub fn leave_out(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "left out: {test}: {why}");
    if let Some(list) = std::env::var_os("SCENETAP_LEFT_OUT") {
        let mut list = OpenOptions::new().create(true).append(true).open(list).expect("a list");
        list.write_all(format!("{test}\t{why}\n").as_bytes()).expect("a list");
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}
