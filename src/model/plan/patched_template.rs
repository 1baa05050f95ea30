//! Patches the live stack's template: adds, renames or removes resources.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::model::base::ids::Zone;
use crate::model::cloud::given_ips;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::cloud::logical_id::next_name;
use crate::model::cloud::more_ips::SECONDARY;
use crate::model::cloud::part_names::{Part, part_name};
use crate::model::cloud::retention;
use crate::model::cloud::static_ip::StaticIp;
use crate::model::desired::template::{self, Template};
use crate::model::desired::{fingerprint, more_ips};
use crate::model::drift::kind::DriftKind;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::input::request::Request;
use crate::model::plan::diff::{self, Difference};
use crate::model::plan::given_up_ips::{give_up, make_own, resources_of, use_no_more};

/// Returns the live stack's template with another text.
pub(in crate::model) fn as_it_is(stack: &Stack, text: String) -> Template {
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let resources = value["Resources"].as_object();
    let zones = resources.map(|it| fingerprint::of_zones(it, template::places(&stack.parameters)));
    let tags = stack.own_tags();
    Template {
        stack_name: stack.name.clone(),
        fingerprint: fingerprint::of_all(&text, &stack.parameters, &tags),
        zones: zones.unwrap_or_default(),
        text,
        parameters: stack.parameters.clone(),
        tags,
        termination_protection: stack.termination_protection,
        stack_policy: stack.policy.is_some(),
        // The size is published for rendered templates only.
        size: template::Size::default(),
    }
}

/// Returns the next change of the live stack towards the template, with its differences. A change of resources keeps the live stack's tags,
/// and the new tags follow in a change set of their own. CloudFormation also sets a stack's tags on its static IPs and NAT gateways, and
/// routes must not wait if AWS refuses that.
pub(in crate::model) fn next_change(
    stack: &Stack,
    layout: &Layout,
    mut template: Template,
    request: &Request,
) -> (Template, Vec<Difference>) {
    let mut differences = diff::between(layout, &template, request);
    let live = stack.own_tags();
    if differences.iter().all(Difference::names_owner) {
        differences.extend(diff::of_tags(&live, &template.tags));
    } else {
        template.fingerprint = fingerprint::of_all(&template.text, &template.parameters, &live);
        template.tags = live;
    }
    (template, differences)
}

/// Returns the template of the live stack without the drifted resources, and with new logical ids for resources that are created again.
/// None if the text lacks an expected part. `spoiled`: additional static IPs that a new NAT gateway cannot have.
pub(in crate::model) fn without(
    stack: &Stack,
    drifts: &[Drift],
    spoiled: &BTreeSet<String>,
) -> Option<Template> {
    patched(stack, |text| take_out(text, drifts, spoiled))
}

/// Returns the template of the live stack with its text changed. None if the text lacks an expected part.
pub(super) fn patched(
    stack: &Stack,
    change: impl FnOnce(&mut Value) -> Option<()>,
) -> Option<Template> {
    let mut text: Value = serde_json::from_str(&stack.template).ok()?;
    change(&mut text)?;
    template::complete(resources_of(&mut text)?);
    Some(as_it_is(stack, text.to_string()))
}

fn take_out(text: &mut Value, drifts: &[Drift], spoiled: &BTreeSet<String>) -> Option<()> {
    for drift in drifts {
        let id = drift.id.as_str();
        let resources = resources_of(text)?;
        match &drift.cure {
            Cure::Retake => {
                resources.remove(id)?;
            }
            Cure::Retag => {
                let body = resources.get_mut(id)?.get_mut("Properties")?;
                body.as_object_mut()?.remove("Tags")?;
            }
            Cure::Recover(_, ip)
                if drift.kind == DriftKind::AdditionalIpLost && !resources.contains_key(id) =>
            {
                let Place::Zone(zone) = &drift.place else {
                    return None;
                };
                make_own(text, id, (zone, ip))?;
            }
            Cure::NewIp(ids) | Cure::Recover(ids, _) if !resources.contains_key(id) => {
                let gateway = ids.iter().find(|other| *other != id)?;
                let Place::Zone(zone) = &drift.place else {
                    return None;
                };
                new_eip(text, id, gateway, zone)?;
                set_address(resources_of(text)?.get_mut(id)?, &drift.cure)?;
            }
            Cure::Renew(_) | Cure::NewIp(_) | Cure::Recover(..) => {
                let new = next_name(id);
                let given = given_ips::given(resources);
                let mut renewed = Map::from_iter([resources.remove_entry(id)?]);
                use_no_more(&mut renewed, &given, |eip| spoiled.contains(eip));
                let mut body = renewed.remove(id)?;
                set_address(&mut body, &drift.cure)?;
                resources.insert(new.clone(), body);
                rename(text, id, &new);
                let outputs = text.get_mut("Outputs").and_then(Value::as_object_mut);
                if let Some((outputs, output)) =
                    outputs.and_then(|outputs| outputs.remove(id).map(|output| (outputs, output)))
                {
                    outputs.insert(new, output);
                }
            }
            Cure::Adopt(ids, ip) => {
                let eip = ids.iter().find(|other| *other != id)?;
                let Place::Zone(zone) = &drift.place else {
                    return None;
                };
                give_allocation(text, (id, eip), (zone, ip))?;
            }
            Cure::GiveUp(_) => give_up(text, id)?,
            Cure::Reuse(_) => {
                let given = given_ips::given(resources);
                use_no_more(resources, &given, |of| of == id);
            }
            Cure::Revert | Cure::Follows | Cure::Passes | Cure::ByHand(_) => {}
        }
    }
    Some(())
}

/// Sets the static IP that a renewed EIP asks AWS for.
fn set_address(body: &mut Value, cure: &Cure) -> Option<()> {
    let properties = body.get_mut("Properties")?.as_object_mut()?;
    match cure {
        Cure::Recover(_, ip) => template::ask_for(ip, body),
        Cure::NewIp(_) => _ = properties.remove("Address"),
        _ => {}
    }
    Some(())
}

/// Gives a NAT gateway a static IP that is no resource of the stack, by its allocation id. `gateway` and `eip`: the logical ids of the
/// gateway and of its former EIP, which is removed.
fn give_allocation(
    text: &mut Value,
    (gateway, eip): (&str, &str),
    (zone, ip): (&Zone, &StaticIp),
) -> Option<()> {
    let outputs = text.as_object_mut()?.entry("Outputs");
    let outputs = outputs.or_insert_with(|| json!({})).as_object_mut()?;
    outputs.retain(|id, output| id != eip && output["Value"]["Ref"] != eip);
    outputs.insert(
        part_name(zone, Part::Eip),
        template::ip_output(zone, json!(ip.ip)),
    );
    let resources = resources_of(text)?;
    resources.remove(eip);
    let gateway = resources.get_mut(gateway)?.get_mut("Properties")?;
    *gateway.get_mut("AllocationId")? = json!(ip.allocation);
    // The former NAT gateway has the secondary addresses until it is deleted.
    gateway.as_object_mut()?.remove(SECONDARY);
    Some(())
}

/// Gives a NAT gateway an EIP of the stack instead of an address outside of it. `id`: the output that shows the static IP.
fn new_eip(text: &mut Value, id: &str, gateway: &str, zone: &Zone) -> Option<()> {
    let ip = text.get_mut("Outputs")?.get_mut(id)?.get_mut("Value")?;
    *ip = json!({ "Ref": id });
    let allocation = more_ips::allocation_of(id);
    let resources = text.get_mut("Resources")?.as_object_mut()?;
    let gateway = resources.get_mut(gateway)?.get_mut("Properties")?;
    *gateway.get_mut("AllocationId")? = allocation;
    let properties = template::eip(zone, &Names::default(), &Layout::default());
    let eip = json!({ "Type": "AWS::EC2::EIP", "Properties": properties });
    resources.insert(id.to_owned(), eip);
    Some(())
}

/// Returns the template of the live stack in which the zone's NAT gateway has a static IP outside of the stack, without the former EIP and
/// the missing routes. `gateway` and `eip` are their logical ids. None if the text lacks an expected part.
pub(in crate::model) fn with_ip(
    stack: &Stack,
    missing: &[Drift],
    (gateway, eip): (&str, &str),
    (zone, ip): (&Zone, &StaticIp),
) -> Option<Template> {
    patched(stack, |text| {
        take_out(text, missing, &BTreeSet::new())?;
        give_allocation(text, (gateway, eip), (zone, ip))
    })
}

/// Returns the template of the live stack with every EIP retained, which changes nothing in EC2. None if it has no resources.
pub(in crate::model) fn retained(stack: &Stack) -> Option<Template> {
    let mut text: Value = serde_json::from_str(&stack.template).ok()?;
    retention::retain_alone(resources_of(&mut text)?);
    Some(as_it_is(stack, text.to_string()))
}

/// Renames every reference to a resource.
fn rename(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                match (key.as_str(), &mut *field) {
                    ("Ref" | "DependsOn", Value::String(name)) if name == old => {
                        *name = new.to_owned()
                    }
                    ("Fn::GetAtt", Value::String(path)) => {
                        let of_old = path.strip_prefix(old).filter(|rest| rest.starts_with('.'));
                        if let Some(attribute) = of_old {
                            *path = format!("{new}{attribute}");
                        }
                    }
                    ("Fn::GetAtt" | "DependsOn", Value::Array(names)) => {
                        let first = if key == "Fn::GetAtt" { 1 } else { names.len() };
                        for name in names.iter_mut().take(first).filter(|name| *name == old) {
                            *name = json!(new);
                        }
                    }
                    _ => rename(field, old, new),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, old, new)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_and_every_reference_follows() {
        assert_eq!(next_name("NATGateway1"), "NATGateway1Anew1");
        assert_eq!(next_name("NATGateway1Anew9"), "NATGateway1Anew10");
        assert_eq!(next_name("Anew"), "AnewAnew1");
        let mut text = json!({
            "a": { "Ref": "One" }, "b": [{ "Fn::GetAtt": ["One", "Id"] }, { "Fn::GetAtt": "One.Id" }],
            "c": { "DependsOn": ["One", "Two"] }, "d": { "DependsOn": "One" },
            "kept": [{ "Ref": "One1" }, { "Fn::GetAtt": "One1.Id" }, { "Fn::GetAtt": ["Two", "One"] }, "One"],
        });
        rename(&mut text, "One", "New");
        let expected = json!({
            "a": { "Ref": "New" }, "b": [{ "Fn::GetAtt": ["New", "Id"] }, { "Fn::GetAtt": "New.Id" }],
            "c": { "DependsOn": ["New", "Two"] }, "d": { "DependsOn": "New" },
            "kept": [{ "Ref": "One1" }, { "Fn::GetAtt": "One1.Id" }, { "Fn::GetAtt": ["Two", "One"] }, "One"],
        });
        assert_eq!(text, expected);
    }

    #[test]
    fn what_was_made_anew_and_is_gone_again_is_the_same_drift() {
        let gone = |id: &str| Drift {
            id: id.to_owned(),
            place: crate::model::drift::Place::Zone("a".to_owned()),
            kind: crate::model::drift::kind::DriftKind::NatGatewayGone,
            expected: String::new(),
            seen: "is gone".to_owned(),
            cure: Cure::Passes,
        };
        assert_eq!(gone("NAT1").key(), gone("NAT1Anew4").key());
        assert_ne!(gone("NAT1").key(), gone("NAT2").key());
    }
}
