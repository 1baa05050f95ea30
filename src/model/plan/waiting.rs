//! Reports what waits for room, with the limit that binds and the cheapest way to more room.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::TableId;
use crate::model::base::problem::{Problem, Severity, Subject, split};
use crate::model::base::reason::Reason;
use crate::model::cloud::network::Network;
use crate::model::desired::Desired;
use crate::model::desired::admitted::{Admitted, Choice};
use crate::model::input::request::Request;
use crate::model::plan::coverage::{by_table, in_all};
use crate::model::plan::types::World;

/// The maximum number of routes that a message names.
const NAMED: usize = 3;

/// Reports the route tables that are set aside.
pub(super) fn set_aside_for(all: &Network, rest: &Network, limit: &str) -> Vec<Problem> {
    let mut tables: Vec<&TableId> = all.worker_tables.keys().collect();
    tables.retain(|table| !rest.worker_tables.contains_key(*table));
    let text = format!("nothing is routed from it yet, since not everything fits: {limit}");
    let problem = |table: &TableId| {
        Problem::warning(
            Subject::RouteTable(table.clone()),
            Reason::LimitReached,
            text.clone(),
        )
    };
    tables.into_iter().map(problem).collect()
}

/// Reports the entries that get no routes of their own: entries that wait, all together and each to its owner, and entries that only an
/// unrequested route serves.
pub(super) fn waiting(
    world: &World<'_>,
    request: &Request,
    choice: &Choice<'_>,
    (admitted, desired): (&Admitted, &Desired),
    limit: &str,
) -> Vec<Problem> {
    let requested = cidr::minimal(request.entries.values().copied(), &BTreeSet::new());
    let own = desired
        .routes
        .iter()
        .filter(|(_, cidr)| cidr::covers(&requested, cidr));
    let own = by_table(desired, own);
    let all = by_table(desired, desired.routes.iter());
    let (what, remedy) = split(limit);
    let told = |severity, text: String| {
        let stack = Subject::Stack(world.settings.stack_name.clone());
        let text = format!("{text}; {}", remedy.unwrap_or("see Limits"));
        Problem::new(severity, stack, Reason::LimitReached, text)
    };
    let largest = choice.largest(admitted);
    let waits = told(
        Severity::Warning,
        format!(
            "it waits, since {what}. Older entries come first, of each namespace in turn: {largest}"
        ),
    );
    let served = told(
        Severity::Note,
        format!(
            "it is served by a wider route that nobody requests any more, and gets one of its own when there is room: {what}"
        ),
    );
    let mut problems = Vec::new();
    for (entry, net) in &request.entries {
        if admitted.entries.contains_key(entry) {
            continue;
        }
        let like = match (in_all(&all, net), in_all(&own, net)) {
            (false, _) => &waits,
            (true, false) => &served,
            (true, true) => continue,
        };
        problems.push(like.with_subject(Subject::Entry(entry.clone())));
    }
    let number = problems
        .iter()
        .filter(|it| it.severity == waits.severity)
        .count();
    if number > 0 {
        let text = match number {
            1 => format!("1 entry waits for room, and what is routed stays: {what}"),
            _ => format!("{number} entries wait for room, and what is routed stays: {what}"),
        };
        problems.push(told(Severity::Warning, text));
    }
    problems
}

/// Reports the routes that nobody requests, but that stay since the entries inside of them do not fit.
pub(super) fn unrequested(
    world: &World<'_>,
    choice: &Choice<'_>,
    desired: &Desired,
    limit: &str,
) -> Option<Problem> {
    let stays = |wide: &&Ipv4Net| desired.routes.iter().any(|(_, cidr)| cidr == *wide);
    let wide: Vec<String> = choice
        .wide
        .iter()
        .filter(stays)
        .map(ToString::to_string)
        .collect();
    let named = wide.get(..wide.len().min(NAMED))?.join(", ");
    (!wide.is_empty()).then(|| {
        let text = format!(
            "{} routes that nobody requests stay ({named}), since they serve entries inside of them whose own routes do not fit: {limit}",
            wide.len()
        );
        Problem::warning(Subject::Stack(world.settings.stack_name.clone()), Reason::LimitReached, text)
    })
}
