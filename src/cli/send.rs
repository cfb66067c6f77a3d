//! `scenetap send`: sends a file to a recorder.

use std::path::PathBuf;

use super::progress::SendBar;
use super::{CommandContext, ExitStatus};
use crate::config::{HostPort, Layers, key};
use crate::error::Result;
use crate::send::{self, SendOptions, Speed};

/// Send a file to a recorder in real time
///
/// The file's clock (PCR) sets the pace. The bytes are sent unchanged.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::SEND_EXAMPLES)]
pub struct SendArgs {
    /// MPEG-TS file to send
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Address of the recorder
    #[arg(long, help_heading = "Network")]
    #[arg(value_name = "HOST:PORT", value_parser = key::TO.parser())]
    to: Option<HostPort>,

    /// Speed factor, 0.001 to 1000; max sends as fast as TCP accepts
    #[arg(long, help_heading = "Pace", allow_negative_numbers = true)]
    #[arg(value_name = "X|max", value_parser = key::SPEED.parser())]
    speed: Option<Speed>,

    /// Repeat the file forever with continuous timestamps
    ///
    /// Timestamps and continuity counters continue across the seam, as if the stream had
    /// not ended.
    #[arg(long = "loop", help_heading = "Pace", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::LOOP.parser())]
    repeat: Option<bool>,
}

impl SendArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid or `--to` is missing.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<SendOptions> {
        Ok(SendOptions {
            file: self.file,
            to: layers.required(self.to, &key::TO)?.to_string(),
            speed: layers.required(self.speed, &key::SPEED)?,
            looped: layers.required(self.repeat, &key::LOOP)?,
        })
    }
}

/// Sends the file to its end, or until a signal arrives.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or if the recorder cannot be reached or
/// disconnects.
pub fn run(args: SendArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let options = args.resolve(&context.layers)?;
    tracing::debug!(?options, "resolved");
    let bar = SendBar::new(&context.terminal);

    let sent = send::send(&options, context.shutdown.flag(), &mut |sent| {
        bar.show(sent.sent_bytes, sent.total_bytes, sent.media, sent.passes);
    });
    bar.end();
    let sent = sent?;
    tracing::info!(
        "sent {} bytes, {:.1} s of stream, in {:.1} s",
        sent.sent_bytes,
        sent.media.as_secs_f64(),
        sent.elapsed.as_secs_f64()
    );
    Ok(ExitStatus::Done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn where_to_send_may_come_from_the_environment_but_must_come() {
        let nothing = |_: &str| None;
        let error = SendArgs::default().resolve(&Layers::new(&nothing, None)).unwrap_err();
        assert_eq!(ExitStatus::from(&error), ExitStatus::Usage);
        let to = |name: &str| (name == "SCENETAP_TO").then(|| "[::1]:4444".into());
        let options = SendArgs::default().resolve(&Layers::new(&to, None)).unwrap();
        assert_eq!(options.to, "[::1]:4444");
        assert_eq!(options.speed, Speed::Factor(1.0));
    }
}
