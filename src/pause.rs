//! Pauses before an operation is retried or a file is read again.
//!
//! In debug builds, the environment variable `SCENETAP_PAUSES` scales all pauses by a factor
//! between 0 and 1, so that tests do not wait.

use std::time::Duration;

/// Returns the actual pause: `pause`, scaled in tests.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn of(pause: Duration) -> Duration {
    pause
}

/// Returns the actual pause: `pause`, scaled in tests.
#[cfg(debug_assertions)]
pub fn of(pause: Duration) -> Duration {
    use std::sync::LazyLock;
    static FACTOR: LazyLock<f64> = LazyLock::new(|| {
        let factor = std::env::var("SCENETAP_PAUSES").ok().and_then(|text| text.parse().ok());
        factor.filter(|factor| (0.0..=1.0).contains(factor)).unwrap_or(1.0)
    });
    pause.mul_f64(*FACTOR)
}
