//! Where EC2 itself differs from what the stack believes: routes that somebody removed, retargeted or cut off.

use super::network::Network;
use super::problem::{Problem, Subject};
use super::resolved::Names;

/// The reasons of the problems told here.
const REASONS: [&str; 3] = ["RouteMissing", "RouteBlackhole", "RouteRetargeted"];

/// Whether a problem is one of drift.
pub fn is_drift(problem: &Problem) -> bool {
    REASONS.contains(&problem.reason)
}

/// Compares the routes of a stack at rest with those of the worker route tables. CloudFormation does not see any of this by
/// itself. Routes of others in the same tables are not drift.
pub fn of_routes(network: &Network, names: &Names) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (table, cidr) in names.routes.keys() {
        // A table that is no worker's any more loses its routes by the plan.
        let Some(worker) = network.worker_tables.get(table) else {
            continue;
        };
        let (reason, what) = match worker.routes.get(cidr) {
            None => ("RouteMissing", "is gone from it".to_owned()),
            Some(route) if route.blackhole => (
                "RouteBlackhole",
                format!(
                    "leads to {}, which is gone: traffic to it is dropped",
                    route.target
                ),
            ),
            Some(route) if !route.target.starts_with("nat-") => (
                "RouteRetargeted",
                format!("leads to {} instead of the NAT gateway", route.target),
            ),
            Some(_) => continue,
        };
        problems.push(Problem::warning(
            Subject::RouteTable(table.clone()),
            reason,
            format!(
                "the route to {cidr} {what}; somebody changed it behind CloudFormation: restore it, or remove the entry \
                 and, when its routes are gone, add it again"
            ),
        ));
    }
    problems
}
