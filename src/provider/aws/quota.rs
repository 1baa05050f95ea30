//! What the account may still have of what a zone needs, and how many routes a route table takes. Of these quotas EC2 itself tells only
//! that of static IPs; the others are in Service Quotas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ec2::types::{Address, Filter};
use aws_sdk_servicequotas::config::Builder;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::calls::Calls;
use super::codes;
use super::ec2_values::tags;
use super::error::Failure;
use super::kind::Service;
use super::observe;
use crate::model::base::ids::{SubnetId, Zone};
use crate::model::cloud::network::Headroom;
use crate::model::cloud::static_ip::{Account, AccountAddress};
use crate::provider::ProviderError;

/// As in the API reference of DescribeAccountAttributes.
const STATIC_IPS: &str = "vpc-max-elastic-ips";
/// The pool of addresses that are AWS's own.
const AMAZON: &str = "amazon";
/// "NAT gateways per Availability Zone", as Service Quotas lists the quotas of the service `vpc`.
const NAT_GATEWAYS: &str = "L-FE5A380F";
/// "Routes per route table".
const ROUTES: &str = "L-93826ACB";
/// The states in which one counts, by the guide of Amazon VPC.
const COUNTED: [&str; 3] = ["pending", "available", "deleting"];
/// A VPC without a way to Service Quotas is no reason to wait: then CloudFormation tells.
const TIMEOUT: Duration = Duration::from_secs(4);

/// For questions that may stay unanswered.
pub fn client(sdk: &SdkConfig) -> aws_sdk_servicequotas::Client {
    let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT);
    let config = Builder::from(sdk)
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::disabled());
    aws_sdk_servicequotas::Client::from_conf(config.build())
}

/// Returns the quota of routes per route table. None where Service Quotas has no value of the account, so that AWS's default counts.
pub async fn routes_per_table(
    calls: &Calls,
    quotas: &aws_sdk_servicequotas::Client,
) -> Result<Option<u16>, Failure> {
    let value = match value(calls, quotas, ROUTES).await {
        Err(failure) if codes::says_no_such_quota(&failure.code) => None,
        other => other?,
    };
    let routes = value.and_then(|routes| u16::try_from(routes).ok());
    Ok(routes.filter(|routes| *routes > 0))
}

/// Returns the account's value of a quota of the service `vpc`.
async fn value(
    calls: &Calls,
    quotas: &aws_sdk_servicequotas::Client,
    code: &str,
) -> Result<Option<usize>, Failure> {
    let answer = calls
        .read(Service::Quotas, "GetServiceQuota", |gate| {
            let request = quotas.get_service_quota();
            let request = request.service_code("vpc").quota_code(code);
            request.customize().interceptor(gate).send()
        })
        .await?;
    let value = answer.quota().and_then(|quota| quota.value());
    // AWS returns the whole number as a fraction.
    Ok(value.and_then(|value| format!("{value:.0}").parse().ok()))
}

/// Asks AWS.
pub struct Surveyor<'a> {
    pub calls: &'a Calls,
    pub ec2: &'a aws_sdk_ec2::Client,
    pub quotas: &'a aws_sdk_servicequotas::Client,
    pub region: &'a str,
}

/// Whether an address takes of the quota of the region: one of AWS's own pool, of the region itself and not of a Local Zone, and
/// nobody's who has it managed by a service.
fn counts(address: &Address, region: &str) -> bool {
    let pool = address.public_ipv4_pool().is_none_or(|it| it == AMAZON);
    let group = address.network_border_group();
    pool && group.is_none_or(|it| it == region) && address.service_managed().is_none()
}

/// Returns the static IPs by allocation id, or why EC2 does not say which there are.
fn account(addresses: Result<Vec<Address>, Failure>, region: &str) -> Account {
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(failure) => return Account::Unanswered(ProviderError::from(failure).to_string()),
    };
    let known = |address: Address| {
        let held_by = observe::holder(&address);
        let group = address.network_border_group().filter(|it| *it != region);
        let seen = AccountAddress {
            group: group.map(str::to_owned),
            managed_by: address.service_managed().map(|it| it.as_str().to_owned()),
            tags: tags(address.tags()),
            held_by,
            ip: address.public_ip?,
        };
        Some((address.allocation_id?, seen))
    };
    Account::Listed {
        addresses: addresses.into_iter().filter_map(known).collect(),
        gone: BTreeSet::new(),
    }
}

impl Surveyor<'_> {
    /// Without the right to ask, CloudFormation will tell.
    pub async fn headroom(&self, zones: &BTreeSet<Zone>) -> Headroom {
        let (quota, addresses, gateways) = futures::join!(
            self.address_quota(),
            self.addresses(),
            self.free_gateways(zones)
        );
        let taken = |addresses: &Vec<Address>| {
            let counted = addresses.iter();
            counted.filter(|it| counts(it, self.region)).count()
        };
        let taken = addresses.as_ref().ok().map(taken);
        let quota = quota.ok().flatten();
        Headroom {
            addresses: quota.and_then(|quota| Some(quota.saturating_sub(taken?))),
            nat_gateways: gateways.ok().flatten().unwrap_or_default(),
            account: account(addresses, self.region),
            ..Headroom::default()
        }
    }

    /// Returns the static IPs of the account in the region.
    async fn addresses(&self) -> Result<Vec<Address>, Failure> {
        let read = self.calls.read(Service::Ec2, "DescribeAddresses", |gate| {
            let request = self.ec2.describe_addresses();
            request.customize().interceptor(gate).send()
        });
        Ok(read.await?.addresses.unwrap_or_default())
    }

    /// Returns how many static IPs the account may have in the region; None if EC2 does not tell.
    async fn address_quota(&self) -> Result<Option<usize>, Failure> {
        let attributes = self
            .calls
            .read(Service::Ec2, "DescribeAccountAttributes", |gate| {
                let request = self.ec2.describe_account_attributes();
                request.customize().interceptor(gate).send()
            });
        let attributes = attributes.await?;
        let value = attributes
            .account_attributes()
            .iter()
            .filter(|attribute| attribute.attribute_name() == Some(STATIC_IPS))
            .flat_map(|attribute| attribute.attribute_values())
            .find_map(|value| value.attribute_value()?.parse::<usize>().ok());
        Ok(value)
    }

    /// How many more NAT gateways each of these zones may have; None if Service Quotas does not tell.
    async fn free_gateways(
        &self,
        zones: &BTreeSet<Zone>,
    ) -> Result<Option<BTreeMap<Zone, usize>>, Failure> {
        let quota = value(self.calls, self.quotas, NAT_GATEWAYS);
        let (quota, subnets, taken) = futures::join!(quota, self.subnets(zones), self.gateways());
        let (Some(quota), subnets, taken) = (quota?, subnets?, taken?) else {
            return Ok(None);
        };
        let taken_in = |zone: &Zone| {
            let zones = taken.iter().filter_map(|subnet| subnets.get(subnet));
            zones.filter(|of| *of == zone).count()
        };
        let free = |zone: &Zone| (zone.clone(), quota.saturating_sub(taken_in(zone)));
        Ok(Some(zones.iter().map(free).collect()))
    }

    /// Returns the zone of each subnet in these zones, whichever VPC it is in.
    async fn subnets(&self, zones: &BTreeSet<Zone>) -> Result<BTreeMap<SubnetId, Zone>, Failure> {
        let filter = Filter::builder()
            .name("availability-zone")
            .set_values(Some(zones.iter().cloned().collect()))
            .build();
        let subnets = observe::subnets(self.calls, self.ec2, filter).await?;
        let zone = |subnet: aws_sdk_ec2::types::Subnet| {
            Some((subnet.subnet_id?, subnet.availability_zone?))
        };
        Ok(subnets.into_iter().filter_map(zone).collect())
    }

    /// Returns the subnets of all NAT gateways that count, whosever they are.
    async fn gateways(&self) -> Result<Vec<SubnetId>, Failure> {
        let filter = Filter::builder()
            .name("state")
            .set_values(Some(COUNTED.map(str::to_owned).to_vec()))
            .build();
        let gateways = observe::nat_gateways(self.calls, self.ec2, filter).await?;
        Ok(gateways.into_iter().filter_map(|it| it.subnet_id).collect())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::ServiceManaged;

    use super::*;

    #[test]
    fn only_amazons_addresses_of_the_region_count() {
        let amazon = || Address::builder().public_ipv4_pool(AMAZON);
        let counts = |address: Address| counts(&address, "eu-west-1");
        assert!(counts(Address::builder().build()));
        assert!(counts(amazon().network_border_group("eu-west-1").build()));
        let own_pool = Address::builder().public_ipv4_pool("ipv4pool-ec2-1");
        assert!(!counts(own_pool.build()));
        let local_zone = amazon().network_border_group("eu-west-1-lon-1a");
        assert!(!counts(local_zone.build()));
        assert!(!counts(
            amazon().service_managed(ServiceManaged::Alb).build()
        ));
    }
}
