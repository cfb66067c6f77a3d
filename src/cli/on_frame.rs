//! The options of `scenetap record` that run a command for each frame.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::agent::FrameCommand;
use crate::config::{CommandWords, Layers, key};
use crate::error::Result;

/// The command for each kept frame.
#[derive(Debug, Default, clap::Args)]
pub struct OnFrameArgs {
    /// Run this command for each kept frame
    ///
    /// Split as a shell splits words; nothing is expanded: use sh -c '…' for that. Gets the entry of
    /// index.json as one line of JSON on stdin, and SCENETAP_FRAME_ID, SCENETAP_FRAME_PATH,
    /// SCENETAP_FRAME_TIME (seconds) and SCENETAP_FRAME_SESSION_DIR in the environment; its output
    /// goes to the log. Recording never waits for it: if 64 frames wait, the oldest is dropped.
    #[arg(long, help_heading = "Output")]
    #[arg(value_name = "COMMAND", value_parser = key::ON_FRAME.parser())]
    on_frame: Option<CommandWords>,

    /// End the command of --on-frame after this many seconds
    ///
    /// By SIGTERM to its process group, and by SIGKILL 5 s later.
    #[arg(long, help_heading = "Output", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::ON_FRAME_TIMEOUT.parser())]
    on_frame_timeout: Option<Duration>,

    /// Run the command of --on-frame for this many frames at the same time
    #[arg(long, help_heading = "Output", allow_negative_numbers = true)]
    #[arg(value_name = "COUNT", value_parser = key::ON_FRAME_JOBS.parser())]
    on_frame_jobs: Option<NonZeroUsize>,

    /// Run the command of --on-frame again, up to this many times, if it fails
    #[arg(long, help_heading = "Output", allow_negative_numbers = true)]
    #[arg(value_name = "COUNT", value_parser = key::ON_FRAME_RETRY.parser())]
    on_frame_retry: Option<u32>,
}

impl OnFrameArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<Option<FrameCommand>> {
        let words = layers.optional(self.on_frame, &key::ON_FRAME)?;
        let timeout = layers.required(self.on_frame_timeout, &key::ON_FRAME_TIMEOUT)?;
        let jobs = layers.required(self.on_frame_jobs, &key::ON_FRAME_JOBS)?;
        let retries = layers.required(self.on_frame_retry, &key::ON_FRAME_RETRY)?;
        Ok(words.map(|CommandWords(words)| FrameCommand { words, timeout, jobs, retries }))
    }
}
