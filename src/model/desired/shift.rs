//! [`Shift`]: one step of the migration of networks between direct routes and lists.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

/// What the next change does to networks that keep their routes, besides the changes that users request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// The networks with direct routes that enter lists.
    pub enter: BTreeSet<Ipv4Net>,
    /// The networks whose direct routes are removed, since a list serves them.
    pub leave_routes: BTreeSet<Ipv4Net>,
    /// The networks in lists that get direct routes as well.
    pub get_routes: BTreeSet<Ipv4Net>,
    /// The lists that are removed with the routes to them: all their networks have direct routes then.
    pub dissolved: BTreeSet<String>,
}
