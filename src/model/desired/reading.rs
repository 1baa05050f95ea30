//! Reads and judges every entry, within the limits of each ConfigMap, of each namespace and of all together.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr::{self, Caution, Refusal, Rules};
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::input::admission::{self, Tenant};
use crate::model::input::request::{MAX_ENTRIES, Object, Snapshot};
use crate::model::persisted::recall::Recall;

/// The value of an entry, read and judged.
pub struct Reading<'a> {
    pub text: &'a str,
    pub net: Ipv4Net,
    pub masked: bool,
    pub caution: Option<Caution>,
    /// Whether the network was accepted before.
    pub known: bool,
}

type Read<'a> = (EntryId, Result<Reading<'a>, Refusal>);

/// All entries, as far as the limit allows to read them.
pub struct Readings<'a> {
    pub entries: Vec<Read<'a>>,
    pub unread: Vec<Unread<'a>>,
    /// The namespaces with the most entries, as text.
    pub largest: String,
}

/// The keys of one ConfigMap that are not read because all ConfigMaps together have too many.
pub struct Unread<'a> {
    pub object: &'a ObjectId,
    pub keys: Vec<&'a str>,
}

/// Reads and judges all entries.
pub fn read<'a>(snapshot: &'a Snapshot, rules: &Rules, recall: Recall<'_>) -> Readings<'a> {
    let (left_out, largest) = beyond_budget(snapshot, recall);
    let mut entries = Vec::new();
    let mut unread = Vec::new();
    for (id, object) in &snapshot.objects {
        let mut of_object = Vec::new();
        let mut keys = Vec::new();
        for (key, text) in &object.data {
            if left_out.contains(&(id, key.as_str())) {
                keys.push(key.as_str());
                continue;
            }
            let entry = EntryId {
                object: id.clone(),
                key: key.clone(),
            };
            let read = judge(&entry, text, rules, recall);
            of_object.push((entry, read));
        }
        limit_addresses(&mut of_object, rules);
        entries.append(&mut of_object);
        if !keys.is_empty() {
            unread.push(Unread { object: id, keys });
        }
    }
    limit_networks(&mut entries, rules, recall);
    Readings {
        entries,
        unread,
        largest,
    }
}

fn judge<'a>(
    entry: &EntryId,
    text: &'a str,
    rules: &Rules,
    recall: Recall<'_>,
) -> Result<Reading<'a>, Refusal> {
    let (net, masked) = cidr::parse(text)?;
    let asked = recall.asked(entry);
    let known = asked.is_some_and(|asked| asked.contains(&net));
    let caution = rules.check(net, known)?;
    Ok(Reading {
        text,
        net,
        masked,
        caution,
        known,
    })
}

/// Returns the entries beyond the limit of all, by ConfigMap and key, and the text that names the largest namespaces. The namespaces take
/// turns, and within a namespace older entries come first.
fn beyond_budget<'a>(
    snapshot: &'a Snapshot,
    recall: Recall<'_>,
) -> (BTreeSet<(&'a ObjectId, &'a str)>, String) {
    let objects = snapshot.objects.iter();
    let all: usize = objects.clone().map(|(_, object)| object.data.len()).sum();
    if all <= MAX_ENTRIES {
        return (BTreeSet::new(), String::new());
    }
    let entry = |object: &ObjectId, key: &str| EntryId {
        object: object.clone(),
        key: key.to_owned(),
    };
    let of = |(id, object): (&'a ObjectId, &'a Object)| {
        let keys = object.data.keys();
        keys.map(move |key| {
            (
                Tenant::of(id),
                recall.number(&entry(id, key)),
                (id, key.as_str()),
            )
        })
    };
    let waiting: Vec<_> = objects.flat_map(of).collect();
    let tenants = waiting.iter().map(|(tenant, ..)| *tenant);
    let largest = admission::largest(tenants, "entries");
    let ordered = admission::in_turn(waiting, &BTreeMap::new());
    (ordered.into_iter().skip(MAX_ENTRIES).collect(), largest)
}

/// Refuses the networks beyond the limit of a namespace. Networks that are routed or were accepted before stay, and count first.
fn limit_networks(entries: &mut [Read<'_>], rules: &Rules, recall: Recall<'_>) {
    let Some(limit) = rules.max_networks else {
        return;
    };
    let mut queue = Vec::new();
    for (index, (entry, read)) in entries.iter().enumerate() {
        if let Ok(Reading { net, known, .. }) = read {
            let is_new = !known && !rules.is_routed(net);
            let number = recall.number(entry).unwrap_or(u64::MAX);
            queue.push((is_new, number, index, *net));
        }
    }
    queue.sort_unstable();
    let mut taken: BTreeMap<(String, String), BTreeSet<Ipv4Net>> = BTreeMap::new();
    for (is_new, _, index, net) in queue {
        let Some((entry, read)) = entries.get_mut(index) else {
            continue;
        };
        let object = &entry.object;
        let tenant = (object.cluster.clone(), object.namespace.clone());
        let nets = taken.entry(tenant).or_default();
        if cidr::supernets(net).any(|wide| nets.contains(&wide)) {
            continue;
        }
        if nets.len() < limit || !is_new {
            nets.insert(net);
            continue;
        }
        *read = Err(Refusal::NamespaceFull {
            namespace: object.namespace.clone(),
            limit,
        });
    }
}

/// Refuses the networks that would give a ConfigMap more addresses than its limit. Networks that are routed or were accepted before stay.
fn limit_addresses(readings: &mut [Read<'_>], rules: &Rules) {
    let mut addresses = Addresses::default();
    let mut nets: Vec<(bool, usize, Ipv4Net)> = Vec::new();
    for (index, (_, read)) in readings.iter().enumerate() {
        if let Ok(Reading { net, known, .. }) = read {
            nets.push((!known && !rules.is_routed(net), index, *net));
        }
    }
    nets.sort_unstable();
    for (is_new, index, net) in nets {
        let in_all = addresses.with(net);
        let fits = in_all <= cidr::MAX_ADDRESSES_PER_OBJECT;
        if fits || !is_new {
            addresses.add(net);
        }
        let Some((_, read)) = readings.get_mut(index).filter(|_| !fits) else {
            continue;
        };
        let refusal = Refusal::TooManyAddresses { net, in_all };
        match read {
            Ok(_) if is_new => *read = Err(refusal),
            Ok(reading) => {
                let kept = Caution::Kept(Box::new(refusal));
                reading.caution.get_or_insert(kept);
            }
            Err(_) => {}
        }
    }
}

/// The distinct addresses of several networks.
#[derive(Default)]
struct Addresses {
    /// The networks, disjoint.
    nets: BTreeSet<Ipv4Net>,
    count: u64,
}

impl Addresses {
    /// Returns the number of addresses with one more network.
    fn with(&self, net: Ipv4Net) -> u64 {
        if cidr::supernets(net).any(|wide| self.nets.contains(&wide)) {
            return self.count;
        }
        let inside: u64 = self.inside(net).map(size).sum();
        self.count + size(net) - inside
    }

    fn add(&mut self, net: Ipv4Net) {
        let count = self.with(net);
        if count > self.count {
            let inside: Vec<Ipv4Net> = self.inside(net).collect();
            for inner in inside {
                self.nets.remove(&inner);
            }
            self.nets.insert(net);
        }
        self.count = count;
    }

    fn inside(&self, net: Ipv4Net) -> impl Iterator<Item = Ipv4Net> + '_ {
        let last = Ipv4Net::from(net.broadcast());
        self.nets.range(net..=last).copied()
    }
}

fn size(net: Ipv4Net) -> u64 {
    1 << (32 - net.prefix_len())
}
