//! Distributes scarce capacity, so that no owner can take the share of another.

use std::collections::BTreeMap;

/// Returns the positions in round-robin order of their owners: the first of each owner, then the second of each, and so on.
pub fn in_turn<K: Ord>(owners: impl IntoIterator<Item = K>) -> Vec<usize> {
    let mut rounds: BTreeMap<K, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, usize)> = Vec::new();
    for (position, owner) in owners.into_iter().enumerate() {
        let round = rounds.entry(owner).or_default();
        turns.push((*round, position));
        *round += 1;
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, position)| position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_has_its_turn() {
        assert_eq!(in_turn("aaaabbc".chars()), [0, 4, 6, 1, 5, 2, 3]);
        assert_eq!(in_turn([0_u8; 0]), [0_usize; 0]);
    }
}
