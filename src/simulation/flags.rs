//! The flags of the replicas that differ from history to history.

use super::script::{Deed, Script};

/// The flags that can cost a static IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `--on-empty=delete`.
    pub deletes: bool,
    /// `--empty-grace-period`, in seconds.
    pub grace: u16,
    /// `--allow-new-eips`.
    pub new_eips: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            deletes: false,
            grace: 60,
            new_eips: false,
        }
    }
}

impl Script {
    pub fn flags(&self) -> Flags {
        let flags = self.deeds.iter().find_map(|(_, deed)| match deed {
            Deed::Flags(flags) => Some(*flags),
            _ => None,
        });
        flags.unwrap_or_default()
    }
}
