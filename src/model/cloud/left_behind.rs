//! Resources that the clean-up at the end of an update could not delete. They stay in the account, outside of the stack.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::model::base::ids::TableId;
use crate::model::cloud::observed::{Health, IdKind, Observed};
use crate::model::cloud::resource_type::ResourceType;

/// The resources that clean-ups could not delete, by physical id.
pub type LeftResources = BTreeMap<String, LeftBehind>;

/// A resource that a clean-up could not delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    pub logical_id: String,
    /// The type, such as `AWS::EC2::NatGateway`.
    pub resource_type: String,
    /// Why the deletion failed, in AWS's words.
    pub reason: String,
}

/// What a physical id says about a resource that was left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remains {
    NatGateway,
    Subnet,
    RouteTable,
    PrefixList,
    Association,
    Route(TableId, Ipv4Net),
    /// A route to a prefix list, `pl-…`.
    ListRoute(TableId, String),
    /// A static IP, with its allocation id if that is known.
    Address(Ipv4Addr, Option<String>),
    /// A resource of another type, or an id that does not fit the type.
    Other,
}

impl LeftBehind {
    /// Returns what the resource's physical id says about it.
    pub fn remains(&self, id: &str) -> Remains {
        if !id.bytes().all(is_of_id) {
            return Remains::Other;
        }
        let (first, second) = match id.split_once('|') {
            Some((first, second)) => (first, Some(second)),
            None => (id, None),
        };
        let kind = IdKind::of(first);
        match (ResourceType::of(&self.resource_type), kind, second) {
            (ResourceType::NatGateway, Some(IdKind::NatGateway), None) => Remains::NatGateway,
            (ResourceType::Subnet, Some(IdKind::Subnet), None) => Remains::Subnet,
            (ResourceType::RouteTable, Some(IdKind::RouteTable), None) => Remains::RouteTable,
            (ResourceType::PrefixList, Some(IdKind::PrefixList), None) => Remains::PrefixList,
            (ResourceType::SubnetRouteTableAssociation, None, None) => Remains::Association,
            (ResourceType::Route, Some(IdKind::RouteTable), Some(to)) => route(first, to),
            (ResourceType::Eip, Some(IdKind::Address), allocation) => match first.parse() {
                Ok(ip) => Remains::Address(ip, allocation.map(str::to_owned)),
                Err(_) => Remains::Other,
            },
            _ => Remains::Other,
        }
    }

    /// Whether the controller can see, without further calls, that the resource is gone.
    pub fn is_watched(&self, id: &str) -> bool {
        use Remains::{
            Address, Association, ListRoute, NatGateway, Other, PrefixList, Route, RouteTable,
            Subnet,
        };
        match self.remains(id) {
            NatGateway | Subnet | RouteTable | Route(..) | ListRoute(..) | Address(..) => true,
            PrefixList | Association | Other => false,
        }
    }
}

impl Remains {
    /// Returns the command that removes the resource with this physical id. None if the id does not tell how.
    pub fn command(&self, id: &str) -> Option<String> {
        let arguments = match self {
            Self::NatGateway => format!("delete-nat-gateway --nat-gateway-id {id}"),
            Self::Subnet => format!("delete-subnet --subnet-id {id}"),
            Self::RouteTable => format!("delete-route-table --route-table-id {id}"),
            Self::PrefixList => format!("delete-managed-prefix-list --prefix-list-id {id}"),
            Self::Association => format!("disassociate-route-table --association-id {id}"),
            Self::Route(table, cidr) => {
                format!("delete-route --route-table-id {table} --destination-cidr-block {cidr}")
            }
            Self::ListRoute(table, list) => {
                format!("delete-route --route-table-id {table} --destination-prefix-list-id {list}")
            }
            Self::Address(_, Some(allocation)) => {
                format!("release-address --allocation-id {allocation}")
            }
            Self::Address(_, None) | Self::Other => return None,
        };
        Some(format!("aws ec2 {arguments}"))
    }

    /// Returns what the resource does as long as it exists.
    pub fn effect(&self) -> &'static str {
        match self {
            Self::NatGateway | Self::Address(..) => {
                "it is outside of the stack and costs money until it is deleted"
            }
            Self::Route(..) | Self::ListRoute(..) => {
                "it is outside of the stack, and traffic follows it until it is deleted"
            }
            Self::Subnet
            | Self::RouteTable
            | Self::PrefixList
            | Self::Association
            | Self::Other => "it is outside of the stack",
        }
    }
}

/// Removes resources that were left behind from an observation, and notes which of them EC2 no longer shows.
pub fn set_aside(left: &LeftResources, seen: &mut Observed) {
    for (id, it) in left {
        let exists = match it.remains(id) {
            Remains::NatGateway => {
                let gateway = seen.gateways.remove(id);
                gateway.is_some_and(|gateway| gateway.health != Health::Gone)
            }
            Remains::Subnet => seen.subnets.remove(id).is_some(),
            // An address may also be one that a zone had.
            Remains::Address(ip, _) => seen.addresses.contains_key(&ip.to_string()),
            Remains::RouteTable
            | Remains::PrefixList
            | Remains::Association
            | Remains::Route(..)
            | Remains::ListRoute(..)
            | Remains::Other => continue,
        };
        if !exists {
            seen.gone.insert(id.clone());
        }
    }
}

fn route(table: &str, to: &str) -> Remains {
    let table = table.to_owned();
    match to.parse() {
        Ok(cidr) => Remains::Route(table, cidr),
        Err(_) if IdKind::of(to) == Some(IdKind::PrefixList) => {
            Remains::ListRoute(table, to.to_owned())
        }
        Err(_) => Remains::Other,
    }
}

/// Whether a physical id may have this character. No other is put into a command.
fn is_of_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'/' | b'|')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the command for a resource, and whether its absence is seen.
    fn command(kind: &str, id: &str) -> (Option<String>, bool) {
        let left = LeftBehind {
            resource_type: format!("AWS::EC2::{kind}"),
            ..LeftBehind::default()
        };
        (left.remains(id).command(id), left.is_watched(id))
    }

    #[test]
    fn each_type_has_its_command() {
        for (kind, id, expected, watched) in [
            (
                "NatGateway",
                "nat-1",
                "delete-nat-gateway --nat-gateway-id nat-1",
                true,
            ),
            (
                "Subnet",
                "subnet-1",
                "delete-subnet --subnet-id subnet-1",
                true,
            ),
            (
                "RouteTable",
                "rtb-1",
                "delete-route-table --route-table-id rtb-1",
                true,
            ),
            (
                "PrefixList",
                "pl-1",
                "delete-managed-prefix-list --prefix-list-id pl-1",
                false,
            ),
            (
                "SubnetRouteTableAssociation",
                "rtbassoc-1",
                "disassociate-route-table --association-id rtbassoc-1",
                false,
            ),
            (
                "Route",
                "rtb-1|8.8.8.8/32",
                "delete-route --route-table-id rtb-1 --destination-cidr-block 8.8.8.8/32",
                true,
            ),
            (
                "Route",
                "rtb-1|pl-1",
                "delete-route --route-table-id rtb-1 --destination-prefix-list-id pl-1",
                true,
            ),
            (
                "EIP",
                "192.0.2.1|eipalloc-1",
                "release-address --allocation-id eipalloc-1",
                true,
            ),
        ] {
            let (said, seen) = command(kind, id);
            assert_eq!((said, seen), (Some(format!("aws ec2 {expected}")), watched));
        }
    }

    #[test]
    fn an_id_that_does_not_fit_makes_no_command() {
        for (kind, id) in [
            ("NatGateway", "nat-1;rm"),
            ("NatGateway", "nat-1 x"),
            ("NatGateway", "subnet-1"),
            ("Route", "egress-Route-1ABC"),
            ("Route", "rtb-1|-x"),
            ("VPC", "vpc-1"),
        ] {
            assert_eq!(command(kind, id), (None, false), "{kind} {id}");
        }
        // The stack's older resources have the address alone.
        assert_eq!(command("EIP", "192.0.2.1"), (None, true));
    }
}
