//! Repairs changes that were made in EC2 outside of CloudFormation: by a change set that reverts drift, or by a change of the stack with
//! the same effect. Each repair is prepared, checked and executed as every change.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use serde_json::json;

use crate::model::base::cidr::{self, overlap};
use crate::model::base::digest::digest;
use crate::model::base::ids::{TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnDrift;
use crate::model::cloud::change_set_name::REVERT;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::{Change, ChangeSet, ChangeSetState, Effect, Stack};
use crate::model::drift::recovery::Recovery;
use crate::model::drift::tracker::{MAX_REPAIRS, Stage, Watch};
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::change_set::{Proposal, set_for};
use crate::model::plan::decision::{Decision, Notes};
use crate::model::plan::diff;
use crate::model::plan::drift_outlook::outlook;
use crate::model::plan::lost_eips::{
    self, adopt_allocations, is_recovery_of_zone, may_repair, recover_more, repair_key,
};
use crate::model::plan::new_eips::{self, keep_lost_zones};
use crate::model::plan::patched_template::{as_it_is, without};
use crate::model::plan::types::{Action, Plan, World, discard};
use crate::model::plan::unroutable_zones::{
    blocked_list_routes, in_the_way, leave_routes, of_deleted_tables,
};
use crate::model::{desired, drift};

impl Plan {
    /// Fills `drifts`, and reports each of them.
    pub(in crate::model) fn look_for_drift(
        &mut self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) {
        self.problems
            .extend(new_eips::unused(world, names, &self.static_ips));
        if world.settings.drift == OnDrift::Off {
            return;
        }
        let observed = world.watch.observed(&stack.version);
        self.drifts = drift::of(world.network, layout, names, observed);
        let is_spent = |drift: &Drift| world.watch.stage(drift) == Stage::Spent;
        keep_lost_zones(&mut self.drifts, names, world, observed, is_spent);
        recover_more(&mut self.drifts, world, observed);
        adopt_allocations(&mut self.drifts, names, world, observed);
        leave_routes(&mut self.drifts, names, is_spent);
        let full = self.without_room_for_lost(world, names);
        for drift in &self.drifts {
            let spent = is_spent(drift);
            let mut problem = drift.problem(&outlook(drift, world.settings.drift, spent, &full));
            if let Some(said) = world.watch.inquiry().says(&drift.id) {
                let remedy = problem.remedy.as_deref().unwrap_or_default();
                problem.remedy = Some(format!("{remedy}; {said}").into());
            }
            self.problems.push(problem);
            if spent && world.settings.drift == OnDrift::Repair {
                let text = format!(
                    "{} ({}) {}; {MAX_REPAIRS} repairs failed, so the controller repairs this drift no more until \
                     the resource changes: {}",
                    drift.expected,
                    drift.id,
                    drift.seen,
                    drift.kind.last_remedy()
                );
                self.problems.push(Problem::warning(
                    drift.subject(),
                    Reason::DriftRepairFailed,
                    text,
                ));
            }
        }
        let known = |id: &str| self.drifts.iter().any(|drift| drift.id == id);
        for (id, verdict) in world.watch.inquiry().others(known) {
            let text = format!(
                "CloudFormation's drift detection says of {id}: {verdict}; no route depends on this, so the controller does not repair \
                 it: restore {id} by hand, or leave it as it is"
            );
            let subject = Subject::Stack(stack.name.clone());
            self.problems
                .push(Problem::warning(subject, Reason::PropertiesChanged, text));
        }
        if let Some(complaint) = world.watch.complaint() {
            let text = format!(
                "the controller cannot compare NAT gateways, static IPs, NAT subnets and their route tables with the stack, only \
                 routes: {complaint}"
            );
            let subject = Subject::Stack(stack.name.clone());
            self.problems
                .push(Problem::warning(subject, Reason::DriftNotSeen, text));
        }
    }

    /// Returns the next step of a repair. None if no repair can be made now.
    pub(in crate::model) fn repair(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> Option<Decision> {
        if !may_repair(world, names) {
            return None;
        }
        let waits = self
            .drifts
            .iter()
            .filter_map(|drift| match world.watch.recovery(drift) {
                Recovery::Waits(_, left) => Some(left),
                Recovery::Due(_) | Recovery::Spent => None,
            });
        notes.look_within(waits);
        let recovered = self.drifts.iter().filter(|it| is_recovery_of_zone(it));
        let recovered: Vec<&Place> = recovered.map(|it| &it.place).collect();
        let curable = |drift: &&Drift| {
            drift.cure.is_change()
                && !recovered.contains(&&drift.place)
                && drift.is_wanted(&self.desired)
                && world.watch.stage(drift) != Stage::Spent
        };
        let curable: Vec<Drift> = self.drifts.iter().filter(curable).cloned().collect();
        // Whether the repair adds an EIP to the stack.
        let gives_eip = |drift: &Drift| {
            matches!(drift.cure, Cure::NewIp(_)) && !layout.resources.contains_key(&drift.id)
        };
        // A change set that reverts drift covers all drift, so every drift must be one that it may and can revert. It cannot restore a route
        // of a deleted table.
        let revertible = of_deleted_tables(world.network, names, &[]).is_empty()
            && self.without_room_for_lost(world, names).is_empty()
            && (self.drifts.iter())
                .all(|drift| drift.cure.is_like_reverting() && !gives_eip(drift));
        let new = |drift: &&Drift| {
            revertible && drift.kind.is_revertible() && is_to_be_reverted(world.watch, drift)
        };
        let fresh: Vec<Drift> = curable.iter().filter(new).cloned().collect();
        if !fresh.is_empty() {
            return Some(self.revert(stack, &fresh));
        }
        self.remake(notes, world, stack, layout, names, curable)
    }

    /// Returns the keys of the drifts whose repair has failed because AWS refused to create a change set that reverts drift.
    pub(crate) fn not_reverted(&self, watch: &Watch) -> Vec<String> {
        let drifts = self.drifts.iter();
        let failed = drifts.filter(|drift| is_to_be_reverted(watch, drift));
        failed.map(Drift::key).collect()
    }

    /// Returns the next step of a change set with DeploymentMode REVERT_DRIFT.
    fn revert(&self, stack: &Stack, drifts: &[Drift]) -> Decision {
        let keys = keys(drifts);
        let digest = digest(json!(keys).to_string().as_bytes());
        let mut template = as_it_is(stack, stack.template.clone());
        template.fingerprint = format!("{REVERT}{}", &digest[..10]);
        let Some(found) = set_for(stack, &template) else {
            let why = format!(
                "{} in EC2 differ from the stack, such as {}",
                drifts.len(),
                named(drifts)
            );
            return Decision::new(Action::Revert(template), why);
        };
        let renewed = renewed(drifts);
        let about = |action, why: String, repairs| Decision {
            renewed: renewed.clone(),
            repairs,
            ..Decision::new(action, why)
        };
        let in_vain = match &found.state {
            ChangeSetState::Pending => {
                let why = "CloudFormation is computing how to revert drift".to_owned();
                return about(Action::Wait, why, Vec::new());
            }
            ChangeSetState::Ready => {
                let ours = |change: &Change| {
                    let touches = change.effect != Effect::Record;
                    touches && drifts.iter().any(|drift| drift.id == change.logical_id)
                };
                if !found.changes.iter().any(ours) {
                    "its changes leave out the resources that differ".to_owned()
                } else if let Some(text) =
                    diff::beyond_repair(&found.changes, |id| renewed.contains(id))
                {
                    text
                } else {
                    let change_set = found.name.clone();
                    let why = format!("{} resource changes revert drift", found.changes.len());
                    return about(Action::Execute { change_set }, why, keys);
                }
            }
            ChangeSetState::NoChanges => "CloudFormation sees no drift".to_owned(),
            ChangeSetState::Dead(reason) => reason.clone(),
            ChangeSetState::Executed => "its execution changed nothing".to_owned(),
        };
        let why = format!("CloudFormation cannot revert the drift: {in_vain}");
        Decision {
            setback: Some(in_vain),
            ..about(discard(found), why, keys)
        }
    }

    /// Repairs drift by changes of the stack. Routes and tags are removed from the stack, and the next plan adds them again. A lost
    /// resource is created again under another logical id.
    fn remake(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        mut drifts: Vec<Drift>,
    ) -> Option<Decision> {
        drifts.retain(|drift| world.watch.is_firm(drift));
        let back = self.that_come_back(world, names, &drifts);
        drifts.retain(|drift| match &drift.place {
            Place::Route(table, cidr) => back.contains(&(table.clone(), *cidr)),
            Place::List(table, nets) => {
                let mut routes = nets.iter().map(|net| (table.clone(), *net));
                drift.cure != Cure::Revert && routes.any(|route| back.contains(&route))
            }
            Place::Zone(_) => true,
        });
        not_all_zones(&mut drifts, names);
        one_zone_at_last(&mut drifts, names, |drift| {
            world.watch.stage(drift) == Stage::Last
        });
        self.remake_all(notes, world, stack, (layout, names), drifts)
    }

    /// Returns the next step of a change of the stack that repairs these drifts. None if no change can be made.
    pub(in crate::model) fn remake_all(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &Stack,
        (layout, names): (&Layout, &Names),
        mut drifts: Vec<Drift>,
    ) -> Option<Decision> {
        let renewed_now = renewed(&drifts);
        drifts.extend(in_the_way(&self.drifts, names, &drifts, &renewed_now));
        drifts.extend(blocked_list_routes(&self.drifts, names, &drifts));
        if let Some(retention) = self.retains_first(notes, stack, layout, names, &drifts) {
            return Some(retention);
        }
        if drifts.is_empty() {
            return None;
        }
        let deleted = of_deleted_tables(world.network, names, &drifts);
        let taken_out = [drifts.as_slice(), &deleted].concat();
        let template = without(stack, &taken_out, &self.spoiled_ips())?;
        let differences = diff::between(layout, &template, &self.request);
        let renewed = renewed(&drifts);
        if diff::refusal(&differences, &[], |id| renewed.contains(id)).is_some() {
            return None;
        }
        // The attempt was counted when its change set was executed.
        let was_tried = set_for(stack, &template)
            .is_some_and(|set| set.state == ChangeSetState::Executed && lost_eips::is_try(&drifts));
        let mut decision = self.change(
            stack,
            names,
            Proposal {
                renewed,
                ..Proposal::step(template, differences)
            },
        );
        if decision.action == Action::Refuse {
            // A repair that cannot be made must not block other changes.
            decision.setback = decision.problems.pop().map(|problem| problem.message());
            let surprising = |set: &&ChangeSet| set.state == ChangeSetState::Ready;
            let set = stack.change_sets.iter().rev().find(surprising)?;
            decision =
                decision.with_action(discard(set), "CloudFormation would do more than repair");
        }
        // A change set of an earlier plan may repair fewer drifts.
        if let Action::Execute { change_set } = &decision.action {
            let mut sets = stack.change_sets.iter();
            let set = sets.find(|set| set.name == *change_set);
            let changes = set.map(|set| set.changes.as_slice()).unwrap_or_default();
            drifts.retain(|drift| changes.iter().any(|change| change.logical_id == drift.id));
        }
        if matches!(
            decision.action,
            Action::Execute { .. } | Action::Discard { .. }
        ) && !was_tried
        {
            decision.repairs = keys(&drifts);
        }
        decision.why = format!("{}; it repairs {}", decision.why, named(&drifts));
        Some(decision)
    }

    /// Returns the routes that the next plan wants after the routes of `drifts` are removed. A route that is only retained must not be
    /// removed: no plan would add it again.
    fn that_come_back(
        &self,
        world: &World<'_>,
        names: &Names,
        drifts: &[Drift],
    ) -> BTreeSet<(TableId, Ipv4Net)> {
        let (mut names, mut network) = (names.clone(), world.network.clone());
        for drift in drifts {
            let (table, nets) = match &drift.place {
                Place::Route(table, cidr) => (table, &BTreeSet::from([*cidr])),
                Place::List(table, nets) if drift.cure == Cure::Retake => (table, nets),
                Place::List(..) | Place::Zone(_) => continue,
            };
            for cidr in nets {
                names.routes.remove(&(table.clone(), *cidr));
                names.route_zones.remove(&(table.clone(), *cidr));
            }
            if let (Place::Route(_, cidr), Some(worker)) =
                (&drift.place, network.worker_tables.get_mut(table))
            {
                worker.routes.remove(cidr);
            }
        }
        let (mut desired, _) = desired::build(&self.admitted, &network, &names, world.settings);
        let only_live = cidr::minimal(self.request.only_live.iter().copied(), &BTreeSet::new());
        let comes_back =
            |(_, cidr): &(TableId, Ipv4Net)| !only_live.iter().any(|net| overlap(net, cidr));
        desired.routes.retain(comes_back);
        desired.routes
    }
}

/// Whether the next attempt is a change set that reverts drift. No other change restores the entries of a list.
fn is_to_be_reverted(watch: &Watch, drift: &Drift) -> bool {
    watch.stage(drift) == Stage::New || drift.cure == Cure::Revert
}

/// Restricts last attempts to one zone: a drift that cannot be repaired fails the change, and must not use up other zones' attempts.
fn one_zone_at_last(drifts: &mut Vec<Drift>, names: &Names, is_last: impl Fn(&Drift) -> bool) {
    if !drifts.iter().all(is_last) {
        return;
    }
    let zone = |drift: &Drift| drift.place.zone(names);
    let first = drifts.iter().map(zone).min();
    drifts.retain(|drift| Some(zone(drift)) == first);
}

/// Ensures that no change rebuilds the NAT of every zone: even if the readings are wrong, traffic leaves from some zone.
fn not_all_zones(drifts: &mut Vec<Drift>, names: &Names) {
    let zone = |drift: &Drift| match (&drift.place, &drift.cure) {
        (Place::Zone(zone), Cure::Renew(_) | Cure::NewIp(_) | Cure::Adopt(..)) => {
            Some(zone.clone())
        }
        _ => None,
    };
    let zones: BTreeSet<Zone> = drifts.iter().filter_map(zone).collect();
    if zones.len() > 1 && zones.len() == names.nat_cidrs.len() {
        drifts.retain(|drift| zone(drift).is_none_or(|zone| zones.first() == Some(&zone)));
    }
}

fn keys(drifts: &[Drift]) -> Vec<String> {
    drifts.iter().map(repair_key).collect()
}

fn named(drifts: &[Drift]) -> String {
    match drifts {
        [] => "nothing".to_owned(),
        [one] => one.expected.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.expected, rest.len()),
    }
}

/// Returns the logical ids of resources that may be replaced or removed, since they are lost or of no use.
fn renewed(drifts: &[Drift]) -> BTreeSet<String> {
    let ids = |drift: &Drift| match &drift.cure {
        Cure::Renew(ids) | Cure::NewIp(ids) | Cure::Recover(ids, _) | Cure::Adopt(ids, _) => {
            ids.clone()
        }
        Cure::GiveUp(ids) | Cure::Reuse(ids) => ids.clone(),
        _ => Vec::new(),
    };
    drifts.iter().flat_map(ids).collect()
}
