//! The resources that a NAT gateway waits for at its creation, and changes of these resources.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::tests::Bench;
use super::*;
use crate::model::drift::kind::DriftKind;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::patched_template::without;

const GATEWAY: &str = "NATGatewaya";

fn depends_on(template: &str) -> Value {
    let template: Value = serde_json::from_str(template).unwrap();
    template["Resources"][GATEWAY]["DependsOn"].clone()
}

/// Returns the route to the internet and the association of its subnet.
fn way() -> Value {
    json!(["NATSubnetRoutea", "NATSubnetRouteTableAssociationa"])
}

#[test]
fn a_new_gateway_has_its_way_to_the_internet_from_the_beginning() {
    let plan = Bench::new(&[("dns", "8.8.8.8")]).plan();
    let Action::Create(template) = &plan.action else {
        panic!("{plan}")
    };
    assert_eq!(depends_on(&template.text), way());
}

#[test]
fn a_live_gateway_stays_as_it_is_written() {
    for live in [way(), Value::Null] {
        let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
        let stack = bench.stack();
        if live.is_null() {
            let mut text: Value = serde_json::from_str(&stack.template).unwrap();
            let gateway = text["Resources"][GATEWAY].as_object_mut().unwrap();
            gateway.remove("DependsOn");
            stack.template = text.to_string();
        }
        assert_eq!(
            bench.plan().action,
            Action::Keep,
            "no change for that alone"
        );
        bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
        let plan = bench.plan();
        let Action::Prepare(template) = &plan.action else {
            panic!("{plan}")
        };
        assert_eq!(depends_on(&template.text), live);
        assert_eq!(plan.differences.len(), 2, "{plan}");
    }
}

/// CloudFormation refuses a template in which a resource depends on a resource that the template lacks.
#[test]
fn what_is_taken_out_is_not_waited_for() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let drift = |id: &str, cure| Drift {
        id: id.to_owned(),
        place: Place::Zone("a".to_owned()),
        kind: DriftKind::RouteMissing,
        expected: String::new(),
        seen: String::new(),
        cure,
    };
    let out = drift("NATSubnetRoutea", Cure::Retake);
    let renewed = drift("NATSubnetRouteTableAssociationa", Cure::Renew(Vec::new()));
    let template = without(bench.stack(), std::slice::from_ref(&out), &BTreeSet::new()).unwrap();
    let left = json!(["NATSubnetRouteTableAssociationa"]);
    assert_eq!(depends_on(&template.text), left);
    let template = without(bench.stack(), &[out, renewed], &BTreeSet::new()).unwrap();
    let left = json!(["NATSubnetRouteTableAssociationaAnew1"]);
    assert_eq!(depends_on(&template.text), left);
    bench.stack().template = template.text;
    // The gateway does not wait for a route that is added again: it is not changed for that.
    let plan = bench.plan();
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}")
    };
    assert_eq!(depends_on(&template.text), left);
}
