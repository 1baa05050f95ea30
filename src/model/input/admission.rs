//! The order of admission when not everything fits: the namespace with the least comes first, and within it the entry accepted first. So no
//! tenant can use up the capacity of others.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::base::ids::ObjectId;

/// The number of namespaces that a message names.
const NAMED: usize = 3;

/// A namespace of one of the watched clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenant<'a> {
    cluster: &'a str,
    namespace: &'a str,
}

impl<'a> Tenant<'a> {
    /// Returns the namespace of a ConfigMap.
    pub fn of(object: &'a ObjectId) -> Self {
        Self {
            cluster: &object.cluster,
            namespace: &object.namespace,
        }
    }
}

impl fmt::Display for Tenant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.cluster.is_empty() {
            write!(f, "{}/", self.cluster)?;
        }
        f.write_str(self.namespace)
    }
}

/// Orders the waiting items. The namespace with the least comes next, counting what it `has` already. Within a namespace, items are ordered
/// by number (None is the newest), then by their own order.
pub fn in_turn<'a, T: Ord>(
    mut waiting: Vec<(Tenant<'a>, Option<u64>, T)>,
    has: &BTreeMap<Tenant<'a>, usize>,
) -> Vec<T> {
    let number = |number: Option<u64>| number.unwrap_or(u64::MAX);
    waiting.sort_unstable_by(|(t1, n1, one), (t2, n2, two)| {
        (t1, number(*n1), one).cmp(&(t2, number(*n2), two))
    });
    let mut has = has.clone();
    let mut ranked = Vec::with_capacity(waiting.len());
    for (tenant, age, item) in waiting {
        let rank = has.entry(tenant).or_default();
        ranked.push((*rank, number(age), item));
        *rank += 1;
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., item)| item).collect()
}

/// Returns a text that names the largest namespaces: `most have payments (120 entries) and search (7 entries)`.
pub fn largest<'a>(tenants: impl Iterator<Item = Tenant<'a>>, what: &str) -> String {
    let mut counts: BTreeMap<Tenant<'a>, usize> = BTreeMap::new();
    for tenant in tenants {
        *counts.entry(tenant).or_default() += 1;
    }
    let mut counts: Vec<(Tenant<'a>, usize)> = counts.into_iter().collect();
    counts.sort_by(|(t1, one), (t2, two)| two.cmp(one).then(t1.cmp(t2)));
    let first = counts.iter().take(NAMED);
    let named: Vec<String> = first
        .map(|(tenant, count)| format!("{tenant} ({count} {what})"))
        .collect();
    format!("most have {}", named.join(", "))
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
