//! `scenetap version`: the versions of the program and of its libraries.

use serde_json::json;

use super::output::JsonLines;
use super::{CommandContext, ExitStatus};
use crate::config::{Layers, key};
use crate::error::Result;
use crate::libav::linked;

/// The commit from which a release was built; development builds have none.
const COMMIT: Option<&str> = option_env!("SCENETAP_COMMIT");

/// Print the versions of scenetap and its FFmpeg libraries
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::VERSION_EXAMPLES)]
pub struct VersionArgs {
    /// Print one line of JSON
    ///
    /// Keys: version, commit (null in a development build), ffmpeg. Keys of ffmpeg: version, license,
    /// linked (static or dynamic), decoders (the video codecs that it can decode, of those that
    /// scenetap reads).
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,
}

impl VersionArgs {
    /// Resolves whether to print JSON, from the command line and the environment.
    ///
    /// # Errors
    ///
    /// Returns an error if the value in effect is invalid.
    pub fn resolve(&self, layers: &Layers<'_>) -> Result<bool> {
        layers.required(self.json, &key::JSON)
    }
}

/// Prints the versions.
///
/// # Errors
///
/// Returns an error if a value in effect is invalid, or stdout cannot be written.
pub fn run(args: &VersionArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let is_json = args.resolve(&context.layers)?;
    let decoders: Vec<&str> = linked::decoders().into_iter().map(|codec| codec.as_str()).collect();
    let kind = if linked::is_static() { "static" } else { "dynamic" };
    let text = if is_json {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": COMMIT,
            "ffmpeg": {
                "version": linked::version(),
                "license": linked::license(),
                "linked": kind,
                "decoders": decoders,
            },
        })
        .to_string()
    } else {
        format!(
            "scenetap {}{}\nFFmpeg {}, {}, {kind}\ndecoders: {}",
            env!("CARGO_PKG_VERSION"),
            COMMIT.map(|commit| format!(", commit {commit}")).unwrap_or_default(),
            linked::version(),
            linked::license(),
            decoders.join(" "),
        )
    };
    let mut output = JsonLines::stdout(&context.terminal);
    output.write_line(&text);
    output.finish()?;
    Ok(ExitStatus::Done)
}
