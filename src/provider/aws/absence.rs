//! Proof that a resource does not exist: EC2 is asked for its id alone. A list that lacks the resource may only be incomplete.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{NatGatewayState, PrefixListState};

use super::calls::Calls;
use super::codes;
use super::error::Failure;
use super::kind::Service;
use crate::model::cloud::observed::IdKind;

/// The number of ids that one call of [`Absence::of`] checks. Further ids stay unproven.
const MAX_ASKED: usize = 20;

pub struct Absence<'a> {
    pub calls: &'a Calls,
    pub ec2: &'a aws_sdk_ec2::Client,
}

impl Absence<'_> {
    /// Returns the ids that do not exist according to EC2. The first call that fails ends the check: the remaining ids stay unproven, and
    /// the pass continues.
    pub async fn of(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let mut absent = BTreeSet::new();
        for id in ids.iter().take(MAX_ASKED) {
            match self.is_gone(id).await {
                Ok(false) => {}
                Ok(true) => _ = absent.insert(id.clone()),
                Err(failure) if codes::says_not_found(&failure.code, &failure.text) => {
                    absent.insert(id.clone());
                }
                Err(_) => break,
            }
        }
        absent
    }

    /// Whether EC2 still describes the resource, and shows it as deleted. If EC2 has no record of the id, it answers with an error.
    async fn is_gone(&self, id: &str) -> Result<bool, Failure> {
        let (calls, ec2) = (self.calls, self.ec2);
        match IdKind::of(id) {
            Some(IdKind::NatGateway) => {
                let request = ec2.describe_nat_gateways().nat_gateway_ids(id);
                let send = |gate| request.customize().interceptor(gate).send();
                let answer = calls.read(Service::Ec2, "DescribeNatGateways", send);
                let answer = answer.await?;
                let mut gateways = answer.nat_gateways().iter();
                let gateway = gateways.find(|gateway| gateway.nat_gateway_id() == Some(id));
                let state = gateway.and_then(|gateway| gateway.state());
                return Ok(state == Some(&NatGatewayState::Deleted));
            }
            Some(IdKind::Subnet) => {
                let request = ec2.describe_subnets().subnet_ids(id);
                let send = |gate| request.customize().interceptor(gate).send();
                calls.read(Service::Ec2, "DescribeSubnets", send).await?;
            }
            Some(IdKind::RouteTable) => {
                let request = ec2.describe_route_tables().route_table_ids(id);
                let send = |gate| request.customize().interceptor(gate).send();
                calls
                    .read(Service::Ec2, "DescribeRouteTables", send)
                    .await?;
            }
            Some(IdKind::PrefixList) => {
                let request = ec2.describe_managed_prefix_lists().prefix_list_ids(id);
                let send = |gate| request.customize().interceptor(gate).send();
                let answer = calls.read(Service::Ec2, "DescribeManagedPrefixLists", send);
                let answer = answer.await?;
                let mut lists = answer.prefix_lists().iter();
                let list = lists.find(|list| list.prefix_list_id() == Some(id));
                let state = list.and_then(|list| list.state());
                return Ok(state == Some(&PrefixListState::DeleteComplete));
            }
            Some(IdKind::Address) => {
                let request = ec2.describe_addresses().public_ips(id);
                let send = |gate| request.customize().interceptor(gate).send();
                calls.read(Service::Ec2, "DescribeAddresses", send).await?;
            }
            Some(IdKind::Allocation) => {
                let request = ec2.describe_addresses().allocation_ids(id);
                let send = |gate| request.customize().interceptor(gate).send();
                calls.read(Service::Ec2, "DescribeAddresses", send).await?;
            }
            None => {}
        }
        Ok(false)
    }
}
