//! The last error and the last warning that were logged, for the status.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// An error or warning from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The message, with its fields.
    pub message: String,
    /// Time at which it was logged.
    pub at: Timestamp,
}

/// A layer of the subscriber that stores the last error and the last warning of the whole program.
/// Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct Troubles {
    last: Arc<Mutex<Last>>,
}

#[derive(Debug, Default)]
struct Last {
    error: Option<Trouble>,
    warning: Option<Trouble>,
}

impl Troubles {
    /// Returns the last error.
    pub fn last_error(&self) -> Option<Trouble> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// Returns the last warning. It is stored separately from errors, so that a port scan does not
    /// hide an error.
    pub fn last_warning(&self) -> Option<Trouble> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).warning.clone()
    }
}

impl<S: Subscriber> Layer<S> for Troubles {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut text = EventText::default();
        event.record(&mut text);
        let trouble = Trouble { message: text.line(), at: Timestamp::now() };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if level == Level::ERROR {
            last.error = Some(trouble);
        } else {
            last.warning = Some(trouble);
        }
    }
}

/// The message, followed by the fields as in the log.
#[derive(Default)]
struct EventText {
    message: String,
    fields: String,
}

impl EventText {
    fn line(self) -> String {
        (self.message + &self.fields).trim().replace(['\r', '\n'], " ")
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string never fails.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_last_error_stays_while_warnings_come() {
        let troubles = Troubles::default();
        let subscriber = tracing_subscriber::registry().with(troubles.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("listening");
            assert_eq!(troubles.last_error(), None);
            tracing::error!("disk\nfull");
            tracing::warn!(error = %"no descriptors", "cannot accept");
        });
        assert_eq!(troubles.last_error().unwrap().message, "disk full");
        assert_eq!(troubles.last_warning().unwrap().message, "cannot accept error=no descriptors");
    }
}
