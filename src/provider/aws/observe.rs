//! The stack's resources as EC2 shows them: three calls, and one more if the stack has prefix lists. Their physical ids are read again only
//! when the stack has changed. If the controller keeps the stack policy, every other check reads the policy instead of the NAT subnets: EC2
//! deletes no subnet that has a NAT gateway, so while the gateways are well, only changes of the subnets' tags are seen later.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, NatGateway, NatGatewayAddressStatus, NatGatewayState};

use super::calls::Calls;
use super::ec2_values::{parse_cidr, tags};
use super::error::Failure;
use super::kind::Service;
use super::memory::{Ids, Memory};
use super::pages::{self, List};
use super::policy;
use super::prefix_lists;
use crate::model::cloud::left_behind::{self, LeftResources};
use crate::model::cloud::live::Stack;
use crate::model::cloud::observed::{Address, Gateway, Health, IdKind, Observed, Subnet};
use crate::model::cloud::resource_type::ResourceType;
use crate::provider::ProviderError;

pub struct Eyes<'a> {
    pub calls: &'a Calls,
    pub cloudformation: &'a aws_sdk_cloudformation::Client,
    pub ec2: &'a aws_sdk_ec2::Client,
    /// Whether the controller keeps the stack policy.
    pub keeps_policy: bool,
}

impl Eyes<'_> {
    pub async fn observe(
        &self,
        memory: &mut Memory,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        let ids = self.ids(memory, stack).await?;
        let of = |kind: &str| of_kind(kind, &ids, &stack.left_behind);
        let mut all_ips = of("AWS::EC2::EIP");
        all_ips.extend(ips.iter().cloned());
        // Removed from the memory, so that a failed read forgets the subnets.
        let last = memory.subnets.take();
        let last = last.filter(|(version, _)| *version == stack.version);
        let was_spared = last.is_some();
        // Moved out of the memory during the calls.
        let mut entries = std::mem::take(&mut memory.entries);
        let (gateways, addresses, lists, (subnets, policy)) = futures::join!(
            self.gateways(of("AWS::EC2::NatGateway")),
            self.addresses(all_ips),
            prefix_lists::of_stack(
                self.calls,
                self.ec2,
                of("AWS::EC2::PrefixList"),
                &mut entries
            ),
            async {
                match last {
                    Some((_, subnets)) => (Ok(subnets), Some(self.policy(stack).await)),
                    None => (self.subnets(of("AWS::EC2::Subnet")).await, None),
                }
            },
        );
        memory.entries = entries;
        let (gateways, subnets) = (gateways?, subnets?);
        let policy = match policy {
            Some(answer) => policy::take(memory, answer)?.flatten(),
            None => None,
        };
        if let (Some(policy), Some((_, known))) = (&policy, &mut memory.policy) {
            *known = Some(policy.clone());
        }
        let well = gateways
            .values()
            .all(|gateway| gateway.health == Health::Well);
        if self.keeps_policy && well && !was_spared {
            memory.subnets = Some((stack.version.clone(), subnets.clone()));
        }
        let mut seen = Observed {
            gateways,
            addresses: addresses?,
            subnets,
            lists: lists?,
            policy,
            ids: ids
                .into_iter()
                .map(|(id, (_, physical))| (id, physical))
                .collect(),
            ..Observed::default()
        };
        left_behind::set_aside(&stack.left_behind, &mut seen);
        Ok(seen)
    }

    async fn policy(&self, stack: &Stack) -> Result<Option<String>, Failure> {
        policy::ask(self.calls, self.cloudformation, &stack.id).await
    }

    /// Returns the type and physical id of each resource that has one, by logical id. Routes are left out.
    async fn ids(&self, memory: &mut Memory, stack: &Stack) -> Result<Ids, Failure> {
        let version = (stack.id.clone(), stack.version.clone());
        if let Some((at, ids)) = &memory.ids
            && *at == version
        {
            return Ok(ids.clone());
        }
        let list = |next| {
            let request = self.cloudformation.list_stack_resources();
            let request = request.stack_name(&stack.id).set_next_token(next);
            async move {
                let answer =
                    self.calls
                        .read(Service::CloudFormation, "ListStackResources", |gate| {
                            request.customize().interceptor(gate).send()
                        });
                let answer = answer.await?;
                let all = answer.stack_resource_summaries.unwrap_or_default();
                Ok((all, answer.next_token))
            }
        };
        let resources = pages::all(
            Service::CloudFormation,
            "ListStackResources",
            List::StackResources,
            list,
        )
        .await?;
        let mut ids = BTreeMap::new();
        for resource in &resources {
            let kind = resource.resource_type().unwrap_or_default();
            let logical = resource.logical_resource_id().unwrap_or_default();
            if let Some(physical) = resource.physical_resource_id()
                && ResourceType::of(kind) != ResourceType::Route
            {
                ids.insert(logical.to_owned(), (kind.to_owned(), first(physical)));
            }
        }
        // A static IP that is not a resource of the stack has an output, too.
        for (name, ip) in &stack.outputs {
            if !ids.contains_key(name) && IdKind::of(ip) == Some(IdKind::Address) {
                ids.insert(name.clone(), ("AWS::EC2::EIP".to_owned(), ip.clone()));
            }
        }
        memory.ids = Some((version, ids.clone()));
        Ok(ids)
    }

    async fn gateways(&self, ids: Vec<String>) -> Result<BTreeMap<String, Gateway>, Failure> {
        let Some(filter) = filter("nat-gateway-id", ids) else {
            return Ok(BTreeMap::new());
        };
        let gateways = nat_gateways(self.calls, self.ec2, filter).await?;
        Ok(gateways.iter().filter_map(gateway).collect())
    }

    /// Returns the static IPs that EC2 shows, by public IP.
    pub async fn addresses(&self, ips: Vec<String>) -> Result<BTreeMap<String, Address>, Failure> {
        let Some(filter) = filter("public-ip", ips) else {
            return Ok(BTreeMap::new());
        };
        let answer = self
            .calls
            .read(Service::Ec2, "DescribeAddresses", |gate| {
                let request = self.ec2.describe_addresses().filters(filter);
                request.customize().interceptor(gate).send()
            })
            .await?;
        let address = |address: &aws_sdk_ec2::types::Address| {
            let seen = Address {
                held_by: holder(address),
                allocation: address.allocation_id().unwrap_or_default().to_owned(),
            };
            Some((address.public_ip()?.to_owned(), seen))
        };
        Ok(answer.addresses().iter().filter_map(address).collect())
    }

    async fn subnets(&self, ids: Vec<String>) -> Result<BTreeMap<String, Subnet>, Failure> {
        let Some(filter) = filter("subnet-id", ids) else {
            return Ok(BTreeMap::new());
        };
        let subnets = subnets(self.calls, self.ec2, filter).await?;
        let subnet = |subnet: &aws_sdk_ec2::types::Subnet| {
            let seen = Subnet {
                cidr: subnet.cidr_block().and_then(parse_cidr),
                zone: subnet.availability_zone().unwrap_or_default().to_owned(),
                tags: tags(subnet.tags()),
            };
            Some((subnet.subnet_id()?.to_owned(), seen))
        };
        Ok(subnets.iter().filter_map(subnet).collect())
    }
}

/// Returns the ids of the stack's resources of a type, and of those that it left behind, which the same calls read.
fn of_kind(kind: &str, ids: &Ids, left: &LeftResources) -> Vec<String> {
    let of_kind = ids.values().filter(|(is, _)| is == kind);
    let left = left
        .iter()
        .filter(|(id, it)| it.resource_type == kind && it.is_watched(id));
    let left = left.map(|(id, _)| first(id));
    of_kind.map(|(_, id)| id.clone()).chain(left).collect()
}

/// Returns the first part of a physical id. That of an EIP may contain its address and its allocation id.
fn first(physical: &str) -> String {
    physical.split('|').next().unwrap_or(physical).to_owned()
}

/// Returns the holder of an address: a network interface, an instance, or only the id of the association.
pub fn holder(address: &aws_sdk_ec2::types::Address) -> Option<String> {
    let association = address.association_id();
    let holder = address.network_interface_id().or(address.instance_id());
    let holder = holder.or(association).filter(|_| association.is_some());
    holder.map(str::to_owned)
}

/// Reads the NAT gateways that a filter selects.
pub async fn nat_gateways(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    filter: Filter,
) -> Result<Vec<NatGateway>, Failure> {
    let page = |next| {
        let request = ec2.describe_nat_gateways();
        let request = request.filter(filter.clone()).set_next_token(next);
        async move {
            let answer = calls.read(Service::Ec2, "DescribeNatGateways", |gate| {
                request.customize().interceptor(gate).send()
            });
            let answer = answer.await?;
            Ok((answer.nat_gateways.unwrap_or_default(), answer.next_token))
        }
    };
    pages::all(Service::Ec2, "DescribeNatGateways", List::NatGateways, page).await
}

/// Reads the subnets that a filter selects.
pub async fn subnets(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    filter: Filter,
) -> Result<Vec<aws_sdk_ec2::types::Subnet>, Failure> {
    let page = |next| {
        let request = ec2.describe_subnets();
        let request = request.filters(filter.clone()).set_next_token(next);
        async move {
            let answer = calls.read(Service::Ec2, "DescribeSubnets", |gate| {
                request.customize().interceptor(gate).send()
            });
            let answer = answer.await?;
            Ok((answer.subnets.unwrap_or_default(), answer.next_token))
        }
    };
    pages::all(Service::Ec2, "DescribeSubnets", List::Subnets, page).await
}

/// Returns a filter for these values; None if there are none. Unlike a list of ids, a filter does not fail if a resource is missing.
fn filter(name: &str, values: Vec<String>) -> Option<Filter> {
    let filter = Filter::builder().name(name);
    (!values.is_empty()).then(|| filter.set_values(Some(values)).build())
}

/// Returns a NAT gateway as EC2 shows it, by its id.
fn gateway(gateway: &NatGateway) -> Option<(String, Gateway)> {
    let why = gateway.failure_message().or(gateway.failure_code());
    let health = match gateway.state() {
        Some(NatGatewayState::Pending) => Health::Coming,
        Some(NatGatewayState::Deleting) => Health::Leaving,
        Some(NatGatewayState::Deleted) => Health::Gone,
        Some(NatGatewayState::Failed) => {
            Health::Failed(why.unwrap_or("no reason given").to_owned())
        }
        _ => Health::Well,
    };
    let addresses = gateway.nat_gateway_addresses();
    // An answer that does not mark the primary address has it first.
    let primary = addresses
        .iter()
        .find(|address| address.is_primary() == Some(true))
        .or(addresses.first());
    // No traffic leaves from an address that EC2 could not associate.
    let is_other = |address: &&aws_sdk_ec2::types::NatGatewayAddress| {
        let failed = address.status() == Some(&NatGatewayAddressStatus::Failed);
        !failed && primary.is_none_or(|primary| !std::ptr::eq(*address, primary))
    };
    let others = addresses.iter().filter(is_other);
    let secondary = others.filter_map(|address| address.public_ip());
    let seen = Gateway {
        health,
        secondary_ips: secondary.map(str::to_owned).collect(),
        subnet: gateway.subnet_id().unwrap_or_default().to_owned(),
        public_ip: primary
            .and_then(|address| address.public_ip())
            .map(str::to_owned),
        interface: primary
            .and_then(|address| address.network_interface_id())
            .map(str::to_owned),
    };
    Some((gateway.nat_gateway_id()?.to_owned(), seen))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::NatGatewayAddress;

    use super::*;

    #[test]
    fn a_gateway_has_one_first_address_and_those_besides_it() {
        let address = |ip: &str, primary: Option<bool>, status| {
            let address = NatGatewayAddress::builder().public_ip(ip).status(status);
            address.set_is_primary(primary).build()
        };
        let seen = |addresses: Vec<NatGatewayAddress>| {
            let it = NatGateway::builder().nat_gateway_id("nat-1");
            let it = it.set_nat_gateway_addresses(Some(addresses)).build();
            let (_, seen) = gateway(&it).expect("a gateway with an id");
            (seen.public_ip, seen.secondary_ips)
        };
        use NatGatewayAddressStatus::{Disassociating, Failed, Succeeded};
        let first = address("198.51.100.1", Some(true), Succeeded);
        let second = address("198.51.100.2", Some(false), Succeeded);
        let leaving = address("198.51.100.3", Some(false), Disassociating);
        let failed = address("198.51.100.4", Some(false), Failed);
        let expected = ["198.51.100.2", "198.51.100.3"].map(str::to_owned).to_vec();
        let ip = Some("198.51.100.1".to_owned());
        assert_eq!(
            seen(vec![second, first, leaving, failed]),
            (ip.clone(), expected)
        );
        let only = address("198.51.100.1", None, Succeeded);
        assert_eq!(seen(vec![only]), (ip, vec![]));
        assert_eq!(seen(vec![]), (None, vec![]));
    }
}
