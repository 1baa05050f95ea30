//! The kinds of drift, each with the reason that reports it.

use crate::model::base::problem::Severity;
use crate::model::base::reason::Reason;

/// The kind of a difference between EC2 and the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// It is not the first one of a zone, so no NAT gateway needs it.
    AdditionalIpLost,
    /// The zone's NAT gateway lacks an additional static IP that the stack gives it.
    AdditionalIpUnused,
    /// EC2's answers contradict each other, or lack a resource whose absence EC2 does not confirm. Nothing is proven.
    AnswersContradict,
    NatGatewayChanged,
    NatGatewayFailed,
    NatGatewayGone,
    NatRouteTableGone,
    NatSubnetChanged,
    NatSubnetGone,
    NatSubnetUnassociated,
    PrefixListChanged,
    PrefixListGone,
    RouteBlackhole,
    RouteMissing,
    RouteRetargeted,
    StaticIpDetached,
    StaticIpLost,
    TagsChanged,
}

impl DriftKind {
    /// Whether a network list itself differs, and not a route to it.
    pub fn is_of_a_list(self) -> bool {
        matches!(self, Self::PrefixListChanged | Self::PrefixListGone)
    }

    /// Returns the reason that reports the drift.
    pub fn reason(self) -> Reason {
        match self {
            Self::AnswersContradict => Reason::AnswersContradict,
            Self::NatGatewayChanged => Reason::NatGatewayChanged,
            Self::NatGatewayFailed => Reason::NatGatewayFailed,
            Self::NatGatewayGone => Reason::NatGatewayGone,
            Self::NatRouteTableGone => Reason::NatRouteTableGone,
            Self::NatSubnetChanged => Reason::NatSubnetChanged,
            Self::NatSubnetGone => Reason::NatSubnetGone,
            Self::NatSubnetUnassociated => Reason::NatSubnetUnassociated,
            Self::PrefixListChanged | Self::PrefixListGone => Reason::PrefixListChanged,
            Self::RouteBlackhole => Reason::RouteBlackhole,
            Self::RouteMissing => Reason::RouteMissing,
            Self::RouteRetargeted => Reason::RouteRetargeted,
            Self::AdditionalIpUnused | Self::StaticIpDetached => Reason::StaticIpDetached,
            Self::AdditionalIpLost | Self::StaticIpLost => Reason::StaticIpLost,
            Self::TagsChanged => Reason::TagsChanged,
        }
    }

    /// Returns the severity. A lost static IP is severe, because AWS may soon allocate it to another customer.
    pub fn severity(self) -> Severity {
        match self {
            Self::AdditionalIpLost | Self::StaticIpLost => Severity::Refused,
            _ => Severity::Warning,
        }
    }

    /// Returns what a user can do after all repairs have failed.
    pub fn last_remedy(self) -> &'static str {
        match self {
            Self::PrefixListGone => {
                "find out who deletes it; it is created again when one of its networks is removed from its ConfigMap"
            }
            _ => "find out who changes it, and restore it by hand",
        }
    }

    /// Returns the cause of the drift.
    pub fn cause(self) -> &'static str {
        match self {
            Self::AnswersContradict => "EC2's answers prove nothing, so nothing is rebuilt",
            _ => "it was changed outside of CloudFormation",
        }
    }

    /// Whether the repair replaces the zone's NAT gateway, or the gateway's state is uncertain.
    pub fn takes_the_gateway(self) -> bool {
        matches!(
            self,
            Self::NatGatewayGone
                | Self::NatGatewayFailed
                | Self::NatGatewayChanged
                | Self::NatSubnetGone
                | Self::StaticIpLost
                | Self::AnswersContradict
        )
    }

    /// Whether a change set can revert the drift. It cannot if the resource has to be created again, or if CloudFormation does not detect
    /// drift of its type.
    pub fn is_revertible(self) -> bool {
        !matches!(
            self,
            Self::AdditionalIpLost
                | Self::AdditionalIpUnused
                | Self::NatGatewayChanged
                | Self::NatSubnetUnassociated
        )
    }

    /// Whether a new NAT gateway cannot have the additional static IP.
    pub fn spoils_an_additional_ip(self) -> bool {
        matches!(self, Self::AdditionalIpLost | Self::AdditionalIpUnused)
    }

    /// Whether EC2 refuses routes to the zone's NAT gateway, because it no longer exists.
    pub fn is_dead_end(self) -> bool {
        matches!(self, Self::NatGatewayGone | Self::NatGatewayFailed)
    }
}
