//! Takes additional static IPs out of a template, or makes them its own.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::base::ids::Zone;
use crate::model::cloud::given_ips::{self, GIVEN};
use crate::model::cloud::layout::{Layout, Names, referenced};
use crate::model::cloud::more_ips::SECONDARY;
use crate::model::desired::{more_ips, template};

pub(super) fn resources_of(text: &mut Value) -> Option<&mut Map<String, Value>> {
    text.get_mut("Resources")?.as_object_mut()
}

/// Removes an additional static IP, its output and its use from the template.
pub(super) fn give_up(text: &mut Value, id: &str) -> Option<()> {
    let outputs = text.get_mut("Outputs").and_then(Value::as_object_mut);
    if let Some(outputs) = outputs {
        outputs.remove(id);
    }
    let resources = resources_of(text)?;
    let given = given_ips::given(resources);
    use_no_more(resources, &given, |of| of == id);
    for body in resources.values_mut() {
        if let Some(given) = body.pointer_mut(&format!("/Metadata/{GIVEN}")) {
            given.as_object_mut()?.remove(id);
        }
    }
    resources.remove(id);
    Some(())
}

/// Makes an additional static IP that is no resource of the stack a new EIP, which asks AWS for the released IP. `id`: the name of its output.
pub(super) fn make_own(text: &mut Value, id: &str, (zone, ip): (&Zone, &str)) -> Option<()> {
    let value = text.get_mut("Outputs")?.get_mut(id)?.get_mut("Value")?;
    *value = json!({ "Ref": id });
    let resources = resources_of(text)?;
    let given = given_ips::given(resources);
    let is_it = |used: &Value| {
        let output = used.as_str().and_then(|allocation| given.get(allocation));
        output.is_some_and(|output| output == id)
    };
    for body in resources.values_mut() {
        let used = body.pointer_mut(&format!("/Properties/{SECONDARY}"));
        for used in used.and_then(Value::as_array_mut).into_iter().flatten() {
            if is_it(used) {
                *used = more_ips::allocation_of(id);
            }
        }
        if let Some(given) = body.pointer_mut(&format!("/Metadata/{GIVEN}")) {
            given.as_object_mut()?.remove(id);
        }
    }
    let properties = template::eip(zone, &Names::default(), &Layout::default());
    let mut eip = json!({ "Type": "AWS::EC2::EIP", "Properties": properties });
    template::ask_for(ip, &mut eip);
    resources.insert(id.to_owned(), eip);
    Some(())
}

/// Removes static IPs from the secondary addresses of NAT gateways. `given`: the names of outputs by allocation id.
pub(super) fn use_no_more(
    resources: &mut Map<String, Value>,
    given: &BTreeMap<String, String>,
    is_it: impl Fn(&str) -> bool,
) {
    for body in resources.values_mut() {
        let Some(properties) = body.get_mut("Properties").and_then(Value::as_object_mut) else {
            continue;
        };
        let Some(used) = properties.get_mut(SECONDARY).and_then(Value::as_array_mut) else {
            continue;
        };
        used.retain(|id| {
            let output = id.as_str().and_then(|id| given.get(id));
            let name = referenced(id).or(output.map(String::as_str));
            !name.is_some_and(&is_it)
        });
        if used.is_empty() {
            properties.remove(SECONDARY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ip_goes_with_its_use_whether_it_is_a_resource_or_an_allocation_id() {
        let get = |eip: &str| json!({ "Fn::GetAtt": [eip, "AllocationId"] });
        let mut text = json!({
            "Outputs": { "No2": { "Value": "203.0.113.2" }, "No3": { "Value": { "Ref": "No3" } } },
            "Resources": {
                "Gateway": { "Properties": { SECONDARY: ["eipalloc-2", get("No3"), "eipalloc-9"] } },
                "No3": { "Type": "AWS::EC2::EIP" },
                "Table": { "Metadata": { GIVEN: { "No2": "eipalloc-2", "No4": "eipalloc-9" } } },
            },
        });
        let resources = text["Resources"].as_object().unwrap();
        let given = given_ips::given(resources);
        let mut spoiled = resources.clone();
        use_no_more(&mut spoiled, &given, |id| id == "No4");
        let left = json!(["eipalloc-2", get("No3")]);
        assert_eq!(spoiled["Gateway"]["Properties"][SECONDARY], left);
        give_up(&mut text, "No2").unwrap();
        give_up(&mut text, "No3").unwrap();
        let gateway = &text["Resources"]["Gateway"]["Properties"];
        assert_eq!(gateway[SECONDARY], json!(["eipalloc-9"]));
        let metadata = &text["Resources"]["Table"]["Metadata"];
        assert_eq!(metadata[GIVEN], json!({ "No4": "eipalloc-9" }));
        assert_eq!(text["Outputs"], json!({}));
        give_up(&mut text, "No4").unwrap();
        assert_eq!(text["Resources"]["Gateway"]["Properties"], json!({}));
    }
}
