//! Where a recording's player listens: one socket per recording.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result, Stage};
use crate::runtime_folder;

/// The IPC socket of the player of `recording`, the same for every way to name the
/// file. Makes the [folder](runtime_folder) in which it lies.
///
/// # Errors
///
/// If the recording does not exist, or the folder cannot be made, belongs to
/// somebody else or has too long a path for a socket.
pub fn socket_path(recording: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(recording).context(Stage::Playback, recording, "cannot open")?;
    let folder = runtime_folder::make(Stage::Playback)?;
    let name = format!("mpv-{}.sock", runtime_folder::name_of(&real));
    runtime_folder::socket(Stage::Playback, &folder, &name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_recording_gives_one_socket_and_another_recording_another() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one.ts"), folder.path().join("other.ts"));
        fs::write(&one, b"").unwrap();
        fs::write(&other, b"").unwrap();
        let link = folder.path().join("link.ts");
        std::os::unix::fs::symlink(&one, &link).unwrap();
        assert_eq!(socket_path(&one).unwrap(), socket_path(&link).unwrap());
        assert_ne!(socket_path(&one).unwrap(), socket_path(&other).unwrap());
        assert!(socket_path(&folder.path().join("none.ts")).is_err());
    }
}
