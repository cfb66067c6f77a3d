//! Where a recording's player listens: one socket per recording, in a folder that
//! only its user can enter, because whoever can write to it can run programs.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result, Stage};

/// `sun_path` holds 108 bytes, the last of them 0 (unix(7)).
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// The IPC socket of the player of `recording`, the same for every way to name the
/// file. Makes the folder in which it lies: `$XDG_RUNTIME_DIR/scenetap`, or without
/// that `scenetap-UID` in the folder for temporary files.
///
/// # Errors
///
/// If the recording does not exist, or the folder cannot be made, belongs to
/// somebody else or has too long a path for a socket.
pub fn socket_path(recording: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(recording).context(Stage::Playback, recording, "cannot open")?;
    let user_id = rustix::process::geteuid().as_raw();
    let xdg = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = runtime_folder(xdg.as_deref(), &env::temp_dir(), user_id)?;
    let name = format!("mpv-{:016x}.sock", fnv1a(real.as_os_str().as_bytes()));
    let socket = folder.join(name);
    if socket.as_os_str().len() > SOCKET_PATH_MAX_BYTES {
        let what = "the path is too long for a socket; set XDG_RUNTIME_DIR to a shorter folder";
        return Err(Error::new(Stage::Playback, what).path(socket));
    }
    Ok(socket)
}

/// The folder itself: made if need be, ours alone for sure.
fn runtime_folder(xdg: Option<&Path>, temp: &Path, user_id: u32) -> Result<PathBuf> {
    let folder = match xdg {
        // The XDG specification: a path that is not absolute is to be ignored.
        Some(xdg) if xdg.is_absolute() && xdg.is_dir() => xdg.join("scenetap"),
        _ => temp.join(format!("scenetap-{user_id}")),
    };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).context(Stage::Playback, &folder, "cannot make the folder");
        }
        _ => {}
    }
    // Not followed: a link would be somebody else's choice of folder.
    let found = fs::symlink_metadata(&folder).context(Stage::Playback, &folder, "cannot open")?;
    if !found.is_dir() || found.uid() != user_id {
        let what = "is not a folder of this user, so no player's socket can be put there; \
                    remove it or set XDG_RUNTIME_DIR";
        return Err(Error::new(Stage::Playback, what).path(folder));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).context(
            Stage::Playback,
            &folder,
            "cannot close the folder to others",
        )?;
    }
    Ok(folder)
}

/// FNV-1a, 64 bits: the same in every version of the program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

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

    #[test]
    fn the_folder_is_closed_to_others_even_if_it_was_open() {
        let temp = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let folder = runtime_folder(Some(temp.path()), Path::new("/none"), me()).unwrap();
            assert_eq!(folder, temp.path().join("scenetap"));
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
            fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn without_a_usable_runtime_dir_the_folder_for_temporary_files_serves() {
        let temp = tempfile::tempdir().unwrap();
        for xdg in [None, Some(Path::new("relative")), Some(Path::new("/does/not/exist"))] {
            let folder = runtime_folder(xdg, temp.path(), me()).unwrap();
            assert_eq!(folder, temp.path().join(format!("scenetap-{}", me())));
        }
    }

    #[test]
    fn a_folder_of_somebody_else_and_a_link_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("scenetap-4294967000")).unwrap();
        let error = runtime_folder(None, temp.path(), 4_294_967_000).unwrap_err().to_string();
        assert!(error.contains("is not a folder of this user"), "{error}");
        let link = temp.path().join(format!("scenetap-{}", me()));
        std::os::unix::fs::symlink(temp.path(), link).unwrap();
        assert!(runtime_folder(None, temp.path(), me()).is_err());
    }
}
