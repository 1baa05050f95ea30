//! Changes what a replica reads and sends, to plant bugs of its drift repair.

use super::bugs::Bug;
use super::world::World;
use crate::model::cloud::change_set_name::is_revert;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Network, Route};
use crate::model::cloud::observed::{Gateway, Health};
use crate::model::cloud::retention;
use crate::model::cloud::status::Status;
use crate::model::desired::template::Template;
use crate::provider::Provider as _;
use crate::provider::memory::MemoryProvider;

/// Changes the target of drifted routes at each read.
pub fn other_routes(world: &World, network: &mut Network) {
    for (table, cidr) in (world.account.astray().into_values()).flat_map(|stray| stray.routes) {
        if let Some(worker) = network.worker_tables.get_mut(&table) {
            let route = Route {
                target: format!("pcx-{}", fastrand::u32(..)),
                blackhole: false,
            };
            worker.routes.insert(cidr, route);
        }
    }
}

/// Hides the effect of change sets on static IPs, and that the last operation of the stack failed.
pub fn unread(bug: Bug, stack: &mut Stack) {
    if bug == Bug::FailureUnread && stack.status == Status::UpdateRollbackComplete {
        stack.status = Status::UpdateComplete;
        stack.failed.clear();
    }
    for set in &mut stack.change_sets {
        if bug == Bug::UsedUnannounced {
            set.changes
                .retain(|it| it.resource_type != "AWS::EC2::NatGateway");
        }
        if bug == Bug::IpMadeAnew || bug == Bug::ReversionUnread && is_revert(&set.name) {
            set.changes.retain(|it| it.resource_type != "AWS::EC2::EIP");
        }
    }
}

/// Makes a deleted NAT gateway look available.
pub fn looks_well(gateway: &mut Gateway) {
    gateway.health = Health::Well;
}

/// Plants the bugs in the static IPs of a change.
pub async fn in_template(bug: Bug, template: &mut Template, account: &MemoryProvider) {
    match bug {
        Bug::OldIpNotAsked => asks_for_any_ip(&mut template.text),
        Bug::UsedUnannounced => uses_at_once(template),
        Bug::MoreIpMadeAnew => more_ips_anew(template),
        Bug::IpMadeAnew => another_ip(template, account).await,
        _ => {}
    }
}

/// Removes the attributes that retain an EIP.
pub fn releases_eips(text: &mut String) {
    for attribute in [
        r#""DeletionPolicy":"RetainExceptOnCreate","#,
        r#","UpdateReplacePolicy":"Retain""#,
    ] {
        *text = text.replace(attribute, "");
    }
}

/// Lets an EIP that is created again take any static IP.
fn asks_for_any_ip(text: &mut String) {
    let mut template: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let resources = template["Resources"].as_object_mut();
    for body in resources.into_iter().flat_map(|it| it.values_mut()) {
        if let Some(properties) = body["Properties"].as_object_mut() {
            properties.remove("Address");
        }
    }
    *text = template.to_string();
}

/// Lets the NAT gateways use each additional EIP at once.
fn uses_at_once(template: &mut Template) {
    let mut text: serde_json::Value = serde_json::from_str(&template.text).unwrap_or_default();
    for zone in ["euwest1a", "euwest1b"] {
        let eip = format!("EIP{zone}No2");
        let gateway = format!("NATGateway{zone}");
        let resources = &mut text["Resources"];
        if !resources[&eip].is_null() && !resources[&gateway].is_null() {
            let id = serde_json::json!([{ "Fn::GetAtt": [eip, "AllocationId"] }]);
            resources[&gateway]["Properties"]["SecondaryAllocationIds"] = id;
        }
    }
    template.text = text.to_string();
}

/// Makes a new EIP of each additional static IP that is no resource of the stack.
fn more_ips_anew(template: &mut Template) {
    let mut text: serde_json::Value = serde_json::from_str(&template.text).unwrap_or_default();
    for zone in ["euwest1a", "euwest1b"] {
        let eip = format!("EIP{zone}No2");
        if text["Outputs"][&eip]["Value"].is_string() {
            text["Outputs"][&eip]["Value"] = serde_json::json!({ "Ref": eip });
            text["Resources"][&eip] = serde_json::json!({
                "Type": "AWS::EC2::EIP",
                "Properties": { "Domain": "vpc" },
            });
            let resources = text["Resources"].as_object_mut();
            resources.into_iter().for_each(retention::retain);
        }
    }
    template.text = text.to_string();
}

/// Makes every EIP look as if it had the attributes that retain it.
pub fn looks_retained(stack: &mut Stack) {
    let mut text: serde_json::Value = serde_json::from_str(&stack.template).unwrap_or_default();
    if let Some(resources) = text["Resources"].as_object_mut() {
        retention::retain(resources);
        stack.template = text.to_string();
    }
}

/// Replaces the static IP together with its NAT gateway.
async fn another_ip(template: &mut Template, account: &MemoryProvider) {
    let live = account.live(None, None).await;
    let Ok(Live::Ours(stack)) = live else {
        return;
    };
    for zone in ["euwest1a", "euwest1b"] {
        let replacement = format!("NATGateway{zone}Anew");
        if template.text.contains(&replacement) && !stack.template.contains(&replacement) {
            let (old, new) = (format!("\"EIP{zone}\""), format!("\"EIP{zone}Anew1\""));
            template.text = template.text.replace(&old, &new);
        }
    }
}
