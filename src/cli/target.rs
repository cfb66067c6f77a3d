//! Target of `play`, `still` and `clip`: a session or a file.

use std::path::Path;
use std::time::Duration;

use crate::catalog::{Selection, SharedCatalog};
use crate::error::{Error, Result, Stage};
use crate::pipeline::evidence::{Moment, Target};
use crate::session::Session;

/// Finds the recording: `target` is, in this order, the path of a file, the path of a
/// session folder, or the name of a session in `sessions_dir`.
///
/// # Errors
///
/// Returns an error if the recording does not exist.
pub fn find_target(target: &Path, sessions_dir: &Path) -> Result<Target> {
    if !target.is_file() {
        return Session::find(sessions_dir, target).map(Target::Session);
    }
    Target::of_file(target)
}

/// Returns the time of a frame in the index of a session. Waits for the lock on the index for up to
/// `lock_timeout`.
///
/// # Errors
///
/// Returns an error if the frame does not exist, or the index cannot be read.
pub fn moment_of_frame(id: &str, target: &Target, lock_timeout: Duration) -> Result<Moment> {
    let Target::Session(session) = target else {
        let what = "a file has no frames: give --at TIME, or name a session";
        return Err(Error::new(Stage::Evidence, what).path(target.recording()));
    };
    let (folder, copy) = (session.frames_dir(), session.index_copy());
    let catalog = SharedCatalog::open(&folder, &copy, lock_timeout)?;
    let frames = catalog.list(&Selection::default(), &[], session.is_recorded())?;
    let frame = frames.into_iter().find(|frame| frame.entry.id == id);
    let frame = frame.ok_or_else(|| {
        Error::new(Stage::Evidence, format!("no frame {id} in the index")).path(&folder)
    })?;
    Ok(Moment::FromStart(frame.entry.timestamp))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_session_is_found_by_name_by_folder_and_by_file() {
        let sessions = tempfile::tempdir().unwrap();
        let session = Session::at(&sessions.path().join("s1")).unwrap().into_owned().unwrap();
        let recording = session.recording_ts();
        std::fs::write(&recording, b"").unwrap();
        for target in [PathBuf::from("s1"), sessions.path().join("s1"), recording.clone()] {
            let found = find_target(&target, sessions.path()).unwrap();
            assert!(matches!(&found, Target::Session(found) if found.id() == "s1"), "{found:?}");
            assert_eq!(found.recording(), recording);
        }
        let file = sessions.path().join("recording.ts");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(find_target(&file, sessions.path()).unwrap(), Target::File(file));
        let error = find_target(Path::new("s2"), sessions.path()).unwrap_err();
        assert!(error.to_string().starts_with("session: s2: no session"), "{error}");
    }
}
