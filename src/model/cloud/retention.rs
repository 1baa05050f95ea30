//! The attributes that make CloudFormation leave an EIP in the account when the stack no longer has it.

use serde_json::{Map, Value, json};

use crate::model::cloud::resource_type::ResourceType;

const DELETION: &str = "DeletionPolicy";
/// Retains the EIP in all cases but one: CloudFormation releases it if its creation fails.
const RETAIN_EXCEPT_ON_CREATE: &str = "RetainExceptOnCreate";
const REPLACE: &str = "UpdateReplacePolicy";
const RETAIN: &str = "Retain";

/// Gives every EIP the attributes. Attributes that already retain an EIP stay.
pub fn retain(resources: &mut Map<String, Value>) {
    for body in resources.values_mut() {
        if kind(body) != ResourceType::Eip || is_retained(body) {
            continue;
        }
        if let Some(body) = body.as_object_mut() {
            let deletion = body.get(DELETION);
            if deletion.and_then(Value::as_str) != Some(RETAIN) {
                body.insert(DELETION.to_owned(), json!(RETAIN_EXCEPT_ON_CREATE));
            }
            body.insert(REPLACE.to_owned(), json!(RETAIN));
        }
    }
}

/// Makes CloudFormation leave an EIP in the account even if its creation fails.
pub fn retain_always(body: &mut Value) {
    if let Some(body) = body.as_object_mut() {
        for attribute in [DELETION, REPLACE] {
            body.insert(attribute.to_owned(), json!(RETAIN));
        }
    }
}

/// Gives every EIP the attributes, and changes the metadata of every route table of the stack. CloudFormation accepts a change of these
/// attributes only beside another change, and a change of metadata calls nothing in EC2.
pub fn retain_alone(resources: &mut Map<String, Value>) {
    retain(resources);
    for body in resources.values_mut() {
        if kind(body) != ResourceType::RouteTable {
            continue;
        }
        if let Some(body) = body.as_object_mut() {
            let metadata = body.entry("Metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("StaticIPs".to_owned(), json!("retained"));
            }
        }
    }
}

fn kind(body: &Value) -> ResourceType {
    ResourceType::of(body["Type"].as_str().unwrap_or_default())
}

/// Whether CloudFormation leaves the resource in the account when the stack removes or replaces it.
pub fn is_retained(body: &Value) -> bool {
    let policies = [RETAIN, RETAIN_EXCEPT_ON_CREATE];
    body[DELETION]
        .as_str()
        .is_some_and(|policy| policies.contains(&policy))
        && body[REPLACE] == RETAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_eips_are_retained_and_stronger_attributes_stay() {
        let resources = json!({
            "New": { "Type": "AWS::EC2::EIP", "Properties": {} },
            "Kept": { "Type": "AWS::EC2::EIP", "DeletionPolicy": "Retain" },
            "Deleted": { "Type": "AWS::EC2::EIP", "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Retain" },
            "Table": { "Type": "AWS::EC2::RouteTable", "Metadata": { "Other": 1 } },
        });
        let Value::Object(mut resources) = resources else {
            unreachable!()
        };
        assert!(resources.values().all(|body| !is_retained(body)));
        let before = resources["Table"].clone();
        retain(&mut resources);
        assert_eq!(resources["New"][DELETION], RETAIN_EXCEPT_ON_CREATE);
        assert_eq!(resources["Kept"][DELETION], RETAIN);
        assert_eq!(resources["Deleted"][DELETION], RETAIN_EXCEPT_ON_CREATE);
        for id in ["New", "Kept", "Deleted"] {
            assert!(is_retained(&resources[id]), "{id}");
        }
        assert_eq!(resources["Table"], before);
        retain_alone(&mut resources);
        let metadata = json!({ "Other": 1, "StaticIPs": "retained" });
        assert_eq!(resources["Table"]["Metadata"], metadata);
    }
}
