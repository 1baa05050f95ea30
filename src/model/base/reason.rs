//! The reasons of problems: one table with name, subjects and remedy.

use std::fmt;

use serde::{Serialize, Serializer};

/// The kinds of subjects that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Entry,
    Object,
    Source,
    Zone,
    RouteTable,
    Stack,
}

macro_rules! reasons {
    ($($name:ident ($($about:ident),+): $remedy:literal;)+) => {
        /// Why something is refused, waits, or may not do what its owner intends. Names are stable: they appear in logs, Events, metrics
        /// and JSON.
        ///
        /// Reasons are ordered by name, and otherwise equal problems by reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($name),+ }

        impl Reason {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Returns the name in CamelCase.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// Returns the kinds of subjects that have problems with this reason.
            pub fn about(self) -> &'static [About] {
                match self { $(Self::$name => &[$(About::$about),+]),+ }
            }

            /// Returns the remedy, as in `deploy/docs/reasons.md`. A problem may have a more precise one.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy),+ }
            }
        }
    };
}

reasons! {
    AllowNewEipsUnused (Zone): "remove this value of the flag";
    AnotherController (Stack): "remove one of the two installations";
    AnswersContradict (Zone, RouteTable): "nothing: the controller looks again soon";
    BinaryData (Object): "write the networks as text under data";
    CleanUpFailed (Stack): "delete the resource by hand, with the command of the message";
    ContainsLocalNetwork (Entry): "check that this is intended";
    DeleteFailed (Stack): "save the static IPs if partners rely on them, then delete the stack";
    DriftNotSeen (Stack): "see the message: usually the controller's role lacks a right";
    DriftRepairFailed (Zone, RouteTable): "find out who changes it, and restore it by hand";
    Drifted (Entry): "see the problem of its route table";
    DryRun (Entry): "run the controller without --dry-run";
    ForeignOperation (Stack): "find out who it was; give another cluster's controller its own --cluster-id";
    HostBitsMasked (Entry): "check that this network is the one that you mean";
    InReview (Stack): "delete the empty stack";
    InsideNatSubnet (Entry): "remove the entry";
    InsideVpc (Entry): "remove the entry";
    Ipv6NotSupported (Entry): "use the destination's IPv4 network";
    LargeRemovalWaits (Stack): "nothing, if this is intended; otherwise restore the entries";
    LedgerFull (Stack): "remove entries there, or shorten keys";
    LedgerOfAnotherAccount (Stack): "tell partners the new static IPs, or correct the credentials";
    LedgerUnavailable (Entry, Stack): "see the message: rights, API server, version";
    LimitReached (Entry, Zone, RouteTable, Stack): "see Limits";
    LimitUnknown (Stack): "let the controller's role ask for it, or set --aws-route-table-quota";
    NamespaceFull (Entry): "merge networks, or ask for a higher limit";
    NatCidrKept (Zone): "set the old CIDR again";
    NatCidrUnusable (Zone): "choose a free range inside the VPC";
    NatGatewayChanged (Zone): "nothing: it is created again";
    NatGatewayFailed (Zone): "nothing: it is created again with the same static IP";
    NatGatewayGone (Zone): "nothing: it is created again with the same static IP";
    NatRouteTableGone (Zone): "nothing: it is created again";
    NatSubnetChanged (Zone): "remove the zone with --remove-zone=ZONE, and add it again";
    NatSubnetGone (Zone): "nothing: it is created again";
    NatSubnetUnassociated (Zone): "nothing, or, if it is associated with another table, disassociate it there";
    NatTableTagged (RouteTable): "remove the tag AvailabilityZone from the table of a NAT subnet, or associate the NAT subnet with its own table again";
    NoClusterId (Stack): "give the stack the ownership tag of the id, as in Migrate from the Go controller, then set --cluster-id";
    NoNatInZone (Entry, RouteTable): "add the zone, or correct the tag AvailabilityZone; if the zone is configured, see its own problem";
    NoRoute (Entry): "see what the plan says of the stack";
    NoRouteTable (Entry): "see the problems of zones and route tables";
    NoRouteTableInZone (Zone): "tag the table, or check --aws-route-table-tag";
    NotACidr (Entry): "write one network per key, such as 203.0.113.0/24";
    NotConfirmed (Source): "nothing, if entries have just changed; otherwise see the message: rights, address, token";
    NotLabelled (Object, Source): "write the label egress: static under metadata.labels of a ConfigMap";
    NotSeenByCloudFormation (Stack): "compare the differences in plan; delete the change set, and the controller creates a new one";
    NothingToRoute (Stack): "see the other problems";
    ObjectUnreadable (Object): "apply it again with kubectl, or delete it";
    OperationFailed (Entry): "nothing: the controller tries again, and sooner when an entry changes";
    OwnedByAnotherCluster (Stack): "give each cluster a --cluster-id of its own; or move the stack";
    OwnerUnknown (Stack): "see the message: mostly the cluster role …-owner is missing";
    PrefixListChanged (RouteTable): "nothing: it is repaired, or see the message";
    PrivateRange (Entry): "remove the entry, or set --allow-private-ranges";
    PropertiesChanged (Stack): "restore them by hand, or leave them";
    RemovalsFrozen (Stack): "correct or remove what is refused";
    ReservedRange (Entry): "remove the entry";
    RouteBlackhole (RouteTable, Zone): "nothing: it is repaired";
    RouteExists (Entry, RouteTable): "delete that route; the controller then creates its own";
    RouteMissing (RouteTable, Zone): "nothing: it is repaired";
    RouteRefused (Entry, RouteTable): "correct what AWS names: request another network, or have the quota \"Routes per route table\" raised";
    RouteRetargeted (RouteTable, Zone): "nothing: it is repaired. Remove the entry if the other target is intended";
    RouteTableKept (RouteTable): "restore the tags, or set the tag AvailabilityZone=none to remove the routes";
    RoutedElsewhere (Entry): "remove the entry, or that route";
    SeveralStacks (Stack): "remove the tags from, or delete, all but the one whose static IPs are in use";
    SourceNotLoaded (Source): "see the message: rights, address, token, YAML";
    SourceStale (Source): "see the message: rights, address, token";
    SourceWentBack (Source): "apply again what changed after the backup";
    StackInAnotherVpc (Stack): "if it is another cluster's, give each cluster a --cluster-id of its own; else correct --vpc-id, the region or the credentials";
    StackNotOurs (Stack): "give it the tags if it is yours, else correct --cluster-id, --cluster-id-tag-prefix or --controller-id";
    StaticIpChanged (Zone): "tell every partner who allows the old static IP to allow the new one";
    StaticIpDetached (Zone): "disassociate it there; the controller gives it back to the NAT gateway";
    StaticIpKept (Zone): "correct --aws-eip-allocation-id, or set --replace-static-ip=ZONE, or see the message";
    StaticIpLost (Zone): "be quick: allocate it by hand, and the controller uses it; if AWS has given it away, inform partners and set --allow-new-eips=ZONE=IP";
    StaticIpUndecided (Zone): "choose the static IP with --aws-eip-allocation-id=ZONE=ID, or see the message";
    StatusContradicted (Stack): "find out why CloudFormation shows this status; delete the stack by hand if nobody uses its static IPs";
    TagsChanged (Zone): "nothing: it is set again";
    TemplateBucketUnusable (Stack): "correct --cf-template-bucket, the bucket's policy, or the way to S3";
    TemplateTooLarge (Stack): "see Limits";
    TemplateUnreadable (Stack): "move the stack out of the way: this controller did not create it";
    TooManyAddresses (Entry): "list only the networks that you need";
    TooManyEntries (Object): "merge networks or remove entries";
    TooWide (Entry): "list only the networks that you need";
    UnknownStatus (Stack): "bring it to a *_COMPLETE status by hand";
    UnplannedChange (Stack): "look at it in CloudFormation; delete it, and the controller creates a new one";
    WouldLoseStaticIp (Stack): "undo what requests it; move foreign resources to a stack of their own";
    ZoneKept (Zone): "add it again, or set --remove-zone=ZONE";
    ZoneWaits (Zone): "see the stack's events; choose another range with --aws-nat-cidr-block, or have the quota raised";
}

impl Reason {
    /// Returns the reason with this name; None if this version does not know it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }

    /// Whether an entry with this reason is valid and only waits.
    pub fn only_waits(self) -> bool {
        matches!(self, Self::LimitReached | Self::RouteRefused)
    }

    /// Whether the reason is about who owns or changes the stack. In the cluster, the Lease is the only object that represents the stack.
    pub fn is_about_ownership(self) -> bool {
        matches!(
            self,
            Self::AnotherController
                | Self::ForeignOperation
                | Self::OwnedByAnotherCluster
                | Self::OwnerUnknown
                | Self::StackInAnotherVpc
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
