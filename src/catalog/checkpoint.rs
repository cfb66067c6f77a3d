//! The format of `checkpoint.json`: a state, sealed with a version and a checksum.
//!
//! The state itself is defined by the caller (`pipeline/live/checkpoint.rs`). A checkpoint is
//! written only after everything that it covers.
//!
//! A checkpoint is trusted only if every byte is as written: the file is parsed and serialized
//! again in memory, and both must be identical. It also contains a checksum, so that a changed
//! number is detected.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result, Stage};

/// Version of the format. Files of other versions are rejected.
pub const VERSION: u32 = 5;

/// Content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    /// [`VERSION`].
    version: u32,
    /// CRC-32 of `state` as JSON without whitespace.
    crc32: u32,
    state: T,
}

/// Fields that exist in all versions of the file.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Returns the state in the bytes of a checkpoint. `path` only appears in messages.
///
/// # Errors
///
/// Returns an error of kind [`Kind::Corrupt`] if `bytes` are not a checkpoint, are of another
/// version, or were changed after they were written.
pub fn unseal<T: Serialize + DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let corrupt = |error: Error| error.of_kind(Kind::Corrupt);
    let what = "not a checkpoint";
    let Versioned { version } =
        serde_json::from_slice(bytes).context(Stage::Catalog, path, what).map_err(corrupt)?;
    if version != VERSION {
        let what = format!("checkpoint of version {version}, not {VERSION}");
        return Err(corrupt(Error::new(Stage::Catalog, what).path(path)));
    }
    let Sealed::<T> { state, .. } =
        serde_json::from_slice(bytes).context(Stage::Catalog, path, what).map_err(corrupt)?;
    if seal(&state)? != bytes {
        let what = "its checksum does not match: it was edited or is damaged";
        return Err(corrupt(Error::new(Stage::Catalog, what).path(path)));
    }
    Ok(state)
}

/// Returns the bytes of a checkpoint with this state.
///
/// # Errors
///
/// Returns an error of kind [`Kind::Bug`] if the state cannot be written as JSON.
pub fn seal<T: Serialize>(state: &T) -> Result<Vec<u8>> {
    let written = || -> serde_json::Result<Vec<u8>> {
        let crc32 = crc32fast::hash(&serde_json::to_vec(state)?);
        serde_json::to_vec_pretty(&Sealed { version: VERSION, crc32, state })
    };
    let mut bytes = written().map_err(|cause| {
        Error::new(Stage::Catalog, "cannot write a checkpoint").of_kind(Kind::Bug).because(cause)
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}
