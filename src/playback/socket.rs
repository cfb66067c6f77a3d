//! Path of the socket of a recording's player.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result, Stage};
use crate::host::runtime_folder;

/// Returns the path of the IPC socket for the player of `recording`. It is the same for
/// every path of the file. Creates the [folder](runtime_folder) of the socket.
///
/// # Errors
///
/// Returns an error if the recording does not exist, or if the folder cannot be created,
/// belongs to another user, or makes the path too long for a socket.
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
