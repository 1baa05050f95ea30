//! How many lists may be made.

use crate::model::cloud::network_lists::SIZE;

/// The room for new lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewLists {
    /// How many of the usual size.
    pub usual: usize,
    /// The size of one more, for the rest of the room in the route tables; 0: there is none.
    pub last: usize,
    /// Whether networks with routes of their own move into free places of lists, for the room in the stack.
    pub moves: bool,
}

impl NewLists {
    /// Returns the room by what the tables and the region take.
    pub fn of(free_in_tables: usize, in_region: usize) -> Self {
        let usual = (free_in_tables / SIZE).min(in_region);
        // Some is left for routes of others.
        let rest = free_in_tables % SIZE / 10 * 10;
        let last = if usual < in_region { rest } else { 0 };
        Self {
            usual,
            last,
            moves: false,
        }
    }

    /// Takes the room of one list, and returns its size.
    pub(super) fn take(&mut self) -> Option<usize> {
        if self.usual > 0 {
            self.usual -= 1;
            return Some(SIZE);
        }
        Some(std::mem::take(&mut self.last)).filter(|size| *size > 0)
    }
}
