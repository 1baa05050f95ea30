//! Static IPs that zones had and that were released. AWS gives such an IP back to the account that asks for it, unless another account has it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::base::ids::Zone;

/// How often AWS is asked for an IP while its zone is added.
pub const TRIES: u32 = 4;

/// A zone, and a static IP that it had.
pub type Lost = (Zone, String);

/// The attempts to get a released static IP back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub times: u32,
    /// The time until the next attempt.
    pub left: Duration,
}

impl Asked {
    /// Whether AWS may be asked now.
    pub fn is_due(self) -> bool {
        self.times < TRIES && self.left.is_zero()
    }

    /// Returns the time until the next attempt. None if there is none, or it is due.
    pub fn wait(self) -> Option<Duration> {
        (self.times < TRIES && !self.left.is_zero()).then_some(self.left)
    }
}

/// The released static IPs for which AWS was asked.
pub type AskedIps = BTreeMap<Lost, Asked>;
