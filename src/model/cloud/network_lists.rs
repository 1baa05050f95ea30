//! The network lists of a template: prefix lists of the stack, with one route in each worker table.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::model::base::ids::TableId;
use crate::model::cloud::logical_id::renewal;
use crate::model::cloud::part_names::alphanumeric;
use crate::model::cloud::prefix_list::{ListId, PrefixList};
use crate::model::cloud::resource_type::ResourceType;

/// The resource type of a network list.
pub const KIND: &str = "AWS::EC2::PrefixList";
/// The number of networks that a new list may have. A live list keeps its size: EC2 refuses a change of size and entries in one call, and
/// CloudFormation sends both in one.
pub const SIZE: usize = 100;

const NAME: &str = "NetworkList";

/// A network list of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkList {
    pub entries: BTreeSet<Ipv4Net>,
    /// `MaxEntries`: the number of routes that a route to the list counts for in its table.
    pub size: usize,
}

impl NetworkList {
    /// Whether EC2 shows the list with these entries and this size.
    pub fn is_shown_by(&self, seen: &PrefixList) -> bool {
        seen.entries == self.entries && seen.max_entries == self.size
    }
}

/// A network list of the live stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveList {
    /// The prefix list, `pl-…`. None until the first read for drift.
    pub id: Option<ListId>,
    pub list: NetworkList,
}

/// Returns the logical id of a list.
pub fn list_name(number: usize) -> String {
    format!("{NAME}{number:02}")
}

/// Returns the logical id of a table's route to a list.
pub fn list_route_name(table: &str, list: &str) -> String {
    format!("RouteToNAT{}z{list}", alphanumeric(table))
}

/// Returns the number in the logical id of a list.
pub fn number_of(id: &str) -> Option<usize> {
    let (id, _) = renewal(id);
    id.strip_prefix(NAME)?.parse().ok()
}

/// Returns the logical id of the list that a table's route with this logical id leads to.
pub fn list_of_route<'a>(id: &'a str, table: &str) -> Option<&'a str> {
    let list = id.strip_prefix(&format!("RouteToNAT{}z", alphanumeric(table)))?;
    number_of(list).map(|_| list)
}

/// Returns the network list of a resource. None if the resource has another name, or an entry that is not an IPv4 network.
pub(super) fn list(id: &str, kind: &str, properties: &Value) -> Option<NetworkList> {
    let is_list = ResourceType::of(kind) == ResourceType::PrefixList;
    number_of(id)
        .filter(|_| is_list)
        .and_then(|_| read(properties))
}

fn read(properties: &Value) -> Option<NetworkList> {
    let no_entries = Vec::new();
    let entries = properties["Entries"].as_array().unwrap_or(&no_entries);
    let entry = |entry: &Value| entry["Cidr"].as_str()?.parse::<Ipv4Net>().ok();
    let entries = entries.iter().map(|it| Some(entry(it)?.trunc()));
    Some(NetworkList {
        entries: entries.collect::<Option<_>>()?,
        size: properties["MaxEntries"].as_str()?.parse().ok()?,
    })
}

/// Returns the table and the list of a route resource. None if the route leads to no list of the stack.
pub(super) fn route(kind: &str, properties: &Value) -> Option<(TableId, String)> {
    let is_route = ResourceType::of(kind) == ResourceType::Route;
    let list = properties["DestinationPrefixListId"]["Ref"].as_str()?;
    let table = properties["RouteTableId"].as_str()?;
    is_route.then(|| (table.to_owned(), list.to_owned()))
}

/// Describes how the entries of a list change.
pub fn change(has: &Value, wants: &Value) -> String {
    let entries = |list| read(list).unwrap_or_default().entries;
    let (has, wants) = (entries(has), entries(wants));
    let more: Vec<String> = wants.difference(&has).map(ToString::to_string).collect();
    let fewer: Vec<String> = has.difference(&wants).map(ToString::to_string).collect();
    let named = |nets: &[String]| match nets {
        [] => "none".to_owned(),
        few if few.len() <= NAMED => few.join(", "),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    format!(
        "network list with {} networks: new {}, gone {}",
        wants.len(),
        named(&more),
        named(&fewer)
    )
}

/// The number of networks that the description of a change names.
const NAMED: usize = 3;
