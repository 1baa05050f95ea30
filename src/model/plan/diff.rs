//! Compares the live stack with the desired one, and decides which differences are refused.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::fmt;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::model::base::ids::EntryId;
use crate::model::cloud::layout::{Layout, Resource};
use crate::model::cloud::live::{Change, Effect};
use crate::model::cloud::more_ips::{SECONDARY, used_ips_grow};
use crate::model::cloud::network_lists;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::desired::template::{self, Template};
use crate::model::input::request::Request;

const OUTPUT: &str = "output";
const TAG: &str = "tag";
/// The maximum number of entries that the description of a route names all. Of more entries, it names one and counts the others.
const NAMED_ENTRIES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    Add,
    Modify,
    Remove,
}

/// One difference, with a description from which a user can judge it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub kind: Kind,
    /// Logical id of a resource, name of an output or key of a tag.
    pub id: String,
    /// `AWS::EC2::Route`, …, `output` or `tag`.
    pub resource_type: String,
    pub what: String,
    /// Whether the modification replaces the resource.
    #[serde(skip)]
    create_only: bool,
}

impl Difference {
    /// Whether CloudFormation would replace the resource by a new one.
    pub fn is_replacement(&self) -> bool {
        self.kind == Kind::Modify && self.create_only
    }

    /// Whether the stack gives up the live resource.
    pub fn is_loss(&self) -> bool {
        self.kind == Kind::Remove || self.is_replacement()
    }

    /// Describes the difference as the use of one more static IP by a NAT gateway, or as the end of its use.
    pub(in crate::model) fn tell_use(&mut self, ip: &str, begins: bool) {
        let end = if begins { ", too" } else { " no more" };
        self.what = format!("NAT gateway: traffic leaves from {ip}{end}");
    }

    /// Returns the change after which an EIP stays in the account when the stack gives it up.
    pub(in crate::model) fn retention(id: String) -> Self {
        Self {
            kind: Kind::Modify,
            id,
            resource_type: "AWS::EC2::EIP".to_owned(),
            what: "static IP: it stays in the account when the stack gives it up".to_owned(),
            create_only: false,
        }
    }
}

impl Difference {
    /// Describes the replacement of a static IP, if the difference is a part of it.
    pub(in crate::model) fn tell_replacement(&mut self, gateway: &str, ip: &str) {
        if self.id == gateway {
            self.what =
                format!("NAT gateway: another one, with the static IP {ip}, before this one goes");
        } else if self.kind == Kind::Remove
            && ResourceType::of(&self.resource_type) == ResourceType::Eip
        {
            self.what = "static IP: the stack gives it up, and it stays in the account".to_owned();
        }
    }

    /// Whether the difference only names the owner of the stack.
    pub fn names_owner(&self) -> bool {
        self.resource_type == OUTPUT && self.id == template::OWNER
    }

    /// Whether the difference only names the owner of a stack that names none.
    pub fn is_claim(&self) -> bool {
        self.kind == Kind::Add && self.names_owner()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            Kind::Add => '+',
            Kind::Modify => '~',
            Kind::Remove => '-',
        };
        write!(f, "{sign} {} ({})", self.what, self.id)
    }
}

/// Returns the differences from the live layout to the template.
pub fn between(live: &Layout, template: &Template, request: &Request) -> Vec<Difference> {
    // A template that this program makes is always readable.
    let wanted = Layout::read(&template.text, &template.parameters).unwrap_or_default();
    // The entries are sorted only if something differs, which is rare.
    let by_net = LazyCell::new(|| by_net(request));
    let served = |cidr: &str| entries_of(cidr, &by_net);
    let resource = |kind, id: &String, resource: &Resource, create_only| Difference {
        kind,
        id: id.clone(),
        resource_type: resource.kind.clone(),
        what: match kind {
            Kind::Remove => describe(resource, |_| String::new()),
            Kind::Add | Kind::Modify => describe(resource, served),
        },
        create_only,
    };
    let mut differences = Vec::new();
    for (id, wants) in &wanted.resources {
        match live.resources.get(id) {
            None => differences.push(resource(Kind::Add, id, wants, false)),
            Some(has) if has != wants => {
                let mut change = resource(Kind::Modify, id, wants, replaced(has, wants));
                if ResourceType::of(&wants.kind) == ResourceType::PrefixList {
                    change.what = network_lists::change(&has.properties, &wants.properties);
                }
                differences.push(change);
            }
            Some(_) => {}
        }
    }
    let gone = live
        .resources
        .iter()
        .filter(|(id, _)| !wanted.resources.contains_key(*id));
    differences.extend(gone.map(|(id, has)| resource(Kind::Remove, id, has, false)));
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let as_text = |outputs: &BTreeMap<String, Value>| {
        outputs.iter().map(|(k, v)| (k.clone(), text(v))).collect()
    };
    differences.extend(of_texts(
        OUTPUT,
        &as_text(&live.outputs),
        &as_text(&wanted.outputs),
    ));
    differences
}

/// Returns the differences of the stack's own tags. A live tag that is not in the settings counts, since a change replaces all tags.
pub fn of_tags(
    live: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Vec<Difference> {
    of_texts(TAG, live, wanted)
}

fn of_texts(
    what: &'static str,
    live: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let one = |kind, id: &String, value: &String| Difference {
        kind,
        id: id.clone(),
        resource_type: what.to_owned(),
        what: match what {
            TAG => format!("tag {id}={value}"),
            _ if id == template::OWNER => format!("the stack's owner, the cluster {value}"),
            _ => format!("output of {id}"),
        },
        create_only: false,
    };
    let missing = wanted.iter().filter_map(|(id, value)| match live.get(id) {
        None => Some(one(Kind::Add, id, value)),
        Some(other) if other != value => Some(one(Kind::Modify, id, value)),
        Some(_) => None,
    });
    let surplus = live.iter().filter(|(id, _)| !wanted.contains_key(*id));
    missing
        .chain(surplus.map(|(id, value)| one(Kind::Remove, id, value)))
        .collect()
}

pub(in crate::model) fn is_protected(resource_type: &str) -> bool {
    ResourceType::of(resource_type).is_protected()
}

/// Whether CloudFormation would replace the resource by a new one. Create-only properties follow CloudFormation's resource schemas: only
/// tags, a Route's target, added secondary IPs, and a list's name, size and entries can change in place.
fn replaced(has: &Resource, wants: &Resource) -> bool {
    let is_route = ResourceType::of(&wants.kind) == ResourceType::Route;
    let is_list = ResourceType::of(&wants.kind) == ResourceType::PrefixList;
    let names_route = ["RouteTableId", "DestinationPrefixListId"];
    let only_grows = used_ips_grow(has, wants);
    let in_place = |key: &str| {
        let is_target = is_route && key.ends_with("Id") && !names_route.contains(&key);
        let is_use = only_grows && key == SECONDARY;
        key == "Tags" || is_target || is_use || (is_list && key != "AddressFamily")
    };
    let fixed = |resource: &Resource| -> BTreeMap<String, Value> {
        let fields = resource.properties.as_object().into_iter().flatten();
        fields
            .filter(|(key, _)| !in_place(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    has.kind != wants.kind || fixed(has) != fixed(wants)
}

/// Returns why the differences are refused, if they are. `allowed` says whether a resource may go.
pub fn refusal(
    differences: &[Difference],
    strangers: &[String],
    allowed: impl Fn(&str) -> bool,
) -> Option<String> {
    if !strangers.is_empty() {
        return Some(format!(
            "the stack has resources that this controller did not make ({}), and a change would delete them; move them to a \
             stack of their own",
            strangers.join(", ")
        ));
    }
    let lost = differences
        .iter()
        .find(|d| is_protected(&d.resource_type) && d.is_loss() && !allowed(&d.id))?;
    Some(format!(
        "the change would replace or remove {} ({}), and its static IP with it; undo the setting that requires this (VPC, zone, NAT \
         CIDR)",
        lost.what, lost.id
    ))
}

/// Returns why a change set must not be executed: it makes a change that was not planned or is not `allowed`.
pub fn unplanned(
    changes: &[Change],
    planned: &[Difference],
    allowed: impl Fn(&str) -> bool,
) -> Option<String> {
    let planned = |id: &str, kind| planned.iter().any(|d| d.id == id && d.kind == kind);
    let surprise = changes.iter().find(|change| {
        let id = change.logical_id.as_str();
        if stays_in_place(change, changes) {
            return false;
        }
        let expected = match change.effect {
            Effect::Add => planned(id, Kind::Add),
            Effect::Tags | Effect::Record => true,
            Effect::Modify => planned(id, Kind::Modify) || follows(change, changes),
            Effect::MayReplace => planned(id, Kind::Modify),
            Effect::Remove => planned(id, Kind::Remove),
            Effect::Other => false,
        };
        let loss = matches!(
            change.effect,
            Effect::MayReplace | Effect::Remove | Effect::Other
        );
        let replaces_list = change.is_of_list() && change.effect == Effect::MayReplace;
        !expected || replaces_list || (loss && is_protected(&change.resource_type) && !allowed(id))
    })?;
    Some(surprise_text(surprise))
}

/// Returns why a change set that reverts drift must not be executed: it removes a resource, or makes or replaces one that a static IP
/// depends on and that is not to be `renewed`.
pub fn beyond_repair(changes: &[Change], renewed: impl Fn(&str) -> bool) -> Option<String> {
    let surprise = changes.iter().find(|change| match change.effect {
        Effect::Modify | Effect::Tags | Effect::Record => false,
        Effect::Add | Effect::MayReplace => {
            is_protected(&change.resource_type)
                && !renewed(&change.logical_id)
                && !stays_in_place(change, changes)
        }
        Effect::Remove | Effect::Other => true,
    })?;
    Some(surprise_text(surprise))
}

/// Whether the resource stays. CloudFormation cannot announce that an attribute stays, but it does if its resource is modified in place.
fn stays_in_place(change: &Change, changes: &[Change]) -> bool {
    let in_place = [Effect::Modify, Effect::Tags];
    change.effect == Effect::MayReplace && hangs_on(change, changes, &in_place)
}

/// Whether a resource is modified only because of other resources in the change set, each of which is checked by itself.
fn follows(change: &Change, changes: &[Change]) -> bool {
    let effects = [Effect::Modify, Effect::Tags, Effect::MayReplace];
    hangs_on(change, changes, &effects)
}

/// Whether a change depends only on resources that have one of these effects.
fn hangs_on(change: &Change, changes: &[Change], effects: &[Effect]) -> bool {
    let has_effect = |id: &String| {
        let mut others = changes.iter();
        others.any(|other| other.logical_id == *id && effects.contains(&other.effect))
    };
    !change.dynamic_on.is_empty() && change.dynamic_on.iter().all(has_effect)
}

fn surprise_text(surprise: &Change) -> String {
    format!(
        "CloudFormation would {} {} ({}), which was not planned, so the change set is not executed",
        match surprise.effect {
            Effect::Add => "add",
            Effect::Modify => "modify",
            Effect::Tags => "tag",
            Effect::MayReplace => "replace",
            Effect::Remove => "remove",
            Effect::Record => "record",
            Effect::Other => "act on",
        },
        surprise.logical_id,
        surprise.resource_type
    )
}

/// Describes a resource. `served` names the entries that a route serves.
fn describe(resource: &Resource, served: impl Fn(&str) -> String) -> String {
    let text = |key: &str| resource.properties[key].as_str().unwrap_or("?").to_owned();
    match resource.kind.as_str() {
        "AWS::EC2::EIP" => "static IP".to_owned(),
        "AWS::EC2::NatGateway" => "NAT gateway".to_owned(),
        "AWS::EC2::Subnet" => format!(
            "NAT subnet {} in {}",
            text("CidrBlock"),
            text("AvailabilityZone")
        ),
        "AWS::EC2::RouteTable" => "route table of a NAT subnet".to_owned(),
        "AWS::EC2::SubnetRouteTableAssociation" => {
            "association of a NAT subnet with its route table".to_owned()
        }
        "AWS::EC2::Route" => {
            let gateway = resource.properties["NatGatewayId"]["Ref"].as_str();
            let list = resource.properties["DestinationPrefixListId"]["Ref"].as_str();
            if let (Some(gateway), Some(list)) = (gateway, list) {
                return format!("route to {list} in {} to {gateway}", text("RouteTableId"));
            }
            let Some(gateway) = gateway else {
                return format!("route {} of a NAT subnet", text("DestinationCidrBlock"));
            };
            let cidr = text("DestinationCidrBlock");
            let entries = served(&cidr);
            format!(
                "route {cidr} in {} to {gateway}{entries}",
                text("RouteTableId")
            )
        }
        network_lists::KIND => {
            let entries = resource.properties["Entries"]
                .as_array()
                .map_or(0, Vec::len);
            format!("network list with {entries} networks")
        }
        other => format!("resource of type {other}"),
    }
}

/// The entries that request each network.
type ByNet<'a> = BTreeMap<Ipv4Net, Vec<&'a EntryId>>;

fn by_net(request: &Request) -> ByNet<'_> {
    let mut by_net = ByNet::new();
    for (entry, net) in &request.entries {
        by_net.entry(*net).or_default().push(entry);
    }
    by_net
}

/// Returns the entries that a route serves as a phrase, such as ` for ns/name key "k"`.
fn entries_of(cidr: &str, by_net: &ByNet<'_>) -> String {
    let Ok(cidr) = cidr.parse::<Ipv4Net>() else {
        return String::new();
    };
    let inside = by_net.range(cidr..);
    let inside = inside.take_while(|(net, _)| cidr.contains(*net));
    let mut served: Vec<&EntryId> = inside.flat_map(|(_, entries)| entries).copied().collect();
    served.sort_unstable();
    match served.as_slice() {
        [] => String::new(),
        few if few.len() <= NAMED_ENTRIES => {
            let few: Vec<String> = few.iter().map(ToString::to_string).collect();
            format!(" for {}", few.join(" and "))
        }
        [first, rest @ ..] => format!(" for {first} and {} more", rest.len()),
    }
}
