use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn tenant(namespace: &str) -> Tenant<'_> {
    Tenant {
        cluster: "",
        namespace,
    }
}

#[test]
fn the_next_is_always_of_who_has_least() {
    let waiting = vec![
        (tenant("a"), None, "a new"),
        (tenant("a"), Some(1), "a 1"),
        (tenant("a"), Some(2), "a 2"),
        (tenant("b"), Some(9), "b 9"),
        (tenant("c"), None, "c new"),
    ];
    let order = in_turn(waiting.clone(), &BTreeMap::new());
    assert_eq!(order, ["a 1", "b 9", "c new", "a 2", "a new"]);
    let order = in_turn(waiting, &BTreeMap::from([(tenant("b"), 7)]));
    assert_eq!(order, ["a 1", "c new", "a 2", "a new", "b 9"]);
}

#[test]
fn the_largest_are_named() {
    let all = ["a", "b", "b", "c", "c", "c", "d"].map(tenant);
    assert_eq!(
        largest(all.into_iter(), "entries"),
        "most have c (3 entries), b (2 entries), a (1 entries)"
    );
}

proptest! {
    /// In any prefix of the order, no waiting tenant has less than an admitted one.
    #[test]
    fn any_part_is_shared_out(
        sizes in prop::collection::vec(0usize..40, 1..6),
        served in prop::collection::vec(0usize..40, 6),
        take in 0usize..200,
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut waiting = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            for number in 0..*size {
                let age = (number % 3 > 0).then_some(number as u64);
                waiting.push((tenant(names[index]), age, (names[index], number)));
            }
        }
        let all: BTreeSet<_> = waiting.iter().map(|(.., item)| *item).collect();
        let has: BTreeMap<_, _> = names.map(tenant).into_iter().zip(served).collect();
        let order = in_turn(waiting, &has);
        prop_assert_eq!(all.len(), order.len());
        let (taken, left) = order.split_at(take.min(order.len()));
        let count = |name: &str| has[&tenant(name)] + taken.iter().filter(|(of, _)| *of == name).count();
        for (waits, _) in left {
            for (name, _) in taken {
                prop_assert!(count(name) <= count(waits).max(has[&tenant(name)] + 1) + 1);
            }
        }
    }
}
