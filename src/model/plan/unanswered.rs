//! Records what users request while AWS does not answer: an entry that joins a live route is served by it, and only the ledger tells later
//! leaders what the entry requested, if it becomes unreadable.

use ipnet::Ipv4Net;

use crate::model::base::cidr::Rules;
use crate::model::desired::parse::parse;
use crate::model::input::request::Snapshot;
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;

/// Returns the ledger with the entries that `rules`, those of the last plan, accept. No line is removed, because the live routes are unknown.
pub fn record(snapshot: &Snapshot, rules: &Rules, recall: Recall<'_>) -> Option<Ledger> {
    let known = recall.ledger()?;
    let (request, _) = parse(snapshot, rules, recall, None);
    let live = None::<std::iter::Empty<&Ipv4Net>>;
    let (ledger, ..) = known.after(snapshot, &request, live, true);
    Some(ledger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::base::ids::{EntryId, ObjectId};
    use crate::model::input::object::Object;

    fn asking(entries: &[(&str, &str)]) -> Snapshot {
        let mut object = Object::default();
        for (key, value) in entries {
            object.put(key, value);
        }
        Snapshot {
            objects: [(ObjectId::default(), object)].into(),
            ..Snapshot::default()
        }
    }

    fn asked(ledger: &Ledger, key: &str) -> Option<String> {
        let entry = EntryId {
            object: ObjectId::default(),
            key: key.to_owned(),
        };
        ledger.asked(&entry).map(|net| net.to_string())
    }

    #[test]
    fn new_entries_get_a_line_and_no_line_goes() {
        let rules = Rules {
            vpc: vec!["20.0.0.0/16".parse().unwrap()],
            ..Rules::default()
        };
        let next = |ledger: &Ledger, entries: &[(&str, &str)]| {
            record(&asking(entries), &rules, Recall::Known(ledger)).expect("a ledger")
        };
        let first = next(
            &Ledger::new("egress"),
            &[("dns", "8.8.8.8"), ("vpc", "20.0.1.0/24")],
        );
        assert_eq!(asked(&first, "dns").as_deref(), Some("8.8.8.8/32"));
        assert_eq!(asked(&first, "vpc"), None, "the rules refuse it");
        let second = next(&first, &[("two", "9.9.9.9")]);
        assert_eq!(asked(&second, "dns").as_deref(), Some("8.8.8.8/32"));
        assert_eq!(asked(&second, "two").as_deref(), Some("9.9.9.9/32"));
        // The route of the former network may exist.
        let third = next(&second, &[("two", "1.1.1.1")]);
        let former: Ipv4Net = "9.9.9.9/32".parse().unwrap();
        assert!(third.explains([former].iter()));
        assert_eq!(next(&third, &[("two", "typo")]), third);
        assert_eq!(record(&asking(&[]), &rules, Recall::Nowhere), None);
    }
}
