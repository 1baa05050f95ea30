//! A fair order of writes: namespaces take turns, so a namespace with many writes does not delay the others.

use std::collections::BTreeMap;

use crate::model::base::ids::ObjectId;

/// Records when each object and each namespace was served last. A namespace is stored as an object without a name.
#[derive(Default)]
pub(super) struct FairOrder {
    served: u64,
    last: BTreeMap<ObjectId, u64>,
}

impl FairOrder {
    /// Returns when the object's namespace was served last; smaller is earlier.
    pub(super) fn of_namespace(&self, id: &ObjectId) -> u64 {
        self.last.get(&namespace(id)).copied().unwrap_or(0)
    }

    pub(super) fn of_object(&self, id: &ObjectId) -> u64 {
        self.last.get(id).copied().unwrap_or(0)
    }

    /// Whether this turn is reserved for warnings.
    pub(super) fn is_for_warnings(&self) -> bool {
        self.served.is_multiple_of(2)
    }

    pub(super) fn serve(&mut self, id: &ObjectId) {
        self.served = self.served.saturating_add(1);
        self.last.insert(namespace(id), self.served);
        self.last.insert(id.clone(), self.served);
    }

    /// Removes objects that no longer exist, but not their namespaces: creating an object again must not give an extra turn.
    pub(super) fn tidy(&mut self, is_there: impl Fn(&ObjectId) -> bool) {
        self.last.retain(|id, _| id.name.is_empty() || is_there(id));
        let namespaces = self.last.keys().filter(|id| id.name.is_empty()).count();
        if namespaces > MAX_NAMESPACES {
            self.last.clear();
        }
    }
}

/// The maximum number of namespaces that are recorded.
const MAX_NAMESPACES: usize = 10_000;

fn namespace(id: &ObjectId) -> ObjectId {
    ObjectId {
        name: String::new(),
        ..id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str) -> ObjectId {
        ObjectId {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..ObjectId::default()
        }
    }

    #[test]
    fn an_object_that_is_made_again_gets_no_further_turn() {
        let mut order = FairOrder::default();
        order.serve(&id("a", "one"));
        order.serve(&id("b", "two"));
        assert!(order.of_namespace(&id("c", "x")) < order.of_namespace(&id("a", "x")));
        assert!(order.of_namespace(&id("a", "x")) < order.of_namespace(&id("b", "x")));
        assert!(order.of_object(&id("a", "two")) < order.of_object(&id("a", "one")));
        order.tidy(|_| false);
        assert_eq!(order.of_object(&id("a", "one")), 0);
        assert!(order.of_namespace(&id("a", "x")) > 0);
    }
}
