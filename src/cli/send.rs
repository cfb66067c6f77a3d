//! `scenetap send`: play a file into a recorder.

use std::path::PathBuf;

use super::progress::SendBar;
use super::{ExitStatus, World};
use crate::config::{HostPort, Layers, SendConfig, Speed, key};
use crate::error::Result;
use crate::send::{self, SendOptions};

/// Play a file into a recorder at its own pace
///
/// The pace is that of the file's clock (PCR). The bytes are sent as they are.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::SEND_EXAMPLES)]
pub struct Args {
    /// The MPEG-TS file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where the recorder listens
    #[arg(long, help_heading = "Network")]
    #[arg(value_name = "HOST:PORT", value_parser = key::TO.parser())]
    to: Option<HostPort>,

    /// How many times its own pace, 0.001 to 1000; max for all that TCP takes
    #[arg(long, help_heading = "Pace", allow_negative_numbers = true)]
    #[arg(value_name = "X|max", value_parser = key::SPEED.parser())]
    speed: Option<Speed>,

    /// Begin again at the end, over and over, with the time going on
    ///
    /// Timestamps and continuity counters go on over the seam, as if the stream
    /// had not ended.
    #[arg(long = "loop", help_heading = "Pace", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::LOOP.parser())]
    repeat: Option<bool>,
}

impl Args {
    /// Puts the layers under what was typed.
    ///
    /// # Errors
    ///
    /// If a value that counts is wrong, or nobody says where to send.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<SendConfig> {
        Ok(SendConfig {
            file: self.file,
            to: layers.required(self.to, &key::TO)?,
            speed: layers.required(self.speed, &key::SPEED)?,
            repeat: layers.required(self.repeat, &key::LOOP)?,
        })
    }
}

/// Sends the file to its end, or until a signal comes.
///
/// # Errors
///
/// If the file cannot be read or the recorder cannot be reached or leaves.
pub fn run(args: Args, world: &World<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&world.layers)?;
    tracing::debug!(?config, "resolved");
    let bar = SendBar::new(&world.terminal);

    let options = SendOptions {
        file: config.file,
        to: config.to.to_string(),
        speed: match config.speed {
            Speed::Times(times) => send::Speed::Factor(times),
            Speed::Max => send::Speed::Max,
        },
        looped: config.repeat,
    };
    let sent = send::send(&options, world.shutdown.flag(), &mut |sent| {
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
        let refused = Args::default().resolve(&Layers::new(&nothing, None)).unwrap_err();
        assert_eq!(ExitStatus::from(&refused), ExitStatus::Usage);
        let to = |name: &str| (name == "SCENETAP_TO").then(|| "[::1]:4444".into());
        let config = Args::default().resolve(&Layers::new(&to, None)).unwrap();
        assert_eq!(config.to.to_string(), "[::1]:4444");
        assert_eq!(config.speed, Speed::Times(1.0));
    }
}
