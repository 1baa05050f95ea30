//! The resources that are skipped after several failed rollbacks.

use std::collections::BTreeMap;

use super::tests::Bench;
use super::*;
use crate::model::cloud::live::Rollback;
use crate::model::cloud::status::Status;

#[test]
fn a_rollback_that_fails_again_and_again_skips_only_what_no_static_ip_hangs_on() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.stack().status = Status::UpdateRollbackFailed;
    let mut skipped = |failures, stuck: &[&str]| {
        let kinds = stuck.iter().enumerate();
        let kinds = kinds.map(|(at, kind)| (format!("R{at}"), format!("AWS::EC2::{kind}")));
        let stuck: BTreeMap<String, String> = kinds.collect();
        bench.stack().rollback = Rollback { failures, stuck };
        let plan = bench.plan();
        let Action::ContinueRollback { skip } = plan.action else {
            panic!("{plan}")
        };
        let skip: Vec<String> = skip.into_iter().collect();
        (skip.join(" "), plan.setback.unwrap_or_default())
    };
    let both = ["Route", "SubnetRouteTableAssociation"];
    for failures in [0, 1, 2] {
        assert_eq!(skipped(failures, &both).0, "");
    }
    assert_eq!(skipped(3, &both).0, "R0 R1");
    assert_eq!(skipped(3, &[]).0, "", "the events name nothing");
    for protected in ["EIP", "NatGateway", "Subnet", "RouteTable"] {
        let (skip, says) = skipped(9, &["Route", protected]);
        assert_eq!(skip, "", "{protected}");
        let command = "continue-update-rollback --stack-name egress --resources-to-skip R0 R1";
        assert!(says.contains(command), "{says}");
    }
}
