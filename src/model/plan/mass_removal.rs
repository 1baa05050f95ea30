//! A change that takes much away at once waits, since that is a mistake more often than a wish: a label that is misspelt, another
//! cluster, a script gone wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::plan::capacity;
use crate::model::plan::capacity::Unasked;
use crate::model::plan::diff::Kind;
use crate::model::plan::types::{Action, Plan, World};

impl Plan {
    /// Whether the step takes away what cannot be given back, or much at once, since users do not request it any more. Then the sources are
    /// read again immediately before it: a watch may be dead without anybody knowing.
    pub fn needs_proof(&self) -> bool {
        let removes = |kind: &str| {
            let mut differences = self.differences.iter();
            differences.any(|difference| {
                difference.kind == Kind::Remove
                    && difference.resource_type == kind
                    && !self.renewed.contains(&difference.id)
            })
        };
        match self.action {
            Action::Delete { .. } | Action::Protect(false) => {
                self.nothing_asked() || !self.static_ips.is_empty()
            }
            Action::Execute { .. } => {
                let large = self.grace.large_removal.is_some() || self.nothing_asked();
                large && removes("AWS::EC2::Route") || removes("AWS::EC2::EIP")
            }
            _ => false,
        }
    }

    /// Reports that the step is not made, since the sources do not say any more what it was decided from.
    pub fn not_confirmed(&self, source: String, why: &str) -> Problem {
        let text = format!(
            "everything was listed again before {}, which is not made now: {why}; a new plan is made",
            self.action.name()
        );
        Problem::warning(Subject::Source(source), "NotConfirmed", text)
    }

    /// Where more than `--max-removal` of the networks would lose their routes, they keep them until that has lasted for the grace
    /// period, also when some are asked for again meanwhile; what is added goes ahead. Routes that go with their table or zone do
    /// not count. An empty set has its own rule, but is a large removal for what comes after.
    pub(in crate::model) fn hold_large_removal(
        &mut self,
        world: &World<'_>,
        layout: &Layout,
        names: &Names,
    ) {
        let settings = world.settings;
        if !self.request.settled {
            return;
        }
        let (gone, networks) = self.removal(names);
        let removed = gone
            .keys()
            .map(|(_, cidr)| cidr)
            .collect::<BTreeSet<_>>()
            .len();
        let share = u128::from(settings.max_removal);
        let of = self
            .grace
            .large_removal
            .map_or(networks, |large| large.of.min(networks));
        // A single network that is replaced by another is an edit.
        let large = of > 1 && removed as u128 * 100 > of as u128 * share;
        let waits = share < 100 && removed > 0 && (large || self.grace.large_removal.is_some());
        if !waits {
            self.grace.large_removal = None;
            return;
        }
        if self.nothing_asked() {
            return self.grace.large_from_empty(removed, of);
        }
        let (left, until) = self.grace.large_left(removed, of);
        if left.is_zero() {
            return;
        }
        capacity::keep(&mut self.desired, &gone);
        if capacity::overflows(world, &self.desired, names, layout) {
            self.make_room(world, layout, names);
        }
        self.again = Some(self.grace.look(left));
        let text = format!(
            "{removed} of {of} networks keep their routes until {}, though nobody asks for them: more than --max-removal={share} \
             percent were to lose theirs at once",
            instant(until)
        );
        self.problems.push(Problem::warning(
            Subject::Stack(settings.stack_name.clone()),
            "LargeRemovalWaits",
            text,
        ));
    }

    /// What is kept takes room that the newest entries wait for then. All that is live stays, since what would cover some of it may
    /// have to wait.
    fn make_room(&mut self, world: &World<'_>, layout: &Layout, names: &Names) {
        let stays = |((table, _), _): &(&(TableId, Ipv4Net), &Zone)| {
            let tables = &self.desired.tables;
            tables.contains_key(table)
        };
        let live = names.route_zones.iter().filter(stays);
        let live: Unasked = live
            .map(|(route, zone)| (route.clone(), zone.clone()))
            .collect();
        let trusted = world
            .ledger
            .trusted(names.routes.keys().map(|(_, cidr)| cidr));
        let number = |entry: &EntryId| trusted?.number(entry);
        let fitted = capacity::fit(world, &self.request, names, layout, number, &live);
        (self.admitted, self.desired) = (fitted.admitted, fitted.desired);
        self.problems.extend(fitted.problems);
    }

    /// The live routes whose addresses would not be routed any more from a table that stays, and how many networks these tables
    /// have.
    fn removal(&self, names: &Names) -> (Unasked, usize) {
        let (mut gone, mut networks) = (Unasked::new(), BTreeSet::new());
        for (route, zone) in &names.route_zones {
            let (table, cidr) = route;
            if !self.desired.tables.contains_key(table) {
                continue;
            }
            networks.insert(*cidr);
            let covered = cidr::supernets(*cidr)
                .any(|net| self.desired.routes.contains(&(table.clone(), net)));
            if !covered {
                gone.insert(route.clone(), zone.clone());
            }
        }
        (gone, networks.len())
    }
}

/// In UTC, as people and machines read it.
fn instant(since_1970: Duration) -> String {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "later".to_owned(), |at| at.to_string())
}
