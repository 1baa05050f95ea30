//! Whose turn it is to be written to: no namespace waits because another one has more to tell.

use std::collections::BTreeMap;

use crate::model::base::ids::ObjectId;

/// Remembers who was served when. A namespace stands in it as an object without a name.
#[derive(Default)]
pub(super) struct Turns {
    served: u64,
    last: BTreeMap<ObjectId, u64>,
}

impl Turns {
    /// Returns when its namespace was last served; smaller is earlier.
    pub(super) fn of_namespace(&self, id: &ObjectId) -> u64 {
        self.last.get(&namespace(id)).copied().unwrap_or(0)
    }

    pub(super) fn of_object(&self, id: &ObjectId) -> u64 {
        self.last.get(id).copied().unwrap_or(0)
    }

    /// Whether this turn is one of those that are kept for who has to act.
    pub(super) fn is_for_warnings(&self) -> bool {
        self.served.is_multiple_of(2)
    }

    pub(super) fn serve(&mut self, id: &ObjectId) {
        self.served = self.served.saturating_add(1);
        self.last.insert(namespace(id), self.served);
        self.last.insert(id.clone(), self.served);
    }

    /// Forgets objects that are gone, but not their namespaces: making an object again gives no turn.
    pub(super) fn tidy(&mut self, is_there: impl Fn(&ObjectId) -> bool) {
        self.last.retain(|id, _| id.name.is_empty() || is_there(id));
        let namespaces = self.last.keys().filter(|id| id.name.is_empty()).count();
        if namespaces > MAX_NAMESPACES {
            self.last.clear();
        }
    }
}

/// Namespaces that are remembered.
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
        let mut turns = Turns::default();
        turns.serve(&id("a", "one"));
        turns.serve(&id("b", "two"));
        assert!(turns.of_namespace(&id("c", "x")) < turns.of_namespace(&id("a", "x")));
        assert!(turns.of_namespace(&id("a", "x")) < turns.of_namespace(&id("b", "x")));
        assert!(turns.of_object(&id("a", "two")) < turns.of_object(&id("a", "one")));
        turns.tidy(|_| false);
        assert_eq!(turns.of_object(&id("a", "one")), 0);
        assert!(turns.of_namespace(&id("a", "x")) > 0);
    }
}
