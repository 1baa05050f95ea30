//! Patches the live stack's template: the additional static IPs of its zones.

use serde_json::{Map, Value, json};

use crate::model::base::ids::Zone;
use crate::model::cloud::given_ips::{self, GIVEN};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::cloud::more_ips::SECONDARY;
use crate::model::cloud::part_names::{Part, part_name};
use crate::model::cloud::static_ip::StaticIp;
use crate::model::desired::more_ips;
use crate::model::desired::template::{self, Template};
use crate::model::plan::given_up_ips::{resources_of, use_no_more};
use crate::model::plan::patched_template::patched;

fn outputs_of(text: &mut Value) -> Option<&mut Map<String, Value>> {
    let outputs = text.as_object_mut()?.entry("Outputs");
    outputs.or_insert_with(|| json!({})).as_object_mut()
}

/// Returns the template of the live stack with one more EIP of the zone, which nothing uses yet, and its output. `recovered`: the released
/// IP that the EIP asks AWS for. None if the text lacks an expected part.
pub(in crate::model) fn with_more_eip(
    stack: &Stack,
    zone: &Zone,
    number: u8,
    recovered: Option<&str>,
) -> Option<Template> {
    let id = part_name(zone, Part::MoreEip(number));
    let properties = template::eip(zone, &Names::default(), &Layout::default());
    patched(stack, |text| {
        let output = more_ips::output(zone, number, json!({ "Ref": id }));
        outputs_of(text)?.insert(id.clone(), output);
        let mut eip = json!({ "Type": "AWS::EC2::EIP", "Properties": properties });
        if let Some(ip) = recovered {
            template::ask_for(ip, &mut eip);
        }
        resources_of(text)?.insert(id, eip);
        Some(())
    })
}

/// Returns the template of the live stack with one more static IP of the zone that is no resource of the stack, which nothing uses yet.
/// `table`: the logical id of the NAT subnet's route table. None if the text lacks an expected part.
pub(in crate::model) fn with_given_ip(
    stack: &Stack,
    table: &str,
    (zone, number, ip): (&Zone, u8, &StaticIp),
) -> Option<Template> {
    let id = part_name(zone, Part::MoreEip(number));
    patched(stack, |text| {
        let output = more_ips::output(zone, number, json!(ip.ip));
        outputs_of(text)?.insert(id.clone(), output);
        note(text, table, &id, &ip.allocation)
    })
}

/// Notes the allocation id of an additional static IP that is no resource of the stack. `table`: the logical id of the NAT subnet's route
/// table.
fn note(text: &mut Value, table: &str, id: &str, allocation: &str) -> Option<()> {
    let table = resources_of(text)?.get_mut(table)?.as_object_mut()?;
    let metadata = table.entry("Metadata").or_insert_with(|| json!({}));
    let given = metadata.as_object_mut()?.entry(GIVEN);
    let given = given.or_insert_with(|| json!({})).as_object_mut()?;
    given.insert(id.to_owned(), json!(allocation));
    Some(())
}

/// Returns the template of the live stack in which the NAT gateway uses one more of the zone's EIPs. None if the text lacks an expected
/// part.
pub(in crate::model) fn with_used_eip(stack: &Stack, gateway: &str, eip: &str) -> Option<Template> {
    patched(stack, |text| {
        use_it(text, gateway, more_ips::allocation_of(eip))
    })
}

/// Returns the template of the live stack in which the NAT gateway uses one more static IP of the zone that is no resource of the stack.
/// `table`: the logical id of the NAT subnet's route table. None if the text lacks an expected part.
pub(in crate::model) fn with_used_given_ip(
    stack: &Stack,
    (gateway, table): (&str, &str),
    (id, allocation): (&str, &str),
) -> Option<Template> {
    patched(stack, |text| {
        note(text, table, id, allocation)?;
        use_it(text, gateway, json!(allocation))
    })
}

fn use_it(text: &mut Value, gateway: &str, allocation: Value) -> Option<()> {
    let gateway = resources_of(text)?.get_mut(gateway)?;
    let properties = gateway.get_mut("Properties")?.as_object_mut()?;
    let used = properties.entry(SECONDARY).or_insert_with(|| json!([]));
    used.as_array_mut()?.push(allocation);
    Some(())
}

/// Returns the template of the live stack in which the NAT gateway uses an additional static IP no more. `id`: the logical id of the EIP, or
/// the name of the output. None if the text lacks an expected part.
pub(in crate::model) fn without_use(stack: &Stack, gateway: &str, id: &str) -> Option<Template> {
    patched(stack, |text| {
        let resources = resources_of(text)?;
        let given = given_ips::given(resources);
        let mut one = Map::from_iter([resources.remove_entry(gateway)?]);
        use_no_more(&mut one, &given, |of| of == id);
        resources.extend(one);
        Some(())
    })
}
