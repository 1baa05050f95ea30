//! The number of lists that may be added.

use crate::model::cloud::network_lists::SIZE;

/// The room for new lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewLists {
    /// The number of new lists of the usual size.
    pub usual: usize,
    /// The size of one more list, for the remaining room in the route tables; 0 if there is none.
    pub last: usize,
    /// Whether networks with direct routes move into free slots of lists, which makes room in the stack.
    pub moves: bool,
    /// Whether lists serve a network in some tables only. Networks with direct routes in some tables go into free slots, and a table without
    /// a route to a list gets direct routes to the networks of the list.
    pub partly: bool,
}

impl NewLists {
    /// Returns the room for new lists, given the free routes in the tables and the number of lists that the region allows.
    pub fn of(free_in_tables: usize, in_region: usize) -> Self {
        let usual = (free_in_tables / SIZE).min(in_region);
        // Rounded down to tens: the rest is left for other routes.
        let rest = free_in_tables % SIZE / 10 * 10;
        let last = if usual < in_region { rest } else { 0 };
        Self {
            usual,
            last,
            ..Self::default()
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
