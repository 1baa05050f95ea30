//! What the account may have. Of all the quotas that a stack can meet, EC2 itself tells only that of static IPs; the others are in
//! Service Quotas.

use super::calls::Calls;
use super::error::{Failure, Service};

/// As in the API reference of DescribeAccountAttributes.
const STATIC_IPS: &str = "vpc-max-elastic-ips";

/// How many more static IPs the account may have in the region; None if EC2 does not tell.
pub async fn free_addresses(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
) -> Result<Option<usize>, Failure> {
    let attributes = calls.read(Service::Ec2, "DescribeAccountAttributes", |gate| {
        let request = ec2.describe_account_attributes();
        request.customize().interceptor(gate).send()
    });
    let addresses = calls.read(Service::Ec2, "DescribeAddresses", |gate| {
        ec2.describe_addresses()
            .customize()
            .interceptor(gate)
            .send()
    });
    let (attributes, addresses) = futures::join!(attributes, addresses);
    let (attributes, addresses) = (attributes?, addresses?);
    let quota = attributes
        .account_attributes()
        .iter()
        .filter(|attribute| attribute.attribute_name() == Some(STATIC_IPS))
        .flat_map(|attribute| attribute.attribute_values())
        .find_map(|value| value.attribute_value()?.parse::<usize>().ok());
    Ok(quota.map(|quota| quota.saturating_sub(addresses.addresses().len())))
}
