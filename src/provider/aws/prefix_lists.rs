//! Managed prefix lists: how many routes a list counts as in the quota of a route table, how many more lists the account may have, and the
//! entries of the stack's lists.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, ManagedPrefixList};
use ipnet::Ipv4Net;

use super::calls::Calls;
use super::ec2_values::parse_cidr;
use super::error::Failure;
use super::kind::Service;
use super::pages::{self, List};
use crate::model::cloud::prefix_list::{ListId, ListState, MOST_LISTS, PrefixList};

/// How many routes AWS's own lists count as, by the end of their names ("AWS-managed prefix list weight" in the VPC User Guide). Other
/// lists of unknown size count as one route.
const WEIGHTS: [(&str, usize); 6] = [
    (".cloudfront.origin-facing", 55),
    (".ec2-instance-connect", 2),
    (".groundstation", 5),
    (".route53-healthchecks", 25),
    (".s3express", 6),
    (".vpc-lattice", 10),
];

/// The number of routes that each list counts as, by its id.
pub type Sizes = BTreeMap<String, usize>;

/// The entries of lists, by list and version. EC2 never changes a version.
pub type Entries = BTreeMap<(ListId, i64), BTreeSet<Ipv4Net>>;

/// Reads the sizes of lists. A list that EC2 does not show counts as one route.
pub async fn sizes(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    ids: &BTreeSet<ListId>,
) -> Result<Sizes, Failure> {
    let lists = describe(calls, ec2, "prefix-list-id", ids.iter().cloned().collect()).await?;
    let mut sizes: Sizes = ids.iter().map(|id| (id.clone(), 1)).collect();
    let known = |list: &ManagedPrefixList| Some((list.prefix_list_id.clone()?, size(list)));
    sizes.extend(lists.iter().filter_map(known));
    Ok(sizes)
}

/// Returns how many more lists the account may have in the region under EC2's default quota. Lists that other accounts share do not count.
pub async fn room(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    account: &str,
) -> Result<usize, Failure> {
    let lists = describe(calls, ec2, "owner-id", vec![account.to_owned()]).await?;
    Ok(MOST_LISTS.saturating_sub(lists.len()))
}

/// Reads the lists of the stack: one call, and one for each version of a list whose entries are unknown.
pub async fn of_stack(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    ids: Vec<ListId>,
    known: &mut Entries,
) -> Result<BTreeMap<ListId, PrefixList>, Failure> {
    if ids.is_empty() {
        known.clear();
        return Ok(BTreeMap::new());
    }
    let mut lists = BTreeMap::new();
    for list in &describe(calls, ec2, "prefix-list-id", ids).await? {
        let Some((id, list)) = without_entries(list) else {
            continue;
        };
        let version = (id.clone(), list.version);
        let entries = match known.get(&version) {
            Some(entries) => entries.clone(),
            None => entries(calls, ec2, &id, list.version).await?,
        };
        known.insert(version, entries.clone());
        lists.insert(id, PrefixList { entries, ..list });
    }
    known.retain(|(id, version), _| lists.get(id).is_some_and(|list| list.version == *version));
    Ok(lists)
}

/// Reads the lists that a filter selects. Unlike a list of ids, a filter does not fail if a list is missing.
async fn describe(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    name: &str,
    values: Vec<String>,
) -> Result<Vec<ManagedPrefixList>, Failure> {
    let filter = Filter::builder().name(name);
    let filter = filter.set_values(Some(values)).build();
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
    pages::all(
        Service::Ec2,
        "DescribeManagedPrefixLists",
        List::PrefixLists,
        page,
    )
    .await
}

async fn entries(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    id: &str,
    version: i64,
) -> Result<BTreeSet<Ipv4Net>, Failure> {
    let page = |token: Option<String>| {
        let request = ec2.get_managed_prefix_list_entries();
        let request = request.prefix_list_id(id).target_version(version);
        let request = request.set_next_token(token);
        async move {
            let answer = calls
                .read(Service::Ec2, "GetManagedPrefixListEntries", |gate| {
                    request.customize().interceptor(gate).send()
                })
                .await?;
            Ok((answer.entries.unwrap_or_default(), answer.next_token))
        }
    };
    let entries = pages::all(
        Service::Ec2,
        "GetManagedPrefixListEntries",
        List::PrefixListEntries,
        page,
    )
    .await?;
    let cidr = |entry: &aws_sdk_ec2::types::PrefixListEntry| parse_cidr(entry.cidr()?);
    Ok(entries.iter().filter_map(cidr).collect())
}

/// Returns a list without its entries, by its id. None if it is deleted.
fn without_entries(list: &ManagedPrefixList) -> Option<(ListId, PrefixList)> {
    let state = list.state().map_or("", |state| state.as_str());
    let seen = PrefixList {
        name: list.prefix_list_name().unwrap_or_default().to_owned(),
        state: ListState::of(state, list.state_message())?,
        version: list.version().unwrap_or_default(),
        max_entries: list
            .max_entries()
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or_default(),
        entries: BTreeSet::new(),
    };
    Some((list.prefix_list_id()?.to_owned(), seen))
}

/// Returns the number of routes that a list counts as. A customer's list counts with its maximum number of entries; IPv6 has a quota of its
/// own.
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
    use aws_sdk_ec2::types::PrefixListState;

    use super::*;

    #[test]
    fn a_list_is_seen_with_its_state_and_not_when_it_is_deleted() {
        let list = |state: PrefixListState| {
            let list = ManagedPrefixList::builder().prefix_list_id("pl-1");
            let list = list.prefix_list_name("one").max_entries(100).version(3);
            let list = list.state(state).state_message("no room in rtb-1");
            without_entries(&list.build())
        };
        let (id, seen) = list(PrefixListState::ModifyFailed).expect("a list");
        let state = ListState::Failed("no room in rtb-1".to_owned());
        assert_eq!((id.as_str(), seen.state), ("pl-1", state));
        assert_eq!((seen.version, seen.max_entries), (3, 100));
        assert_eq!(list(PrefixListState::DeleteComplete), None);
    }

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
