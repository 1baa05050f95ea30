//! Faults in EC2 that other principals cause outside of CloudFormation, as data.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use super::draw::{moments, one};
use super::script::Event;
use crate::lease::tests::secs;
use crate::provider::memory::quota_faults::REFUSED;

/// One fault in one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ec2Fault {
    /// One of the stack's routes in the zone's worker tables, by its number, is deleted.
    RouteGone(u8),
    RouteAstray(u8),
    GatewayGone,
    GatewayFailed,
    /// The static IP is released, after its NAT gateway was deleted. AWS gives it back.
    AddressReleased,
    /// The static IP is released, and another account gets it.
    AddressGivenAway,
    /// The static IP is associated with a foreign network interface.
    AddressHeld,
    /// The NAT subnet is deleted together with its NAT gateway.
    SubnetGone,
    SubnetTags,
    TableGone,
    TableTags,
    InternetRouteGone,
    InternetRouteAstray,
    AssociationGone,
    /// A foreign route table is associated with the NAT subnet.
    AssociationElsewhere,
}

impl Ec2Fault {
    pub fn draw(rng: &mut Rng) -> Self {
        let number = rng.u8(..);
        match rng.u8(0..20) {
            0..4 => Self::RouteGone(number),
            4..7 => Self::RouteAstray(number),
            7..9 => Self::GatewayGone,
            9 => Self::GatewayFailed,
            10 if number.is_multiple_of(2) => Self::AddressReleased,
            10 => Self::AddressGivenAway,
            11 => Self::AddressHeld,
            12 => Self::SubnetGone,
            13 => Self::SubnetTags,
            14 => Self::TableGone,
            15 => Self::TableTags,
            16 => Self::InternetRouteGone,
            17 => Self::InternetRouteAstray,
            18 => Self::AssociationGone,
            _ => Self::AssociationElsewhere,
        }
    }

    /// Whether only the principal that caused the fault can undo it.
    pub fn is_theirs(self) -> bool {
        matches!(self, Self::AddressHeld | Self::AssociationElsewhere)
    }
}

impl fmt::Display for Ec2Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::RouteGone(number) => return write!(f, "route {number} is deleted"),
            Self::RouteAstray(number) => return write!(f, "route {number} leads elsewhere"),
            Self::GatewayGone => "the NAT gateway is deleted",
            Self::GatewayFailed => "the NAT gateway fails",
            Self::AddressReleased => "the static IP is released",
            Self::AddressGivenAway => "the static IP is released, and AWS gives it away",
            Self::AddressHeld => "the static IP is given to another interface",
            Self::SubnetGone => "the NAT subnet is deleted",
            Self::SubnetTags => "the NAT subnet is tagged otherwise",
            Self::TableGone => "the NAT subnet's route table is deleted",
            Self::TableTags => "the NAT subnet's route table loses its tags",
            Self::InternetRouteGone => "the NAT subnet's route to the internet is deleted",
            Self::InternetRouteAstray => "the NAT subnet's route to the internet leads elsewhere",
            Self::AssociationGone => "the NAT subnet's association is removed",
            Self::AssociationElsewhere => "the NAT subnet is given another route table",
        };
        f.write_str(text)
    }
}

/// The result of a change set with `REVERT_DRIFT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reverting {
    #[default]
    Works,
    /// The change set is refused.
    Refused,
    /// Its execution fails.
    Fails,
    /// The change set contains no drift.
    Blind,
    /// Its execution has no effect.
    Vain,
    /// It would also replace a static IP that has not drifted.
    Greedy,
}

/// Draws another cluster with the same id, in one of three histories.
pub fn taken(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    if rng.u8(0..3) > 0 {
        return;
    }
    for at in moments(rng, 50.0, length) {
        let lasts = secs(5.0 + rng.f64() * 60.0);
        events.push((at, Event::Taken { lasts }));
    }
}

/// Draws networks that AWS refuses. In every other history AWS accepts every route.
pub fn refusals(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    let gap = one(rng, &[60.0, 150.0, 1e3, 1e3]);
    for at in moments(rng, gap, length) {
        let lasts = secs(rng.f64() * 100.0);
        let event = Event::Refuse {
            net: rng.usize(0..REFUSED.len()),
            lasts: Some(lasts).filter(|_| rng.u8(0..3) > 0),
        };
        events.push((at, event));
    }
}
