//! The attempts to recover a lost static IP of a live zone.

use std::time::Duration;

/// The start of each attempt to recover a lost static IP, as time since the loss was observed. AWS may have allocated the IP to another
/// customer only for a while.
pub const RECOVERY: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
];

/// The progress of attempts to recover a static IP, with the number of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The next attempt may be made now.
    Due(usize),
    /// The next attempt may be made after this time.
    Waits(usize, Duration),
    /// All attempts were made.
    Spent,
}

impl Recovery {
    /// Returns the number of attempts.
    pub fn tries(self) -> usize {
        match self {
            Self::Due(tries) | Self::Waits(tries, _) => tries,
            Self::Spent => RECOVERY.len(),
        }
    }
}
