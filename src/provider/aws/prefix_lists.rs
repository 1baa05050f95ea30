//! Managed prefix lists: what a route to one takes of the quota of its route table.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, ManagedPrefixList};

use super::calls::Calls;
use super::error::Failure;
use super::kind::Service;
use super::pages::{self, List};

/// What AWS's own lists count for, by the end of their names ("AWS-managed prefix list weight" in the VPC User Guide). Others, and
/// lists of which nothing is known, count as one route.
const WEIGHTS: [(&str, usize); 6] = [
    (".cloudfront.origin-facing", 55),
    (".ec2-instance-connect", 2),
    (".groundstation", 5),
    (".route53-healthchecks", 25),
    (".s3express", 6),
    (".vpc-lattice", 10),
];

/// What each list takes of a quota, by its id.
pub type Sizes = BTreeMap<String, usize>;

/// Reads the lists. One that EC2 does not show counts as one route.
pub async fn read(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    ids: &BTreeSet<String>,
) -> Result<Sizes, Failure> {
    let filter = Filter::builder()
        .name("prefix-list-id")
        .set_values(Some(ids.iter().cloned().collect()))
        .build();
    let page = |token: Option<String>| {
        let request = ec2
            .describe_managed_prefix_lists()
            .filters(filter.clone())
            .set_next_token(token);
        async move {
            let answer = calls
                .read(Service::Ec2, "DescribeManagedPrefixLists", |gate| {
                    request.customize().interceptor(gate).send()
                })
                .await?;
            Ok((answer.prefix_lists.unwrap_or_default(), answer.next_token))
        }
    };
    let lists = pages::all(
        Service::Ec2,
        "DescribeManagedPrefixLists",
        List::PrefixLists,
        page,
    )
    .await?;
    let mut sizes: Sizes = ids.iter().map(|id| (id.clone(), 1)).collect();
    let known = |list: &ManagedPrefixList| Some((list.prefix_list_id.clone()?, size(list)));
    sizes.extend(lists.iter().filter_map(known));
    Ok(sizes)
}

/// A customer's list counts with the most entries that it may have; one of IPv6 has another quota.
fn size(list: &ManagedPrefixList) -> usize {
    let name = list.prefix_list_name().unwrap_or_default();
    if list.address_family() == Some("IPv6") || name.contains(".ipv6.") {
        return 0;
    }
    let of_aws = || {
        let mut weights = WEIGHTS.iter();
        weights.find(|(end, _)| name.starts_with("com.amazonaws.") && name.ends_with(end))
    };
    let most = list
        .max_entries()
        .and_then(|most| usize::try_from(most).ok());
    most.filter(|most| *most > 0)
        .or_else(|| Some(of_aws()?.1))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_as_much_as_it_may_ever_have() {
        let list = |name: &str, most: Option<i32>| {
            let list = ManagedPrefixList::builder().prefix_list_name(name);
            list.address_family("IPv4").set_max_entries(most).build()
        };
        assert_eq!(size(&list("ours", Some(100))), 100);
        assert_eq!(size(&list("ours", None)), 1, "nothing is known");
        assert_eq!(size(&list("com.amazonaws.eu-west-1.s3", None)), 1);
        assert_eq!(size(&list("com.amazonaws.eu-west-1.s3express", None)), 6);
        let front = "com.amazonaws.global.cloudfront.origin-facing";
        assert_eq!(size(&list(front, None)), 55);
        let ipv6 = ManagedPrefixList::builder().address_family("IPv6");
        assert_eq!(size(&ipv6.max_entries(100).build()), 0);
    }
}
