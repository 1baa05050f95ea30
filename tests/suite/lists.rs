//! Prefix lists in the AWS stand-in: a route to one stands for a route to each of its entries.

use serde_json::{Value, json};

/// The state of the stand-in with routes to the entries of prefix lists instead of routes to the lists. A static route to the same
/// destination as an entry comes first.
pub fn unfolded(mut state: Value) -> Value {
    let lists = state["prefix_lists"].take();
    let tables = state["route_tables"].as_array_mut();
    for table in tables.into_iter().flatten() {
        let routes = unfold(&lists, &table["routes"]);
        table["routes"] = json!(routes);
    }
    state["prefix_lists"] = lists;
    state
}

fn unfold(lists: &Value, routes: &Value) -> Vec<Value> {
    let (mut direct, mut listed) = (Vec::new(), Vec::new());
    for route in routes.as_array().into_iter().flatten() {
        let mut lists = lists.as_array().into_iter().flatten();
        let Some(list) = lists.find(|list| list["id"] == route["cidr"]) else {
            direct.push(route.clone());
            continue;
        };
        for cidr in list["entries"].as_array().into_iter().flatten() {
            let mut of_entry = route.clone();
            of_entry["cidr"] = cidr.clone();
            listed.push(of_entry);
        }
    }
    listed.retain(|route| direct.iter().all(|it| it["cidr"] != route["cidr"]));
    [direct, listed].concat()
}

#[test]
fn a_route_to_a_list_is_one_to_each_entry_that_has_none_of_its_own() {
    let route = |cidr: &str, target: &str| json!({ "cidr": cidr, "target": target });
    let state = json!({
        "prefix_lists": [{ "id": "pl-1", "entries": ["8.8.8.8/32", "9.9.9.9/32"] }],
        "route_tables": [{ "routes": [route("pl-1", "nat-1"), route("8.8.8.8/32", "pcx-1"), route("pl-2", "vpce-1")] }],
    });
    let expected = [
        route("8.8.8.8/32", "pcx-1"),
        route("pl-2", "vpce-1"),
        route("9.9.9.9/32", "nat-1"),
    ];
    let state = unfolded(state);
    assert_eq!(state["route_tables"][0]["routes"], json!(expected));
    assert_eq!(state["prefix_lists"][0]["id"], "pl-1");
}
