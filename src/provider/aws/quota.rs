//! Quotas of the account: the resources that it may still have for a zone, and the routes per route table. EC2 itself reports only the
//! quota of static IPs; Service Quotas has the others.

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

/// The name of the quota of static IPs, as in the API reference of DescribeAccountAttributes.
const STATIC_IPS: &str = "vpc-max-elastic-ips";
/// The pool of AWS's own addresses.
const AMAZON: &str = "amazon";
/// The code of the quota "NAT gateways per Availability Zone" of the service `vpc`.
const NAT_GATEWAYS: &str = "L-FE5A380F";
/// The code of the quota "Routes per route table".
const ROUTES: &str = "L-93826ACB";
/// The states in which a NAT gateway counts, according to the Amazon VPC User Guide.
const COUNTED: [&str; 3] = ["pending", "available", "deleting"];
/// The time limit of a call. A VPC without access to Service Quotas must not delay a pass, because CloudFormation reports an exceeded
/// quota.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Returns a client without retries, for questions that may stay unanswered.
pub fn client(sdk: &SdkConfig) -> aws_sdk_servicequotas::Client {
    let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT);
    let config = Builder::from(sdk)
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::disabled());
    aws_sdk_servicequotas::Client::from_conf(config.build())
}

/// Returns the quota of routes per route table. None if Service Quotas has no value of the account, so that AWS's default applies.
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
    // AWS returns a whole number in floating point.
    Ok(value.and_then(|value| format!("{value:.0}").parse().ok()))
}

/// Asks AWS for quotas and their use.
pub struct Surveyor<'a> {
    pub calls: &'a Calls,
    pub ec2: &'a aws_sdk_ec2::Client,
    pub quotas: &'a aws_sdk_servicequotas::Client,
    pub region: &'a str,
}

/// Whether an address counts in the quota of the region: it is in AWS's own pool, in the region itself and not in a Local Zone, and not
/// managed by a service.
fn counts(address: &Address, region: &str) -> bool {
    let pool = address.public_ipv4_pool().is_none_or(|it| it == AMAZON);
    let group = address.network_border_group();
    pool && group.is_none_or(|it| it == region) && address.service_managed().is_none()
}

/// Returns the static IPs by allocation id, or why EC2 does not list them.
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
    /// Returns what the account may still have. Values that AWS does not return stay unknown: CloudFormation then reports an exceeded
    /// quota.
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
    pub async fn static_ips(&self) -> Account {
        account(self.addresses().await, self.region)
    }

    async fn addresses(&self) -> Result<Vec<Address>, Failure> {
        let read = self.calls.read(Service::Ec2, "DescribeAddresses", |gate| {
            let request = self.ec2.describe_addresses();
            request.customize().interceptor(gate).send()
        });
        Ok(read.await?.addresses.unwrap_or_default())
    }

    /// Returns how many static IPs the account may have in the region. None if EC2 does not report it.
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

    /// Returns how many more NAT gateways each of these zones may have. None if Service Quotas does not report the quota.
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

    /// Returns the zone of each subnet in these zones, in every VPC.
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

    /// Returns the subnets of all NAT gateways of the account that count.
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
