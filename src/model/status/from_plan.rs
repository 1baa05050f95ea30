//! Builds a [`Status`] from a plan: the states of all entries and routes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, ObjectId, TableId};
use crate::model::base::plain::plain;
use crate::model::base::problem::{Problem, Severity, Subject};
use crate::model::base::reason::Reason;
use crate::model::input::request::Snapshot;
use crate::model::plan::types::{Action, Plan};
use crate::model::status::routes::{Route, RouteState};
use crate::model::status::{
    Counts, Entry, Stack, State, Status, Told, lists, unrecorded, without_nat, zones,
};

/// The maximum number of problems apart from those of entries.
const MAX_PROBLEMS: usize = 200;
const MAX_ROUTES: usize = 500;
const MAX_DIFFERENCES: usize = 100;

type Tables<'a> = BTreeSet<&'a TableId>;

/// Why the plan's step is not applied now: reason and message.
pub type Hold = (Reason, String);

/// Returns the status of a plan and its snapshot. The caller adds leader, times, steps and failures.
pub fn survey(plan: &Plan, snapshot: &Snapshot, held: Option<Hold>) -> Status {
    let map = Map::of(plan);
    let held_up = held_up(plan, held);
    let mut of_entry: BTreeMap<&EntryId, &Problem> = BTreeMap::new();
    let mut of_object: BTreeMap<&ObjectId, Vec<&Problem>> = BTreeMap::new();
    let (mut problems, mut drifted) = (Vec::new(), Vec::new());
    for problem in &plan.problems {
        match &problem.subject {
            // Problems are sorted, the most severe one first.
            Subject::Entry(id) => {
                let first = of_entry.entry(id).or_insert(problem);
                *first = matters_more(first, problem);
            }
            Subject::Object(id) => of_object.entry(id).or_default().push(problem),
            _ if is_drift(plan, problem) => drifted.push(Told::from(problem)),
            _ => problems.push(Told::from(problem)),
        }
    }
    let mut entries = Vec::with_capacity(snapshot.objects.values().map(|it| it.data.len()).sum());
    for (object, content) in &snapshot.objects {
        let is_cut = of_object.get(object).is_some_and(|told| is_cut(told));
        for (key, value) in &content.data {
            let id = EntryId {
                object: object.clone(),
                key: key.clone(),
            };
            let problem = of_entry.get(&id).copied();
            if is_cut && problem.is_none() && !plan.request.entries.contains_key(&id) {
                continue;
            }
            let cidr = understood(plan, &id, value, problem);
            let mut entry = map.entry(cidr.as_ref(), problem, held_up.as_ref());
            unrecorded::show(&mut entry, plan, &id);
            entry.asked = plain(value.trim()).into_owned();
            entry.cidr = entry.cidr.filter(|cidr| *cidr != entry.asked);
            entries.push(named(entry, id));
        }
        // Owners read their entries, so problems of a ConfigMap are listed among these, under a name that no key can have.
        for problem in of_object.remove(object).into_iter().flatten() {
            let id = EntryId {
                object: object.clone(),
                key: format!("({})", problem.reason),
            };
            entries.push(named(map.entry(None, Some(problem), None), id));
        }
    }
    // The remaining problems belong to ConfigMaps that the controller ignores.
    problems.extend(of_object.into_values().flatten().map(Told::from));
    let mut status = Status {
        stack: stack(plan),
        static_ips: plan.static_ips.clone(),
        secondary_ips: plan.secondary_ips.clone(),
        announced_ips: plan.announced_ips.clone(),
        kept_ips: plan.kept_ips.clone(),
        ip_changes: plan.ip_changes.clone(),
        zones: zones::zones(plan),
        prefix_lists: lists::lists(plan),
        setback: plan.setback.clone(),
        differences: plan.differences.iter().map(ToString::to_string).collect(),
        routes: map.routes(),
        counts: counts(&entries, snapshot, plan),
        entries,
        problems,
        drift: drifted,
        ..Status::default()
    };
    cut_lists(&mut status);
    status
}

fn cut_lists(status: &mut Status) {
    let omitted = &mut status.omitted;
    omitted.problems = cut(&mut status.problems, MAX_PROBLEMS);
    omitted.drift = cut(&mut status.drift, MAX_PROBLEMS);
    omitted.routes = cut(&mut status.routes, MAX_ROUTES);
    omitted.differences = cut(&mut status.differences, MAX_DIFFERENCES);
}

/// Returns the more important problem. An entry's refusal precedes the problem that it waits for, which precedes its warnings.
fn matters_more<'a>(first: &'a Problem, other: &'a Problem) -> &'a Problem {
    let refuses = |it: &Problem| it.severity == Severity::Refused && !it.waits();
    let is_refused = refuses(other) && first.waits();
    match is_refused || other.waits() && first.severity != Severity::Refused {
        true => other,
        false => first,
    }
}

fn stack(plan: &Plan) -> Stack {
    Stack {
        name: name_of(&plan.stack).to_owned(),
        arn: plan.stack.starts_with("arn:").then(|| plan.stack.clone()),
        status: plan.shown_status().map(ToString::to_string),
        progress: plan.progress,
    }
}

/// Whether unread entries exist, which one problem reports for all of them.
fn is_cut(of_object: &[&Problem]) -> bool {
    let mut problems = of_object.iter();
    problems.any(|problem| problem.reason == Reason::TooManyEntries)
}

fn named(entry: Entry, id: EntryId) -> Entry {
    Entry {
        cluster: id.object.cluster,
        namespace: plain(&id.object.namespace).into_owned(),
        name: plain(&id.object.name).into_owned(),
        key: plain(&id.key).into_owned(),
        ..entry
    }
}

fn cut<T>(list: &mut Vec<T>, most: usize) -> usize {
    let more = list.len().saturating_sub(most);
    list.truncate(most);
    more
}

fn is_drift(plan: &Plan, problem: &Problem) -> bool {
    let mut drifts = plan.drifts.iter();
    drifts.any(|drift| drift.kind.reason() == problem.reason && drift.subject() == problem.subject)
}

/// Returns the network that an entry stands for. A valid entry without room is not part of the request, and may still be served.
fn understood(
    plan: &Plan,
    id: &EntryId,
    value: &str,
    problem: Option<&Problem>,
) -> Option<Ipv4Net> {
    let bad = |problem: &Problem| problem.severity == Severity::Refused && !problem.waits();
    let accepted = plan.request.entries.get(id).copied();
    accepted.or_else(|| match problem.is_some_and(bad) {
        true => None,
        false => cidr::parse(value).ok().map(|(net, _)| net),
    })
}

/// Returns the name of a stack. A stack that was taken over keeps its own name: `arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/ID`.
fn name_of(stack: &str) -> &str {
    let path = stack.strip_prefix("arn:");
    path.and_then(|path| path.split('/').nth(1))
        .unwrap_or(stack)
}

fn counts(entries: &[Entry], snapshot: &Snapshot, plan: &Plan) -> Counts {
    let of = |state| entries.iter().filter(|entry| entry.state == state).count();
    let cidrs: BTreeSet<&Ipv4Net> = plan.desired.routes.iter().map(|(_, cidr)| cidr).collect();
    Counts {
        config_maps: snapshot.objects.len(),
        entries: entries.len(),
        routed: of(State::Routed),
        pending: of(State::Pending),
        waiting: of(State::Waiting),
        kept: of(State::Kept),
        drifted: of(State::Drifted),
        refused: of(State::Refused),
        routes: cidrs.len(),
        route_tables: plan.desired.tables.len(),
    }
}

/// Returns the hold after the last operation failed with this cause.
pub fn failed(cause: &str) -> Hold {
    let text = format!("{cause}; the controller retries it, and sooner when an entry changes");
    (Reason::OperationFailed, text)
}

/// Returns why accepted entries have no routes yet.
fn held_up(plan: &Plan, held: Option<Hold>) -> Option<Hold> {
    let of_stack = |problem: &&Problem| {
        problem.severity == Severity::Refused && matches!(problem.subject, Subject::Stack(_))
    };
    match (&plan.action, &plan.setback) {
        (Action::Refuse, _) => {
            let problem = plan.problems.iter().find(of_stack);
            Some(
                problem.map_or((Reason::NoRoute, plan.why.clone()), |problem| {
                    (problem.reason, problem.message())
                }),
            )
        }
        (_, Some(setback)) => Some(failed(setback)),
        (Action::Keep, None) => Some((Reason::NoRoute, plan.why.clone())),
        (_, None) => held,
    }
}

/// The current and future routes, by destination.
struct Map<'a> {
    plan: &'a Plan,
    /// Routes that EC2 shows.
    live: BTreeMap<Ipv4Net, Tables<'a>>,
    /// Routes of the stack that EC2 does not show.
    drifted: BTreeMap<Ipv4Net, Tables<'a>>,
    desired: BTreeMap<Ipv4Net, Tables<'a>>,
}

impl<'a> Map<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut map = Self {
            plan,
            live: BTreeMap::new(),
            drifted: BTreeMap::new(),
            desired: BTreeMap::new(),
        };
        for ((table, cidr), shown) in &plan.live_routes {
            let routes = if *shown {
                &mut map.live
            } else {
                &mut map.drifted
            };
            routes.entry(*cidr).or_default().insert(table);
        }
        for (table, cidr) in &plan.desired.routes {
            map.desired.entry(*cidr).or_default().insert(table);
        }
        map
    }

    fn entry(
        &self,
        cidr: Option<&Ipv4Net>,
        problem: Option<&Problem>,
        held_up: Option<&Hold>,
    ) -> Entry {
        let mut entry = Entry::default();
        if let Some(problem) = problem {
            tell(&mut entry, problem);
        }
        let Some(cidr) = cidr else {
            entry.state = State::Refused;
            return entry;
        };
        entry.cidr = Some(cidr.to_string());
        let (route, should) = serving(&self.desired, *cidr);
        let (serves, are) = serving(&self.live, *cidr);
        entry.route = serves.or(route).map(|cidr| cidr.to_string());
        let tables = if are.is_empty() { &should } else { &are };
        entry.static_ips = self.ips(tables);
        if problem.is_some_and(Problem::waits) {
            entry.state = State::Waiting;
        } else if problem.is_some_and(|problem| problem.severity == Severity::Refused) {
            entry.state = State::Kept;
        } else if should.is_empty() {
            entry.state = State::Waiting;
            if problem.is_none() {
                let text =
                    "no route table can have its route; see the problems of zones and route tables";
                entry.explain(Reason::NoRouteTable, text);
            }
        } else if should.is_subset(&are) {
            entry.state = State::Routed;
            without_nat::show(&mut entry, self.plan, &are);
        } else if !self.plan.drifts.is_empty() && !serving(&self.drifted, *cidr).1.is_empty() {
            entry.state = State::Drifted;
            let text = "its route was changed outside of CloudFormation; see the problem of its route table";
            entry.explain(Reason::Drifted, text);
        } else if let Some((reason, message)) = held_up {
            entry.state = State::Waiting;
            entry.explain(*reason, message);
        }
        entry
    }

    /// Returns the static IPs of the zones that these tables lead to.
    fn ips(&self, tables: &Tables<'_>) -> Vec<String> {
        let zones: BTreeSet<_> = tables
            .iter()
            .filter_map(|table| self.plan.desired.tables.get(*table))
            .collect();
        let first = zones
            .iter()
            .filter_map(|zone| self.plan.static_ips.get(*zone));
        let more = [&self.plan.secondary_ips, &self.plan.announced_ips];
        let more = more.into_iter().flat_map(|ips| {
            let ips = zones.iter().filter_map(|zone| ips.get(*zone));
            ips.flatten()
        });
        first.chain(more).cloned().collect()
    }

    fn routes(&self) -> Vec<Route> {
        let asked: BTreeSet<Ipv4Net> = self.plan.request.entries.values().copied().collect();
        let is_asked = |cidr: &Ipv4Net| {
            asked
                .range(*cidr..)
                .next()
                .is_some_and(|net| cidr.contains(net))
                || cidr::supernets(*cidr).any(|wide| asked.contains(&wide))
        };
        let all: BTreeSet<&Ipv4Net> = [&self.desired, &self.live, &self.drifted]
            .into_iter()
            .flat_map(BTreeMap::keys)
            .collect();
        let route = |cidr: &Ipv4Net| {
            let of = |routes: &BTreeMap<Ipv4Net, Tables<'a>>| {
                routes.get(cidr).cloned().unwrap_or_default()
            };
            let (live, desired, drifted) = (of(&self.live), of(&self.desired), of(&self.drifted));
            let state = if !drifted.is_empty() && !self.plan.drifts.is_empty() {
                RouteState::Drifted
            } else if desired.is_empty() {
                RouteState::Leaving
            } else if !desired.is_subset(&live) {
                RouteState::Pending
            } else if is_asked(cidr) {
                RouteState::Live
            } else {
                RouteState::Kept
            };
            let tables: Tables<'_> = live.into_iter().chain(desired).chain(drifted).collect();
            Route {
                cidr: cidr.to_string(),
                state,
                route_tables: tables.into_iter().cloned().collect(),
                prefix_list: lists::list_of(self.plan, cidr),
            }
        };
        all.into_iter().map(route).collect()
    }
}

fn tell(entry: &mut Entry, problem: &Problem) {
    let remedy = problem.remedy.clone();
    entry.reason = Some(problem.reason.to_string());
    entry.message = Some(problem.what.clone());
    entry.remedy = Some(remedy.unwrap_or_else(|| problem.reason.remedy().into()));
}

/// Returns the most specific route that contains the network, and the tables that route all of it, by one route or in parts.
fn serving<'a>(
    routes: &BTreeMap<Ipv4Net, Tables<'a>>,
    cidr: Ipv4Net,
) -> (Option<Ipv4Net>, Tables<'a>) {
    let mut found = cidr::supernets(cidr).filter_map(|wide| Some((wide, routes.get(&wide)?)));
    let (most_specific, mut tables) = match found.next() {
        Some((wide, of)) => (Some(wide), of.clone()),
        None => (None, Tables::new()),
    };
    tables.extend(found.flat_map(|(_, of)| of));
    // A merged route that AWS refuses is created in parts.
    let inside = routes.range(cidr..);
    let inside = inside.take_while(|(part, _)| cidr.contains(*part));
    let mut parts: BTreeMap<&TableId, Vec<Ipv4Net>> = BTreeMap::new();
    for (part, of) in inside {
        for table in of.iter().filter(|table| !tables.contains(*table)) {
            parts.entry(table).or_default().push(*part);
        }
    }
    let whole = |nets: Vec<Ipv4Net>| cidr::covers(&cidr::minimal(nets, &BTreeSet::new()), &cidr);
    tables.extend(
        parts
            .into_iter()
            .filter_map(|(table, nets)| whole(nets).then_some(table)),
    );
    (most_specific, tables)
}

#[cfg(test)]
#[path = "from_plan_tests.rs"]
mod tests;
