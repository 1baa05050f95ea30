//! The ConfigMaps of two clusters, and whoever edits them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::cidr;
use crate::model::request::{EntryId, Object, ObjectId};

pub const CLUSTERS: [&str; 2] = ["blue", "green"];
/// Neighbours that are merged into one route, networks inside of others, and some that stand alone.
const GOOD: [&str; 12] = [
    "8.8.8.8",
    "8.8.8.9",
    "8.8.8.0/24",
    "9.9.9.0/25",
    "9.9.9.128/25",
    "1.1.1.1/32",
    "20.0.0.0/16",
    "20.1.0.0/16",
    "20.0.7.0/24",
    "5.6.7.8",
    "64.4.0.0/18",
    "64.4.64.0/18",
];
/// No CIDR, a wrong one, and two that must not be routed.
const BAD: [&str; 4] = ["nonsense", "300.1.1.1", "172.31.64.3", "0.0.0.0/0"];

/// The truth: what the API servers of the clusters would answer.
#[derive(Clone, Debug, Default)]
pub struct Maps(pub BTreeMap<ObjectId, Object>);

impl Maps {
    /// One edit, in words.
    pub fn edit(&mut self) -> String {
        let cluster = CLUSTERS[fastrand::usize(0..CLUSTERS.len())];
        let id = ObjectId {
            cluster: cluster.to_owned(),
            namespace: "default".to_owned(),
            name: format!("map-{}", fastrand::u8(0..2)),
        };
        let key = format!("key-{}", fastrand::u8(0..3));
        if fastrand::u8(0..24) == 0 {
            return match self.0.remove(&id) {
                Some(_) => format!("{id} is deleted"),
                None => "nothing".to_owned(),
            };
        }
        let data = &mut self.0.entry(id.clone()).or_default().data;
        let value = match fastrand::u8(0..10) {
            0..2 => {
                data.remove(&key);
                return format!("{id} loses {key}");
            }
            2 => BAD[fastrand::usize(0..BAD.len())],
            _ => GOOD[fastrand::usize(0..GOOD.len())],
        };
        data.insert(key.clone(), value.to_owned());
        format!("{id} has {key}: {value}")
    }

    /// Takes every entry out that cannot be read.
    pub fn mend(&mut self) {
        for object in self.0.values_mut() {
            object.data.retain(|_, value| readable(value));
        }
    }

    pub fn unreadable(&self) -> BTreeSet<EntryId> {
        let of_object = |(object, content): (&ObjectId, &Object)| {
            let bad = content.data.iter().filter(|(_, value)| !readable(value));
            bad.map(|(key, _)| (object.clone(), key.clone()))
                .collect::<Vec<_>>()
        };
        let found = self.0.iter().flat_map(of_object);
        found.map(|(object, key)| EntryId { object, key }).collect()
    }

    pub fn entries(&self) -> BTreeMap<EntryId, Ipv4Net> {
        let mut found = BTreeMap::new();
        for (object, content) in &self.0 {
            for (key, value) in content.data.iter().filter(|(_, value)| readable(value)) {
                let id = EntryId {
                    object: object.clone(),
                    key: key.clone(),
                };
                let (net, _) = cidr::parse(value).expect("one of the good values");
                found.insert(id, net);
            }
        }
        found
    }
}

/// Decided by the lists above, not by the code under test.
pub fn readable(value: &str) -> bool {
    GOOD.contains(&value)
}

/// Whether every address of the network has a route.
pub fn covered(net: Ipv4Net, routes: &BTreeSet<Ipv4Net>) -> bool {
    if routes.iter().any(|route| route.contains(&net)) {
        return true;
    }
    let inside = routes.iter().any(|route| net.contains(route));
    let halves = net.subnets(net.prefix_len() + 1);
    inside && halves.is_ok_and(|mut halves| halves.all(|half| covered(half, routes)))
}

#[test]
fn coverage_is_judged_by_addresses() {
    let net = |text: &str| text.parse::<Ipv4Net>().expect("a network");
    let routes = BTreeSet::from([net("9.9.9.0/25"), net("9.9.9.128/26"), net("9.9.9.192/26")]);
    assert!(covered(net("9.9.9.0/24"), &routes) && covered(net("9.9.9.7/32"), &routes));
    assert!(!covered(net("9.9.8.0/23"), &routes) && !covered(net("8.8.8.8/32"), &routes));
}
