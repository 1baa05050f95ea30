//! Plants the bugs of prefix lists.

use serde_json::{Map, Value, json};

use super::bugs::Bug;
use super::shift_laws::is_listed;
use super::world::World;
use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::Stack;
use crate::model::cloud::network::Network;
use crate::model::desired::template::Template;

/// Counts a route to a list as one route.
pub fn underrate(network: &mut Network) {
    for table in network.worker_tables.values_mut() {
        table.listed = table.list_routes.len();
    }
}

/// Changes the text of a template. None if the text has no resources.
fn changed(text: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Option<String> {
    let mut template: Value = serde_json::from_str(text).ok()?;
    change(template["Resources"].as_object_mut()?);
    Some(template.to_string())
}

fn is(body: &Value, kind: &str) -> bool {
    body["Type"] == format!("AWS::EC2::{kind}")
}

/// Returns the entries of a list, if it has several.
fn several(body: &mut Value) -> Option<&mut Vec<Value>> {
    let is_list = is(body, "PrefixList");
    let entries = body["Properties"]["Entries"].as_array_mut();
    entries.filter(|entries| is_list && entries.len() > 1)
}

/// Makes each list of the stack with several entries look different from the desired list.
pub fn differ(stack: &mut Stack) {
    let text = changed(&stack.template, |resources| {
        for entries in resources.values_mut().filter_map(several) {
            entries.pop();
        }
    });
    stack.template = text.unwrap_or_else(|| stack.template.clone());
}

/// Plants the history's bug in the lists of a change.
pub fn in_template(world: &World, template: &mut Template) {
    let bug = world.bug;
    if !bug.is_of_lists() && bug != Bug::DirectRoutesLeaveEarly {
        return;
    }
    let live = &world.account.layout();
    let after = &Layout::read(&template.text, &template.parameters).unwrap_or_default();
    let text = changed(&template.text, |resources| match bug {
        Bug::EntryMoved => move_entry(resources, live),
        Bug::DirectRoutesLeaveEarly => leave_direct(resources, live, after),
        Bug::ListResized => {
            let lists = resources.iter_mut();
            let lists = lists
                .filter(|(id, body)| is(body, "PrefixList") && live.resources.contains_key(*id));
            for (_, body) in lists {
                body["Properties"]["MaxEntries"] = json!(11);
            }
        }
        Bug::ListAcrossZones => {
            let mut gateways = resources.iter().filter(|(_, body)| is(body, "NatGateway"));
            let first = gateways.next().map(|(id, _)| json!({ "Ref": id }));
            let to_list =
                |body: &&mut Value| !body["Properties"]["DestinationPrefixListId"].is_null();
            for body in resources.values_mut().filter(to_list) {
                body["Properties"]["NatGatewayId"] = first.clone().unwrap_or_default();
            }
        }
        _ => {}
    });
    if let Some(text) = text {
        template.text = text;
    }
}

/// Removes the direct routes of the networks that a list has before and after the change.
fn leave_direct(resources: &mut Map<String, Value>, live: &Layout, after: &Layout) {
    let (live, after) = (live.names(), after.names());
    let listed = |route| is_listed(&live, route) && is_listed(&after, route);
    for (route, id) in &after.routes {
        if after.is_direct(route) && listed(route) {
            resources.remove(id);
        }
    }
}

/// Moves the last entry of a live list to a new list.
fn move_entry(resources: &mut Map<String, Value>, live: &Layout) {
    const NEW: &str = "NetworkList77";
    let names = live.names();
    let moved = resources.iter_mut().find_map(|(id, body)| {
        let list = names.lists.get(id)?;
        let entry = several(body)?.pop()?;
        let cidr = entry["Cidr"].as_str()?.parse().ok()?;
        let mut new = body.clone();
        new["Properties"]["Entries"] = json!([entry]);
        list.entries.contains(&cidr).then(|| (id.clone(), new))
    });
    let Some((id, list)) = moved else {
        return;
    };
    let to_list = json!({ "Ref": id });
    let routes = resources.iter();
    let routes = routes.filter(|(_, it)| it["Properties"]["DestinationPrefixListId"] == to_list);
    let copy = |(id, body): (&String, &Value)| {
        let mut body = body.clone();
        body["Properties"]["DestinationPrefixListId"] = json!({ "Ref": NEW });
        (format!("{id}{NEW}"), body)
    };
    let routes: Vec<_> = routes.map(copy).collect();
    resources.extend(routes);
    resources.insert(NEW.to_owned(), list);
}
