//! The network lists of a template: prefix lists of the stack, with one route for each worker table.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::model::base::ids::TableId;
use crate::model::cloud::logical_id::renewal;
use crate::model::cloud::part_names::alphanumeric;
use crate::model::cloud::resource_type::ResourceType;

/// The type of a network list.
pub const KIND: &str = "AWS::EC2::PrefixList";
/// How many networks a new list may have. A live list keeps its size: EC2 refuses a change of size and entries in one call, and
/// CloudFormation makes both in one.
pub const SIZE: usize = 100;

const NAME: &str = "NetworkList";

/// A network list, as a template has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkList {
    pub entries: BTreeSet<Ipv4Net>,
    /// `MaxEntries`: each route to the list counts for that many in its table.
    pub size: usize,
}

/// Returns the logical id of a list.
pub fn list_name(number: usize) -> String {
    format!("{NAME}{number:02}")
}

/// Returns the logical id of the route of a table to a list.
pub fn list_route_name(table: &str, list: &str) -> String {
    format!("RouteToNAT{}z{list}", alphanumeric(table))
}

/// The number in the logical id of a list.
pub fn number_of(id: &str) -> Option<usize> {
    let (id, _) = renewal(id);
    id.strip_prefix(NAME)?.parse().ok()
}

/// The list, by its logical id, that a route with this logical id leads traffic by.
pub fn list_of_route<'a>(id: &'a str, table: &str) -> Option<&'a str> {
    let list = id.strip_prefix(&format!("RouteToNAT{}z", alphanumeric(table)))?;
    number_of(list).map(|_| list)
}

/// Returns a network list by what its resource says. A list that has another name, or an entry that is no IPv4 network, is none.
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

/// Returns the table and the list of a route to a list, by what its resource says.
pub(super) fn route(kind: &str, properties: &Value) -> Option<(TableId, String)> {
    let is_route = ResourceType::of(kind) == ResourceType::Route;
    let list = properties["DestinationPrefixListId"]["Ref"].as_str()?;
    let table = properties["RouteTableId"].as_str()?;
    is_route.then(|| (table.to_owned(), list.to_owned()))
}

/// Says in words how the entries of a list change.
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

/// Networks that a change names.
const NAMED: usize = 3;
