//! What `play`, `still` and `clip` are given: a session or a file.

use std::path::Path;

use crate::error::Result;
use crate::pipeline::evidence::Target;
use crate::session::Session;

/// Finds the recording: `target` is, in this order, the path of a file, the path of a
/// session folder, or the name of a session in `sessions_dir`.
///
/// # Errors
///
/// Returns an error if there is no such recording.
pub fn find_target(target: &Path, sessions_dir: &Path) -> Result<Target> {
    if !target.is_file() {
        return Session::find(sessions_dir, target).map(Target::Session);
    }
    if let Some(session) = Session::of_recording(target)? {
        return Ok(Target::Session(session));
    }
    Ok(Target::File(target.to_owned()))
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
