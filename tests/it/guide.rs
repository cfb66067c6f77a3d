//! docs/GUIDE.md shows the actual output of its commands.

use std::path::Path;
use std::process::Command;

use crate::common::has;

#[test]
fn the_guide_shows_what_its_commands_print() {
    if !["python3", "jq", "mpv", "bash"].into_iter().all(has) {
        return;
    }
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guide.py")).arg("--check");
    let checked = command.env("SCENETAP", env!("CARGO_BIN_EXE_scenetap")).output().unwrap();
    let printed = String::from_utf8_lossy(&checked.stdout).into_owned();
    let failed = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{printed}{failed}\nmake guide writes it anew");
}
