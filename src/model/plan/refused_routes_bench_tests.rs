//! Operations that fail at one route, for tests of the plans that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::super::repair_tests::resources;
use super::super::tests::{Bench, computed, stack_of};
use super::super::*;
use crate::model::base::cidr;
use crate::model::base::ids::TableId;
use crate::model::base::reason::Reason;
use crate::model::cloud::live::Failed;
use crate::model::cloud::status::Status;
use crate::model::drift::tracker::Watch;
use crate::model::schedule::Schedule;

pub(super) const WHY: &str = "the range is reserved";

pub(super) fn net(text: &str) -> Ipv4Net {
    cidr::parse(text).unwrap().0
}

/// Operations on a stack, as CloudFormation makes them, with an EC2 that refuses some routes.
pub(super) struct Aws<'a> {
    pub(super) bench: Bench,
    pub(super) schedule: Schedule,
    pub(super) now: Duration,
    pub(super) refuses: &'a dyn Fn(&TableId, &Ipv4Net) -> bool,
    /// The maximum number of routes in a table.
    pub(super) quota: usize,
    /// Whether the events name the resource that failed.
    pub(super) explains: bool,
    pub(super) executed: u32,
    pub(super) failed: u32,
}

impl<'a> Aws<'a> {
    pub(super) fn new(bench: Bench, refuses: &'a dyn Fn(&TableId, &Ipv4Net) -> bool) -> Self {
        Self {
            bench,
            schedule: Schedule::new(Duration::from_secs(300), Watch::default()),
            now: Duration::ZERO,
            refuses,
            quota: 500,
            explains: true,
            executed: 0,
            failed: 0,
        }
    }

    pub(super) fn look(&mut self) -> Plan {
        for _ in 0..3 {
            let headroom = &mut self.bench.network.headroom;
            headroom.refused = self.schedule.refusals.set_aside(self.now);
            headroom.later = self.schedule.later(self.now);
            let plan = self.bench.plan();
            if !self.schedule.failed(&plan, self.now, 0.5) {
                return plan;
            }
        }
        panic!("a failure is news once");
    }

    /// Makes passes until no action is due.
    pub(super) fn rest(&mut self) -> Plan {
        for _ in 0..200 {
            let plan = self.look();
            let stack = self.bench.stack();
            match &plan.action {
                Action::Keep => {
                    self.schedule.succeeded(&plan, self.now);
                    return plan;
                }
                Action::Discard { .. } => stack.change_sets.clear(),
                Action::Prepare(template) => stack.change_sets = vec![computed(&plan, template)],
                Action::Execute { .. } => {
                    self.schedule.tries(&plan, self.now, 0.5);
                    self.execute(&plan);
                }
                other => panic!("{other:?}: {plan}"),
            }
        }
        panic!("it goes on for ever");
    }

    fn execute(&mut self, plan: &Plan) {
        self.executed += 1;
        self.now += Duration::from_secs(10);
        let before = self.live();
        let after = &plan.desired.routes;
        let new: Vec<&(TableId, Ipv4Net)> = after.difference(&before).collect();
        let mut failed = BTreeMap::new();
        for (table, cidr) in &new {
            let id = template::route_name(table, *cidr);
            let in_table = |routes: &BTreeSet<(TableId, Ipv4Net)>| {
                routes.iter().filter(|(of, _)| of == table).count()
            };
            let more = new.iter().filter(|(of, _)| of == table).count();
            let table_is_full = in_table(&before) + more > self.quota;
            if table_is_full || (self.refuses)(table, cidr) {
                let reason = WHY.to_owned();
                failed.insert(
                    id,
                    Failed {
                        reason,
                        table_is_full,
                    },
                );
            }
        }
        let mut layout = self.bench.stack().clone();
        layout.change_sets.clear();
        layout.version = self.executed.to_string();
        layout.failed.clear();
        if failed.is_empty() {
            let names = Names::default();
            let names = self.names().unwrap_or(names);
            let live = Layout::read(&layout.template, &layout.parameters).unwrap();
            let made = template::render(&plan.desired, &names, &live, true).unwrap();
            let stack = stack_of(&made);
            (layout.template, layout.parameters) = (stack.template, stack.parameters);
            layout.status = Status::read("UPDATE_COMPLETE");
        } else {
            self.failed += 1;
            layout.status = Status::read("UPDATE_ROLLBACK_COMPLETE");
            // One resource fails, and the others are cancelled.
            let first = failed.into_iter().next();
            layout.failed = first.filter(|_| self.explains).into_iter().collect();
        }
        *self.bench.stack() = layout;
        self.nobody_lost(&before);
    }

    fn names(&self) -> Option<Names> {
        let Live::Ours(stack) = &self.bench.live else {
            return None;
        };
        Some(
            Layout::read(&stack.template, &stack.parameters)
                .ok()?
                .names(),
        )
    }

    pub(super) fn live(&self) -> BTreeSet<(TableId, Ipv4Net)> {
        let names = self.names().unwrap();
        names.routes.into_keys().collect()
    }

    /// Checks that requested networks which were covered before are still covered.
    fn nobody_lost(&self, before: &BTreeSet<(TableId, Ipv4Net)>) {
        let after = self.live();
        for table in self.bench.network.worker_tables.keys() {
            let nets = |routes: &BTreeSet<(TableId, Ipv4Net)>| {
                let mine = routes.iter().filter(|(of, _)| of == table);
                cidr::minimal(mine.map(|(_, net)| *net), &BTreeSet::new())
            };
            let (before, after) = (nets(before), nets(&after));
            for asked in self.asked() {
                let lost = cidr::covers(&before, &asked) && !cidr::covers(&after, &asked);
                assert!(!lost, "{asked} has lost its route in {table}");
            }
        }
    }

    fn asked(&self) -> Vec<Ipv4Net> {
        let objects = self.bench.snapshot.objects.values();
        let values = objects.flat_map(|object| object.data.values());
        values.map(|value| net(value)).collect()
    }

    /// Advances the time until no wait is left.
    pub(super) fn later(&mut self) {
        self.now += Duration::from_secs(3_600);
    }
}

pub(super) fn told(plan: &Plan) -> Vec<&str> {
    let refused = plan
        .problems
        .iter()
        .filter(|it| it.reason == Reason::RouteRefused);
    let keys = refused.map(|problem| match &problem.subject {
        Subject::Entry(entry) => entry.key.as_str(),
        other => panic!("{other:?}"),
    });
    keys.collect()
}

pub(super) fn nets(plan: &Plan, table: &str) -> Vec<String> {
    let of_table = plan.desired.routes.iter().filter(|(of, _)| of == table);
    of_table.map(|(_, net)| net.to_string()).collect()
}

/// Fails the creation of the stack at this resource. Returns the plan that creates the stack again, with the logical ids.
pub(super) fn fail_creation(aws: &mut Aws<'_>, id: &str) -> (Plan, Vec<String>) {
    let Action::Create(template) = aws.look().action else {
        panic!()
    };
    let failed = Failed {
        reason: WHY.to_owned(),
        table_is_full: false,
    };
    assert!(resources(&template).contains(&id.to_owned()), "{id}");
    aws.bench.live = Live::Ours(Box::new(Stack {
        status: Status::read("ROLLBACK_COMPLETE"),
        version: "1".to_owned(),
        failed: [(id.to_owned(), failed)].into(),
        ..stack_of(&template)
    }));
    let plan = aws.look();
    assert!(matches!(plan.action, Action::Delete { .. }));
    assert!(plan.static_ips.is_empty());
    aws.bench.live = Live::Absent;
    let plan = aws.look();
    let Action::Create(template) = &plan.action else {
        panic!("{plan}");
    };
    let ids = resources(template);
    (plan, ids)
}
