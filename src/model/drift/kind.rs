//! The kinds of drift, by the reasons with which they are reported.

use crate::model::base::problem::Severity;
use crate::model::base::reason::Reason;

/// What differs between EC2 and the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// EC2's answers contradict each other, or lack what EC2 does not deny: nothing is proven.
    AnswersContradict,
    NatGatewayChanged,
    NatGatewayFailed,
    NatGatewayGone,
    NatRouteTableGone,
    NatSubnetChanged,
    NatSubnetGone,
    NatSubnetUnassociated,
    RouteBlackhole,
    RouteMissing,
    RouteRetargeted,
    StaticIpDetached,
    StaticIpLost,
    TagsChanged,
}

impl DriftKind {
    /// Returns the reason by which it is reported. README.md has the remedy of each.
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
            Self::RouteBlackhole => Reason::RouteBlackhole,
            Self::RouteMissing => Reason::RouteMissing,
            Self::RouteRetargeted => Reason::RouteRetargeted,
            Self::StaticIpDetached => Reason::StaticIpDetached,
            Self::StaticIpLost => Reason::StaticIpLost,
            Self::TagsChanged => Reason::TagsChanged,
        }
    }

    /// Returns how urgent it is: AWS may soon give a lost static IP to another customer.
    pub fn severity(self) -> Severity {
        match self {
            Self::StaticIpLost => Severity::Refused,
            _ => Severity::Warning,
        }
    }

    /// Returns what explains it.
    pub fn cause(self) -> &'static str {
        match self {
            Self::AnswersContradict => "EC2's answers prove nothing, so nothing is rebuilt",
            _ => "it was changed outside of CloudFormation",
        }
    }

    /// Whether the zone gets another NAT gateway when it is repaired, or it is not certain what the zone has.
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

    /// Whether a change set can revert it: not what has to be created again, nor a type whose drift CloudFormation does not detect.
    pub fn is_revertible(self) -> bool {
        !matches!(self, Self::NatGatewayChanged | Self::NatSubnetUnassociated)
    }

    /// Whether EC2 refuses routes to the zone's NAT gateway, since there is none.
    pub fn is_dead_end(self) -> bool {
        matches!(self, Self::NatGatewayGone | Self::NatGatewayFailed)
    }
}
