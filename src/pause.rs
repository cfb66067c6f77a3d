//! Pauses before something is tried or looked at again.
//!
//! In debug builds `SCENETAP_PAUSES` shortens them all, by a factor between 0 and 1: tests
//! wait for what happens, not for the pause before it.

use std::time::Duration;

/// How long to wait where a user waits for `pause`.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn of(pause: Duration) -> Duration {
    pause
}

/// How long to wait where a user waits for `pause`.
#[cfg(debug_assertions)]
pub fn of(pause: Duration) -> Duration {
    use std::sync::LazyLock;
    static FACTOR: LazyLock<f64> = LazyLock::new(|| {
        let factor = std::env::var("SCENETAP_PAUSES").ok().and_then(|text| text.parse().ok());
        factor.filter(|factor| (0.0..=1.0).contains(factor)).unwrap_or(1.0)
    });
    pause.mul_f64(*FACTOR)
}
